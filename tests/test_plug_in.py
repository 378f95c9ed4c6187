"""URL and CRL in trainers of others: the modules compute what the library does, the examples run."""

from __future__ import annotations

import math
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import write_tiny

import buarl
from buarl import PseudoLabeld, PseudoLabelLoss, RegionLoss, crl, region_loss, url
from buarl.data.acdc import Acdc
from buarl.entropy import most_likely

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "other_trainers"
every_shape = pytest.mark.parametrize("shape", [(2, 4, 9, 7), (2, 3, 5, 6, 4)])


def drawn(shape):
    torch.manual_seed(0)
    logits = torch.randn(shape, requires_grad=True)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]))


@every_shape
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_the_labeled_module_is_eq_7(shape, reduction):
    logits, label = drawn(shape)
    expected = region_loss(
        logits, label, url(90)(logits.detach().softmax(1)), reduction=reduction, ce_share=0.3
    )
    loss = RegionLoss(url(90), reduction=reduction, ce_share=0.3)
    assert torch.equal(loss(logits, label), expected)
    assert torch.equal(loss(logits, label[:, None].float()), expected)  # as MONAI has labels


@every_shape
def test_the_unlabeled_module_is_eq_8_and_teaches_the_student_only(shape):
    logits, _ = drawn(shape)
    teacher_logits = torch.randn(shape, requires_grad=True)
    probs = teacher_logits.detach().softmax(1)
    expected = region_loss(logits, most_likely(probs), crl(90)(probs), reduction="voxel")
    found = PseudoLabelLoss(crl(90), reduction="voxel")(logits, teacher_logits)
    assert torch.equal(found, expected)
    found.backward()
    assert logits.grad.abs().sum() > 0
    assert teacher_logits.grad is None


def test_another_prediction_may_cut_the_labeled_regions():
    logits, label = drawn((1, 2, 40))
    other = torch.randn(1, 2, 40).softmax(1)
    loss = RegionLoss(url(75), reduction="region")
    expected = region_loss(logits, label, url(75)(other), reduction="region")
    assert torch.equal(loss(logits, label, other), expected)
    assert not torch.equal(loss(logits, label), expected)


def test_tensors_of_monai_become_plain_ones():
    monai = pytest.importorskip("monai.data")
    logits, label = drawn((2, 3, 8, 8))
    loss = RegionLoss(reduction="voxel")
    found = loss(monai.MetaTensor(logits), monai.MetaTensor(label[:, None].float()))
    assert type(found) is torch.Tensor
    assert torch.equal(found, loss(logits, label))
    probs = monai.MetaTensor(logits[0].detach().softmax(0))
    added = PseudoLabeld("p", reduction="voxel")({"p": probs})
    assert type(added["p_weight"]) is torch.Tensor


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: RegionLoss(url()), "reduction"),  # has no default
        (lambda: RegionLoss(7, reduction="voxel"), "rule must be a rule such as url"),
        (lambda: RegionLoss(reduction="pixel"), 'reduction must be "region" or "voxel"'),
        (lambda: RegionLoss(reduction="voxel", ce_share=2), "ce_share must lie in 0-1, got 2"),
        (lambda: PseudoLabeld([], reduction="voxel"), "keys must name at least one"),
        (lambda: PseudoLabeld("a", 7, reduction="voxel"), "rule must be a rule"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(make, rule):
    with pytest.raises((TypeError, ValueError), match=rule):
        make()


def test_a_label_of_fractions_is_no_label():
    logits, label = drawn((1, 2, 8, 8))
    with pytest.raises(ValueError, match="target must hold whole numbers"):
        RegionLoss(reduction="voxel")(logits, label + 0.5)


def test_the_transform_by_hand():
    probs = np.array([[[0.5, 1.0, 0.9, 1.0]], [[0.5, 0.0, 0.1, 0.0]]], np.float32)  # (2, 1, 4)
    item = {"probs": probs, "name": "a"}
    added = PseudoLabeld(["probs"], crl(75, alpha=0.5), reduction="voxel")(item)
    assert added["probs_pseudo_label"].tolist() == [[[0, 0, 0, 0]]]
    assert added["probs_weight"].tolist() == [[[0.5, 1, 1, 1]]]
    assert added["probs_entropy"][0, 0, 0].item() == pytest.approx(math.log(2))
    assert (added["name"], set(item)) == ("a", {"probs", "name"})


def test_the_weights_of_the_transform_make_any_loss_a_mean_on_regions():
    logits, label = drawn((1, 3, 12, 12))
    probs = torch.randn(1, 3, 12, 12).softmax(1)
    for reduction in ("region", "voxel"):
        weight = PseudoLabeld("p", crl(80), reduction=reduction)({"p": probs[0]})["p_weight"]
        each = torch.nn.functional.cross_entropy(logits, label, reduction="none")
        expected = region_loss(logits, label, crl(80)(probs), reduction=reduction, ce_share=1.0)
        torch.testing.assert_close((weight * each).mean(), expected)


def test_missing_keys_are_named_or_left_out():
    transform = PseudoLabeld(("a", "b"), reduction="voxel", allow_missing_keys=True)
    assert set(transform({"a": torch.tensor([[0.5], [0.5]])})) >= {"a", "a_weight"}
    with pytest.raises(KeyError, match="needs the key 'b', got"):
        PseudoLabeld("b", reduction="voxel")({"a": 1})
    with pytest.raises(ValueError, match="probabilities"):
        transform({"a": torch.tensor([[3.0], [0.5]])})


def test_the_base_package_imports_no_trainer():
    code = "import sys, buarl; print({'monai', 'lightning', 'ignite', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The two examples


@pytest.fixture
def tiny_phantom(tmp_path, monkeypatch):
    write_tiny(tmp_path / "acdc", patients=5)
    monkeypatch.setattr(buarl, "open_source", lambda name: Acdc(tmp_path / "acdc"))
    monkeypatch.chdir(tmp_path)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def check_learned(student, teacher):
    """Both moved away from a fresh network, and the teacher is behind its student."""
    gap = (weights(student) - weights(teacher)).norm()
    assert 0 < gap < weights(student).norm()
    assert not any(p.requires_grad for p in teacher.parameters())
    assert torch.isfinite(weights(teacher)).all()


def test_a_lightning_module_trains_with_url_and_crl(tiny_phantom):
    pytest.importorskip("lightning")
    example = runpy.run_path(str(EXAMPLES / "lightning_module.py"))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    module = example["main"](
        1, 2, accelerator="cpu", enable_checkpointing=False, limit_train_batches=2, **quiet
    )
    assert module.global_step > 0
    check_learned(module.student, module.teacher)
    torch.manual_seed(0)
    image, label = torch.rand(2, 1, 32, 32), torch.randint(4, (2, 32, 32))
    other = torch.rand(2, 1, 32, 32)
    module.log = lambda *_, **__: None
    module.eval()
    found = module.training_step({"labeled": [image, label], "unlabeled": [other]}, 0)
    probs = module.teacher(other).softmax(1)
    logits = module.student(image)
    expected = region_loss(
        logits, label, url(95)(logits.detach().softmax(1)), reduction="voxel"
    ) + 0.1 * region_loss(
        module.student(other), most_likely(probs), crl(99)(probs), reduction="voxel"
    )
    torch.testing.assert_close(found, expected)


def test_monais_supervised_trainer_trains_with_url_and_crl(tiny_phantom):
    pytest.importorskip("monai.engines")
    try:
        pytest.importorskip("ignite")
    except AttributeError:  # its events need an Enum that is mended since Python 3.11.3
        pytest.skip("ignite cannot be imported by this Python")
    example = runpy.run_path(str(EXAMPLES / "monai_trainer.py"))
    trainer = example["main"](1, 2)
    assert trainer.state.iteration > 0
    check_learned(trainer.network, trainer.loss_function.teacher)
    assert math.isfinite(trainer.state.output["loss"].item())
    torch.manual_seed(0)
    image, label = torch.rand(4, 1, 32, 32), torch.randint(4, (4, 1, 32, 32)).float()
    has_label = torch.tensor([True, False, False, True])
    loss, logits = trainer.loss_function.eval(), trainer.network.eval()(image)
    found = loss(logits, (image, label, has_label))
    blind = label.clone()
    blind[~has_label] = 0  # the labels of unlabeled images count for nothing
    assert torch.equal(found, loss(logits, (image, blind, has_label)))


@pytest.mark.parametrize("name", ["lightning_module", "monai_trainer"])
def test_an_example_says_the_command_that_runs_it(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert f"python examples/other_trainers/{name}.py --epochs 2" in text
