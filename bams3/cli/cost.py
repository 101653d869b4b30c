"""``bams3 cost``: what a store, or a planned cohort, costs in S3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..estimate import (
    CASES,
    CONVERT_VCPU_S_PER_MB,
    MB_BYTES,
    PROCESS_VCPU_S,
    QUESTIONS,
    READ_VCPU_S_PER_MB,
    Bill,
    Holding,
    Prices,
    Usage,
    frames_bytes,
    parse_prices,
    usage_by_region,
    usage_of,
)
from ..format import spec
from ..planned import GRCH38, HEADER_BYTES, READ_LENGTH_BP, even_depth, even_pieces, pieces_of, planned_store
from ..query import StoreReader
from ..regions import MAX_BP, ContigTable, Region, parse_bp, parse_region
from ..store import Store
from .options import bed_rows
from .remote import INPUT_FILE, opened, s3_options

#: Chunk sizes of --what-if, bp.
_SPANS = {"256K": 256_000, "512K": 512_000, "1M": 1_000_000, "2M": 2_000_000, "4M": 4_000_000}
_DEFAULTS = Path(__file__).parents[1] / "prices.yaml"


@s3_options
@click.command(short_help="What a store or a planned cohort costs in S3.", no_args_is_help=True)
@click.argument("arguments", metavar="[STORE] [REGION...]", nargs=-1)
@click.option("--regions-file", "-L", type=INPUT_FILE, metavar="BED", help="Regions from a BED file.")
@click.option(
    "--samples",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10**9),
    help="Samples, each like STORE or the plan.",
)
@click.option(
    "--question",
    type=click.Choice(QUESTIONS),
    help="count (with regions, the default); records (without, the default); depth: of the regions, from"
    " positions and CIGARs; windows: of their whole contigs, from the index.",
)
@click.option("--what-if", is_flag=True, help="Compare chunk sizes from 256K to 4M.")
@click.option("--reads", metavar="N", help="Plan stores of this many reads each, such as 800M; no STORE.")
@click.option(
    "--read-length",
    type=click.IntRange(1, 100_000),
    metavar="BP",
    help=f"Of a plan: bases of a read [{READ_LENGTH_BP}].",
)
@click.option("--chunk-size", metavar="256K..8M", help="Of a plan: bases of a contig in one chunk [1M].")
@click.option(
    "--genome",
    type=INPUT_FILE,
    metavar="FAI",
    help="Of a plan: contigs and lengths, as samtools faidx writes them [GRCh38: chr1-22, X, Y, M].",
)
@click.option(
    "--prices",
    "prices_file",
    type=INPUT_FILE,
    default=_DEFAULTS,
    metavar="YAML",
    help="Prices, as in config/prices.yaml, which is the default.",
)
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON, with what it was computed from.")
def command(
    arguments: tuple[str, ...],
    regions_file: Path | None,
    samples: int,
    question: str | None,
    what_if: bool,
    reads: str | None,
    read_length: int | None,
    chunk_size: str | None,
    genome: Path | None,
    prices_file: Path,
    as_json: bool,
) -> None:
    """Requests, bytes and USD in S3: of keeping and making stores, and of one question to each of them.

    STORE stands for every sample: its index says what query and coverage read for REGIONs. Without STORE,
    --reads plans stores of reads that cover a genome evenly, from sizes that were measured once: your data
    will differ. The columns compare where the reader is: in the bucket's region, in another, or outside of
    AWS. Compute is an estimate. A MB has 10^6 bytes; AWS bills by GB of 2^30.

    \b
    Examples:
      bams3 cost sample.bams3
      bams3 cost sample.bams3 chr17:43044295-43125364 --samples 1000
      bams3 cost sample.bams3 -L targets.bed --samples 1000 --question depth --json
      bams3 cost --reads 800M --samples 1000 chr17:43044295-43125364 --what-if
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    prices = _read_prices(prices_file)
    if reads is None:
        options = {"--read-length": read_length, "--chunk-size": chunk_size, "--genome": genome}
        model = _of_store(arguments, [name for name, value in options.items() if value is not None])
        texts = arguments[1:]
    else:
        model = _of_plan(arguments, reads, read_length or READ_LENGTH_BP, chunk_size or "1M", genome)
        texts = arguments
    if texts and regions_file:
        raise InputError("regions and --regions-file exclude each other", kind="usage")
    regions = [parse_region(text, model.reader.contigs) for text in texts]
    if regions_file:
        regions = [row.region for row in bed_rows(regions_file, model.reader)]
    asked = _Asked(question or ("count" if regions else "records"), regions, samples)
    report = _report(model, asked, prices, what_if)
    for line in [json.dumps(report, indent=1)] if as_json else _text(report):
        click.echo(line)


@dataclass(frozen=True)
class _Model:
    """The store that stands for every sample, and how it would be with other spans."""

    words: dict[str, Any]
    reader: StoreReader
    with_span: Callable[[int], Store]


@dataclass(frozen=True)
class _Asked:
    """A question, its regions (none: all), and how many samples it is put to."""

    question: str
    regions: Sequence[Region]
    samples: int


# ---- what is given ----


def _read_prices(path: Path) -> Prices:
    import yaml  # type: ignore[import-untyped]  # PyYAML has no types of its own

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "not text"
        raise InputError(f"cannot read {path}: {reason}", kind="bad-prices") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        mark = getattr(err, "problem_mark", None)
        where = f"{path} line {mark.line + 1}" if mark else f"{path}"
        hint = "write a line a price, key: number, as in config/prices.yaml"
        raise InputError(f"{where} is not YAML", kind="bad-prices", hint=hint) from err
    return parse_prices(value, str(path))


def _of_store(arguments: tuple[str, ...], of_plans: list[str]) -> _Model:
    if not arguments:
        raise InputError("no STORE", kind="usage", hint="name one, or plan stores with --reads N")
    if of_plans:
        hint = "--what-if compares chunk sizes of a store" if "--chunk-size" in of_plans else ""
        raise InputError(f"{of_plans[0]} is for plans, with --reads", kind="usage", hint=hint)
    reader = opened(arguments[0])
    pieces = cache(lambda: pieces_of(reader))

    def with_span(span_bp: int) -> Store:
        depth = [frames_bytes(reader, number) for number in range(len(reader.contigs))]
        header_bytes = reader.manifest.header.size_bytes
        return planned_store(pieces(), reader.contigs, span_bp, depth, header_bytes)

    return _Model({"store": arguments[0]}, reader, with_span)


def _of_plan(
    arguments: tuple[str, ...], reads: str, read_length_bp: int, chunk_size: str, genome: Path | None
) -> _Model:
    named = next((a for a in arguments if Path(a).is_dir() or a.rstrip("/").endswith(".bams3")), None)
    if named is not None:
        raise InputError(f"{named} is a store, --reads a plan: one of them", kind="usage")
    contigs = GRCH38 if genome is None else _read_fai(genome)
    pieces = even_pieces(contigs, _reads(reads), read_length_bp)

    def with_span(span_bp: int) -> Store:
        return planned_store(pieces, contigs, span_bp, even_depth(contigs), HEADER_BYTES)

    span_bp = parse_bp(chunk_size)
    if not spec.MIN_CHUNK_SPAN_BP <= span_bp <= spec.MAX_CHUNK_SPAN_BP:
        raise InputError(f"--chunk-size {chunk_size}: 256K to 8M", kind="bad-chunk-size")
    words = {"reads": _reads(reads), "read_length_bp": read_length_bp, "genome_bp": sum(contigs.lengths)}
    return _Model(words, StoreReader(with_span(span_bp)), with_span)


def _reads(text: str) -> int:
    try:
        n = parse_bp(text)
    except InputError:
        n = 0
    if not 0 < n <= 10**12:
        raise InputError(f"--reads {text}: a number of reads above 0, such as 800M", kind="usage")
    return n


def _read_fai(path: Path) -> ContigTable:
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "not text"
        raise InputError(f"cannot read {path}: {reason}", kind="bad-genome") from err
    for number, row in enumerate(rows, 1):
        if not (len(row) > 1 and row[1].isdecimal() and 0 < int(row[1]) <= MAX_BP):
            hint = "a row is: contig, tab, length; samtools faidx writes such a file"
            raise InputError(f"{path} line {number}: no contig and length", kind="bad-genome", hint=hint)
    if not rows:
        raise InputError(f"{path} holds no contig", kind="bad-genome")
    return ContigTable(tuple(row[0] for row in rows), tuple(int(row[1]) for row in rows))


# ---- the report, as JSON has it ----


def _report(model: _Model, asked: _Asked, prices: Prices, what_if: bool) -> dict[str, Any]:
    reader, n = model.reader, asked.samples
    holding = Holding.of(reader)
    usages = {"one a sample": usage_of(reader.store, asked.question, asked.regions)}
    if len(asked.regions) > 1:
        usages["one a region"] = usage_by_region(reader.store, asked.question, asked.regions)
    report = {
        "basis": "store" if "store" in model.words else "plan",
        **model.words,
        "records": reader.manifest.records,
        "chunk_size_bp": reader.manifest.span_bp,
        "samples": n,
        "stores": _of_holding(holding, n, prices),
        "question": asked.question,
        "regions": len(asked.regions),
        "asked": [{"processes": how, **_of_usage(u.times(n), prices)} for how, u in usages.items()],
        "prices": asdict(prices),
        "estimates": {
            "process_vcpu_s": PROCESS_VCPU_S,
            "read_vcpu_s_per_mb": READ_VCPU_S_PER_MB,
            "convert_vcpu_s_per_mb": CONVERT_VCPU_S_PER_MB,
        },
    }
    return report | ({"what_if": list(_what_if(model, asked, prices))} if what_if else {})


def _of_holding(holding: Holding, samples: int, prices: Prices) -> dict[str, Any]:
    vcpu_hours = samples * holding.convert_vcpu_hours
    return {
        "chunks": samples * holding.chunks,
        "objects": samples * holding.objects,
        "mb": samples * holding.size_bytes / MB_BYTES,
        "storage_usd_per_month": samples * holding.storage_usd_per_month(prices),
        "put_requests": samples * holding.puts,
        "put_usd": samples * holding.put_usd(prices),
        "convert_vcpu_hours": vcpu_hours,
        "convert_usd": vcpu_hours * prices.vcpu_usd_per_hour,
    }


def _of_usage(usage: Usage, prices: Prices) -> dict[str, Any]:
    bill = Bill.of(usage, prices)
    return {
        "n_processes": usage.processes,
        "get_requests": usage.requests,
        "read_mb": usage.size_bytes / MB_BYTES,
        "vcpu_hours": usage.vcpu_hours,
        "get_usd": bill.requests_usd,
        "compute_usd": bill.compute_usd,
        "transfer_usd": bill.transfer_usd,
        "total_usd": bill.total_usd,
    }


def _what_if(model: _Model, asked: _Asked, prices: Prices) -> Iterator[dict[str, Any]]:
    """The store or plan as it is, and cut by other chunk sizes."""
    own_bp = model.reader.manifest.span_bp
    for span_bp in sorted({*_SPANS.values(), own_bp}):
        is_real = span_bp == own_bp and "store" in model.words
        reader = model.reader if span_bp == own_bp else StoreReader(model.with_span(span_bp))
        usage = usage_of(reader.store, asked.question, asked.regions).times(asked.samples)
        yield {
            "chunk_size_bp": span_bp,
            "figures": "indexed" if is_real else "modelled",
            "stores": _of_holding(Holding.of(reader), asked.samples, prices),
            "asked": _of_usage(usage, prices),
        }


# ---- the same as text ----


def _text(report: dict[str, Any]) -> Iterator[str]:
    n = report["samples"]
    yield from _head(report)
    yield ""
    yield from _table(_holding_rows(report["stores"], n))
    for one in report["asked"]:
        regions = (
            f"{report['regions']:,} region{'s' * (report['regions'] != 1)}" if report["regions"] else "all"
        )
        yield ""
        yield from _table(
            _asked_rows(f"{report['question']} of {regions}, a process {one['processes'][4:]}", one)
        )
    if "what_if" in report:
        yield ""
        yield from _table(_what_if_rows(report))
        yield "indexed: from the store's index. modelled: as if reads lay evenly (in each row group of the"
        yield "store, over the genome of a plan) and were cut by this chunk size."


def _head(report: dict[str, Any]) -> Iterator[str]:
    prices, n = report["prices"], f"{report['samples']:,} sample{'s' * (report['samples'] != 1)}"
    size = f"chunks of {_bp(report['chunk_size_bp'])}"
    if report["basis"] == "store":
        yield f"{n}, each as {report['store']}: {report['records']:,} records, {size}"
    else:
        genome = f"{report['genome_bp']:,} bp"
        yield f"a plan, from measured constants: {n} of {report['reads']:,} reads, {size}"
        yield f"reads of {report['read_length_bp']:,} bp that cover {genome} evenly; your data will differ"
    yield f"prices of {prices['region']}, {prices['as_of']}; vCPU-hours are estimates, without waiting for S3"


def _holding_rows(stores: dict[str, Any], samples: int) -> Iterator[list[str]]:
    yield ["stores" if samples > 1 else "the store", "amount", "usd_once", "usd_per_month"]
    yield ["storage, MB", _number(stores["mb"]), "", _usd(stores["storage_usd_per_month"])]
    yield ["objects", _number(stores["objects"]), "", ""]
    yield ["conversion, PUT requests", _number(stores["put_requests"]), _usd(stores["put_usd"]), ""]
    yield ["conversion, vCPU-hours", _number(stores["convert_vcpu_hours"]), _usd(stores["convert_usd"]), ""]


def _asked_rows(title: str, one: dict[str, Any]) -> Iterator[list[str]]:
    yield [title, "amount", *(f"{case}_usd" for case in CASES)]
    yield ["GET requests", _number(one["get_requests"]), *[_usd(one["get_usd"])] * len(CASES)]
    yield ["transfer, MB", _number(one["read_mb"]), *(_usd(one["transfer_usd"][case]) for case in CASES)]
    yield ["compute, vCPU-hours", _number(one["vcpu_hours"]), *[_usd(one["compute_usd"])] * len(CASES)]
    yield ["total", "", *(_usd(one["total_usd"][case]) for case in CASES)]


def _what_if_rows(report: dict[str, Any]) -> Iterator[list[str]]:
    titles = "figures chunks stores_MB usd_per_month PUT_usd GET_requests read_MB".split()
    yield ["chunk_size", *titles, *(f"{case}_usd" for case in CASES)]
    for row in report["what_if"]:
        stores, asked = row["stores"], row["asked"]
        kept = (_number(stores["mb"]), _usd(stores["storage_usd_per_month"]), _usd(stores["put_usd"]))
        read = (_number(asked["get_requests"]), _number(asked["read_mb"]))
        totals = (_usd(asked["total_usd"][case]) for case in CASES)
        size = _bp(row["chunk_size_bp"])
        yield [size, row["figures"], _number(stores["chunks"]), *kept, *read, *totals]


def _table(rows: Iterator[list[str]]) -> Iterator[str]:
    """Rows as lines: the first column to the left, numbers to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *cells in table:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded]).rstrip()


def _bp(size_bp: int) -> str:
    for unit, suffix in ((10**6, "M"), (1000, "K")):
        if size_bp % unit == 0:
            return f"{size_bp // unit}{suffix}"
    return str(size_bp)


def _number(value: float) -> str:
    """Three digits at least; thousands with commas."""
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else _usd(value)


def _usd(value: float) -> str:
    """Cents, or two digits where there are none."""
    if value == 0 or value >= 1:
        return f"{value:,.2f}" if value else "0"
    places = 2
    while places < 12 and round(value, places) < 10 ** (1 - places):
        places += 1
    return f"{value:.{places}f}"
