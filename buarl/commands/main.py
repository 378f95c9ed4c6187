"""`buarl demo | train | evaluate | predict | convert | fetch | doctor`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

from buarl.commands.console import print_whatever_comes
from buarl.commands.files import ConvertAcdc, ConvertFolder, ConvertLa, Doctor, Fetch, Predict
from buarl.commands.runs import Demo, Evaluate
from buarl.commands.train import Train
from buarl.commands.words import program
from buarl.fast.memory import hold_memory


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


def main(argv: list[str] | None = None) -> int:
    """Run a command; a broken rule is one line on stderr and exit code 2."""
    print_whatever_comes()
    command = tyro.cli(Command, prog=program(), args=argv)
    hold_memory()
    if threads := getattr(command, "threads", 0):  # of every command that computes
        torch.set_num_threads(threads)
    try:
        command.run()
    except (ValueError, OSError, FloatingPointError) as error:  # OSError: disk full, no permission
        print(f"buarl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "buarl: interrupted; `train --resume RUN` goes on from the last checkpoint",
            file=sys.stderr,
        )
        return 130
    return 0
