"""The one form of every lesson: question, picture, formula, by hand, experiment, takeaway, questions,
exercises that answer back, further reading. See CONTRIBUTING.md."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ENDING = ["Takeaway", "Five quick questions", "Exercises", "Further reading"]
NO_ANSWER = re.compile(r"^… \w\w\.\d: no answer yet\. Hint: ")

each_lesson = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path):
    return nbformat.read(path, as_version=4).cells


def sections(path):
    """Title and text of every `## ` section, in order."""
    text = "\n\n".join(cell.source for cell in cells(path) if cell.cell_type == "markdown")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def section(path, title):
    return dict(sections(path))[title]


@each_lesson
def test_opens_with_question_needs_and_time(path):
    first = cells(path)[0].source
    for word in ("Question", "Needs", "Time"):
        assert f"**{word}.** " in first, word
    assert re.search(r"\*\*Time\.\*\* \d+ minutes to read, \d+ s to run", first)


@each_lesson
def test_has_at_most_sixteen_code_cells(path):
    assert sum(cell.cell_type == "code" for cell in cells(path)) <= 16


@each_lesson
def test_a_picture_stands_before_the_first_formula(path):
    for cell in cells(path):
        if cell.cell_type == "markdown":
            assert "$$" not in cell.source, "a formula before the first picture"
            if re.search(r"!\[[^\]]{20,}\]\(", cell.source):
                return
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            return
    pytest.fail("no picture at all")


@each_lesson
def test_every_picture_has_alternative_text(path):
    for cell in cells(path):
        if cell.cell_type == "markdown":
            for alt in re.findall(r"!\[([^\]]*)\]\(", cell.source):
                assert len(alt) >= 20, alt
            continue
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
                assert len(alt) >= 20, cell.source


@each_lesson
def test_ends_with_takeaway_questions_exercises_and_reading(path):
    assert [title for title, _ in sections(path)][-4:] == ENDING


@each_lesson
def test_takeaway_is_three_sentences(path):
    text = re.sub(r"(?<=\d)\.(?=\d)|\b(?:Eq|Fig|e\.g|i\.e|vs|al)\.", "", section(path, "Takeaway"))
    assert len(re.findall(r"[.!?](?:\*\*)?(?=\s|$)", text)) == 3, text


@each_lesson
def test_five_quick_questions_have_folded_answers(path):
    text = section(path, "Five quick questions")
    assert len(re.findall(r"<details>\s*<summary>", text)) == 5
    assert text.count("</details>") == 5


@each_lesson
def test_exercises_have_a_stub_a_check_and_a_folded_answer(path):
    text = section(path, "Exercises")
    stubs = [
        cell for cell in cells(path) if cell.cell_type == "code" and "check(" in cell.source
    ]  # fmt: skip
    assert 2 <= len(stubs) <= 4
    assert text.count("<details>") >= len(stubs)
    for cell in stubs:
        assert "..." in cell.source
        (output,) = cell.outputs
        assert NO_ANSWER.match(output["data"]["text/plain"]), output


@each_lesson
def test_further_reading_links_outside(path):
    assert len(re.findall(r"\]\(https://", section(path, "Further reading"))) >= 2


@each_lesson
def test_spelling_is_american(path):
    british = (
        r"\b\w*(?:colour|normalis|standardis|labell|neighbour|optimis|behaviour|centre|grey)\w*"
    )
    for cell in cells(path):
        if cell.cell_type == "markdown":
            prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", cell.source)
            assert not re.findall(british, prose, flags=re.IGNORECASE)
