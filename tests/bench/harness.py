"""Measures programs as users run them: cold processes, every repeat kept, no ratio of different work."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_EVERY_S = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Command = tuple[str, ...]
Row = dict[str, Any]


class NotTheSameWorkError(SystemExit):
    """Two rows whose answers differ: there is no ratio of them."""


@dataclass(frozen=True)
class Entry:
    """One tool's way of doing a task.

    Attributes
    ----------
    commands
        Run one after the other, each as a process of its own, and timed together. The word ``bams3``
        stands for this checkout.
    form
        What tells them from other ways of the tool, as a table shows it.
    makes
        The files or folders that they make: removed before each repeat.
    check
        A command whose output holds the records, run once and not timed. Without it, the integers that
        ``commands`` print are added up.
    as_text
        Whether ``check`` prints records, one a line, and so must print the same bytes for every tool;
        otherwise it prints how many there are.
    """

    task: str
    tool: str
    commands: tuple[Command, ...]
    form: str
    makes: tuple[str, ...] = ()
    check: Command = ()
    as_text: bool = False


@dataclass
class Run:
    """What one repeat took, over all its processes, and what they printed."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    printed: list[bytes] = field(default_factory=list)


def measure(entries: Sequence[Entry], folder: Path, repeats: int = 3) -> list[Row]:
    """A row for each tool at one task; tools take turns, so that a slow minute is slow for all."""
    runs: list[list[Run]] = [[] for _ in entries]
    for _ in range(repeats):
        for entry, mine in zip(entries, runs, strict=True):
            mine.append(run_all(entry, folder))
    rows = [_row(entry, mine, folder) for entry, mine in zip(entries, runs, strict=True)]
    for row in rows[1:]:
        ratio(row, rows[0])
    return rows


def ratio(peer: Mapping[str, Any], ours: Mapping[str, Any]) -> float:
    """Our median time as a share of a peer's.

    Raises
    ------
    NotTheSameWorkError
        The two did not make the same records.
    """
    for what in ("task", "records", "sha256"):
        if ours[what] != peer[what]:
            raise NotTheSameWorkError(
                f"{ours['task']}: not the same work, no ratio: {what} of {ours['tool']}: {ours[what]}, "
                f"of {peer['tool']}: {peer[what]}"
            )
    return statistics.median(ours["seconds"]) / statistics.median(peer["seconds"])


def machine() -> dict[str, Any]:
    """Where and when, and of which code."""
    commit = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+changes"]
    return {
        "commit": subprocess.run(commit, capture_output=True, text=True).stdout.strip() or "unknown",
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def cpu_model() -> str:
    """As the system names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read_rows(path: Path) -> list[Row]:
    """Rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# ---- one repeat ----


def run_all(entry: Entry, folder: Path) -> Run:
    """One repeat of an entry."""
    _remove(entry, folder)
    total = Run()
    for command in entry.commands:
        _run(command, folder, total, keep=not entry.check)
    return total


def _run(command: Command, folder: Path, total: Run, keep: bool) -> None:
    """Run a command to its end and add what it took; what it prints is kept or goes to /dev/null."""
    with tempfile.TemporaryFile() as messages, tempfile.TemporaryFile() as printed:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv(command),
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=printed if keep else subprocess.DEVNULL,
            stderr=messages,
        )
        tree = _TreeMemory(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        total.seconds += time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        total.cpu_seconds += usage.ru_utime + usage.ru_stime
        total.peak_bytes = max(total.peak_bytes, tree.stop())
        printed.seek(0)
        total.printed.append(printed.read())
        if process.returncode:
            messages.seek(0)
            words = messages.read().decode(errors="replace").strip()
            raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{words}")


def argv(command: Command) -> list[str]:
    """What to execute for a command of an entry; ``python`` is the one that runs this."""
    ours = {"bams3": [sys.executable, "-m", "bams3"], "python": [sys.executable]}
    return [*ours.get(command[0], [command[0]]), *command[1:]]


def environment() -> dict[str, str]:
    """That of this process, with this checkout's bams3 before any other."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


class _TreeMemory(threading.Thread):
    """Samples the resident memory of a process and its descendants, added up, and the process's own peak.

    Not ``ru_maxrss``, which is never below the memory of the process that started it: this one.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over, self._peak_bytes = pid, threading.Event(), 0
        self.start()

    def run(self) -> None:
        """Sample until told to stop."""
        is_over = False
        while not is_over:
            self._peak_bytes = max(self._peak_bytes, _tree_bytes(self._pid), _own_peak_bytes(self._pid))
            is_over = self._over.wait(SAMPLE_EVERY_S)

    def stop(self) -> int:
        """The most that was seen, in bytes."""
        self._over.set()
        self.join()
        return self._peak_bytes


def _own_peak_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) << 10 if found else 0
    return 0


def _tree_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(OSError, IndexError):  # it may end while it is looked at
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_tree_bytes(int(child)) for child in (task / "children").read_text().split())
    return total


# ---- rows ----


def _row(entry: Entry, runs: list[Run], folder: Path) -> Row:
    records, sha256 = _answer(entry, runs, folder)
    commands = [" ".join(command) for command in entry.commands]
    return {
        "task": entry.task,
        "tool": entry.tool,
        "version": version(entry.tool),
        "command": commands[0],
        "form": entry.form,
        "processes": len(commands),
        "seconds": [round(run.seconds, 4) for run in runs],
        "cpu_seconds": [round(run.cpu_seconds, 3) for run in runs],
        "peak_bytes": [run.peak_bytes for run in runs],
        "records": records,
        "sha256": sha256,
        "bytes": sum(_size_bytes(folder / name) for name in entry.makes),
        "cache": "warm",
        **machine(),
    }


def _answer(entry: Entry, runs: list[Run], folder: Path) -> tuple[int, str]:
    """(records, digest of their text if there is one), the same in every repeat."""
    if entry.check:
        return _checked(entry, folder)
    answers = {sum(integers(text) for text in run.printed) for run in runs}
    if len(answers) != 1:
        raise NotTheSameWorkError(f"{entry.task}: repeats of {entry.tool} disagree: {answers}")
    return answers.pop(), ""


def _checked(entry: Entry, folder: Path) -> tuple[int, str]:
    command = subprocess.Popen(
        argv(entry.check), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert command.stdout is not None
    lines, digest, head = 0, hashlib.sha256(), b""
    with command.stdout:
        while data := command.stdout.read(1 << 20):
            head = head or data
            lines += data.count(b"\n")
            digest.update(data)
    if command.wait():
        raise SystemExit(f"{' '.join(entry.check)}: exit status {command.returncode}")
    return (lines, digest.hexdigest()) if entry.as_text else (integers(head), "")


def integers(text: bytes) -> int:
    """The sum of a count, or of the last two columns of ``samtools idxstats``."""
    return sum(int(field) for line in text.splitlines() for field in line.split(b"\t")[-2:])


def version(tool: str) -> str:
    """The first line of what a tool says of itself, without its name."""
    if tool == "pysam":
        return metadata.version(tool)
    command = argv((tool, "--version"))
    said = subprocess.run(command, capture_output=True, env=environment()).stdout.decode(errors="replace")
    return said.partition("\n")[0].removeprefix(tool).strip()


def _size_bytes(path: Path) -> int:
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    return path.stat().st_size


def _remove(entry: Entry, folder: Path) -> None:
    for name in entry.makes:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
