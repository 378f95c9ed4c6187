"""The benchmark measures every part, compares values, and says what it found. No test here is
decided by a time, but for one ratio with a wide margin."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import rings, write_case, write_tiny

from benchmarks import bench, parts as bench_parts, volumes as bench_volumes
from benchmarks.__main__ import Bench, main
from benchmarks.bench import measure, run_bench, step_forms
from benchmarks.growth import made_slices
from benchmarks.plain import FilesEveryStep, masked_loss, window_by_window
from benchmarks.plan import Plan
from benchmarks.report import budget, ratios_of, report, save_json, save_plot, table
from benchmarks.scene import few, new_scene, without_dropout
from benchmarks.step import WholeStep
from buarl.data.acdc import Acdc
from buarl.data.batches import Batches
from buarl.training.engine import Engine, choose_engine

PARTS = (
    "load and augment 8 slices",
    "teacher forward, 4 slices",
    "largest components, 4 slices",
    "entropy, percentile and masks, 4 slices",
    "student forward, loss, backward",
    "optimizer and EMA",
    "metrics of one case, 3x20x24",
    "sliding window, 8 windows, fp32",
    "whole BCP step, 4 + 4 of 32x32, fp32",
    "whole BCP step, 4 + 4 of 32x32x16, fp32",
)
ENGINE = choose_engine("cpu", "fp32")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("bench") / "data")


@pytest.fixture(scope="module")
def result(root):
    said = []
    plan = Plan.quick(device="cpu", precision="fp32", source="acdc", root=root)
    measured = run_bench(plan, said.append)
    assert said[:8] == list(PARTS[:8])
    return measured


def test_every_part_is_measured_in_pairs(result):
    assert tuple(line["name"] for line in result["lines"]) == PARTS
    for line in result["lines"]:
        assert len(line["ours"]) == len(line["plain"]) == 2
        assert min(line["ours"] + line["plain"]) > 0
        assert (line["gflop"] is not None) == (line["limit"] == "convolutions")
        assert line["limit"] != "convolutions" or line["gflop"] > 0
    assert [len(line["first_stage"]) for line in result["lines"][-2:]] == [2, 2]


def test_values_of_ours_and_plain_agree(result):
    allowed = {"loss, relative": 1e-5, "loss and gradient, relative": 1e-3, "probabilities": 1e-4}
    allowed |= {"teacher's weights": 1e-6, "scores": 1e-12, "voxels that differ": 0}
    allowed |= {"images and labels": 0, "share of voxels with another label": 1e-3}
    for line in result["lines"]:
        assert line["difference"] <= allowed[line["compared"]], line["name"]


def test_growth_and_schedules(result):
    points = [(p["size"], p["batch"], p["classes"]) for p in result["growth"]]
    assert points == [(16, 4, 4), (32, 4, 4), (32, 2, 4), (32, 4, 4), (32, 4, 2), (32, 4, 3)]
    assert all(min(p["ms"].values()) > 0 for p in result["growth"])
    acdc, la = result["schedules"]
    step = {line["name"]: line for line in result["lines"]}[acdc["measured_on"]]
    seconds = 10_000 * statistics.median(step["first_stage"])
    seconds += 30_000 * statistics.median(step["ours"])
    assert acdc["training_minutes"] == pytest.approx(seconds / 60)
    with_validation = seconds + 200 * acdc["validation_seconds"]
    assert acdc["with_validation_minutes"] == pytest.approx(with_validation / 60)
    assert la["schedule"] == "BCP on LA, 2000 + 15000 steps"


def test_a_bench_as_on_a_gpu_has_recorded_steps_too(repeated):
    curves = {f"growth_{axis}": () for axis in ("size", "batch", "classes")}
    plan = Plan.quick(device="cpu", precision="fp32", repeats=1, record=True, **curves)
    result = run_bench(plan)
    names = [line["name"] for line in result["lines"]]
    steps = [f"whole BCP step, 4 + 4 of {size}, fp32" for size in ("32x32", "32x32x16")]
    assert names[-4:] == [name + end for name in steps for end in ("", ", recorded")]
    rows = result["schedules"]
    assert [row["measured_on"] for row in rows] == names[-4:]
    assert [row["schedule"][:11] for row in rows] == ["BCP on ACDC"] * 2 + ["BCP on LA, "] * 2
    assert repeated.recordings > 0
    assert all(name in report(result) for name in names)


def test_a_bench_with_bf16_measures_it_beside_fp32(root, monkeypatch):
    measured = []
    monkeypatch.setattr(bench, "measure", lambda part, *_: measured.append(part.name))
    monkeypatch.setattr(
        bench, "whole_line", lambda step, *_: measured.append(step.engine.precision)
    )
    for name in ("growth", "schedules", "case_seconds", "product_gflops"):
        monkeypatch.setattr(bench, name, lambda *_: {})
    monkeypatch.setattr(bench, "asdict", lambda line: {})
    bench.run_bench(Plan.quick(device="cpu", precision="bf16", source="acdc", root=root))
    windows = [name for name in measured if name.startswith("sliding window")]
    assert [name.split()[-1] for name in windows] == ["fp32", "bf16"]
    assert [name for name in measured if name in ("fp32", "bf16")] == ["bf16", "fp32"] * 2


def test_forms_of_a_step_on_a_gpu():
    engine = Engine(torch.device("cuda"), "bf16")
    forms = [
        (at.precision, at.compiler, record) for at, record in step_forms(engine, True, "eager")
    ]
    written = [(precision, None, at) for precision in ("bf16", "fp32") for at in (False, True)]
    assert forms == [*written, ("bf16", "eager", True)]


def test_a_compiled_step_is_measured_too(root, monkeypatch):
    """Its loss is that of the plain counterpart; tests/test_engine.py really compiles one."""
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, backend: asked.append(backend))
    _, (engine, recorded) = step_forms(ENGINE, False, "aot_eager")
    step = WholeStep(engine, few(Acdc(root), 6), (32, 32), 2, 4, recorded)
    line = bench.whole_line(step, 1, "")
    assert line.name == "whole BCP step, 4 + 4 of 32x32, fp32, compiled"
    assert line.difference < 1e-4
    assert set(asked) == {"aot_eager"}
    assert len(line.ours) == len(line.first_stage) == 1


def test_windows_are_measured_in_the_precision_of_the_engine():
    part = bench_volumes.windows(choose_engine("cpu", "bf16"), (32, 32, 16), 2)
    assert part.name == "sliding window, 8 windows, bf16"
    assert 0 < part.difference() < 0.01


def test_a_recorded_step_is_measured_against_the_step_as_written(root, repeated, monkeypatch):
    step = WholeStep(ENGINE, few(Acdc(root), 6), (32, 32), 2, 4, record=True)
    line = bench.whole_line(step, 2, "")
    assert line.name == "whole BCP step, 4 + 4 of 32x32, fp32, recorded"
    assert line.difference < 1e-4  # another kernel of SGD
    assert len(line.ours) == len(line.first_stage) == 2
    assert repeated.recordings > 0
    monkeypatch.setattr(repeated, "_record", lambda _, compute: (lambda: None, compute()))
    assert step.difference() > 1e-4  # nothing repeated: the weights stand still


def test_result_is_plain_data_and_names_no_folder(result, root, tmp_path):
    save_json(result, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()) == result
    assert str(root) not in (tmp_path / "bench.json").read_text()
    assert result["environment"]["torch"] == torch.__version__


def test_the_table_holds_medians_and_paired_ratios(result):
    line = {**result["lines"][0], "ours": [0.1, 0.2, 0.4], "plain": [0.4, 0.4, 0.4]}
    assert ratios_of(line) == pytest.approx([4, 2, 1])
    row = table({**result, "lines": [line]}).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:6] == ["400", "200", "2.00", "1.50-3.00", "10 ms"]
    text = report(result)
    assert all(name in text for name in PARTS)
    lines = [{**line, "ours": [0.1 * (k + 1)]} for k, line in enumerate(result["lines"])]
    said = budget({**result, "lines": lines})
    assert "load and augment 8 slices 100 ms (5%); teacher forward, 4 slices 200 ms (10%)" in said
    assert "optimizer and EMA 600 ms (29%); sum 2100 ms, the whole step 900 ms" in said
    assert "200 steps" in text


def test_a_missing_oracle_is_said_not_measured(result, root, monkeypatch):
    monkeypatch.setattr(bench_volumes, "find_spec", lambda name: None)
    line = measure(bench_volumes.metrics(Acdc(root)), 2, ENGINE)
    assert (line.plain, line.difference) == ([], None)
    row = table({**result, "lines": [vars(line)]}).splitlines()[-1]
    assert "MedPy: not installed" in row


def test_a_fast_but_wrong_part_shows(monkeypatch):
    scene = new_scene(ENGINE, made_slices(32, 4, 3), 3, 2)
    label = scene.batch.label
    assert bench_parts.components(label, 3).difference() == 0
    monkeypatch.setattr(bench_parts, "largest_component", lambda pseudo, classes: pseudo)
    assert bench_parts.components(label, 3).difference() > 0
    monkeypatch.setattr(scene.method, "unlabeled_weight", 0.4)
    assert bench_parts.student_step(scene).difference() > 1e-3
    part = bench_parts.optimizer(3, 2, ENGINE)
    assert part.difference() < 1e-6
    part.ours()  # once more than its counterpart
    assert part.difference() > 1e-6


def test_the_plain_batches_are_read_from_files(root):
    source = Acdc(root)
    batches = Batches(source, 2, (32, 32))
    plain = FilesEveryStep(batches, source)
    for step in range(4):
        for ours, read in zip(*(b.batch((1,), step, 4, 4) for b in (batches, plain)), strict=True):
            assert torch.equal(ours, read)
    Path(source.slice_path(batches.labeled[0].case)).rename(root / "gone")
    try:
        with pytest.raises(OSError, match="gone|No such file|unable to open"):
            [plain.batch((1,), step, 4, 4) for step in range(9)]
    finally:
        (root / "gone").rename(source.slice_path(batches.labeled[0].case))


def test_the_plain_loss_by_hand():
    logits = torch.tensor([[[[0.0, 9.0]], [[0.0, 9.0]]]])  # even odds in both pixels
    from buarl.dice import DICE_BCP_ACDC

    loss = masked_loss(logits, torch.tensor([[[0, 1]]]), torch.tensor([[[1, 0]]]), DICE_BCP_ACDC)
    # Pixel 0 only. Class 0: 1 - 2 * 0.5 / (0.25 + 1); class 1: nothing there, 1 - 0 / 0.25.
    assert float(loss) == pytest.approx(0.5 * (0.2 + 1) / 2 + 0.5 * np.log(2))


def test_plain_windows_see_every_voxel():
    network = torch.nn.Conv3d(1, 2, 1)
    network.head = network
    with torch.no_grad():
        network.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1, 1))
        network.bias.zero_()
    volume = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    label = window_by_window(network, volume, (4, 4, 4), (3, 4, 2))
    assert np.array_equal(label, volume > 0)


def test_dropout_comes_back():
    layers = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Dropout3d(0.5))
    with without_dropout(layers):
        assert [layer.p for layer in layers] == [0, 0]
    assert [layer.p for layer in layers] == [0.3, 0.5]


def test_metrics_beat_medpy_by_a_wide_margin(tmp_path):
    source = Acdc(write_tiny(tmp_path / "data"))
    image, label = rings((8, 128, 128), 1)
    write_case(source.volume_path(source.cases("val")[0]), image=image, label=label)
    line = measure(bench_volumes.metrics(source), 3, ENGINE)
    assert statistics.median(ratios_of(vars(line))) > 3  # 20 to 90 on an idle machine


def test_the_command_prints_the_table_and_writes_the_files(result, tmp_path, monkeypatch, capsys):
    plans = []
    made = "benchmarks.__main__.run_bench"
    monkeypatch.setattr(made, lambda plan, say: plans.append(plan) or result)
    files = {"json": tmp_path / "a.json", "plot": tmp_path / "a.png"}
    Bench(source="acdc", size=64, patch=(32, 32, 16), **files).run()
    Bench(quick=True).run()
    Bench(compile=True).run()
    assert [plan.compiler for plan in plans] == [None, None, "inductor"]
    assert (plans[0].size, plans[0].patch, plans[0].batch) == (64, (32, 32, 16), 12)
    assert plans[1] == Plan.quick()
    assert "| plain ms | ours ms | ratio |" in " ".join(capsys.readouterr().out.split())
    assert json.loads(files["json"].read_text()) == result
    assert files["plot"].read_bytes()[:4] == b"\x89PNG"
    save_plot(result, tmp_path / "b.png")


def test_the_module_measures_and_writes_what_it_prints(tmp_path, capsys):
    out, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    assert main(["--quick", "--device", "cpu", "--json", str(out), "--plot", str(plot)]) == 0
    assert capsys.readouterr().out.rstrip("\n") == report(json.loads(out.read_text()))
    assert plot.stat().st_size > 10_000


def test_a_broken_rule_is_said_with_exit_code_2(tmp_path, capsys):
    assert main(["--quick", "--source", "acdc", "--root", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks: ")
    assert "none" in error
    assert "Traceback" not in error
