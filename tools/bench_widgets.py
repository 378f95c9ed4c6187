"""How long a tick of the threshold scrubber takes in Chromium, and a redraw of each explorer here.

    python tools/bench_widgets.py

Two figures over 100 ticks of each slider: the work of a tick (event to last pixel written), and the
time until the next frame has been painted, which also holds the wait for that frame (60 a second);
8 slices of 256x256. Goal: 16 ms median, 33 ms at the 95th percentile. Then the explorers, 64x64 on
the phantom: from a moved control to the new pixels, in Python. Goal: 100 ms. No test depends on it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import buarl
from buarl import widgets
from buarl.data.batches import Batches
from buarl.evaluation.evaluate import predict_volume
from buarl.lessons.trained import lesson_row, trained
from buarl.widgets.explorers.controls import Control
from buarl.widgets.scrub import write_page
from buarl.widgets.scrub_pack import Side, pack

TICKS = """async (key) => {
  const input = document.querySelector(`input[data-key=${key}]`), count = Number(input.max) + 1;
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;  // after the frame's paint
    port2.postMessage(0);
  }));
  const work = [], painted = [];
  for (let tick = 0; tick < 105; tick++) {
    await new Promise((done) => setTimeout(done, 20 * Math.random()));  // as a hand: at any time
    const from = performance.now();
    input.value = key === "alpha" ? (tick % 21) / 20 : tick % count;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    work.push(performance.now() - from);
    await frame();
    painted.push(performance.now() - from);
  }
  return [work.slice(5), painted.slice(5)];
}"""


def example_side(size: int = 256, slices: int = 8, steps: int = 3) -> Side:
    """Random but smooth enough to look like doubt along edges."""
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(steps, slices, 4, size, size)).astype(np.float32)
    probs = np.exp(logits)
    probs /= probs.sum(2, keepdims=True)
    labels = np.where(random.random((slices, size, size)) < 0.9, probs[-1].argmax(1), 0)
    images = random.random((slices, size, size), dtype=np.float32)
    names = [str(i) for i in range(slices)]
    return Side("url", images, labels, probs, [str(i) for i in range(steps)], names)


def explorer_times(count: int = 20) -> dict[str, list[float]]:
    """Milliseconds per redraw, per explorer and control."""
    source = buarl.open_source("phantom")
    config = buarl.config_for(lesson_row("BCP + URL + CRL", source))
    method = trained(lesson_row("BCP + URL + CRL", source), source)
    batch = Batches(source, config.labeled, config.image_size).batch((0, 1), 0, 8, 8)
    labeled, unlabeled = widgets.method_terms(method, batch)
    volume = source.volume(source.cases("val")[0])
    prediction, _ = predict_volume(method.student, volume.image, source.rank, config)
    middle = len(volume.label) // 2
    boxes = {
        ("regions", "labeled percentile"): widgets.region_explorer(labeled, unlabeled),
        ("copy-paste", "row"): widgets.copy_paste_explorer(
            labeled.image, labeled.target, unlabeled.image, unlabeled.target, source.class_names
        ),
        ("cases", "index"): widgets.case_browser(method, source, config),
        ("metrics", "row"): widgets.metric_explorer(
            volume.label[middle], prediction[middle], volume.image[middle], source.class_names
        ),
    }
    return {", ".join(key): moved(box.controls[key[1]], count) for key, box in boxes.items()}


def moved(control: Control, count: int) -> list[float]:
    """Milliseconds of each of so many moves of a slider."""
    options = getattr(control, "options", None)
    pairs = [o[1] if isinstance(o, tuple) else o for o in options or ()]
    stops = range(int(control.min), int(control.max) + 1) if options is None else pairs
    others = [stop for stop in stops if stop != control.value]
    times = []
    for tick in range(count):
        started = time.perf_counter()
        control.value = others[tick % len(others)]
        times.append(1000 * (time.perf_counter() - started))
    return times


def main() -> None:
    chromium = os.environ.get("BUARL_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("no Chromium on PATH (BUARL_CHROMIUM may name one)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        write_page(path, pack([example_side()]), "bench")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(path.as_uri())
        page.wait_for_selector("td[data-value]")
        print("256x256, ms      work: median   p95    painted: median   p95")
        for key in ("stop", "alpha", "slice", "step"):
            work, painted = (np.percentile(times, (50, 95)) for times in page.evaluate(TICKS, key))
            print(f"{key:10} {work[0]:18.1f} {work[1]:5.1f} {painted[0]:18.1f} {painted[1]:5.1f}")
        browser.close()
    print("explorer redraw, ms: median   p95")
    for name, times in explorer_times().items():
        print(f"{name:28} {np.median(times):6.1f} {np.percentile(times, 95):6.1f}")


if __name__ == "__main__":
    main()
