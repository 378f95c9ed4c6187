"""The command line does what its words say, and a broken rule is one line."""

from __future__ import annotations

import ast
import errno
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import tyro
from tiny import PRESET, write_tiny

import buarl
from buarl.commands.main import main
from buarl.commands.runs import Evaluate
from buarl.commands.train import Train
from buarl.commands.words import pairs, program, python_module, quoted
from buarl.data.source import SOURCES, source_names
from buarl.dice import DICE_BCP_ACDC
from buarl.evaluation.scores import read_metrics
from buarl.methods import METHODS
from buarl.regions import RULES, crl, drop, url, whole
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.overrides import KEYS


@pytest.fixture
def root(tmp_path):
    return write_tiny(tmp_path / "data with spaces")


@pytest.fixture
def tiny_toy(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", PRESET)


def test_options_become_a_row():
    row = Train(
        source="acdc",
        method="bcp",
        labeled_rule="url",
        unlabeled_rule="crl",
        labeled=7,
        preset="mini",
        seed=0,
        unlabeled_reduction="region",
    ).experiment()
    assert row == Experiment(
        method="bcp",
        labeled_rule=url(95),
        unlabeled_rule=crl(99),
        unlabeled_reduction="region",
        source="acdc",
        labeled=7,
        preset="mini",
        seed=0,
    )
    row = Train(
        unlabeled_rule="drop", unlabeled_percentile=97, scope="image", labeled=0
    ).experiment()
    assert (row.labeled_rule, row.unlabeled_rule) == (whole(), drop(97, "image"))
    assert row.labeled is None
    options = Train(unsupervised="pseudo_label", entropy_from="student").experiment().options
    assert options == {"unsupervised": "pseudo_label", "entropy_from": "student"}


RESUMED_ROW = {
    **{"seed": "99", "method": "dtc", "labeled": "1", "preset": "mini", "source": "acdc"},
    **{"labeled-rule": "url", "unlabeled-reduction": "region", "alpha": "0.3", "scope": "image"},
    **{"set": "steps=9", "option": "a=1", "entropy-from": "student", "url-in-stage2": None},
}


def test_train_evaluate_resume(root, tmp_path, tiny_toy, capsys):
    out = tmp_path / "run"
    words = ["--source", "acdc", "--root", str(root), "--method", "bcp", "--labeled", "2"]
    words += ["--unlabeled-rule", "crl", "--validate", "4"]
    assert main(["train", *words, "--out", str(out)]) == 0
    curve = [line for line in (out / "validation.csv").read_text().splitlines() if line[0] != "#"]
    steps = [line.split(",")[:2] for line in curve]
    assert steps == [["stage", "step"], *([s, n] for s in ("pretrain", "selftrain") for n in "46")]
    shutil.copytree(out, cut := tmp_path / "cut")  # as if it had been cut off in its last stage
    run = {**json.loads((cut / "run.json").read_text()), "finished": False}
    (cut / "run.json").write_text(json.dumps(run))
    shutil.copy(cut / "pretrain.pt", cut / "last.pt")
    assert main(["train", "--resume", str(cut)]) == 0
    assert "validates every 4 steps, as before" in capsys.readouterr().err
    assert (cut / "validation.csv").read_text() == (out / "validation.csv").read_text()
    assert main(["leak", str(out)]) == 2  # a validation case of one patient cannot be parted
    assert "at least 2 patients" in capsys.readouterr().err
    assert main(["evaluate", str(out), "--split", "val"]) == 0
    printed = capsys.readouterr().out
    assert "ceiling" in printed
    assert "last checkpoint" in printed
    assert f"per case: {out / 'metrics_val.csv'}" in printed
    assert (out / "metrics_val.csv").read_text().startswith("#")
    for name in ("zero_as_published", "lineage"):  # the second is the old name of the first
        assert main(["evaluate", str(out), "--empty", name]) == 0
        (out / "metrics_val_zero_as_published.csv").unlink()
    assert not list(out.glob("*lineage*"))
    started = json.loads((out / "run.json").read_text())["started"]
    assert main(["train", "--resume", str(out)]) == 0
    assert json.loads((out / "run.json").read_text())["started"] == started
    for option, value in RESUMED_ROW.items():
        words = [f"--{option}"] if value is None else [f"--{option}", value]
        assert main(["train", "--resume", str(out), *words]) == 2
        said = f"the row from the folder; --{option} belongs to a new run"
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "--source", "acdc", "--out", "{out}"],
            "acdc needs the folder of its data (root, --root)",
        ),
        (["train", "--source", "acdc", "--root", "{out}/no", "--out", "{out}"], "no such folder"),
        (["train", "--seed", "-5", "--out", "{out}"], "seed must be a whole number, 0 to"),
        (["train", "--validate", "-3", "--out", "{out}"], "validate must be at least 0, got -3"),
        (["train"], "either --out NEWFOLDER or --resume RUN"),
        (
            ["train", "--source", "acdc", "--root", "{root}", "--labeled", "99", "--out", "{out}"],
            "got 99",
        ),
        (["train", "--source", "acdc", "--root", "{root}", "--out", "{root}"], "run folder exists"),
        (["evaluate", "{root}"], "not a run folder"),
        (
            [
                "train",
                "--device",
                "tpu",
                "--source",
                "acdc",
                "--root",
                "{root}",
                "--labeled",
                "2",
                "--out",
                "{out}",
            ],
            "got 'tpu'",
        ),
        (
            ["train", "--source", "acdc", "--root", "{root}", "--labeled", "2"]
            + ["--record", "--device", "cpu", "--out", "{out}"],
            "only a CUDA GPU can record a step, got device 'cpu'",
        ),
        (
            ["train", "--method", "dtc", "--option", "decoders", "3", "--out", "{out}"],
            "dtc has no option ['decoders']",
        ),
        (
            ["train", "--method", "supervised", "--unlabeled-rule", "crl", "--out", "{out}"],
            "supervised does not use unlabeled_rule, so it must stay whole, got crl",
        ),
        (
            ["train", "--method", "supervised", "--unlabeled-reduction=region", "--out", "{out}"],
            "supervised does not use unlabeled_reduction, so it must stay 'voxel', got 'region'",
        ),
        (
            ["train", "--unlabeled-rule", "crl", "--labeled-percentile", "90", "--out", "{out}"],
            "labeled_percentile is an argument of the rules url, crl, drop, random_region, border_region and means nothing to "
            "labeled_rule whole",
        ),
        (
            ["train", "--unlabeled-rule", "drop", "--alpha", "0.3", "--out", "{out}"],
            "alpha is an argument of the rules url, crl and means nothing to labeled_rule whole "
            "and unlabeled_rule drop",
        ),
        (
            ["train", "--scope", "image", "--out", "{out}"],
            "scope is an argument of the rules url, crl, drop",
        ),
    ],
)
def test_a_broken_rule_is_one_line_and_leaves_nothing(
    root, tmp_path, tiny_toy, capsys, words, said
):
    out = tmp_path / "run"
    assert main([word.format(root=root, out=out) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("buarl: ")
    assert said in error
    assert "Traceback" not in error
    assert not out.exists()


def test_evaluate_takes_several_runs_and_prints_classes_and_what_seeds_make(
    root, tmp_path, tiny_toy, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--source", "acdc", "--root", str(root), "--labeled", "2", "--out"]
    more = {"a": ["--seed", "1"], "b": ["--seed", "2"], "c": ["--seed", "2", "--alpha", "0.2"]}
    for name, own in more.items():
        rules = ["--method", "supervised", "--labeled-rule", "url"]
        assert main([*words, name, *rules, *own]) == 0
    capsys.readouterr()
    assert main(["evaluate", "a", "b", "c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table, parent = {}, ""
    for line in lines[2 : lines.index(next(x for x in lines if not x.startswith("|")))]:
        title, *cells = [cell.strip() for cell in line.strip("| ").split("|")]
        parent = title if title not in ("RV", "myocardium", "LV") else parent
        table[parent, "" if parent == title else title] = cells
    spread = "mean ± deviation, seeds 1, 2, as a"
    titles = ["a", "b", "c", spread]
    assert list(dict.fromkeys(key[0] for key in table))[:4] == titles  # c is another row
    for title in titles:
        assert [part for key, part in table if key == title] == ["", "RV", "myocardium", "LV"]
    for part in ("", "RV", "myocardium", "LV"):  # by hand, from the files
        dice = []
        for name in "ab":
            rows = read_metrics(tmp_path / name / "metrics_val.csv")
            scores = [row["dice"] for row in rows if part in ("", row["class"])]
            dice.append(sum(scores) / len(scores))
            assert table[name, part][0] == f"{dice[-1]:.3f}"
        deviation = abs(dice[0] - dice[1]) / 2**0.5
        assert table[spread, part][0] == f"{sum(dice) / 2:.3f} ± {deviation:.3f}"
    assert [line for line in lines if line.startswith("per case: ")] == [
        f"per case: {name}/metrics_val.csv" for name in "abc"
    ]
    assert "split val, 1 volume; last checkpoint" in "\n".join(lines)
    for name in "ab":
        (tmp_path / name / "metrics_val.csv").unlink()
    for wrong, said in ((["a", "nonesuch"], "not a run folder"), (["a", "./a"], "every run once")):
        assert main(["evaluate", *wrong]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "a" / "metrics_val.csv").exists()  # before the first is scored


def test_words_without_an_option_have_names_in_usage_help_and_errors(capsys):
    shown = {
        "predict": ["RUN", "IMAGES", "OUT"],
        "evaluate": ["RUN"],
        "convert folder": ["IMAGES", "OUT"],
        "convert acdc": ["RAW", "OUT"],
        "convert la": ["RAW", "OUT"],
    }
    for words, names in shown.items():
        with pytest.raises(SystemExit):
            main([*words.split(), "--help"])
        text = capsys.readouterr().out
        usage = " ".join(text.partition("\n\n")[0].split())
        assert " ".join(names) in usage
        assert "PATH" not in re.sub(r"--\S+ \S*PATH", "", usage)
        assert "what options" not in text
        with pytest.raises(SystemExit):
            main(words.split())
        said = capsys.readouterr().err
        assert all(re.search(rf"^\W*{name}\W*$", said, re.M) for name in names), said


def test_the_version_is_said_in_one_line(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"buarl {buarl.__version__}\n"


def test_help_names_the_methods_that_cannot_be_recorded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    cannot = " and ".join(name for name, kind in METHODS.items() if not kind.recordable)
    assert f"all methods but {cannot}" in said
    assert cannot == "ua_mt and ss_net"


def test_a_reader_that_leaves_is_no_error():
    """`buarl train --help | head -1`"""
    command = f"{shlex.quote(sys.executable)} -m buarl train --help | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == ""


@pytest.mark.parametrize("threads", ["-1", "100000"])
def test_threads_are_counted_before_torch_is_asked(root, tmp_path, capsys, threads):
    words = ["train", "--source", "acdc", "--root", str(root), "--out", str(tmp_path / "run")]
    assert main([*words, "--threads", threads]) == 2
    assert re.fullmatch(
        rf"buarl: threads must lie in 0 to \d+, got {threads}\n", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "a/b"), "a/b: the disk is full; make room"),
        (PermissionError(errno.EACCES, "denied", "a/b"), "a/b: no permission"),
        (NotADirectoryError(errno.ENOTDIR, "x", "a/b"), "a/b: a part of the path is a file"),
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
        (FloatingPointError("nan in stage 1"), "nan in stage 1"),
    ],
)
def test_what_a_machine_refuses_is_one_line(monkeypatch, tmp_path, capsys, error, said):
    def refuse(self):
        raise error

    monkeypatch.setattr(Train, "run", refuse)
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"buarl: {said}")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AssertionError(), IndexError()])
def test_a_mistake_of_ours_shows_its_traceback(monkeypatch, tmp_path, error):
    def mistake(self):
        raise error

    monkeypatch.setattr(Train, "run", mistake)
    with pytest.raises(type(error)):
        main(["train", "--out", str(tmp_path / "run")])


def test_a_folder_under_a_file_and_files_that_may_not_grow(root, tmp_path, tiny_toy, capsys):
    resource = pytest.importorskip("resource")
    words = ["train", "--source", "acdc", "--root", str(root), "--labeled", "2", "--method"]
    words += ["supervised", "--out"]
    (tmp_path / "file").write_text("x")
    assert main([*words, str(tmp_path / "file" / "run")]) == 2
    assert "file/run: a part of the path is a file, not a folder" in capsys.readouterr().err
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        assert main([*words, str(tmp_path / "run")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"buarl: {tmp_path}/run/last.pt: could not be written (")
    assert not (tmp_path / "run").exists()


def test_an_interruption_before_anything_began_says_so(monkeypatch, tmp_path, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluate, "run", interrupted)
    assert main(["evaluate", str(tmp_path)]) == 130
    said = f"buarl: interrupted; nothing was written; start again with: {program()} evaluate "
    assert capsys.readouterr().err == f"{said}{tmp_path}\n"


def test_a_run_in_the_removed_precision_goes_on_as_its_message_says(
    root, tmp_path, tiny_toy, capsys
):
    words = ["--source", "acdc", "--root", str(root), "--labeled", "2", "--method", "supervised"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text())
    run["config"]["precision"] = run["environment"]["precision"] = "bf16_backward"
    path.write_text(json.dumps(run))
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    assert "resume with --precision fp32" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "run"), "--precision", "fp32"]) == 0


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("runs/a", "runs/a"),
        ("my runs", '"my runs"'),
        ("a$b", "'a$b'"),
        ("-x", "./-x"),
        ("Müller", "Müller"),
    ],
)
def test_a_path_is_one_word_of_a_shell(path, word):
    assert quoted(path) == word


def test_every_method_and_any_of_its_switches_can_be_named():
    words = ["--method", "mc_net", "--option", "decoders", "3", "detach_targets", "True"]
    row = tyro.cli(Train, args=[*words, "temperature", "0.2"]).experiment()
    same = ["--method", "mc_net", "--option", "decoders=3", "--option", "detach_targets=true"]
    assert tyro.cli(Train, args=[*same, "temperature=0.2"]).experiment() == row
    assert row.options == {"decoders": 3, "detach_targets": True, "temperature": 0.2}
    method = build_method(row, 4)
    assert (len(method.student.others), method.detach_targets, method.temperature) == (2, True, 0.2)
    for name in ("bcp_acdc", "D2_BCP"):  # an old name will do
        other = tyro.cli(Train, args=["--method", "mc_net", "--option", "dice", name])
        assert build_method(other.experiment(), 4).dice == DICE_BCP_ACDC
    text = tyro.cli(Train, args=["--method", "ua_mt", "--option", "max_entropy", "lnC"])
    assert build_method(text.experiment(), 4).max_entropy == "lnC"


def test_doctor_finds_missing_files(root, capsys):
    assert main(["doctor", "--source", "acdc", "--root", str(root)]) == 0
    assert "complete" in capsys.readouterr().out
    next((root / "data" / "slices").glob("*.h5")).unlink()
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--source", "acdc", "--root", str(root)])
    assert stopped.value.code == 1
    assert "INCOMPLETE" in capsys.readouterr().out


def test_doctor_calls_an_unopened_split_absent(root, capsys):
    (root / "test.list").write_text("patient900_frame01\n")
    assert main(["doctor", "--source", "acdc", "--root", str(root)]) == 0
    assert "absent (0 of 1 files)" in capsys.readouterr().out


def test_import_is_light():
    """`import buarl` loads torch, and no package for plots, notebooks, raw files or the command
    line: once Python has compiled it, it costs at most 0.3 s more than `import torch`, or a fifth
    of that on a slow machine."""
    code = "import sys, buarl; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"matplotlib", "medpy", "SimpleITK", "ipywidgets", "tyro"}
    heavy |= {"nibabel", "nrrd", "pooch", "pandas", "monai"}
    assert not heavy & set(eval(loaded.stdout))
    clock = (
        "from time import process_time as now; start = now(); import torch; middle = now();"
        "import buarl; print(middle - start, now() - middle)"
    )
    env = {key: v for key, v in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    times = [
        [float(t) for t in subprocess.check_output([sys.executable, "-c", clock], env=env).split()]
        for _ in range(3)
    ]
    assert any(ours < max(0.3, torchs / 5) for torchs, ours in times[1:])


def test_training_needs_neither_medpy_nor_notebook_packages():
    code = (
        "import sys, buarl, buarl.evaluation.evaluate; buarl.fit, buarl.METHODS, buarl.networks.UNet;"
        "print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"medpy", "SimpleITK", "ipywidgets", "IPython"} & set(eval(loaded.stdout))


def test_help_lists_every_method_source_preset_and_number():
    done = subprocess.run(
        [sys.executable, "-m", "buarl", "train", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    ours = [name for name in source_names() if SOURCES[name].__module__.startswith("buarl.")]
    for names in (METHODS, ours, PRESETS, KEYS, RULES):  # other tests register sources
        assert set(names) <= set(re.findall(r"\w+", done.stdout))


@pytest.mark.parametrize("source", source_names())
def test_every_source_that_the_command_line_offers_has_a_recipe(source):
    assert config_for(Train(source=source, labeled=1).experiment()).stages


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("source", "source must be one of"),
        ("method", "method must be one of"),
        ("preset", "preset must be one of"),
        ("labeled-rule", "labeled_rule must be one of"),
    ],
)
def test_an_unknown_name_is_one_line(option, said, root, tmp_path, capsys):
    words = [] if option == "source" else ["--source", "acdc", "--root", str(root)]
    out = tmp_path / "run"
    assert main(["train", *words, f"--{option}", "nonesuch", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "got 'nonesuch'" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_words_become_values():
    found = pairs([["a=1", "b=0.5"], ["c", "x", "d=8,8", "e=poly:0.9", "f=a=b", "g=none"]], "--o")
    assert found == {
        **{"a": 1, "b": 0.5, "c": "x", "d": [8, 8], "e": "poly:0.9"},
        **{"f": "a=b", "g": None},
    }
    for words in (["a"], ["a", "b=1"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match="--o takes"):
            pairs([words], "--o")


def test_the_program_is_called_by_the_name_that_works(monkeypatch, tmp_path):
    """Not on the path: the script beside this Python, as short as it can be; else that Python."""
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(bin_folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert program() == ".venv/bin/python -m buarl"  # not installed
    for name in ("python", "buarl"):
        (bin_folder / name).write_text("#!/bin/sh\n")
        (bin_folder / name).chmod(0o755)
    assert program() == ".venv/bin/buarl"
    (tmp_path / "buarl").write_text("#!/bin/sh\n")
    (tmp_path / "buarl").chmod(0o755)
    assert program() == ".venv/bin/buarl"  # that on the path is another Python's
    monkeypatch.setenv("PATH", f"{bin_folder}")
    assert program() == "buarl"  # the environment is active
    assert python_module("benchmarks") == "python -m benchmarks"
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert program() == str(bin_folder / "buarl")
    (tmp_path / "elsewhere" / ".venv").symlink_to(tmp_path / ".venv")
    assert program() == ".venv/bin/buarl"


@pytest.mark.parametrize(("given", "expected"), [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_how_long_threads_wait_is_said_before_torch_reads_it(given, expected, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    watch = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ["GOMP_SPINCOUNT"])
sys.meta_path.insert(0, Watch())
sys.argv[1:] = ["--help"]
runpy.run_module("buarl", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", watch], capture_output=True, text=True, env={**os.environ, **given}
    )
    assert done.stdout.split()[0] == expected


def test_the_help_of_an_option_is_one_line_of_source():
    """tyro keeps the line breaks of a longer one, which then stand in the middle of a sentence."""
    broken = []
    for path in sorted((Path(buarl.__file__).parent / "commands").glob("*.py")):
        for kind in ast.walk(ast.parse(path.read_text())):
            body = kind.body if isinstance(kind, ast.ClassDef) else []
            for option, said in itertools.pairwise(body):
                if isinstance(option, ast.AnnAssign) and isinstance(said, ast.Expr):
                    text = ast.literal_eval(said.value)
                    broken += [f"{path.name}: {option.target.id}"] * ("\n" in text)
    assert broken == []


@pytest.mark.page
def test_a_training_with_all_labels_ends_with_its_next_line(root, tmp_path, tiny_toy, capsys):
    words = ["--source", "acdc", "--root", str(root), "--method", "supervised", "--labeled", "0"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    assert "next: " in capsys.readouterr().out
    assert (tmp_path / "run" / "show.html").is_file()


def test_a_folder_of_runs_is_never_called_one_to_delete(tmp_path, capsys):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.json").write_text("{}")
    for words in (["evaluate"], ["leak"], ["train", "--resume"]):
        assert main([*words, str(tmp_path / "runs")]) == 2
        said = capsys.readouterr().err
        assert f"it holds 1 run; name one, such as {tmp_path / 'runs' / 'a'}" in said
        assert "delete" not in said
    (tmp_path / "begun").mkdir()
    assert main(["evaluate", str(tmp_path / "begun")]) == 2
    assert "delete the folder and train again" in capsys.readouterr().err


def test_options_of_slurm_need_its_launcher(tmp_path, capsys):
    words = ["plan", "table", "3", "--source", "phantom", "--out", str(tmp_path / "out")]
    assert main([*words, "--slurm", "partition=gpu", "--dry-run"]) == 2
    assert "--slurm belongs to --launcher slurm" in capsys.readouterr().err
