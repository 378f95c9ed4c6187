"""Recorded numbers say where they come from, and can be computed again without buarl."""

from __future__ import annotations

import hashlib
import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "fixtures"
FILES = sorted(path.stem for path in FOLDER.glob("*.npz"))
SCRIPT = runpy.run_path(str(FOLDER / "check_fixtures.py"), run_name="check_fixtures")
ROW = re.compile(r"^\| `(\w+)\.npz` \|.*\| ([^|]+) \| `(test_\w+\.py)` \| ([0-9a-f]{12}) \|$", re.M)


def test_every_file_is_listed_with_its_source_its_test_and_its_bytes():
    rows = ROW.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(name for name, *_ in rows) == FILES
    for name, source, test, digest in rows:
        assert re.search(r"@ [0-9a-f]{7}|the same repository|MedPy|SciPy", source)
        assert name in (Path(__file__).parent / test).read_text(encoding="utf-8")
        content = (FOLDER / f"{name}.npz").read_bytes()
        assert hashlib.sha256(content).hexdigest().startswith(digest)


@pytest.mark.parametrize("name", FILES)
def test_a_fixture_can_be_computed_again(name):
    if name == "surface_metrics":
        pytest.importorskip("medpy")
    found = list(SCRIPT["differences"](name))
    assert found
    assert {array for array, largest, tolerance in found if largest > tolerance} == set()


def test_the_check_knows_nothing_of_the_library():
    text = (FOLDER / "check_fixtures.py").read_text(encoding="utf-8")
    assert not re.search(r"^\s*(from|import) buarl", text, re.M)
    assert sorted(SCRIPT["CHECKS"]) == FILES
