"""Bounded, ordered work in threads, reading ahead, and a clock that tells which stage was the bottleneck."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class StageClock:
    """Seconds that each stage worked, over all threads, and waited for a thread or for its input."""

    def __init__(self, *stages: str) -> None:
        self._lock = threading.Lock()
        self._seconds = {stage: {"worked_s": 0.0, "waited_s": 0.0} for stage in stages}

    @contextlib.contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Count the time of the ``with`` block as work of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, worked_s=time.perf_counter() - start)

    def add(self, stage: str, *, worked_s: float = 0.0, waited_s: float = 0.0) -> None:
        with self._lock:
            self._seconds[stage]["worked_s"] += worked_s
            self._seconds[stage]["waited_s"] += waited_s

    def report(self) -> dict[str, dict[str, float]]:
        """Seconds by stage, rounded to milliseconds."""
        return {s: {k: round(v, 3) for k, v in d.items()} for s, d in self._seconds.items()}


#: What ``ahead`` fetches beside what its caller has in hand, but for one item.
AHEAD_BYTES = 16 << 20


def ordered_map(
    pool: ThreadPoolExecutor,
    work: Callable[[T], R],
    items: Iterable[T],
    depth: int,
    clock: StageClock | None = None,
    stage: str = "",
    *,
    size_of: Callable[[T], int] = lambda _: 0,
    most_bytes: int = 0,
) -> Iterator[R]:
    """Results of ``work`` in the order of ``items``, with at most ``depth`` of them under way or in hand.

    Parameters
    ----------
    size_of, most_bytes
        Bytes that an item, or what becomes of it, takes in memory, and how many may be under way together.

    Notes
    -----
    Pulls an item only when there is room for it, so that a chain of these holds a bounded number
    of items. Time that an item spends queued counts as the stage's waiting.
    """

    def timed(item: T, submitted: float) -> R:
        if clock is not None:
            clock.add(stage, waited_s=time.perf_counter() - submitted)
        return work(item)

    waiting: deque[tuple[Future[R], int]] = deque()
    under_way = 0
    try:
        for item in items:
            size_bytes, ready = size_of(item), []
            while waiting and (
                waiting[0][0].done()  # what is done is passed on at once: a kill then costs less
                or len(waiting) >= depth - 1
                or under_way + size_bytes > most_bytes
            ):
                future, n = waiting.popleft()
                under_way -= n
                ready.append(future.result())
            waiting.append((pool.submit(timed, item, time.perf_counter()), size_bytes))
            under_way += size_bytes
            while ready:  # kept by nobody here once they are taken
                yield ready.pop(0)
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        for future, _ in waiting:
            future.cancel()


def ahead(
    items: Iterable[T],
    work: Callable[[T], object],
    parallel: int,
    size_of: Callable[[T], int] = lambda _: 0,
) -> Iterator[T]:
    """The items in order; where ``parallel`` is above 1, work was done for each, several at a time.

    For reading ahead from far away: ``work`` fetches what an item needs, and who takes the item fetches it
    then if it is not there yet. Near by, fetching ahead gains nothing, and nothing is done.
    """
    if parallel == 1:
        yield from items
        return

    def done(item: T) -> T:
        work(item)
        return item

    pool = ThreadPoolExecutor(parallel, thread_name_prefix="bams3-ahead")
    try:
        yield from ordered_map(pool, done, items, parallel, size_of=size_of, most_bytes=AHEAD_BYTES)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
