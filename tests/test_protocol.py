"""docs/protocol.md holds what code and lessons say it holds, with a source for every method."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buarl.methods import METHODS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)?)[. ]", re.M)
ROW = re.compile(r"^\| (\d+\.\d+) \|", re.M)
NUMBERED = HEADING.findall(TEXT) + ROW.findall(TEXT)
NUMBER = r"(?:section )?\d+(?:\.\d+)?(?:-\d+\.\d+)?"
REFERENCE = re.compile(rf"docs/protocol\.md\)?((?:[,;]? (?:and )?{NUMBER}(?!\d*[-/x%]))*)")
WRAPPED = re.compile(r"\s*\n[#\s]*")  # a reference may go on in the next line of a comment


def references(text: str) -> list[str]:
    """Every section that a text asks for; a range counts with each of its sections."""
    found = []
    for match in REFERENCE.finditer(WRAPPED.sub(" ", text.replace('\\n",', "\n").replace('"', ""))):
        for first, last in re.findall(r"(\d+(?:\.\d+)?)(?:-(\d+\.\d+))?", match[1]):
            found.append(first)
            if last:
                chapter, begin = first.split(".")
                end = last.split(".")[1]
                found += [f"{chapter}.{k}" for k in range(int(begin) + 1, int(end) + 1)]
    return found


def asking_files() -> list[Path]:
    folders = ("app", "benchmarks", "buarl", "examples", "notebooks", "results", "tests", "tools")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    known = {".py", ".ipynb", ".md", ".sh"}
    own = Path(__file__)
    return [p for p in (*paths, *ROOT.glob("*.md")) if p.suffix in known and p != own]


def test_references_are_read_as_people_write_them():
    assert references("(docs/protocol.md 4.2, 7.9-7.11)") == ["4.2", "7.9", "7.10", "7.11"]
    assert references("[docs/protocol.md](../docs/protocol.md) 1.2, 6.8; 2") == ["1.2", "6.8", "2"]
    assert references("docs/protocol.md 4.4 and 5).") == ["4.4", "5"]
    assert references("docs/protocol.md 4.4 and section 5") == ["4.4", "5"]
    assert references("docs/protocol.md\n    # 1.4: the") == ["1.4"]
    assert references("docs/protocol.md 3.1, 3.2: 3 heads") == ["3.1", "3.2"]


def test_every_section_that_is_asked_for_exists():
    asked = {path: references(path.read_text(encoding="utf-8")) for path in asking_files()}
    missing = {
        f"{path.relative_to(ROOT)}: {number}"
        for path, numbers in asked.items()
        for number in numbers
        if number not in NUMBERED
    }
    assert not missing
    assert sum(map(len, asked.values())) > 50
    assert sum(bool(numbers) for numbers in asked.values()) > 30


def test_sections_are_numbered_in_order_and_once():
    assert len(NUMBERED) == len(set(NUMBERED))
    for numbers in (HEADING.findall(TEXT), ROW.findall(TEXT)):
        assert numbers == sorted(numbers, key=lambda n: [int(part) for part in n.split(".")])
    assert NUMBERED[:2] == ["1", "1.1"]
    assert {"2.4", "3.5", "4.9", "5.9", "6.45", "7.25", "8"} <= set(NUMBERED)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_paper_and_its_code_at_a_commit(name):
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "github.com" in line]
    wanted = name.replace("_", "")
    (row, *_) = [r for r in rows if wanted in re.sub(r"[^a-z]", "", r.split("|")[1].lower())]
    assert re.search(r"https://(arxiv\.org/abs/\d{4}\.\d{5}|doi\.org/10\.)", row)
    commit = re.search(r"https://github\.com/[\w.-]+/[\w.-]+/tree/([0-9a-f]{7})\)", row)
    assert commit[1] in row.split("|")[4]


def test_links_into_the_repository_lead_to_files():
    for target in re.findall(r"\]\((\.\./[^)#]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
