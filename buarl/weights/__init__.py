"""Weights that come with the package: NAME.safetensors and its model card NAME.md lie here.

`buarl release` writes both and prints the SHA-256 to enter in `SHIPPED`; the card ends as the
others here do. Those made from ACDC are under its license, CC BY-NC-SA 4.0, and not under that of
the code.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent
SHIPPED: dict[str, str] = {
    "acdc7_bcp_quick": "9aba372979d355869334cf29079019bb172a431466382d630d65197a07d0f034",
    "acdc7_bcp_url_crl_quick": "ddaaeb6b470c896569458848f6482f5674dc3273840e1b3cd64794f1e9f2bfc3",
}
"""SHA-256 of every file that comes with the package, by its name without the ending."""


def names_weights(place: str | Path) -> bool:
    """Whether a path is called as released weights are; nothing need be there.

    >>> names_weights("hearts.safetensors"), names_weights("runs/mine")
    (True, False)
    """
    return Path(place).suffix == ".safetensors"


def weights_file(place: str | Path) -> Path:
    """The file of released weights that a name, a file or a folder stands for.

    Args:
        place: One of `SHIPPED`, a .safetensors file, or a folder that holds one.
    Raises:
        ValueError: nothing of these, or a shipped file that is not the one that was released.

    >>> weights_file("no such weights")
    Traceback (most recent call last):
    ValueError: weights must be a .safetensors file, a folder with one, or a name that comes with \
the package (one of ['acdc7_bcp_quick', 'acdc7_bcp_url_crl_quick']), got \
'no such weights'
    """
    path = Path(place)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            raise ValueError(f"{path}: must hold one .safetensors file, got {len(found)}")
        return found[0]
    if path.is_file() or str(place) not in SHIPPED:
        if path.is_file() or names_weights(path):
            return path
        names = f"one of {sorted(SHIPPED)}" if SHIPPED else "none so far"
        raise ValueError(
            "weights must be a .safetensors file, a folder with one, or a name that comes with "
            f"the package ({names}), got {str(place)!r:.200}"
        )
    shipped = FOLDER / f"{place}.safetensors"
    if not shipped.is_file():
        raise ValueError(f"{shipped}: is missing from this installation; install buarl again")
    if sha256(shipped.read_bytes()).hexdigest() != SHIPPED[str(place)]:
        raise ValueError(f"{shipped}: is not the file that was released; install buarl again")
    return shipped
