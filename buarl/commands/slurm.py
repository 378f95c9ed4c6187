"""The launcher for a Slurm cluster: one array of jobs for a plan, through submitit.

Every job does one list of runs, as a process of the local launcher does. A job that is pre-empted,
reaches its time limit or is requeued by hand begins the same list again: what is done is skipped,
and the run that was cut off goes on from its last checkpoint, bit for bit.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from buarl.commands.work import Work
from buarl.data.text import read_text
from buarl.results.plan import Plan, chains, states_of
from buarl.training.checkpoint import write_json

FOLDER, JOBS = "slurm", "jobs.json"
MINUTES = 24 * 60
REQUEUES = 100  # after so many time limits a job is not sent again
OURS = {"time": "timeout_min", "mem": "mem", "partition": "partition", "gpus": "gpus_per_node"}
KNOWN = (*OURS, "account", "qos", "gres", "constraint", "exclude", "comment")


def launch_slurm(
    out: Path,
    plan: Plan,
    tasks: Sequence[int],
    jobs: int,
    options: Mapping[str, Any],
    say: Callable[[str], None],
) -> list[str]:
    """Send lists of a plan to Slurm and come back at once; what waits or runs there is not sent.

    Args:
        out: The folder of the plan, on a disk that all machines share.
        plan: The plan.
        tasks: Numbers of the lists, see `chains`.
        jobs: How many jobs of the array run at once.
        options: What Slurm wants besides: time (minutes), mem, partition, gpus, account, qos, gres,
            constraint, exclude, comment.
        say: Called with lines of text.
    Returns:
        Ids of the jobs.
    Raises:
        ValueError: no submitit, no Slurm on this machine, or an unknown option.
    """
    try:
        import submitit
    except ImportError as error:
        raise ValueError("--launcher slurm needs submitit: pip install 'buarl[cluster]'") from error
    if unknown := sorted(set(options) - set(KNOWN)):
        raise ValueError(f"--slurm takes {list(KNOWN)}, got {unknown}")
    if shutil.which("sbatch") is None:
        raise ValueError("--launcher slurm needs Slurm's sbatch, which is not on the path here")
    work, alive = chains(plan.runs(), plan.root), living(out)
    for line in lost(out, plan):
        say(line)
    there = [task for task, names in enumerate(work) if alive & set(names)]
    tasks = [task for task in tasks if task not in there]
    say(f"{len(there)} lists wait or run on the cluster; {len(tasks)} more are sent")
    if not tasks:
        return []
    executor = submitit.SlurmExecutor(folder=out / FOLDER, max_num_timeout=REQUEUES)
    executor.update_parameters(**_parameters(plan, jobs, options))
    sent = executor.map_array(Work(str(out), plan.as_dict()), tasks)
    ids = [job.job_id for job in sent]
    theirs = {name: id_ for task, id_ in zip(tasks, ids, strict=True) for name in work[task]}
    write_json(out / FOLDER / JOBS, known_jobs(out) | theirs)
    say(f"sent as array {ids[0].partition('_')[0]}; summary and failures: {out / 'summary.md'}")
    return ids


def _parameters(plan: Plan, jobs: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What submitit is told: our few words under its names, the others as Slurm has them."""
    own = {"timeout_min": MINUTES} | {OURS[k]: v for k, v in options.items() if k in OURS}
    more = {key: value for key, value in options.items() if key not in OURS}
    time = own.pop("timeout_min")
    partition = {"partition": own.pop("partition")} if "partition" in own else {}
    return {
        "job_name": "buarl",
        "time": int(time),
        "cpus_per_task": plan.threads,
        "array_parallelism": jobs,
        "additional_parameters": {"requeue": True, "open_mode": "append", **more},
        **partition,
        **own,
    }


def known_jobs(out: Path) -> dict[str, str]:
    """The last job of every run that was sent, by its name; lists have other numbers later."""
    path = out / FOLDER / JOBS
    if not path.is_file():
        return {}
    try:
        jobs = json.loads(read_text(path))
        found = {str(name): str(job) for name, job in jobs.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged, it names no jobs ({error})") from error
    if any(name.isdigit() for name in found):
        raise ValueError(
            f"{path}: an earlier version of buarl wrote it; once its jobs have ended, delete it"
        )
    return found


def living(out: Path) -> set[str]:
    """Names of the runs whose jobs wait or run on the cluster."""
    jobs = known_jobs(out)
    if not jobs:
        return set()
    command = ["squeue", "--noheader", "--array", "--format=%i"]  # what has ended is not there
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"squeue failed: {' '.join(done.stderr.split())}")
    here = set(done.stdout.split())
    return {name for name, job in jobs.items() if job in here}


def lost(out: Path, plan: Plan) -> list[str]:
    """Runs whose job has left the cluster without a word, each with the log of its job.

    Args:
        out: The folder of the plan. plan: The plan.
    """
    alive, jobs = living(out), known_jobs(out)
    found = []
    for name, state in states_of(out, plan).items():
        if state == "cut off" and name in jobs and name not in alive:
            log = out / FOLDER / f"{jobs[name]}_0_log.err"
            found.append(f"{name}: job {jobs[name]} has left the cluster before its end ({log})")
    return found
