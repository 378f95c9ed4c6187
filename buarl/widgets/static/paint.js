// The pictures of the threshold scrubber: bytes to pixels.

// Colors as 32-bit pixels, red lowest, opaque.
const pixel = (r, g, b) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
const rgb = (hex, at = 1) => [0, 2, 4].map((i) => parseInt(hex.slice(at + i, at + i + 2), 16));
const ramp = (color) => Uint32Array.from({ length: 256 }, (_, i) => pixel(...color(i)));

/** For every view a function (out, side, at) that fills the pixels of a slice; each loops on its
 *  own, which browsers run several times faster than one loop that calls a function per pixel. */
export function painters({ cividis, colors, opacity }) {
  const grey = ramp((i) => [i, i, i]);
  const doubt = ramp((i) => rgb(cividis, 6 * i));
  const mixed = (hex) => ramp((i) => rgb(hex).map((part) => Math.round(opacity * part + (1 - opacity) * i)));
  const own = colors.classes.slice(1); // of the foreground; later classes begin again
  const inner = own.map(mixed), edge = own.map((hex) => pixel(...rgb(hex)));
  const [error, uncertain, both] = ["error", "uncertain", "both"].map((k) => pixel(...rgb(colors[k])));
  const cut = (side, bytes, slice) => bytes.subarray(slice * side.pixels, (slice + 1) * side.pixels);
  const now = (side, bytes, at) => cut(side, bytes, at.step * side.count + at.slice);

  /** Classes: clear inside, full color along every border, so that no shade of grey hides one. */
  const painted = (values) => (out, side, at) => {
    const back = cut(side, side.grey, at.slice), value = values(side, at), { width, height } = side;
    for (let i = 0, y = 0; y < height; y++)
      for (let x = 0; x < width; x++, i++) {
        const c = value ? value[i] : 0;
        if (!c) out[i] = grey[back[i]];
        else {
          const border = (x && value[i - 1] !== c) || (x + 1 < width && value[i + 1] !== c) ||
            (y && value[i - width] !== c) || (y + 1 < height && value[i + width] !== c);
          const color = (c - 1) % own.length;
          out[i] = border ? edge[color] : inner[color][back[i]];
        }
      }
  };
  return {
    image(out, side, at) {
      const back = cut(side, side.grey, at.slice);
      for (let i = 0; i < out.length; i++) out[i] = grey[back[i]];
    },
    label: painted((side, at) => side.label && cut(side, side.label, at.slice)),
    pseudo: painted((side, at) => now(side, side.pseudoLabel, at)),
    entropy(out, side, at) {
      const value = now(side, side.entropy, at);
      for (let i = 0; i < out.length; i++) out[i] = doubt[value[i]];
    },
    uncertain(out, side, at) {
      const back = cut(side, side.grey, at.slice), marks = now(side, side.marks[at.scope], at);
      const guess = now(side, side.pseudoLabel, at), label = side.label ? cut(side, side.label, at.slice) : guess;
      for (let i = 0; i < out.length; i++)
        out[i] = marks[i] <= at.stop ? grey[back[i]] : label[i] !== guess[i] ? both : uncertain;
    },
    errors(out, side, at) {
      if (!side.label) return out.fill(grey[0]);
      const back = cut(side, side.grey, at.slice), guess = now(side, side.pseudoLabel, at);
      const label = cut(side, side.label, at.slice);
      for (let i = 0; i < out.length; i++) out[i] = label[i] !== guess[i] ? error : grey[back[i]];
    },
  };
}

export function paint(canvas, side, at, fill) {
  if (canvas.width !== side.width) canvas.width = side.width;
  if (canvas.height !== side.height) canvas.height = side.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const picture = context.createImageData(side.width, side.height);
  fill(new Uint32Array(picture.data.buffer), side, at);
  context.putImageData(picture, 0, 0);
}
