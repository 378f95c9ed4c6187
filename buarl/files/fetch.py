"""Getting the public data: LA by download with checked contents, ACDC by the steps to take.

Nothing is hosted here. Finished files are kept, so an interrupted call goes on case by case; the
files are small (below 4 MB), so there are no byte ranges. A file gets its name when it is whole and
right. A server cannot send more than a file of the stated shape can need: the download stops there.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from buarl.arguments import counted
from buarl.data.errors import AccessError, DataError, access_cause
from buarl.data.h5 import read_list
from buarl.data.la import La, scan_path
from buarl.data.public import Entry, read_manifest
from buarl.files.manifest import check_case, check_unknown

LA_URL = "https://raw.githubusercontent.com/yulequan/UA-MT/88ed29ad794f877122e542a7fa9505a76fa83515/data/"
CASE_BYTES = 4_000_000  # room to ask for per scan; ours take 2.6 MB on average, 3.7 at most
LIST_BYTES = 2**16  # of a list of scans; the public one has 420
PAUSE = 2.0  # seconds before the second try, twice that before the third
LA_TERMS = """LA: 2018 Atrial Segmentation Challenge, Xiong et al., arXiv 2004.12314
  from   {url}
         (files that the authors of UA-MT published beside their code; buarl hosts nothing)
  terms  no open license was found: the challenge page names none, and that repository has no
         license file. Whether you may use the data is for you to settle; do not publish images.
  note   the scans are cropped around the label."""
ACDC_STEPS = """ACDC comes from its owners after a free registration; nothing is downloaded here.
  terms  CC BY-NC-SA 4.0; cite O. Bernard et al., IEEE TMI 2018, doi 10.1109/TMI.2018.2837502
  1. Register and log in at https://humanheart-project.creatis.insa-lyon.fr/database/
  2. Download the ACDC collection and unpack it into a folder RAW
     (it then holds training/patient001 ... patient100 and testing/patient101 ... patient150)
  3. {program} convert acdc RAW OUT
  4. {program} doctor --source acdc --root OUT"""


class FetchError(DataError):
    """A download that failed; the message names the address and what to do."""


class ContentError(FetchError):
    """A file arrived, but not the one that was meant."""


def fetch_la(
    root: Path,
    *,
    base_url: str = LA_URL,
    cases: Sequence[str] | None = None,
    include_test: bool = False,
    timeout: float = 30.0,
    attempts: int = 3,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Download the 80 training scans of LA, compare each with the manifest, write train.list.

    Files that are here and right are kept; a wrong one is replaced once a right one has arrived. A
    file that cannot be looked into, such as one that another program holds locked, stops the call
    and stays as it is.

    Args:
        root: Folder to fill; source "la" opens it afterwards.
        base_url: Folder with `2018LA_Seg_Training Set/` in it; for a mirror.
        cases: Only these scans; None takes all. train.list names those here, in public order.
        include_test: Also the scans in `test.list`, which is fetched if it is not here. No
            checksums are known of them: each is only tried for being a readable case with as many
            slices as the training scans.
        timeout: Seconds to wait for an answer.
        attempts: Tries per file.
        say: Takes progress lines.
    Returns:
        root.
    Raises:
        FetchError: unknown case, no room, no such file there, no connection, wrong content.
        AccessError: a file that is here already cannot be read.
    """
    server = _Server(Path(root), base_url.rstrip("/") + "/", timeout, attempts, say)
    entries = {Path(file).parent.name: entry for file, entry in read_manifest("la").items()}
    unknown = sorted(set(cases or ()) - set(entries))
    if unknown:
        raise FetchError(f"cases must be training scans of LA, got {unknown[0]!r}")
    wanted = [case for case in entries if cases is None or case in cases]
    sizes = {case: entry.max_bytes for case, entry in entries.items()}
    server.fetch_cases(wanted, lambda case, path: _fault(*check_case(path, entries[case])), sizes)
    here = [case for case in entries if server.path(case).is_file()]
    server.write(server.root / "train.list", "".join(f"{case}\n" for case in here).encode())
    if include_test:
        _fetch_test(server, entries)
    return server.root


def _fetch_test(server: _Server, entries: dict[str, Entry]) -> None:
    path = server.root / "test.list"
    if not path.exists():
        server.fetch("test.list", path, _list_fault, LIST_BYTES)
    names = read_list(path)
    if known := sorted(set(names) & set(entries)):
        raise ContentError(
            f"{path}: a scan may stand in one list only, {known[0]!r} is for training"
        )
    server.say(f"no checksums are known of the {len(names)} test scans: they are only tried")
    sizes = dict.fromkeys(names, max(entry.max_bytes for entry in entries.values()))
    server.fetch_cases(names, lambda case, path: _fault(*check_unknown(path, La, entries)), sizes)


def _list_fault(path: Path) -> str:
    """What is wrong with a list, "" if nothing."""
    try:
        read_list(path)
    except DataError as error:
        return str(error)
    return ""


def _fault(status: str, reason: str) -> str:
    """What is wrong with a file, "" if nothing; what may be right must not be replaced."""
    if status == "unreadable":
        raise AccessError(f"{reason}; the file was left as it is")
    return "" if status in ("identical", "no figures known") else reason


@dataclass(frozen=True)
class _Server:
    """Where files come from and go to."""

    root: Path
    base_url: str
    timeout: float
    attempts: int
    say: Callable[[str], None]

    def path(self, case: str) -> Path:
        """Where a scan lies."""
        return scan_path(self.root, case)

    def fetch_cases(
        self, names: list[str], fault: Callable[[str, Path], str], sizes: dict[str, int]
    ) -> None:
        """Get the scans that are not here or have a fault (a sentence, empty if there is none).

        sizes: The most bytes that each may have.
        """
        todo = [case for case in names if fault(case, self.path(case))]
        self.say(f"{len(names) - len(todo)} of {len(names)} scans are here and right")
        self._check_room(len(todo) * CASE_BYTES)
        refused = []
        for number, case in enumerate(todo, 1):
            self.say(f"  {number}/{len(todo)} {case}")
            try:
                path = self.path(case)
                remote = path.relative_to(self.root).as_posix()
                self.fetch(remote, path, lambda part, case=case: fault(case, part), sizes[case])
            except ContentError as error:
                refused.append(str(error))
                self.say(f"    removed: {error}")
        if refused:
            raise ContentError(
                f"{len(refused)} of {len(todo)} files had the wrong content and were removed, "
                f"first {refused[0]}; call fetch again, finished files are kept"
            )

    def fetch(self, remote: str, path: Path, fault: Callable[[Path], str], max_bytes: int) -> None:
        """Download one file beside its place, check it, rename it."""
        url = self.base_url + quote(remote)
        with _disk_errors(f"{path} (from {url})"), _scratch(self.root) as folder:
            part = folder / path.name
            download(url, part, max_bytes, timeout=self.timeout, attempts=self.attempts)
            if reason := fault(part):
                raise ContentError(f"{url}: {reason.removeprefix(f'{part}: ')}")
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, path)

    def write(self, path: Path, content: bytes) -> None:
        """A small file, whole or not at all."""
        with _disk_errors(str(path)), _scratch(self.root) as folder:
            (folder / path.name).write_bytes(content)
            os.replace(folder / path.name, path)

    def _check_room(self, needed: int) -> None:
        folder = self.root.absolute()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise FetchError(
                f"{self.root}: the files from {self.base_url} need up to {needed / 1e6:.0f} MB, "
                f"got {free / 1e6:.0f} MB free; make room or choose another folder (--out)"
            )


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A folder on the same disk, so that a rename is all or nothing; removed at the end."""
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root, prefix=".fetch-") as folder:
        yield Path(folder)


@contextmanager
def _disk_errors(goal: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = access_cause(error) or str(error)
        raise FetchError(
            f"{goal}: cannot be written: {cause}, then call fetch again: finished files stay"
        ) from error


class _Capped(io.FileIO):
    """A file that refuses to grow beyond a size."""

    def __init__(self, path: Path, url: str, max_bytes: int) -> None:
        super().__init__(path, "w")
        self._url, self._left = url, max_bytes
        self._max_bytes = max_bytes

    def write(self, piece: bytes) -> int:
        """All of a piece, or an error."""
        self._left -= len(piece)
        if self._left < 0:
            raise ContentError(
                f"{self._url}: the file may have {self._max_bytes} bytes, the server sent more"
            )
        rest = memoryview(piece)
        while rest:
            rest = rest[super().write(rest) :]
        return len(piece)


def download(url: str, path: Path, max_bytes: int, *, timeout: float, attempts: int) -> None:
    """One file over HTTP; a connection that fails or breaks off is tried again.

    Args:
        url: Where the file comes from.
        path: Where the file goes.
        max_bytes: More is refused as soon as it arrives.
        timeout: Seconds to wait for an answer.
        attempts: Tries.
    Raises:
        FetchError: an answer other than the file, or no whole file after all attempts.
        ContentError: the file is larger than it can be.
    """
    try:
        import requests
        from pooch import HTTPDownloader
    except ModuleNotFoundError as error:
        raise FetchError(f"{url}: fetch needs pooch: pip install 'buarl[io]'") from error
    plain = {"Accept-Encoding": "identity"}  # nothing that unpacks on the way
    get = HTTPDownloader(chunk_size=2**16, timeout=timeout, headers=plain)
    for attempt in range(attempts):
        time.sleep(PAUSE * attempt)
        try:
            with _Capped(path, url, max_bytes) as file:
                return get(url, file, None)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status < 500 and status not in (408, 429):
                raise FetchError(
                    f"{url}: HTTP {status}, the file is not there (any more); look for a mirror "
                    "and name it with --base-url"
                ) from error
            last = f"HTTP {status}"
        except requests.Timeout:
            last = f"no answer within {timeout:g} s"
        except DataError:
            raise
        except (requests.RequestException, ValueError) as error:  # ValueError: a senseless answer
            last = f"no connection, or it broke off ({error})"
    raise FetchError(
        f"{url}: {last}, {counted(attempts, 'try', 'tries')}; check the connection "
        f"and call fetch again, finished "
        "files are kept"
    )
