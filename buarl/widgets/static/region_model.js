// What a rule makes of a batch's loss, as buarl.widgets.explorers.region_terms computes it.

const MEANS = { voxel: "all voxels", region: "each region" };
const HEAD = ["region", "weight", "voxels", "share", "CE", "Dice", "of CE loss"];

/** Regions of a rule: a mask and a weight each, uncertain first. */
function regionsOf(name, cut, alpha, entropy, sorted) {
  if (name === "whole") return [{ mask: entropy.map(() => 1), weight: 1 }];
  const threshold = percentile(sorted, cut), mask = entropy.map((value) => (value > threshold ? 1 : 0));
  const [uncertain, certain] = { url: [1, alpha], crl: [alpha, 1], drop: [0, 1] }[name];
  return [{ mask, weight: uncertain }, { mask: mask.map((m) => 1 - m), weight: certain }];
}

/** Mean cross-entropy and Dice loss under a weight for every voxel. */
function losses({ ce, probs, target, classes }, weights, voxels, dice) {
  const count = ce.length;
  let total = 0, score = 0;
  for (let i = 0; i < count; i++) total += weights[i] * ce[i];
  for (let c = 0; c < classes; c++) {
    let overlap = 0, predicted = 0, true_ = 0;
    for (let i = 0; i < count; i++) {
      const p = probs[c * count + i], y = target[i] === c ? 1 : 0;
      overlap += weights[i] * p * y;
      predicted += weights[i] * p * p;
      true_ += weights[i] * y;
    }
    score += (2 * overlap + dice.smooth) / (predicted + true_ + dice.smooth) / classes;
  }
  return { ce: total / Math.max(voxels, 1), dice: 1 - score };
}

function reading(term, regions, reduction, dice) {
  const count = (mask) => mask.reduce((sum, m) => sum + m, 0);
  const parts = regions.map(({ mask, weight }) => ({ weight, voxels: count(mask), ...losses(term, mask, count(mask), dice) }));
  const all = parts.reduce((sum, part) => sum + part.voxels, 0);
  const weighed = parts.map((p) => p.weight * p.ce * (reduction === "region" ? 1 : p.voxels / all));
  const total = Math.max(weighed.reduce((a, b) => a + b, 0), 1e-12);
  let loss;
  if (reduction === "region") loss = parts.reduce((sum, p) => sum + p.weight * 0.5 * (p.ce + p.dice), 0);
  else {
    const weights = term.ce.map((_, i) => regions.reduce((sum, r) => sum + r.weight * r.mask[i], 0));
    const whole = losses(term, weights, all, dice);
    loss = 0.5 * (whole.ce + whole.dice);
  }
  return { parts, shares: weighed.map((value) => value / total), loss };
}

function partsTable(kind, name, cut, reduction, { parts, shares, loss }) {
  const all = parts.reduce((sum, part) => sum + part.voxels, 0), names = parts.length === 1 ? ["all"] : ["uncertain", "certain"];
  const at = name === "whole" ? "" : ` at ${cut}`;
  const rows = parts.map((p, i) => [names[i], fixed(p.weight, 2), String(p.voxels), `${fixed((100 * p.voxels) / all, 1)}%`,
    fixed(p.ce, 3), fixed(p.dice, 3), `${fixed(100 * shares[i], 0)}%`]);
  return { title: `${kind}: ${name}${at}, mean over ${MEANS[reduction]}, loss ${fixed(loss, 4)}`, head: HEAD, rows };
}

/** A model for `alone`: what the region explorer shows for the values of its controls. */
export function regionModel(data) {
  const { height, width, colors, uncertain, dice } = data, size = height * width;
  const terms = Object.entries(data.terms).map(([kind, term]) => {
    const entropy = decoded(term.entropy, Float32Array);
    return { kind, classes: term.classes, entropy, sorted: ascending(entropy), ce: decoded(term.ce, Float32Array),
      probs: decoded(term.probs, Float32Array), target: decoded(term.target, Uint8Array), ground: decoded(term.ground, Uint8Array) };
  });

  function panels(term, regions, image) {
    const cut = (values) => values.slice(image * size, (image + 1) * size), ground = gray(cut(term.ground)), target = cut(term.target);
    const inside = overlay(ground, target, colors, 0.55), edge = borders(target, height, width);
    const masks = regions.map((region) => Uint8Array.from(cut(region.mask)));
    let marked = masks.length === 2 ? overlay(ground, masks[0], [uncertain], 0.85) : ground;
    regions.forEach(({ weight }, i) => {
      const stripes = masks[i].map((m, at) => (m && (Math.floor(at / width) + (at % width)) % 4 < 2 ? 1 : 0));
      if (weight === 0) marked = overlay(marked, stripes, ["#000000"], 0.9);
    });
    const what = term.kind === "labeled" ? "label" : "pseudo-label";
    return [{ title: `${term.kind}: ${what}`, pixels: overlay(inside, edge, colors, 1) }, { title: `${term.kind}: regions`, pixels: marked }]
      .map((panel) => ({ ...panel, size: [height, width], frame: null }));
  }

  function update(values, controls) {
    const shown = { panels: [], legend: { "uncertain region": uncertain }, chart: null, tables: [], lines: [] }, total = [], notes = [];
    let striped = false;
    for (const term of terms) {
      const { kind } = term, value = (part) => values[`${kind} ${part}`], option = (part) => controls[`${kind} ${part}`].options[value(part)];
      const name = option("rule"), cut = Number(option("percentile")), reduction = option("reduction");
      controls[`${kind} percentile`].disabled = name === "whole";
      controls[`${kind} alpha`].disabled = name === "whole" || name === "drop";
      const regions = regionsOf(name, cut, value("alpha"), term.entropy, term.sorted), found = reading(term, regions, reduction, dice);
      shown.panels.push(...panels(term, regions, values.image - 1));
      shown.tables.push(partsTable(kind, name, cut, reduction, found));
      total.push(found.loss);
      striped ||= regions.some((region) => region.weight === 0);
      if (!found.parts[0].voxels) notes.push(`${kind}: no entropy exceeds the percentile (constant or tied entropies), so the uncertain region is empty and adds nothing to the loss.`);
    }
    const sum = total[0] + values.weight * total[1];
    shown.lines.push(`LOSS = ${fixed(total[0], 4)} + ${Number(values.weight.toPrecision(6))} x ${fixed(total[1], 4)} = ${fixed(sum, 4)}`);
    if (striped) shown.lines.push("Black stripes: weight 0, so these voxels are left out of the loss.");
    return { ...shown, message: notes.length ? `Note: ${notes.join("\n")}` : "" };
  }
  return { update };
}
