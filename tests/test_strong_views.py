"""Strong views: hand-made cases of every part, and who sees them in every method."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import ndimage
from test_every_method import build, every_rank, take
from tiny import tiny_method

from buarl.data.strong_views import (
    STRONG_VIEWS,
    UNIMATCH_VIEWS,
    StrongViews,
    ViewDraw,
    apply_views,
    gaussian_kernels,
    sample_views,
    strong_views_from,
)
from buarl.methods import METHODS
from buarl.training.config import Experiment, build_method

OFF = {each.name: 0 for each in fields(StrongViews)}


def only(**numbers):
    return StrongViews(**{**OFF, "share": 1, "noise_share": 1, "blur_share": 1, **numbers})


# What every part does


def test_brightness_multiplies_the_distance_from_the_darkest_value():
    image = torch.tensor([[[1.0, 2.0, 4.0]], [[0.0, 1.0, 2.0]]])
    seen = apply_views(image, ViewDraw(brightness=torch.tensor([2.0, 0.5])))
    assert seen.tolist() == [[[1, 3, 7]], [[0, 0.5, 1]]]


def test_contrast_multiplies_the_distance_from_the_mean():
    image = torch.tensor([[[0.0, 1.0, 2.0]], [[3.0, 3.0, 6.0]]])
    seen = apply_views(image, ViewDraw(contrast=torch.tensor([0.5, 2.0])))
    assert seen.tolist() == [[[0.5, 1, 1.5]], [[2, 2, 8]]]


def test_gamma_keeps_the_darkest_and_the_brightest_value():
    image = torch.tensor([[[-1.0, 0.0, 1.0]], [[10.0, 12.0, 14.0]]])
    seen = apply_views(image, ViewDraw(gamma=torch.tensor([2.0, 1.0])))
    assert seen.tolist() == [[[-1, -0.5, 1]], [[10, 12, 14]]]


def test_parts_follow_each_other_brightness_contrast_gamma_noise():
    image = torch.tensor([[[0.0, 0.0, 4.0, 4.0]]])
    draw = ViewDraw(
        brightness=torch.tensor([0.5]),  # 0 0 2 2
        contrast=torch.tensor([2.0]),  # -1 -1 3 3
        gamma=torch.tensor([3.0]),  # the two values stay
        noise=torch.tensor([[[0.0, 0.5, 0.0, -0.25]]]),  # of the range of the image, 4
    )
    assert apply_views(image, draw).tolist() == [[[-1, 1, 3, 2]]]


def test_an_image_of_one_value_stays_as_it_is():
    image = torch.full((2, 1, 4, 4), 0.25)
    torch.manual_seed(0)
    seen = apply_views(image, sample_views(image, StrongViews()))
    torch.testing.assert_close(seen, image)


@pytest.mark.parametrize("shape", [(2, 1, 20, 24), (2, 1, 18, 20, 22)])
def test_blur_is_scipys_gaussian_with_mirrored_edges(shape):
    torch.manual_seed(0)
    image = torch.rand(shape)
    seen = apply_views(image, ViewDraw(blur=gaussian_kernels(torch.tensor([0.0, 1.3]), 2.0)))
    assert torch.equal(seen[0], image[0])
    wanted = ndimage.gaussian_filter(image[1, 0].double().numpy(), 1.3, mode="mirror", radius=6)
    torch.testing.assert_close(seen[1, 0].double(), torch.from_numpy(wanted), atol=1e-6, rtol=0)


# What is drawn


@given(seed=st.integers(0, 2**32), strength=st.floats(0.01, 1))
def test_draws_lie_in_the_ranges_that_were_asked_for(seed, strength):
    torch.manual_seed(seed)
    draw = sample_views(torch.zeros(6, 1, 8, 8), only(brightness=strength, gamma=strength))
    assert draw.contrast is draw.blur is draw.noise is None
    assert ((draw.brightness - 1).abs() <= strength + 1e-6).all()
    assert (draw.gamma.log().abs() <= strength + 1e-5).all()


def test_the_shares_say_how_many_images_are_changed():
    torch.manual_seed(0)
    draw = sample_views(torch.zeros(2000, 1, 4, 4), StrongViews(blur=5))
    center = draw.blur.shape[1] // 2
    changed = {
        "jitter": (draw.brightness != 1).float().mean(),
        "blur": (draw.blur[:, center] < 0.999).float().mean(),
        "noise": (draw.noise.flatten(1) != 0).any(1).float().mean(),
    }
    assert changed == pytest.approx({"jitter": 0.8, "blur": 0.5, "noise": 0.5}, abs=0.05)
    assert torch.equal(draw.brightness == 1, draw.contrast == 1)  # one share for all three
    assert torch.equal(draw.brightness == 1, draw.gamma == 1)


def test_noise_is_a_part_of_the_range_of_the_image():
    torch.manual_seed(0)
    image = torch.tensor([0.0, 100.0]).repeat(4000).view(1, 1, 80, 100).expand(8, -1, -1, -1)
    noise = apply_views(image, sample_views(image, only(noise=0.1))) - image
    std = noise.flatten(1).std(1)
    assert (std <= 10.5).all()
    assert std.max() > 1


def test_views_of_one_generator_state_are_the_same_and_leave_the_image_alone():
    image, seen = torch.rand(4, 1, 16, 16), []
    before = image.clone()
    for _ in range(2):
        torch.manual_seed(1)
        seen.append(apply_views(image, sample_views(image, StrongViews())))
    assert torch.equal(*seen)
    assert torch.equal(image, before)
    assert not torch.equal(seen[0], image)
    assert seen[0].dtype == torch.float32


def test_views_stay_float32_under_autocast():
    image = torch.rand(4, 1, 16, 16)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = apply_views(image, sample_views(image, StrongViews()))
    torch.manual_seed(1)
    assert torch.equal(seen, apply_views(image, sample_views(image, StrongViews())))


# How they are named


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("strong", r'strong_views must be "none" or "moderate" or "unimatch", got \'strong\''),
        (0.3, r"strong_views must be .*, got 0.3"),
        ({"sharpness": 1}, r"strong_views have the numbers .*, got 'sharpness'"),
        ({"contrast": 2}, r"contrast of strong views must lie in 0-1, got 2"),
        ({"blur": 0.05}, r"blur of strong views must be 0 or lie in 0.1 to 5, got 0.05"),
        ({"noise": math.nan}, r"noise of strong views must lie in 0-1, got nan"),
        ({"noise": "much"}, r"noise of strong views must be a number, got str"),
        ({"noise": True}, r"noise of strong views must be a number, got bool"),
    ],
)
def test_what_is_no_strong_view_is_refused_with_its_rule(given_, message):
    with pytest.raises(ValueError, match=message):
        strong_views_from(given_)


def test_a_row_names_strong_views_by_name_or_by_numbers():
    assert strong_views_from("unimatch") is UNIMATCH_VIEWS is STRONG_VIEWS["unimatch"]
    assert strong_views_from("none") is None
    row = Experiment("bcp", options={"strong_views": {"blur": 0, "contrast": 0.5}})
    assert build_method(row, 4).strong_views == StrongViews(blur=0, contrast=0.5)
    assert Experiment.from_dict(row.as_dict()) == row
    assert build_method(Experiment("mean_teacher"), 4).strong_views is None


# Who sees them


def seen_images(method, batch):
    """What student and teacher were shown in one step, by the name of the network."""
    shown = {"student": [], "teacher": []}
    for name, images in shown.items():
        if hasattr(method, name):
            network = getattr(method, name)
            trunk = getattr(network, "trunk", network)
            for module in {network, trunk}:
                module.register_forward_pre_hook(lambda _, args, s=images: s.append(args[0]))
            if hasattr(trunk, "encode"):
                plain = trunk.encode
                trunk.encode = lambda image, s=images, e=plain: (s.append(image), e(image))[1]
    take(method, batch)
    return shown


def test_supervised_passes_over_the_views_of_a_preset_and_refuses_a_row_s_own():
    row = Experiment("supervised", source="acdc", labeled=7, preset="quick")
    assert build_method(row, 4).strong_views is None
    own = replace(row, options={"strong_views": "unimatch"})
    with pytest.raises(ValueError, match="supervised does not use strong_views, so it must stay"):
        build_method(own, 4)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "supervised"])
@every_rank
def test_the_student_sees_strong_views_and_the_teacher_does_not(name, rank, semi):
    batch = semi[rank]
    plain, strong = (
        seen_images(build(name, rank, strong_views=views), batch)
        for views in (None, only(brightness=0.5))
    )
    assert all(map(torch.equal, plain["teacher"], strong["teacher"])) or name in NOISY
    changed = [
        not torch.equal(a, b)
        for a, b in zip(*(p["student"] for p in (plain, strong)), strict=False)
    ]
    assert any(changed)


NOISY = ("mean_teacher", "ua_mt")  # their teacher's noise is drawn after the views


def test_labeled_images_are_never_changed(semi_2d):
    method = tiny_method("mean_teacher", strong_views=only(brightness=0.5))
    torch.manual_seed(0)
    seen = method.student_sees(semi_2d)
    assert torch.equal(seen.labeled_image, semi_2d.labeled_image)
    assert torch.equal(seen.label, semi_2d.label)
    assert not torch.equal(seen.unlabeled_image, semi_2d.unlabeled_image)
    assert tiny_method("mean_teacher").student_sees(semi_2d) is semi_2d


def test_strong_views_change_the_step_and_without_them_it_is_the_published_one(semi_2d):
    off, on = (take(build("bcp", strong_views=v), semi_2d).loss for v in (None, StrongViews()))
    assert not torch.equal(off, on)
    assert torch.equal(off, take(build("bcp"), semi_2d).loss)
