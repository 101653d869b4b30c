"""Where the CPU-seconds and the bytes of a conversion go: ``make profile BAM=file.bam``.

Runs a real conversion with one worker, its functions wrapped in clocks that count a thread's CPU time;
then decodes the store again, column by column.
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
from bams3.format import chunk, index, rowgroup, spec
from bams3.format.frames import Compression
from bams3.format.rowgroup import Blob
from bams3.ingest import ConvertOptions, Source, convert
from bams3.store import LocalStore
from bams3.verify import read_chunk

from . import harness, report
from .harness import Row

#: Stages that are one function each: (name, who has the function, its name).
STAGES = (
    ("inflate", converter, "inflate"),
    ("cut into row groups", kernels.Scanner, "scan"),
    ("split into columns", kernels, "split"),
    ("link names", kernels, "find_links"),
    ("infer the reference, find mismatches", rowgroup, "align"),
    ("sum up totals and extents", rowgroup, "group_summary"),
    ("sum up depth", index, "group_depth"),
    ("lay out chunks", chunk, "build_chunk"),
    ("hash chunks", converter, "content_hash"),
    ("write", LocalStore, "put"),
)
TRANSFORM, ZSTD, RANS = "transform columns, qualities included", "try zstd on streams", "try rANS on streams"


@dataclass
class Spent:
    """CPU-seconds by stage; [bytes in, bytes out, encode s, decode s] by column and codec."""

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

    def clock_encode(self, function: Callable[..., Blob | None]) -> Callable[..., Blob | None]:
        """A function that encodes a column, and counts what it compresses apart from the rest."""

        def clocked(name: str, columns: Columns, compression: Compression, predicts: bool) -> Blob | None:
            start, compress_before_s = time.thread_time(), self.cpu_s[ZSTD] + self.cpu_s[RANS]
            blob = function(name, columns, compression, predicts)
            encode_s = time.thread_time() - start
            self.cpu_s[TRANSFORM] += encode_s - (self.cpu_s[ZSTD] + self.cpu_s[RANS] - compress_before_s)
            if blob is not None:
                self._add(columns, name, blob.codec, len(blob.data), encode_s, 0.0)
            return blob

        return clocked

    def clock_decode(self, function: Callable[..., None]) -> Callable[..., None]:
        """A function that decodes a column."""

        def clocked(columns: Columns, name: str, codec: int, data: Any) -> None:
            start = time.thread_time()
            function(columns, name, codec, data)
            self.columns[name, spec.CODECS[codec]][3] += time.thread_time() - start

        return clocked

    def _add(self, columns: Columns, name: str, codec: str, *numbers: float) -> None:
        tag = name.removeprefix(spec.TAG_PREFIX)
        plain = columns.tags[tag] if tag != name else getattr(columns, name)
        sums = self.columns[name, codec]
        for i, number in enumerate((_size_bytes(plain), *numbers)):
            sums[i] += number


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
    """A conversion of a BAM into a store that is decoded and thrown away."""
    spent = Spent()
    with tempfile.TemporaryDirectory() as name:
        store = Path(name, "profile.bams3")
        with contextlib.ExitStack() as stack:
            clocked = (*STAGES, (ZSTD, Compression, "compress"), (RANS, kernels, "encode_rans"))
            for stage, owner, function in clocked:
                stack.enter_context(
                    patch.object(owner, function, spent.clock(stage, getattr(owner, function)))
                )
            stack.enter_context(
                patch.object(rowgroup, "_encode_column", spent.clock_encode(rowgroup._encode_column))
            )
            file = stack.enter_context(bam.open("rb", buffering=0))
            source, start = Source(str(bam), file, None, seekable=True), time.process_time()
            convert(source, LocalStore(store), ConvertOptions(workers=1))
            spent.cpu_s["all else: read, copy, Python"] = (
                time.process_time() - start - sum(spent.cpu_s.values())
            )
        with patch.object(rowgroup, "_decode_column", spent.clock_decode(rowgroup._decode_column)):
            for path in sorted(store.rglob("*.chunk")):
                data = path.read_bytes()
                for _ in read_chunk(data, chunk.parse_head(data)):
                    pass
    return spent


def _size_bytes(plain: Any) -> int:
    return int(plain.lengths.nbytes + plain.data.nbytes) if isinstance(plain, Strings) else int(plain.nbytes)


def rows_of(spent: Spent) -> list[Row]:
    """A row for each stage, and for each column and codec."""
    where = harness.machine()
    rows: list[Row] = [{"of": "stage", "name": name, "cpu_s": round(s, 3)} for name, s in spent.cpu_s.items()]
    for (name, codec), (bytes_in, bytes_out, encode_s, decode_s) in spent.columns.items():
        sizes = {"bytes_in": int(bytes_in), "bytes_out": int(bytes_out)}
        times = {"encode_s": round(encode_s, 3), "decode_s": round(decode_s, 3)}
        rows.append({"of": "column", "name": name, "codec": codec, **sizes, **times})
    return [{**row, **where} for row in rows]


if __name__ == "__main__":
    main()
