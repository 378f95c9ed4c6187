"""Writing the public h5 layout: one case a file, one name a line in a list."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_list(path: Path, names: Iterable[str]) -> None:
    """Write a list file: one case name a line, UTF-8, Unix line ends on every system.

    Args:
        path: The file, replaced if it exists.
        names: Case names without ending; `read_list` says what a name may look like.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "val.list"
    ...     write_list(path, ["patient001", "patient002"])
    ...     path.read_text().split()
    ['patient001', 'patient002']
    """
    path.write_bytes("".join(f"{name}\n" for name in names).encode())


def write_h5(path: Path, image: np.ndarray, label: np.ndarray | None, **attributes: object) -> None:
    """Write one case: the arrays `image` and `label`, packed without loss.

    Args:
        path: The file, in a folder that exists.
        image: (*spatial), written with the type it has; readers expect float32.
        label: (*spatial) uint8, or None for a case without a label; the key is then left out.
        attributes: Written on the file itself, for example spacing=(1.5, 1.5, 8.0) in mm per axis.

    >>> import tempfile
    >>> from buarl.data.h5 import read_case
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "case.h5"
    >>> write_h5(path, np.zeros((4, 5), np.float32), np.ones((4, 5), np.uint8), spacing=(1.5, 1.5))
    >>> sample = read_case(path, "case", rank=2, num_classes=2)
    >>> sample.image.shape, int(sample.label.max()), sample.spacing
    ((4, 5), 1, (1.5, 1.5))
    >>> folder.cleanup()
    """
    import h5py  # here: `import buarl` stays light

    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip", compression_opts=1)
        if label is not None:
            file.create_dataset("label", data=label, compression="gzip", compression_opts=1)
        file.attrs.update(attributes)
