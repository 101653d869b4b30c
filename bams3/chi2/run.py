"""Running the tests: batches of probesets in threads, and results that are whole only when all is known."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..genotype_counts import CountBlock, NotGroupedError, read_genotype_counts
from ..htslib import write_errors
from ..pipeline import ordered_map
from ..progress import Progress
from .results import as_table, qvalues, schema
from .summary import Summary, genomic_control_lambda
from .twotier import Options, describe, expected_ns, two_tier_tests

if TYPE_CHECKING:
    import pyarrow as pa

#: Batches that a worker gets of the probesets at hand, where their size is not given; and how long each takes
#: at least, by what is expected of it.
_BATCHES_OF_A_WORKER = 10
_LEAST_NS = 50e6

#: Gives blocks of tables; False: the rows of a probeset need not be adjacent, and all are held in memory.
ReadBlocks = Callable[[bool], Iterator[CountBlock]]


class Spool:
    """Results on disk until all p-values are known, in a file without a name that dies with the process."""

    def __init__(self) -> None:
        import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

        self._folder = tempfile.gettempdir()
        with write_errors(self._folder):
            self._file = tempfile.TemporaryFile(prefix="bams3-")  # noqa: SIM115  # closed with the spool
            self._writer = pa.ipc.new_stream(self._file, schema())
        self._pvalues: list[Array] = []
        self.n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, table: pa.Table) -> None:
        """Take results behind those before."""
        self.n += table.num_rows
        self._pvalues.append(table["pvalue"].to_numpy().astype(np.float64))
        with write_errors(self._folder):  # not the file that results go to
            self._writer.write_table(table)

    def finished(self, summary: Summary) -> Iterator[pa.Table]:
        """All results with their q-values (null in a slice), which are counted in the summary too."""
        import pyarrow as pa  # noqa: PLC0415

        self._writer.close()
        pvalues = np.concatenate([np.zeros(0), *self._pvalues])
        q = np.full(pvalues.size, np.nan) if summary.which else qvalues(pvalues)
        if not summary.which and not np.isnan(pvalues).all():
            summary.genomic_control_lambda = genomic_control_lambda(pvalues)
        at, column = 0, schema().get_field_index("qvalue")
        self._file.seek(0)
        with pa.ipc.open_stream(self._file) as reader:
            for batch in reader:
                some = q[at : at + batch.num_rows]
                at += batch.num_rows
                values = pa.array(some, mask=np.isnan(some))
                table = pa.Table.from_batches([batch]).set_column(column, schema().field(column), values)
                summary.add(table)
                yield table


def run_tests(
    read: ReadBlocks,
    summary: Summary,
    n_workers: int,
    batch_size: int | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_tested: Callable[[int], None] = lambda _: None,
) -> Iterator[pa.Table]:
    """Results of all tables, in their order, with q-values; none comes before all tables are tested.

    Parameters
    ----------
    read
        Gives the tables: once, or twice where rows of a probeset turn out not to be adjacent.
    summary
        Says how tables are tested; what is found is counted in it.
    batch_size
        Probesets that a thread takes at a time; None: so many that each worker gets about ten batches of
        those at hand, of equal cost, but of 50 ms at least.
    on_start, on_tested
        Called with the size of the first batches, and with how many more probesets are tested (or, negative,
        have to be tested again).
    """
    with ThreadPoolExecutor(n_workers, "bams3-chi2") as pool:
        for is_grouped in (True, False):
            summary.empty_batches = 0
            batches = _batches(read(is_grouped), summary.options, n_workers, batch_size, on_start)
            with Spool() as spool:
                try:
                    _test_all(batches, spool, summary, pool, 2 * n_workers, on_tested)
                except NotGroupedError:
                    on_tested(-spool.n)
                    continue
                yield from spool.finished(summary)
                return


def _test_all(
    batches: Iterable[tuple[CountBlock, Array]],
    spool: Spool,
    summary: Summary,
    pool: ThreadPoolExecutor,
    depth: int,
    on_tested: Callable[[int], None],
) -> None:
    def work(batch: tuple[CountBlock, Array]) -> tuple[pa.Table, int]:
        block, tables = batch
        tested = two_tier_tests(block, tables, summary.options)
        return as_table(block, tested), len(block.batch) - int(tested.n_batches.sum())

    for table, n_empty in ordered_map(pool, work, batches, depth):
        spool.add(table)
        summary.empty_batches += n_empty
        on_tested(table.num_rows)


def _batches(
    blocks: Iterable[CountBlock],
    options: Options,
    n_workers: int,
    batch_size: int | None,
    on_start: Callable[[int], None],
) -> Iterator[tuple[CountBlock, Array]]:
    """Runs of tables that are tested together, and what ``describe`` says of them."""
    is_first = True
    for block in blocks:
        n = len(block.probesets)
        tables = describe(block, options)
        if batch_size is None:
            cost = np.append(0, np.cumsum(expected_ns(tables, options)))
            n_batches = min(n_workers * _BATCHES_OF_A_WORKER, n, math.ceil(cost[-1] / _LEAST_NS))
            bounds = np.searchsorted(cost, cost[-1] * np.arange(n_batches + 1) / n_batches)
            bounds[-1] = n
        else:
            bounds = np.arange(0, n + batch_size, batch_size).clip(max=n)
        if is_first:
            on_start(batch_size or max(1, n // n_batches))
            is_first = False
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if low < high:
                yield _only(block, low, high), tables[low:high]


def _only(block: CountBlock, low: int, high: int) -> CountBlock:
    """Tables ``low`` up to ``high`` of a block."""
    start = block.start[low : high + 1]
    rows = slice(int(start[0]), int(start[-1]))
    probesets = block.probesets[low:high]
    return CountBlock(probesets, start - start[0], block.batch[rows], block.batches, block.counts[rows])


def run_two_tier_chi2_test(
    path: str | Path,
    batch_size: int | None = None,
    show_progress: bool = False,
    n_workers: int | None = None,
    sum_duplicates: bool = False,
    **options: Any,
) -> pa.Table:
    """Test every probeset of a table of genotype counts: what ``bams3 chi2-batch`` does, as an Arrow table.

    Parameters
    ----------
    path
        TSV (also .gz, .zst) or Parquet with probeset_id, batch_name, n_AA, n_AB, n_BB and n_NC.
    batch_size
        Probesets that a worker takes at a time.
    n_workers
        Threads; None: one a core.
    sum_duplicates
        Add up the rows of one probeset and batch.
    options
        Fields of Options, such as ``min_expected_count=5``, ``max_simulations=10_000``, or ``adaptive=False``
        with ``n_simulations=10_000``.

    Returns
    -------
    A row a probeset, with results.COLUMNS; ``.to_pandas()`` makes a data frame of it.

    Raises
    ------
    InputError
        What is wrong with the table or an option, as read_genotype_counts says it.
    """
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

    def read(is_grouped: bool) -> Iterator[CountBlock]:
        return read_genotype_counts(Path(path), grouped=is_grouped, sum_duplicates=sum_duplicates)

    for name, value in (("batch_size", batch_size), ("n_workers", n_workers)):
        if value is not None and (type(value) is not int or not 1 <= value < 1 << 31):
            raise InputError(f"{name} is {value}: give None, or 1 or more", kind="usage")
    summary = Summary(str(path), _options_of(options))
    workers = n_workers or os.cpu_count() or 1
    with Progress(None, "probesets", "Processing probesets", enabled=show_progress) as progress:
        tables = run_tests(read, summary, workers, batch_size, on_tested=progress.advance)
        return pa.concat_tables([schema().empty_table(), *tables])


def _options_of(given: dict[str, Any]) -> Options:
    """Options by name, none of them unknown or without effect."""
    names = [field.name for field in fields(Options)]
    is_adaptive = given.get("adaptive", True)
    idle = "n_simulations" if is_adaptive else "max_simulations"
    for name in given:
        if name not in names:
            hint = f"there are {', '.join(names)}"
            raise InputError(f"{name} is no option of the tests", kind="usage", hint=hint)
        if name == idle:
            raise InputError(f"{idle} is for adaptive={not is_adaptive}", kind="usage")
    return Options(**given)
