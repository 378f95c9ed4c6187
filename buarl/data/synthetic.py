"""The two phantoms as sources: synthetic scans in the layouts of ACDC and LA, made on first use.

The loaders of the real data sets read them, so what runs on a phantom runs on the real files.
`buarl.data.phantom` draws them.
"""

from __future__ import annotations

from pathlib import Path

from buarl.data.acdc import Acdc
from buarl.data.la import La
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
