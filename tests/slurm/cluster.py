"""A real Slurm of one node on this machine, for the length of a test: munged, slurmctld, slurmd.

Needs Debian's packages slurm-wlm and munge, and root. Nothing outside a temporary folder is
written, no service of the system is started or stopped, and all three processes end with the test.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
CONF = """ClusterName=buarltest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,requeue_delay=0
ReturnToService=2
MpiDefault=none
JobRequeue=1
KillWait=5
SlurmdTimeout=60
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A running Slurm; yields the environment in which its commands find it."""
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    conf = folder / "slurm.conf"
    controller, node = _free_port(), _free_port()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 // 2
    host = socket.gethostname().partition(".")[0]
    facts = {"host": host, "cpus": os.cpu_count(), "memory": memory, "folder": folder}
    conf.write_text(CONF.format(controller=controller, node=node, **facts))
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munged += [f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"]
    munged += [f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log"]
    commands = (munged, ["slurmctld", "-D", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf)])
    processes: list[subprocess.Popen] = []
    try:
        for command in commands:
            log = (folder / f"{command[0]}.out").open("wb")
            processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
            )
            time.sleep(1)
        _wait_for_node(environment, folder)
        yield environment
    finally:
        subprocess.run(["scancel", "--full", "--user=root"], env=environment, check=False)
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%t"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() in ("idle", "mix", "alloc"):
            return
        time.sleep(1)
    logs = "\n".join(
        f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in folder.glob("*.log")
    )
    raise RuntimeError(f"the node did not come up: {done.stdout} {done.stderr}\n{logs}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
