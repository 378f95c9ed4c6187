"""Code from outside: what a row names by file and class trains, and nothing unnamed is imported."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import PRESET, Cut, cut_after, same_weights, write_tiny

from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.evaluation.score import score_run
from buarl.files.model import load_model
from buarl.methods import MeanTeacher, Supervised
from buarl.networks import UNet
from buarl.outside import code_name, find_code, load_code
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.network import build_network
from buarl.training.run import load_run, read_run, row_of_run, run_experiment

HERE = Path(__file__).parent / "outside"
METHOD = f"{HERE}/my_method.py:MyMethod"
NETWORK = f"{HERE}/my_network.py:MyNetwork"
RULE = f"{HERE}/my_rules.py:Doubtful"
PLACES = (METHOD, NETWORK, RULE)
ROW = Experiment(
    method="my_method.py:MyMethod",
    labeled_rule=load_code(RULE)(limit=0.7),
    network="my_network.py:MyNetwork",
    network_options={"dropout": 0.1},
    source="acdc",
    labeled=2,
    preset="tiny",
    set={"checkpoint_every": 2},
)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    monkeypatch.setitem(PRESETS, "toy", PRESET)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny data")))


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory):
    """The row ROW, trained; do not write there."""
    out = tmp_path_factory.mktemp("runs") / "outside"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        return out, run_experiment(ROW, source, out, code=PLACES)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Files and modules that leave a mark when they are imported, and where it would be."""
    mark = tmp_path / "imported"
    text = f"""
from pathlib import Path
Path({str(mark)!r}).write_text("imported")
from buarl.methods import Supervised
class Planted(Supervised):
    pass
"""
    (tmp_path / "planted.py").write_text(text)
    package = tmp_path / "planted_package"
    package.mkdir()
    (package / "__init__.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return mark


# A row with code from outside lives as any other


def test_it_trains_and_loads_with_its_last_weights(source, finished):
    out, result = finished
    row, data, method = load_run(out, code=PLACES)
    assert row == ROW
    assert data.root == source.root.resolve()
    assert type(method) is load_code(METHOD)
    assert type(method.student) is load_code(NETWORK)
    assert method.student.body[2].p == 0.1
    assert method.labeled_rule == load_code(RULE)(limit=0.7)
    assert same_weights(method.student, result.network)


def test_run_json_says_names_and_arguments_and_no_path(finished):
    written = json.loads((finished[0] / "run.json").read_text())["experiment"]
    assert written["method"] == "my_method.py:MyMethod"
    assert written["network"] == "my_network.py:MyNetwork"
    assert written["network_options"] == {"dropout": 0.1}
    assert written["labeled_rule"] == {"name": "my_rules.py:Doubtful", "limit": 0.7, "weight": 2.0}
    assert str(HERE) not in json.dumps(written)


def test_it_resumes_bit_for_bit(source, finished, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Cut):
        run_experiment(ROW, source, out, callback=cut_after("train", 3), code=PLACES)
    row = row_of_run(out, PLACES)
    result = run_experiment(row, source, out, resume=True, code=PLACES)
    assert same_weights(result.network, finished[1].network)


def test_it_is_scored_and_predicts(finished):
    scored = score_run(finished[0], code=PLACES)
    assert len(scored.rows) == 3
    assert ROW.changes in scored.note
    model = load_model(finished[0], code=PLACES)
    assert type(model.network) is load_code(NETWORK)


def test_what_it_says_is_what_it_does(source, tmp_path):
    """The method from outside counts labels twice: another training than its base class."""
    plain = replace(ROW, method="mean_teacher")
    ours, theirs = (
        run_experiment(row, source, tmp_path / row.method[:4], code=PLACES) for row in (ROW, plain)
    )
    first, second = ours.history[0], theirs.history[0]
    assert first["labeled"] > 1.5 * second["labeled"]


def test_the_command_line_trains_resumes_evaluates_and_predicts(source, tmp_path, capsys):
    out, root = tmp_path / "a run", str(source.root)
    words = ["--source", "acdc", "--root", root, "--labeled", "2", "--method", METHOD]
    words += ["--network", NETWORK, "--network-option", "dropout=0.1", "--set", "steps=4"]
    words += ["--labeled-rule", RULE, "--labeled-rule-option", "limit=0.7"]
    assert main(["train", *words, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert f'evaluate "{out}" --split val --code {METHOD}' in told
    assert read_run(out)["experiment"]["labeled_rule"]["limit"] == 0.7
    code = [word for place in PLACES for word in ("--code", place)]
    assert main(["evaluate", str(out), *code]) == 0
    assert "(steps=4 network=my_network.py:MyNetwork dropout=0.1)" in capsys.readouterr().out
    assert main(["train", "--resume", str(out), *code]) == 0
    case = str(next((source.root / "data").glob("*.h5")))
    assert main(["predict", str(out), case, str(tmp_path / "masks"), *code]) == 0
    capsys.readouterr()
    for words in (
        ["evaluate", str(out)],
        ["train", "--resume", str(out)],
        ["predict", str(out), case, str(tmp_path / "m")],
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        for name in ("my_method.py:MyMethod", "my_network.py:MyNetwork", "my_rules.py:Doubtful"):
            assert f"--code FOLDER/{name}" in error


def test_a_class_is_stored_under_its_name(source, tmp_path):
    kind = load_code(METHOD)
    assert Experiment(method=kind) == Experiment(method="my_method.py:MyMethod")
    assert Experiment(method=METHOD).method == "my_method.py:MyMethod"
    assert Experiment(method=MeanTeacher).method == "mean_teacher"
    method = build_method(Experiment(method=kind, preset="tiny", source="acdc"), 4, [kind])
    assert type(method) is kind


def test_a_class_of_a_module_that_is_imported_already_fits_the_name_of_its_file(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    import my_method

    try:
        assert find_code("my_method.py:MyMethod", [my_method.MyMethod], "method")
        assert find_code("my_method:MyMethod", [my_method.MyMethod], "method")
        assert code_name(my_method.MyMethod) == "my_method.py:MyMethod"
    finally:
        del sys.modules["my_method"]


# Nothing is imported that nobody named


@pytest.mark.parametrize("name", ["planted.py:Planted", "planted_package:Planted"])
@pytest.mark.parametrize("part", ["method", "network", "labeled_rule", "unlabeled_rule"])
def test_a_run_folder_never_imports_what_it_names(
    source, finished, planted, tmp_path, name, part, capsys
):
    folder = tmp_path / "run"
    folder.mkdir()
    run = read_run(finished[0])
    run["experiment"][part] = {"name": name} if part.endswith("rule") else name
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "last.pt").write_bytes((finished[0] / "last.pt").read_bytes())
    ways = [
        lambda: load_run(folder, code=PLACES),
        lambda: row_of_run(folder, PLACES),
        lambda: score_run(folder, code=PLACES),
        lambda: load_model(folder, code=PLACES),
    ]
    for load in ways:
        with pytest.raises(ValueError, match=rf"run: {part} '{name}' comes from outside buarl"):
            load()
    code = [word for place in PLACES for word in ("--code", place)]
    assert main(["evaluate", str(folder), *code]) == 2
    assert main(["train", "--resume", str(folder), *code]) == 2
    assert main(["predict", str(folder), str(folder), str(tmp_path / "masks"), *code]) == 2
    assert not planted.exists()
    assert not any("planted" in module for module in sys.modules)


def test_the_planted_file_would_have_left_its_mark(planted):
    assert issubclass(load_code("planted.py:Planted"), Supervised)
    assert planted.exists()


def test_a_row_never_imports_what_it_names(source, planted, tmp_path):
    row = replace(ROW, method="planted_package:Planted")
    for use in (config_for, lambda row: build_method(row, 4)):
        with pytest.raises(ValueError, match="add --code planted_package:Planted"):
            use(row)
    with pytest.raises(ValueError, match=r"code=\[Planted\]"):
        run_experiment(row, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not planted.exists()


# What is wrong with the code is one sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import torch\n\nraise RuntimeError('no\\nluck')\n", r"RuntimeError: no luck \(.*bad.py, line 3\)"),
        ("x = 1\ndef f(:\n", r"SyntaxError: .*\(.*bad.py, line 2\)"),
        ("import torch\ntorch.zeros('a')\n", r"TypeError: .*\(.*bad.py, line 2\)"),
        ("import no_such_module\n", r"ModuleNotFoundError: .*no_such_module.*bad.py, line 1\)"),
        ("raise SystemExit(3)\n", r"SystemExit: 3 \(.*bad.py, line 1\)"),
        ("class Other:\n    pass\n", r"bad.py has no class or function 'Bad'; it has \['Other'\]"),
        ("Bad = 3\n", r"bad.py has no class or function 'Bad'"),
    ],
)  # fmt: skip
def test_an_error_in_your_file_is_named_with_file_and_line(tmp_path, text, said, capsys):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ValueError, match=said):
        load_code(f"{tmp_path}/bad.py:Bad")
    assert main(["train", "--method", f"{tmp_path}/bad.py:Bad", "--out", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "bad.py").write_text("class Bad:\n    pass\n")  # mended
    assert load_code(f"{tmp_path}/bad.py:Bad").__name__ == "Bad"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/nowhere/my.py:Mine", "/nowhere/my.py: cannot be read"),
        ("no_such_package.part:Mine", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("my.py", "must be named FOLDER/file.py:NAME or package.module:NAME, got 'my.py'"),
        (":Mine", "must be named FOLDER/file.py:NAME"),
        ("my.py:", "must be named FOLDER/file.py:NAME"),
    ],
)
def test_a_place_that_leads_nowhere(place, said):
    with pytest.raises(ValueError, match=said):
        load_code(place)


def test_a_file_finds_its_neighbours_and_an_edited_file_is_read_again(tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("number = 3\n")
    mine = tmp_path / "mine.py"
    mine.write_text("from neighbour_of_mine import number\ndef f():\n    return number\n")
    paths = list(sys.path)
    first = load_code(f"{mine}:f")
    assert first() == 3
    assert sys.path == paths
    assert load_code(f"{mine}:f") is first
    mine.write_text("def f():\n    return 4\n")
    assert load_code(f"{mine}:f")() == 4
    assert first() == 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a", "def Mine(network):\n    return network", "must be a class below .*Method, got <function"),
        ("b", "class Mine:\n    pass", "must be a class below .*Method, got <class"),
        ("c", "from buarl.methods import Method\nclass Mine(Method):\n    pass", "must define training_step"),
    ],
)  # fmt: skip
def test_what_is_no_method(tmp_path, name, text, said):
    (tmp_path / f"{name}.py").write_text(text)
    row = Experiment(method=f"{name}.py:Mine", preset="tiny", source="acdc")
    with pytest.raises(ValueError, match=f"method {name}.py:Mine {said}"):
        config_for(row, [f"{tmp_path}/{name}.py:Mine"])


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(ValueError, match=r"method must be one of .*'bcp'.*FILE.py:CLASS, got 'mt'"):
        config_for(Experiment(method="mt"))


# Networks


def network(name, rank=2, **options):
    size = (32, 32) if rank == 2 else (16, 16, 16)
    return build_network(
        3, size, 4, name=f"my_network.py:{name}", options=options, code=[f"{HERE}/my_network.py:{name}"]
    )  # fmt: skip


@pytest.mark.parametrize("rank", [2, 3])
def test_a_network_is_told_what_its_arguments_ask_for(rank):
    ours = network("MyNetwork", rank)
    assert ours.training
    assert ours.head.out_channels == 3
    assert ours.head.in_channels == 4  # width
    assert isinstance(ours.head, torch.nn.Conv2d if rank == 2 else torch.nn.Conv3d)
    assert network("MyNetwork", rank, width=6, dropout=0.5).head.in_channels == 6


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("HalfSize", {}, r"must map an image \(1, 1, 32, 32\) to logits \(1, 3, 32, 32\), got \(1, 3, 32, 16\)"),
        ("Several", {}, r"to logits \(1, 3, 32, 32\), got a list"),
        ("MyNetwork", {"n_classes": 5}, r"got \(1, 5, 32, 32\)"),
        ("MyNetwork", {"dims": 3}, r"to logits \(1, 3, 32, 32\), got \(3, 1, 32, 32\)"),
        ("Fails", {}, r"to logits \(1, 3, 32, 32\), got ZeroDivisionError: "),
        ("MyNetwork", {"depth": 3}, r"takes \['dims', 'dropout', 'n_classes', 'width'\], got \['depth'\]"),
        ("MyNetwork", {"width": "wide"}, "cannot be built with .*'width': 'wide'.*: TypeError"),
        ("no_network", {}, "must be a torch.nn.Module, got int"),
    ],
)  # fmt: skip
def test_a_network_of_the_wrong_shape_says_what_was_expected_and_what_came(name, options, said):
    with pytest.raises(ValueError, match=f"network my_network.py:{name} .*{said}"):
        network(name, **options)


@pytest.mark.parametrize("source", ["acdc", "la"])
def test_a_network_of_monai(source):
    monai = pytest.importorskip("monai.networks.nets")
    size = [32, 32] if source == "acdc" else [32, 32, 32]
    row = Experiment(
        method="mean_teacher",
        source=source,
        network="monai.networks.nets:BasicUNet",
        network_options={"features": [4, 4, 8, 8, 16, 4]},
        set={"image_size": size},
    )
    method = build_method(row, 4, ["monai.networks.nets:BasicUNet"])
    assert type(method.student) is type(method.teacher) is monai.BasicUNet
    assert same_weights(method.student, build_method(row, 4, [monai.BasicUNet]).student)
    assert method.student(torch.zeros(2, 1, *size)).shape == (2, 4, *size)


def test_a_network_of_monai_trains(source, tmp_path):
    pytest.importorskip("monai")
    row = replace(
        ROW,
        method="bcp",
        network="monai.networks.nets:UNet",
        network_options={"channels": [4, 8], "strides": [2], "num_res_units": 1},
    )
    code = (RULE, "monai.networks.nets:UNet")
    result = run_experiment(row, source, tmp_path / "run", code=code)
    assert same_weights(load_run(tmp_path / "run", code=code)[2].student, result.network)


@pytest.mark.parametrize("method", ["urpc", "mc_net", "ss_net", "dtc", "sassnet"])
def test_a_method_that_needs_parts_says_so_in_one_sentence(method, tmp_path, capsys):
    pytest.importorskip("monai")
    out = tmp_path / "run"
    words = ["--method", method, "--network", "monai.networks.nets:BasicUNet", "--out", str(out)]
    assert main(["train", *words, "--network-option", "features=4,4,4,4,4,4"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"buarl: method {method}: ")
    assert "needs a network " in error
    assert error.endswith("got BasicUNet\n")
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_check_of_a_network_changes_no_draw():
    """A network from outside that is the paper's own trains as the paper's own."""
    row = Experiment(method="mean_teacher", source="acdc", preset="tiny")
    other = replace(row, network="buarl.networks:UNet")
    assert same_weights(build_method(row, 4), build_method(other, 4, [UNet]))


# Rules


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labeled-rule", "urll"], "labeled_rule must be one of .*'url'.*FILE.py:NAME, got 'urll'"),
        (["--labeled-rule-option", "limit=1"], r"labeled_rule whole takes \[\], got \['limit'\]"),
        (["--labeled-rule", RULE, "--labeled-rule-option", "top=1"], r"takes \['limit', 'weight'\], got"),
        (["--unlabeled-rule", f"{HERE}/my_rules.py:not_a_rule"], "unlabeled_rule .* must make a rule"),
    ],
)  # fmt: skip
def test_a_rule_that_is_none_is_one_sentence(words, said, tmp_path, capsys):
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
