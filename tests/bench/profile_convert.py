"""Where the CPU-seconds and the bytes of a conversion go: ``make profile BAM=file.bam``.

Runs a real conversion with one worker, its functions wrapped in clocks that count a thread's CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bams3 import converter, kernels
from bams3.columns import Columns, Strings
from bams3.format import chunk, index
from bams3.format.frames import Compression
from bams3.format.rowgroup import Blob
from bams3.ingest import ConvertOptions, Source, convert
from bams3.store import LocalStore

from . import harness, report
from .harness import Row

#: Stages that are one function each: (name, who has the function, its name).
STAGES = (
    ("inflate", converter, "inflate"),
    ("cut into row groups", kernels.Scanner, "scan"),
    ("split into columns", kernels, "split"),
    ("sum up totals and extents", chunk, "group_summary"),
    ("sum up depth", index, "group_depth"),
    ("lay out chunks", chunk, "build_chunk"),
    ("hash chunks", converter, "content_hash"),
    ("write", LocalStore, "put"),
)
TRANSFORM, COMPRESS = "transform columns", "compress columns (zstd)"


@dataclass
class Spent:
    """CPU-seconds by stage, and [bytes in, bytes out, transform s, zstd s] by column and codec."""

    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    columns: defaultdict[tuple[str, str], list[float]] = field(
        default_factory=lambda: defaultdict(lambda: [0.0] * 4)
    )

    def clock(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that counts its time as a stage's."""

        def clocked(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.cpu_s[stage] += time.thread_time() - start

        return clocked

    def clock_column(self, function: Callable[..., Blob]) -> Callable[..., Blob]:
        """A function that encodes a column, and counts what it compresses apart from the rest."""

        def clocked(name: str, columns: Columns, compression: Compression) -> Blob:
            start, zstd_before_s = time.thread_time(), self.cpu_s[COMPRESS]
            blob = function(name, columns, compression)
            zstd_s = self.cpu_s[COMPRESS] - zstd_before_s
            transform_s = time.thread_time() - start - zstd_s
            self.cpu_s[TRANSFORM] += transform_s
            plain = columns.tags[name] if name in columns.tags else getattr(columns, name)
            sums = self.columns[blob.column, blob.codec]
            for i, value in enumerate((_size_bytes(plain), len(blob.data), transform_s, zstd_s)):
                sums[i] += value
            return blob

        return clocked


def main() -> None:
    """Measure, write the rows, print the tables."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("bam", type=Path, metavar="BAM")
    parser.add_argument("--rows", type=Path, default=f"build/{time.strftime('%Y-%m')}-convert-profile.jsonl")
    options = parser.parse_args()
    if not options.bam.is_file():
        parser.error("which BAM? make profile BAM=file.bam (coordinate-sorted)")
    rows = rows_of(profile(options.bam))
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(options.rows, rows)
    print(report.render_profile(rows))


def profile(bam: Path) -> Spent:
    """A conversion of a BAM into a store that is thrown away."""
    spent = Spent()
    with contextlib.ExitStack() as stack:
        for stage, owner, name in (*STAGES, (COMPRESS, Compression, "compress")):
            stack.enter_context(patch.object(owner, name, spent.clock(stage, getattr(owner, name))))
        for name in ("_encode_column", "_encode_tag"):
            stack.enter_context(patch.object(chunk, name, spent.clock_column(getattr(chunk, name))))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "profile.bams3")
        file = stack.enter_context(bam.open("rb", buffering=0))
        start = time.process_time()
        convert(Source(str(bam), file, None, seekable=True), LocalStore(folder), ConvertOptions(workers=1))
        all_s = time.process_time() - start
    spent.cpu_s["all else: read, copy, Python"] = all_s - sum(spent.cpu_s.values())
    return spent


def _size_bytes(plain: Any) -> int:
    return int(plain.lengths.nbytes + plain.data.nbytes) if isinstance(plain, Strings) else int(plain.nbytes)


def rows_of(spent: Spent) -> list[Row]:
    """A row for each stage, and for each column and codec."""
    where = harness.machine()
    rows: list[Row] = [{"of": "stage", "name": name, "cpu_s": round(s, 3)} for name, s in spent.cpu_s.items()]
    for (name, codec), (bytes_in, bytes_out, transform_s, zstd_s) in spent.columns.items():
        sizes = {"bytes_in": int(bytes_in), "bytes_out": int(bytes_out)}
        times = {"transform_s": round(transform_s, 3), "zstd_s": round(zstd_s, 3)}
        rows.append({"of": "column", "name": name, "codec": codec, **sizes, **times})
    return [{**row, **where} for row in rows]


if __name__ == "__main__":
    main()
