"""A real SLURM on this machine, for tests: a controller and two nodes of four CPUs, all processes of root.

    with SlurmCluster() as slurm:                               # in about 0.5 s: one for a test
        job_id = slurm.sbatch("--array=0-7", "--wrap", "hostname")
        assert {task.state for task in slurm.wait(job_id).values()} == {"COMPLETED"}
        slurm.kill_node("n2")                                   # as a power cut does
        slurm.revive_node("n2")

One at a time: SLURM's commands look for /etc/slurm/slurm.conf, whatever the environment says (Snakemake's
jobs lose SLURM_CONF), so a link there leads to this cluster while it runs, and a lock makes others wait. A
configuration that is not a test's is never touched. There is no accounting: sacct knows nothing.

Every daemon has a keeper, a process that is the parent of all that the daemon leaves behind, and that kills
all of it when its standard input ends: at the end, or when the tests' process dies, however it dies.
"""

import contextlib
import ctypes
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

NODES = ("n1", "n2")
START_S = 60.0  # a daemon that does not answer by then never will
LINK = Path("/etc/slurm/slurm.conf")
LOCK = Path(tempfile.gettempdir(), "bams3-slurm.lock")
PREFIX = "bams3-slurm-"  # of a cluster's folder
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
FINAL = set("BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED TIMEOUT".split())

_CONFIG = """
ClusterName=bams3test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job whose node died starts again after cred_expire seconds; 120 if nothing is said.
AuthInfo=socket={folder}/run/munge.socket,cred_expire=10
MessageTimeout=60
# No cgroups and no systemd, hence no limits on memory either.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# Four CPUs a node, whatever the machine has; of two nodes the idler one gets the job.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory,CR_LLN
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
# Without it a job takes all the memory of its node, and jobs run one after the other.
DefMemPerCPU=500
JobRequeue=1
ReturnToService=2
KillWait=1
# squeue tells of a job for so long after its end.
MinJobAge=300
MaxArraySize=10001
MaxJobCount=50000
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=8000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Task:
    """A task of an array, or a job that is none, as the controller remembers it."""

    job_id: int  # of the whole array
    task: int  # 0 for a job that is no array
    name: str
    comment: str
    state: str
    exit_code: int  # 0 where a signal ended it
    node: str  # "" before it runs
    mem_mb: int  # reserved
    restarts: int


def why_not() -> str:
    """Why no cluster can run here; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a SLURM of its own needs Linux and root"
    if missing := [program for program in PROGRAMS if not shutil.which(program, path=PATH)]:
        return f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
    if os.path.lexists(LINK) and not _is_ours():
        return f"{LINK} is there, and no test put it there"
    return ""


class SlurmCluster:
    """The cluster, running within ``with``."""

    def __init__(self, wait_s: float = 900.0) -> None:
        self._wait_s = wait_s  # for another cluster on this machine to end
        self._keepers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "SlurmCluster":
        with contextlib.ExitStack() as stack:
            stack.enter_context(_only_one(self._wait_s))
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._configure()
            stack.callback(LINK.unlink, missing_ok=True)
            LINK.parent.mkdir(exist_ok=True)
            LINK.symlink_to(self.folder / "slurm.conf")
            stack.callback(self._stop)
            self._start()
            self._at_end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._at_end.close()

    # ---- jobs ----

    def sbatch(self, *args: str) -> int:
        """Submit a job; its number."""
        return int(self._run("sbatch", "--parsable", *args))

    def jobs(self, job_id: int | None = None) -> list[Task]:
        """Every task that the controller remembers, of one job or of all."""
        which = [] if job_id is None else [str(job_id)]
        return [
            task
            for line in self._run("scontrol", "--oneliner", "show", "job", *which).splitlines()
            for task in _tasks(line)
        ]

    def wait(self, job_id: int, timeout_s: float = 60.0) -> dict[int, Task]:
        """The tasks of a job by their number, once all of them have ended."""

        def ended() -> bool:
            return all(task.state in FINAL for task in self.jobs(job_id))

        self.until(ended, timeout_s, f"job {job_id} did not end")
        return {task.task: task for task in self.jobs(job_id)}

    def wait_to_run(self, job_id: int, timeout_s: float = 60.0) -> Task:
        """The first task of a job, once it runs."""
        self.until(lambda: self.jobs(job_id)[0].state == "RUNNING", timeout_s, f"job {job_id} did not run")
        return self.jobs(job_id)[0]

    def cancel(self, job_id: int) -> None:
        self._run("scancel", str(job_id))

    def until(self, is_so: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        """Wait for something; what the daemons said is in the error if it does not come."""
        end_s = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > end_s:
                raise TimeoutError(f"{complaint} in {timeout_s:g} s\n{self._logs()}")
            time.sleep(0.1)

    # ---- nodes ----

    def kill_node(self, name: str) -> None:
        """All processes of a node die at once, its jobs too, and the controller learns of it."""
        _end(self._keepers.pop(name))
        self._run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def revive_node(self, name: str) -> None:
        """The node is back, without what ran on it; nothing if it was never gone."""
        if name not in self._keepers:
            self._keep(name, "slurmd", "-D", "-f", f"{self.folder}/slurm.conf", "-N", name)
        self.until(lambda: self._is_up(name), START_S, f"{name} did not come up")

    def _is_up(self, name: str) -> bool:
        told = self._run("scontrol", "--oneliner", "show", "node", name)
        return re.search(r" State=(\S+) ", told)[1] in ("IDLE", "MIXED", "ALLOCATED")

    # ---- daemons ----

    def _configure(self) -> None:
        self.folder.chmod(0o755)  # munged asks for it
        for name in ("run", "log", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        names = {"folder": self.folder, "host": socket.gethostname(), "ports": _free_ports(3)}
        (self.folder / "slurm.conf").write_text(_CONFIG.format(**names))

    def _start(self) -> None:
        run, log, config = self.folder / "run", self.folder / "log", f"{self.folder}/slurm.conf"
        munge = ["--socket", run / "munge.socket", "--key-file", self.folder / "munge.key"]
        munge += [
            "--pid-file",
            run / "munged.pid",
            "--seed-file",
            run / "seed",
            "--log-file",
            log / "munged.log",
        ]
        self._keep("munged", "munged", "--foreground", *map(str, munge))
        self.until((run / "munge.socket").is_socket, START_S, "munged did not start")
        self._keep("slurmctld", "slurmctld", "-D", "-f", config)
        self.until(self._answers, START_S, "slurmctld did not start")
        for name in NODES:
            self._keep(name, "slurmd", "-D", "-f", config, "-N", name)
        for name in NODES:
            self.revive_node(name)

    def _answers(self) -> bool:
        return subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0

    def _keep(self, name: str, *command: str) -> None:
        """Start a daemon under a keeper, out of reach of a Ctrl-C that is meant for the tests."""
        keeper = [sys.executable, "-S", __file__, *command]
        errors = self.folder / f"log/{name}.errors"
        with errors.open("ab") as sink:
            self._keepers[name] = subprocess.Popen(
                keeper, stdin=subprocess.PIPE, stdout=sink, stderr=sink, start_new_session=True
            )

    def _stop(self) -> None:
        for name in reversed(list(self._keepers)):
            _end(self._keepers.pop(name))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _logs(self) -> str:
        logs = sorted((self.folder / "log").iterdir())
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)


def _tasks(line: str) -> list[Task]:
    """What a line of scontrol tells of: a task, or those of an array that have not started, by the first."""
    told: dict[str, str] = {}
    for key, value in re.findall(r"(?:^| )([A-Za-z]+)=(\S*)", line):
        told.setdefault(key, value)
    if "JobId" not in told:
        return []
    mem, unit = re.search(r"mem=(\d+)([MG])", line).groups()
    task = Task(
        job_id=int(told.get("ArrayJobId", told["JobId"])),
        task=int(re.match(r"\d+", told.get("ArrayTaskId", "0"))[0]),
        name=told["JobName"],
        comment=told.get("Comment", ""),
        state=told["JobState"],
        exit_code=int(told["ExitCode"].partition(":")[0]),
        node=told.get("NodeList", "").replace("(null)", ""),
        mem_mb=int(mem) * {"M": 1, "G": 1024}[unit],
        restarts=int(told["Restarts"]),
    )
    return [task]


def _free_ports(n: int) -> list[int]:
    """Ports below those that the kernel gives to clients, so that nobody takes them before the daemons do."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == n:
            return found
    raise RuntimeError("no free ports")


# ------------------------------------------------------------------------------------------ one at a time


@contextlib.contextmanager
def _only_one(wait_s: float):
    """Hold the machine's lock; what an earlier cluster left is gone then."""
    with LOCK.open("w") as lock:
        _lock(lock, wait_s)
        if os.path.lexists(LINK):
            if not _is_ours():
                raise RuntimeError(f"{LINK} is there, and no test put it there")
            _bury(LINK.readlink().parent)
        yield


def _lock(lock: IO[str], wait_s: float) -> None:
    end_s = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise TimeoutError(f"another cluster holds {LOCK}") from None
            time.sleep(0.5)


def _is_ours() -> bool:
    return LINK.is_symlink() and LINK.readlink().parent.name.startswith(PREFIX)


def _bury(folder: Path) -> None:
    """Remove the cluster of a run that was killed: its keepers are about to, or were killed themselves."""
    end_s = time.monotonic() + 2
    while _processes_of(folder) and time.monotonic() < end_s:
        time.sleep(0.1)
    _kill(lambda: _processes_of(folder))
    LINK.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _processes_of(folder: Path) -> list[int]:
    """Daemons have the folder in their arguments, jobs in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if os.fsencode(folder) in told:
                found.append(int(entry.name))
    return found


# ---------------------------------------------------------------------------------------------- keepers


def _end(keeper: "subprocess.Popen[bytes]") -> None:
    """All of a keeper's processes are gone when this returns."""
    keeper.stdin.close()
    keeper.wait(30)


def _keep(command: list[str]) -> None:
    """The process of a keeper: ends, with all that descends from it, when its standard input does."""
    pr_set_child_subreaper = 36  # orphans below become this process's children, not init's
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)
    subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | {"PATH": PATH})
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # what dies is gone at once: SLURM takes a zombie for a process
    sys.stdin.read()
    _kill(_descendants)
    os._exit(0)


def _descendants() -> list[int]:
    """Every process below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found = list(children.get(os.getpid(), []))
    for pid in found:  # grows
        found += children.get(pid, [])
    return found


def _kill(processes: Callable[[], list[int]]) -> None:
    """Kill until none is left; a daemon may start another while it is being killed."""
    end_s = time.monotonic() + 20
    while found := processes():
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end_s:
            raise TimeoutError(f"cannot kill {found}")
        time.sleep(0.02)


if __name__ == "__main__":
    _keep(sys.argv[1:])
