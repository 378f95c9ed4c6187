"""Begin a lesson in the form of all lessons: notebook, solution, judges of its exercises, answers.

python tools/new_lesson.py 16 calibration
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
IMPORTS = """import buarl
from buarl.figures.panels import panels
from buarl.lessons.check import check
from buarl.lessons.picture import picture
from buarl.lessons.rows import lesson_source"""
PICTURE = """names = source.training_names()[:4]
samples = [source.training_sample(name) for name in names]
shown = {name: (s.image, s.label) for name, s in zip(names, samples, strict=True)}
picture(
    panels(shown, source.class_names),
    alt="What is to be seen, in one or two sentences, for readers who do not see it.",
)"""
FORMULA = r"""The formula, with its number in the paper if it has one:

$$U(x) = -\sum_c p_c(x) \ln p_c(x)$$

Then the same by hand, the library's version imported and asserted equal, and an experiment."""
ENDING = """## Takeaway

What was seen. What follows from it. Where it stops being true.

## Five quick questions

{questions}

## Exercises

[Solutions](solutions/s{stem}.py)

**1.** How much is one and one?

<details><summary>Answer</summary>

Two.
</details>"""
SECOND = """**2.** And two and two?

<details><summary>Answer</summary>

Four.
</details>"""
READING = """## Further reading

- [The paper](https://arxiv.org/abs/2502.07457)
- [Mean Teacher](https://arxiv.org/abs/1703.01780)"""
QUESTION = "<details><summary>Question {k}?</summary>\n\nIts answer.\n</details>"
JUDGES = '''"""Judges of lesson {number}, {title}."""

from __future__ import annotations

from typing import Any

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise("{number}.1", hint="count on your fingers.", praise="So it is.")
def first(answer: Any) -> str | None:
    """One and one."""
    return off(answer, 2, mistakes={{"that is one and nothing.": 1}})


@exercise("{number}.2", hint="twice the first answer.", praise="So it is.")
def second(answer: Any) -> str | None:
    """Two and two."""
    return off(answer, 4, mistakes={{"that is two and one.": 3}})
'''
ANSWERS = '''"""Lesson {number}: right answers and typical wrong ones."""

RIGHT = {{"{number}.1": 2, "{number}.2": 4}}
WRONG = [("{number}.1", 1, "one and nothing"), ("{number}.2", 5, "is not 5")]
'''
SOLUTION = '''"""Solutions of lesson {number}: {title}."""

# %%
from buarl.lessons.check import check

assert check("{number}.1", 1 + 1).right
assert check("{number}.2", 2 + 2).right
'''


def lesson(number: str, title: str, stem: str) -> nbformat.NotebookNode:
    """The form of every lesson, see tests/test_lesson_form.py."""
    questions = "\n".join(QUESTION.format(k=k) for k in range(1, 6))
    first = (
        f"# {number}. {title}\n\n**Question.** The question of this lesson, in one sentence?\n\n"
        "**Needs.** Lesson [00](00_start_here.ipynb). Data: synthetic hearts.\n\n"
        "**Time.** 10 minutes to read, 5 s to run."
    )
    cells = [
        new_markdown_cell(first),
        new_code_cell(IMPORTS),
        new_code_cell("source = lesson_source()"),
        new_markdown_cell("## A picture"),
        new_code_cell(PICTURE),
        new_markdown_cell(FORMULA),
        new_markdown_cell(ENDING.format(questions=questions, stem=stem)),
        new_code_cell(f'one_and_one = ...\ncheck("{number}.1", one_and_one)'),
        new_markdown_cell(SECOND),
        new_code_cell(f'two_and_two = ...\ncheck("{number}.2", two_and_two)'),
        new_markdown_cell(READING),
    ]
    return new_notebook(cells=cells)


def begin(number: str, name: str, folder: Path) -> list[Path]:
    """Write its four files; none of them may exist.

    Raises:
        ValueError: a number that is not two digits or a name of other signs than a-z, 0-9 and _.
        FileExistsError: one is there already, or another lesson has the number.
    """
    if not re.fullmatch(r"\d\d", number) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"a lesson is a number of two digits and a_name, got {number} {name}")
    if others := sorted(folder.glob(f"{number}_*.ipynb")):
        raise FileExistsError(f"{others[0]}: the number {number} is taken")
    stem, home = f"{number}_{name}", folder.parent
    title = name.replace("_", " ").capitalize()
    texts = {
        folder / "solutions" / f"s{stem}.py": SOLUTION,
        home / "buarl" / "lessons" / "exercises" / f"lesson_{number}.py": JUDGES,
        home / "tests" / f"test_exercises_{number}.py": ANSWERS,
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text.format(number=number, title=title))
    notebook = folder / f"{stem}.ipynb"
    nbformat.write(lesson(number, title, stem), notebook)
    return [notebook, *texts]


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", help="two digits, such as 16")
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
