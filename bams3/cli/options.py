"""Options that several commands share."""

from __future__ import annotations

import functools
import glob
import operator
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bam import BamHeader
from ..errors import InputError
from ..filters import parse_flags
from ..format import spec
from ..regions import BedRow, read_bed
from ..store import is_s3
from ..tables import Sample, read_samples
from . import warn
from .remote import INPUT_FILE

if TYPE_CHECKING:
    from ..query import StoreReader


class Threads(click.ParamType[int]):
    """``auto`` (one for each core that this process may use) or a number."""

    name = "threads"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        del param, ctx
        if value == "auto":
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not (re.fullmatch("[0-9]{1,9}", str(value)) and 1 <= int(value) <= 1024):
            raise InputError(f"--threads {value}: auto, or a number from 1 to 1024", kind="bad-threads")
        return int(value)


threads = click.option(
    *("--threads", "--workers", "-@"),
    type=Threads(),
    default="auto",
    metavar="auto|N",
    help="Threads (auto: one a core).",
)
quiet = click.option("--quiet", is_flag=True, help="No progress, and no summary.")


def sample_name(store: str) -> str:
    """What a store is called that nobody named: its address without what leads there, and without .bams3."""
    last = store.rstrip("/").rpartition("/")[2] if "://" in store else Path(store).absolute().name
    return last.removesuffix(".bams3")


def cohort(given: Sequence[str]) -> list[Sample]:
    """The samples of a sheet; or of stores, each an address or a pattern of paths, named as they are.

    Raises
    ------
    InputError
        ``bad-sheet``, ``no-such-file``, ``doubled-sample``.
    """
    if len(given) == 1 and Path(given[0]).is_dir() and not (Path(given[0]) / spec.MANIFEST_KEY).exists():
        hint = f"for all stores in it: '{given[0].rstrip('/')}/*.bams3'"
        raise InputError(f"{given[0]} is a folder, not a samples sheet", kind="bad-sheet", hint=hint)
    if len(given) == 1 and _is_sheet(given[0]):
        return read_samples(INPUT_FILE.convert(given[0], None, click.get_current_context()))
    found: dict[str, Sample] = {}
    for address in [address for text in given for address in _matches(text)]:
        name = sample_name(address)
        if name in found:
            hint = "give them names of their own in a samples sheet"
            message = f"{found[name].store} and {address} are both {name}"
            raise InputError(message, kind="doubled-sample", hint=hint)
        found[name] = Sample(name, None, address, None, 0)
    return list(found.values())


def _is_sheet(text: str) -> bool:
    if is_s3(text):
        return text.lower().endswith((".tsv", ".csv"))
    return not _is_pattern(text) and not text.rstrip("/").endswith(".bams3")


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def _matches(text: str) -> list[str]:
    if is_s3(text) or not _is_pattern(text):
        return [text]
    found = sorted(glob.glob(text))
    if not found:
        raise InputError(f"{text}: nothing has such a name", kind="no-such-file")
    return found


def all_bits(texts: tuple[str, ...]) -> int:
    """FLAG bits of an option that may be repeated."""
    return functools.reduce(operator.or_, map(parse_flags, texts), 0)


def bed_rows(path: Path, reader: StoreReader) -> list[BedRow]:
    """Rows of a BED file whose contigs the store has.

    Raises
    ------
    InputError
        ``bad-bed``; ``unknown-contig``, naming the line.
    """
    rows = read_bed(path)
    for row in rows:
        if row.contig not in reader.contigs:
            try:
                reader.contigs.id_of(row.contig)
            except InputError as err:
                where = str(err).replace("the store", reader.store.name, 1)
                words = f"{path} line {row.line}: {where}"
                raise InputError(words, kind=err.kind, hint=err.hint) from None
    return rows


def write_records(
    records: Iterator[bytes],
    header: BamHeader,
    output: Path | None,
    form: str,
    with_header: bool,
    threads: int,
) -> None:
    """Records to a file, by its name, or to stdout as ``sam``, ``bam`` or ``uncompressed`` BAM."""
    from ..sam import write_alignments, write_alignments_file

    level = 0 if form == "uncompressed" else None
    if output is not None and str(output) != "-":
        write_alignments_file(
            records, header, output, threads=threads, level=level, index=False, force=True, on_warning=warn
        )
        return
    write_alignments(
        records,
        header,
        sys.stdout.buffer,
        "sam" if form == "sam" else "bam",
        threads=threads,
        level=level,
        with_header=with_header,
        on_warning=warn,
    )
