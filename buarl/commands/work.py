"""One process of a plan: `python -m buarl.commands.work FOLDER TASK PLAN`; the launchers start it.

On one machine it is a process of its own, on a cluster a job; both do the same work in the same
way. A signal to stop saves first, and the same call goes on from there. It brings its plan along,
since that of the folder may have grown, and with it the numbers of the lists, before it begins.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buarl.commands.console import print_whatever_comes
from buarl.commands.interruption import StopOnSignal
from buarl.fast.memory import hold_memory

SOME_FAILED = 3  # what a process ends with that has told which runs failed; Python itself ends
# with 1 where it could not even begin


@dataclass(frozen=True)
class Work:
    """The lists of runs of a plan, as a call that can be sent to another machine.

    Args:
        out: The folder of the plan, which every machine sees under the same path.
        plan: As `Plan.as_dict` returns it.
    """

    out: str
    plan: Mapping[str, Any]

    def __call__(self, task: int) -> int:
        """Do the list of this number, see `chains`; returns how many of its runs failed."""
        import torch

        from buarl.results.plan import Plan
        from buarl.results.work import work_on

        print_whatever_comes()
        hold_memory()
        plan = Plan.from_dict(self.plan)
        torch.set_num_threads(plan.threads)
        return work_on(Path(self.out), task, say=_say, plan=plan)

    def checkpoint(self, task: int) -> Any:
        """What submitit asks for when a job is pre-empted: the same call again, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task)


def main(argv: list[str] | None = None) -> int:
    """Do one list of runs, and stop after a step when a signal comes.

    Returns:
        0, `SOME_FAILED`, or 128 and the number of the signal.
    """
    import torch

    from buarl.results.plan import Plan
    from buarl.results.work import work_on
    from buarl.training.loop import StopTraining

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("task", type=int)
    parser.add_argument("plan", type=json.loads, help="as plan.json holds it")
    options = parser.parse_args(argv)
    plan = Plan.from_dict(options.plan)
    print_whatever_comes()
    hold_memory()
    torch.set_num_threads(plan.threads)
    stop = StopOnSignal()

    def wrap(callback: Any) -> StopOnSignal:
        stop.inner = callback
        return stop

    with stop:
        try:
            failed = work_on(options.out, options.task, wrap, say=_say, plan=plan)
            return SOME_FAILED if failed else 0
        except (StopTraining, KeyboardInterrupt):
            return stop.code


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
