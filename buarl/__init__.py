"""buarl: bidirectional uncertainty-aware region learning, to read, to reproduce, to plug in.

In your own loop, two lines:

    regions = buarl.url()(logits.detach().softmax(1))
    loss = buarl.region_loss(logits, label, regions, reduction="voxel")
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {  # name -> module; loaded on first use, so that `import buarl` costs nothing
    "entropy_map": "entropy",
    "entropy_of_probs": "entropy",
    "entropy_threshold": "entropy",
    "uncertain_mask": "entropy",
    "Region": "regions",
    "Rule": "regions",
    "whole": "regions",
    "url": "regions",
    "crl": "regions",
    "drop": "regions",
    "within": "regions",
    "Dice": "losses",
    "D2": "losses",
    "D2_BCP": "losses",
    "D3": "losses",
    "DF": "losses",
    "DB": "losses",
    "region_loss": "losses",
    "consistency_loss": "losses",
    "update_teacher": "ema",
    "METHODS": "methods",
    "Experiment": "config",
    "build_method": "config",
    "config_for": "config",
    "open_source": "data.source",
    "fit": "train",
    "run_experiment": "run",
    "load_run": "run",
    "case_metrics": "metrics",
}
_MODULES = ("models", "data")

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"buarl.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"buarl.{name}")
    raise AttributeError(f"module 'buarl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
