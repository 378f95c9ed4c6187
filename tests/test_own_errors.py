"""An error in a rule, method or network of one's own is one line that names the file and the line."""

from __future__ import annotations

import sysconfig
import textwrap
from pathlib import Path

import pytest
from tiny import PRESET, write_tiny

from buarl import outside
from buarl.commands.main import main
from buarl.outside import own_line
from buarl.training.config import PRESETS

METHOD = """
    from dataclasses import dataclass
    from buarl.methods import MeanTeacher

    class Mine(MeanTeacher):
        def training_step(self, batch, step):
            {}
"""
RULE = """
    from dataclasses import dataclass
    from buarl.regions import Region, Rule

    @dataclass(frozen=True)
    class Mine(Rule):
        def cut(self, probs):
            {}
"""
NETWORK = """
    import torch

    class Mine(torch.nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.conv = torch.nn.Conv2d(1, num_classes, 1)

        def forward(self, image):
            if self.training:
                {}
            return self.conv(image)
"""
MISTAKES = {  # what stands in the file: how it is said
    "return batch.label + None": "TypeError: unsupported operand",
    "return {}['a key']": "KeyError: 'a key'",
    "assert False, 'not\\nyet'": "AssertionError: not yet",
    "raise ValueError('too large')": "too large",
    "import torch; torch.zeros(2) @ torch.zeros(3)": "RuntimeError: inconsistent tensor size",
    "from buarl import region_loss; region_loss(1, 2, 3)": "TypeError: ",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUARL_DEBUG", raising=False)
    monkeypatch.setitem(PRESETS, "toy", PRESET)
    write_tiny(tmp_path / "data")
    return tmp_path


def train(here, kind, text, body):
    """Train with a file that has a body on its last lines; what it ends with."""
    (here / "my code").mkdir(exist_ok=True)
    (here / "my code" / "mine.py").write_text(textwrap.dedent(text).replace("{}", body, 1))
    words = ["train", "--source", "acdc", "--root", "data", "--labeled", "2", "--out", "run"]
    return main([*words, "--set", "steps=2", f"--{kind}", "my code/mine.py:Mine"])


@pytest.mark.parametrize("body", MISTAKES)
def test_a_mistake_in_a_method_of_ones_own_is_one_line(here, capsys, body):
    assert train(here, "method", METHOD, body) == 2
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("buarl: ")]
    assert len(said) == 1
    assert said[0].startswith(f"buarl: my code/mine.py, line 7, in training_step: {MISTAKES[body]}")
    assert said[0].endswith("; BUARL_DEBUG=1 shows the traceback")
    assert not (here / "run").exists()  # nothing to go on from was left


@pytest.mark.parametrize(
    ("kind", "text", "line", "function"),
    [
        ("unlabeled-rule", RULE, 8, "cut"),
        ("labeled-rule", RULE, 8, "cut"),
        ("network", NETWORK, 11, "forward"),
    ],
)
def test_so_is_one_in_a_rule_or_a_network(here, capsys, kind, text, line, function):
    assert train(here, kind, text, "return 1 + None") == 2
    said = capsys.readouterr().err
    assert f"buarl: my code/mine.py, line {line}, in {function}: TypeError: unsupported" in said
    assert "Traceback" not in said


def test_what_buarl_refuses_inside_it_names_the_line_that_asked(here, capsys):
    assert train(here, "unlabeled-rule", RULE, "return [Region(probs[:, 0] > 2, -1.0)]") == 2
    assert "region weight" in capsys.readouterr().err


def test_the_traceback_comes_when_asked_for(here, capsys, monkeypatch):
    monkeypatch.setenv("BUARL_DEBUG", "1")
    assert train(here, "method", METHOD, "return batch.label + None") == 2
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert said.splitlines()[-1].endswith("and 'NoneType'")


def test_what_the_file_imports_from_its_folder_is_ones_own_too(here, capsys):
    (here / "my code").mkdir()
    (here / "my code" / "helper_of_mine.py").write_text("def loss(a):\n    return a.nonsense\n")
    body = "import helper_of_mine; return helper_of_mine.loss(batch)"
    text = METHOD.replace("from dataclasses", "import helper_of_mine\n    from dataclasses")
    assert train(here, "method", text, body) == 2
    said = capsys.readouterr().err
    assert "buarl: my code/helper_of_mine.py, line 2, in loss: AttributeError: " in said


def test_an_error_without_code_of_ones_own_has_no_such_line():
    with pytest.raises(KeyError) as caught:
        {}["x"]
    assert own_line(caught.value) is None


@pytest.mark.parametrize("place", ["fractions:Fraction", "{prefix}/mine.py:mine"])
def test_a_line_of_python_itself_is_nobodys_own(tmp_path, monkeypatch, capsys, place):
    prefix = Path(sysconfig.get_path("stdlib")).parent  # as ~/mine.py with Python in ~/.pyenv
    monkeypatch.setattr(outside, "_ROOTS", [prefix] if "{" in place else [])
    assert "{" in place or outside.load_code(place)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError) as caught:
        (tmp_path / "file").mkdir()  # pathlib.py raises it
    assert own_line(caught.value) is None
    found = str(tmp_path / "file" / "page.html")
    assert main(["show", str(tmp_path), "--out", found]) == 2
    assert "BUARL_DEBUG" not in capsys.readouterr().err
