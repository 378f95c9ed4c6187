"""How long a tick of the threshold scrubber takes in Chromium, 8 slices of 256x256.

    python tools/bench_widgets.py

Two figures over 100 ticks of each slider: the work of a tick (event to last pixel written), and the
time until the next frame has been painted, which also holds the wait for that frame (60 a second).
Goal: 16 ms median, 33 ms at the 95th percentile. No test depends on it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from buarl_lab.scrub_pack import Side, pack
from buarl_lab.scrubber import write_page

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


if __name__ == "__main__":
    main()
