// The threshold scrubber's page: controls, pictures, histogram, read-outs. One module, after
// readings.js and paint.js, for the notebook (anywidget) and for the self-contained page: no kernel,
// no network.

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
const short = (value) => (value === null ? "–" : Number(value.toPrecision(3)).toString());
const ROWS = [
  ["marked", "share"], ["precision", "precision"], ["wrong, of all", "wrong"], ["recall", "recall"],
  ["recall, at most", "ceiling"],
];
const VIEWS = ["image", "label", "pseudo", "entropy", "uncertain", "errors"];
const SIDES = { url: "labeled, URL", crl: "unlabeled, CRL" };
const cell = (key) => `<td data-key="${key}"></td>`;
const slider = (key, name, step = 1, look = "") =>
  `<label class="slider ${look}"><span>${name}</span><input type="range" data-key="${key}" min="0" step="${step}"
   aria-label="${name}"><output></output></label>`;
const choice = (key, title, group, pairs) =>
  `<div class="choices" role="radiogroup" aria-label="${title}"><span>${title}</span><div>${pairs.map(([value, name]) =>
    `<label><input type="radio" name="${key}${group}" data-key="${key}" value="${value}">${name}</label>`).join("")}</div></div>`;
const weights = (name, key) =>
  `<tr><th scope="row">${name}</th>${cell(key + "_inside")}${cell(key + "_outside")}${cell(key + "_ratio")}</tr>`;

function page(sides, group) {
  return `<div class="frame"><div class="left">
  <div class="controls">${slider("stop", "percentile")}${slider("alpha", "alpha", 0.05)}
    ${slider("slice", "slice")}${slider("step", "training", 1, "long")}
    ${choice("side", "images", group, sides.map((side, i) => [i, SIDES[side.rule]]))}
    ${choice("scope", "threshold", group, [["batch", "per batch"], ["image", "per image"]])}</div>
  <figure class="spread"><figcaption>entropies, threshold <b data-key="threshold"></b></figcaption>
    <svg viewBox="0 0 ${BINS} 20" preserveAspectRatio="none" role="img"><path class="all"/><path class="wrong"/>
    <line y1="0" y2="20"/></svg><div class="axis"><span>0</span><span>pixels, logarithmic</span><span></span></div></figure>
  <div class="numbers"><table><tr><th>share of pixels</th><th scope="col">this slice</th><th scope="col" class="many"></th></tr>
    ${ROWS.map(([name, key]) => `<tr><th scope="row">${name}</th>${cell(key)}${cell(key + "_all")}</tr>`).join("")}</table>
    <table><caption>a pixel's weight (plain mean: 1)</caption>
    <tr><th>mean over</th><th scope="col">uncertain</th><th scope="col">certain</th><th scope="col">ratio</th></tr>
    ${weights("all voxels", "voxel")}${weights("a region", "region")}</table></div></div>
  <div class="right"><div class="views" tabindex="0" role="group" aria-label="pictures; arrow keys move the pointer">${VIEWS.map((view) =>
    `<figure><figcaption></figcaption><div class="ground"><canvas role="img" data-view="${view}"></canvas><i></i></div></figure>`).join("")}</div>
  <div class="below"><div class="legend"></div><p class="sentence"></p><div class="probe" role="status"></div>
  <div class="note" role="status"></div></div></div></div>`;
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

/** Precision and recall of all slices in words. */
function sentence(side, { share_all, precision_all, wrong_all, recall_all, ceiling_all }) {
  const first = `The ${percent(share_all)} of pixels with the highest entropy`;
  if (!side.label) return `${first} are marked.`;
  if (precision_all === null || recall_all === null) return "";
  return `${first}: ${percent(precision_all)} of them are wrong (precision; of all pixels: ${percent(wrong_all)}). ` +
    `They hold ${percent(recall_all)} of all errors (recall; so few pixels can hold ${percent(ceiling_all)} at most).`;
}

/** One pixel in words. */
function described(side, at, row, column) {
  const { entropy, probability, guess, label, marked } = pixelAt(side, at, row, column);
  const right = label === null ? "" : label === guess ? ", which is right" : `; label ${side.classes[label]}`;
  return `row ${row}, column ${column}: entropy ${entropy.toFixed(2)} nats, ${marked ? "uncertain" : "certain"}; ` +
    `${side.classes[guess]} with probability ${probability.toFixed(2)}${right}`;
}

/** Show `text` in place of the scrubber. */
function complain(root, text) {
  root.innerHTML = '<div class="message" role="alert"></div>';
  root.firstChild.textContent = text;
}

/** Put a scrubber into `el`; `shared` (position and views) is the same for all views of a model. */
export async function mount(el, header, payload, shared = { views: new Set() }) {
  const root = document.createElement("div");
  root.className = "buarl buarl-scrubber";
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
  const find = (selector) => root.querySelector(selector), all = (selector) => [...root.querySelectorAll(selector)];
  const inputs = all("input"), fillers = painters(header), canvases = all("canvas");
  const cells = all("td[data-key], b[data-key]"), pictures = find(".views");
  const now = () => ({ ...at, stop: at.stop[at.side], slice: at.slice[at.side] });
  const say = (selector, text) => find(selector).textContent !== text && (find(selector).textContent = text);
  let pointed = null; // [row, column] under the pointer

  function draw(only) {
    const side = sides[at.side], here = now(), numbers = readings(side, here, stops);
    for (const canvas of canvases)
      if (!only || only.includes(canvas.dataset.view)) paint(canvas, side, here, fillers[canvas.dataset.view]);
    for (const key of ["voxel", "region"]) {
      const [inside, outside] = [numbers[`${key}_inside`], numbers[`${key}_outside`]];
      numbers[`${key}_ratio`] = inside !== null && outside ? inside / outside : null;
    }
    for (const target of cells) {
      const { key } = target.dataset, value = numbers[key];
      target.dataset.value = value;
      if (key === "threshold") target.textContent = `${value.toFixed(3)} nats`;
      else if (key.endsWith("ratio")) target.textContent = value === null ? "–" : `${short(value)} : 1`;
      else target.textContent = /voxel|region/.test(key) ? short(value) : percent(value);
    }
    turn(side, here, numbers);
    caption(side, here);
    histogram(find(".spread"), side, here, numbers.threshold);
    find(".many").textContent = `all ${side.count}`;
    say(".sentence", sentence(side, numbers));
    say(".note", remarks(side, numbers)); // spoken only if new
    point();
    legend(find(".legend"), side, header.colors);
  }

  /** Controls to where they stand. */
  function turn(side, here, numbers) {
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
  }

  function caption(side, here) {
    pictures.style.setProperty("--ratio", side.height / side.width);
    const hidden = side.rule === "crl" ? ", hidden in training" : "";
    const captions = {
      image: side.names[here.slice].replaceAll("_", "_\u200b"), label: `label${side.label ? hidden : ": none given"}`,
      pseudo: side.rule === "crl" ? "pseudo-label" : "prediction",
      entropy: `entropy, 0 to ${side.highest.toFixed(2)} nats`,
      uncertain: `uncertain, percentile ${stops[here.stop]}`, errors: "errors",
    };
    for (const canvas of canvases) {
      const text = captions[canvas.dataset.view], title = canvas.parentNode.previousSibling;
      if (title.textContent === text) continue;
      title.textContent = text;
      canvas.setAttribute("aria-label", text);
    }
  }

  /** The cross on all pictures and the words below them. */
  function point() {
    const side = sides[at.side];
    pictures.classList.toggle("pointed", pointed !== null);
    if (!pointed) return say(".probe", "Point at a pixel, or press Tab until the pictures are framed, then the arrow keys.");
    const [row, column] = (pointed = [Math.min(pointed[0], side.height - 1), Math.min(pointed[1], side.width - 1)]);
    pictures.style.setProperty("--x", `${(100 * (column + 0.5)) / side.width}%`);
    pictures.style.setProperty("--y", `${(100 * (row + 0.5)) / side.height}%`);
    say(".probe", described(side, now(), row, column));
  }

  function change({ target }) {
    const { key } = target.dataset, value = key === "scope" ? target.value : Number(target.value);
    if (Array.isArray(at[key])) at[key][at.side] = value;
    else at[key] = value;
    const only = { stop: ["uncertain"], scope: ["uncertain"], alpha: [] }[key];
    for (const redraw of views) redraw(only);
  }
  root.addEventListener("input", change);
  pictures.addEventListener("pointermove", ({ target, offsetX, offsetY }) => {
    if (target.tagName !== "CANVAS") return;
    pointed = [Math.floor((offsetY / target.clientHeight) * target.height), Math.floor((offsetX / target.clientWidth) * target.width)];
    point();
  });
  pictures.addEventListener("pointerleave", () => ((pointed = null), point()));
  pictures.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const { height, width } = sides[at.side], from = pointed ?? [height >> 1, width >> 1];
    pointed = pointed ? from.map((n, axis) => Math.max(0, n + by[axis])) : from;
    point();
  });
  // JupyterLab takes cells off the page while they are out of sight: paint again on the way back.
  const seen = new IntersectionObserver((found) => found.some((e) => e.isIntersecting) && draw());
  seen.observe(root);
  views.add(draw);
  draw();
  return () => (seen.disconnect(), views.delete(draw));
}

/** Bars are drawn anew only when other pixels are counted; the line moves with the threshold. */
function histogram(figure, side, at, threshold) {
  const counted = spread(side, at), [all, wrong] = figure.querySelectorAll("path"), line = figure.querySelector("line");
  if (figure.counted !== counted) {
    figure.counted = counted;
    const most = Math.log1p(Math.max(...counted.all));
    const bars = (counts) => counts.map((n, i) => (n ? `M${i} 20v${((-20 * Math.log1p(n)) / most).toFixed(2)}h.9V20` : "")).join("");
    all.setAttribute("d", bars(counted.all));
    wrong.setAttribute("d", bars(counted.wrong));
    figure.querySelector(".axis").lastChild.textContent = side.highest.toFixed(2);
  }
  const x = (BINS * threshold) / side.highest;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  figure.querySelector("svg").setAttribute("aria-label", `histogram of entropy, threshold at ${threshold.toFixed(3)} nats`);
}

function legend(el, side, colors) {
  const wanted = side.rule + side.classes.length;
  if (el.dataset.shown === wanted) return;
  el.dataset.shown = wanted;
  const names = side.classes.slice(1).map((name, i) => [colors.classes[1 + (i % (colors.classes.length - 1))], name]);
  const marks = [[colors.uncertain, side.label ? "uncertain, yet right" : "uncertain"]];
  if (side.label) marks.push([colors.both, "uncertain and wrong"], [colors.error, "wrong"]);
  el.replaceChildren(...[...names, ...marks].map(([color, name]) => {
    const entry = document.createElement("span"), swatch = document.createElement("i");
    swatch.style.background = color;
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
