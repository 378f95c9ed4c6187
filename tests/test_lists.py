"""No name in a list leads out of the folder of the data."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from buarl.data.h5 import DataError, read_list


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "a/../b", "..\\x", "\\\\host\\share"]
    + ["C:\\data\\x", "C:x", "x\0y", "x\x1b[2Jy", ".h5", "....h5", " .h5"],
)
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    path = tmp_path / "train.list"
    path.write_text(f"patient001\n{name}\n", encoding="utf-8")
    with pytest.raises(DataError, match="a case is a plain name") as caught:
        read_list(path)
    assert str(path) in str(caught.value)
    assert "\x1b" not in str(caught.value)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_every_accepted_name_stays_in_its_folder(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "any.list"
    path.write_bytes(text.encode())
    try:
        names = read_list(path)
    except DataError:
        return
    for name in names:
        assert (folder / f"{name}.h5").resolve().parent == folder.resolve()
        assert (folder / name / "mri_norm2.h5").resolve().parent.parent == folder.resolve()


def test_notepads_byte_order_mark_is_no_part_of_a_name_and_binary_is_no_list(tmp_path):
    path = tmp_path / "train.list"
    path.write_bytes(b"\xef\xbb\xbfpatient001\r\n")
    assert read_list(path) == ["patient001"]
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff")
    with pytest.raises(DataError, match="UTF-8 text") as caught:
        read_list(path)
    assert str(path) in str(caught.value)


def test_lists_in_utf_16_with_a_mark_are_read_and_two_forms_of_a_name_are_one(tmp_path):
    path = tmp_path / "train.list"
    path.write_bytes("p1\r\nMüller\r\n".encode("utf-16"))  # as PowerShell writes
    assert read_list(path) == ["p1", "Müller"]
    path.write_text("Mu\u0308ller\nM\u00fcller\n", encoding="utf-8")
    with pytest.raises(DataError, match="stands twice"):
        read_list(path)
