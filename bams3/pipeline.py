"""Bounded, ordered work in threads, and a clock that says which stage was the bottleneck."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

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


def ordered_map(
    pool: ThreadPoolExecutor,
    work: Callable[[T], R],
    items: Iterable[T],
    depth: int,
    clock: StageClock | None = None,
    stage: str = "",
) -> Iterator[R]:
    """Results of ``work`` in the order of ``items``, with at most ``depth`` of them under way.

    Notes
    -----
    Pulls an item only when there is room for it, so that a chain of these holds a bounded number
    of items. Time that an item spends queued counts as the stage's waiting.
    """

    def timed(item: T, submitted: float) -> R:
        if clock is not None:
            clock.add(stage, waited_s=time.perf_counter() - submitted)
        return work(item)

    waiting: deque[Future[Any]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(timed, item, time.perf_counter()))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
