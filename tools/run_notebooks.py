"""Re-execute notebooks in place, on the phantom, one thread, and make their stored form canonical.

python tools/run_notebooks.py [NOTEBOOK ...]      default: all of notebooks/
BUARL_SOURCE=acdc BUARL_ROOT=DIR python tools/run_notebooks.py --keep NOTEBOOK ...
                                                   only run, on other data; nothing is written
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


def execute(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    return notebook


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Keep what readers and nbval need: outputs, tags, counts; drop times and widgets."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
        cell.get("outputs", [])[:] = joined(cell.get("outputs", []))
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def joined(outputs: list) -> list:
    """Chunks of one stream as one output: where they are cut depends on timing. No bars."""
    result: list = []
    for output in outputs:
        last = result[-1] if result else None
        if output.get("name") == "stderr" and "\r" in output.text:
            continue  # a bar of a first training
        if last is not None and output.output_type == last.output_type == "stream":
            last.text += output.text
        else:
            result.append(output)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--keep", action="store_true", help="run only, write nothing")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not options.keep:
        os.environ.pop("BUARL_SOURCE", None)
        os.environ.pop("BUARL_ROOT", None)
    for path in options.notebooks or sorted(FOLDER.glob("*.ipynb")):
        started = time.perf_counter()
        notebook = execute(path)
        if not options.keep:
            normalise(notebook)
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
