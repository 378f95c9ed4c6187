"""Data: sources, the phantoms, augmentation and batches.

A data set is one file that defines a `Source` and registers it. These imports are the list of those
that come with the package; your own needs no entry here, see `buarl.data.source.register_source`.
"""

from buarl.data import acdc, la, own, synthetic
from buarl.data.source import Source, open_source, rank_of, register_source

__all__ = [
    "Source",
    "acdc",
    "la",
    "open_source",
    "own",
    "rank_of",
    "register_source",
    "synthetic",
]
