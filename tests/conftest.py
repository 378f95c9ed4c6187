"""What test files share: one thread, repeatable hypothesis, tiny batches, parity fixtures."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import browser, lab, tab  # noqa: F401  fixtures
from hypothesis import settings
from tiny import Repeated

from buarl import outside
from buarl.data.batches import SemiBatch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
settings.register_profile("buarl", deadline=None, derandomize=True)
settings.load_profile("buarl")

FIXTURES = Path(__file__).parent / "fixtures"
LONG = ("test_book", "test_browser_layout", "test_browser_scrubber", "test_browser_voila")
LONG += ("test_bench", "test_capture", "test_devices_runs", "test_engine", "test_every_method")
LONG += ("test_examples", "test_export", "test_extensions", "test_interruptions", "test_kills")
LONG += ("test_lessons", "test_notebooks", "test_plan", "test_run", "test_shipped", "test_show")
LONG += ("test_speedrun",)


def pytest_collection_modifyitems(items):
    """Files that take a minute come first, so that at the end no process waits long for another."""
    items.sort(key=lambda item: item.path.stem not in LONG)


def make_semi_batch(count: int, num_classes: int, spatial: tuple[int, ...]) -> SemiBatch:
    """Blocky labels; every image is its label plus noise, so that there is something to learn."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(
        num_classes, (2 * count, *(n // 4 for n in spatial)), generator=generator
    )
    for axis in range(1, coarse.ndim):
        coarse = coarse.repeat_interleave(4, axis)
    noise = torch.randn(2 * count, *spatial, generator=generator)
    image = (coarse.float() + 0.5 * noise)[:, None]  # (2 * count, 1, *spatial)
    return SemiBatch(image, coarse[:count])


@pytest.fixture(autouse=True)
def nobodys_code(monkeypatch):
    """Each test begins without code from outside; else errors read by what another one imported."""
    monkeypatch.setattr(outside, "_ROOTS", [])


@pytest.fixture(autouse=True)
def pages(request, monkeypatch):
    """Trainings here write no page unless a test is marked `page`: its charts take far longer."""
    train = sys.modules.get("buarl.commands.train")
    if train is not None and request.node.get_closest_marker("page") is None:
        monkeypatch.setattr(train, "page_of", lambda *_: None)


@pytest.fixture
def semi_2d() -> SemiBatch:
    """4 labeled and 4 unlabeled images, 4 classes, 16 x 16."""
    return make_semi_batch(4, 4, (16, 16))


@pytest.fixture
def semi_3d() -> SemiBatch:
    """2 labeled and 2 unlabeled volumes, 2 classes, 32 x 16 x 16.

    Not 16 cubed: BCP halves the batch, and batch normalisation refuses one sample of one voxel.
    """
    return make_semi_batch(2, 2, (32, 16, 16))


@pytest.fixture
def semi(semi_2d: SemiBatch, semi_3d: SemiBatch) -> dict[int, SemiBatch]:
    """The two batches by rank."""
    return {2: semi_2d, 3: semi_3d}


@pytest.fixture
def parity():
    """Load tests/fixtures/NAME.npz, arrays recorded from the public reference code."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(FIXTURES / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def repeated(monkeypatch) -> type[Repeated]:
    """`fit(record=True)` on the CPU; `recordings` counts."""
    monkeypatch.setattr("buarl.fast.recorder.Recorder", Repeated)
    monkeypatch.setattr(Repeated, "recordings", 0)
    return Repeated
