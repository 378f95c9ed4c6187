"""Every link of every lesson opens in the server of `make lab`, and so do those of what they link to."""

from __future__ import annotations

import json
import re
import shlex
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from browser import server

pytest.importorskip("jupyterlab")
ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"""\]\(\s*<?([^)>\s]+)>?[^)]*\)|(?:src|href)=["']([^"']+)["']""")


def make_lab() -> list[str]:
    """The options that `make lab` gives to JupyterLab."""
    recipe = re.search(r"^lab:.*?\n\t(.*)\n", (ROOT / "Makefile").read_text(), re.M)[1]
    words = shlex.split(recipe.replace("$(CURDIR)", str(ROOT)).replace("$(BIN)/", ""))
    assert words[:2] == ["jupyter", "lab"]
    return words[2:]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server as `make lab` starts it, without a browser and without a token."""
    options = [
        word if word.startswith("-") else str(ROOT / word) for word in make_lab()
    ]  # make runs in the root, this test anywhere
    more = ("--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=")
    with server(("jupyterlab", *more, *options), tmp_path_factory.mktemp("lab")) as found:
        yield found


def prose(path: Path) -> str:
    """The text of a Markdown file, or of a notebook's Markdown cells; fenced code left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def links(path: Path) -> set[str]:
    """Links of a file to files of this repository, as paths from its root."""
    found = set()
    for match in LINK.finditer(prose(path)):
        address = match[1] or match[2]
        if re.match(r"[a-z][a-z+.-]*:", address) or address.startswith("#"):
            continue
        target = (path.parent / urllib.parse.unquote(address.partition("#")[0])).resolve()
        found.add(target.relative_to(ROOT).as_posix())
    return found


def all_links() -> dict[str, str]:
    """Every link, and one file it stands in; Markdown and lessons they lead to are followed."""
    found: dict[str, str] = {}
    pending, seen = list(LESSONS), set()
    while pending:
        path = pending.pop()
        seen.add(path)
        for link in links(path):
            found.setdefault(link, path.relative_to(ROOT).as_posix())
            target = ROOT / link
            if target.suffix in (".md", ".ipynb") and target.is_file() and target not in seen:
                pending.append(target)
    return found


def ask(address: str, path: str) -> int:
    """What the server answers to a path of its root."""
    url = f"{address}/api/contents/{urllib.parse.quote(path)}?content=0"
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_every_link_of_every_lesson_opens_in_the_server_of_make_lab(address):
    found = all_links()
    assert sum(link.startswith("docs/") for link in found) >= 3
    assert {"README.md", "buarl/methods/bcp.py", "figures/threshold_scrubber.html"} <= set(found)
    assert LESSONS[0].relative_to(ROOT).as_posix() in make_lab()
    dead = {
        f"{link} (in {where}): {status}"
        for link, where in found.items()
        if (status := ask(address, link)) != 200
    }
    assert dead == set()


def test_the_server_that_had_the_lessons_as_its_root_would_be_found_out(address):
    assert ask(address, "../README.md") == 404
    assert ask(address, "notebooks/no_such_lesson.ipynb") == 404
