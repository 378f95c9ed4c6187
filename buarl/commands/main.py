"""`buarl demo | train | evaluate | predict | convert | fetch | doctor`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
import tyro
from torch import OutOfMemoryError

from buarl.commands.console import print_whatever_comes, say, sentence
from buarl.commands.files import ConvertAcdc, ConvertFolder, ConvertLa, Doctor, Fetch, Predict
from buarl.commands.interruption import Interrupted
from buarl.commands.launch import LOST, launch
from buarl.commands.runs import Demo, Evaluate
from buarl.commands.train import Train
from buarl.commands.way_on import after_failure
from buarl.commands.words import program
from buarl.fast.memory import hold_memory
from buarl.training.devices import LAUNCHED, PeerLost
from buarl.training.health import FewSamples, TeachesNothing


@dataclass
class Convert:
    """Raw data into the h5 layout: the releases of ACDC and LA, or a folder of your own."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[ConvertAcdc, tyro.conf.subcommand("acdc")]
        | Annotated[ConvertLa, tyro.conf.subcommand("la")]
        | Annotated[ConvertFolder, tyro.conf.subcommand("folder")]
    ]

    def run(self) -> None:
        """Convert."""
        self.what.run()


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


MOST_THREADS = max(64, os.cpu_count() or 1)  # far more end in a crash of the OpenMP library


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0, or 2 after a broken rule or a refusal of the machine, which is one line on stderr, or
        130 and 143 after an interruption by SIGINT and SIGTERM. A mistake of ours is no such line:
        it shows its traceback.
    """
    print_whatever_comes()
    words = sys.argv[1:] if argv is None else argv
    command = tyro.cli(Command, prog=program(), args=words)
    _end_with_parent()
    with warnings.catch_warnings():
        warnings.showwarning = partial(_show_warning, warnings.showwarning)
        try:
            hold_memory()
            _set_threads(getattr(command, "threads", 0))
            if isinstance(command, Train) and (count := command.processes()):
                return launch(words, count, command.nodes, partial(after_failure, command))
            command.run()
        except (ValueError, OSError, FloatingPointError, MemoryError, OutOfMemoryError) as error:
            say(sentence(error))
            return 2
        except PeerLost as lost:
            if LAUNCHED not in os.environ:
                say(f"{lost}; the run stands at its last checkpoint: train --resume goes on")
            return LOST
        except Interrupted as stopped:
            say(str(stopped))
            return stopped.code
        except KeyboardInterrupt:
            say("interrupted")
            return 130
    return 0


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
