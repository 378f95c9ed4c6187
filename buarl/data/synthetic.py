"""The phantoms as sources: synthetic scans in the layouts of ACDC and LA, made on first use.

The loaders of the real data sets read them, so what runs on a phantom runs on the real files.
`buarl.data.phantom` draws them.
"""

from __future__ import annotations

from pathlib import Path

from buarl.data.acdc import Acdc
from buarl.data.la import La
from buarl.data.layouts import MARKER, other_layout
from buarl.data.phantom.heart import PhantomSpec
from buarl.data.phantom.on_disk import phantom_la_root, phantom_root
from buarl.data.source import Source, register_source


class Synthetic(Source):
    """What the phantoms share: a folder of real data is none of them, whatever its layout."""

    licence = "buarl phantom, synthetic, MIT"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        if not (self.root / MARKER).is_file():
            raise other_layout(self.root, self.name, f"no {MARKER}", self.tree)


@register_source
class Phantom(Synthetic, Acdc):
    """Synthetic hearts in slices, in the layout of ACDC."""

    name = "phantom"

    @classmethod
    def default_root(cls) -> Path:
        """The user's cache; the files are made there on first use, in a few seconds."""
        return phantom_root()


FINE = PhantomSpec(side=(112, 160), heart_scale=(0.6, 0.85), grain=2.0, blur=0.8)
"""Twice as fine, and hearts as small as in ACDC: there 4 % of the pixels are heart, here 5 %."""


@register_source
class PhantomFine(Synthetic, Acdc):
    """The synthetic hearts of the lessons: as fine, as small and as hard as those of ACDC.

    Short trainings err here about as often as on ACDC, and entropy finds as many of the errors.
    """

    name = "phantom_fine"

    @classmethod
    def default_root(cls) -> Path:
        """The user's cache; the files are made there on first use, in about ten seconds."""
        return phantom_root(FINE)


@register_source
class PhantomLa(Synthetic, La):
    """Synthetic left atria in volumes, in the layout of LA."""

    name = "phantom_la"
    held_out = 4

    @classmethod
    def default_root(cls) -> Path:
        """The user's cache; the files are made there on first use, in under a minute."""
        return phantom_la_root()
