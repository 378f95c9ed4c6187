"""A trained run applied to image files; what comes out lies where the image lies in the patient.

A network sees a file exactly as it lies on disk: no resampling, no reorientation. Files should be
acquired and oriented like the training data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from buarl.data.errors import DataError, reading, writing
from buarl.evaluation.evaluate import predict_volume
from buarl.files.h5_volume import read_h5_volume
from buarl.files.layout import NORMALISATIONS
from buarl.files.listing import image_files, image_stem
from buarl.files.model import Model, load_model
from buarl.files.temperature import Temperature, Tempered, temperature_of_run
from buarl.files.volume import SUFFIXES, Volume, read_volume, write_volume
from buarl.files.weights import load_released
from buarl.outside import Code
from buarl.weights import names_weights

H5 = (".h5",)  # read besides the raw formats


class Predicted(NamedTuple):
    """What came of one file.

    paths: Segmentation, and entropy if asked for.
    shape: Voxels of the image along x, y and z.
    spacing: Size of a voxel along x, y and z, mm.
    millilitres: Volume per foreground class.
    note: What was assumed, or "".
    """

    source: Path
    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    millilitres: dict[str, float]
    seconds: float
    note: str

    def text(self) -> str:
        """One line for people."""
        shape = "x".join(map(str, self.shape))
        spacing = "x".join(f"{size:.3g}" for size in self.spacing)
        volumes = ", ".join(f"{name} {ml:.1f} ml" for name, ml in self.millilitres.items())
        end = f" ({self.note})" if self.note else ""
        return f"{self.source.name}: {shape} at {spacing} mm: {volumes}; {self.seconds:.1f} s{end}"


def predict_files(run_folder: Path, inputs: Path, out: Path, **options: Any) -> list[Path]:
    """`predict_each` for all files at once; the files written, in the order of the inputs."""
    results = predict_each(run_folder, inputs, out, **options)
    return [path for result in results for path in result.paths]


def predict_each(
    run_folder: Path,
    inputs: Path,
    out: Path,
    *,
    weights: bool = False,
    entropy: bool = False,
    keep_largest: bool = False,
    normalisation: str | None = None,
    temperature: Temperature | None = None,
    device: str = "auto",
    overwrite: bool = False,
    code: Code = (),
    refuse: Callable[[str], None] | None = None,
) -> Iterator[Predicted]:
    """Segment files with the last weights of a run; the training data need not be here.

    Args:
        run_folder: A finished run, or a file of released weights.
        weights: `run_folder` is the name, file or folder of released weights.
        inputs: A .nii, .nii.gz, .nrrd or .h5 file, or a folder with such files directly in it. h5:
            key `image`, normalized as for training, (z, y, x) for 2-D networks, else (x, y, z).
        out: Folder for NAME_seg.nii.gz, uint8, and with `entropy` NAME_entropy.nii.gz, float32,
            nats; made if missing, but not the folder `inputs`. Both lie exactly where their input
            lies: sform, qform, codes and unit of a NIfTI input are kept bit for bit.
        keep_largest: Keep the largest component per class of a volume.
        normalisation: "minmax" or "zscore" over a volume; None is what the training data had.
        temperature: Divides the logits, so that the entropy is that of calibrated probabilities;
            "run" is the run's own, see `temperature_of_run`, and released weights keep it. It needs
            `entropy`. Labels of slices stay as they are; those of volumes come from averages over
            windows and may change where two classes are close.
        device: As in training.
        overwrite: Replace files that exist.
        code: What the run may use from outside the package, see `load_run`.
        refuse: Called for every file of several that broke a rule, with file and rule in one line,
            as soon as that is known. Without it these lines are notes of the error at the end.
    Returns:
        One result per file, in the order of the inputs, each written before it is yielded.
    Raises:
        DataError: no input, two inputs of one name, an output that exists; at the end, if files
            broke a rule (the others are written). AccessError: an output cannot be written; what
            was written before stays. ValueError: no finished run.
    """
    if temperature is not None and not entropy:
        raise ValueError("temperature changes the entropy alone, so it needs entropy")
    inputs, out = Path(inputs), Path(out)
    released = weights or names_weights(run_folder)
    load = load_released if released else load_model
    model = load(Path(run_folder), device, normalisation, code)
    if temperature is not None:
        model = model._replace(network=_tempered(model, Path(run_folder), temperature, released))
    planned = _planned(inputs, out, ("seg", "entropy") if entropy else ("seg",), overwrite)
    refused: dict[Path, DataError] = {}
    for source, paths in planned.items():
        begun = time.perf_counter()
        try:
            image, note = _read(model, source)
        except DataError as error:  # of this file; the others go on
            refused[source] = error
            if refuse is not None and len(planned) > 1:
                refuse(_reason(source, error))
            continue
        yield _predict_file(model, source, image, note, paths, keep_largest, begun)
    if refused:
        raise _summary(refused, len(planned), noted=refuse is None)


def _tempered(model: Model, run: Path, temperature: Temperature, released: bool) -> Tempered:
    if temperature != "run":
        return Tempered(model.network, float(temperature))
    if released and model.temperature is None:
        raise ValueError(f"{run}: these weights keep no temperature; give a number instead of run")
    return Tempered(model.network, model.temperature if released else temperature_of_run(run))


def _planned(
    inputs: Path, out: Path, kinds: Sequence[str], overwrite: bool
) -> dict[Path, tuple[Path, ...]]:
    """Every input with its outputs, in a folder that is made."""
    planned = {
        path: tuple(out / f"{stem}_{kind}.nii.gz" for kind in kinds)
        for path, stem in find_inputs(inputs).items()
    }
    if inputs.is_dir() and inputs.resolve() == out.resolve():
        raise DataError(f"{out}: predictions must not lie among the inputs; choose another folder")
    taken = [path for paths in planned.values() for path in paths if path.exists()]
    if taken and not overwrite:
        raise DataError(
            f"{taken[0]}: output exists; replace it with overwrite (--overwrite) or choose another "
            "folder"
        )
    _make_folder(out)
    return planned


def _make_folder(out: Path) -> None:
    with writing(out):
        if out.is_file():
            raise DataError(f"{out}: the output must be a folder, got a file")
        out.mkdir(parents=True, exist_ok=True)


def find_inputs(inputs: Path) -> dict[Path, str]:
    """Files to predict and the names of their outputs, sorted.

    Raises:
        DataError: nothing there, a file of another kind, an image that cannot be read here beside
            others, or two files of one name.
    """
    with reading(inputs, "file or folder"):
        if not inputs.exists():
            raise DataError(f"{inputs}: no such file or folder")
    files = image_files(inputs, H5).values() if inputs.is_dir() else [inputs]
    found = {path: stem for path in files if (stem := image_stem(path, H5)) is not None}
    if not found:
        wanted = ", ".join((*SUFFIXES, *H5))
        raise DataError(f"{inputs}: needs a file that ends in {wanted}, found none")
    return found


def _read(model: Model, source: Path) -> tuple[Volume, str]:
    """The image as the network wants it, and what had to be assumed about its place."""
    if source.suffix.lower() in H5:
        return read_h5_volume(source, model.rank)  # normalized already
    image = read_volume(source)
    return image._replace(array=_normalized(model, source, image.array)), ""


def _reason(source: Path, error: DataError) -> str:
    """File and rule in one line."""
    said = " ".join(str(error).splitlines())
    return said if str(source) in said else f"{source}: {said}"


def _summary(refused: Mapping[Path, DataError], count: int, *, noted: bool) -> DataError:
    """One error for all files that gave no mask; that of a single input itself."""
    first = next(iter(refused.values()))
    if count == 1:
        return first
    names = ", ".join(path.name for path in list(refused)[:3])
    more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
    written = "the others are written" if len(refused) < count else "none is written"
    error = type(first)(f"{len(refused)} of {count} files gave no mask, {written}: {names}{more}")
    for source, reason in refused.items() if noted else ():
        error.add_note(_reason(source, reason))
    return error


def _predict_file(
    model: Model,
    source: Path,
    image: Volume,
    note: str,
    paths: tuple[Path, ...],
    keep_largest: bool,
    begun: float,
) -> Predicted:
    turned = image.array.T if model.rank == 2 else image.array  # (z, y, x) for slices
    label, entropy = predict_volume(
        model.network, turned, model.rank, model.config, keep_largest=keep_largest
    )
    for path, array in zip(paths, (label, entropy), strict=False):
        place = array.T if model.rank == 2 else array
        write_volume(path, place, image.affine, image.header)
    voxel = abs(np.linalg.det(image.affine[:3, :3])) / 1000  # ml
    counts = np.bincount(label.ravel(), minlength=len(model.class_names))
    millilitres = {
        name: float(count * voxel)
        for name, count in list(zip(model.class_names, counts, strict=True))[1:]
    }
    seconds = time.perf_counter() - begun
    return Predicted(source, paths, image.array.shape, image.spacing, millilitres, seconds, note)


def _normalized(model: Model, source: Path, array: np.ndarray) -> np.ndarray:
    if model.normalisation is None:
        raise DataError(
            f"{source}: the run does not say how its data were normalized; "
            f"normalisation must be one of {sorted(NORMALISATIONS)}"
        )
    return NORMALISATIONS[model.normalisation](source, array)
