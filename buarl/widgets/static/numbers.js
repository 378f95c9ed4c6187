// What the models of both explorers compute with; each function gives what its NumPy twin gives.

/** np.percentile of values in ascending order, linear. */
export function percentile(sorted, q) {
  if (!sorted.length) return NaN;
  const place = ((sorted.length - 1) * q) / 100, low = Math.floor(place), t = place - low;
  const a = sorted[low], b = sorted[Math.min(low + 1, sorted.length - 1)];
  return t >= 0.5 ? b - (b - a) * (1 - t) : a + (b - a) * t;
}

export const ascending = (values) => Float64Array.from(values).sort();
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Round half to even, as NumPy does. */
export function rint(value) {
  const low = Math.floor(value), over = value - low;
  return over < 0.5 || (over === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** Python's f"{value:.{digits}f}": an exact half goes to the even digit. */
export function fixed(value, digits) {
  const scale = 10 ** digits, scaled = value * scale;
  const tie = scaled - Math.floor(scaled) === 0.5 && scaled / scale === value;
  return tie ? (rint(scaled) / scale).toFixed(digits) : value.toFixed(digits);
}

export const decoded = (text, kind) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new kind(bytes.buffer);
};

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** Codes in colors over pixels (three bytes a pixel); 0 stays clear, 1 is the first color. */
export function overlay(pixels, codes, colors, opacity) {
  const table = colors.map(rgb), out = Uint8Array.from(pixels);
  codes.forEach((code, i) => {
    if (code) for (let k = 0; k < 3; k++) out[3 * i + k] = rint((1 - opacity) * pixels[3 * i + k] + opacity * table[code - 1][k]);
  });
  return out;
}

/** Where one of the four neighbors has another code. */
export function borders(codes, height, width) {
  return codes.map((code, i) => {
    const row = Math.floor(i / width), column = i % width;
    return (row && codes[i - width] !== code) || (row + 1 < height && codes[i + width] !== code) ||
      (column && codes[i - 1] !== code) || (column + 1 < width && codes[i + 1] !== code) ? code : 0;
  });
}

export const gray = (shades) => Uint8Array.from({ length: 3 * shades.length }, (_, i) => shades[Math.floor(i / 3)]);

export function joined(panels) {
  const bytes = new Uint8Array(panels.reduce((sum, panel) => sum + panel.pixels.length, 0));
  let at = 0;
  for (const { pixels } of panels) bytes.set(pixels, at), (at += pixels.length);
  return bytes;
}
