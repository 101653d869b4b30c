"""A slice, run: units in worker processes, each begun in the log before it is run, and recorded after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from ..errors import DeadlineError
from ..store import Requests
from .inputs import OpenStore
from .jobs import Kind
from .journal import Failure, Journal, State, folder_of, read_attempts
from .plan import Plan
from .worker import Worker

#: A batch is of units of one sample and kind, that take about this long together, and no more than so many.
#: The last ones are shorter, to share what is left, but no shorter than it takes to hand one over.
_BATCH_S, _BATCH_UNITS, _LEAST_S = 1.0, 500, 0.1
_WAIT_S = 1.0


@dataclass
class Summary:
    """How a slice went; all of it where ``failed`` and ``set_aside`` are empty.

    Attributes
    ----------
    units, done_before
        Units of the slice, and those that were done when it began.
    done, failed, set_aside
        Units that were done now; failures by unit; units that ended their process too often.
    seconds, peak_mb, requests
        Of this run: by the clock; the largest worker's memory; and what was asked of stores.
    """

    slice_number: int
    units: int
    done_before: int = 0
    done: int = 0
    failed: dict[int, Failure] = field(default_factory=dict)
    set_aside: list[int] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: int = 0
    requests: Requests = field(default_factory=Requests)


def run_slice(
    plan: Plan,
    slice_number: int,
    open_store: OpenStore,
    *,
    workers: int = 1,
    stop_after_s: float | None = None,
    retry_failed: bool = False,
    job: str = "",
    on_done: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Run what is left of a slice.

    Parameters
    ----------
    stop_after_s
        Seconds after which no more is begun and what runs is stopped.
    retry_failed
        Whether units are run again that failed for good, or that were set aside.
    job
        What the scheduler calls what runs this: the same where a job was requeued.
    on_done
        Called with how many units were done or failed.

    Raises
    ------
    DeadlineError
        ``deadline``: stopped by ``stop_after_s``.
    InputError, StoreError
        ``bad-slice``; those of the work folder. Units that fail are in the summary.

    Notes
    -----
    Units that were begun when an earlier process went are run last, one by one, so that one that takes its
    process with it takes nothing else.
    """
    work = open_store(plan.work)
    before = work.requests.as_dict()
    units = plan.slice_units(slice_number)
    state = State.of(read_attempts(work, folder_of(plan, slice_number)), time.time(), job)
    left = [unit for unit in plan.to_do(slice_number) if unit not in state.done]
    summary = Summary(slice_number, len(units), len(units) - len(left))
    if not retry_failed:
        summary.failed = {unit: failure for unit, failure in state.failed.items() if failure.is_final}
        summary.set_aside = sorted(state.set_aside)
        left = [unit for unit in left if unit not in summary.failed and unit not in state.set_aside]
    if left:
        deadline_s = None if stop_after_s is None else time.monotonic() + stop_after_s
        run = _Run(plan, open_store, Journal(work, plan, slice_number, job), summary, deadline_s, on_done)
        run.all_of(left, set(state.suspects), workers)
    after = work.requests.as_dict()
    summary.requests.add(**{name: after[name] - before[name] for name in after})
    return summary


class _Pace:
    """What units of a kind take, as a factor of what was predicted: of a user's tool nobody can tell."""

    def __init__(self, kind: Kind) -> None:
        self._predicted_s = self._took_s = 0.0
        self.factor = 1e6 if kind.name == "exec" else 1.0

    def learn(self, predicted_s: float, took_s: float) -> None:
        """Take a unit that is done."""
        self._predicted_s += predicted_s
        self._took_s += took_s
        self.factor = max(self._took_s / self._predicted_s, 1e-3)


class _Run:
    """One attempt at a slice."""

    def __init__(
        self,
        plan: Plan,
        open_store: OpenStore,
        journal: Journal,
        summary: Summary,
        deadline_s: float | None,
        on_done: Callable[[int], None],
    ) -> None:
        self._plan, self._open, self._journal, self._summary = plan, open_store, journal, summary
        self._deadline_s, self._on_done = deadline_s, on_done
        self._workers: list[Worker] = []
        self._asked: dict[Worker, dict[str, Any]] = {}
        self._pace = [_Pace(kind) for kind in plan.kinds]
        self._start_s = time.monotonic()
        self._threads = 1

    def all_of(self, left: Sequence[int], suspects: set[int], workers: int) -> None:
        """Run units; whatever ends this, the log says so, unless it is a kill or the disk."""
        how = "stopped"
        self._threads = max(1, workers // max(1, len(left)))
        try:
            lost = self._run(self._batches([unit for unit in left if unit not in suspects], workers), workers)
            alone = sorted({unit for unit in left if unit in suspects} | lost)
            dead = self._run(([unit] for unit in alone), 1, alone=True)
            # Those that were lost with others die alone now for the second time.
            self._summary.set_aside += sorted(dead)
            how = "complete" if not (self._summary.failed or self._summary.set_aside) else "partial"
        finally:
            for worker in self._workers:
                worker.stop()
            self._summary.seconds = time.monotonic() - self._start_s
            for asked in self._asked.values():
                self._summary.requests.add(**asked)
            self._end(how)

    def _end(self, how: str) -> None:
        s = self._summary
        requests = s.requests.as_dict()
        self._journal.write(
            "end", how=how, done=s.done, seconds=round(s.seconds, 3), peak_mb=s.peak_mb, requests=requests
        )
        self._journal.flush()

    def _batches(self, left: Sequence[int], workers: int) -> Iterator[list[int]]:
        """Neighbours of one sample and kind that are worth a round trip, by what their kind took so far.

        A worker gets less than its share of what is left, so that all end at the same time.
        """
        batch: list[int] = []
        cost_us = 0.0
        left_us = float(self._plan.cost_us[list(left)].sum())
        for number in left:
            unit = self._plan.unit(number)
            first = self._plan.unit(batch[0]) if batch else unit
            share_us = left_us * self._pace[first.kind].factor / (2 * workers)
            full = cost_us >= min(max(share_us, _LEAST_S * 1e6), _BATCH_S * 1e6) or len(batch) >= _BATCH_UNITS
            if batch and (full or (unit.sample, unit.kind) != (first.sample, first.kind)):
                yield batch
                batch, cost_us = [], 0.0
            batch.append(number)
            cost_us += self._plan.cost_us[number] * self._pace[unit.kind].factor
            left_us -= self._plan.cost_us[number]
        if batch:
            yield batch

    def _run(self, batches: Iterator[list[int]], workers: int, *, alone: bool = False) -> set[int]:
        """Run batches on so many workers; units whose worker died are returned."""
        lost: set[int] = set()
        todo = next(batches, None)
        idle = self._workers[:workers]
        busy: list[Worker] = []
        while todo or busy:
            self._check_deadline()
            while todo and len(busy) < workers:
                worker = idle.pop() if idle else self._new_worker()
                self._begin(worker, todo, alone)
                busy.append(worker)
                todo = next(batches, None)
            self._journal.tick()
            wait([worker.connection for worker in busy], self._wait_s())
            for worker in list(busy):
                done, died = self._hear(worker, alone)
                lost |= died
                if done:
                    busy.remove(worker)
                    if worker in self._workers:
                        idle.append(worker)
        return lost

    def _new_worker(self) -> Worker:
        worker = Worker(self._plan, self._open, self._threads)
        self._workers.append(worker)
        return worker

    def _begin(self, worker: Worker, units: list[int], alone: bool) -> None:
        self._journal.write("begin", units=units, alone=alone)
        self._journal.flush()
        with suppress(OSError):  # it has died: heard of below
            worker.hand(units)

    def _hear(self, worker: Worker, alone: bool) -> tuple[bool, set[int]]:
        """What a worker said: whether its batch is over, and the units that it died with."""
        try:
            for message in worker.messages():
                if message[0] == "idle":
                    _, peak_mb, self._asked[worker] = message
                    self._summary.peak_mb = max(self._summary.peak_mb, peak_mb)
                    return True, set()
                self._take(worker, message)
        except (EOFError, OSError):
            died = set(worker.left)
            how = worker.how_it_died()
            worker.stop()
            self._workers.remove(worker)
            self._journal.write("died", units=sorted(died), alone=alone, how=how)
            self._journal.flush()
            return True, died
        return False, set()

    def _take(self, worker: Worker, message: tuple[Any, ...]) -> None:
        what, unit, *more = message
        worker.left.remove(unit)
        if what == "done":
            result, seconds = more
            self._journal.write("done", unit=unit, key=self._plan.key(unit), s=seconds, result=result)
            self._summary.done += 1
            self._pace[self._plan.unit(unit).kind].learn(self._plan.cost_us[unit] / 1e6, seconds)
        else:
            kind, exit_code, words = more
            self._journal.write("failed", unit=unit, kind=kind, exit=exit_code, message=words)
            self._summary.failed[unit] = Failure(kind, exit_code, words)
        self._on_done(1)

    def _check_deadline(self) -> None:
        if self._deadline_s is not None and time.monotonic() >= self._deadline_s:
            s = self._summary
            left = s.units - s.done_before - s.done - len(s.failed) - len(s.set_aside)
            message = (
                f"slice {s.slice_number} was stopped at its deadline: {left} of {s.units} units are left"
            )
            raise DeadlineError(message, kind="deadline", hint="run it again: it goes on")

    def _wait_s(self) -> float:
        left_s = _WAIT_S if self._deadline_s is None else self._deadline_s - time.monotonic()
        return max(0.0, min(_WAIT_S, left_s))
