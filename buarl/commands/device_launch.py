"""`train --devices N`: one process for each device, watched by one that computes nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from buarl.commands.console import say
from buarl.commands.interruption import SIGNALS
from buarl.training.devices import LAUNCHED

LOST = 75  # what a process ends with because another one has: it has nothing to say
GRACE = 30.0  # seconds in which the others may end by themselves
WATCH = 0.1  # seconds between two looks


def launch(words: Sequence[str], devices: int, nodes: int, go_on: Callable[[], str]) -> int:
    """Start the processes of this machine, wait for them, and say what became of a failed one.

    Signals that come here are handed on to all. If this process dies, the others save and end: they
    notice that nobody holds the other end of their input any more.

    Args:
        words: The command, from its name on; every process runs it.
        devices: How many processes are started here.
        nodes: How many machines do the same.
        go_on: What to say of how to go on after a failure.
    Returns:
        What the program should end with: 0, 2 after an error, 130 and 143 after a signal.
    Raises:
        ValueError: several machines, and the variables that say which one this is are missing.
    """
    shared = _environment(devices, nodes)
    first = int(shared["NODE_RANK"]) * devices
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="buarl-")))
        processes = [_start(words, shared, i, logs, silent=first + i > 0) for i in range(devices)]
        stack.callback(_end, processes)
        signals = stack.enter_context(_Forwarded(processes))
        _wait(processes)
        codes = [process.returncode for process in processes]
        if not any(codes):
            return 0
        if first == 0 and codes[0] in (2, 128 + signal.SIGINT, 128 + signal.SIGTERM):
            return 128 + signals.sent if signals.sent else codes[0]  # it has said why
        if signals.sent:  # perhaps before the processes could say anything
            say(f"interrupted; {go_on()}")
            return 128 + signals.sent
        say(_what_happened(codes, first, devices * nodes, logs))
        say(go_on())
        stopped = [code for code in codes if code in (130, 143)]
        return stopped[0] if stopped else 2


def _environment(devices: int, nodes: int) -> dict[str, str]:
    """What all processes of this machine share: who they are, and where they meet."""
    shared = {**os.environ, LAUNCHED: "1"}
    shared.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch comments on what is meant so
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shared.setdefault("OMP_NUM_THREADS", str(max((cores or 1) // devices, 1)))
    if nodes > 1:
        missing = [
            name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in shared
        ]
        if missing:
            raise ValueError(
                f"--nodes {nodes} needs {', '.join(missing)} in the environment, on every machine: "
                "MASTER_ADDR and MASTER_PORT, an address of the first machine and a free port "
                f"there, and NODE_RANK, 0 to {nodes - 1}; or start it with srun"
            )
        if not shared["NODE_RANK"].isdigit() or int(shared["NODE_RANK"]) >= nodes:
            raise ValueError(
                f"NODE_RANK must lie in 0 to {nodes - 1}, got {shared['NODE_RANK']!r:.80}"
            )
        return shared
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback is not None:  # else gloo asks for the machine's own name, which may lead nowhere
        shared.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return {**shared, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}


def _start(
    words: Sequence[str], shared: dict[str, str], number: int, logs: Path, *, silent: bool
) -> subprocess.Popen:
    """One process; only the first of all writes to the terminal."""
    with (logs / f"{number}.txt").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "buarl", *words],
            env={**shared, "LOCAL_RANK": str(number)},
            stdin=subprocess.PIPE,
            stdout=log if silent else None,
            stderr=log if silent else None,
            start_new_session=True,  # Ctrl-C comes here, and is handed on once
        )


class _Forwarded:
    """While inside, a signal to stop goes to all processes, as SIGTERM."""

    def __init__(self, processes: Sequence[subprocess.Popen]) -> None:
        self.processes, self.sent = processes, 0  # the number of the signal that came

    def __enter__(self) -> _Forwarded:
        self.before = {number: signal.signal(number, self._forward) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.sent = number
        for process in self.processes:
            process.terminate()  # SIGINT would show a traceback of a Python that is just starting


def _wait(processes: Sequence[subprocess.Popen]) -> None:
    """Until all have ended; once one has failed, the others have `GRACE` seconds left.

    After a signal to stop the first may need longer, for it saves.
    """
    deadline, well = None, (None, 0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
    while any(process.poll() is None for process in processes):
        if deadline is None and any(process.returncode not in well for process in processes):
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(WATCH)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    """End what still runs, at once: it waits for a process that is gone."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdin.close()


def _what_happened(codes: Sequence[int | None], first: int, count: int, logs: Path) -> str:
    """Which process failed by itself, and how."""
    failed = [(i, code) for i, code in enumerate(codes) if code not in (0, LOST, None)]
    if not failed:
        return f"a process on another machine has ended, so those of the {count} here ended too"
    number, code = failed[0]
    who = f"process {first + number} of {count}"
    if code < 0:
        return f"{who} was killed by {signal.Signals(-code).name}, so the others ended too"
    log = logs / f"{number}.txt"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = lines[-1].removeprefix("buarl: ") if lines else f"it ended with {code}"
    return f"{who} failed, so the others ended too: {said}"
