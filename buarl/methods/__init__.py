"""The methods by name. A method is registered by its import line here, and by nothing else."""

from buarl.methods.base import Method as Method
from buarl.methods.bcp import Bcp as Bcp
from buarl.methods.dtc import Dtc as Dtc
from buarl.methods.mc_net.method import McNet as McNet
from buarl.methods.mean_teacher import MeanTeacher as MeanTeacher
from buarl.methods.sassnet.method import SassNet as SassNet
from buarl.methods.ss_net.method import SsNet as SsNet
from buarl.methods.supervised import Supervised as Supervised
from buarl.methods.ua_mt import UaMt as UaMt
from buarl.methods.unimatch import UniMatch as UniMatch
from buarl.methods.urpc.method import Urpc as Urpc

_IMPORTED = [
    kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Method) and kind is not Method
]
METHODS: dict[str, type[Method]] = {
    kind.name: kind for kind in sorted(_IMPORTED, key=lambda kind: (kind.paper.year, kind.name))
}
"""Every method under its name, by the year of its paper."""
