// Dice, 95HD and ASD under every definition, as buarl.widgets.explorers.definitions computes them.

/** Pixels of a mask that erosion by the cross of neighbors removes; beyond the image is outside. */
function surface(mask, height, width) {
  const found = [];
  for (let i = 0, row = 0; row < height; row++)
    for (let column = 0; column < width; column++, i++)
      if (mask[i] && !(row && mask[i - width] && row + 1 < height && mask[i + width] &&
        column && mask[i - 1] && column + 1 < width && mask[i + 1])) found.push([row, column]);
  return found;
}

/** From every surface pixel of one mask to the surface of the other, in ascending order. */
function directed(from, to, [down, across]) {
  if (!to.length) return new Float64Array(0);
  return ascending(from.map(([row, column]) => {
    let least = Infinity;
    for (const [r, c] of to) least = Math.min(least, ((row - r) * down) ** 2 + ((column - c) * across) ** 2);
    return Math.sqrt(least);
  }));
}

function scores(sizes, there, back, diagonal, empty) {
  const { prediction, label, both } = sizes, none = { hd95_max: NaN, hd: NaN, asd_back: NaN, assd_means: NaN, assd_pooled: NaN };
  const all = (value) => ({ dice: value, jaccard: value, hd95: value, asd: value });
  if (!prediction || !label) {
    if (empty === "zero_as_published") return { ...all(0), ...none };
    if (!prediction && !label) return { ...all(NaN), ...none };
    const far = empty === "diagonal" ? diagonal : NaN;
    return { dice: 0, jaccard: 0, hd95: far, asd: far, ...none };
  }
  const pooled = ascending([...there, ...back]), dice = (2 * both) / (prediction + label);
  return {
    dice, jaccard: both / (prediction + label - both), hd95: percentile(pooled, 95), asd: mean(there),
    hd95_max: Math.max(percentile(there, 95), percentile(back, 95)), hd: pooled[pooled.length - 1],
    asd_back: mean(back), assd_means: (mean(there) + mean(back)) / 2, assd_pooled: mean(pooled),
  };
}

/** Even up to 2 pixels, logarithmic beyond; 0-1 along the axis. */
const placed = (longest) => (distance) => {
  const stretched = (value) => (value <= 2 ? value / 2 : 1 + Math.log(value / 2));
  return stretched(Math.min(distance, longest)) / stretched(longest);
};

/** Share of values up to each, as steps. */
function climb(values, place) {
  const points = [];
  let before = 0;
  for (let i = 0; i < values.length; i++)
    if (i + 1 === values.length || values[i + 1] !== values[i]) {
      points.push([place(values[i]), before], [place(values[i]), (i + 1) / values.length]);
      before = (i + 1) / values.length;
    }
  return points.length ? [...points, [1, before]] : [];
}

/** A model for `alone`: what the metric explorer shows for the values of its controls. */
export function metricModel(data) {
  const { height, width, classes, policies, colors, rows } = data;
  const truth = decoded(data.truth, Uint8Array), guess = decoded(data.guess, Uint8Array);
  const ground = gray(decoded(data.ground, Uint8Array));
  const place = placed(Math.hypot(height, width));

  function chart(there, back, found) {
    const curves = [
      { name: "from the prediction", points: climb(there, place), style: "solid", color: colors[1] },
      { name: "from the label", points: climb(back, place), style: "dashed", color: colors[0] },
      { name: "both lists pooled", points: climb(ascending([...there, ...back]), place), style: "dotted", color: null },
    ];
    for (const [name, value, style, color] of [["95HD, pooled", found.hd95, "solid", null], ["95HD, larger of two", found.hd95_max, "dashdot", "#009E73"]])
      if (!Number.isNaN(value)) curves.push({ name, points: [[place(value), 0], [place(value), 1]], style, color });
    const ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200].filter((n) => n <= Math.hypot(height, width));
    return { title: "% of the surface within a distance", xlabel: "distance (pixels)", curves,
      xticks: ticks.map((n) => [place(n), String(n)]), yticks: [0, 20, 40, 60, 80, 95].map((n) => [n / 100, String(n)]) };
  }

  function update(values, controls) {
    const structure = classes[values.structure][1], policy = policies[values.empty][0];
    const blob = (i) => (Math.floor(i / width) - values.row) ** 2 + ((i % width) - values.column) ** 2 < values.radius ** 2;
    const label = truth.map((c) => c === structure && !values.empty_label);
    const prediction = guess.map((c, i) => (c === structure || blob(i)) && !values.empty_prediction);
    for (const name of ["row", "column", "radius"]) controls[name].disabled = values.empty_prediction;
    const codes = label.map((l, i) => l + 2 * prediction[i]), sum = (mask) => mask.reduce((n, m) => n + m, 0);
    const edges = [surface(prediction, height, width), surface(label, height, width)];
    const sizes = { prediction: sum(prediction), label: sum(label), both: sum(codes.map((c) => c === 3)) };
    const reading = ([down, across]) => {
      const there = directed(...edges, [down, across]), back = directed(edges[1], edges[0], [down, across]);
      return { there, back, found: scores(sizes, there, back, Math.hypot(height * down, width * across), policy) };
    };
    const spacing = [values.row_mm, values.column_mm], pixels = reading([1, 1]), mm = reading(spacing);
    const number = (value, digits) => (Number.isNaN(value) ? "-" : fixed(value, digits));
    const table = {
      title: `1 pixel: ${spacing[0]} mm per row, ${spacing[1]} mm per column`, head: ["definition", "pixels", "mm"],
      rows: rows.map(([key, title]) => {
        const share = key === "dice" || key === "jaccard";
        return [title, number(pixels.found[key], share ? 3 : 2), share ? "" : number(mm.found[key], 2)];
      }),
    };
    const none = [["label", sizes.label], ["prediction", sizes.prediction]].filter(([, size]) => !size).map(([name]) => name);
    const note = none.length ? `Note: empty: ${none.join(" and ")}. Policy '${policy}': ${policies[values.empty][1]}` : "";
    const panels = [{ title: "the masks", size: [height, width], frame: null, pixels: overlay(ground, codes, colors, 0.75) }];
    return { panels, legend: data.legend, chart: chart(pixels.there, pixels.back, pixels.found), tables: [table], lines: [], message: note };
  }
  return { update };
}
