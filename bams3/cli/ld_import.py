"""``bams3 ld-import``: genotypes to a panel for linkage disequilibrium."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..format import spec
from ..format.panel_manifest import is_panel_key
from ..progress import Progress
from ..store import is_s3
from . import counted, warn
from .making import manifest_to_replace, peak_bytes, provenance_of
from .options import quiet as quiet_option
from .options import threads as threads_option
from .remote import INPUT_FILE, fetched_set, requests, s3_options
from .remote import store as store_of

if TYPE_CHECKING:
    from ..panel.calls import CallSource, Choice
    from ..panel.importing import ImportReport


@s3_options
@click.command(short_help="Genotypes to a panel for LD.", no_args_is_help=True)
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT.ldp")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="REGION",
    help="Only variants whose position lies here, such as chr20:1M-2M; may be repeated.",
)
@click.option(
    "--samples",
    metavar="FILE|NAMES",
    help="Only these samples: a file with a name a line, or names with commas between; in the order of IN.",
)
@click.option(
    "--maf",
    default=0.0,
    metavar="SHARE",
    type=click.FloatRange(0, 0.5),
    help="Leave out variants whose rarer allele has a smaller share of the called ones [0].",
)
@click.option(
    "--multiallelic",
    default="split",
    show_default=True,
    type=click.Choice(["split", "drop"]),
    help="Sites with several ALT alleles: a variant for each against all others, or none.",
)
@threads_option
@click.option("--force", is_flag=True, help="Replace a panel that is there.")
@click.option("--json", "as_json", is_flag=True, help="Write what was done as JSON.")
@quiet_option
def command(
    source: str,
    output: str,
    regions: tuple[str, ...],
    samples: str | None,
    maf: float,
    multiallelic: str,
    threads: int,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Import the genotypes of IN into the panel OUT.ldp, bit-packed for bams3 ld-tile.

    IN is a VCF (also .gz) or BCF file, or PREFIX.bed or PREFIX.pgen (or PREFIX) with the files beside it;
    sorted, with haploid and diploid calls. Kept are ids, positions, alleles, phase, missing and haploid
    calls. A site is phased if all its heterozygous calls are, in the phase set of each sample before; those
    of .bed are not. A call with a missing allele (./1) is missing.

    In .bed and .pgen, calls of males (.fam, .psam) on X (23) and Y (24), and all on MT (26), have one
    allele; heterozygous ones there are missing, and so are those of others on Y.

    \b
    Examples:
      bams3 ld-import cohort.bcf cohort.ldp
      bams3 ld-import --maf 0.01 --region chr20 --region chr22 cohort.vcf.gz common.ldp
      bams3 ld-import --samples europeans.txt cohort.bed europeans.ldp
      bams3 ld-import s3://bucket/cohort.pgen s3://bucket/cohort.ldp
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..panel.importing import import_panel

    started_s = time.perf_counter()
    store = store_of(output)
    replaces = manifest_to_replace(store, force, noun="panel", form=spec.PANEL_FORMAT, is_own=is_panel_key)
    opened = _open(source, _choice(regions, samples, multiallelic), threads)
    with Progress(None, "records", "ld-import", enabled=not quiet) as progress:
        report = import_panel(
            opened,
            store,
            min_maf=maf,
            workers=threads,
            replaces=replaces,
            provenance=provenance_of(source),
            on_progress=progress.advance,
            on_warning=warn,
        )
    elapsed_s = time.perf_counter() - started_s
    _warn_of(opened, report)
    if as_json:
        click.echo(json.dumps(_as_json(opened, report, elapsed_s), indent=1))
    elif not quiet:
        click.echo(_summary(opened, report, elapsed_s), err=True)


def _choice(regions: tuple[str, ...], samples: str | None, multiallelic: str) -> Choice:
    from ..panel.calls import Choice

    return Choice(regions, _names(samples), multiallelic == "drop")


def _names(samples: str | None) -> tuple[str, ...]:
    """Names of samples, of a file or with commas between them; InputError ``bad-samples``."""
    if samples is None:
        return ()
    if samples.startswith("s3://") or Path(samples).is_file():
        path = INPUT_FILE.convert(samples, None, click.get_current_context())
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as err:
            raise InputError(f"--samples {samples}: not a text file: {err}", kind="bad-samples") from err
        names = tuple(cells[0] for line in text.splitlines() if (cells := line.split("\t")[0].split()))
    else:
        names = tuple(name for name in samples.split(",") if name)
    if not names:
        raise InputError(f"--samples {samples}: names no samples", kind="bad-samples")
    return names


#: Files of a set, by the one that names it; of some there are two forms.
_SETS = {
    ".bed": ((".bed",), (".bim",), (".fam",)),
    ".pgen": ((".pgen",), (".pvar", ".pvar.zst"), (".psam",)),
}


def _open(source: str, choice: Choice, threads: int) -> CallSource:
    """The reader of an input: by the name of a set of files; all else is VCF or BCF."""
    from ..panel.bcf_calls import BcfCalls, is_bcf
    from ..panel.pgen_calls import PgenCalls
    from ..panel.plink_calls import PlinkCalls
    from ..panel.vcf_calls import VcfCalls

    prefix, kind = _set_of(source)
    if not kind:
        path = INPUT_FILE.convert(source, None, click.get_current_context())
        return BcfCalls(path, choice, threads) if is_bcf(path) else VcfCalls(path, choice)
    files = fetched_set(prefix, _SETS[kind]) if is_s3(source) else Path(prefix)
    return (PlinkCalls if kind == ".bed" else PgenCalls)(files, choice, on_note=warn)


def _set_of(source: str) -> tuple[str, str]:
    """Prefix and kind of a set of files; no kind where it is one file."""
    for kind in _SETS:
        if source.endswith(kind):
            return source.removesuffix(kind), kind
        if not is_s3(source) and not Path(source).exists() and Path(source + kind).exists():
            return source, kind
    return source, ""


def _warn_of(opened: CallSource, report: ImportReport) -> None:
    """What the panel does not have as the input has it."""
    found = opened.counts
    for n, words in (
        (found.half_calls, "calls with some alleles missing count as missing"),
        (found.without_calls, "records have no GT: all their calls are missing"),
        (found.het_haploid, "heterozygous calls of males on X or Y, or on MT, count as missing"),
        (found.nonmale_y, "calls on Y of samples that are not male count as missing"),
        (report.doubled_ids, "variants have the id of another one: ask for those by their place"),
    ):
        if n:
            warn(f"{opened.path}: {n:,} {words}")


def _as_json(opened: CallSource, report: ImportReport, elapsed_s: float) -> dict[str, Any]:
    found = opened.counts
    return {
        "samples": len(opened.samples),
        **{name: getattr(found, name) for name in found.__slots__},
        **{name: getattr(report, name) for name in report.__slots__},
        "elapsed_s": round(elapsed_s, 3),
        "peak_memory_bytes": peak_bytes(),
        "requests": requests(),
    }


def _summary(opened: CallSource, report: ImportReport, elapsed_s: float) -> str:
    n, found = report.variants, opened.counts
    kinds = [
        (report.phased, "phased"),
        (report.monomorphic, "with one allele only"),
        (report.uncalled, "without calls"),
    ]
    about = ", ".join(f"{k:,} {words}" for k, words in kinds if k)
    left_out = f", {report.rare:,} rarer than --maf left out" * bool(report.rare)
    several = f", {counted(found.multiallelic, 'site')} with several ALT" * bool(found.multiallelic)
    return (
        f"{counted(n, 'variant')} of {counted(len(opened.samples), 'sample')}"
        + f" ({about})" * bool(about)
        + f"{several}{left_out}; {report.bytes_out / 1e6:,.1f} MB in {counted(report.blocks, 'block')},"
        f" {elapsed_s:.1f} s, peak memory {peak_bytes() / 1e6:,.0f} MB"
    )
