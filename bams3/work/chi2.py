"""Tests of homogeneity as units: each of one slice of a table's probesets, merged at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..arrow_files import write_parquet
from ..chi2 import Options
from ..chi2.merge import merge_slices
from ..chi2.results import schema
from ..chi2.run import run_tests
from ..chi2.summary import Summary, place_beside, write_with_summary
from ..columns import Array
from ..genotype_counts import CountBlock, read_genotype_counts
from ..slices import MOST_SLICES, Slice
from ..tables import CountedRegion
from .inputs import Input, TableInput
from .jobs import Job, OfOneInput, remove_what_was_left, result_file, safe

#: Seconds of one core of a byte of a table's text: that is read, by every unit; and whose probesets are
#: tested, which is by the unit that they are of, and may be ten times less where no table is drawn.
_READ_S, _TEST_S = 1 / 150e6, 6e-8
#: Memory of a worker, and of a byte of text whatever the number of units: names of probesets.
_LEAST_MB, _NAMES = 400, 1 / 8


@dataclass(frozen=True)
class Chi2(OfOneInput):
    """Tests of a slice of a table's probesets: the result is a Parquet file and the summary beside it.

    Attributes
    ----------
    n
        How many units there are. Each reads the whole table, so a plan has one a slice and no more: finer
        ones would cost a reading each, which is what a job that is stopped loses.
    options, sum_duplicates
        As chi2-batch has them.
    given
        What the user calls the table, which is told in the summary of all.
    text_bytes
        About the size of the table, which says what units cost.
    """

    name: ClassVar[str] = "chi2"
    input: ClassVar[type[Input]] = TableInput
    gathered: ClassVar[str] = "chi2.tsv"
    beside: ClassVar[str] = "its summary"
    drawn_by: ClassVar[str] = "chi2-plot"
    n: int = 1
    options: Options = field(default_factory=Options)
    sum_duplicates: bool = False
    given: str = ""
    text_bytes: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MOST_SLICES:
            raise ValueError(f"{self.n} slices")

    @property
    def mem_mb(self) -> int:
        """Memory of a worker where rows come in any order, so that it holds those of its slice."""
        return _LEAST_MB + round(self.text_bytes * (1 / self.n + _NAMES) / (1 << 20))

    def places(self, regions: Sequence[CountedRegion]) -> Sequence[Slice]:
        del regions
        return [Slice(i, self.n) for i in range(1, self.n + 1)]

    def seconds(self, load: None) -> Array:
        del load
        return np.full(self.n, self.text_bytes * (_READ_S + _TEST_S / self.n))

    def question(self, sample: str, place: Slice) -> str:
        del place
        return f"{self.options},{self.sum_duplicates},{sample}"  # which names the file

    def run(self, job: Job[TableInput], places: Sequence[Slice]) -> Iterator[Any]:
        for key, which in zip(job.keys, places, strict=True):
            file = f"{self.name}/{safe(job.sample)}.{which.i}-of-{which.n}.{key[:8]}.parquet"
            beside = place_beside(Path(file), "json").as_posix()
            remove_what_was_left(job.work, file)
            # The summary is in its place before the results are: who sees those has both.
            with result_file(job.work, file) as path, result_file(job.work, beside) as summary:
                self._test(job, which, path, summary)
                sizes = {file: path.stat().st_size, beside: summary.stat().st_size}
            yield {"file": file, "bytes": sizes[file], "beside": {beside: sizes[beside]}}

    def _test(self, job: Job[TableInput], which: Slice, path: Path, beside: Path) -> None:
        summary = Summary(job.sample, self.options, str(which))
        with job.input.file() as table:

            def read(is_grouped: bool) -> Iterator[CountBlock]:
                return read_genotype_counts(
                    table, which=which, sum_duplicates=self.sum_duplicates, grouped=is_grouped
                )

            write_parquet(run_tests(read, summary, job.threads), schema(), path)
        beside.write_text(summary.as_json(), encoding="utf-8")

    def join(self, parts: Sequence[Path], path: Path) -> None:
        summary, tables = merge_slices(parts)
        summary.given = self.given
        write_with_summary(tables, summary, path)
