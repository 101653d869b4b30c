"""Logs of attempts: what was begun, done, and went wrong, and so what is left to do.

An attempt is one run of one slice. Its log is a few objects of JSON lines under
``logs/PLAN/SLICE/ATTEMPT.PART.jsonl``: an object cannot be appended to, so the last one is written anew,
whole, until it is large. Its last line is a checksum of those before. A unit is begun before it is run: what
was begun and never ended tells which unit took its process with it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..format.directory import crc32
from ..store import Store
from ..store.base import Entry, MissingObjectError
from .plan import Plan

LOGS = "logs/"
#: What is logged is written at the latest after this time; a log says at least so often that it is alive.
FLUSH_S, BEAT_S = 3.0, 15.0
#: A runner on another machine that wrote nothing for so long is taken to be dead.
SILENT_S = 60.0
_PART_BYTES = 1 << 20
#: A unit that took its process with it this often, and alone, is set aside. Where the runner itself went,
#: which may have been a machine that was taken away, it must have been alone twice.
MOST_DEATHS = 2


class Receipt(NamedTuple):
    """That a unit is done: its result, and the seconds that it took."""

    result: Any
    seconds: float


class Failure(NamedTuple):
    """That a unit failed, and how; ``exit_code`` as in errors.py."""

    kind: str
    exit_code: int
    message: str

    @property
    def is_final(self) -> bool:
        """Whether another try would end the same way: input and bytes are as they are."""
        return self.exit_code in (2, 3)


# ---- writing ----


def folder_of(plan: Plan, slice_number: int) -> str:
    """Where the logs of a slice lie."""
    return f"{LOGS}{plan.id}/{slice_number:06}/"


class Journal:
    """The log of this attempt at a slice; ``job`` is what the scheduler calls it."""

    def __init__(self, work: Store, plan: Plan, slice_number: int, job: str) -> None:
        self._work = work
        self.attempt = f"{int(time.time() * 1000):013}-{secrets.token_hex(3)}"
        self._key = folder_of(plan, slice_number) + self.attempt
        self._part, self._lines, self._size, self._clean = 0, list[str](), 0, True
        self._flushed_s = time.monotonic()
        who = {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid()), "job": job}
        self.write("attempt", **who, slices=plan.n_slices)
        self.flush()

    def write(self, event: str, **fields: Any) -> None:
        """Log an event; it is written to the work folder with the next flush."""
        line = json.dumps({"event": event, "at": round(time.time(), 1), **fields}, separators=(",", ":"))
        self._lines.append(line)
        self._size += len(line) + 1
        self._clean = False

    def tick(self) -> None:
        """Flush what has waited for long, or say that this attempt is alive."""
        age_s = time.monotonic() - self._flushed_s
        if age_s >= BEAT_S and self._clean:
            self.write("beat")
        if age_s >= FLUSH_S and not self._clean:
            self.flush()

    def flush(self) -> None:
        """Write all that was logged."""
        body = "".join(f"{line}\n" for line in self._lines).encode()
        self._work.put(f"{self._key}.{self._part:04}.jsonl", body + f"{crc32(body):08x}\n".encode())
        self._flushed_s, self._clean = time.monotonic(), True
        if self._size >= _PART_BYTES:
            self._part, self._lines, self._size = self._part + 1, [], 0


def _born(pid: int) -> str:
    """When a process began, where it can be told: numbers of processes come again."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return line.rsplit(")", 1)[1].split()[19]  # the name before may hold anything
    except (OSError, IndexError):
        return ""


# ---- reading ----


@dataclass
class Attempt:
    """What one log says.

    Attributes
    ----------
    begun
        Units that were begun, and whether each was alone.
    done, failed
        Receipts by key and unit, and failures by unit.
    died
        Units that took a worker with them, and whether each was alone.
    ended
        The last line, where the attempt came to an end of its own.
    """

    slice_number: int
    name: str
    who: dict[str, Any] = field(default_factory=dict)
    last_s: float = 0.0
    begun: dict[int, bool] = field(default_factory=dict)
    done: dict[int, Receipt] = field(default_factory=dict)
    keys: dict[str, Receipt] = field(default_factory=dict)
    failed: dict[int, Failure] = field(default_factory=dict)
    died: list[tuple[int, bool]] = field(default_factory=list)
    ended: dict[str, Any] | None = None
    damaged: bool = False

    def take(self, line: dict[str, Any]) -> None:
        """Take an event."""
        event = line["event"]
        self.last_s = max(self.last_s, float(line["at"]))
        if event == "attempt":
            self.who = line
        elif event == "begin":
            self.begun |= dict.fromkeys(line["units"], bool(line["alone"]))
        elif event == "done":
            receipt = Receipt(line["result"], float(line["s"]))
            self.done[line["unit"]] = self.keys[line["key"]] = receipt
            self.begun.pop(line["unit"], None)
        elif event == "failed":
            self.failed[line["unit"]] = Failure(line["kind"], int(line["exit"]), str(line["message"]))
            self.begun.pop(line["unit"], None)
        elif event == "died":
            self.died += [(unit, bool(line["alone"])) for unit in line["units"]]
            for unit in line["units"]:
                self.begun.pop(unit, None)
        elif event == "end":
            self.ended, self.begun = line, {}

    def is_running(self, now_s: float, job: str = "") -> bool:
        """Whether its process may still be there; ``job`` asks, which may have been requeued."""
        if self.ended is not None or not self.who:
            return False
        if self.who["host"] == socket.gethostname():
            return bool(self.who["born"]) and _born(self.who["pid"]) == self.who["born"]
        if job and self.who["job"] == job:
            return False  # this job, before it was started anew
        return now_s - self.last_s < SILENT_S


def read_attempts(work: Store, prefix: str) -> Iterator[Attempt]:
    """Attempts whose logs begin with ``prefix``, oldest first in each slice."""
    entries = [entry for entry in work.entries(prefix) if entry.key.endswith(".jsonl")]
    found: dict[str, Attempt] = {}
    for entry, lines in zip(entries, _read(work, entries), strict=True):
        *_, number, file = entry.key.split("/")
        name = file.split(".")[0]
        attempt = found.setdefault(f"{number}/{name}", Attempt(int(number), name))
        attempt.damaged |= lines is None
        for line in lines or ():
            attempt.take(line)
    yield from found.values()


def _read(work: Store, entries: Iterable[Entry]) -> Iterator[list[dict[str, Any]] | None]:
    """Lines of logs, several fetched at a time from afar; None for one that is damaged."""

    def read(entry: Entry) -> list[dict[str, Any]] | None:
        try:
            return _lines(work.get(entry.key))
        except MissingObjectError:
            return []

    if work.parallel == 1:
        yield from map(read, entries)
        return
    with ThreadPoolExecutor(work.parallel) as pool:
        yield from pool.map(read, entries)


def _lines(data: bytes) -> list[dict[str, Any]] | None:
    body, check = data[:-9], data[-9:]
    if check != f"{crc32(body):08x}\n".encode():
        return None
    return [json.loads(line) for line in body.splitlines()]


# ---- what is left ----


@dataclass
class State:
    """What all attempts together say of units.

    Attributes
    ----------
    done, failed
        Receipts, and the last failure of what is not done, by unit.
    suspects
        Units that were begun when their process went, which are run alone; and how often.
    running
        Units that a runner may be at.
    set_aside
        Suspects that are not run again.
    """

    done: dict[int, Receipt] = field(default_factory=dict)
    failed: dict[int, Failure] = field(default_factory=dict)
    suspects: dict[int, int] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    set_aside: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, attempts: Iterable[Attempt], now_s: float, job: str = "") -> State:
        """The state that attempts at one plan left, as a job of this name sees it."""
        state = cls()
        alone: dict[int, int] = {}
        for attempt in attempts:
            state.done |= attempt.done
            for unit, failure in attempt.failed.items():
                state.failed[unit] = failure
            lost = [(unit, was_alone * MOST_DEATHS) for unit, was_alone in attempt.died]
            if attempt.is_running(now_s, job):
                state.running |= attempt.begun.keys()
            else:
                lost += attempt.begun.items()
            for unit, weight in lost:
                state.suspects[unit] = state.suspects.get(unit, 0) + 1
                alone[unit] = alone.get(unit, 0) + weight
        for unit in state.done:
            state.failed.pop(unit, None)
            state.suspects.pop(unit, None)
            state.running.discard(unit)
        state.set_aside = {unit for unit, n in state.suspects.items() if min(n, alone[unit]) >= MOST_DEATHS}
        return state


def receipts(work: Store) -> Mapping[str, Receipt]:
    """Every receipt in a work folder by its unit's key, whose files are there, and as long as they were."""
    found: dict[str, Receipt] = {}
    for attempt in read_attempts(work, LOGS):
        found |= attempt.keys
    files = {key: _files(receipt.result) for key, receipt in found.items()}
    folders = {file.partition("/")[0] for several in files.values() for file in several}
    there = {one.key: one.size_bytes for folder in sorted(folders) for one in work.entries(f"{folder}/")}
    return {key: found[key] for key, several in files.items() if several.items() <= there.items()}


def _files(result: Any) -> dict[str, int]:
    """Files of a result in the work folder, and their bytes."""
    if not isinstance(result, dict) or "file" not in result:
        return {}
    return {result["file"]: result["bytes"], **result.get("beside", {})}
