"""What a user installs: the wheel, and an editable clone. Built and installed without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "buarl"
LINUX = sys.platform == "linux"


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """As a user who knows nothing of this checkout."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    clean |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", **environment}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def copied(folder: Path) -> Path:
    """The part of the checkout that a build needs, so that the checkout stays as it is."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PACKAGE, folder / "buarl", ignore=ignored)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist and the wheel that was made from it."""
    source, out = copied(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


def base_distributions(wheel: Path) -> set[str]:
    """Names of all that `pip install buarl` brings along, extras left out."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        wanted = BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist")
    found: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        wanted += metadata.requires(name) or []
    return found


def new_environment(folder: Path) -> Path:
    """Its Python; what is installed here can be imported there, but for buarl."""
    venv.create(folder)
    python = folder / ("bin/python" if os.name == "posix" else "Scripts/python.exe")
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_of(python) / "borrowed.pth").write_text("\n".join(sorted(places)) + "\n")
    return python


def site_of(python: Path) -> Path:
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-c", ask, cwd=python.parent).stdout.strip())


def hide(python: Path, modules: set[str]) -> None:
    """An import of these fails there, as if they were not installed."""
    (site_of(python) / "hide_modules.pth").write_text("import hide_modules\n")
    (site_of(python) / "hide_modules.py").write_text(
        f"""import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(modules)}:
            raise ModuleNotFoundError(f"{{name}} is not part of the base install", name=name)
sys.meta_path.insert(0, Hide())
"""
    )


def install(python: Path, *what: object) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index")
    run(*pip, "--no-deps", "--no-build-isolation", *what, cwd=python.parent)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Python of an environment with the wheel and what it requires, without any extra."""
    base = base_distributions(wheel)
    assert {"torch", "anywidget", "tyro"} <= base
    assert not {"jupyterlab", "nibabel", "pytest", "monai", "buarl"} & base
    python = new_environment(tmp_path_factory.mktemp("installed"))
    install(python, wheel)
    owners = metadata.packages_distributions()
    extras = {m for m, names in owners.items() if not base & set(map(canonicalize_name, names))}
    hide(python, extras - {"buarl"})
    return python


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"buarl"}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("buarl/")} == files
    assert {"buarl/py.typed", "buarl/data/manifest.csv"} <= names
    assert {"buarl/lessons/networks/networks.json", "buarl/lessons/study.json"} <= names
    assert "buarl/lessons/networks/bcp.safetensors" in names
    assert any(name.startswith("buarl/widgets/static/") for name in names)


def test_the_sdist_holds_no_benchmarks(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert not [name for name in names if "/benchmarks" in name]
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_command_runs_from_anywhere(installed, tmp_path):
    done = run(installed.with_name("buarl"), "--help", cwd=tmp_path, OMP_DISPLAY_ENV="VERBOSE")
    assert {"demo", "train", "evaluate"} <= set(re.findall(r"\w+", done.stdout))
    if LINUX:  # OpenMP has read what buarl/fast/threads.py sets
        assert "GOMP_SPINCOUNT = '3000'" in done.stderr


def test_phantom_and_scrubber_need_no_extra(installed, tmp_path):
    """A phantom on disk, its slices, and a page of the scrubber."""
    script = """
import sys
from pathlib import Path
import buarl
assert Path(buarl.__file__).is_relative_to(sys.prefix), buarl.__file__
from buarl.data.phantom.on_disk import write_phantom
from buarl.widgets import Scrubber, region_explorer, scrubber
import numpy as np

write_phantom(Path("phantom"))
source = buarl.open_source("acdc", Path("phantom"))
sample = source.training_sample(source.training_names()[0])
logits = np.stack([np.where(sample.label == c, 2.0, 0.0) for c in range(4)])
probs = np.exp(logits) / np.exp(logits).sum(0)
shown = scrubber(sample.image[None], sample.label[None], probs[None], rule="url")
shown.to_html("scrubber.html")
assert "<script" in Path("scrubber.html").read_text(encoding="utf-8")
try:
    import nibabel
except ImportError:
    print("base install only")
"""
    assert "base install only" in run(installed, "-c", script, cwd=tmp_path).stdout


def test_a_clone_named_like_the_package_does_not_hide_it(tmp_path):
    """A script beside an editable clone: its folder must not be taken for the package."""
    (tmp_path / "buarl").mkdir()
    clone = copied(tmp_path / "buarl")
    python = new_environment(tmp_path / "environment")
    install(python, "--editable", clone)
    (tmp_path / "script.py").write_text("import buarl\nprint(buarl.url, buarl.__file__)\n")
    said = run(python, "script.py", cwd=tmp_path).stdout
    assert str(clone / "buarl" / "__init__.py") in said
