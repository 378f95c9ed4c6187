// The threshold scrubber's arithmetic. Masks, thresholds and predictions were computed by the library
// and packed by buarl/widgets/scrub_pack.py; here bytes are compared and counted.

/** Bytes of every side, in the order in which `pack` wrote them. */
export async function unpack(header, payload) {
  const stream = new Blob([payload]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const steps = header.steps.length;
  let at = 0;
  return header.sides.map((head) => {
    const [count, height, width] = head.size;
    const take = (times) => bytes.subarray(at, (at += times * count * height * width));
    const side = { ...head, count, height, width, pixels: height * width, tallies: new Map(), spreads: new Map() };
    side.grey = take(1);
    side.label = head.hasLabel ? take(1) : null;
    side.entropy = take(steps);
    side.pseudoLabel = take(steps);
    side.probability = take(steps);
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

const divide = (a, b) => (b ? a / b : null);

/** All numbers of one position of the sliders; buarl/widgets/scrub_readings.py is the twin. */
export function readings(side, at, stops) {
  const counts = tally(side, at.step, at.scope, stops.length).map((slice) => ({
    pixels: slice.pixels, errors: slice.errors, foreground: slice.foreground,
    marked: slice.marked[at.stop + 1], both: slice.both[at.stop + 1], // marked while stop < mark
  }));
  const all = { pixels: 0, errors: 0, foreground: 0, marked: 0, both: 0 };
  for (const slice of counts) for (const key in all) all[key] += slice[key];
  const numbers = { counts: counts[at.slice], all };
  for (const [ending, c] of [["", counts[at.slice]], ["_all", all]]) {
    const known = (a, b) => (side.label ? divide(a, b) : null);
    numbers["share" + ending] = divide(c.marked, c.pixels);
    numbers["wrong" + ending] = known(c.errors, c.pixels);
    numbers["precision" + ending] = known(c.both, c.marked);
    numbers["recall" + ending] = known(c.both, c.errors);
    numbers["ceiling" + ending] = known(Math.min(c.marked, c.errors), c.errors);
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

export const BINS = 64; // of the histogram, four levels of entropy each

/** How often each entropy occurs among the pixels that share a threshold, and how often it is wrong. */
export function spread(side, { step, scope, slice }) {
  const image = scope === "image" ? side.image[slice] : null, key = `${step} ${image}`;
  if (!side.spreads.has(key)) {
    const all = new Array(BINS).fill(0), wrong = [...all], shift = step * side.count * side.pixels;
    for (let n = 0; n < side.count; n++) {
      if (image !== null && side.image[n] !== image) continue;
      for (let i = n * side.pixels; i < (n + 1) * side.pixels; i++) {
        const bin = side.entropy[shift + i] >> 2;
        all[bin]++;
        if (side.label && side.label[i] !== side.pseudoLabel[shift + i]) wrong[bin]++;
      }
    }
    side.spreads.set(key, { all, wrong });
  }
  return side.spreads.get(key);
}

/** What the library says of one pixel, to the precision of a byte. */
export function pixelAt(side, at, row, column) {
  const inSlice = at.slice * side.pixels + row * side.width + column;
  const here = at.step * side.count * side.pixels + inSlice;
  return {
    entropy: (side.entropy[here] / 255) * side.highest, probability: side.probability[here] / 255,
    guess: side.pseudoLabel[here], label: side.label ? side.label[inSlice] : null,
    marked: side.marks[at.scope][here] > at.stop,
  };
}
