"""Fetch against a server on this machine: whole, interrupted, wrong, absent, no room, no terms."""

from __future__ import annotations

import errno
import io
import socket
from collections import Counter
from pathlib import Path

import h5py
import pytest
from http_server import Server
from test_manifest import rows_of, write_manifest
from tiny import rings, write_case

from buarl.data import public
from buarl.data.h5 import AccessError, read_list
from buarl.data.source import open_source
from buarl.files import fetch
from buarl.files.fetch import ContentError, FetchError, fetch_la

LA_FOLDER = "2018LA_Seg_Training Set"  # of the public layout

pytest.importorskip("pooch")
CASES = [f"SCAN{k:02d}" for k in range(12)]
TEST_CASES = ["TEST00", "TEST01"]


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = tmp_path / "served"
    for k, case in enumerate(CASES + TEST_CASES):
        image, label = rings((5, 12, 10), k)
        path = served / LA_FOLDER / case / "mri_norm2.h5"
        write_case(path, image=image, label=(label > 0).astype("u1"))
    (served / "test.list").write_text("".join(f"{case}\n" for case in TEST_CASES))
    files = [f"{LA_FOLDER}/{case}/mri_norm2.h5" for case in CASES]
    write_manifest(tmp_path / "manifest.csv", rows_of(served, "la", files))
    monkeypatch.setattr(public, "MANIFEST", tmp_path / "manifest.csv")
    server = Server(served)
    yield server
    server.close()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "a cache" / "LA"


def h5_files(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.rglob("*.h5"))


def leftovers(root: Path) -> list[Path]:
    """Anything but finished scans and lists."""
    return [p for p in root.rglob("*") if p.is_file() and p.suffix not in (".h5", ".list")] + list(
        root.glob(".fetch-*")
    )


def failed(call, *parts: object, kind: type = FetchError) -> str:
    with pytest.raises(kind) as caught:
        call()
    for part in parts:
        assert str(part) in str(caught.value)
    return str(caught.value)


# What works


def test_a_whole_fetch_opens_as_la_and_the_second_call_downloads_nothing(server, root):
    lines = []
    assert fetch_la(root, base_url=server.url.rstrip("/"), say=lines.append) == root
    source = open_source("la", root)
    assert (len(source.cases("train")), len(source.cases("val"))) == (2, 10)
    assert (root / "train.list").read_bytes() == "".join(f"{case}\n" for case in CASES).encode()
    served = server.root / LA_FOLDER / "SCAN03" / "mri_norm2.h5"
    assert source.volume_path("SCAN03").read_bytes() == served.read_bytes()
    assert set(server.asked.values()) == {1}
    assert not any(name.startswith("TEST") for name in h5_files(root))
    assert lines[0] == "0 of 12 scans are here and right"
    server.asked.clear()
    fetch_la(root, base_url=server.url, say=lines.append)
    assert not server.asked
    assert lines[-1] == "12 of 12 scans are here and right"
    assert not leftovers(root)


def test_some_cases_are_listed_in_public_order(server, root):
    fetch_la(root, base_url=server.url, cases=["SCAN07", "SCAN02"])
    assert read_list(root / "train.list") == ["SCAN02", "SCAN07"] == h5_files(root)
    fetch_la(root, base_url=server.url, cases=["SCAN04"])
    assert read_list(root / "train.list") == ["SCAN02", "SCAN04", "SCAN07"]
    failed(lambda: fetch_la(root, base_url=server.url, cases=["TEST00"]), "training", "'TEST00'")


def test_test_scans_come_only_when_asked_for_and_are_said_to_be_unchecked(server, root):
    lines = []
    fetch_la(root, base_url=server.url, cases=CASES[:1], include_test=True, say=lines.append)
    assert h5_files(root) == [CASES[0], *TEST_CASES]
    assert read_list(root / "test.list") == TEST_CASES
    assert "no checksums are known of the 2 test scans: they are only tried" in lines
    server.asked.clear()
    fetch_la(root, base_url=server.url, cases=CASES[:1], include_test=True)
    assert not server.asked


def test_a_hostile_test_list_is_refused_before_it_has_its_name(server, root):
    (server.root / "test.list").write_text("../../../etc\n")
    call = lambda: fetch_la(root, base_url=server.url, cases=CASES[:1], include_test=True)  # noqa: E731
    failed(call, f"{server.url}test.list: a case is a plain name", kind=ContentError)
    assert not (root / "test.list").exists()


# What breaks off


def test_a_transfer_that_breaks_off_leaves_no_file_and_the_next_call_goes_on(server, root):
    server.faults["SCAN05"] = ["cut"] * 3
    failed(
        lambda: fetch_la(root, base_url=server.url),
        f"{server.url}2018LA_Seg_Training%20Set/SCAN05/mri_norm2.h5",
        "broke off",
        "3 tries",
        "finished files are kept",
    )
    assert h5_files(root) == CASES[:5]
    assert not leftovers(root)
    assert not (root / "train.list").exists()  # half a data set does not open
    before = Counter(server.asked)
    fetch_la(root, base_url=server.url)
    again = server.asked - before
    assert {remote.split("/")[1] for remote in again} == set(CASES[5:])
    assert h5_files(root) == CASES


@pytest.mark.parametrize("fault", ["cut", 503, 429])
def test_a_passing_fault_is_tried_again(server, root, fault):
    server.faults["SCAN01"] = [fault]
    fetch_la(root, base_url=server.url, cases=["SCAN01"])
    assert server.asked[f"{LA_FOLDER}/SCAN01/mri_norm2.h5"] == 2
    assert h5_files(root) == ["SCAN01"]


def test_no_answer_and_no_server_are_one_clear_error(server, root):
    server.faults["SCAN00"] = ["hang"] * 2
    call = lambda: fetch_la(root, base_url=server.url, timeout=0.3, attempts=2)  # noqa: E731
    failed(call, "SCAN00/mri_norm2.h5: no answer within 0.3 s, 2 tries", "check the connection")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    failed(lambda: fetch_la(root, base_url=nobody), nobody, "no connection", "3 tries")
    assert not h5_files(root)


def test_a_file_that_is_not_there_is_not_asked_for_twice(server, root):
    path = server.root / LA_FOLDER / "SCAN00" / "mri_norm2.h5"
    path.unlink()
    failed(lambda: fetch_la(root, base_url=server.url), server.url, "HTTP 404", "--base-url")
    assert sum(server.asked.values()) == 1
    assert not list(root.rglob("*.h5"))


# Wrong content


def as_bytes(seed: int) -> bytes:
    content = io.BytesIO()
    image, label = rings((5, 12, 10), seed)
    with h5py.File(content, "w") as file:
        file["image"], file["label"] = image, (label > 0).astype("u1")
    return content.getvalue()


def test_other_content_is_removed_and_reported_and_the_rest_is_fetched(server, root):
    server.faults["SCAN02"] = [as_bytes(99)]
    server.faults["SCAN06"] = [b"<html>please log in</html>"]
    said = failed(
        lambda: fetch_la(root, base_url=server.url),
        "2 of 12 files had the wrong content",
        kind=ContentError,
    )
    assert "SCAN02/mri_norm2.h5: image has SHA-256" in said
    assert "/.fetch-" not in said
    assert h5_files(root) == [case for case in CASES if case not in ("SCAN02", "SCAN06")]
    assert not leftovers(root)
    fetch_la(root, base_url=server.url)
    assert h5_files(root) == CASES


def test_a_damaged_file_here_is_replaced_only_by_a_right_one(server, root):
    fetch_la(root, base_url=server.url)
    path = root / LA_FOLDER / "SCAN08" / "mri_norm2.h5"
    path.write_bytes(b"mine")
    server.faults["SCAN08"] = [as_bytes(99)]
    failed(lambda: fetch_la(root, base_url=server.url), "SCAN08", kind=ContentError)
    assert path.read_bytes() == b"mine"
    fetch_la(root, base_url=server.url)
    assert path.read_bytes() == (server.root / path.relative_to(root)).read_bytes()


# No room


def test_no_room_is_said_before_anything_is_asked_for(server, root, monkeypatch):
    usage = fetch.shutil.disk_usage(root.anchor)._replace(free=10_000_000)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda folder: usage)
    failed(
        lambda: fetch_la(root, base_url=server.url),
        root,
        server.url,
        "48 MB",
        "10 MB free",
        "make room",
    )
    assert not server.asked
    fetch_la(root, base_url=server.url, cases=CASES[:2])  # there is room for two


def test_a_disk_that_fills_up_is_one_clear_error_and_leaves_no_part(server, root, monkeypatch):
    class Full(fetch._Capped):
        def write(self, chunk):
            super().write(chunk[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "_Capped", Full)
    failed(
        lambda: fetch_la(root, base_url=server.url),
        server.url,
        "SCAN00",
        "disk is full",
        "make room",
    )
    assert not list(root.rglob("*.h5"))
    assert not leftovers(root)


def test_a_folder_that_cannot_be_written_is_one_clear_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    failed(lambda: fetch_la(tmp_path / "file" / "LA", base_url=server.url), "cannot be written")


# What a server or another program could do


def test_a_server_that_sends_too_much_is_cut_off_at_what_the_manifest_allows(server, root):
    most = public.read_manifest("la")[f"{LA_FOLDER}/SCAN00/mri_norm2.h5"].max_bytes
    assert most == 5 * 5 * 12 * 10 + 2**20
    server.faults["SCAN00"] = [bytes(20 * 2**20)] * 3
    call = lambda: fetch_la(root, base_url=server.url, cases=["SCAN00"])  # noqa: E731
    failed(call, "SCAN00", f"the file may have {most} bytes", kind=ContentError)
    assert server.asked[f"{LA_FOLDER}/SCAN00/mri_norm2.h5"] == 1  # not tried again
    assert not leftovers(root)
    server.faults["test.list"] = [b"x\n" * 2**20]
    call = lambda: fetch_la(root, base_url=server.url, cases=["SCAN01"], include_test=True)  # noqa: E731
    failed(call, "test.list", "the file may have 65536 bytes", kind=ContentError)


def test_uncompressed_files_of_the_right_size_are_within_the_cap(server, root):
    path = server.root / LA_FOLDER / "SCAN00" / "mri_norm2.h5"
    image, label = rings((5, 12, 10), 0)
    write_case(path, image=image, label=(label > 0).astype("u1"))
    fetch_la(root, base_url=server.url, cases=["SCAN00"])


def test_a_locked_file_stops_the_call_and_is_not_replaced(server, root, monkeypatch):
    fetch_la(root, base_url=server.url, cases=CASES[:2])
    path = root / LA_FOLDER / "SCAN01" / "mri_norm2.h5"
    path.write_bytes(as_bytes(99))  # would be replaced
    before, server_before = path.read_bytes(), Counter(server.asked)
    real = h5py.File

    def locked(name, mode):
        if Path(name) == path:
            raise BlockingIOError(11, "Unable to synchronously open file (unable to lock file)")
        return real(name, mode)

    monkeypatch.setattr(h5py, "File", locked)
    call = lambda: fetch_la(root, base_url=server.url, cases=CASES[:2])  # noqa: E731
    failed(call, path, "locked", "left as it is", kind=AccessError)
    assert path.read_bytes() == before
    assert server.asked == server_before


def test_test_scans_of_another_shape_or_that_are_for_training_are_refused(server, root):
    image, label = rings((5, 12, 11), 1)
    path = server.root / LA_FOLDER / "TEST01" / "mri_norm2.h5"
    write_case(path, image=image, label=(label > 0).astype("u1"))
    call = lambda: fetch_la(root, base_url=server.url, cases=CASES[:1], include_test=True)  # noqa: E731
    failed(call, "TEST01", "public scans have 10 slices", kind=ContentError)
    assert h5_files(root) == [CASES[0], "TEST00"]
    (root / "test.list").write_text("SCAN03\n")
    failed(call, "'SCAN03' is for training", kind=ContentError)


def test_a_senseless_answer_is_one_clear_error(server, root, monkeypatch):
    from http.server import BaseHTTPRequestHandler

    real = BaseHTTPRequestHandler.send_header
    wrong = lambda self, key, value: real(self, key, "x" if "Length" in key else value)  # noqa: E731
    monkeypatch.setattr(BaseHTTPRequestHandler, "send_header", wrong)
    call = lambda: fetch_la(root, base_url=server.url, cases=CASES[:1])  # noqa: E731
    failed(call, server.url, "3 tries")
