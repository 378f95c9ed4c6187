"""The published schedules that stand in the methods are the numbers of docs/protocol.md 5."""

from __future__ import annotations

import pytest
from torch import nn

from buarl.dice import (
    DICE_BCP_ACDC,
    DICE_BCP_LA,
    DICE_MC_NET_ACDC,
    DICE_SS_NET_LA,
    DICE_SSL4MIS,
    DICE_UA_MT_LA,
)
from buarl.methods import METHODS
from buarl.methods.base import Method, RampedMethod
from buarl.methods.recipe import Paper, Recipe, Reference, StagePlan
from buarl.schedules import Constant, Poly, StepDecay
from buarl.training.config import Experiment, config_for

SLICES = StagePlan(30_000, 12, 12, Poly())
CONSTANT_SLICES = StagePlan(30_000, 12, 12, Constant())
PATCHES = StagePlan(6_000, 2, 2, StepDecay(2500 / 6000))
RAMP_3D = {"ramp_levels": 40, "ramp_share": 1.0, "consistency_start": 0.0}
LONG_RAMP_3D = {**RAMP_3D, "ramp_share": 0.4}
TABLE = {
    ("supervised", 2): ((StagePlan(30_000, 24, 0, Poly()),), {}),
    ("supervised", 3): ((StagePlan(6_000, 4, 0, StepDecay(2500 / 6000)),), {"dice": DICE_UA_MT_LA}),
    ("mean_teacher", 2): ((SLICES,), {}),
    ("mean_teacher", 3): ((PATCHES,), {**RAMP_3D, "dice": DICE_UA_MT_LA}),
    ("ua_mt", 2): ((SLICES,), {}),
    ("ua_mt", 3): ((PATCHES,), {**RAMP_3D, "dice": DICE_UA_MT_LA}),
    ("sassnet", 2): (
        (SLICES,),
        {"consistency_weight": 0.01, "dice": DICE_SSL4MIS, "ce_share": 0.0},
    ),
    ("sassnet", 3): (
        (PATCHES,),
        {**RAMP_3D, "dice": DICE_UA_MT_LA, "ce_share": 0.0, "consistency_weight": 0.015},
    ),
    ("dtc", 2): ((SLICES,), {"dice": DICE_SSL4MIS, "ce_share": 0.0}),
    ("dtc", 3): (
        (PATCHES,),
        {**RAMP_3D, "dice": DICE_UA_MT_LA, "ce_share": 0.0, "consistency_weight": 1.0},
    ),
    ("urpc", 2): ((SLICES,), {}),
    ("urpc", 3): ((PATCHES,), RAMP_3D),
    ("mc_net", 2): ((CONSTANT_SLICES,), {"dice": DICE_MC_NET_ACDC, "ce_share": 0.0}),
    ("mc_net", 3): (
        (StagePlan(15_000, 2, 2, Constant()),),
        {
            **LONG_RAMP_3D,
            "dice": DICE_SS_NET_LA,
            "ce_share": 0.0,
            "labeled_weight": 0.5,
            "consistency_weight": 1.0,
        },
    ),
    ("ss_net", 2): ((CONSTANT_SLICES,), {"dice": DICE_BCP_ACDC, "ce_share": 0.0}),
    ("ss_net", 3): (
        (StagePlan(15_000, 2, 2, StepDecay(2500 / 15_000)),),
        {
            **LONG_RAMP_3D,
            "dice": DICE_SS_NET_LA,
            "ce_share": 0.0,
            "consistency_weight": 1.0,
            "epsilon": 10.0,
            "pool_classes": True,
        },
    ),
    ("bcp", 2): ((StagePlan(10_000, 12, 0), StagePlan(30_000, 12, 12)), {"dice": DICE_BCP_ACDC}),
    ("bcp", 3): (
        (StagePlan(2_000, 4, 0), StagePlan(15_000, 4, 4, StepDecay(2500 / 15_000))),
        {
            "dice": DICE_BCP_LA,
            "mixed_label": True,
            "unlabeled_outside_first": False,
            "keep_optimizer": False,
            "ema_buffers": False,
        },
    ),
    ("unimatch", 2): ((StagePlan(29_400, 12, 12, Poly()),), {}),
    ("unimatch", 3): ((PATCHES,), {}),
}


def test_the_table_names_every_method():
    assert {name for name, _ in TABLE} == set(METHODS)


@pytest.mark.parametrize(("name", "rank"), TABLE)
def test_a_recipe_is_that_of_the_table_and_so_are_the_numbers_of_a_row(name, rank):
    stages, settings = TABLE[name, rank]
    assert METHODS[name].recipe(rank) == Recipe(stages, settings)
    row = Experiment(method=name, source={2: "acdc", 3: "la"}[rank], preset="paper")
    config = config_for(row)
    assert (config.stages, config.settings) == (stages, settings)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_recipe_fits_its_method(rank):
    """Every setting is an option, and every stage has a plan."""
    for kind in METHODS.values():
        recipe = kind.recipe(rank)
        assert set(recipe.settings) <= set(kind.defaults())


def test_a_method_without_a_recipe_has_a_default():
    class Own(Method):
        def training_step(self, batch, step):
            raise NotImplementedError

    class OwnRamped(RampedMethod):
        training_step = Own.training_step

    assert Own.recipe(2) == OwnRamped.recipe(2) == Recipe((SLICES,))
    assert Own.recipe(3) == Recipe((PATCHES,))
    assert OwnRamped.recipe(3) == Recipe((PATCHES,), RAMP_3D)
    OwnRamped(nn.Conv2d(1, 4, 1), **OwnRamped.recipe(3).settings)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_names_its_paper_and_the_code_it_was_read_from(name):
    kind = METHODS[name]
    assert isinstance(kind.paper, Paper)
    assert kind.paper.url.startswith(("https://arxiv.org/abs/", "https://doi.org/"))
    assert str(kind.paper.year) in kind.paper.venue
    assert kind.references
    for reference in kind.references:
        assert isinstance(reference, Reference)
        assert reference.url.startswith("https://github.com/")
        assert reference.path.endswith(".py")
