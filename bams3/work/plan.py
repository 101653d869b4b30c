"""A plan: the units of some work, what each may cost, and the slices of equal cost that jobs run.

Units are numbered sample by sample, in each by kind and then by region, so that a slice opens few stores and
asks one after the other what lies together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ..columns import Array
from ..errors import CorruptDataError, InputError
from ..store import is_s3
from ..tables import CountedRegion
from . import kinds
from .inputs import OpenStore
from .jobs import Kind, Place, in_words

FORMAT, VERSION = "bams3-plan", 1
#: Stores that are asked at once where they are far away.
_PARALLEL = 16
#: Memory of a process that hands units to workers.
_PROCESS_MB = 90

S = TypeVar("S", bound=tuple[str, ...])
R = TypeVar("R")


class PlanSample(NamedTuple):
    """A sample's name, the address of its store, and what tells that from what it was before.

    Where probesets are tested it is their table, and of LD a panel.
    """

    name: str
    store: str
    identity: str


class Unit(NamedTuple):
    """A unit by its number; ``place`` counts the places of its kind."""

    number: int
    sample: int
    kind: int
    place: int


@dataclass(frozen=True)
class Plan:
    """Units of work and their slices; see the module.

    Attributes
    ----------
    id
        A hash of all that follows.
    work
        Address of the work folder, where logs and results lie.
    regions, rows
        Regions, neighbours side by side; and which of them each row of the user's BED file is.
    cost_us, done
        (U,) Predicted microseconds of one core of each unit, and whether it was done when this was planned.
    bounds
        Slice i (from 1) has units ``bounds[i - 1]`` up to ``bounds[i]``.
    """

    id: str
    work: str
    kinds: tuple[Kind, ...]
    samples: tuple[PlanSample, ...]
    regions: tuple[CountedRegion, ...]
    rows: tuple[int, ...]
    cost_us: Array
    done: Array
    bounds: tuple[int, ...]

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return int(self.cost_us.size)

    @property
    def n_slices(self) -> int:
        """How many slices there are; some may be empty."""
        return len(self.bounds) - 1

    @cached_property
    def _places(self) -> list[Sequence[Place]]:
        """What the units of a sample are of, by kind."""
        return [kind.places(self.regions) for kind in self.kinds]

    @cached_property
    def _ends(self) -> list[int]:
        """Units of a sample up to the end of each kind."""
        return list(accumulate(map(len, self._places)))

    def unit(self, number: int) -> Unit:
        """A unit by its number."""
        sample, within = divmod(number, self._ends[-1])
        kind = next(i for i, end in enumerate(self._ends) if within < end)
        first = self._ends[kind - 1] if kind else 0
        return Unit(number, sample, kind, within - first)

    def number_of(self, sample: int, kind: int, place: int = 0) -> int:
        """The number of a unit."""
        return sample * self._ends[-1] + (self._ends[kind - 1] if kind else 0) + place

    def numbers_of(self, sample: int, kind: int) -> range:
        """The units of a kind of a sample."""
        return range(self.number_of(sample, kind), self.number_of(sample, kind + 1))

    def place_of(self, unit: Unit) -> Place:
        """What of its sample a unit is of."""
        return self._places[unit.kind][unit.place]

    def key(self, number: int) -> str:
        """The key of a unit's receipt."""
        unit = self.unit(number)
        sample = self.samples[unit.sample]
        return kinds.key_of(self.kinds[unit.kind], sample.identity, sample.name, self.place_of(unit))

    def describe(self, number: int) -> str:
        """What a user calls a unit: ``count of NA12878 at chr20:1001-2000 (exon1)``."""
        unit = self.unit(number)
        place = self.place_of(unit)
        return f"{self.kinds[unit.kind].name} of {self.samples[unit.sample].name}{in_words(place)}"

    def slice_units(self, number: int) -> range:
        """Units of a slice (from 1).

        Raises
        ------
        InputError
            ``bad-slice``.
        """
        if not 1 <= number <= self.n_slices:
            message = f"there is no slice {number}: the plan has 1 to {self.n_slices}"
            raise InputError(message, kind="bad-slice")
        return range(self.bounds[number - 1], self.bounds[number])

    def to_do(self, number: int) -> list[int]:
        """Units of a slice that were not done when this was planned."""
        return [unit for unit in self.slice_units(number) if not self.done[unit]]

    def n_to_do(self, number: int) -> int:
        """How many units ``to_do`` gives."""
        return int(np.count_nonzero(~self.done[slice(*self.bounds[number - 1 : number + 1])]))

    def slice_seconds(self, number: int) -> float:
        """Predicted seconds of one core of a slice."""
        mine = slice(*self.bounds[number - 1 : number + 1])
        return float(self.cost_us[mine][~self.done[mine]].sum()) / 1e6

    def mem_mb(self, workers: int) -> int:
        """Memory that a job with so many workers is likely to need."""
        return _PROCESS_MB + workers * max(kind.mem_mb for kind in self.kinds)


# ---- making one ----


def make_plan(
    samples: Sequence[tuple[str, str]],
    regions: Sequence[CountedRegion],
    wanted: Sequence[Kind],
    work: str,
    open_store: OpenStore,
    n_slices: int | None,
    target_s: float = 600.0,
    done_keys: Set[str] = frozenset(),
) -> Plan:
    """A plan of these kinds of units for samples, (name, address of the store or table) each, and regions.

    Parameters
    ----------
    n_slices, target_s
        How many slices there are; or else about how long each takes with one worker.
    done_keys
        Keys of units that are done, which cost nothing.

    Raises
    ------
    InputError
        ``not-a-store``, ``unknown-contig``, ``no-such-file``, naming the sample; those of stores.
    """
    if nowhere := [kind for kind in wanted if not kind.places(regions)]:
        raise InputError(f"{nowhere[0].name}: no regions", kind="usage", hint="give a BED file of them")
    order = _side_by_side(regions)
    regions, rows = [regions[i] for i in order], tuple(np.argsort(order).tolist())
    priced = list(each(samples, lambda one: _price(one, regions, wanted, open_store)))
    cost_us = np.concatenate([cost for _, cost in priced] or [np.zeros(0, np.int64)])
    mine = tuple(sample for sample, _ in priced)
    done = np.zeros(cost_us.size, bool)
    draft = Plan("", work, tuple(wanted), mine, tuple(regions), rows, cost_us, done, (0,))
    if done_keys:
        done[:] = [draft.key(number) in done_keys for number in range(draft.n_units)]
    left_us = np.where(done, 0, cost_us)
    if n_slices is None:
        n_slices = max(1, math.ceil(left_us.sum() / 1e6 / target_s))
    bounds = tuple(cut(left_us, n_slices))
    return parse(render(replace(draft, bounds=bounds)))


def _side_by_side(regions: Sequence[CountedRegion]) -> list[int]:
    """The order in which neighbours follow each other: contigs as they come first, then positions."""
    contigs = {name: i for i, name in enumerate(dict.fromkeys(region.contig for region in regions))}
    keys = [(contigs[region.contig], region.start_bp, region.end_bp) for region in regions]
    return sorted(range(len(regions)), key=keys.__getitem__)


def each(samples: Sequence[S], work: Callable[[S], R]) -> Iterator[R]:
    """What ``work`` gives of samples, (name, address, ...) each; several at a time from far away."""
    if not any(is_s3(sample[1]) for sample in samples):
        yield from map(work, samples)
        return
    with ThreadPoolExecutor(_PARALLEL) as pool:
        yield from pool.map(work, samples)


def _price(
    sample: tuple[str, str], regions: Sequence[CountedRegion], wanted: Sequence[Kind], open_store: OpenStore
) -> tuple[PlanSample, Array]:
    """A sample's input as it is now, and what its units cost."""
    name, address = sample
    kind = wanted[0].input
    try:
        found = kind(address, open_store)
        load, identity = found.load(regions), found.identity
    except (InputError, CorruptDataError) as err:
        words = str(err).replace("the store", address, 1)
        raise type(err)(f"{kind.noun} {name}: {words}", kind=err.kind, hint=err.hint) from err
    seconds = [kind.seconds(load) for kind in wanted]
    cost_us = np.maximum(np.rint(np.concatenate(seconds) * 1e6), 1).astype(np.int64)
    return PlanSample(name, address, identity), cost_us


def cut(cost_us: Array, n: int) -> Iterator[int]:
    """Bounds (n + 1) of n runs of units whose costs are as equal as they can be.

    Each run takes its share of what is left, so that a unit dearer than a share is alone and the others
    share the rest.
    """
    total = np.append(0, np.cumsum(cost_us))
    at = 0
    yield 0
    for left in range(n, 0, -1):
        share = (total[-1] - total[at]) / left
        end = int(np.searchsorted(total, total[at] + share))
        if end > at + 1 and (total[end] - total[at] - share > total[at] + share - total[end - 1]):
            end -= 1
        if end > at + 1 and cost_us[end - 1] > share:
            end -= 1
        at = min(max(end, at), cost_us.size) if left > 1 else cost_us.size
        yield at


# ---- as a file ----


def render(plan: Plan) -> bytes:
    """A plan as JSON, a key a line."""
    value = {
        "format": FORMAT,
        "version": VERSION,
        "work": plan.work,
        "kinds": [kinds.to_json(kind) for kind in plan.kinds],
        "samples": plan.samples,
        "regions": plan.regions,
        "rows": plan.rows,
        "cost_us": plan.cost_us.tolist(),
        "done": _runs(plan.done),
        "bounds": plan.bounds,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _runs(done: Array) -> list[list[int]]:
    """[first, end] of each run of units that are done."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], done, [False]]).astype(np.int8)))
    return changes.reshape(-1, 2).tolist()


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises
    ------
    InputError
        ``no-such-file``, ``not-a-plan``.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as err:
        raise InputError(f"{path}: {err.strerror}", kind="no-such-file") from err
    return parse(data, str(path))


def parse(data: bytes, name: str = "the plan") -> Plan:
    """The plan that ``render`` wrote.

    Raises
    ------
    InputError
        ``not-a-plan``.
    """
    try:
        value = json.loads(data)
        if value["format"] != FORMAT or value["version"] != VERSION:
            raise ValueError("of another version")
        cost_us = np.array(value["cost_us"], np.int64)
        done = np.zeros(cost_us.size, bool)
        for first, end in value["done"]:
            done[first:end] = True
        plan = Plan(
            hashlib.sha256(data).hexdigest()[:16],
            value["work"],
            tuple(map(kinds.from_json, value["kinds"])),
            tuple(PlanSample(*row) for row in value["samples"]),
            tuple(CountedRegion(*row) for row in value["regions"]),
            tuple(value["rows"]),
            cost_us,
            done,
            tuple(value["bounds"]),
        )
        if not (_has_right_types(plan) and _fits_together(plan, value["done"])):
            raise ValueError("its numbers do not fit together")
    except (
        InputError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as err:
        hint = "make one with: bams3 plan SAMPLES -L REGIONS -o PLAN --slices N"
        message = f"{name} is no plan of this version of bams3: {err}"
        raise InputError(message, kind="not-a-plan", hint=hint) from err
    return plan


def _has_right_types(plan: Plan) -> bool:
    places = [(one.contig, one.name, one.start_bp, one.end_bp) for one in plan.regions]
    texts = [
        plan.work,
        *(text for sample in plan.samples for text in sample),
        *(t for p in places for t in p[:2]),
    ]
    numbers = [*plan.rows, *plan.bounds, *(number for place in places for number in place[2:])]
    return all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)


def _fits_together(plan: Plan, done: Sequence[Sequence[int]]) -> bool:
    """Whether every unit is in one slice, every region in one row, and all kinds read the same."""
    n = plan.n_units
    return (
        n == len(plan.samples) * plan.number_of(1, 0)
        and len({kind.input for kind in plan.kinds}) == 1
        and (plan.bounds[0], plan.bounds[-1]) == (0, n)
        and all(low <= high for low, high in pairwise(plan.bounds))
        and all(0 <= first < end <= n for first, end in done)
        and sorted(plan.rows) == list(range(len(plan.regions)))
        and bool((plan.cost_us >= 0).all())
    )
