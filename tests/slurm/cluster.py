"""Run a Slurm of one node in a folder until standard input closes: `python tests/slurm/cluster.py FOLDER`.

Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge. It listens on 127.0.0.1 only, keeps keys,
sockets, state and logs in FOLDER, writes nothing to /etc, and prints `ready SLURM_CONF` when jobs can be submitted;
FOLDER/bin must be first on PATH then. Whoever starts it holds its standard input: when that process ends, however it
ends, the cluster cancels its jobs and ends too.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODE_MB = 16000  # what the node says that it has
SRUN = """\
#!/bin/sh
# the plugin takes SLURM_CONF out of the environment of srun, which then reads /etc
SLURM_CONF={conf} exec {program} "$@"
"""
MAIN = "/usr/sbin:/usr/bin:/sbin:/bin"

CONFIG = """\
ClusterName=foldline
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
JobRequeue=0
KillWait=3
MinJobAge=300
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:fake:1
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-0
PartitionName=gpu Nodes={host} MaxTime=1-0
"""


def main(folder: Path) -> None:
    """Keep a cluster in a folder until standard input closes."""
    conf = write_config(folder)
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ.get('PATH', '')}:{MAIN}"}
    with running(commands(folder, conf), environment, folder):
        wait_for(lambda: "idle" in output(["sinfo", "--noheader", "--format", "%T"], environment), "an idle node")
        sys.stdout.write(f"ready {conf}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
        cancel_all(environment)


def write_config(folder: Path) -> Path:
    """Write what the daemons read, and return slurm.conf."""
    host, conf = socket.gethostname().split(".")[0], folder / "slurm.conf"
    for name in ("munge", "key", "state", "spool", "bin"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munge wants its socket within reach of everyone, and its key of nobody
    (folder / "key").chmod(0o700)
    key = folder / "key" / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    fields = {"host": host, "folder": folder, "ports": free_ports(2), "cpus": os.cpu_count(), "memory": NODE_MB}
    conf.write_text(CONFIG.format(**fields))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu Type=fake File=/dev/null\n")
    srun = folder / "bin" / "srun"
    srun.write_text(SRUN.format(conf=conf, program=shutil.which("srun")))
    srun.chmod(0o755)
    return conf


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def commands(folder: Path, conf: Path) -> list[list[str]]:
    """Return the daemons, each in the foreground, in the order in which they start."""
    munge = ["munged", "--foreground", "--force", "--num-threads=2"]
    munge += [f"--socket={folder}/munge/socket", f"--key-file={folder}/key/munge.key", f"--pid-file={folder}/munge/pid"]
    munge += [f"--seed-file={folder}/key/seed", f"--log-file={folder}/key/munged.log"]
    return [munge, ["slurmctld", "-D", "-i", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf)]]


@contextlib.contextmanager
def running(daemons: Sequence[Sequence[str]], environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Keep daemons running; they end in reverse order."""
    with contextlib.ExitStack() as stack:
        for command in daemons:
            log = stack.enter_context((folder / f"{command[0]}.out").open("w"))
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(end, process)
            if command[0] == "munged":
                wait_for((folder / "munge" / "socket").exists, "munge's socket")
        yield


def end(process: subprocess.Popen) -> None:
    """End a daemon, with force where it does not end."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cancel_all(environment: dict[str, str]) -> None:
    """Cancel all jobs, which would outlive the daemon that started them."""
    ids = output(["squeue", "--noheader", "--format", "%i"], environment).split()
    if ids:
        output(["scancel", *ids], environment)
        done = lambda: not output(["squeue", "--noheader", "--format", "%i"], environment)  # noqa: E731
        with contextlib.suppress(TimeoutError):
            wait_for(done, "the jobs' end")


def output(command: Sequence[str], environment: dict[str, str]) -> str:
    """Return what a command prints; nothing where it fails."""
    done = subprocess.run(command, env=environment, text=True, check=False, capture_output=True)
    return done.stdout if done.returncode == 0 else ""


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It did not.
    """
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
