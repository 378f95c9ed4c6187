"""What an extension costs: one file outside the repository, or a few words, and no edit.

| extension | costs | test |
|---|---|---|
| a method | one file | `test_a_method_is_one_file` |
| a data set | one file | `test_a_data_set_is_one_file` |
| a network | one file, or the name of one in an installed package | `test_a_network_is_one_...` |
| a rule, soft or not | one class or function in a file | `test_a_rule_is_one_...` |
| an experiment | one row: any number by `--set` | `test_an_experiment_is_one_row` |

Every test works in a folder of its own, with copies of the files of examples/ that it names.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from tiny import same_weights, tiny_config, write_balls, write_tiny

import buarl
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.source import SOURCES
from buarl.methods import METHODS
from buarl.regions import RULES
from buarl.training.overrides import KEYS
from buarl.training.run import read_run

ROOT = Path(__file__).resolve().parent.parent
SMALL = "--set steps=2 width=2 labeled_batch=2 image_size=32,32"
SMALL_3D = "--source phantom_la --labeled 4 --set steps=2 width=2 image_size=32,32,16"


def fingerprint() -> dict[Path, str]:
    """Of every file of the package and of the examples."""
    paths = (p for part in ("buarl", "examples") for p in (ROOT / part).rglob("*"))
    kept = (p for p in paths if p.is_file() and "__pycache__" not in p.parts)
    return {path: sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Copies files of examples/ into a folder outside the repository, where the test then works.

    Afterwards the package is what it was: its files, and its lists of methods and rules. What a
    data set registers is forgotten.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("buarl.data.source.SOURCES", dict(SOURCES))
    assert not tmp_path.is_relative_to(ROOT)
    before = fingerprint(), list(METHODS), list(RULES)

    def copy(*names: str) -> None:
        for name in names:
            shutil.copy(ROOT / "examples" / name, tmp_path / name)

    yield copy
    assert (fingerprint(), list(METHODS), list(RULES)) == before


@pytest.fixture
def buarl_says(capsys) -> Callable[[str], str]:
    """Run a command as a person types it; it must succeed. What it printed comes back."""

    def run(command: str) -> str:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def train_and_go_on(says: Callable[[str], str], words: str, code: str, root: str = "") -> dict:
    """Train, evaluate, resume; what `run.json` says comes back."""
    says(f"train {words} {root} --out run")
    assert "Dice" in says(f"evaluate run {code}")
    says(f"train --resume run {code}")
    return read_run(Path("run"))["experiment"]


@pytest.mark.parametrize("data", [SMALL, SMALL_3D])
def test_a_method_is_one_file(data, bring, buarl_says):
    bring("cross_pseudo_supervision.py")
    place = "cross_pseudo_supervision.py:CrossPseudoSupervision"
    words = f"--method {place} --labeled-rule url --unlabeled-rule crl {data}"
    row = train_and_go_on(buarl_says, words, f"--code {place}")
    assert row["method"] == place
    assert [row[f"{part}_rule"]["name"] for part in ("labeled", "unlabeled")] == ["url", "crl"]


def test_a_method_that_comes_to_stay_is_one_file_and_one_import(bring, monkeypatch):
    """The list of methods is made of what `buarl/methods/__init__.py` imports, and of nothing else."""
    bring("cross_pseudo_supervision.py")
    text = (ROOT / "buarl" / "methods" / "__init__.py").read_text()
    line = "from cross_pseudo_supervision import CrossPseudoSupervision\n"
    monkeypatch.syspath_prepend(Path.cwd())
    names: dict = {"__name__": "methods"}
    exec(text.replace("\n_IMPORTED", f"\n{line}\n_IMPORTED"), names)
    assert set(names["METHODS"]) == {*METHODS, "cross_pseudo_supervision"}


def test_a_data_set_is_one_file(bring, buarl_says):
    bring("my_data.py")
    write_balls(Path("volumes"))
    words = "--source my_data --method mean_teacher --labeled 4"
    words += " --set steps=2 width=2 image_size=32,32,16 --code my_data.py:MyData"
    row = train_and_go_on(buarl_says, words, "--code my_data.py:MyData", "--root volumes")
    assert row["source"] == "my_data"
    assert "val0,organ," in Path("run/metrics_val.csv").read_text()


@pytest.mark.parametrize(
    ("place", "option", "data"),
    [
        ("my_network.py:MyNetwork", "dropout=0.1", SMALL),
        ("my_network.py:MyNetwork", "dropout=0.1", SMALL_3D),
        ("monai.networks.nets:BasicUNet", "features=4,4,4,4,4,4", SMALL),
    ],
)
def test_a_network_is_one_file_or_one_name(place, option, data, bring, buarl_says):
    bring("my_network.py")
    if place.startswith("monai"):
        pytest.importorskip("monai")
    words = f"--method bcp --network {place} --network-option {option} {data}"
    row = train_and_go_on(buarl_says, words, f"--code {place}")
    assert row["network"] == place


@pytest.mark.parametrize("data", [SMALL, SMALL_3D])
def test_a_rule_is_one_class_in_a_file(data, bring, buarl_says):
    bring("soft_rule.py")
    place = "soft_rule.py:SoftCertainty"
    words = f"--method bcp --unlabeled-rule {place} {data}"
    words += " --unlabeled-rule-option temperature=0.5"
    row = train_and_go_on(buarl_says, words, f"--code {place}")
    assert row["unlabeled_rule"] == {"name": place, "temperature": 0.5}


def test_a_rule_is_one_function_in_your_own_program(tmp_path):
    """A function has no arguments to store, so it goes into methods and loops, not into rows."""

    def certainty(probs):
        weight = (-buarl.entropy_of_probs(probs)).exp()
        return [buarl.Region(weight > -1, weight)]

    source, students = Acdc(write_tiny(tmp_path)), []
    for rule in (certainty, buarl.soft_certainty(), buarl.whole()):
        network = buarl.networks.UNet(4, width=2)
        network.load_state_dict(students[0][0] if students else network.state_dict())
        start = {key: value.clone() for key, value in network.state_dict().items()}
        method = METHODS["mean_teacher"](
            network, unsupervised="pseudo_label", labeled_rule=rule, unlabeled_rule=rule
        )
        buarl.fit(method, source, tiny_config("mean_teacher").shortened(2))
        students.append((start, method))
    ours, packaged, plain = (method for _, method in students)
    assert same_weights(ours, packaged)
    assert not same_weights(ours, plain)


ANY_NUMBER = {
    "steps": 3,
    "labeled_batch": 2,
    "unlabeled_batch": 1,
    "schedule": "poly:0.5",
    "image_size": [32, 32, 16],
    "eval_stride": [32, 32, 16],
    "width": 2,
    "shrink": 2,
    "standardise": True,
    "checkpoint_every": 2,
    "precision": "fp32",
    "optimizer": "sgd",
    "lr": 0.03,
    "momentum": 0.5,
    "weight_decay": 0.001,
}


def test_an_experiment_is_one_row(bring, buarl_says):
    """Every number that there is, in one row; `betas` belong to the other optimizer, and a lottery
    needs more patients than this row labels."""
    assert {*ANY_NUMBER, "betas", "labeled_draw"} == set(KEYS)
    spelled = {
        k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in ANY_NUMBER.items()
    }
    words = " ".join(f"{key}={value}" for key, value in spelled.items())
    line = f"--method mean_teacher --source phantom_la --labeled 4 --set {words}"
    assert train_and_go_on(buarl_says, line, "")["set"] == ANY_NUMBER
    config = read_run(Path("run"))["config"]
    (stage,) = config["stages"]
    settings = config["settings"]["optimizer"]
    assert (stage["steps"], stage["labeled_batch"], stage["unlabeled_batch"]) == (3, 2, 1)
    assert stage["schedule"] == {"type": "Poly", "power": 0.5}
    assert (settings["lr"], settings["momentum"], settings["weight_decay"]) == (0.03, 0.5, 0.001)
    for key in ("image_size", "eval_stride", "width", "shrink", "standardise", "precision"):
        assert config[key] == ANY_NUMBER[key]
    assert f"({words})" in buarl_says("evaluate run")  # and in tables


def test_all_of_them_in_one_row(bring, buarl_says):
    names = {
        "method": "cross_pseudo_supervision.py:CrossPseudoSupervision",
        "network": "my_network.py:MyNetwork",
        "unlabeled_rule": "soft_rule.py:SoftCertainty",
    }
    bring("my_data.py", *(name.partition(":")[0] for name in names.values()))
    write_balls(Path("volumes"))
    words = " ".join(f"--{what.replace('_', '-')} {name}" for what, name in names.items())
    code = " ".join(f"--code {place}" for place in (*names.values(), "my_data.py:MyData"))
    words += " --source my_data --labeled 4 --set steps=2 lr=0.03 image_size=32,32,16"
    row = train_and_go_on(buarl_says, f"{words} --code my_data.py:MyData", code, "--root volumes")
    assert {**row, "unlabeled_rule": row["unlabeled_rule"]["name"]}.items() >= names.items()
    assert row["set"] == {"steps": 2, "lr": 0.03, "image_size": [32, 32, 16]}
