"""The command line: one class a command, and what every command has in common."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
import tyro
from torch import OutOfMemoryError

import buarl
from buarl.commands.compare import Compare, Leak
from buarl.commands.console import own_sentence, print_whatever_comes, say, sentence
from buarl.commands.device_launch import LOST, launch
from buarl.commands.export import Export
from buarl.commands.figures import Figures
from buarl.commands.files import ConvertAcdc, ConvertFolder, ConvertLa, Doctor, Fetch, Predict
from buarl.commands.interruption import Interrupted, code_of, terminated_as_interrupted
from buarl.commands.plan import Plan
from buarl.commands.release import Release
from buarl.commands.runs import Demo, Evaluate
from buarl.commands.show import Show
from buarl.commands.speedrun import Speedrun
from buarl.commands.tables import Table
from buarl.commands.train import Train
from buarl.commands.way_on import after_failure
from buarl.commands.words import command_line, program, quoted
from buarl.fast.memory import hold_memory
from buarl.training.devices import LAUNCHED, PeerLost
from buarl.training.health import FewSamples, TeachesNothing


@dataclass
class Convert:
    """Raw data into the h5 layout: the releases of ACDC and LA, or a folder of your own."""

    what: Annotated[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[ConvertAcdc, tyro.conf.subcommand("acdc")]
            | Annotated[ConvertLa, tyro.conf.subcommand("la")]
            | Annotated[ConvertFolder, tyro.conf.subcommand("folder")]
        ],
        tyro.conf.arg(name=""),  # else the help calls its options "what options"
    ]

    def run(self) -> None:
        """Convert."""
        self.what.run()

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        return f"interrupted, and {quoted(self.what.out)} was not made; start again with: {again}"


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Figures, tyro.conf.subcommand("figures")]
    | Annotated[Speedrun, tyro.conf.subcommand("speedrun")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Release, tyro.conf.subcommand("release")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[Table, tyro.conf.subcommand("table")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Leak, tyro.conf.subcommand("leak")]
)


MOST_THREADS = max(64, os.cpu_count() or 1)  # far more end in a crash of the OpenMP library


EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, OutOfMemoryError)
ABOUT = (
    f"buarl {buarl.__version__}: uncertainty-aware region learning for medical images with few "
    "labels. COMMAND --help says what a command takes; --version says this version."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its words; those of the process without them.
    Returns:
        0, or 2 after a broken rule, a refusal of the machine or an error in code from outside,
        which is one line on stderr (with BUARL_DEBUG=1 after its traceback), or 130 and 143 after
        an interruption by SIGINT and SIGTERM. A mistake of ours is no such line: it shows its
        traceback.
    """
    print_whatever_comes()
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--version"], ["-V"]):
        print(f"buarl {buarl.__version__}")
        return 0
    command = None
    with warnings.catch_warnings(), terminated_as_interrupted():
        _end_with_parent()
        warnings.showwarning = partial(_show_warning, warnings.showwarning)
        try:
            command = _parsed(words)
            hold_memory()
            _set_threads(getattr(command, "threads", 0))
            if isinstance(command, Train) and (count := command.processes()):
                return launch(words, count, command.nodes, partial(after_failure, command))
            _run(command)
        except BrokenPipeError:  # of `buarl ... | head`: nobody reads on
            _to_nobody()
            return 128 + 13
        except PeerLost as lost:
            if LAUNCHED not in os.environ:
                say(f"{lost}; the run stands at its last checkpoint: train --resume goes on")
            return LOST
        except Interrupted as stopped:
            say(str(stopped))
            return stopped.code
        except KeyboardInterrupt as stop:
            advice = getattr(command, "interrupted", lambda again: "interrupted")
            say(advice(command_line(words)))
            return code_of(stop)
        except Exception as error:
            if (text := _in_one_line(error)) is None:
                raise
            if os.environ.get("BUARL_DEBUG") == "1":
                traceback.print_exc()
            say(text)
            return 2
    return 0


def _parsed(words: Sequence[str]) -> Any:
    """The command of the words; `--help` ends here, whether or not its reader stays."""
    try:
        return tyro.cli(Command, prog=program(), description=ABOUT, args=words)
    except SystemExit:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _to_nobody()
        raise


def _run(command: Any) -> None:
    """Run it, and write what it printed while a reader that has left is still no error."""
    command.run()
    sys.stdout.flush()


def _to_nobody() -> None:
    """What is still to be written goes nowhere, so that Python does not complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_one_line(error: Exception) -> str | None:
    """What to say of an error in one line; None where only a traceback helps."""
    if own := own_sentence(error, expected=isinstance(error, EXPECTED)):
        return own
    return sentence(error) if isinstance(error, EXPECTED) else None


def _end_with_parent() -> None:
    """One of several processes stops, and saves, when the one that started it is gone."""
    if LAUNCHED not in os.environ:
        return

    def wait() -> None:
        while os.read(0, 1024):  # empty when nobody holds the other end
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _set_threads(threads: int) -> None:
    if not 0 <= threads <= MOST_THREADS:
        raise ValueError(f"threads must lie in 0 to {MOST_THREADS}, got {threads}")
    if threads:  # of every command that computes
        torch.set_num_threads(threads)


def _show_warning(
    usual: Callable[..., None], message: Warning, category: type[Warning], *where: Any
) -> None:
    """Ours as one line, those of others as they always are."""
    if issubclass(category, TeachesNothing | FewSamples):
        say(f"warning: {message}")
    else:
        usual(message, category, *where)
