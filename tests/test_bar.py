"""Progress in a terminal, in a file, and hidden."""

import sys

import pytest

from buarl.training import bar as module
from buarl.training.bar import bar


def test_in_a_file_progress_is_lines_of_begin_and_end(capsys):
    assert list(bar(range(50), "train", 50, shown=True)) == list(range(50))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("|")[0] for line in lines] == ["train:   0%", "train: 100%"]


def test_in_a_file_a_long_run_says_lines_in_between(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.0)
    list(bar(range(5), "train", 5, shown=True))
    text = capsys.readouterr().err
    assert text.count("\n") >= 6
    assert "\r" not in text
    assert " 3/5 " in text


def test_in_a_terminal_a_bar_is_drawn_over_itself(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(bar(range(5), "train", 5, shown=True))
    assert "\rtrain: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("watched", [True, False])
def test_a_hidden_bar_writes_nothing(watched, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    assert list(bar(range(5), "train", 5, shown=False)) == list(range(5))
    assert capsys.readouterr().err == ""
