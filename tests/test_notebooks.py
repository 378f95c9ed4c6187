"""The lessons as files: canonical, small, repeatable, free of machines, and their solutions run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.py"))
SWITCH = r"^source = lesson_source\(\)(?:  # .*)?$"
TAGS = {"definition", "nbval-check-output", "nbval-ignore-output", "nbval-skip", "raises-exception"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|Users)(?![\w-])|[A-Z]:\\")
PROGRESS_BAR = re.compile(r"\d%\|.*\||\d(?:it/s|s/it)")
NETWORK = {"urllib", "urllib3", "requests", "http", "httpx", "aiohttp", "socket", "ftplib"}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def markdown_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "markdown"]


def outputs(path: Path) -> Iterator[nbformat.NotebookNode]:
    for cell in code_cells(path):
        yield from cell.outputs


def output_texts(path: Path) -> Iterator[str]:
    """What outputs say, pictures aside (base64 may spell anything)."""
    for output in outputs(path):
        yield from (str(output.get(key, "")) for key in ("text", "evalue", "traceback"))
        for mime, data in output.get("data", {}).items():
            if mime not in ("image/png", "image/jpeg"):
                yield str(data)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def test_there_are_notebooks():
    assert NOTEBOOKS


# The file


@each_notebook
def test_is_a_valid_notebook_of_at_most_one_megabyte(path):
    nbformat.validate(read(path))
    assert path.stat().st_size <= 1_000_000


@each_notebook
def test_was_run_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_carries_no_widget_state(path):
    assert "widgets" not in read(path).metadata
    for output in outputs(path):
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


# The cells


@each_notebook
def test_cells_are_few_and_short(path):
    cells = code_cells(path)
    assert len(cells) <= 20
    imports = next(cell for cell in cells if "buarl" in cell.source)
    assert len(imports.source.splitlines()) <= 25
    long = [c for c in cells if c is not imports and len(c.source.splitlines()) > 15]
    for cell in long:
        assert "definition" in tags(cell), f"more than 15 lines:\n{cell.source}"
        assert len(cell.source.splitlines()) <= 40
    assert sum("definition" in tags(cell) for cell in cells) <= 1


@each_notebook
def test_every_code_cell_is_plain_python(path):
    for cell in code_cells(path):
        ast.parse(cell.source)  # no magics either: a notebook can be pasted into a script


@each_notebook
def test_uses_no_network(path):
    imported = set()
    for node in ast.walk(ast.parse("\n".join(cell.source for cell in code_cells(path)))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & NETWORK


@each_notebook
def test_names_no_machine(path):
    sources = [cell.source for cell in read(path).cells]
    for text in (*sources, *output_texts(path)):
        found = MACHINE_PATH.search(text)
        assert found is None, text[max(found.start() - 40, 0) : found.end() + 40]
    assert not any(".cuda(" in source for source in sources)  # use buarl.training.engine


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/tmp/runs", True),
        ("in '/home/me'", True),
        (r"C:\data", True),
        ("../work/x", False),
        ("labor/work", False),
        ("https://host/tmp", False),
    ],
)
def test_machine_paths_are_told_from_other_slashes(text, found):
    assert bool(MACHINE_PATH.search(text)) is found


@each_notebook
def test_outputs_hold_no_warning_and_no_progress_bar(path):
    for output in outputs(path):
        assert output.get("name") != "stderr", output.text
        assert output.output_type != "error" or "raises-exception" in str(read(path))
    for text in output_texts(path):
        assert not PROGRESS_BAR.search(text), text


@each_notebook
def test_tags_are_known(path):
    for cell in read(path).cells:
        assert set(tags(cell)) <= TAGS


def test_at_most_two_cells_of_the_project_are_skipped():
    skipped = [path.stem for path in NOTEBOOKS for c in code_cells(path) if "nbval-skip" in tags(c)]
    assert len(skipped) <= 2, skipped


# The frame of a lesson


@each_notebook
def test_begins_with_its_title_and_number(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]}. ")


@each_notebook
def test_the_source_is_chosen_right_after_the_imports(path):
    first, second = code_cells(path)[:2]
    chosen = [c for c in (first, second) if re.search(SWITCH, c.source, re.MULTILINE)]
    if not re.search(r"\bsource\b", "\n".join(cell.source for cell in code_cells(path))):
        return  # a lesson about committed runs has no data set to choose
    assert len(chosen) == 1
    if chosen == [second]:
        lines = first.source.splitlines()
        assert all(line.startswith(("import ", "from ", "    ", ")")) for line in lines if line)
    assert sum(cell.source.count("lesson_source()") for cell in code_cells(path)) == 1


@each_notebook
def test_exercises_link_to_a_solution(path):
    text = "\n".join(cell.source for cell in markdown_cells(path)).split("## Exercises", 1)[1]
    links = re.findall(r"\]\((solutions/[^)#]+)", text)
    assert links
    for link in links:
        assert (path.parent / link).is_file(), link


@each_notebook
def test_readme_names_it(path):
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("no README.md yet")
    assert path.name in readme.read_text()


def test_make_test_compares_outputs_and_pytest_alone_needs_no_plugin():
    """A server with a GPU has pytest and no notebooks: `pytest tests/test_cuda.py` runs there."""
    command = ["make", "--dry-run", "--always-make", "test"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"-m pytest .*--nbval ", made)
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "notebooks" in options["testpaths"]
    bare = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/test_cuda.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(bare, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# The solutions


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_solution_runs(path, tmp_path):
    own = ("BUARL_SOURCE", "BUARL_ROOT")
    environment = {key: value for key, value in os.environ.items() if key not in own}
    environment |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,  # a solution runs from anywhere and leaves nothing in the checkout
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def test_every_solution_belongs_to_a_notebook():
    stems = {path.stem for path in NOTEBOOKS}
    assert {path.stem.removeprefix("s") for path in SOLUTIONS} <= stems
