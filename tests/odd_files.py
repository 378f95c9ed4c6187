"""Small files that real users met, and what is right for each: `python tests/odd_files.py FOLDER`.

A case is a function that writes one file, or a folder of some, and returns its path. What is right
stands beside it: `Reads` with the numbers that must come out, or `Refused` with words of the one
sentence that must come. FOLDER/expected.csv then lists them for other programs.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import struct
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel
import numpy as np
from raw_files import image_of, label_of, write_nifti

MM = np.diag([1.5, 1.5, 8.0, 1.0])
VOXELS = image_of(0)  # int16, 600 voxels
LABEL = label_of(0, 3)  # 0, 1, 2
HOLE = 352  # where the voxels of a plain .nii begin


class Reads(NamedTuple):
    """The file is read: spacing in mm, the place of the first voxel, and the voxels."""

    spacing: tuple[float, float, float] = (1.5, 1.5, 8.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    voxels: np.ndarray = VOXELS


class Refused(NamedTuple):
    """One sentence that holds the name of the file and these words."""

    words: tuple[str, ...]


class Odd(NamedTuple):
    """A case. make: Writes it into a folder and returns its path."""

    what: str
    right: Reads | Refused | None
    make: Callable[[Path], Path]


VOLUMES: dict[str, Odd] = {}
LABELS: dict[str, Odd] = {}
H5: dict[str, Odd] = {}
FOLDERS: dict[str, Odd] = {}


def case(group: dict[str, Odd], what: str, right: Reads | Refused | None = None):
    """Register a function as a case; its name is the case's."""

    def add(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        group[make.__name__] = Odd(what, right, make)
        return make

    return add


def refused(*words: str) -> Refused:
    """Shorter."""
    return Refused(words)


def plain(path: Path, affine: np.ndarray = MM, voxels: np.ndarray = VOXELS) -> Path:
    """A right file, which a case then spoils."""
    return write_nifti(path, voxels, affine)


def spoiled(path: Path, at: int, form: str, *values: float) -> Path:
    """A right .nii with some numbers of its header overwritten."""
    content = bytearray(plain(path).read_bytes())
    struct.pack_into(form, content, at, *values)
    path.write_bytes(content)
    return path


def with_forms(path: Path, sform, s_code: int, qform, q_code: int, zooms, **fields) -> Path:
    """A volume whose header says where it lies in these words exactly."""
    image = nibabel.Nifti1Image(VOXELS, None)
    image.set_qform(np.asarray(qform, float), q_code)
    image.set_sform(np.asarray(sform, float), s_code)
    image.header["pixdim"][1:4] = zooms
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def placed(size: float, *origin: float, flip: float = 1) -> np.ndarray:
    """An affine of cubic voxels, x and y flipped with flip -1."""
    affine = np.diag([flip * size, flip * size, size, 1.0])
    affine[:3, 3] = origin or (0, 0, 0)
    return affine


def in_unit(path: Path, unit: str, per_mm: float) -> Path:
    """0.4 x 0.4 x 1.2 mm at (3, -6, 9) mm, in another unit."""
    affine = np.diag([0.4, 0.4, 1.2, 1.0])
    affine[:3, 3] = (3, -6, 9)
    affine[:3] *= per_mm
    image = nibabel.Nifti1Image(VOXELS, affine)
    image.header.set_xyzt_units(unit, "sec")
    nibabel.save(image, path)
    return path


SMALL = Reads((0.4, 0.4, 1.2), (3, -6, 9))

# NIfTI: where the voxels lie


@case(VOLUMES, "sform with a code, qform of other sizes without", Reads((2, 2, 2), (90, 126, -72)))
def qform_code_0(folder):
    return with_forms(
        folder / "a.nii.gz", placed(2, 90, 126, -72, flip=-1), 2, placed(1), 0, (1, 1, 1)
    )


@case(
    VOLUMES,
    "both forms with a code, of one size but two places: the sform",
    Reads((2, 2, 2), (1, 2, 3)),
)
def two_places(folder):
    return with_forms(folder / "a.nii.gz", placed(2, 1, 2, 3), 1, placed(2, 7, 8, 9), 1, (2, 2, 2))


@case(VOLUMES, "ACDC: sform of 1 mm, qform with a code", Reads((1.25, 1.25, 10)))
def acdc_forms(folder):
    right = np.diag([-1.25, -1.25, 10, 1])
    return with_forms(folder / "a.nii.gz", placed(1, flip=-1), 2, right, 1, (1.25, 1.25, 10))


@case(VOLUMES, "the same, if the qform had no code", Reads((1.25, 1.25, 10)))
def acdc_forms_without_code(folder):
    right = np.diag([-1.25, -1.25, 10, 1])
    return with_forms(folder / "a.nii.gz", placed(1, flip=-1), 2, right, 0, (1.25, 1.25, 10))


@case(VOLUMES, "pixdim 0 beside a good sform", Reads())
def pixdim_0(folder):
    return spoiled(folder / "a.nii", 80, "<fff", 0, 0, 0)


@case(VOLUMES, "pixdim not a number beside a good sform", Reads())
def pixdim_nan(folder):
    return spoiled(folder / "a.nii", 80, "<fff", *[np.nan] * 3)


@case(VOLUMES, "the unit is micron", SMALL)
def micron(folder):
    return in_unit(folder / "a.nii.gz", "micron", 1000)


@case(VOLUMES, "the unit is meter", SMALL)
def meter(folder):
    return in_unit(folder / "a.nii.gz", "meter", 0.001)


@case(VOLUMES, "no unit: mm is meant", SMALL)
def no_unit(folder):
    return in_unit(folder / "a.nii.gz", "unknown", 1)


# NIfTI: size of the file


@case(VOLUMES, "voxels said to begin in the header", refused("vox_offset", "got 0"))
def vox_offset_0(folder):
    return spoiled(folder / "a.nii", 108, "<f", 0)


@case(VOLUMES, "the same, packed", refused("vox_offset", "got 0"))
def vox_offset_0_packed(folder):
    path = vox_offset_0(folder)
    (folder / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return folder / "b.nii.gz"


@case(VOLUMES, "voxels said to begin at byte 1e30", refused("vox_offset", "1e+30"))
def vox_offset_far(folder):
    return spoiled(folder / "a.nii", 108, "<f", 1e30)


@case(VOLUMES, "voxels said to begin nowhere", refused("vox_offset", "nan"))
def vox_offset_nan(folder):
    return spoiled(folder / "a.nii", 108, "<f", np.nan)


@case(VOLUMES, "a byte before the voxels", refused("must have 1552 bytes, got 1553"))
def a_byte_longer(folder):
    path = plain(folder / "a.nii")
    content = path.read_bytes()
    path.write_bytes(content[:HOLE] + b"\x07" + content[HOLE:])
    return path


@case(VOLUMES, "the last byte is gone", refused("cut short", "must have 1552 bytes, got 1551"))
def a_byte_shorter(folder):
    path = plain(folder / "a.nii")
    path.write_bytes(path.read_bytes()[:-1])
    return path


@case(VOLUMES, "a byte before the voxels, packed", refused("more bytes follow"))
def a_byte_longer_packed(folder):
    path = a_byte_longer(folder)
    (folder / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return folder / "b.nii.gz"


@case(
    VOLUMES, "the header claims 1290 x 1290 x 1290 voxels", refused("declares", "1552 are stored")
)
def claims_1290(folder):
    return spoiled(folder / "a.nii", 42, "<hhh", 1290, 1290, 1290)


@case(VOLUMES, "the same, packed", refused("declares", "are stored"))
def claims_1290_packed(folder):
    path = claims_1290(folder)
    (folder / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return folder / "b.nii.gz"


@case(VOLUMES, "the header claims 0.9 GiB, which no rule forbids", refused("cut short"))
def claims_780_packed(folder):
    path = spoiled(folder / "a.nii", 42, "<hhh", 780, 780, 780)
    (folder / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return folder / "b.nii.gz"


@case(VOLUMES, "header says ni1, of a pair, but the voxels are here", Reads())
def pair(folder):
    return spoiled(folder / "a.nii", 344, "<3s", b"ni1")


@case(VOLUMES, "header says nothing of the kind", refused("damaged", "magic"))
def no_magic(folder):
    return spoiled(folder / "a.nii", 344, "<4s", b"none")


@case(VOLUMES, "voxels behind an extension of 48 bytes", Reads())
def extension(folder):
    path = spoiled(folder / "a.nii", 108, "<f", 400)
    content = path.read_bytes()
    text = struct.pack("<BBBBii", 1, 0, 0, 0, 48, 6) + b"a comment".ljust(40, b"\0")
    path.write_bytes(content[:348] + text + content[HOLE:])
    return path


@case(VOLUMES, "NIfTI-2", Reads())
def version_2(folder):
    nibabel.save(nibabel.Nifti2Image(VOXELS, MM), folder / "a.nii.gz")
    return folder / "a.nii.gz"


@case(VOLUMES, "bytes in the other order", Reads())
def big_endian(folder):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(VOXELS, MM, header), folder / "a.nii")
    return folder / "a.nii"


@case(VOLUMES, "endings in capitals", Reads())
def capitals(folder):
    return plain(folder / "a.nii.gz").rename(folder / "A.NII.GZ")


# Packed NIfTI: what follows


@case(VOLUMES, "two bytes after the gzip stream", refused("other bytes follow the end of the gzip"))
def trailing(folder):
    path = plain(folder / "a.nii.gz")
    path.write_bytes(path.read_bytes() + b"\x01x")
    return path


@case(VOLUMES, "zeros after the gzip stream, as tapes leave them", Reads())
def padded(folder):
    path = plain(folder / "a.nii.gz")
    path.write_bytes(path.read_bytes() + bytes(512))
    return path


@case(VOLUMES, "a gzip stream in several pieces, as bgzip writes", Reads())
def pieces(folder):
    content = plain(folder / "b.nii").read_bytes()
    (folder / "b.nii").unlink()
    path = folder / "a.nii.gz"
    path.write_bytes(b"".join(gzip.compress(content[i : i + 500]) for i in range(0, 1552, 500)))
    return path


@case(VOLUMES, "200 MB of zeros after a small volume", refused("more bytes follow"))
def zeros_after(folder):
    content = plain(folder / "b.nii").read_bytes()
    (folder / "b.nii").unlink()
    with gzip.open(folder / "a.nii.gz", "wb", 9) as file:
        file.write(content)
        for _ in range(200):
            file.write(bytes(2**20))
    return folder / "a.nii.gz"


@case(VOLUMES, "a .nii that is called .nii.gz", refused("damaged", "Not a gzipped file"))
def not_packed(folder):
    return plain(folder / "a.nii").rename(folder / "a.nii.gz")


@case(VOLUMES, "a zip archive", refused("damaged", "begins like a zip archive"))
def zipped(folder):
    (folder / "a.nii.gz").write_bytes(b"PK\x03\x04" + bytes(600))
    return folder / "a.nii.gz"


@case(VOLUMES, "a folder with the file inside, as one copy of ACDC", refused("a folder", "'a.nii'"))
def folder_like_a_file(folder):
    plain(folder / "b.nii" / "a.nii")
    return folder / "b.nii"


# NRRD


def nrrd(path: Path, data: bytes = VOXELS.tobytes("F"), *, end: bytes = b"\n", **fields) -> Path:
    """A header with these fields, an empty line and the data."""
    about = {
        **{"type": "int16", "dimension": 3, "sizes": "12 10 5", "encoding": "raw"},
        **{"endian": "little", "spacings": "1.5 1.5 8"},
        **{key.replace("_", " "): value for key, value in fields.items()},
    }
    lines = ["NRRD0005", *(f"{key}: {value}" for key, value in about.items()), "", ""]
    path.write_bytes(end.join(line.encode() for line in lines) + data)
    return path


@case(VOLUMES, "NRRD, raw", Reads())
def nrrd_raw(folder):
    return nrrd(folder / "a.nrrd")


@case(VOLUMES, "NRRD with Windows line ends, in capitals", Reads())
def nrrd_windows(folder):
    return nrrd(folder / "A.NRRD", end=b"\r\n")


@case(VOLUMES, "NRRD, bytes in the other order, bzip2", Reads())
def nrrd_bzip2(folder):
    data = bz2.compress(VOXELS.astype(">i2").tobytes("F"))
    return nrrd(folder / "a.nrrd", data, encoding="bzip2", endian="big")


@case(VOLUMES, "NRRD, numbers as text", Reads())
def nrrd_text(folder):
    words = " ".join(map(str, VOXELS.ravel("F").tolist()))
    return nrrd(folder / "a.nrrd", words.encode(), encoding="ascii")


@case(VOLUMES, "NRRD, a number too large for its type", refused("does not fit into int16"))
def nrrd_text_too_large(folder):
    return nrrd(folder / "a.nrrd", b"70000 " * 600, encoding="ascii")


@case(VOLUMES, "NRRD in micron", Reads())
def nrrd_micron(folder):
    unit = '"µm" "µm" "µm"'
    return nrrd(folder / "a.nrrd", spacings="1500 1500 8000", units=unit)


@case(VOLUMES, "NRRD, a byte too many", refused("more bytes follow"))
def nrrd_a_byte_longer(folder):
    return nrrd(folder / "a.nrrd", VOXELS.tobytes("F") + b"\0")


@case(VOLUMES, "NRRD, a byte too few", refused("cut short"))
def nrrd_a_byte_shorter(folder):
    return nrrd(folder / "a.nrrd", VOXELS.tobytes("F")[:-1])


def detached(folder: Path, name: str) -> Path:
    """A header that names a file, which is there and has the right size."""
    (folder / "inside").mkdir()
    for place in (folder, folder / "inside"):
        (place / "secret.raw").write_bytes(VOXELS.tobytes("F"))
    return nrrd(folder / "inside" / "a.nrrd", b"", data_file=name.format(folder))


@case(VOLUMES, "NRRD, the data file lies anywhere", refused("must hold its voxels itself"))
def detached_absolute(folder):
    return detached(folder, "{}/secret.raw")


@case(VOLUMES, "NRRD, the data file lies one folder up", refused("must hold its voxels itself"))
def detached_up(folder):
    return detached(folder, "../secret.raw")


@case(VOLUMES, "NRRD, the data file lies beside it", refused("must hold its voxels itself"))
def detached_beside(folder):
    return detached(folder, "secret.raw")


@case(VOLUMES, "NRRD, line skip 1000000000", refused("line skip must be 0", "1000000000"))
def line_skip(folder):
    return nrrd(folder / "a.nrrd", line_skip=10**9)


@case(VOLUMES, "NRRD, byte skip 4", refused("byte skip must be 0", "got 4"))
def byte_skip(folder):
    return nrrd(folder / "a.nrrd", bytes(4) + VOXELS.tobytes("F"), byte_skip=4)


@case(VOLUMES, "NRRD, byte skip -1: the voxels end the file, as always", Reads())
def byte_skip_minus_1(folder):
    return nrrd(folder / "a.nrrd", byte_skip=-1)


@case(VOLUMES, "NRRD, claims 4 GB of zeros in 3 KB of bzip2", refused("declares", "are stored"))
def nrrd_bomb(folder):
    data = bz2.compress(bytes(10**6))
    return nrrd(folder / "a.nrrd", data, encoding="bzip2", sizes="1290 1290 1290")


@case(VOLUMES, "NRRD, a header without an end", refused("empty line"))
def nrrd_endless(folder):
    (folder / "a.nrrd").write_bytes(b"NRRD0005\n" + b"# so it goes\n" * 300_000)
    return folder / "a.nrrd"


# Labels


@case(LABELS, "slope 3e-5: reads 1.0000153", Reads(voxels=LABEL))
def label_scaled(folder):
    image = nibabel.Nifti1Image(LABEL.astype(np.float64), MM)
    image.set_data_dtype(np.uint16)
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


@case(LABELS, "values 0.988", refused("whole numbers", "got 0.988"))
def label_0988(folder):
    return plain(folder / "a.nii.gz", voxels=LABEL * 0.988)


@case(LABELS, "values of 1e30", refused("32 bits", "2e+30"))
def label_1e30(folder):
    return plain(folder / "a.nii.gz", voxels=LABEL * 1e30)


# h5


@case(H5, "half of the chunks were never written", refused("only 1 of 2 chunks"))
def half_written(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("image", (64, 64, 4), "f4", chunks=(32, 64, 4))[:32] = 0.5
        file["label"] = np.zeros((64, 64, 4), np.uint8)
    return folder / "a.h5"


@case(H5, "declares 0.9 GiB and stores nothing", refused("only 0 of 15000 chunks"))
def declares_1_gib(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        for key, kind in (("image", "f4"), ("label", "u1")):
            file.create_dataset(key, (15000, 128, 128), kind, chunks=(1, 128, 128))
    return folder / "a.h5"


# Folders for `convert folder`, or parts of a release


def scans(folder: Path, images: list[str], labels: list[str]) -> Path:
    """images/ and labels/ with files of these names."""
    for part, names in (("images", images), ("labels", labels)):
        for seed, name in enumerate(names):
            voxels = image_of(seed) if part == "images" else label_of(seed, 3)
            source = plain(folder / part / "x.nii.gz", voxels=voxels)
            source.rename(source.with_name(name))
    return folder


NAMES = [f"p{k}_a.nii.gz" for k in range(6)]


@case(FOLDERS, "one of six images ends in .NII.GZ: six pairs")
def one_upper(folder):
    return scans(folder, [*NAMES[:5], "p5_a.NII.GZ"], NAMES)


@case(FOLDERS, "one of six labels is .mha", refused("p5_a.mha", "only .nii.gz, .nii, .nrrd"))
def label_mha(folder):
    scans(folder, NAMES, NAMES[:5])
    (folder / "labels" / "p5_a.mha").write_bytes(b"ObjectType = Image\n")
    return folder


@case(FOLDERS, "one of six images is .mha", refused("p5_a.mha", "an image by its ending"))
def image_mha(folder):
    scans(folder, NAMES[:5], NAMES)
    (folder / "images" / "p5_a.mha").write_bytes(b"ObjectType = Image\n")
    return folder


@case(FOLDERS, "nnU-Net's raw names, one channel: six pairs")
def nnunet(folder):
    stems = [f"case{k}_x" for k in range(6)]
    return scans(folder, [f"{s}_0000.nii.gz" for s in stems], [f"{s}.nii.gz" for s in stems])


@case(
    FOLDERS, "nnU-Net's raw names, two channels", refused("one channel", "c2_x_0000 and c2_x_0001")
)
def nnunet_two(folder):
    stems = [f"c{k}_x" for k in range(6)]
    images = [f"{s}_0000.nii.gz" for s in stems]
    return scans(folder, [*images, "c2_x_0001.nii.gz"], [f"{s}.nii.gz" for s in stems])


@case(
    FOLDERS,
    "la_000 to la_005: six patients",
    refused("'([^_]+)'", "1 patient", "'la_000'", "--patient '([^_]+_[^_]+)' makes it 6"),
)
def numbered(folder):
    names = [f"la_{k:03d}.nii.gz" for k in range(6)]
    return scans(folder, names, names)


@case(FOLDERS, "ü in two Unicode forms: six pairs")
def unicode_forms(folder):
    names = [f"Mü{k}_a.nii.gz" for k in range(6)]
    forms = [[unicodedata.normalize(form, name) for name in names] for form in ("NFD", "NFC")]
    return scans(folder, *forms)


@case(FOLDERS, "one image in two Unicode forms", refused("stands twice"))
def unicode_twice(folder):
    twice = [unicodedata.normalize(form, "ü_a.nii.gz") for form in ("NFD", "NFC")]
    return scans(folder, [*NAMES, *twice], NAMES)


@case(FOLDERS, "a folder among the images", refused("p5_a.nii.gz", "a folder", "named like a file"))
def folder_among_images(folder):
    scans(folder, NAMES[:5], NAMES)
    plain(folder / "images" / "p5_a.nii.gz" / "x.nii")
    return folder


INFO = "ED: 1\r\nES: 12\r\nGroup: DCM\r\nHeight: 184.0\r\nNbFrame: 30\r\nWeight: 95.0\r\n"


def main(destination: Path) -> None:
    """All cases in folders of their names, and the table of what is right."""
    rows = []
    for group in (VOLUMES, LABELS, H5, FOLDERS):
        for name, odd in group.items():
            (destination / name).mkdir(parents=True)
            path = odd.make(destination / name)
            right = odd.right
            if isinstance(right, Reads):
                right = f"spacing {right.spacing}, first voxel at {right.origin}"
            elif isinstance(right, Refused):
                right = f"refused: {', '.join(right.words)}"
            rows.append([path.relative_to(destination), odd.what, right or "read"])
    with (destination / "expected.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["path", "odd", "right"], *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
