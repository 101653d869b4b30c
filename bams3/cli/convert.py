"""``bams3 convert``: alignments to a store."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click

from .. import kernels
from ..bai import load_record_starts
from ..errors import InputError
from ..format import index, spec
from ..format.frames import Compression
from ..ingest import ConvertOptions, ConvertReport, Source, convert, memory_bytes, workers_within
from ..progress import Progress
from ..regions import parse_bp, parse_bytes
from ..slices import Slice
from ..slicing import convert_slice, seal_slices
from ..store import LocalStore, Store, is_s3
from ..store.base import MissingObjectError
from . import warn
from .making import manifest_to_replace, peak_bytes, provenance_of
from .options import quiet as quiet_option
from .options import threads as threads_option
from .remote import INPUT_FILE, folder, requests, s3_options
from .remote import store as store_of
from .slices import slice_option

#: How much of an input is looked at to tell what it is.
_HEAD_BYTES = 1 << 16


@s3_options
@click.command(short_help="Alignments to a store.", no_args_is_help=True)
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT.bams3")
@click.option(
    "--reference",
    type=INPUT_FILE,
    metavar="FASTA",
    help="Reference of a CRAM; its .fai index is made beside it where there is none.",
)
@threads_option
@click.option("--chunk-size", default="1M", metavar="256K..8M", help="Bases of a contig in one chunk (1M).")
@click.option(
    "--chunk-records",
    default=spec.CHUNK_RECORDS,
    show_default=True,
    type=click.IntRange(1, 10_000_000),
    help="Most records in one chunk.",
)
@click.option(
    "--compression",
    type=click.Choice(["auto", "zstd", "none"]),
    default="auto",
    show_default=True,
    help="auto: columns predicted from each other; zstd, none: plain columns.",
)
@click.option(
    "--level",
    default=1,
    show_default=True,
    type=click.IntRange(1, 19),
    help="Level of zstd; most of what auto stores is not zstd's.",
)
@click.option(
    "--max-memory", metavar="SIZE", help="Memory not to pass, such as 800M; fewer threads if need be."
)
@slice_option("Convert this slice alone, in any order, on any machine; then --seal.")
@click.option("--seal", is_flag=True, help="Make the store of the slices, when all are done.")
@click.option("--force", is_flag=True, help="Replace a store that is there.")
@click.option("--json", "as_json", is_flag=True, help="Write what was done, with seconds by stage, as JSON.")
@quiet_option
def command(
    source: str,
    output: str,
    reference: Path | None,
    threads: int,
    chunk_size: str,
    chunk_records: int,
    compression: str,
    level: int,
    max_memory: str | None,
    which: Slice | None,
    seal: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert IN, a coordinate-sorted BAM, SAM or CRAM file (- reads stdin), into the store OUT.bams3.

    A conversion that was killed goes on where it stopped when the same command is run again.

    One large BAM can be spread over jobs or machines: each runs --slice i/n, with the same options, and when
    all are done, one runs --seal. The store is that of a single process. An index beside IN is used.

    \b
    Examples:
      bams3 convert sample.bam sample.bams3
      bams3 convert --workers 16 sample.bam sample.bams3
      bams3 convert --reference GRCh38.fa sample.cram sample.bams3
      samtools sort -u unsorted.bam | bams3 convert - sample.bams3
      bams3 convert s3://bucket/sample.bam s3://bucket/sample.bams3
      bams3 convert sample.bam sample.bams3 --slice 3/8
      bams3 convert sample.bam sample.bams3 --seal
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    started_s = time.perf_counter()
    kernels.keep_freed_memory()
    if seal and which:
        raise click.UsageError("--slice and --seal exclude each other: seal when all slices are done")
    task = _Task(source, store_of(output), which, seal)
    span_bp = _chunk_span(chunk_size)
    replaces = manifest_to_replace(task.store, force, is_own=index.is_store_key)
    with _open(task, reference, threads) as (opened, size_bytes):
        total = None if opened.through_htslib or which or seal else size_bytes
        with Progress(total, "bytes", "convert", enabled=not quiet) as progress:
            fitting = _threads_within(max_memory, threads, opened.through_htslib)
            options = ConvertOptions(span_bp, chunk_records, Compression(compression, level), fitting)
            report = task.run(opened, options, replaces, progress)
    size_in = report.bytes_in if size_bytes is None or which or seal else size_bytes
    elapsed_s = time.perf_counter() - started_s
    if as_json:
        about = {"slice": str(which)} if which else {}
        click.echo(json.dumps(about | _as_json(report, size_in, elapsed_s), indent=1))
    elif seal and not quiet:
        made = f"{report.records:,} reads, {report.chunks:,} chunks, {report.bytes_out / 1e6:,.1f} MB"
        click.echo(f"sealed in {elapsed_s:.1f} s: {made}", err=True)
    elif not quiet:
        click.echo(f"slice {which}: " * bool(which) + _summary(report, size_in, elapsed_s), err=True)


class _Task(NamedTuple):
    """What to do: convert all of an input, or one slice of it, or seal its slices."""

    source: str
    store: Store
    which: Slice | None
    seal: bool

    def run(
        self, opened: Source, options: ConvertOptions, replaces: bytes | None, progress: Progress
    ) -> ConvertReport:
        if self.which:
            return convert_slice(
                opened,
                self.store,
                options,
                self.which,
                known=load_record_starts(*_place(self.source)),
                on_start=progress.expect,
                on_progress=progress.advance,
                on_warning=warn,
            )
        provenance = provenance_of(self.source)
        if self.seal:
            return seal_slices(
                opened, self.store, options, replaces=replaces, provenance=provenance, on_warning=warn
            )
        return convert(
            opened,
            self.store,
            options,
            replaces=replaces,
            provenance=provenance,
            on_progress=progress.advance,
            on_warning=warn,
        )


def _chunk_span(text: str) -> int:
    span_bp = parse_bp(text)
    if not spec.MIN_CHUNK_SPAN_BP <= span_bp <= spec.MAX_CHUNK_SPAN_BP:
        raise InputError(f"--chunk-size {text}: 256K to 8M", kind="bad-chunk-size")
    return span_bp


def _threads_within(max_memory: str | None, threads: int, through_htslib: bool) -> int:
    """No more threads than the memory allows."""
    if max_memory is None:
        return threads
    fitting = workers_within(parse_bytes(max_memory), through_htslib)
    if fitting < 1:
        smallest = -(-memory_bytes(1, through_htslib) >> 20)
        raise InputError(
            f"--max-memory {max_memory} is too small",
            kind="too-little-memory",
            hint=f"the smallest that works is {smallest}M",
        )
    return min(threads, fitting)


class _Input(NamedTuple):
    """What is known of an input; ``stream`` is open where it is not a file that can be opened by its path."""

    form: str
    size_bytes: int | None
    identity: dict[str, Any] | None
    stream: BinaryIO | None
    seekable: bool


@contextlib.contextmanager
def _open(task: _Task, reference: Path | None, threads: int) -> Iterator[tuple[Source, int | None]]:
    """The input as BGZF blocks, and its size if known: a BAM as it is, all else through htslib."""
    from ..sam import open_as_bam

    name, path = task.source, Path(task.source)
    label = "stdin" if name == "-" else name
    sliced = bool(task.which) or task.seal
    if sliced and (name == "-" or (not is_s3(name) and path.is_fifo())):
        raise _not_sliceable(label, "a pipe", "write it to a file first")
    with contextlib.ExitStack() as stack:
        found = _look_at(name, label, stack)
        if found.form == "bam":
            file = found.stream or stack.enter_context(path.open("rb", buffering=0))
            yield Source(label, file, found.identity, found.seekable), found.size_bytes
            return
        if sliced:
            form = "a BAM without BGZF blocks" if found.form == "other-bam" else found.form.upper()
            raise _not_sliceable(label, form, f"make a BAM of it: samtools view -b -o in.bam {label}")
        given = found.stream or path
        bam = stack.enter_context(open_as_bam(given, reference=reference, threads=threads, on_warning=warn))
        yield Source(label, bam, found.identity, seekable=False, through_htslib=True), found.size_bytes


def _not_sliceable(label: str, form: str, cure: str) -> InputError:
    words = f"{label}: --slice and --seal take a BAM file, not {form}"
    return InputError(words, kind="not-sliceable", hint=f"{cure}, or convert it whole, without --slice")


def _place(name: str) -> tuple[Store, str]:
    """What lies beside an input, and its name there."""
    return folder(name) if is_s3(name) else (LocalStore(Path(name).parent), Path(name).name)


def _look_at(name: str, label: str, stack: contextlib.ExitStack) -> _Input:
    """What an input is; a stream that is opened for it is closed with the stack."""
    from ..sam import detect, sniff

    path = Path(name)
    if is_s3(name):
        from ..store.s3_stream import S3Stream

        try:
            remote = S3Stream(*folder(name))
        except MissingObjectError as err:
            raise InputError(f"{name}: no such object", kind="no-such-file") from err
        stream = stack.enter_context(io.BufferedReader(remote, _HEAD_BYTES))
        identity = {"size_bytes": remote.size_bytes, "etag": remote.etag}
        return _Input(sniff(stream.peek(_HEAD_BYTES), label), remote.size_bytes, identity, stream, True)
    if name == "-" or path.is_fifo():
        file = sys.stdin.buffer if name == "-" else stack.enter_context(path.open("rb"))
        assert isinstance(file, io.BufferedReader)
        return _Input(sniff(file.peek(_HEAD_BYTES), label), None, None, file, False)
    form, about = detect(path), path.stat()
    identity = {"size_bytes": about.st_size, "mtime_ns": about.st_mtime_ns}
    return _Input(form, about.st_size, identity, None, True)


def _as_json(report: ConvertReport, bytes_in: int, elapsed_s: float) -> dict[str, Any]:
    return {
        "records": report.records,
        "elapsed_s": round(elapsed_s, 3),
        "records_per_s": round(report.records / elapsed_s),
        "bytes_in": bytes_in,
        "bytes_out": report.bytes_out,
        "peak_memory_bytes": peak_bytes(),
        "chunks": report.chunks,
        "spans_encoded": report.spans_encoded,
        "spans_resumed": report.spans_resumed,
        "stages": report.stages,
        "requests": requests(),
    }


def _summary(report: ConvertReport, bytes_in: int, elapsed_s: float) -> str:
    resumed = f", {report.spans_resumed} spans were done before" if report.spans_resumed else ""
    return (
        f"{report.records:,} reads in {elapsed_s:.1f} s ({report.records / elapsed_s:,.0f} reads/s), "
        f"{bytes_in / 1e6:,.1f} MB in, {report.bytes_out / 1e6:,.1f} MB out, "
        f"peak memory {peak_bytes() / 1e6:,.0f} MB{resumed}"
    )
