"""The README's table of lessons, from what the lessons say of themselves.

python tools/lesson_table.py           writes it into README.md
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "| | idea | minutes |\n|---|---|---:|\n"


def rows() -> str:
    lines = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        title = re.match(r"# (\w\d)\. (.+)", first)
        minutes = re.search(r"\*\*Time\.\*\* (\d+) minutes to read", first)
        if title is None or minutes is None:
            raise ValueError(f"{path}: the first cell has no title or no **Time.**")
        lines.append(f"| [{path.stem}](notebooks/{path.name}) | {title[2]} | {minutes[1]} |\n")
    return HEAD + "".join(lines)


def with_rows(readme: str) -> str:
    if HEAD not in readme:
        raise ValueError("README.md has no table of lessons")
    before, after = readme.split(HEAD, 1)
    return before + rows() + re.sub(r"\A(?:\|.*\n|LESSONS\n)*", "", after)


def main() -> int:
    path = ROOT / "README.md"
    path.write_text(with_rows(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
