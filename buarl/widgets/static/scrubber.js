// The threshold scrubber's browser side. Masks, thresholds and predictions were computed by the
// library and packed by buarl/widgets/scrub_pack.py; here bytes are compared, counted and painted.
// One module for the notebook (anywidget) and for the self-contained page: no kernel, no network.

/** Bytes of every side, in the order in which `pack` wrote them. */
export async function unpack(header, payload) {
  const stream = new Blob([payload]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const steps = header.steps.length;
  let at = 0;
  return header.sides.map((head) => {
    const [count, height, width] = head.size;
    const take = (times) => bytes.subarray(at, (at += times * count * height * width));
    const side = { ...head, count, height, width, pixels: height * width, tallies: new Map() };
    side.grey = take(1);
    side.label = head.hasLabel ? take(1) : null;
    side.entropy = take(steps);
    side.pseudoLabel = take(steps);
    side.marks = { batch: take(steps), image: take(steps) };
    return side;
  });
}

/** Per slice, how many pixels and errors are marked at every stop; counted once per step and scope. */
function tally(side, step, scope, stops) {
  const key = `${step} ${scope}`;
  if (!side.tallies.has(key)) {
    const slices = [];
    for (let slice = 0; slice < side.count; slice++) {
      const marked = new Array(stops + 1).fill(0), both = [...marked];
      const first = slice * side.pixels, shift = step * side.count * side.pixels;
      let errors = 0, foreground = 0;
      for (let i = first; i < first + side.pixels; i++) {
        const mark = side.marks[scope][shift + i];
        marked[mark]++;
        if (side.label && side.label[i]) foreground++;
        if (side.label && side.label[i] !== side.pseudoLabel[shift + i]) {
          errors++;
          both[mark]++;
        }
      }
      for (let k = stops - 1; k >= 0; k--) {
        marked[k] += marked[k + 1];
        both[k] += both[k + 1];
      }
      slices.push({ pixels: side.pixels, marked, both, errors, foreground });
    }
    side.tallies.set(key, slices);
  }
  return side.tallies.get(key);
}

/** All numbers of one position of the sliders; buarl/widgets/scrub_readings.py is the twin. */
export function readings(side, at, stops) {
  const counts = tally(side, at.step, at.scope, stops.length).map((slice) => ({
    pixels: slice.pixels, errors: slice.errors, foreground: slice.foreground,
    marked: slice.marked[at.stop + 1], both: slice.both[at.stop + 1], // marked while stop < mark
  }));
  const all = { pixels: 0, errors: 0, foreground: 0, marked: 0, both: 0 };
  for (const slice of counts) for (const key in all) all[key] += slice[key];
  const divide = (a, b) => (b ? a / b : null);
  const numbers = { counts: counts[at.slice], all };
  for (const [ending, c] of [["", counts[at.slice]], ["_all", all]]) {
    numbers["share" + ending] = divide(c.marked, c.pixels);
    numbers["wrong" + ending] = side.label ? divide(c.errors, c.pixels) : null;
    numbers["recall" + ending] = side.label ? divide(c.both, c.errors) : null;
    numbers["precision" + ending] = side.label ? divide(c.both, c.marked) : null;
  }
  const ofImage = at.scope === "image" ? side.image[at.slice] : 0;
  numbers.threshold = side.thresholds[at.scope][at.step][at.stop][ofImage];
  const [inside, outside] = side.rule === "url" ? [1, at.alpha] : [at.alpha, 1];
  const rest = all.pixels - all.marked;
  numbers.voxel_inside = all.marked ? inside : null;
  numbers.voxel_outside = rest ? outside : null;
  numbers.region_inside = divide(inside * all.pixels, all.marked);
  numbers.region_outside = divide(outside * all.pixels, rest);
  return numbers;
}

// Colours as 32-bit pixels, red lowest, opaque.
const pixel = (r, g, b) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
const rgb = (hex, at = 1) => [0, 2, 4].map((i) => parseInt(hex.slice(at + i, at + i + 2), 16));
const ramp = (colour) => Uint32Array.from({ length: 256 }, (_, i) => pixel(...colour(i)));

/** For every view a function (out, side, at) that fills the pixels of a slice; each loops on its
 *  own, which browsers run several times faster than one loop that calls a function per pixel. */
function painters({ cividis, colours }) {
  const grey = ramp((i) => [i, i, i]);
  const doubt = ramp((i) => rgb(cividis, 6 * i));
  const mixed = (hex) => ramp((i) => rgb(hex).map((part) => Math.round(0.65 * part + 0.35 * i)));
  const own = colours.classes.slice(1).map(mixed); // of the foreground; later classes begin again
  const classes = Array.from({ length: 256 }, (_, c) => (c ? own[(c - 1) % own.length] : grey));
  const [error, uncertain, both] = ["error", "uncertain", "both"].map((k) => pixel(...rgb(colours[k])));
  const cut = (side, bytes, slice) => bytes.subarray(slice * side.pixels, (slice + 1) * side.pixels);
  const now = (side, bytes, at) => cut(side, bytes, at.step * side.count + at.slice);
  const painted = (values) => (out, side, at) => {
    const back = cut(side, side.grey, at.slice), value = values(side, at);
    for (let i = 0; i < out.length; i++) out[i] = classes[value ? value[i] : 0][value ? back[i] : 0];
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

function paint(canvas, side, at, fill) {
  if (canvas.width !== side.width) canvas.width = side.width;
  if (canvas.height !== side.height) canvas.height = side.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const picture = context.createImageData(side.width, side.height);
  fill(new Uint32Array(picture.data.buffer), side, at);
  context.putImageData(picture, 0, 0);
}

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
const short = (value) => (value === null ? "–" : Number(value.toPrecision(3)).toString());
const ROWS = [
  ["marked as uncertain", "share"], ["wrong", "wrong"],
  ["errors caught (recall)", "recall"], ["wrong among marked (precision)", "precision"],
];
const VIEWS = ["image", "label", "pseudo", "entropy", "uncertain", "errors"];
const cell = (key) => `<td data-key="${key}"></td>`;
const slider = (key, name, step = 1) =>
  `<label class="slider"><span>${name}</span><input type="range" data-key="${key}" min="0" step="${step}"
   aria-label="${name}"><output></output></label>`;
const choice = (key, title, group, pairs) =>
  `<div class="choices" role="radiogroup" aria-label="${title}"><span>${title}</span>${pairs.map(([value, name]) =>
    `<label><input type="radio" name="${key}${group}" data-key="${key}" value="${value}">${name}</label>`).join("")}</div>`;
const SIDES = { url: "labeled, URL", crl: "unlabeled, CRL" };

function page(sides, group) {
  const weights = (name, key) =>
    `<tr><th scope="row">${name}</th>${cell(key + "_inside")}${cell(key + "_outside")}${cell(key + "_ratio")}</tr>`;
  return `<div class="controls">${slider("stop", "percentile")}${slider("alpha", "alpha", 0.05)}
    ${choice("side", "images", group, sides.map((side, i) => [i, SIDES[side.rule]]))}
    ${slider("slice", "slice")}${slider("step", "training")}
    ${choice("scope", "threshold", group, [["batch", "per batch"], ["image", "per image"]])}</div>
    <div class="body"><div class="views">${VIEWS.map((view) =>
      `<figure><figcaption></figcaption><canvas role="img" data-view="${view}"></canvas></figure>`).join("")}</div>
    <div class="numbers"><table><caption>threshold <b data-key="threshold"></b></caption>
    <tr><th>share of pixels</th><th scope="col">this slice</th><th scope="col" class="many"></th></tr>
    ${ROWS.map(([name, key]) => `<tr><th scope="row">${name}</th>${cell(key)}${cell(key + "_all")}</tr>`).join("")}</table>
    <table><caption>what a pixel weighs (plain mean: 1)</caption>
    <tr><th>normalizer</th><th scope="col">uncertain</th><th scope="col">certain</th><th scope="col">ratio</th></tr>
    ${weights("per voxel", "voxel")}${weights("per region", "region")}</table>
    <div class="note" role="status"></div><div class="legend"></div></div></div>`;
}

function remarks(side, { counts, all }) {
  const texts = [];
  if (!all.marked) texts.push("Nothing is marked: no entropy exceeds the threshold (equal entropies).");
  else if (!counts.marked) texts.push("Nothing is marked in this slice.");
  if (!side.label) texts.push("No label was given, so errors are unknown.");
  else if (!counts.foreground) texts.push("The label of this slice is empty.");
  if (side.label && !counts.errors) texts.push("No errors in this slice.");
  return texts.join(" ");
}

/** Show `text` in place of the scrubber. */
function complain(root, text) {
  root.innerHTML = '<div class="message" role="alert"></div>';
  root.firstChild.textContent = text;
}

/** Put a scrubber into `el`; `shared` (position and views) is the same for all views of a model. */
export async function mount(el, header, payload, shared = { views: new Set() }) {
  const root = document.createElement("div");
  root.className = "buarl-scrubber";
  // Arrow keys are ours: JupyterLab selects cells by them (older versions listen before us).
  root.dataset.lmSuppressShortcuts = "true";
  for (const type of ["keydown", "keyup"])
    root.addEventListener(type, (event) => event.stopPropagation());
  el.append(root);
  if (header.message) return complain(root, header.message);
  try {
    shared.sides ??= await unpack(header, payload);
  } catch (error) {
    return complain(root, `The pictures could not be unpacked; a browser of 2023 or later is needed. ${error}`);
  }
  const { sides, views } = shared, { stops, steps } = header;
  const at = (shared.at ??= {
    side: 0, step: steps.length - 1, alpha: 0.5, scope: "batch",
    stop: sides.map((side) => side.start), slice: sides.map((side) => side.slice),
  });
  root.innerHTML = page(sides, Math.random().toString(36).slice(2));
  const find = (selector) => root.querySelector(selector);
  const inputs = [...root.querySelectorAll("input")], fillers = painters(header);
  const now = () => ({ ...at, stop: at.stop[at.side], slice: at.slice[at.side] });

  function draw(only) {
    const side = sides[at.side], here = now(), numbers = readings(side, here, stops);
    for (const view of only ?? VIEWS) paint(find(`[data-view=${view}]`), side, here, fillers[view]);
    for (const key of ["voxel", "region"]) {
      const [inside, outside] = [numbers[`${key}_inside`], numbers[`${key}_outside`]];
      numbers[`${key}_ratio`] = inside !== null && outside ? inside / outside : null;
    }
    for (const target of root.querySelectorAll("td[data-key], b[data-key]")) {
      const { key } = target.dataset, value = numbers[key];
      target.dataset.value = value;
      if (key === "threshold") target.textContent = `${value.toFixed(3)} nats`;
      else if (key.endsWith("ratio")) target.textContent = value === null ? "–" : `${short(value)} : 1`;
      else target.textContent = /voxel|region/.test(key) ? short(value) : percent(value);
    }
    const limits = { stop: stops.length, slice: side.count, step: steps.length, alpha: 2 };
    const said = {
      stop: `${stops[here.stop]}`, alpha: at.alpha.toFixed(2),
      slice: `${here.slice + 1} of ${side.count}`, step: steps[at.step],
    };
    for (const input of inputs) {
      const { key } = input.dataset;
      if (input.type === "radio") input.checked = String(here[key]) === input.value;
      else {
        input.max = limits[key] - 1;
        input.disabled = limits[key] === 1;
        input.value = here[key];
        input.nextSibling.textContent = said[key];
        input.setAttribute("aria-valuetext", `${said[key]}; ${percent(numbers.share)} of pixels marked`);
      }
    }
    const hidden = side.rule === "crl" ? ", hidden in training" : "";
    const captions = {
      image: side.names[here.slice], label: `label${side.label ? hidden : ": none given"}`,
      pseudo: side.rule === "crl" ? "pseudo-label" : "prediction",
      entropy: `entropy 0–${side.highest.toFixed(2)} nats`,
      uncertain: `${side.rule.toUpperCase()} mask, q = ${stops[here.stop]}`, errors: "errors",
    };
    for (const canvas of root.querySelectorAll("canvas")) {
      const caption = captions[canvas.dataset.view];
      canvas.previousSibling.textContent = canvas.previousSibling.title = caption;
      canvas.setAttribute("aria-label", caption);
    }
    find(".many").textContent = `all ${side.count}`;
    const note = remarks(side, numbers);
    if (find(".note").textContent !== note) find(".note").textContent = note; // spoken only if new
    legend(find(".legend"), side, header.colours);
  }

  function change({ target }) {
    const { key } = target.dataset, value = key === "scope" ? target.value : Number(target.value);
    if (Array.isArray(at[key])) at[key][at.side] = value;
    else at[key] = value;
    const only = { stop: ["uncertain"], scope: ["uncertain"], alpha: [] }[key];
    for (const redraw of views) redraw(only);
  }
  root.addEventListener("input", change);
  // JupyterLab takes cells off the page while they are out of sight: paint again on the way back.
  const seen = new IntersectionObserver((found) => found.some((e) => e.isIntersecting) && draw());
  seen.observe(root);
  views.add(draw);
  draw();
  return () => (seen.disconnect(), views.delete(draw));
}

function legend(el, side, colours) {
  const wanted = side.rule + side.classes.length;
  if (el.dataset.shown === wanted) return;
  el.dataset.shown = wanted;
  const names = side.classes.slice(1).map((name, i) => [colours.classes[1 + (i % (colours.classes.length - 1))], name]);
  const marks = [[colours.uncertain, side.label ? "uncertain, correct" : "uncertain"]];
  if (side.label) marks.push([colours.both, "uncertain and wrong"], [colours.error, "error"]);
  el.replaceChildren(...[...names, ...marks].map(([colour, name]) => {
    const entry = document.createElement("span"), swatch = document.createElement("i");
    swatch.style.background = colour;
    entry.append(swatch, name);
    return entry;
  }));
}

const known = new WeakMap(); // model -> what its views share: no kernel, no comm
export default {
  async render({ model, el }) {
    if (!known.has(model)) known.set(model, { views: new Set() });
    const data = model.get("_payload");
    const payload = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return mount(el, JSON.parse(model.get("_header")), payload, known.get(model));
  },
};
