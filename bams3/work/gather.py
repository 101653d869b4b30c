"""What has become of a plan: how far it is, and the tables of it once all is done."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import coverage
from ..errors import InputError, PartialError
from ..slices import Slice, format_slices
from ..store import Store, is_s3
from ..store.base import MissingObjectError
from ..tables import REGION_COLUMNS, CountedRegion, CountTable
from .inputs import OpenStore
from .jobs import OfOneInput
from .journal import LOGS, Attempt, Receipt, State, read_attempts, receipts
from .plan import Plan, PlanSample, each


@dataclass(frozen=True)
class Missing:
    """A unit that is not done: what it is, in which slice, and why."""

    unit: int
    slice_number: int
    what: str
    why: str


@dataclass(frozen=True)
class Status:
    """How far a plan has come; numbers of units, and what their runs took.

    Attributes
    ----------
    eta_s
        Seconds until the end at the pace of those that run now; None where none runs.
    cpu_s, peak_mb, requests
        Seconds that units took, added up; the largest worker; requests to stores by kind.
    """

    units: int
    done: int
    running: int
    failed: int
    set_aside: int
    slices_done: int
    slices: int
    runners: int
    eta_s: float | None
    cpu_s: float
    peak_mb: int
    requests: dict[str, float]

    @property
    def is_over(self) -> bool:
        """Whether nothing is left but what failed, and nobody is at it."""
        return not self.runners and self.done + self.failed + self.set_aside == self.units


def status(plan: Plan, work: Store) -> Status:
    """The state of a plan, from its logs alone."""
    now_s = time.time()
    attempts = list(read_attempts(work, f"{LOGS}{plan.id}/"))
    state = State.of(attempts, now_s)
    is_done = plan.done.copy()
    is_done[list(state.done)] = True
    left = np.append(0, np.cumsum(~is_done))
    bounds = np.array(plan.bounds)
    ended = [attempt.ended for attempt in attempts if attempt.ended is not None]
    running = [attempt for attempt in attempts if attempt.is_running(now_s)]
    requests: dict[str, float] = {}
    for end in ended:
        for name, n in end["requests"].items():
            requests[name] = round(requests.get(name, 0) + n, 3)
    set_aside = state.set_aside - state.running
    return Status(
        units=plan.n_units,
        done=int(is_done.sum()),
        running=len(state.running),
        failed=len(state.failed.keys() - set_aside - state.running),
        set_aside=len(set_aside),
        slices_done=int((left[bounds[1:]] == left[bounds[:-1]]).sum()),
        slices=plan.n_slices,
        runners=len(running),
        eta_s=_eta_s(plan, is_done, running, now_s),
        cpu_s=round(sum(r.seconds for r in state.done.values()), 3),
        peak_mb=max((int(end["peak_mb"]) for end in ended), default=0),
        requests=requests,
    )


def _eta_s(plan: Plan, is_done: Any, running: list[Attempt], now_s: float) -> float | None:
    """What is left, by the pace of the attempts that run: predicted costs that they did a second."""
    pace_us = 0.0
    for attempt in running:
        took_s = max(now_s - float(attempt.who["at"]), 1e-3)
        pace_us += float(plan.cost_us[list(attempt.done)].sum()) / took_s
    return round(float(plan.cost_us[~is_done].sum()) / pace_us, 1) if pace_us else None


# ---- gather ----


def missing(plan: Plan, work: Store, found: Mapping[str, Receipt]) -> list[Missing]:
    """Units without a receipt, and why."""
    lost = [number for number in range(plan.n_units) if plan.key(number) not in found]
    if not lost:
        return []
    now_s = time.time()
    state = State.of(read_attempts(work, f"{LOGS}{plan.id}/"), now_s)
    return [
        Missing(
            number,
            int(np.searchsorted(plan.bounds, number, "right")),
            plan.describe(number),
            _why(plan, state, number),
        )
        for number in lost
    ]


def _why(plan: Plan, state: State, number: int) -> str:
    if number in state.running:
        return "is running"
    if number in state.set_aside:
        return f"ended its process {state.suspects[number]} times and is set aside"
    if number in state.failed:
        failure = state.failed[number]
        return f"{failure.message} [{failure.kind}]"
    if number in state.suspects:
        return "was begun when its process ended"
    if number in state.done or plan.done[number]:
        return "its result was removed or cut: plan again"
    return "was not run"


@dataclass(frozen=True)
class Large:
    """The file that results of a kind become, written to a path with what belongs beside it."""

    kind: OfOneInput
    write: Callable[[Path], None]


@dataclass(frozen=True)
class Gathered:
    """What a plan came to: region tables by name, other files by theirs, and those not held in memory."""

    tables: dict[str, CountTable]
    files: dict[str, bytes]
    large: list[Large]


def gather(plan: Plan, work: Store, beside: str, open_store: OpenStore) -> Gathered:
    """The tables of a plan; files of results are named as they are found from the folder ``beside``.

    Raises
    ------
    PartialError
        ``missing-units``: some have no receipt; the message counts them and names the first.
    InputError
        ``input-changed``: a store or table is not the one that was planned.
    """
    found = receipts(work)
    lost = missing(plan, work, found)
    _check_inputs(plan, open_store)
    if lost:
        slices = format_slices({Slice(one.slice_number, plan.n_slices) for one in lost})
        raise PartialError(
            f"{len(lost)} of {plan.n_units} units are not done, the first: {lost[0].what}: {lost[0].why}",
            kind="missing-units",
            hint=f"run {slices} of the plan; bams3 status --missing lists all",
        )
    out = Gathered({}, {}, [])
    for number, kind in enumerate(plan.kinds):
        if kind.name == "stats":
            out.files.update(_multiqc(plan, found, number))
            continue
        if isinstance(kind, OfOneInput):
            done = [found[plan.key(unit)].result for unit in plan.numbers_of(0, number)]
            out.large.append(Large(kind, partial(kind.write_gathered, work, done)))
            continue
        results = _results(plan, found, number)
        if kind.name == "count":
            out.tables["counts"] = _table(plan, np.array(results, np.int64), "count")
        elif kind.name == "coverage":
            out.tables.update(_coverage_tables(plan, np.array(results, np.int64)))
        else:
            out.files[f"{kind.name}.tsv"] = _list_of_files(plan, results, _way(beside, plan.work))
    return out


def _check_inputs(plan: Plan, open_store: OpenStore) -> None:
    """InputError where a store or table was replaced since; one that is gone has answered."""
    identity_now = plan.kinds[0].input.identity_now

    def is_changed(sample: PlanSample) -> bool:
        try:
            return identity_now(sample.store, open_store) != sample.identity
        except MissingObjectError:
            return False

    changed = [one for one, is_so in zip(plan.samples, each(plan.samples, is_changed), strict=True) if is_so]
    if changed:
        others = f" (and {len(changed) - 1} more)" * (len(changed) > 1)
        message = f"{changed[0].store} is not what it was when this was planned{others}"
        hint = "make the plan anew: only what changed is run"
        raise InputError(message, kind="input-changed", hint=hint)


def _results(plan: Plan, found: Mapping[str, Receipt], kind: int) -> list[list[Any]]:
    """Results of a kind: a list a row of the BED file, in it one a sample."""
    samples = range(len(plan.samples))
    return [[found[plan.key(plan.number_of(i, kind, j))].result for i in samples] for j in plan.rows]


def _rows(plan: Plan) -> tuple[CountedRegion, ...]:
    """Regions in the order of the BED file."""
    return tuple(plan.regions[j] for j in plan.rows)


def _multiqc(plan: Plan, found: Mapping[str, Receipt], kind: int) -> Iterator[tuple[str, bytes]]:
    for i, sample in enumerate(plan.samples):
        result = found[plan.key(plan.number_of(i, kind))].result
        for content, end in (("general", ""), ("graph", "_reads")):
            text = json.dumps(result[content], indent=1) + "\n"
            yield f"multiqc/{sample.name}{end}_mqc.json", text.encode()


def _coverage_tables(plan: Plan, sums: Any) -> Iterator[tuple[str, CountTable]]:
    """Tables of mean depth and of breadth, from (regions, samples, 5)."""
    size_bp = sums[:, :, 4]
    for i, (name, column) in enumerate((("depth", "mean"), ("breadth", "breadth"))):
        yield name, _table(plan, coverage.means(sums[:, :, i], np.zeros_like(size_bp), size_bp), column)


def _table(plan: Plan, counts: Any, column: str) -> CountTable:
    """Numbers (regions, samples) as a region table."""
    return CountTable(_rows(plan), tuple(sample.name for sample in plan.samples), counts, column)


def _way(beside: str, work: str) -> str:
    """The work folder from another, where both are on a disk."""
    return work if is_s3(work) or is_s3(beside) else os.path.relpath(work, beside)


def _list_of_files(plan: Plan, results: list[list[Any]], way: str) -> bytes:
    """A row a file: sample, region, where it lies, bytes."""
    lines = ["\t".join(["sample", *REGION_COLUMNS, "file", "bytes"])]
    for i, sample in enumerate(plan.samples):
        for region, row in zip(_rows(plan), results, strict=True):
            place = f"{way}/{row[i]['file']}"
            lines.append("\t".join(map(str, (sample.name, *region, place, row[i]["bytes"]))))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
