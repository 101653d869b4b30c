"""Tables of genotype counts in every form, read by plain Python and, as a caller would, by the package."""

import contextlib
import gzip
import io
import os
import threading
from pathlib import Path

import numpy as np
import zstandard

from bams3.errors import Bams3Error
from bams3.genotype_counts import NotGroupedError, read_genotype_counts
from bams3.slices import Slice

COLUMNS = ("probeset_id", "batch_name", "n_AA", "n_AB", "n_BB", "n_NC")
HEADER = "\t".join(COLUMNS) + "\n"
ROW = "p1\tb1\t1\t2\t3\t4\n"

Counts = tuple[int, int, int, int]
Row = tuple[str, str, Counts]


def plain_tables(rows: list[Row], which: Slice, *, add: bool) -> list[tuple[str, list[tuple[str, Counts]]]]:
    """Tables in the order of their first rows, each by batch; of a doubled row KeyError unless ``add``."""
    tables: dict[str, dict[str, Counts]] = {}
    for probeset, batch, counts in rows:
        table = tables.setdefault(probeset, {})
        if batch in table and not add:
            raise KeyError(probeset, batch)
        old = table.get(batch, (0, 0, 0, 0))
        table[batch] = tuple(a + b for a, b in zip(old, counts, strict=True))
    return [
        (probeset, sorted(table.items(), key=lambda item: item[0].encode()))
        for number, (probeset, table) in enumerate(tables.items())
        if number % which.n == which.i - 1
    ]


def tables_of(source, **options) -> list[tuple[str, list[tuple[str, Counts]]]]:
    """What the package reads, as a caller does: anew where rows are not grouped."""
    try:
        return [table for block in read_genotype_counts(source, **options) for table in tables_in(block)]
    except NotGroupedError:
        return tables_of(source, **options, grouped=False)


def tables_in(block):
    assert block.start.dtype == np.uint64
    assert block.batch.dtype == block.counts.dtype == np.int32
    assert int(block.start[-1]) == len(block.batch) == len(block.counts)
    for p, probeset in enumerate(block.probesets):
        rows = range(int(block.start[p]), int(block.start[p + 1]))
        yield probeset, [(block.batches[block.batch[r]], tuple(block.counts[r].tolist())) for r in rows]


def text_of(rows: list[Row], *, columns=COLUMNS, end="\n") -> bytes:
    lines = ["\t".join(columns)]
    for probeset, batch, counts in rows:
        cells = dict(zip(COLUMNS, (probeset, batch, *map(str, counts)), strict=True))
        lines.append("\t".join(cells.get(column, "extra x") for column in columns))
    return (end.join(lines) + end).encode()


def parquet_of(rows: list[Row], kinds=None, **options) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    columns = [[r[0] for r in rows], [r[1] for r in rows], *([r[2][k] for r in rows] for k in range(4))]
    kinds = {
        **dict.fromkeys(COLUMNS[:2], pa.string()),
        **dict.fromkeys(COLUMNS[2:], pa.int64()),
        **(kinds or {}),
    }
    arrays = {name: pa.array(c).cast(kinds[name]) for name, c in zip(COLUMNS, columns, strict=True)}
    file = io.BytesIO()
    parquet.write_table(pa.table(arrays), file, **options)
    return file.getvalue()


def write(folder: Path, data: bytes | str) -> Path:
    path = folder / "table"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def as_pipe(data: bytes):
    """The reading end of a pipe that another thread fills."""
    reading, writing = os.pipe()

    def feed():
        # the reader may have found a mistake and gone
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as end:
            end.write(data)

    threading.Thread(target=feed, daemon=True).start()
    return os.fdopen(reading, "rb")


FORMS = {
    "plain": text_of,
    "crlf": lambda rows: b"\xef\xbb\xbf" + text_of(rows, end="\r\n"),
    "columns": lambda rows: text_of(rows, columns=("note", *reversed(COLUMNS), "more")),
    "blank ends": lambda rows: text_of(rows) + b"\n\r\n\n",
    "no last end": lambda rows: text_of(rows)[:-1],
    "gzip": lambda rows: gzip.compress(text_of(rows), 1),
    "two gzips": lambda rows: gzip.compress(text_of(rows)[:20]) + gzip.compress(text_of(rows)[20:]),
    "zstd": lambda rows: zstandard.compress(text_of(rows)),
    "pzstd": lambda rows: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstandard.compress(text_of(rows)),
    "parquet": parquet_of,
}


def error_of(function, *args, **options) -> Bams3Error | None:
    """The error of ours that a call ends in, if it does."""
    try:
        function(*args, **options)
    except Bams3Error as err:
        return err
    return None
