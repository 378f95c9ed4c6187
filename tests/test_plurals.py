"""Nobody reads "1 volumes": a number before a word goes through `counted`, wherever it may be one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import buarl

PACKAGE = Path(buarl.__file__).parent
WORDS = [
    "axes",
    "bytes",
    "cases",
    "cells",
    "channels",
    "classes",
    "cores",
    "files",
    "images",
    "labels",
    "lines",
    "masks",
    "minutes",
    "networks",
    "numbers",
    "parts",
    "patients",
    "plans",
    "rows",
    "runs",
    "samples",
    "scans",
    "seeds",
    "slices",
    "splits",
    "stages",
    "steps",
    "tables",
    "tries",
    "values",
    "volumes",
    "voxels",
    "windows",
]
FOLLOWS = re.compile(rf" ({'|'.join(WORDS)})\b")
NEVER_ONE = {  # file: what stands there and cannot be one, or is a share
    "copy_paste.py": ["MOST_VOXELS", "len(spatial)"],
    "data/checked.py": ["source.rank"],
    "data/h5.py": ["CHUNK_BYTES", "rank"],
    "data/limits.py": ["MAX_VOXELS", "MAX_BYTES", "declared"],
    "data/resample.py": ["array.ndim"],
    "data/text.py": ["MAX_BYTES"],
    "files/doctor.py": ["count"],
    "files/fetch.py": ["self._max_bytes"],
    "figures/captions.py": ["steps"],  # text such as "600 + 600"
    "figures/schematics/scene.py": ["count"],
    "files/export_onnx.py": ["sample.image.size", "self.voxels"],
    "files/model_card.py": ["steps"],
    "files/weights.py": ["len(names)"],
    "lessons/paper_figures.py": ["surfaces.FAR"],
    "results/leak.py": ["counts"],
    "results/verdicts.py": ["LEAST_SEEDS"],
    "widgets/run_page/page.py": ["side", "len(runs)"],
    "training/config.py": ["rank"],
    "training/health.py": ["IDLE_ROWS", "name"],
    "training/state.py": ["LOG_EVERY", "list(steps)"],
    "widgets/scrub_pack.py": ["probs[0]"],
}


def counts(text: str) -> list[str]:
    """Every `{number} words` of the f-strings of a module; `{n} of {m} words` is a share."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part, after in zip(node.values, [*node.values[1:], None], strict=True):
            number = isinstance(part, ast.FormattedValue) and isinstance(after, ast.Constant)
            if number and (match := FOLLOWS.match(after.value)) and not before.endswith(" of "):
                found.append(f"{ast.unparse(part.value)} {match[1]}")
            before = part.value if isinstance(part, ast.Constant) else ""
    return found


def test_no_number_stands_before_a_plural_that_it_may_not_fit():
    left = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        allowed = NEVER_ONE.get(name, [])
        bad = [each for each in counts(path.read_text()) if each.split()[0] not in allowed]
        if bad:
            left[name] = bad
    assert left == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('f"{n} volumes"', ["n volumes"]),
        ('f"in all {len(a)} scans, b"', ["len(a) scans"]),
        ('f"{k} of {n} volumes"', []),
        ('f"{name} has labels"', []),
        ('f"{counted(n, word)}; steps"', []),
    ],
)
def test_the_rule_finds_what_it_is_meant_to_find(text, found):
    assert counts(text) == found
