// An explorer on a page: the model answers where Python would, so nothing has to run elsewhere.

/** Put an explorer into `el`. sections: controls as Python sends them. model: update(values, controls). */
export function alone(el, sections, model) {
  const controls = Object.fromEntries(sections.flatMap((section) => section.controls).map((control) => [control.name, control]));
  const seen = {}, state = {};
  const compute = () => {
    const values = Object.fromEntries(Object.entries(controls).map(([name, { value }]) => [name, value]));
    const { panels, ...shown } = model.update(values, controls);
    Object.assign(state, { _controls: { sections, seen }, _pixels: joined(panels),
      _shown: { ...shown, panels: panels.map(({ title, size, frame }) => ({ title, size, frame })), wrong: false } });
  };
  compute();
  const view = mount(el, (name) => state[name], (name, value, when) => {
    controls[name].value = value;
    seen[name] = when;
    compute();
    view.turn();
    view.show();
  });
  return state;
}
