"""The recipes of CONTRIBUTING.md work as printed; forms, citation and public address say one thing."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import test_lesson_form
import test_notebooks
import yaml
from raw_files import image_of, label_of, write_nifti
from tiny import PRESET, write_balls

import buarl
from buarl.commands.main import main
from buarl.data.source import SOURCES
from buarl.training.config import PRESETS

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BIB = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
TINY = replace(PRESET, image_size={2: (32, 32), 3: (16, 16, 16)}, steps=2, labeled_batch=None)
ADDRESS = "https://example.org/someone/buarl"


def commands() -> list[str]:
    """Every command of the fenced blocks, continued lines joined, comments gone."""
    blocks = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True)) for line in lines]


def test_the_guide_names_files_and_targets_that_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"\b((?:tests|tools)/\w+\.py)\b", GUIDE):
        assert (ROOT / path).is_file(), path
    targets = re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())[1].split()
    assert {line.split()[1] for line in commands() if line.startswith("make ")} <= set(targets)


def test_every_command_of_the_guide_is_one_that_is_tried_here():
    kinds = {" ".join(line.split()[:2]) for line in commands()}
    assert kinds == {
        *("make test", "make lint", "source .venv/bin/activate"),
        *("buarl train", "buarl evaluate"),
        *(
            "python tools/new_lesson.py",
            "python tools/run_notebooks.py",
            "python -m",
            "python tools/lesson_table.py",
        ),
    }


def test_its_trainings_work_as_printed(tmp_path, monkeypatch, capsys):
    """With FOLDER made for the example, and a preset that takes a second."""
    monkeypatch.chdir(tmp_path)
    for name in [*PRESETS]:
        monkeypatch.setitem(PRESETS, name, TINY)
    before = dict(SOURCES)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    write_balls(tmp_path / "FOLDER")
    for number in range(6):
        write_nifti(tmp_path / "IMAGES" / f"p{number}.nii.gz", image_of(number))
        write_nifti(tmp_path / "IMAGES" / f"p{number}_gt.nii.gz", label_of(number, 3))
    inline = re.findall(r"`(buarl convert [^`]+)`", GUIDE)
    trained = [line for line in commands() if line.startswith("buarl ")]
    assert len(inline) == 1
    assert len(trained) >= 5
    try:
        for line in [*trained, inline[0].replace("FOLDER", "new")]:
            assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    finally:
        SOURCES.clear()
        SOURCES.update(before)


def test_the_recipe_of_a_lesson_makes_one_that_keeps_every_rule(tmp_path, monkeypatch):
    begin, run, table = (
        shlex.split(line)[1:] for line in commands() if line.startswith("python tools/")
    )
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copytree(ROOT / "buarl", tmp_path / "buarl")  # it gets the judges of the new lesson
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tool = runpy.run_path(str(ROOT / begin[0]))
    assert tool["main"](begin[1:], folder) == 0
    path = tmp_path / run[1]  # the command names the file that was begun
    assert path.is_file()
    monkeypatch.setattr(sys, "argv", [run[0], str(path)])
    assert runpy.run_path(str(ROOT / run[0]))["main"]() == 0
    assert f"| [{path.stem}]" in rows_of_readme(table[0], tmp_path)
    (tmp_path / "README.md").write_text(f"[a lesson](notebooks/{path.name})")
    monkeypatch.setattr(test_notebooks, "ROOT", tmp_path)
    rules = [
        rule
        for module in (test_notebooks, test_lesson_form)
        for name, rule in vars(module).items()
        if name.startswith("test_") and [*inspect.signature(rule).parameters] == ["path"]
    ]
    assert len(rules) >= 20
    for rule in rules:
        rule(path)
    test_notebooks.test_solution_runs(folder / "solutions" / f"s{path.stem}.py", tmp_path)
    for wrong in (["16", "other"], ["1", "x"], ["17", "../x"]):
        with pytest.raises(SystemExit):
            tool["main"](wrong, folder)


def rows_of_readme(tool, home):
    """The table of lessons as tools/lesson_table.py writes it for a folder."""
    written = runpy.run_path(str(ROOT / tool))
    written["rows"].__globals__["ROOT"] = home
    return written["rows"]()


def test_every_dependency_has_a_reason_and_a_tested_version():
    """As the recipe says: a range in pyproject.toml, a pin in requirements.txt that lies in it."""
    from packaging.requirements import Requirement

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    ranges = [each for group in groups for each in group]
    pins = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if match := re.match(r"([\w.-]+)==(\S+)(\s+# .+)?$", line):
            assert match[3], f"requirements.txt: {match[1]} has no reason"
            pins[match[1].lower()] = match[2]
    for each in map(Requirement, ranges):
        if each.name != "buarl":
            assert each.specifier.contains(pins[each.name.lower()]), each
            assert re.search(rf'"{re.escape(each.name)}[><!=][^\n]*#', text), (
                f"{each.name}: no reason"
            )


# Forms


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")))
def test_a_form_is_one_that_the_forge_takes(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form)
    names = [part["id"] for part in form["body"]]
    assert len(set(names)) == len(names)
    for part in form["body"]:
        assert part["type"] in ("textarea", "input", "dropdown", "checkboxes", "markdown")
        assert part["attributes"]["label"]
    asked = {part["id"]: part for part in form["body"]}
    assert "`buarl doctor" in asked["doctor"]["attributes"]["label"]
    required = asked["doctor"].get("validations", {}).get("required", False)
    assert required is (path.stem != "question")


# Citation


def entries() -> dict[str, dict[str, str]]:
    """The entries of references.bib by key; a field may run over lines."""
    found = {}
    for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}", BIB, re.M | re.S):
        fields = re.findall(r"^  (\w+) = \{(.*?)\},$", body, re.M | re.S)
        found[key] = {"kind": kind, **{name: " ".join(v.split()) for name, v in fields}}
    return found


@pytest.mark.parametrize("name", buarl.METHODS)
def test_a_method_and_its_entry_name_the_same_paper(name):
    paper, entry = buarl.METHODS[name].paper, entries()[name]
    assert entry["title"].casefold() == paper.title.casefold()
    assert entry["year"] == str(paper.year)
    assert f"{entry['booktitle']} {paper.year}" == paper.venue
    ours = [author.rpartition(" ")[2] for author in paper.authors.split(", ")]
    assert [author.partition(",")[0] for author in entry["author"].split(" and ")] == ours
    place = entry.get("eprint") or entry["doi"]
    assert paper.url.endswith(place)


def test_the_bibliography_holds_the_paper_the_networks_and_this_repository():
    found = entries()
    assert set(buarl.METHODS) | {"burl", "buarl", "v_net", "unimatch"} <= set(found)
    assert BIB.count("\n@") == len(found)
    assert found["burl"]["eprint"] == "2502.07457"
    assert found["buarl"]["version"] == buarl.__version__
    guide = (ROOT / "docs" / "citation.md").read_text(encoding="utf-8")
    for name in buarl.METHODS:
        assert f"| `{name}` | `{name}`" in guide
    assert set(re.findall(r"`(\w+)`", guide)) - set(found) <= {"examples"}


def test_the_citation_file_has_what_its_schema_requires():
    """cffconvert 2.0 finds the file valid; its own dependencies keep it out of ours."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert str(cited["version"]) == buarl.__version__
    assert cited["authors"] == [{"name": "The buarl authors"}]
    (paper,) = cited["references"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == [name.split(",")[0] for name in entries()["burl"]["author"].split(" and ")]
    assert paper["title"] == entries()["burl"]["title"]


# The public address


@pytest.fixture
def copy(tmp_path):
    """The files that hold the address."""
    for name in ("pyproject.toml", "CITATION.cff", "docs/references.bib", "CONTRIBUTING.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "README.md").write_text("# x\n<!-- badges -->\n<!-- end of badges -->\ntext\n")
    return tmp_path


def test_all_files_name_the_address_that_one_place_holds():
    tool = runpy.run_path(str(ROOT / "tools" / "public_address.py"))
    assert tool["main"](["--check"]) == 0
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["buarl"]["public_address"] == tool["public_address"](ROOT)
    assert "arxiv.org/abs/2502.07457" in settings["project"]["urls"]["Paper"]


def test_an_address_is_written_everywhere_and_taken_away_without_a_trace(copy):
    tool = runpy.run_path(str(ROOT / "tools" / "public_address.py"))
    files = [path for path in copy.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    assert tool["main"](["--set", ADDRESS], copy) == 0
    assert tool["main"](["--check"], copy) == 0
    urls = tomllib.loads((copy / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Source"] == ADDRESS
    assert urls["Issues"] == f"{ADDRESS}/issues"
    assert yaml.safe_load((copy / "CITATION.cff").read_text())["repository-code"] == ADDRESS
    assert f"  url = {{{ADDRESS}}},\n}}" in (copy / "docs" / "references.bib").read_text()
    assert f"]({ADDRESS}/actions/workflows/ci.yml)" in (copy / "README.md").read_text()
    (copy / "CITATION.cff").write_bytes(before[copy / "CITATION.cff"])
    assert tool["main"](["--check"], copy) == 1
    assert tool["main"](["--set", ""], copy) == 0
    assert {path: path.read_bytes() for path in files} == before
    with pytest.raises(SystemExit):
        tool["main"](["--set", "example.org"], copy)


def test_the_installed_version_is_the_one_that_is_cited():
    try:
        installed = version("buarl")
    except PackageNotFoundError:
        pytest.skip("not installed")
    assert installed == buarl.__version__
