"""``bams3 ld-prune``: variants in approximate linkage equilibrium, as plink's --indep-pairwise keeps them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np

from ..errors import InputError
from ..files import remove_leftovers, replaced
from ..htslib import write_errors
from ..ld.find import Finder
from ..ld.prune import Window, prune
from ..panel.stored import StoredPanel
from ..progress import Progress
from . import warn
from .options import quiet, threads
from .remote import OUTPUT_FILE, s3_options, store


@s3_options
@click.command(short_help="Variants in linkage equilibrium (--indep-pairwise).", no_args_is_help=True)
@click.argument("panel", metavar="PANEL.ldp")
@click.option(
    "--indep-pairwise",
    "asked",
    nargs=3,
    required=True,
    metavar="WINDOW[kb] STEP R2",
    help="Size of the window in variants, or in kb; variants that it moves by; the largest r2.",
)
@click.option(
    "--output",
    "-o",
    metavar="PREFIX",
    help="Write PREFIX.prune.in and PREFIX.prune.out, not kept ids to stdout.",
)
@threads
@quiet
def command(panel: str, asked: tuple[str, str, str], output: str | None, threads: int, quiet: bool) -> None:
    """Keep variants of PANEL of which no two in a window have an r2 above R2: those that plink 1.9 keeps.

    In each window the rarer variant of such a pair goes, the later one where minor alleles are equally
    frequent; so do variants that do not vary. r2 is that of genotypes, as in plink, even where phase is
    known. Variants on contig 0 are left out, as plink does. All samples count: plink leaves out those whose
    parents are known.

    A variant whose id another one has is written as contig:position:ref:alt.

    \b
    Examples:
      bams3 ld-prune cohort.ldp --indep-pairwise 50 5 0.2 > kept.txt
      bams3 ld-prune cohort.ldp --indep-pairwise 500kb 1 0.1 -o pruned
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    window, max_r2 = _window(asked), _number(asked[2], "R2")
    outputs = [] if output is None else [_output(f"{output}.prune.{end}") for end in ("in", "out")]
    opened = StoredPanel(store(panel))
    with Progress(opened.n_variants, "variants", "Pruning", enabled=not quiet) as progress:
        kept, considered = prune(opened, window, max_r2, workers=threads, on_variants=progress.advance)
    names, doubled = Finder(opened).names()
    if doubled:
        warn(
            f"{opened.name}: {len(doubled):,} ids are of several variants, which are written by their places"
        )
    if outputs:
        for path, which in zip(outputs, (kept, considered & ~kept), strict=True):
            _write([names[n] for n in np.flatnonzero(which)], path)
    else:
        sys.stdout.buffer.write(_text(names[n] for n in np.flatnonzero(kept)))
    if not quiet:
        click.echo(f"{int(kept.sum()):,} of {int(considered.sum()):,} variants kept", err=True)


def _window(asked: tuple[str, str, str]) -> Window:
    size, step, _ = asked
    match = re.fullmatch(r"([0-9]{1,9})\s*(kb)?", size.lower(), re.ASCII)
    if not match:
        hint = "give a number of variants, such as 50, or of kilobases, such as 500kb"
        raise InputError(f"--indep-pairwise {size}: not the size of a window", kind="usage", hint=hint)
    if not re.fullmatch("[0-9]{1,9}", step, re.ASCII):
        raise InputError(f"--indep-pairwise: the step {step} is not a number of variants", kind="usage")
    n = int(match[1])
    return Window(int(step), None if match[2] else n, 1000 * n if match[2] else None)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--indep-pairwise: {name} is {text}, not a number", kind="usage") from None


def _output(address: str) -> Path:
    path: Path = OUTPUT_FILE.convert(address, None, click.get_current_context())
    return path


def _text(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")


def _write(names: list[str], path: Path) -> None:
    remove_leftovers(path)
    with replaced(path) as partial, write_errors(str(path)):
        partial.write_bytes(_text(names))
