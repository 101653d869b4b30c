"""What a unit is run with, what a kind of unit is, and where results go."""

from __future__ import annotations

import contextlib
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ..columns import Array
from ..files import remove_leftovers, replaced
from ..ld.tiles import Tile
from ..slices import Slice
from ..store import LocalStore, Store
from ..tables import CountedRegion
from .inputs import Input

#: What of its sample a unit is of: a region, a slice of a table's probesets, a tile of a panel's pairs of
#: variants, or None: all.
Place = CountedRegion | Slice | Tile | None

In = TypeVar("In")

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def safe(name: str) -> str:
    """A name as that of a file may be."""
    return _UNSAFE.sub("_", name)[:100]


def in_words(place: Place) -> str:
    """How a unit's name goes on behind that of its sample: `` at chr20:1001-2000``, ``, slice 3/8``."""
    if place is None:
        return ""
    if isinstance(place, Tile):
        return f", tile {place.number}"
    return f", slice {place}" if isinstance(place, Slice) else f" at {place}"


@dataclass(frozen=True, slots=True)
class Job(Generic[In]):
    """What units of one sample are run with.

    Attributes
    ----------
    sample, input
        The sample's name, and its store or table.
    work
        Where results go.
    keys
        Of the units' receipts, which are in the names of result files.
    threads
        How many a unit may have: more than one where there are more workers than units.
    """

    sample: str
    input: In
    work: Store
    keys: Sequence[str]
    threads: int = 1

    def file_key(self, folder: str, i: int, region: CountedRegion, suffix: str) -> str:
        """Where the result of the i-th unit goes: a name that people can read, and the unit's key."""
        return f"{folder}/{self.sample}/{safe(region.label)}.{self.keys[i][:8]}{suffix}"


class Kind(Protocol):
    """One kind of unit.

    Attributes
    ----------
    name
        What it is called.
    input
        What its units read; kinds of one plan read the same.
    mem_mb
        Memory of a worker that has such a unit in hand.
    """

    name: ClassVar[str]
    input: ClassVar[type[Input]]

    @property
    def mem_mb(self) -> int: ...

    def places(self, regions: Sequence[CountedRegion]) -> Sequence[Place]:
        """What the units of a sample are of, one each, where the plan has these regions."""
        ...

    def seconds(self, load: Any) -> Array:
        """What units may take of one core, one a place; ``load`` is what their input told of regions."""
        ...

    def question(self, sample: str, place: Any) -> str:
        """What is asked, beside the input's content and where: units that ask the same share a receipt."""
        ...

    def run(self, job: Job[Any], places: Sequence[Any]) -> Iterator[Any]:
        """Results of units, one a place, as JSON values."""


class OfOneInput(ABC):
    """What kinds share whose units are parts of one input, not of samples: their results become one file.

    Attributes
    ----------
    gathered
        That file's name, by which it is known whether it is text.
    beside
        What else lies beside it, in words.
    drawn_by
        The command that draws it; empty where there is none.
    """

    gathered: ClassVar[str]
    beside: ClassVar[str] = ""
    drawn_by: ClassVar[str] = ""

    def write_gathered(self, work: Store, results: Sequence[Mapping[str, Any]], path: Path) -> None:
        """Write what one command would have written of the whole input, from results of all units.

        Raises
        ------
        InputError
            Files of results are not what units wrote.
        """
        with _local(work, results) as parts:
            self.join(parts, path)

    @abstractmethod
    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write files of results as one."""


@contextlib.contextmanager
def _local(work: Store, results: Sequence[Mapping[str, Any]]) -> Iterator[list[Path]]:
    """Files of results on a disk, with what belongs beside them."""
    with contextlib.ExitStack() as stack:
        folder = Path(work.name)
        if not isinstance(work, LocalStore):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bams3-")))
            for key in (key for result in results for key in (result["file"], *result.get("beside", ()))):
                (folder / key).parent.mkdir(exist_ok=True)
                (folder / key).write_bytes(work.get(key))
        yield [folder / result["file"] for result in results]


def remove_what_was_left(work: Store, key: str) -> None:
    """Remove what processes that were killed had begun to write of a result."""
    if isinstance(work, LocalStore):
        remove_leftovers(Path(work.name, key))


@contextlib.contextmanager
def result_file(work: Store, key: str) -> Iterator[Path]:
    """A path to write a result to; it appears in the work folder at the end, whole, or not at all."""
    if isinstance(work, LocalStore):
        path = Path(work.name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as partial:
            yield partial
        return
    with tempfile.TemporaryDirectory(prefix="bams3-") as place:
        path = Path(place, "result")
        yield path
        with path.open("rb") as file:
            work.upload(key, file)  # type: ignore[attr-defined]
