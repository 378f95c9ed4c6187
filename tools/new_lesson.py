"""Begin a lesson: a notebook and its solution that keep every rule of tests/test_notebooks.py.

python tools/new_lesson.py 13 calibration
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
SOURCE = (
    'source = buarl.open_source(os.environ.get("BUARL_SOURCE", "phantom"), '
    'os.environ.get("BUARL_ROOT"))'
)
OPENING = f"import os\n\nimport buarl\n\n{SOURCE}"
SOLUTION = '''"""Solution to notebook {number}: {title}."""

# %%
from __future__ import annotations

import os

import buarl

{source}

# %% 1. How many training images are there?
print(len(source.training_names()))
'''


def lesson(number: str, title: str, stem: str) -> nbformat.NotebookNode:
    """The frame: title and question, source, one look, what was seen, exercises."""
    cells = [
        new_markdown_cell(f"# {number}. {title}\n\nThe question of this lesson, in one sentence."),
        new_code_cell(OPENING),
        new_code_cell("print(source.class_names)"),
        new_markdown_cell("What was seen, and where it stops being true."),
        new_markdown_cell(
            "## Exercises\n\n1. How many training images are there?\n\n"
            f"[Solution](solutions/s{stem}.py)"
        ),
    ]
    return new_notebook(cells=cells)


def begin(number: str, name: str, folder: Path) -> list[Path]:
    """Write both files; none of them may exist.

    Raises:
        ValueError: a number that is not two digits or a name of other signs than a-z, 0-9 and _.
        FileExistsError: one is there already, or another lesson has the number.
    """
    if not re.fullmatch(r"\d\d", number) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"a lesson is a number of two digits and a_name, got {number} {name}")
    if others := sorted(folder.glob(f"{number}_*.ipynb")):
        raise FileExistsError(f"{others[0]}: the number {number} is taken")
    stem = f"{number}_{name}"
    title = name.replace("_", " ").capitalize()
    paths = [folder / f"{stem}.ipynb", folder / "solutions" / f"s{stem}.py"]
    paths[1].parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(lesson(number, title, stem), paths[0])
    with paths[1].open("x", encoding="utf-8") as file:
        file.write(SOLUTION.format(number=number, title=title, source=SOURCE))
    return paths


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", help="two digits, such as 13")
    parser.add_argument("name", help="what its file is called, such as calibration")
    options = parser.parse_args(argv)
    try:
        paths = begin(options.number, options.name, folder)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    print("\n".join(map(str, paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
