"""How far long work has come: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_EVERY_S = 10.0


class Progress:
    """A running count of work done, shown while its ``with`` block runs.

    Parameters
    ----------
    total
        How many units make the whole; None where it is not known: no share and no time left are shown then.
    unit
        What is counted, in the plural: ``reads``, ``bytes``, ``tiles``.
    label
        What is being done, in front of the count.
    stream
        Where to show it; stderr when None. A terminal gets a bar, anything else plain lines. Work that ends
        before the first line is due writes nothing.
    enabled
        False shows nothing at all.
    clock
        Monotonic seconds.

    Notes
    -----
    ``advance`` may be called from several threads. It costs under a microsecond; count
    in thousands all the same.
    """

    def __init__(
        self,
        total: int | None,
        unit: str,
        label: str,
        stream: TextIO | None = None,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done = 0
        self._total, self._unit, self._label = total, unit, label
        self._stream = sys.stderr if stream is None else stream
        self._enabled = enabled
        self._clock = clock
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        self._start_s = self._line_s = clock()

    def __enter__(self) -> Self:
        self._start_s = self._line_s = self._clock()
        if self._enabled and self._stream.isatty():
            self._bar = self._open_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif error is None and self._line_s > self._start_s:
            self._write_line(self._clock())

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more units as done."""
        with self._lock:
            self.done += n
            if self._bar is not None:
                self._bar.update(n)
            elif self._enabled and (now_s := self._clock()) - self._line_s >= LINE_EVERY_S:
                self._line_s = now_s
                self._write_line(now_s)

    def expect(self, total: int) -> None:
        """Learn only now how many units make the whole."""
        with self._lock:
            self._total = total
            if self._bar is not None:
                self._bar.total = total
                self._bar.refresh()

    def _open_bar(self) -> tqdm[Any]:
        from tqdm import tqdm  # noqa: PLC0415  30 ms that only a terminal needs

        return tqdm(
            total=self._total,
            unit=f" {self._unit}",
            desc=self._label,
            file=self._stream,
            unit_scale=True,
            dynamic_ncols=True,
        )

    def _write_line(self, now_s: float) -> None:
        elapsed_s = now_s - self._start_s
        rate = self.done / elapsed_s if elapsed_s > 0 else 0.0
        count, left = f"{self.done:,} {self._unit}", ""
        if self._total:
            count = f"{self.done:,} of {self._total:,} {self._unit} ({self.done / self._total:.0%})"
        if self._total and rate and self.done < self._total:
            left = f", {format_seconds((self._total - self.done) / rate)} left"
        self._stream.write(f"{self._label}: {count}, {rate:,.0f} {self._unit}/s{left}\n")
        self._stream.flush()


def format_seconds(seconds: float) -> str:
    """``42s``, ``3m20s`` or ``2h05m``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
