// The browser side of an explorer: controls, pictures, curves and read-outs. Python computes; here
// values are sent when a control moves, and what comes back is drawn.

const svg = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const tag = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const DASHES = { solid: "", dashed: "6 4", dotted: "1.5 4", dashdot: "9 3 2 3" };

/** A row of the panel for one control; `send(value)` tells Python. */
function row(control, section, send) {
  const { kind, label } = control, name = section ? `${label}, ${section}` : label;
  if (kind === "button") {
    const input = tag("button", { type: "button" }, label);
    input.addEventListener("click", () => send((control.value += 1)));
    return { el: tag("div", {}, input), input, show() {} };
  }
  if (kind === "check") {
    const input = tag("input", { type: "checkbox" });
    input.addEventListener("input", () => send(input.checked));
    return { el: tag("label", { class: "check" }, input, label), input, show: ({ value }) => (input.checked = value) };
  }
  if (kind === "slider") {
    const input = tag("input", { type: "range", "aria-label": name }), output = tag("output");
    const el = tag("label", { class: "slider" }, tag("span", {}, label), input, output);
    const says = () => (control.options ? control.options[input.value] : Number(input.value).toFixed(control.digits));
    const say = () => {
      output.textContent = says();
      input.setAttribute("aria-valuetext", says());
    };
    input.addEventListener("input", () => (say(), send(Number(input.value))));
    return { el, input, show(now) {
      control = now;
      Object.assign(input, { min: now.min, max: now.max, step: now.step });
      input.value = now.value;
      say();
    } };
  }
  const input = tag("select", { "aria-label": name, ...(kind === "list" ? { size: 8 } : {}) });
  input.addEventListener("input", () => send(input.selectedIndex));
  const look = control.options.some((text) => text.length > 14) ? { class: "long" } : {};
  return { el: tag("label", look, ...(kind === "list" ? [] : [tag("span", {}, label)]), input), input, show({ options, value }) {
    if (input.dataset.options !== options.join("\n")) input.replaceChildren(...options.map((text) => tag("option", {}, text)));
    input.dataset.options = options.join("\n");
    input.selectedIndex = value;
  } };
}

/** Pictures as they are, one dot a pixel; the browser enlarges without blurring. */
function paint(figures, heads, bytes) {
  while (figures.children.length > heads.length) figures.lastChild.remove();
  while (figures.children.length < heads.length)
    figures.append(tag("figure", {}, tag("figcaption"), tag("div", { class: "ground" }, tag("canvas", { role: "img" }), tag("i"))));
  let at = 0;
  heads.forEach(({ title, size: [height, width], frame }, number) => {
    const figure = figures.children[number], canvas = figure.querySelector("canvas"), box = figure.querySelector("i");
    figure.firstChild.textContent = title.replaceAll("_", "_\u200b");
    canvas.setAttribute("aria-label", title);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d"), picture = context.createImageData(width, height), out = picture.data;
    for (let i = 0; i < out.length; i += 4, at += 3) {
      out[i] = bytes[at];
      out[i + 1] = bytes[at + 1];
      out[i + 2] = bytes[at + 2];
      out[i + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    box.hidden = !frame;
    if (frame) {
      const share = (n, of) => `${(100 * n) / of}%`;
      Object.assign(box.style, { top: share(frame[0], height), left: share(frame[1], width),
        height: share(frame[2], height), width: share(frame[3], width) });
    }
  });
}

/** Curves in the colors of the page, with their names below. */
function plot(el, chart) {
  el.hidden = !chart;
  if (!chart) return;
  const W = 400, H = 230, left = 34, low = 22, top = 8, right = 8;
  const x = (v) => left + v * (W - left - right), y = (v) => H - low - v * (H - low - top);
  const drawn = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${chart.title}; ${chart.xlabel}` });
  const text = (at, anchor, words) => {
    const made = svg("text", { ...at, "text-anchor": anchor });
    made.textContent = words;
    drawn.append(made);
  };
  for (const [place, words] of chart.yticks) {
    drawn.append(svg("line", { class: "grid", x1: x(0), x2: x(1), y1: y(place), y2: y(place) }));
    text({ x: left - 4, y: y(place) + 4 }, "end", words);
  }
  for (const [place, words] of chart.xticks) text({ x: x(place), y: H - 6 }, "middle", words);
  const look = ({ style, color }) => ({ "stroke-dasharray": DASHES[style], stroke: color ?? "currentColor", fill: "none", "stroke-width": 2 });
  for (const curve of chart.curves)
    drawn.append(svg("polyline", { points: curve.points.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), ...look(curve) }));
  const names = chart.curves.map((curve) => {
    const swatch = svg("svg", { viewBox: "0 0 30 8", class: "swatch", "aria-hidden": "true" });
    swatch.append(svg("line", { x1: 0, x2: 30, y1: 4, y2: 4, ...look(curve) }));
    return tag("span", {}, swatch, curve.name);
  });
  el.replaceChildren(tag("figcaption", {}, chart.title), drawn,
    tag("div", { class: "xlabel" }, chart.xlabel), tag("div", { class: "legend" }, ...names));
}

function table({ title, head, rows }) {
  const cells = (values, name, first) => values.map((value, i) => tag(i ? name : first, i ? {} : { scope: "row" }, value));
  const made = tag("table", {}, ...(title ? [tag("caption", {}, title)] : []), tag("tr", {}, ...cells(head, "th", "th")));
  made.append(...rows.map((values) => tag("tr", {}, ...cells(values, "td", "th"))));
  return made;
}

/** Put an explorer into `el`; moved(name, value, when) and read(name) reach its model. */
export function mount(el, read, moved) {
  const root = tag("div", { class: "buarl buarl-explorer", "data-lm-suppress-shortcuts": "true" });
  for (const type of ["keydown", "keyup"]) root.addEventListener(type, (event) => event.stopPropagation());
  const message = tag("div", { class: "message" }), frame = tag("div", { class: "frame" });
  const controls = tag("div", { class: "controls" }), views = tag("div", { class: "views" });
  const legend = tag("div", { class: "legend" }), chart = tag("figure", { class: "chart" });
  const readout = tag("div", { class: "readout", role: "status" });
  const pictures = tag("div", { class: "pictures" }, views, legend);
  frame.append(controls, tag("div", { class: "shown" }, pictures, chart, readout));
  root.append(message, frame);
  el.append(root);
  const rows = {}, sent = {}; // per name: its row, and when it was last moved here

  for (const { title, controls: own } of read("_controls").sections) {
    const set = tag("fieldset", {}, tag("legend", {}, title));
    for (const control of own) {
      const { name } = control;
      sent[name] = 0;
      rows[name] = row(control, title, (value) => moved(name, value, (sent[name] = performance.timeOrigin + performance.now())));
      set.append(rows[name].el);
    }
    controls.append(set);
  }

  function turn() {
    const { sections, seen } = read("_controls");
    for (const control of sections.flatMap((section) => section.controls)) {
      rows[control.name].input.disabled = Boolean(control.disabled);
      // A control still under way stays where the hand is; Python's answer is to an earlier place.
      if (sent[control.name] <= (seen[control.name] ?? 0) || document.activeElement !== rows[control.name].input)
        rows[control.name].show(control);
    }
  }
  function show() {
    const shown = read("_shown"), bytes = read("_pixels");
    message.textContent = shown.message;
    message.setAttribute("role", shown.wrong ? "alert" : "status");
    message.hidden = !shown.message;
    frame.hidden = !shown.panels;
    if (!shown.panels) return;
    paint(views, shown.panels, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    views.style.setProperty("--count", shown.panels.length);
    Object.assign(root.dataset, { panels: shown.panels.length, tables: shown.tables.length });
    legend.replaceChildren(...Object.entries(shown.legend).map(([name, color]) => {
      const swatch = tag("i");
      swatch.style.background = color;
      return tag("span", {}, swatch, name);
    }));
    plot(chart, shown.chart);
    readout.replaceChildren(...shown.tables.map(table), ...shown.lines.map((line) => tag("p", {}, line)));
  }
  turn();
  show();
  return { turn, show };
}

export default {
  render({ model, el }) {
    const moved = (name, value, when) => {
      model.set("_moved", { ...model.get("_moved"), [name]: [value, when] });
      model.save_changes();
    };
    const { turn, show } = mount(el, (name) => model.get(name), moved);
    model.on("change:_controls", turn);
    for (const key of ["_shown", "_pixels"]) model.on(`change:${key}`, show);
    return () => {
      model.off("change:_controls", turn);
      for (const key of ["_shown", "_pixels"]) model.off(`change:${key}`, show);
    };
  },
};
