"""What cannot be written is one sentence and leaves nothing half; printing and text never fail."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from raw_files import AFFINE, image_of, label_of, write_acdc, write_la, write_nifti

from buarl.commands.main import main
from buarl.data.errors import AccessError
from buarl.data.h5 import DataError
from buarl.evaluation.scores import SCORES, read_metrics, write_metrics
from buarl.files import layout
from buarl.files.volume import read_volume, write_volume

resource = pytest.importorskip("resource", reason="limits of files are Unix's")


@contextmanager
def no_file_beyond(size: int):
    """The system refuses to let a file grow further, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    for patient in range(5):
        write_nifti(root / "folder" / f"p{patient}_a.nii.gz", image_of(patient))
        write_nifti(root / "folder" / f"p{patient}_a_gt.nii.gz", label_of(patient, 3))
    write_acdc(root / "acdc", 5)
    write_la(root / "la", 14, shape=(20, 20, 4))
    return root


def failed(capsys, *words: object) -> str:
    """The one line of a command that fails."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("buarl: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("what", ["folder", "acdc", "la"])
@pytest.mark.parametrize("size", [0, 300, 3000])
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    releases, tmp_path, capsys, what, size
):
    """Cut off in the first file, between them, and in the last."""
    out = tmp_path / "out"
    extra = ["--rank", 2] if what == "folder" else []
    with no_file_beyond(size):
        said = failed(capsys, "convert", what, releases / what, out, *extra)
    assert "cannot be written: larger than this system lets a file become" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full; make room"),
        (errno.EDQUOT, "the disk is full (quota)"),
        (errno.EROFS, "the disk can only be read"),
        (errno.EACCES, "no permission"),
        (errno.EIO, "the disk reports an error"),
        (errno.ENETDOWN, "Network is down"),
    ],
)
def test_every_cause_has_its_words(releases, tmp_path, capsys, monkeypatch, number, said):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    words = ["convert", "folder", releases / "folder", tmp_path / "out"]
    assert f"{tmp_path / 'out'}: cannot be written: {said}" in failed(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_an_output_below_a_file(releases, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["convert", "folder", releases / "folder", tmp_path / "file" / "out"]
    assert "out: cannot be written: a file stands where a folder should be" in failed(
        capsys, *words
    )


def test_a_volume_that_does_not_fit_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(path, image_of(0), AFFINE)
    with no_file_beyond(500), pytest.raises(AccessError, match=r"a\.nii\.gz: cannot be written"):
        write_volume(path, image_of(1), AFFINE)
    np.testing.assert_array_equal(read_volume(path).array, image_of(0))
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("module", ["nibabel", "nrrd"])
def test_a_missing_library_is_named_and_the_file_is_not_called_damaged(
    tmp_path, monkeypatch, module
):
    path = tmp_path / ("a.nii" if module == "nibabel" else "a.nrrd")
    path.write_bytes(b"whatever")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        DataError, match=r"needs (nibabel|pynrrd): pip install 'buarl\[io\]'"
    ) as caught:
        read_volume(path)
    assert "damaged" not in str(caught.value)


def test_an_input_that_may_not_be_read(releases, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    words = ["convert", "folder", releases / "folder", tmp_path / "out"]
    said = failed(capsys, *words)
    assert "p0_a_gt.nii.gz: no permission" in said


# Text


def test_printing_never_fails_whatever_the_code_page(releases, tmp_path):
    """A name that cp1252 lacks, and one that is no text at all."""
    odd = tmp_path / "Kőr\udcff"
    code = "import sys; from buarl.commands.main import main; sys.exit(main(sys.argv[1:]))"
    for encoding in ("cp1252", "ascii", "utf-8"):
        done = subprocess.run(
            [sys.executable, "-c", code, "convert", "folder", str(releases / "folder"), str(odd)],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert re.search(rb"next: \S*buarl train", done.stdout)
        assert b"\\udcff" in done.stdout
        subprocess.run(["rm", "-r", str(odd)], check=True)


def test_text_is_utf_8_whatever_the_code_page(releases, tmp_path):
    """Nothing here opens a text in the encoding of the machine."""
    images = tmp_path / "images"
    for source in (releases / "folder").iterdir():
        write_nifti(images / f"é{source.name}", read_volume(source).array)
    code = """
import sys, warnings
from pathlib import Path
warnings.filterwarnings("error", category=EncodingWarning, module=r"buarl\\.(files|data|commands|evaluation)")
from buarl.data.source import open_source
from buarl.files.convert_acdc import convert_acdc
from buarl.files.convert_folder import convert_folder
from buarl.files.convert_la import convert_la
from buarl.files.doctor import report
convert_folder(Path(sys.argv[1], "../images"), Path("own"))
convert_acdc(Path(sys.argv[2], "acdc"), Path("acdc"))
convert_la(Path(sys.argv[2], "la"), Path("la"))
assert report(None, Path("."))[0]
print(ascii(open_source("own", "own").listed("train")))
"""
    raw = releases
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", code, str(images), str(raw)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "'\\xe9p" in done.stdout, done.stderr
    assert "\u00e9p" in (tmp_path / "own" / "train.list").read_text(encoding="utf-8")


def test_a_case_that_begins_with_a_number_sign_is_read_back(tmp_path):
    rows = [
        {"case": case, "class": "LV", **dict.fromkeys(SCORES, 1.0), "missed": False}
        for case in ("#1", "a", "# b")
    ]
    write_metrics(tmp_path / "m.csv", rows, ("a note", "another"), "diagonal")
    assert [row["case"] for row in read_metrics(tmp_path / "m.csv")] == ["#1", "a", "# b"]


# Label values


@pytest.mark.parametrize(
    ("values", "right"),
    [
        ([0, 1.0000153, 1.9990], [0, 1, 2]),
        ([-0.0005, 3.0009], [0, 3]),
        (np.array([0, 255], np.uint64), [0, 255]),
        (np.array([0, 1], bool), [0, 1]),
    ],
)
def test_values_a_hair_off_are_rounded(values, right):
    found = layout.whole_numbers(Path("a"), np.asarray(values))
    assert found.tolist() == right
    assert found.dtype == np.int64


@pytest.mark.parametrize("value", [0.988, 1.002, -0.0011, 0.5, 2.0**31, -(2.0**40), 1e300])
def test_values_further_off_are_refused(value):
    with pytest.raises(DataError, match="a.nii: .*label"):
        layout.whole_numbers(Path("a.nii"), np.array([0, 1, value]))


def test_values_beyond_signed_integers_are_refused():
    with pytest.raises(DataError, match="32 bits"):
        layout.whole_numbers(Path("a.nii"), np.array([2**64 - 1], np.uint64))
