"""The figure of ``bams3 coverage --plot``: which spans it shows, in which windows, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import coverage, depth
from ..columns import Array
from ..coverage import Rules
from ..depth import Bounds
from ..errors import InputError
from ..files import replaced
from ..filters import FLAG_NAMES
from ..format import spec
from ..htslib import write_errors
from ..plots import MAX_PANELS, Panel, write_depth
from ..query import StoreReader
from ..regions import MAX_BP
from ..stats import Stats
from . import counted
from .options import sample_name

#: Windows of a panel, and contigs of a whole genome, at most.
MAX_WINDOWS, MAX_CONTIGS = 1_000, 30
#: Shorter spans have windows of any size, down to one base.
EXACT_BP = MAX_WINDOWS * spec.WINDOW_BP


def write_plot(
    reader: StoreReader,
    rules: Rules,
    bounds: Sequence[Bounds],
    thresholds: tuple[int, ...],
    path: Path,
    threads: int,
) -> None:
    """Draw depth along each region, or along the whole genome without one; all of the file or none.

    Raises
    ------
    InputError
        ``usage``: more regions than a figure has room for.
    """
    if len(bounds) > MAX_PANELS:
        message = f"--plot draws {MAX_PANELS} regions at most, not {len(bounds):,}"
        hint = "draw some of them, or the whole genome without a region"
        raise InputError(message, kind="usage", hint=hint)
    notes = rule_notes(rules)
    if bounds:
        panels = panels_of(reader, rules, bounds, threads)
    else:
        shown, others, n_empty = choose_contigs(reader)
        panels = panels_of(reader, rules, [(k, 0, reader.contigs.lengths[k]) for k in shown], threads)
        notes += _notes_on_others(reader, rules, panels, others, n_empty, threads)
    name = sample_name(reader.store.name)
    with replaced(path) as partial, write_errors(str(path)):
        write_depth(panels, f"Depth of {name}", notes, thresholds, partial)


# ---- windows ----


def plot_window(size_bp: int) -> int:
    """Windows that cut a span into about MAX_WINDOWS at most: two digits and zeros, 100s from 100 kb on."""
    window_bp = max(-(-size_bp // (MAX_WINDOWS + 1)), 1)  # chr1:1M-2M has a base more than 1 Mb
    unit_bp = int(10 ** max(len(str(window_bp)) - 2, 0))
    window_bp = -(-window_bp // unit_bp) * unit_bp
    return window_bp if size_bp < EXACT_BP else -(-window_bp // spec.WINDOW_BP) * spec.WINDOW_BP


def panels_of(reader: StoreReader, rules: Rules, bounds: Sequence[Bounds], threads: int) -> list[Panel]:
    """A panel of each region, from the index where it answers."""
    spans = [(contig, *_windows(reader, contig, low, high)) for contig, low, high in bounds]
    from_index = [rules.indexed and high - low >= EXACT_BP for _, low, high in bounds]
    to_read = [span for span, indexed in zip(spans, from_index, strict=True) if not indexed]
    found = _read_means(reader, rules, to_read, threads)
    ready = _indexed_means(reader, [span for span, indexed in zip(spans, from_index, strict=True) if indexed])
    panels = []
    for (contig, low, high), (_, starts, ends), indexed in zip(bounds, spans, from_index, strict=True):
        means = next(ready if indexed else found)
        panels.append(Panel(_name(reader, contig, low, high), low, high, starts, ends, means))
    return panels


def _windows(reader: StoreReader, contig: int, low: int, high: int) -> tuple[Array, Array]:
    """Windows of a region; from 100 kb on they lie on those of the index, across the region's ends too."""
    if high - low >= EXACT_BP:
        unit = spec.WINDOW_BP
        whole = low // unit * unit, min(-(-high // unit) * unit, reader.contigs.lengths[contig])
        return coverage.windows(*whole, plot_window(high - low))
    return coverage.windows(low, high, plot_window(high - low))


def _indexed_means(reader: StoreReader, spans: Sequence[tuple[int, Array, Array]]) -> Iterator[Array]:
    """Means of the windows of each span, which lie on those of the index."""
    bounds = [(contig, int(starts[0]), int(ends[-1])) for contig, starts, ends in spans]
    for (_, low, _), (_, starts, ends), sums in zip(
        bounds, spans, depth.indexed_sums(reader, bounds), strict=True
    ):
        yield coverage.means(np.add.reduceat(sums, (starts - low) // spec.WINDOW_BP), starts, ends)


def _read_means(
    reader: StoreReader, rules: Rules, spans: Sequence[tuple[int, Array, Array]], threads: int
) -> Iterator[Array]:
    """Means of the windows of each span, in their order."""
    bounds = [(k, int(starts.min(initial=MAX_BP)), int(ends.max(initial=0))) for k, starts, ends in spans]
    left = iter(spans)
    for batch in depth.ascending(bounds):
        windows = {contig: next(left)[1:] for contig, _, _ in batch}
        of = depth.wanted_of(batch)
        for _, start, end, sums in depth.span_depths(reader, rules, of, windows.__getitem__, (), threads):
            yield coverage.means(sums.sum, start, end)


def _name(reader: StoreReader, contig: int, low: int, high: int) -> str:
    name = reader.contigs.names[contig]
    is_whole = (low, high) == (0, reader.contigs.lengths[contig])
    return name if is_whole or low >= high else f"{name}:{low + 1:,}-{high:,}"


# ---- a whole genome ----


def choose_contigs(reader: StoreReader) -> tuple[list[int], list[int], int]:
    """In file order the longest contigs with mapped reads, and the others with some; how many have none."""
    lengths = reader.contigs.lengths
    mapped = Stats.of(reader.contigs, reader.totals).mapped
    filled = [k for k in np.flatnonzero(mapped).tolist() if lengths[k]]
    ranked = sorted(filled, key=lambda k: -lengths[k])
    return sorted(ranked[:MAX_CONTIGS]), sorted(ranked[MAX_CONTIGS:]), len(lengths) - len(filled)


def _notes_on_others(
    reader: StoreReader, rules: Rules, panels: Sequence[Panel], others: list[int], n_empty: int, threads: int
) -> list[str]:
    """A line on the contigs that are not drawn; none if all are."""
    words = [] if panels else ["No contig has mapped reads."]
    if others:
        drawn = sum(float(panel.means @ (panel.ends - panel.starts)) for panel in panels)
        rest = _n_bases(reader, rules, others, threads)
        share = 100 * rest / (drawn + rest or 1)
        percent = "less than 0.1%" if 0 < share < 0.1 else f"{share:.1f}%"
        bases = f"{'aligned' if rules.mode == 'depth' else 'spanned'} bases"
        they_have = f"the {len(others):,} others have" if len(others) > 1 else "the other has"
        words.append(f"The {len(panels)} longest of {len(panels) + len(others):,} contigs with reads;")
        words.append(f"{they_have} {percent} of the {bases}.")
    if n_empty and panels:
        are = "is" if n_empty == 1 else "are"
        words.append(f"{counted(n_empty, 'contig')} without reads {are} not shown.")
    return [" ".join(words)] if words else []


def _n_bases(reader: StoreReader, rules: Rules, contigs: Sequence[int], threads: int) -> int:
    """Bases that count on some contigs."""
    if rules.indexed:
        bounds = [(k, 0, reader.contigs.lengths[k]) for k in contigs]
        return sum(int(sums.sum()) for sums in depth.indexed_sums(reader, bounds))
    of = depth.wanted_of((k, 0, reader.contigs.lengths[k]) for k in contigs)
    found = depth.span_depths(reader, rules, of, of.__getitem__, (), threads)
    return sum(int(sums.sum.sum()) for *_, sums in found)


# ---- rules ----


def rule_notes(rules: Rules) -> list[str]:
    """A line with the options that are not the default; none if all are."""
    words, usual = _options(rules), _options(Rules())
    given = [f"{option} {value}" for option, value in words.items() if value != usual[option]]
    return [f"Counted with {' '.join(given)}."] if given else []


def _options(rules: Rules) -> dict[str, str]:
    filters = rules.filters
    return {
        "--mode": rules.mode,
        "--require-flags": _flags_text(filters.require_flags),
        "--exclude-flags": _flags_text(filters.exclude_flags),
        "--min-mapq": str(filters.min_mapq),
        "--min-bq": str(rules.min_bq),
    }


def _flags_text(bits: int) -> str:
    """Names of FLAG bits; a number where a bit has none, or there are none."""
    if not 0 < bits < 1 << len(FLAG_NAMES):
        return str(bits)
    return ",".join(name for i, name in enumerate(FLAG_NAMES) if bits >> i & 1)
