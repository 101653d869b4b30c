"""Worker processes: each runs batches of units that it is handed, and says of each unit how it went."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn, cast

from .. import kernels
from ..errors import Bams3Error, InputError
from ..store import Requests, Store
from .inputs import Input, OpenStore
from .jobs import Job, OfOneInput
from .kinds import Exec, Records
from .plan import Plan, Unit

#: A copy of this process starts at once; where that is not safe (macOS), a new one.
_START: Any = mp.get_context("fork" if sys.platform == "linux" else "spawn")


class Worker:
    """A process that runs one batch at a time, a unit of it in so many threads where its kind can.

    Attributes
    ----------
    left
        Units of its batch of which it has not said how they went.
    """

    def __init__(self, plan: Plan, open_store: OpenStore, threads: int) -> None:
        self.connection, theirs = _START.Pipe()
        self.left: list[int] = []
        self.process = _START.Process(
            target=_serve, args=(theirs, plan, open_store, threads, os.getpid()), daemon=True
        )
        self.process.start()
        theirs.close()

    def hand(self, units: Sequence[int]) -> None:
        """Give it a batch of units of one sample and kind."""
        self.left = list(units)
        self.connection.send(self.left)

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """What it said since; EOFError or OSError once it is gone."""
        while self.connection.poll():
            yield self.connection.recv()

    def how_it_died(self) -> str:
        """Signal or exit code, once it is gone."""
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"exit {code}"
        names = {s.value: s.name for s in signal.Signals}
        out_of_memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"{names.get(-code, f'signal {-code}')}{out_of_memory}"

    def stop(self) -> None:
        """End it now, and what it runs."""
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, plan: Plan, open_store: OpenStore, threads: int, parent: int) -> None:
    """The life of a worker."""
    os.setpgid(0, 0)  # tools of exec go with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_group)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    kernels.keep_freed_memory()
    try:
        with contextlib.suppress(_Ended):
            _answer(connection, _Runner(plan, open_store, threads))
    finally:
        if os.getppid() != parent:  # nobody else ends what tools have left
            os.killpg(0, signal.SIGKILL)


def _answer(connection: Connection, runner: _Runner) -> None:
    """Run what comes, until nobody is at the other end."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            for message in runner.run(connection.recv()):
                connection.send(message)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            peak_mb = peak // (1 << 10 if sys.platform == "linux" else 1 << 20)
            connection.send(("idle", peak_mb, runner.requests()))


class _Ended(BaseException):
    """The process is to end: raised wherever it is, so that nothing half-written stays."""


def _end_group(*_: object) -> NoReturn:
    """End this process and its tools; half-written results go with it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    raise _Ended


def _end_with(parent: int) -> None:
    """End when the parent is gone, by whatever it was killed."""
    while os.getppid() == parent:
        time.sleep(0.25)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # handlers run in the main thread alone
    time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


class _Runner:
    """Runs units in this process; keeps the input open that it was asked about last."""

    def __init__(self, plan: Plan, open_store: OpenStore, threads: int) -> None:
        self._plan, self._open, self._threads = plan, open_store, threads
        self._work = open_store(plan.work)
        self._sample, self._input = -1, cast(Input, None)
        self._counted: list[Requests] = [self._work.requests]

    def requests(self) -> dict[str, Any]:
        """What was asked of stores so far."""
        total = Requests()
        for one in self._counted:
            total.add(**one.as_dict())
        return total.as_dict()

    def run(self, numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """How each unit went: ("done", unit, result, seconds) or ("failed", unit, kind, exit, message).

        Units that are asked together and fail are run one by one, so that the others are done.
        """
        units = [self._plan.unit(number) for number in numbers]
        kind = self._plan.kinds[units[0].kind]
        singly = isinstance(kind, (Exec, Records, OfOneInput))  # nothing is run twice
        while units:
            start_s, said = time.perf_counter(), 0
            try:
                for unit, result in zip(units, self._results(units), strict=True):
                    now_s = time.perf_counter()
                    yield "done", unit.number, result, round(now_s - start_s, 6)
                    start_s, said = now_s, said + 1
                return
            except Exception as err:  # noqa: BLE001  whatever a unit does must not end the others
                units = units[said:]
                if singly or len(units) == 1:
                    yield "failed", units.pop(0).number, *_failure(err)
                    continue
            for unit in units:
                yield from self.run([unit.number])
            return

    def _results(self, units: Sequence[Unit]) -> Iterator[Any]:
        kind = self._plan.kinds[units[0].kind]
        source = self._input_of(units[0].sample, kind.input)
        keys = [self._plan.key(unit.number) for unit in units]
        job = Job(self._plan.samples[units[0].sample].name, source, self._work, keys, self._threads)
        return kind.run(job, [self._plan.place_of(unit) for unit in units])

    def _input_of(self, number: int, what: type[Input]) -> Input:
        if self._sample != number:
            sample = self._plan.samples[number]
            found = what(sample.store, self._opened)
            if found.identity != sample.identity:
                hint = "make the plan anew: what is done of others stays done"
                message = f"{sample.store} is not what it was when this was planned"
                raise InputError(message, kind="input-changed", hint=hint)
            self._sample, self._input = number, found
        return self._input

    def _opened(self, address: str) -> Store:
        """A store, whose requests are counted."""
        store = self._open(address)
        if not any(one is store.requests for one in self._counted):
            self._counted.append(store.requests)
        return store


def _failure(err: Exception) -> tuple[str, int, str]:
    """Kind, exit code and one line of an error."""
    if isinstance(err, Bams3Error):
        return err.kind, err.exit_code, " ".join(str(err).split())
    if isinstance(err, MemoryError):
        return "out-of-memory", 4, "out of memory"
    if isinstance(err, OSError):
        return "input-output", 4, f"{err.filename or ''}: {err.strerror or err}".removeprefix(": ")
    where = traceback.extract_tb(err.__traceback__)[-1]
    return "bug", 1, f"{type(err).__name__}: {err} ({where.filename}:{where.lineno})"
