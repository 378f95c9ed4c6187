"""A real browser for tests: Chromium driven by Playwright, cut off from the network, and servers.

Without Chromium or Playwright tests that ask for `tab` are skipped with the reason; where
BUARL_BROWSER=required (CI) they fail instead. BUARL_CHROMIUM names another Chromium.
Everything is per module: Playwright keeps an event loop running, which notebook tests must not see.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE = 120  # seconds; the machine may be far slower than idle
# A pattern, not a function: the driver compares it, and what goes to this machine waits for nobody.
ELSEWHERE = re.compile(r"^\w+://(?!(127\.0\.0\.1|localhost)[:/]|/)")


@dataclass
class Tab:
    """A page and what went wrong on it.

    errors: console errors and uncaught exceptions. refused: addresses outside this machine that
    the page asked for; they were not answered.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless Chromium per module, with an empty profile."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    path = os.environ.get("BUARL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _missing("no Chromium on PATH (BUARL_CHROMIUM may name one)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=FLAGS, timeout=PATIENCE * 1000
        )
        yield running
        running.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A new page of 1280x720 that reaches this machine only."""
    with new_tab(browser) as opened:
        yield opened


@contextmanager
def new_tab(browser: Browser, width: int = 1280, height: int = 720, **look) -> Iterator[Tab]:
    """A page in a context of its own, for fixtures of other scopes, other sizes and looks, such as
    color_scheme="dark"."""
    context = browser.new_context(viewport={"width": width, "height": height}, **look)
    context.set_default_timeout(PATIENCE * 1000)
    opened = Tab(context.new_page())

    def refuse(route: Route) -> None:
        opened.refused.append(route.request.url)
        route.abort()

    context.route(ELSEWHERE, refuse)
    opened.page.on(
        "console",
        lambda message: opened.errors.append(message.text) if message.type == "error" else None,
    )
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    yield opened
    context.close()


def leave(page: Page) -> None:
    """Close the page as a reader does. While requests are watched, its last words would be lost."""
    page.context.unroute_all()
    page.goto("about:blank")


@contextmanager
def server(command: Sequence[str], folder: Path, probe: str = "/api") -> Iterator[str]:
    """Run `python -m COMMAND... --port=FREE` and yield its address; gone with all children at exit.

    Args:
        command: A module and its arguments. folder: Empty; homes, settings and logs go there.
        probe: Path that answers once the server is up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, f"--port={port}"],
            env=_environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(address + probe, process, log)
        yield address
    finally:
        _end(process)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab with factory settings (and no news): its address (no token) and the folder it shows."""
    pytest.importorskip("jupyterlab")
    folder = tmp_path_factory.mktemp("lab")
    shown = folder / "notebooks"
    shown.mkdir()
    options = (
        *("--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={shown}"),
        *("--LabApp.news_url=", "--LabApp.extension_manager=readonly"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True",  # tests call commands by name
    )
    news = Path(_environment(folder)["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with server(("jupyterlab", *options), folder) as address:
        yield address, shown


def wait_until(check, what: str, seconds: float = PATIENCE, every: float = 0.1):
    """The first true value of check(), or a failure that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := check():
            return value
        time.sleep(every)
    pytest.fail(f"waited {seconds:g} s for {what}")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("BUARL_BROWSER") == "required":
        pytest.fail(f"BUARL_BROWSER=required, but {reason}")
    pytest.skip(reason)


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's settings, one thread, and the toy networks' cache where it is."""
    own = {
        name: str(folder / name.lower())
        for name in (
            *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"),
            *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"),
        )
    }
    return {**os.environ, **own, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    def up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    wait_until(up, f"{address} to answer", every=0.2)


def _end(process: subprocess.Popen) -> None:
    """Ask, so that the server ends its kernels, then force."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(30)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait(5)
