"""A source larger than its memory budget: the same batches bit for bit, bounded memory, one scratch file."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_resident import Made
from test_writing import no_file_beyond
from tiny import same_weights, slice_path, tiny_config, tiny_method, write_tiny

from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.batches import Batches
from buarl.data.h5 import AccessError, DataError
from buarl.data.stream import Store, Streamed, size_in_bytes
from buarl.training import loop
from buarl.training.loop import fit

SHAPES = {2: [(20, 24), (31, 19), (22, 22), (21, 26), (40, 33), (20, 20)]}
SHAPES[3] = [(*shape, 5 + k) for k, shape in enumerate(SHAPES[2])]
SIZE = {2: (24, 24), 3: (16, 16, 8)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BUARL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def batches_of(rank, budget, labeled=2, **options):
    source = Made(SHAPES[rank])
    source.memory_budget = budget
    return Batches(source, labeled, SIZE[rank], **options)


def drawn(batches, steps=9):
    return [batches.batch((5, 1), step, 2, 2) for step in range(steps)]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("budget", [1, 6000, "9KB", "1GB"])
@pytest.mark.parametrize("scaled", [{}, {"shrink": 2, "standardise": True}])
def test_batches_are_the_same_bit_for_bit_whatever_the_budget(rank, budget, scaled):
    if scaled and rank == 2:
        scaled = {}
    ours, all_in_memory = (batches_of(rank, each, **scaled) for each in (budget, None))
    assert ours.streamed == (budget != "1GB")
    for a, b in zip(drawn(ours), drawn(all_in_memory), strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.label, b.label)


def test_a_part_of_a_batch_waits_for_no_sample_of_another_part(monkeypatch):
    """On several devices each process has a scratch file, and reads half as much from it."""
    told, expect = [], Streamed.expect
    monkeypatch.setattr(
        Streamed, "expect", lambda self, order: told.append(list(order)) or expect(self, told[-1])
    )
    batches = batches_of(2, 1)
    whole = batches.batch((5, 1), 0, 2, 2)
    part = batches.batch((5, 1), 0, 2, 2, number=1, parts=2)
    assert torch.equal(part.image, whole.image[1::2])
    assert [each[1::2] for each in told[:2]] == told[2:]


def test_what_stays_in_memory_keeps_to_the_budget_and_begins_with_the_labeled():
    batches = batches_of(2, 6000)
    assert isinstance(batches.labeled, list)  # 20 x 24 and 31 x 19 voxels of 5 bytes: 5345
    assert isinstance(batches.unlabeled, Streamed)
    assert len(batches.unlabeled) == 4
    samples = [entry for entry in batches.unlabeled._entries if hasattr(entry, "image")]
    assert samples == []
    tight = batches_of(2, 2500)
    assert tight.labeled._store.in_memory == 20 * 24 * 5
    assert [tight.labeled[k].case for k in range(2)] == ["0", "1"]
    assert tight.unlabeled[0].label is None


def test_a_sample_comes_back_with_every_bit_and_type():
    source = Made(SHAPES[3])
    original = source.training_sample("2")
    odd = original._replace(
        image=np.asfortranarray(original.image),
        label=original.label.astype(np.int64),
        spacing=(1, 2, 3),
    )
    (found,) = Store(1).kept([odd])
    np.testing.assert_array_equal(found.image, original.image)
    np.testing.assert_array_equal(found.label, original.label)
    assert (found.label.dtype, found.spacing, found.case) == (np.int64, (1, 2, 3), "2")


def test_a_training_from_disk_is_the_same_training(tmp_path):
    methods = []
    for budget in (None, 1):
        source = Acdc(write_tiny(tmp_path / f"data{budget}"))
        source.memory_budget = budget
        methods.append(tiny_method("mean_teacher"))
        fit(methods[-1], source, tiny_config("mean_teacher"), device="cpu")
    assert same_weights(*methods)


def test_the_disk_is_told_what_the_next_step_reads(monkeypatch):
    batches, told, read = batches_of(3, 1), [], []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _, begin, size, __: told.append(begin), raising=False
    )
    monkeypatch.setattr(os, "POSIX_FADV_WILLNEED", 3, raising=False)
    original = Store.read
    monkeypatch.setattr(
        Store, "read", lambda store, place: read.append(place.begin) or original(store, place)
    )
    for step in range(4):
        batches.batch((5, 1), step, 2, 2)
    assert told[:12] == read[4:16]


def test_the_scratch_file_has_no_name_and_is_gone_with_its_batches(cache):
    batches = batches_of(2, 1)
    held = os.fstat(batches.labeled._store._file.fileno())
    if os.name != "nt":
        assert list((cache / "stream").iterdir()) == []
    assert held.st_size == sum(
        np.prod(shape) * (5 if k < 2 else 4) for k, shape in enumerate(SHAPES[2])
    )


def test_without_a_budget_nothing_is_written(cache):
    batches_of(2, None)
    batches_of(2, "1GB")
    assert not cache.exists()


def test_a_damaged_file_is_named_before_the_first_step(tmp_path):
    root = write_tiny(tmp_path / "data")
    slice_path(root, "p4_frame01_slice_1").write_bytes(b"no h5")
    source = Acdc(root)
    source.memory_budget = 1
    with pytest.raises(DataError, match="p4_frame01_slice_1"):
        Batches(source, 2, (32, 32))


def test_a_full_disk_is_one_sentence(cache):
    with no_file_beyond(3000), pytest.raises(AccessError, match="stream: cannot be written"):
        batches_of(2, 1)


def test_a_scratch_file_that_was_cut_is_noticed():
    batches = batches_of(2, 1)
    batches.labeled._store._file.truncate(100)
    with pytest.raises(DataError, match="the scratch file of this run was cut"):
        drawn(batches)


def test_a_set_that_streams_is_not_moved_to_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "ResidentBatches", lambda batches, device: "resident")
    source, cuda = Acdc(write_tiny(tmp_path / "data")), torch.device("cuda")
    for budget, resident in ((None, True), ("1GB", True), (1, False)):
        source.memory_budget = budget
        found = loop._training_batches(source, tiny_config("mean_teacher"), cuda)
        assert (found == "resident") is resident


# What a person types


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [("2GB", 2 * 10**9), ("2 gb", 2 * 10**9), ("512MiB", 2**29), ("0.5KB", 500), ("7B", 7), (9, 9)],
)
def test_sizes(size, bytes_):
    assert size_in_bytes(size) == bytes_


@pytest.mark.parametrize(
    "size",
    ["", "2", "0GB", "-1GB", "two GB", "2 apples", "1e9B", "nanGB", "GB", "2GB!", "9" * 30 + "GB"],
)
def test_nonsense_is_one_sentence_and_nothing_is_begun(size, tmp_path, capsys):
    words = ["train", f"--memory-budget={size}", "--source", "acdc"]
    root = write_tiny(tmp_path / "data")
    assert main([*words, "--root", str(root), "--out", str(tmp_path / "run")]) == 2
    assert "memory_budget must be a size with its unit, such as 2GB" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [0, -1, True, 2.5])
def test_what_is_no_number_of_bytes_is_refused(size):
    with pytest.raises((TypeError, ValueError), match="memory_budget must be"):
        size_in_bytes(size)


MEASURE = """
import os, sys
from pathlib import Path
import numpy as np
from test_resident import Made
from buarl.data.batches import Batches
from buarl.fast.memory import hold_memory
hold_memory()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def batches(count, budget):
    source = Made([(96, 96, 64)] * count)
    source.memory_budget = budget
    found = Batches(source, 2, (32, 32, 32))
    for step in range(10):
        found.batch((1,), step, 2, 2)
    return found
batches(4, 1)
before = resident()
kept = batches(48, int(sys.argv[1]) or None)
print((resident() - before) // 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_within_the_budget():
    """48 volumes of 2.25 MiB and two labels: 109 MiB; a budget of 16."""
    grown = []
    for budget in (0, 16 * 2**20):
        words = [sys.executable, "-c", MEASURE, str(budget)]
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=os.path.dirname(__file__), check=False
        )
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout))
    assert grown[0] > 90
    assert grown[1] < 16 + 16  # and a few samples on their way
