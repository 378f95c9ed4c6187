"""Build the book: a static site of the lessons, the documents, the equations and every docstring.

python tools/make_book.py [OUT]      default: build/book, opened as build/book/index.html

The sources are laid out in OUT/../book_source as they stand in the repository, so links between
notebooks, documents and code hold in both.
"""

from __future__ import annotations

import argparse
import ast
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("notebooks", "docs", "figures", "results", "buarl", "examples", "tools", "tests")
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "README.md", "LICENSE")
FILES = (
    "CITATION.cff",
    "pyproject.toml",
    "requirements.txt",
    "requirements-devices.txt",
    "Makefile",
)
FLOORS = {  # rooms in reading order, and what a reader finds there
    "The paper": ("entropy", "rule", "regions", "dice", "losses", "ema", "copy_paste", "schedules"),
    "Data and networks": ("data", "networks", "components"),
    "Methods": ("methods",),
    "Training": ("training", "fast"),
    "Evaluation": ("evaluation", "results"),
    "Files and figures": ("files", "figures"),
    "Lessons and widgets": ("lessons", "widgets"),
}


def lay_out(source: Path) -> None:
    """Copy all that the book shows or links to, and write the pages that are made from code."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "book", source)
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *COPIED, *PAGES, *FILES],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, tracked.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    for page in (ROOT / "figures").glob("*.html"):
        (source / "static" / "explorers").mkdir(exist_ok=True)
        shutil.copy(page, source / "static" / "explorers")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    add_buttons(source / "notebooks", project["tool"]["buarl"]["public_address"])
    (source / "equations.md").write_text(equations(), encoding="utf-8")
    (source / "front.md").write_text(front(), encoding="utf-8")
    write_reference(source / "api")


def add_buttons(notebooks: Path, address: str) -> None:
    """Colab and Binder on top of every lesson, as soon as the repository has a public address."""
    home = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", address)
    if home is None:
        return
    for path in notebooks.glob("*.ipynb"):
        place = f"{home[1]}/blob/main/notebooks/{path.name}"
        binder = f"https://mybinder.org/v2/gh/{home[1]}/main?labpath=notebooks/{path.name}"
        colab = f"https://colab.research.google.com/github/{place}"
        links = f"[Open in Colab]({colab}) · [Binder]({binder})"
        content = json.loads(path.read_text(encoding="utf-8"))
        first = content["cells"][0]["source"]
        lines = first.splitlines(keepends=True) if isinstance(first, str) else first
        content["cells"][0]["source"] = [lines[0], "\n", links + "\n", *lines[1:]]
        path.write_text(json.dumps(content), encoding="utf-8")


def front() -> str:
    """The README's first part, without its title; links hold, as the book is laid out alike."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("\n", 1)[1]
    return text.split("\n## ", 1)[0]


def equations() -> str:
    """A page with every equation: its formula, the function it stands in, and the file."""
    rows = ["# Equations", "", "Each equation of the paper stands in one place.", ""]
    rows += ["| | formula, as its docstring has it | function |", "| --- | --- | --- |"]
    found = {}
    for path in sorted((ROOT / "buarl").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"# Eq\. (\d+)\b", text):
            line = text[: match.start()].count("\n") + 1
            if text.splitlines()[line - 1].split("#")[1].strip().startswith("Eq."):
                found.setdefault(int(match[1]), (path, ast.parse(text), line))
    for number, (path, tree, line) in sorted(found.items()):
        inside = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.lineno <= line <= node.end_lineno
        ]
        function = max(inside, key=lambda node: node.lineno)
        formula = next(
            text.strip()
            for text in (ast.get_docstring(function) or "").splitlines()
            if re.search(rf"Eq\. {number}\b.* = ", text)
        )
        where = path.relative_to(ROOT).as_posix()
        rows.append(f"| Eq. {number} | `{formula}` | [`{function.name}`]({where}) in `{where}` |")
    return "\n".join(rows) + "\n"


def modules(room: str) -> list[str]:
    """The public modules of a room, itself first, in the order of their names."""
    path = ROOT / "buarl" / room
    if not path.is_dir():
        return [f"buarl.{room}"]
    inside = pkgutil.walk_packages([str(path)], f"buarl.{room}.")
    return [f"buarl.{room}", *(m.name for m in inside if m.name.rsplit(".", 1)[-1][0] != "_")]


def write_reference(folder: Path) -> None:
    """One page a floor of the house, every public docstring on it."""
    folder.mkdir(parents=True)
    for title, rooms in FLOORS.items():
        page = [f"# {title}", ""]
        for module in (module for room in rooms for module in modules(room)):
            page += [f"## {module}", "", "```{eval-rst}", f".. automodule:: {module}"]
            page += ["   :members:", "   :show-inheritance:", "```", ""]
        name = title.lower().replace(" ", "_")
        (folder / f"{name}.md").write_text("\n".join(page), encoding="utf-8")


def main() -> int:
    """Lay out, build, and say where the first page is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "build" / "book")
    out = parser.parse_args().out
    source = out.parent / "book_source"
    lay_out(source)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    done = subprocess.run([*command, str(source), str(out)], check=False)
    print(f"the book: {out / 'index.html'}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
