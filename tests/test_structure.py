"""Reading order, equations in one place, sizes, and the paper's rows."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import buarl
from buarl.results.paper import READINGS, table_rows
from buarl.training.config import build_method, config_for

PACKAGE = Path(buarl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAB = sorted((PACKAGE.parent / "buarl_lab").rglob("*.py"))  # what only lessons and figures need

CORE = {"entropy", "regions", "losses", "base", "supervised", "mean_teacher", "bcp"}
COMPARED = {
    *("ua_mt", "sassnet", "dtc", "urpc", "mc_net", "ss_net"),
    *("mutual", "perturbation", "prototypes", "rectified", "signed_distance"),
    *("discriminator", "multi_decoder", "multi_scale", "projector", "signed_distance_net", "trunk"),
}


def test_import_layers_hold():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(
        command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def comments(path):
    """Line number and text of every comment of a file."""
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def definitions(number):
    """Where an equation is defined: file and line of every comment that begins with `# Eq. N`."""
    marker = re.compile(rf"# Eq\. {number}\b")
    return [(path, row) for path in FILES for row, text in comments(path) if marker.match(text)]


@pytest.mark.parametrize("number", range(1, 11))
def test_every_equation_is_defined_once_with_its_formula_in_the_docstring(number):
    places = definitions(number)
    assert len(places) == 1, places
    (path, row) = places[0]
    around = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.lineno <= row <= node.end_lineno
    ]
    function = max(around, key=lambda node: node.lineno)  # the innermost
    lines = (ast.get_docstring(function) or "").splitlines()
    assert any(re.search(rf"Eq\. {number}\b.* = ", line) for line in lines), function.name


def test_elsewhere_a_comment_says_that_it_uses_an_equation():
    """So `grep -rn "# Eq. 7" buarl` finds one line."""
    places = [
        f"{path.relative_to(PACKAGE)}:{row}: {text}"
        for path in FILES
        for row, text in comments(path)
        if re.search(r"\bEq\. \d", text) and not re.match(r"# Eq\. \d", text)
        if not re.search(r"\buses Eq\. \d", text)
    ]
    assert places == []


def test_files_stay_small():
    lengths = {p: len(p.read_text().splitlines()) for p in FILES + LAB}
    compared = [p for p in FILES if p.stem in COMPARED]  # needed by those who compare methods
    core = [p for p in FILES if p.stem in CORE]
    assert {p.stem for p in compared} == COMPARED
    assert {p.stem for p in core} == CORE
    assert sum(lengths[path] for path in core) <= 1000
    assert sum(lengths[path] for path in FILES if path not in compared) <= 5000
    assert sum(lengths[path] for path in compared) <= 1600
    assert {path.name: n for path, n in lengths.items() if n > 320} == {}


def test_library_functions_name_no_device_and_print_nothing():
    allowed = {"cli.py", "commands.py", "engine.py"}
    for path in FILES + LAB:
        if path.name in allowed:
            continue
        text = path.read_text()
        assert ".cuda(" not in text, path
        assert not re.search(r"^\s*print\(", text, re.M), path


def test_all_public_names_exist():
    for name in buarl.__all__:
        assert getattr(buarl, name) is not None
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = buarl.nothing_here


@pytest.mark.parametrize("number", [3, 4, 5, 6])
@pytest.mark.parametrize("reading", READINGS)
def test_every_row_of_the_tables_becomes_a_method(number, reading):
    rows = table_rows(number, reading)
    assert len(rows) >= 2
    for row in rows.values():
        assert [plan.steps for plan in config_for(row).stages] == [10_000, 30_000]
        method = build_method(row, 4)
        assert (method.labeled_rule, method.unlabeled_rule) == (
            row.labeled_rule,
            row.unlabeled_rule,
        )
        assert (method.labeled_reduction, method.unlabeled_reduction) == reading


def test_unknown_table():
    with pytest.raises(ValueError, match="got 7"):
        table_rows(7)


def test_every_row_of_the_ledger_becomes_a_method():
    tool = runpy.run_path(str(PACKAGE.parent / "tools" / "run_ledger.py"), run_name="tool")
    assert set(tool["SECTIONS"]) == set(tool["ROWS"])
    for source, labeled, classes in (("acdc", 7, 4), ("la", 8, 2)):
        for name in tool["ROWS"][source]:
            row = tool["experiment"](name)
            found = (row.source, row.preset, row.labeled, row.seed)
            assert found == (source, "mini", labeled, 1337)
            assert len(build_method(row, classes).stages()) == len(config_for(row).stages)
