"""``bams3 ld-clump``: clumps of associated variants, as plink's --clump makes them."""

from __future__ import annotations

import gzip
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import click
import numpy as np

from ..errors import InputError
from ..files import remove_leftovers, replaced
from ..htslib import write_errors
from ..ld.clump import Clump, ClumpRule, Results, clumps
from ..ld.find import Finder
from ..panel.stored import StoredPanel
from ..progress import Progress
from . import counted, warn
from .options import quiet as quiet_option
from .remote import INPUT_FILE, OUTPUT_FILE, s3_options, store

_HEAD = "CHR F SNP BP P TOTAL NSIG S05 S01 S001 S0001 SP2".split()
_NAMED = 3


@s3_options
@click.command(short_help="Clumps of associated variants (--clump).", no_args_is_help=True)
@click.argument("panel", metavar="PANEL.ldp")
@click.argument("table", type=INPUT_FILE, metavar="ASSOC.tsv")
@click.option("--clump-p1", default=1e-4, show_default=True, help="Largest P of an index variant.")
@click.option("--clump-p2", default=0.01, show_default=True, help="List members whose P is below.")
@click.option("--clump-r2", default=0.5, show_default=True, help="Members have an r2 above, by haplotypes.")
@click.option("--clump-kb", default=250.0, show_default=True, help="Members lie closer than that (kb).")
@click.option(
    "--clump-snp-field", default="SNP", show_default=True, help="Column of ids; first of NAME,NAME."
)
@click.option("--clump-field", default="P", show_default=True, help="Column of P values; first of NAME,NAME.")
@click.option("--output", "-o", type=OUTPUT_FILE, default="-", metavar="FILE", help="Write there [stdout].")
@quiet_option
def command(
    panel: str,
    table: Path,
    clump_p1: float,
    clump_p2: float,
    clump_r2: float,
    clump_kb: float,
    clump_snp_field: str,
    clump_field: str,
    output: Path,
    quiet: bool,
) -> None:
    """Group the variants of ASSOC.tsv around the most associated ones, by their LD in PANEL: plink's clumps.

    ASSOC.tsv has a line of names, and columns parted by tabs or spaces; it may be gzipped. An index variant,
    from the smallest P up, takes all variants of the table that are close enough and in LD with it, and that
    no clump has yet. r2 is that of maximum-likelihood haplotypes of genotypes, as in plink, even where phase
    is known; all samples count.

    Columns: CHR, F (1), SNP, BP and P of the index variant; TOTAL, the other results in the clump, by P: NSIG
    (0.05 or more), S05, S01, S001 and S0001 (below these, and not below the next); SP2, those below
    --clump-p2, or NONE.

    \b
    Examples:
      bams3 ld-clump cohort.ldp gwas.tsv -o gwas.clumped
      bams3 ld-clump cohort.ldp gwas.tsv.gz --clump-p1 5e-8 --clump-r2 0.1 --clump-kb 500
      bams3 ld-clump cohort.ldp gwas.tsv --clump-snp-field ID --clump-field P_BOLT,P
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    if not 0 < clump_kb <= 1e6:
        raise InputError(f"--clump-kb {clump_kb:g}: give 0.001 up to 1000000", kind="usage")
    rule = ClumpRule(clump_p1, clump_p2, clump_r2, int(clump_kb * 1000 * (1 + 2**-44)))
    opened = StoredPanel(store(panel))
    read = _read(table, clump_snp_field.split(","), clump_field.split(","))
    names, results = _of_panel(opened, table, read, rule)
    possible = len({n for n, p in zip(*results, strict=True) if p <= rule.max_p_index})
    with Progress(possible, "variants", "Clumping", enabled=not quiet) as progress:
        found = list(clumps(opened, results, rule, on_variants=progress.advance))
    contigs = _contigs(opened, found)
    with ExitStack() as stack:
        if str(output) == "-":
            file: IO[bytes] = sys.stdout.buffer
        else:
            remove_leftovers(output)
            stack.enter_context(write_errors(str(output)))
            file = stack.enter_context(stack.enter_context(replaced(output)).open("wb"))
        file.write(_text([_HEAD, *_rows(found, contigs, names)]))
    if not quiet:
        click.echo(f"{counted(len(found), 'clump')} from {counted(possible, 'top variant')}", err=True)


# ---- the table ----


class _Read(NamedTuple):
    """Names and P values of the lines that have both."""

    names: list[str]
    p: list[float]


def _read(path: Path, name_fields: Sequence[str], p_fields: Sequence[str]) -> _Read:
    """InputError ``bad-assoc`` for a table that is none, ``no-such-column``."""
    names, values, without = [], list[float](), 0
    lines = _lines(path)
    head = next(lines, (0, []))[1]
    name_at, p_at = (_column(path, head, fields) for fields in (name_fields, p_fields))
    for line, cells in lines:
        if len(cells) <= max(name_at, p_at):
            without += 1
            continue
        p = _p_value(cells[p_at])
        if p is None:
            without += 1
            continue
        if not 0 <= p <= 1:
            message = f"{path} line {line}: {cells[p_at]} is not a P value"
            hint = "P values are 0 to 1; --clump-field names their column"
            raise InputError(message, kind="bad-assoc", hint=hint)
        names.append(cells[name_at])
        values.append(p)
    if without:
        warn(f"{path}: {counted(without, 'line')} without a P value left out")
    return _Read(names, values)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt") if is_gzip else path.open(encoding="utf-8-sig") as text:
            for line, row in enumerate(text, 1):
                if cells := row.split():
                    yield line, cells
    except (OSError, EOFError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise InputError(f"cannot read {path}: {reason}", kind="bad-assoc") from err


def _column(path: Path, head: Sequence[str], fields: Sequence[str]) -> int:
    """Where the first of some columns is that is there."""
    for field in fields:
        if head.count(field) > 1:
            raise InputError(f"{path}: has two columns {field}", kind="bad-assoc")
        if field in head:
            return head.index(field)
    hint = f"its columns are {', '.join(head[:12])}; --clump-snp-field and --clump-field name others"
    hint = hint if head else "its first line names the columns"
    raise InputError(f"{path}: has no column {' or '.join(fields)}", kind="no-such-column", hint=hint)


def _p_value(text: str) -> float | None:
    try:
        p = float(text)
    except ValueError:
        return None
    return None if math.isnan(p) else p


def _of_panel(opened: StoredPanel, table: Path, read: _Read, rule: ClumpRule) -> tuple[list[str], Results]:
    """Names of all variants, and the results of those that the panel has."""
    names, doubled = Finder(opened).names()
    numbers = {name: n for n, name in enumerate(names)}
    found, missing = Results(np.zeros(0, np.int64), np.zeros(0)), list[str]()
    kept: list[tuple[int, float]] = []
    for name, p in zip(read.names, read.p, strict=True):
        if name in doubled:
            hint = "name its variants contig:position:ref:alt in the table"
            raise InputError(
                f"{table}: {name} is several variants of {opened.name}", kind="doubled-id", hint=hint
            )
        if name in numbers:
            kept.append((numbers[name], p))
        elif p <= rule.max_p_index:
            missing.append(name)
    if read.names and not kept:
        some, others = (", ".join(few[:_NAMED]) for few in (names, read.names))
        hint = f"ids of the panel are {some}, those of the table {others}"
        raise InputError(f"{opened.name} has no variant of {table}", kind="no-such-variant", hint=hint)
    if missing:
        some = ", ".join(missing[:_NAMED]) + ", ..." * (len(missing) > _NAMED)
        warn(f"{opened.name} lacks {counted(len(missing), 'top variant')} of {table}: {some}")
    if kept:
        found = Results(np.array([n for n, _ in kept]), np.array([p for _, p in kept]))
    return names, found


# ---- the report ----


def _contigs(opened: StoredPanel, found: Sequence[Clump]) -> list[tuple[str, int]]:
    """Contig and position (from 1) of each index variant."""
    if not found:
        return []
    sites = Finder(opened).sites_at(np.array([clump.number for clump in found]))
    names = [opened.contigs[k].name for k in sites.contig.tolist()]
    return list(zip(names, (sites.start_bp + 1).tolist(), strict=True))


def _rows(
    found: Sequence[Clump], places: Sequence[tuple[str, int]], names: Sequence[str]
) -> Iterator[list[str]]:
    for clump, (contig, pos) in zip(found, places, strict=True):
        listed = ",".join(f"{names[n]}(1)" for n in clump.listed) or "NONE"
        counts = map(str, (sum(clump.below), *clump.below))
        yield [contig, "1", names[clump.number], str(pos), f"{clump.p!r}", *counts, listed]


def _text(rows: Iterable[Sequence[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode("utf-8", "surrogateescape")
