"""buarl: bidirectional uncertainty-aware region learning, to read, to reproduce, to plug in.

In your own loop, two lines:

    regions = buarl.url()(logits.detach().softmax(1))
    loss = buarl.region_loss(logits, label, regions, reduction="voxel")
"""

import buarl.fast.threads  # noqa: F401  before torch is loaded

# isort: split
from buarl import data, networks
from buarl.data.source import open_source
from buarl.dice import (  # noqa: F401  old names, see OLD_DICE_NAMES
    D2,
    D2_BCP,
    D3,
    DB,
    DF,
    DICE_BCP_ACDC,
    DICE_BCP_LA,
    DICE_MC_NET_ACDC,
    DICE_SS_NET_LA,
    DICE_SSL4MIS,
    DICE_UA_MT_LA,
    DICES,
    Dice,
)
from buarl.ema import update_teacher
from buarl.entropy import entropy_map, entropy_of_probs, entropy_threshold, uncertain_mask
from buarl.evaluation.metrics import case_metrics
from buarl.losses import consistency_loss, region_loss
from buarl.methods import METHODS
from buarl.outside import load_code
from buarl.plug_in import PseudoLabeld, PseudoLabelLoss, RegionLoss
from buarl.regions import (
    RULES,
    Region,
    Rule,
    confidence,
    crl,
    drop,
    rule_from_dict,
    soft_certainty,
    url,
    whole,
    within,
)
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit
from buarl.training.run import load_run, run_experiment

__version__ = "0.1.0"

__all__ = [
    "DICES",
    "DICE_BCP_ACDC",
    "DICE_BCP_LA",
    "DICE_MC_NET_ACDC",
    "DICE_SSL4MIS",
    "DICE_SS_NET_LA",
    "DICE_UA_MT_LA",
    "METHODS",
    "RULES",
    "Dice",
    "Experiment",
    "PseudoLabelLoss",
    "PseudoLabeld",
    "Region",
    "RegionLoss",
    "Rule",
    "__version__",
    "build_method",
    "case_metrics",
    "confidence",
    "config_for",
    "consistency_loss",
    "crl",
    "data",
    "drop",
    "entropy_map",
    "entropy_of_probs",
    "entropy_threshold",
    "fit",
    "load_code",
    "load_run",
    "networks",
    "open_source",
    "region_loss",
    "rule_from_dict",
    "run_experiment",
    "soft_certainty",
    "uncertain_mask",
    "update_teacher",
    "url",
    "whole",
    "within",
]
