"""The methods by name."""

from buarl.methods.base import Method
from buarl.methods.bcp import Bcp
from buarl.methods.dtc import Dtc
from buarl.methods.mc_net.method import McNet
from buarl.methods.mean_teacher import MeanTeacher
from buarl.methods.sassnet.method import SassNet
from buarl.methods.ss_net.method import SsNet
from buarl.methods.supervised import Supervised
from buarl.methods.ua_mt import UaMt
from buarl.methods.urpc.method import Urpc

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "ua_mt": UaMt,
    "sassnet": SassNet,
    "dtc": Dtc,
    "urpc": Urpc,
    "mc_net": McNet,
    "ss_net": SsNet,
    "bcp": Bcp,
}

for name, kind in METHODS.items():
    kind.name = name

__all__ = [
    "METHODS",
    "Bcp",
    "Dtc",
    "McNet",
    "MeanTeacher",
    "Method",
    "SassNet",
    "SsNet",
    "Supervised",
    "UaMt",
    "Urpc",
]
