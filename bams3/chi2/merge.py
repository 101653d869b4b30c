"""Results of all slices as one: what a single run would have written, with q-values over all probesets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..slices import Slice, format_slices, parse_slice
from .reading import open_results
from .run import Spool
from .summary import Summary, read_summary

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that are put in order at a time.
_ROWS = 1 << 16


def merge_slices(paths: Sequence[Path]) -> tuple[Summary, Iterator[pa.Table]]:
    """What was tested, and all results in the order of the input; the summary counts them as they come.

    Slice i of n holds probesets i - 1, i - 1 + n, ... of the input.

    Raises
    ------
    InputError
        ``no-summary``; ``not-a-slice``, ``slices-missing``, ``doubled-slice``; ``slice-mismatch`` where
        slices are of different inputs or options; ``not-results``.
    """
    ordered, summaries = _in_order(paths)
    merged = Summary(summaries[0].given, summaries[0].options)
    merged.empty_batches = sum(one.empty_batches for one in summaries)

    def tables() -> Iterator[pa.Table]:
        with Spool() as spool:
            for table in _interleaved(ordered):
                spool.add(table)
            if spool.n != sum(one.probesets for one in summaries):
                raise _mismatch(ordered[0], "their results are not those that their summaries tell of")
            yield from spool.finished(merged)

    return merged, tables()


def _in_order(paths: Sequence[Path]) -> tuple[list[Path], list[Summary]]:
    found: dict[Slice, tuple[Path, Summary]] = {}
    for path in paths:
        summary = read_summary(path)
        if not summary.which:
            hint = "give the results of chi2-batch --slice 1/n to n/n"
            raise InputError(f"{path} holds all probesets, not a slice", kind="not-a-slice", hint=hint)
        which = parse_slice(summary.which)
        if which in found:
            raise InputError(f"{found[which][0]} and {path} are both slice {which}", kind="doubled-slice")
        found[which] = path, summary
    first_path, first = next(iter(found.values()))
    n = next(iter(found)).n
    for which, (path, summary) in found.items():
        if which.n != n:
            raise _mismatch(path, f"it is slice {which}, and {first_path} one of {n}")
        if (summary.given, summary.options) != (first.given, first.options):
            raise _mismatch(path, f"its input or options are not those of {first_path}")
        if summary.input != first.input:
            raise _mismatch(path, f"{summary.given} was not the same as for {first_path}")
    missing = [Slice(i, n) for i in range(1, n + 1) if Slice(i, n) not in found]
    if missing:
        hint = "run chi2-batch --slice for what is missing"
        raise InputError(f"{format_slices(missing)} missing", kind="slices-missing", hint=hint)
    both = [found[which] for which in sorted(found)]
    counts = [summary.probesets for _, summary in both]
    if counts != sorted(counts, reverse=True) or counts[0] - counts[-1] > 1:
        raise _mismatch(both[0][0], "their numbers of probesets are not those of slices of one input")
    return [path for path, _ in both], [summary for _, summary in both]


def _mismatch(path: Path, why: str) -> InputError:
    hint = "slices of one input, tested with the same options, can be merged"
    return InputError(f"{path} cannot be merged with the others: {why}", kind="slice-mismatch", hint=hint)


def _interleaved(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Row after row, each from the next slice."""
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

    slices = [_Rows(path) for path in paths]
    each = max(1, _ROWS // len(slices))
    while True:
        taken = [one.take(each) for one in slices]
        row = np.concatenate([np.arange(t.num_rows) * len(slices) + i for i, t in enumerate(taken)])
        if not row.size:
            return
        yield pa.concat_tables(taken).take(np.argsort(row))


class _Rows:
    """Rows of a slice, as many at a time as are asked for."""

    def __init__(self, path: Path) -> None:
        self._tables = open_results(path)
        self._held = next(self._tables)

    def take(self, n: int) -> pa.Table:
        import pyarrow as pa  # noqa: PLC0415

        while self._held.num_rows < n and (more := next(self._tables, None)) is not None:
            self._held = pa.concat_tables([self._held, more])
        taken, self._held = self._held.slice(0, n), self._held.slice(n)
        return taken
