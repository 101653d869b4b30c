"""``bams3 run``: the units of a plan, or of one slice of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, PartialError
from ..progress import Progress
from ..slices import Slice
from . import counted
from .options import quiet as quiet_option
from .options import threads as threads_option
from .remote import INPUT_FILE, OUTPUT_FILE, count, opener, s3_options
from .slices import SliceListType, slice_option

if TYPE_CHECKING:
    from ..work.plan import Plan
    from ..work.runner import Summary

#: Where schedulers tell a job its place in an array, and what they count from; and what they call it.
_ARRAYS = {"SLURM_ARRAY_TASK_ID": 1, "AWS_BATCH_JOB_ARRAY_INDEX": 0}
_JOBS = ("SLURM_JOB_ID", "AWS_BATCH_JOB_ID")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")


class Duration(click.ParamType[float]):
    """Seconds of ``90``, ``90s``, ``55m``, ``1.5h`` or ``2d``."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        del param, ctx
        if isinstance(value, float):
            return value
        found = _TIME.fullmatch(str(value).strip().lower())
        if found is None or not float(found[1]):
            raise InputError(f"{value!r} is no time", kind="usage", hint="write 90s, 55m or 1.5h")
        return float(found[1]) * _UNITS_S[found[2]]


@s3_options
@click.command(short_help="Run a slice of a plan.", no_args_is_help=True)
@click.argument("plan", type=INPUT_FILE, metavar="PLAN")
@slice_option("Run this slice alone [all, one after the other].")
@click.option(
    "--slice-from-env",
    is_flag=True,
    help="Run the slice that SLURM_ARRAY_TASK_ID (from 1) or AWS_BATCH_JOB_ARRAY_INDEX (from 0) names.",
)
@click.option(
    "--among",
    type=SliceListType(),
    metavar="i,j-k/n",
    help="--slice-from-env: the slices that the array is of, one after the other [all].",
)
@click.option(
    "--stop-after",
    type=Duration(),
    metavar="TIME",
    help="Stop after this time (55m, 1.5h; a bare number is seconds) with exit code 6. Units that run then"
    " are begun again by the next run.",
)
@click.option("--retry-failed", is_flag=True, help="Run again what failed for good or was set aside.")
@click.option(
    "--summary", type=OUTPUT_FILE, metavar="FILE", help="Write how it went as JSON here, if all is done."
)
@threads_option
@quiet_option
def command(
    plan: Path,
    which: Slice | None,
    slice_from_env: bool,
    among: tuple[list[int], int] | None,
    stop_after: float | None,
    retry_failed: bool,
    summary: Path | None,
    threads: int,
    quiet: bool,
) -> None:
    """Run the units of PLAN, or of one slice of it, so many at a time as there are --workers.

    What is done is logged in the plan's work folder, and skipped when a slice is run again: after a kill, a
    deadline, or a unit that failed. A unit whose process died is run once more, alone; if it dies again it is
    set aside, and the others are done.

    Exit code 0: all units are done. 5: some failed, and the others are done. 6: stopped by --stop-after.

    \b
    Examples:
      bams3 run plan.json --slice 3/50
      bams3 run plan.json --slice-from-env --stop-after 55m
      sbatch --array=1-3 --wrap 'bams3 run plan.json --slice-from-env --among 3,7,9/50'
      seq 50 | parallel --retries 3 --joblog jobs.log 'bams3 run plan.json --slice {}/50 --workers 1'
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..work.plan import read_plan

    mine = read_plan(plan)
    if slice_from_env:
        if which is not None:
            raise InputError("--slice and --slice-from-env exclude each other", kind="usage")
        which = _from_environment(among, mine.n_slices)
    elif among is not None:
        raise InputError("--among goes with --slice-from-env", kind="usage")
    numbers = range(1, mine.n_slices + 1) if which is None else [_number(which, mine)]
    found = _run(mine, numbers, threads, stop_after, retry_failed, quiet)
    _check(mine, found)
    if not quiet:
        units, before = sum(one.units for one in found), sum(one.done_before for one in found)
        what = f"slice {which}" if which else "all slices"
        took_s = sum(one.seconds for one in found)
        told = f"{what}: {counted(units, 'unit')} done, {before:,} of them before, in {took_s:.1f} s"
        click.echo(told, err=True)
    if summary is not None:
        summary.write_text(json.dumps([_as_json(one) for one in found], indent=1) + "\n", encoding="utf-8")


def _number(which: Slice, plan: Plan) -> int:
    """The number of a slice of a plan.

    Raises
    ------
    InputError
        ``bad-slice``.
    """
    if which.n != plan.n_slices:
        message = f"--slice {which}: the plan has {counted(plan.n_slices, 'slice')}"
        raise InputError(message, kind="bad-slice", hint="plan anew to change that; what is done stays done")
    plan.slice_units(which.i)
    return which.i


def _from_environment(among: tuple[list[int], int] | None, n_slices: int) -> Slice:
    """The slice that a scheduler's array gives this job, where it is of some or all of so many.

    Raises
    ------
    InputError
        ``bad-slice``.
    """
    place, named = _place_in_array()
    if among is None:
        return Slice(place, n_slices)
    numbers, n = among
    if place > len(numbers):
        message = f"{named}: --among has {counted(len(numbers), 'slice')}"
        raise InputError(message, kind="bad-slice", hint="make the array as long as the list")
    return Slice(numbers[place - 1], n)


def _place_in_array() -> tuple[int, str]:
    """Which job of its array this is, from 1, and how the scheduler says it."""
    for name, first in _ARRAYS.items():
        text = os.environ.get(name)
        if text is not None:
            number = int(text) - first + 1 if text.isdecimal() else -1
            if number < 1:
                hint = "slices count from 1: sbatch --array=1-N"
                raise InputError(f"{name}={text} is no slice", kind="bad-slice", hint=hint)
            return number, f"{name}={text}"
    message = f"--slice-from-env: none of {', '.join(_ARRAYS)} is set"
    raise InputError(message, kind="bad-slice", hint="outside of a job array, give --slice I/N")


def _run(
    plan: Plan, numbers: range | list[int], workers: int, stop_after_s: float | None, again: bool, quiet: bool
) -> list[Summary]:
    import time

    from ..work.runner import run_slice

    open_store = opener()
    total = sum(plan.n_to_do(number) for number in numbers)
    end_s = None if stop_after_s is None else time.monotonic() + stop_after_s
    out = []
    with Progress(total, "units", "running", enabled=not quiet) as progress:
        for number in numbers:
            left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
            one = run_slice(
                plan,
                number,
                open_store,
                workers=workers,
                stop_after_s=left_s,
                retry_failed=again,
                job=next((f"{name}={os.environ[name]}" for name in _JOBS if name in os.environ), ""),
                on_done=progress.advance,
            )
            count(one.requests)
            out.append(one)
    return out


def _check(plan: Plan, summaries: list[Summary]) -> None:
    """PartialError ``units-failed`` where not all is done."""
    failed = {unit: failure for one in summaries for unit, failure in one.failed.items()}
    set_aside = [unit for one in summaries for unit in one.set_aside]
    if not failed and not set_aside:
        return
    if failed:
        unit, failure = next(iter(failed.items()))
        first = f"{plan.describe(unit)}: {failure.message} [{failure.kind}]"
    else:
        first = f"{plan.describe(set_aside[0])}: its process died twice"
    done = sum(one.done + one.done_before for one in summaries)
    hint = "run again: only these are run"
    if any(failure.kind == "input-changed" for failure in failed.values()):
        hint = "make the plan anew: only what changed is run"
    elif all(failure.is_final for failure in failed.values()):
        hint = "mend the cause, then add --retry-failed"
    raise PartialError(
        f"{counted(len(failed), 'unit')} failed, {len(set_aside)} set aside, {done} done; the first: {first}",
        kind="units-failed",
        hint=hint,
    )


def _as_json(summary: Summary) -> dict[str, object]:
    return {
        "slice": summary.slice_number,
        "units": summary.units,
        "done_before": summary.done_before,
        "seconds": round(summary.seconds, 3),
        "peak_mb": summary.peak_mb,
        "requests": summary.requests.as_dict(),
    }
