"""The phantoms as sources: synthetic scans in the layouts of ACDC and LA, made on first use.

The loaders of the real data sets read them, so what runs on a phantom runs on the real files.
`buarl.data.phantom` draws them.
"""

from __future__ import annotations

from pathlib import Path

from buarl.data.acdc import Acdc
from buarl.data.la import La
from buarl.data.phantom.heart import PhantomSpec
from buarl.data.phantom.on_disk import phantom_la_root, phantom_root
from buarl.data.source import register_source


@register_source
class Phantom(Acdc):
    """Synthetic hearts in slices, in the layout of ACDC."""

    name = "phantom"
    licence = "buarl phantom, synthetic, MIT"

    @classmethod
    def default_root(cls) -> Path:
        """The user's cache; the files are made there on first use, in a few seconds."""
        return phantom_root()


FINE = PhantomSpec(side=(112, 160), heart_scale=(0.6, 0.85), grain=2.0, blur=0.8)
"""Twice as fine, and hearts as small as in ACDC: there 4 % of the pixels are heart, here 5 %."""


@register_source
class PhantomFine(Acdc):
    """The synthetic hearts of the lessons: as fine, as small and as hard as those of ACDC.

    Short trainings err here about as often as on ACDC, and entropy finds as many of the errors.
    """

    name = "phantom_fine"
    licence = "buarl phantom, synthetic, MIT"

    @classmethod
    def default_root(cls) -> Path:
        """The user's cache; the files are made there on first use, in about ten seconds."""
        return phantom_root(FINE)


@register_source
class PhantomLa(La):
    """Synthetic left atria in volumes, in the layout of LA."""

    name = "phantom_la"
    licence = "buarl phantom, synthetic, MIT"
    held_out = 4

    @classmethod
    def default_root(cls) -> Path:
        """The user's cache; the files are made there on first use, in under a minute."""
        return phantom_la_root()
