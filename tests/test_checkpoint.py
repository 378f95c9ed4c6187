"""A checkpoint is whole, finite and what was saved, or it is refused by name."""

from __future__ import annotations

import errno
import json
import multiprocessing
import random
import threading
import time

import pytest
import torch

from buarl.training import checkpoint
from buarl.training.checkpoint import (
    load_state,
    remove_leftovers,
    require_writable,
    save_state,
    write_atomic,
    write_text,
)
from buarl.training.lock import owned, trained_by


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "position": [1, 200],
        "method": {"student.weight": torch.randn(8, 4, 3, 3, generator=generator)},
        "optimizers": {"student": {"state": {0: {"momentum_buffer": torch.ones(3)}}}},
        "history": [{"stage": "train", "step": 10, "loss": 0.5}],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_a_checkpoint_comes_back_as_it_was(tmp_path, state):
    save_state(tmp_path / "last.pt", state)
    assert same(load_state(tmp_path / "last.pt"), state)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_no_flipped_bit_loads_with_other_values(tmp_path, state):
    """All positions of head and tail, 600 in between: refused by name, or the same values (a bit
    of the padding between the parts)."""
    path = tmp_path / "last.pt"
    save_state(path, state)
    raw = path.read_bytes()
    rng = random.Random(0)
    places = {*range(0, 400, 3), *range(len(raw) - 400, len(raw), 3)}
    places |= {rng.randrange(len(raw)) for _ in range(600)}
    messages = []
    for place in sorted(places):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = load_state(path)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert same(found, state), place
    assert len(messages) > 200
    assert all(message.startswith(str(path)) for message in messages)


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -100])
def test_a_cut_checkpoint_is_called_damaged(tmp_path, state, cut):
    path = tmp_path / "last.pt"
    save_state(path, state)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"last\.pt: damaged, not a whole zip archive"):
        load_state(path)


def test_a_zip_of_something_else_is_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "last.pt", "w") as archive:
        archive.writestr("readme.txt", "not weights")
    with pytest.raises(ValueError, match=r"last\.pt: not a checkpoint of buarl"):
        load_state(tmp_path / "last.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: not a checkpoint of buarl \(a list"):
        load_state(tmp_path / "list.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path, state, value):
    path = tmp_path / "last.pt"
    save_state(path, state)
    before = path.read_bytes()
    state["method"]["student.running_var"] = torch.tensor([1.0, value])
    with pytest.raises(FloatingPointError, match=r"method\.student\.running_var holds NaN"):
        save_state(path, state)
    assert path.read_bytes() == before
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"last\.pt: method\.student\.running_var holds NaN"):
        load_state(path)


def test_the_old_checkpoint_stays_where_the_new_one_reads_back_damaged(
    tmp_path, state, monkeypatch
):
    path = tmp_path / "last.pt"
    save_state(path, state)
    before, save = path.read_bytes(), torch.save

    def damaged(content, target):
        save(content, target)
        raw = bytearray(target.read_bytes())
        raw[raw.index(b"student.weight")] ^= 1
        target.write_bytes(raw)

    monkeypatch.setattr(checkpoint.torch, "save", damaged)
    with pytest.raises(OSError, match=r"last\.pt: could not be written \(read back damaged"):
        save_state(path, state)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0\nmore"),
    ],
)
def test_a_full_disk_is_one_line_with_the_file(tmp_path, error):
    def write(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(OSError, match=r"last\.pt: could not be written") as caught:
        write_atomic(tmp_path / "last.pt", write)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"gone/a\.txt: could not be written \(No such file"):
        write_text(tmp_path / "gone" / "a.txt", "text")


def test_text_is_utf8_whatever_the_code_page(tmp_path):
    write_text(tmp_path / "a.csv", "Müller, ± 0.5\n")
    assert (tmp_path / "a.csv").read_bytes() == "Müller, ± 0.5\n".encode()


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    (tmp_path / ".last.pt.abc123.new").write_bytes(b"half")
    (tmp_path / "last.pt").write_bytes(b"whole")
    assert [path.name for path in remove_leftovers(tmp_path)] == [".last.pt.abc123.new"]
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def hold(folder, seconds):
    with owned(folder):
        time.sleep(seconds)


def test_a_folder_has_one_owner_who_is_named(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, 60))
    process.start()
    try:
        for _ in range(600):
            if (tmp_path / ".owner.json").is_file():
                break
            time.sleep(0.05)
        with (
            pytest.raises(ValueError, match=f"process {process.pid} on ") as caught,
            owned(tmp_path),
        ):
            pass
        assert str(tmp_path) in str(caught.value)
    finally:
        process.kill()
        process.join()
    with owned(tmp_path):  # the dead hold nothing
        assert json.loads((tmp_path / ".owner.json").read_text())["process"]
    assert not (tmp_path / ".owner.json").exists()


def test_those_who_only_look_whether_a_run_is_owned_never_take_each_other_for_its_owner(tmp_path):
    with owned(tmp_path):
        pass
    ended = threading.Event()

    def look():
        while not ended.is_set():
            trained_by(tmp_path)

    others = [threading.Thread(target=look) for _ in range(3)]
    for other in others:
        other.start()
    try:
        found = {trained_by(tmp_path) for _ in range(300)}
        for _ in range(50):
            with owned(tmp_path):
                assert trained_by(tmp_path).startswith("process ")
    finally:
        ended.set()
        for other in others:
            other.join()
    assert found == {None}


def test_a_folder_that_takes_nothing_is_told_before_the_work(tmp_path, monkeypatch):
    require_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []

    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system", "/ro/tmp1")

    monkeypatch.setattr(checkpoint.tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        OSError, match="new: nothing can be written there .the disk can only be read"
    ):
        require_writable(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file: nothing can be written there"):
        require_writable(tmp_path / "file")
