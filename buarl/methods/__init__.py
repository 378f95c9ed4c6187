"""The methods by name."""

from buarl.methods.base import Method
from buarl.methods.bcp import Bcp
from buarl.methods.mean_teacher import MeanTeacher
from buarl.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "bcp": Bcp,
}

__all__ = ["METHODS", "Bcp", "MeanTeacher", "Method", "Supervised"]
