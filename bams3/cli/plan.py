"""``bams3 plan``: units of work, and the slices that jobs run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..coverage import DEFAULT_EXCLUDE_FLAGS
from ..errors import InputError
from ..files import replaced
from ..filters import Filters
from ..format import spec
from ..htslib import write_errors
from ..regions import read_bed
from ..store import is_s3
from ..tables import CountedRegion
from . import counted, one_input, warn
from .chi2_options import Chi2Tests, chi2_options
from .ld_options import LdAsked, ld_plan_options
from .one_input import OneInput, everywhere, name_of
from .options import all_bits, cohort
from .remote import INPUT_FILE, OUTPUT_FILE, address_of, counting_opener, s3_options, store

if TYPE_CHECKING:
    from ..work.jobs import Kind
    from ..work.plan import Plan

#: Arguments that say what is asked of samples.
_OF_SAMPLES = frozenset(
    "samples regions_file stores count coverage records tool exec_sam stats require_flags exclude_flags"
    " min_mapq".split()
)


@s3_options
@click.command(short_help="Make slices of samples x regions for jobs to run.", no_args_is_help=True)
@click.argument("samples", nargs=-1, metavar="[SAMPLES|STORE...]")
@click.option("--regions-file", "-L", type=INPUT_FILE, metavar="BED", help="Regions from a BED file.")
@click.option("--output", "-o", type=OUTPUT_FILE, required=True, metavar="PLAN", help="Write the plan here.")
@click.option(
    "--work",
    metavar="DIR",
    help="Where logs and results lie: a folder that every job sees, or s3://... [beside PLAN].",
)
@click.option(
    "--stores",
    metavar="DIR",
    help="Where the stores of samples are that the sheet gives an alignment: DIR/SAMPLE.bams3.",
)
@click.option("--count", is_flag=True, help="Count reads.")
@click.option("--coverage", is_flag=True, help="Mean depth and breadth.")
@click.option("--records", is_flag=True, help="Write reads, a BAM file a region.")
@click.option(
    "--exec",
    "tool",
    metavar="COMMAND",
    help="Run a tool on the reads of each region: BAM on its stdin; {sample} {region} {name} {contig} {start}"
    " {end} stand for what they say, quoted. bash runs it, with pipefail; its stdout is kept.",
)
@click.option("--exec-sam", is_flag=True, help="Give the tool SAM.")
@click.option("--stats", is_flag=True, help="Reads by flag and contig of each sample, for MultiQC.")
@click.option(
    "--chi2",
    metavar="TABLE",
    help="Instead of SAMPLES: test every probeset of a table of genotype counts, as chi2-batch does.",
)
@click.option(
    "--ld",
    metavar="PANEL.ldp",
    help="Instead of SAMPLES: LD of all pairs of a panel's variants, as ld-tile does it; a unit a tile.",
)
@click.option("--slices", type=click.IntRange(1, 100_000), metavar="N", help="Make so many slices.")
@click.option(
    "--target-seconds",
    type=click.FloatRange(1),
    metavar="S",
    help="Make slices that take about this long with one worker [600].",
)
@click.option(
    "--require-flags", "-f", multiple=True, metavar="FLAG", help="Only reads with all of these bits."
)
@click.option(
    *("--exclude-flags", "-F"),
    multiple=True,
    metavar="FLAG",
    help="Only reads with none of these bits; without it, coverage leaves out UNMAP,SECONDARY,QCFAIL,DUP.",
)
@click.option("--min-mapq", "-q", default=0, type=click.IntRange(0, 255), help="Least mapping quality.")
@chi2_options("--chi2: ")
@ld_plan_options("--ld: ")
@click.option(
    "--json", "as_json", is_flag=True, help="Write slices with units, samples, seconds and memory as JSON."
)
def command(
    samples: tuple[str, ...],
    regions_file: Path | None,
    output: Path,
    work: str | None,
    stores: str | None,
    count: bool,
    coverage: bool,
    records: bool,
    tool: str | None,
    exec_sam: bool,
    stats: bool,
    chi2: str | None,
    ld: str | None,
    slices: int | None,
    target_seconds: float | None,
    require_flags: tuple[str, ...],
    exclude_flags: tuple[str, ...],
    min_mapq: int,
    tests: Chi2Tests,
    pairs: LdAsked,
    as_json: bool,
) -> None:
    """Plan units of work, samples x regions, as slices of equal cost, which `bams3 run` runs as jobs.

    SAMPLES is a sheet (TSV or CSV: sample, store or alignment), or give stores, or a pattern of them in
    quotes. What each unit costs is told by the stores' indexes. Units with a receipt in the work folder are
    done, and stay so when samples or regions are added or the number of slices changes; the work folder goes
    by PLAN's name, so keep that or give --work.

    With --chi2 a unit is a slice of a table's probesets, and reads all of the table: one a slice of the plan,
    which is one slice without --slices. Predicted seconds go by the table's size alone, and are far too few
    where many probesets differ, for each of those draws up to --max-simulations tables.

    With --ld a unit is a tile of a panel's pairs of variants: so many --tiles; or the fewest, but one for
    each slice, of which a worker needs no more than --max-memory. Slices are of consecutive tiles; another
    number of slices keeps what is done where it leaves the number of tiles as it is.

    \b
    Examples:
      bams3 plan samples.tsv -L targets.bed --count --coverage --slices 50 -o plan.json
      bams3 plan 'stores/*.bams3' -L targets.bed --records --target-seconds 600 -o plan.json --work s3://b/work
      bams3 plan samples.tsv -L targets.bed --exec 'samtools stats - | grep ^SN' --slices 8 -o plan.json
      bams3 plan --chi2 counts.tsv.gz --slices 8 -o chi2.json
      bams3 plan --ld cohort.ldp --max-memory 2G --max-distance 1M --slices 50 -o ld.json
      sbatch --array=1-50 --wrap 'bams3 run plan.json --slice-from-env'
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..work.journal import receipts
    from ..work.plan import make_plan, render

    if slices is not None and target_seconds is not None:
        raise InputError("--slices and --target-seconds exclude each other", kind="usage")
    place = _work_address(work, address_of(output))
    of_tests = OneInput("--chi2", chi2, tests.given, _OF_SAMPLES | {"target_seconds"})
    one_input.check_alone([of_tests, OneInput("--ld", ld, pairs.given, _OF_SAMPLES)])
    inputs, regions = [(name_of(one), everywhere(one)) for one in (chi2, ld) if one is not None], []
    if chi2 is not None:
        slices = slices or 1
        wanted = [one_input.chi2(chi2, slices, tests, output)]
    elif ld is not None:
        wanted = [one_input.ld(ld, pairs, slices)]
    else:
        filters = Filters(all_bits(require_flags), all_bits(exclude_flags), min_mapq=min_mapq)
        asked = (count, coverage, records, tool, exec_sam, stats)
        wanted = _kinds(filters, bool(exclude_flags), *asked)
        inputs, regions = _samples(samples, stores), _regions(regions_file)
    target_s = 600.0 if target_seconds is None else target_seconds
    done_keys = receipts(store(place)).keys()
    plan = make_plan(inputs, regions, wanted, place, counting_opener(), slices, target_s, done_keys)
    if str(output) == "-":
        click.echo(render(plan), nl=False)
    else:
        with replaced(output) as partial, write_errors(str(output)):
            partial.write_bytes(render(plan))
    _tell(plan, as_json)


def _kinds(
    filters: Filters,
    has_flags: bool,
    count: bool,
    coverage: bool,
    records: bool,
    tool: str | None,
    exec_sam: bool,
    stats: bool,
) -> list[Kind]:
    """The kinds of units that are asked for; ``has_flags``: coverage leaves out what the user says."""
    from ..work import kinds

    depth_flags = filters.exclude_flags if has_flags else DEFAULT_EXCLUDE_FLAGS
    depth_filters = Filters(filters.require_flags, depth_flags, min_mapq=filters.min_mapq)
    wanted: list[Kind] = [kinds.Count(filters)] if count else []
    wanted += [kinds.Coverage(depth_filters)] if coverage else []
    wanted += [kinds.Records(filters)] if records else []
    wanted += [kinds.Exec(tool, "sam" if exec_sam else "bam", filters)] if tool is not None else []
    wanted += [kinds.StatsOf()] if stats else []
    if tool is not None and not tool.strip():
        raise InputError("--exec: no command", kind="usage")
    if not wanted:
        hint = "give one or more of --count, --coverage, --records, --exec, --stats; or --chi2, --ld"
        raise InputError("nothing to do", kind="usage", hint=hint)
    return wanted


def _work_address(work: str | None, output: str) -> str:
    """The work folder as every job finds it.

    Raises
    ------
    InputError
        ``usage``: it can be none.
    """
    if work is None:
        folder, name = output[: output.rfind("/") + 1], output[output.rfind("/") + 1 :]
        stem, dot, _ = name.rpartition(".")
        work = f"{folder}{stem if dot and stem else name}.work"
    if is_s3(work):
        return work.rstrip("/")
    path = Path(work).absolute()
    what = "a file" if path.is_file() else "a store" if (path / spec.MANIFEST_KEY).exists() else ""
    if what or not work:
        message = f"--work {work}: {what}, not a folder" if what else "--work: no folder"
        raise InputError(message, kind="usage", hint="give a folder of its own, which may be new")
    return str(path)


def _regions(path: Path | None) -> list[CountedRegion]:
    if path is None:
        return []
    rows = read_bed(path)
    return [CountedRegion(row.contig, row.start_bp, row.end_bp, row.name) for row in rows]


def _samples(given: tuple[str, ...], stores: str | None) -> list[tuple[str, str]]:
    """Name and store of each sample."""
    if not given:
        hint = "give a samples sheet or stores; or --chi2 TABLE or --ld PANEL"
        raise InputError("no SAMPLES", kind="usage", hint=hint)
    rows = [(row.name, row.store or _made(row.name, stores)) for row in cohort(given)]
    return [(name, everywhere(place)) for name, place in rows]


def _made(name: str, stores: str | None) -> str:
    """Where the store of a sample lies that the sheet gives an alignment."""
    if stores is None:
        hint = "convert it, and give --stores DIR (DIR/SAMPLE.bams3), or put its store into the sheet"
        raise InputError(f"sample {name} has an alignment, not a store", kind="bad-sheet", hint=hint)
    return f"{stores.rstrip('/')}/{name}.bams3"


def _asked(plan: Plan, number: int) -> list[str]:
    """Names of the samples that units of a slice are of."""
    units = plan.slice_units(number)
    if not units:
        return []
    first, last = plan.unit(units[0]).sample, plan.unit(units[-1]).sample
    return [sample.name for sample in plan.samples[first : last + 1]]


def _tell(plan: Plan, as_json: bool) -> None:
    """What was planned: slices as JSON, or a line on stderr."""
    numbers = range(1, plan.n_slices + 1)
    to_do = [plan.n_to_do(number) for number in numbers]
    seconds = [round(plan.slice_seconds(number), 3) for number in numbers]
    if as_json:
        mem_mb = plan.mem_mb(1)
        rows = [
            {
                "slice": number,
                "units": units,
                "seconds": took,
                "mem_mb": mem_mb,
                "samples": _asked(plan, number),
            }
            for number, units, took in zip(numbers, to_do, seconds, strict=True)
        ]
        whole = {"units": plan.n_units, "done": int(plan.done.sum()), "slices": rows, "work": plan.work}
        click.echo(json.dumps(whole, indent=1))
        return
    done = f", {int(plan.done.sum()):,} of them done" if plan.done.any() else ""
    click.echo(
        f"{counted(plan.n_units, 'unit')}{done}, in {counted(plan.n_slices, 'slice')} of up to"
        f" {counted(max(to_do), 'unit')}, {max(seconds):,.0f} s and {plan.mem_mb(1)} MB with one worker",
        err=True,
    )
    empty = to_do.count(0)
    if empty and empty < plan.n_slices:
        warn(f"{counted(empty, 'slice')} of {plan.n_slices} are empty, and end at once")
