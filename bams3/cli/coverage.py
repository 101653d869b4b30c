"""``bams3 coverage``: depth per base, window, region or contig."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from .. import coverage, depth, kernels
from ..columns import Array
from ..coverage import DEFAULT_EXCLUDE_FLAGS, Rules
from ..errors import InputError
from ..filters import Filters
from ..format import spec
from ..kernels import SpanSums
from ..outputs import Rows, write_table
from ..query import StoreReader
from ..regions import MAX_BP, UNPLACED, BedRow, Region, parse_bp, parse_region
from . import warn
from .options import all_bits, bed_rows
from .options import threads as threads_option
from .remote import INPUT_FILE, OUTPUT_FILE, opened, s3_options


@s3_options
@click.command(short_help="Depth per base, window, region or contig.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@click.argument("regions", metavar="[REGION...]", nargs=-1)
@click.option("--window", metavar="BP", help="Mean depth of windows of this many bases.")
@click.option(
    "--regions-file",
    "-L",
    type=INPUT_FILE,
    metavar="BED",
    help="Mean, breadth (share of bases covered), least and most depth of regions, up to the contig's end.",
)
@click.option("--summary", is_flag=True, help="The columns of samtools coverage, a row a contig or REGION.")
@click.option(
    "--thresholds",
    metavar="N,N,...",
    help="Add how many bases of a window or region have depth N or more; mark N in a plot.",
)
@click.option(
    "--mode",
    type=click.Choice(["depth", "span"]),
    default="depth",
    show_default=True,
    help="depth: bases of M, =, X (samtools depth). span: first to last base (mosdepth -x).",
)
@click.option(
    "--require-flags", "-f", multiple=True, metavar="FLAG", help="Only reads with all of these bits."
)
@click.option(
    "--exclude-flags",
    "-F",
    multiple=True,
    metavar="FLAG",
    help="Only reads with none of these bits [UNMAP,SECONDARY,QCFAIL,DUP].",
)
@click.option("--min-mapq", "-q", default=0, type=click.IntRange(0, 255), help="Least mapping quality.")
@click.option("--min-bq", default=0, type=click.IntRange(0, 254), help="Least base quality.")
@click.option(
    "--output",
    "-o",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="A text file; .gz: BGZF with tabix index; .parquet, .arrow.",
)
@click.option(
    "--plot",
    type=OUTPUT_FILE,
    metavar="PNG",
    help="Draw depth along each REGION, or along the longest contigs with reads; a table only with -o.",
)
@threads_option
def command(
    store: str,
    regions: tuple[str, ...],
    window: str | None,
    regions_file: Path | None,
    summary: bool,
    thresholds: str | None,
    mode: str,
    require_flags: tuple[str, ...],
    exclude_flags: tuple[str, ...],
    min_mapq: int,
    min_bq: int,
    output: Path | None,
    plot: Path | None,
    threads: int,
) -> None:
    """Depth of STORE, or of each REGION: per base as bedGraph, or as one of the tables below.

    Windows of a multiple of 100 bp are answered from the index, if reads are counted by the default rules;
    all else reads positions and CIGARs, --min-bq and --summary base qualities too. Starts and ends are as
    in BED (0-based, half-open), in --summary as samtools coverage writes them. --plot draws 1,000 means a
    panel, from the index where they are of 100 bp or more; with --thresholds it marks these depths.

    \b
    Examples:
      bams3 coverage sample.bams3 chr20 > chr20.bedgraph
      bams3 coverage sample.bams3 --window 500 -o sample.regions.bed.gz
      bams3 coverage sample.bams3 -L targets.bed --thresholds 1,10,30
      bams3 coverage sample.bams3 --summary -q 20
      bams3 coverage sample.bams3 chr20:1M-2M --thresholds 10,30 --plot depth.png
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    kernels.keep_freed_memory()
    _check_options(bool(regions), window, regions_file, summary, plot, has_table=output is not None)
    above = _thresholds(thresholds)
    if above and window is None and regions_file is None and plot is None:
        raise InputError("--thresholds needs --window, --regions-file or --plot", kind="usage")
    flags = all_bits(exclude_flags) if exclude_flags else DEFAULT_EXCLUDE_FLAGS
    rules = Rules(mode, Filters(all_bits(require_flags), flags, min_mapq=min_mapq), min_bq)
    window_bp = None if window is None else _window(window)
    reader = opened(store)
    asked = [_placed(parse_region(text, reader.contigs)) for text in regions]
    wanted = asked or [Region(name) for name in reader.contigs.names]
    if plot is not None:
        from .coverage_plot import write_plot  # before anything is written: matplotlib may be missing

        write_plot(reader, rules, [_bounds(reader, region) for region in asked], above, plot, threads)
        if output is None:
            return
    places = wanted
    if regions_file is not None:
        bed = bed_rows(regions_file, reader)
        places = [_placed(row.region) for row in bed]
        rows = _of_rows(reader, rules, bed, above, threads)
    elif summary:
        rows = _summary(reader, rules, wanted, threads)
    elif window_bp is not None:
        rows = _of_windows(reader, rules, wanted, window_bp, above, threads)
    else:
        rows = _of_bases(reader, rules, wanted, threads)
    per_base = window is None and regions_file is None and not summary
    longest_bp = max(reader.contigs.lengths, default=0)
    to = None if output is None or str(output) == "-" else output
    has_index = not summary and to is not None and to.suffix == ".gz"
    if has_index and not _in_file_order(reader, places, one_row=regions_file is not None):
        warn(f"{to}: regions are not in the order of the store: no tabix index")
        has_index = False
    header = None if per_base else "#"
    write_table(rows, to, header=header, longest_bp=longest_bp if has_index else None, workers=threads)


def _in_file_order(reader: StoreReader, regions: list[Region], *, one_row: bool) -> bool:
    """Whether rows of these regions stand in the order of their starts, as tabix wants them."""
    starts = [(reader.contigs.id_of(region.contig), region.start_bp) for region in regions]
    if one_row:
        return starts == sorted(starts)
    ends = [(contig, region.end_bp) for (contig, _), region in zip(starts, regions, strict=True)]
    return all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def _check_options(
    has_regions: bool,
    window: str | None,
    regions_file: Path | None,
    summary: bool,
    plot: Path | None,
    *,
    has_table: bool,
) -> None:
    if sum((window is not None, regions_file is not None, summary)) > 1 or (has_regions and regions_file):
        message = "REGION and --regions-file, and --window, --regions-file and --summary, exclude each other"
        raise InputError(message, kind="usage")
    if plot is None:
        return
    if regions_file is not None or summary:
        other = "--summary" if summary else "--regions-file"
        hint = "give each REGION by itself, or none for the whole genome"
        raise InputError(f"--plot draws along regions, {other} does not", kind="usage", hint=hint)
    if window is not None and not has_table:
        hint = "leave it out (a plot chooses its own windows), or add -o"
        raise InputError("--window is for the table, and --plot alone writes none", kind="usage", hint=hint)
    if plot.suffix.lower() != ".png":
        raise InputError(f"{plot}: a plot is PNG", kind="usage", hint="give it a name with .png")


def _thresholds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = text.split(",")
    if not all(part.isdecimal() and 0 < int(part) < 1 << 31 for part in parts):
        raise InputError(f"--thresholds {text}: numbers above 0, with commas", kind="bad-thresholds")
    return tuple(map(int, parts))


def _window(text: str) -> int:
    size_bp = parse_bp(text)
    if not 0 < size_bp <= MAX_BP:
        raise InputError(f"--window {text}: a number of bases above 0", kind="bad-window")
    return size_bp


def _placed(region: Region) -> Region:
    if region.contig == UNPLACED:
        raise InputError("unplaced reads have no depth", kind="bad-region")
    return region


def _bounds(reader: StoreReader, region: Region) -> tuple[int, int, int]:
    """Contig number, start and end of a region, up to the contig's end."""
    contig = reader.contigs.id_of(region.contig)
    length = reader.contigs.lengths[contig]
    return contig, min(region.start_bp, length), min(region.end_bp, length)


def _of_bases(reader: StoreReader, rules: Rules, wanted: list[Region], threads: int) -> Iterator[Rows]:
    bounds = [_bounds(reader, region) for region in wanted]
    for contig, (start, end, runs) in depth.region_runs(reader, rules, bounds, threads):
        yield {"contig": reader.contigs.names[contig], "start": start, "end": end, "depth": runs}


def _of_windows(
    reader: StoreReader,
    rules: Rules,
    wanted: list[Region],
    size_bp: int,
    above: tuple[int, ...],
    threads: int,
) -> Iterator[Rows]:
    bounds = [_bounds(reader, region) for region in wanted]
    if rules.indexed and not above and all(_is_indexed(reader, bound, size_bp) for bound in bounds):
        yield from _of_indexed_windows(reader, bounds, size_bp)
        return
    for batch in depth.ascending(bounds):
        spans = {k: coverage.windows(low, high, size_bp) for k, low, high in batch}
        found = depth.span_depths(reader, rules, depth.wanted_of(batch), spans.__getitem__, above, threads)
        for contig, start, end, sums in found:
            mean = coverage.means(sums.sum, start, end)
            name = reader.contigs.names[contig]
            yield {"contig": name, "start": start, "end": end, "mean": mean, **_above(sums, above)}


def _is_indexed(reader: StoreReader, bound: depth.Bounds, size_bp: int) -> bool:
    """Whether every window begins and ends where one of the index's does, or at the contig's end."""
    contig, low, high = bound
    unit = spec.WINDOW_BP
    at_end = high == reader.contigs.lengths[contig]
    return size_bp % unit == 0 and low % unit == 0 and (high % unit == 0 or at_end)


def _of_indexed_windows(reader: StoreReader, bounds: list[depth.Bounds], size_bp: int) -> Iterator[Rows]:
    per_window = size_bp // spec.WINDOW_BP
    for (contig, low, high), units in zip(bounds, depth.indexed_sums(reader, bounds), strict=True):
        start, end = coverage.windows(low, high, size_bp)
        if units.size:
            sums = np.add.reduceat(units, np.arange(0, units.size, per_window))
            mean = coverage.means(sums, start, end)
            yield {"contig": reader.contigs.names[contig], "start": start, "end": end, "mean": mean}


def _of_rows(
    reader: StoreReader, rules: Rules, rows: list[BedRow], above: tuple[int, ...], threads: int
) -> Iterator[Rows]:
    regions = [_placed(row.region) for row in rows]
    sums, start, end = depth.depths_of(reader, rules, regions, above, threads)
    # Bounds as they were given, so that tables of samples on other references fit together; what lies
    # beyond a contig's end has no bases, and does not lower means.
    yield {
        "contig": [row.contig for row in rows],
        "start": np.array([row.start_bp for row in rows], np.int64),
        "end": np.array([row.end_bp for row in rows], np.int64),
        "name": [row.name for row in rows],
        "mean": coverage.means(sums.sum, start, end),
        "breadth": coverage.means(sums.covered, start, end),
        "min": sums.least,
        "max": sums.most,
        **_above(sums, above),
    }


def _above(sums: SpanSums, thresholds: tuple[int, ...]) -> dict[str, Array]:
    return {f"{n}X": sums.above[:, i] for i, n in enumerate(thresholds)}


def _summary(reader: StoreReader, rules: Rules, wanted: list[Region], threads: int) -> Iterator[Rows]:
    """The columns of samtools coverage, and its digits."""
    names, lengths = reader.contigs.names, reader.contigs.lengths
    for batch in depth.ascending([_bounds(reader, region) for region in wanted]):
        # samtools counts reads beyond the end of a contig that it is asked for whole.
        reaching = [(k, first, stop if stop < lengths[k] else MAX_BP) for k, first, stop in batch]
        low, high = np.zeros((2, len(names)), np.int64)
        for contig, first, stop in reaching:
            low[contig], high[contig] = first, stop
        tally = depth.Tally(low, high, rules.min_bq)
        spans = depth.wanted_of(batch).__getitem__
        reads = depth.wanted_of(reaching)
        found = list(depth.span_depths(reader, rules, reads, spans, (), threads, tally))
        for contig, start, end, sums in found:
            n_reads, mapq, quality, bases = tally.sums[:, contig].tolist()
            size_bp = int(end[0] - start[0]) or 1
            yield {
                "rname": names[contig],
                "startpos": start + 1,
                "endpos": end,
                "numreads": np.array([n_reads]),
                "covbases": sums.covered,
                "coverage": [f"{100 * int(sums.covered[0]) / size_bp:g}"],
                "meandepth": [f"{int(sums.sum[0]) / size_bp:g}"],
                "meanbaseq": [f"{quality / bases if bases else 0:.3g}"],
                "meanmapq": [f"{mapq / n_reads if n_reads else 0:.3g}"],
            }
