"""`buarl fetch`: source and terms first, nothing without consent, ACDC by its steps."""

# ruff: noqa: F401, F811  fixtures come from the other file

from __future__ import annotations

import pytest
from test_fetch import CASES, TEST_CASES, h5_files, root, server

from buarl.commands.files import Fetch
from buarl.files import fetch


def test_without_accepted_terms_nothing_is_downloaded(server, root, capsys):
    with pytest.raises(SystemExit) as stopped:
        Fetch("la", out=root, base_url=server.url).run()
    assert stopped.value.code == 2
    said = capsys.readouterr().out
    assert "no open license was found" in said
    assert server.url in said
    assert "--accept-terms" in said
    assert not server.asked
    assert not root.exists()


def test_accepted_terms_are_printed_first_and_the_next_command_is_named(
    server, root, capsys, monkeypatch
):
    monkeypatch.setenv("BUARL_CACHE", str(root.parent))
    Fetch("la", accept_terms=True, test=True, base_url=server.url).run()
    said = capsys.readouterr().out
    assert said.index("terms") < said.index("1/12 SCAN00")
    assert f'doctor --source la --root "{root}"' in said
    assert h5_files(root) == CASES + TEST_CASES


def test_acdc_prints_the_steps_and_downloads_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BUARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "download", lambda *a, **k: pytest.fail("must not download"))
    Fetch("acdc", accept_terms=True).run()
    said = capsys.readouterr().out
    assert "humanheart-project.creatis.insa-lyon.fr" in said
    assert "CC BY-NC-SA 4.0" in said
    assert "buarl convert acdc RAW OUT" in said
    assert not (tmp_path / "cache").exists()


def test_the_default_address_is_one_commit_of_the_public_repository():
    assert fetch.LA_URL.startswith("https://raw.githubusercontent.com/yulequan/UA-MT/")
    assert len(fetch.LA_URL.split("/")[5]) == 40
    assert fetch.LA_URL.endswith("/data/")
