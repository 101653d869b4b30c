"""Variants of a stored panel by id, by place, or in a region; it reads the blocks it needs to tell."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..regions import ContigTable, Region, parse_region
from ..variants import Planes, Sites, Texts
from .blocks import Block

if TYPE_CHECKING:
    from fractions import Fraction

    from ..format.panel_manifest import ContigRange
    from ..panel.stored import StoredPanel

#: Blocks whose sites, and whose planes, are kept for the next question.
_KEPT_SITES, _KEPT_PLANES = 1024, 8
_NAMED = 3
_PLACE = re.compile(r"(?P<contig>.+?):(?P<pos>[0-9,]{1,14})(:(?P<ref>[^:]+):(?P<alt>[^:]+))?", re.ASCII)


def is_common(sites: Sites, min_maf: Fraction) -> Array:
    """(V,) bool. Whether the rarer allele of each has at least this share of the called ones."""
    rarer = np.minimum(sites.n_alt, sites.n_alleles - sites.n_alt)
    found: Array = rarer * min_maf.denominator >= sites.n_alleles * min_maf.numerator
    return found


class _Place(NamedTuple):
    """What a user wrote of a variant: a contig of the panel, a position and perhaps alleles."""

    contig: ContigRange
    start_bp: int
    alleles: tuple[str, str] | None


class Finder:
    """Sites and planes of a panel, read a block at a time; some are kept."""

    def __init__(self, panel: StoredPanel) -> None:
        self.panel = panel
        self.contigs = [contig.name for contig in panel.contigs]
        self._bounds = [*panel.block_starts.tolist(), panel.n_variants]
        self._sites: OrderedDict[int, Sites] = OrderedDict()
        self._planes: OrderedDict[int, Planes] = OrderedDict()

    # -- reading --

    def sites_of(self, block: int) -> Sites:
        """All sites of a stored block."""
        if block not in self._sites:
            self._sites[block] = self.panel.sites(*self._bounds[block : block + 2])
            if len(self._sites) > _KEPT_SITES:
                self._sites.popitem(last=False)
        return self._sites[block]

    def planes_of(self, block: int) -> Planes:
        """All genotypes of a stored block."""
        if block in self._planes:
            self._planes.move_to_end(block)
        else:
            self._planes[block] = self.panel.planes(*self._bounds[block : block + 2])
            if len(self._planes) > _KEPT_PLANES:
                self._planes.popitem(last=False)
        return self._planes[block]

    def site(self, number: int) -> Sites:
        """One variant's."""
        block = self._block_of(number)
        at = number - self._bounds[block]
        return self.sites_of(block).between(at, at + 1)

    def run(self, first: int, end: int) -> Block:
        """Consecutive variants, with their genotypes."""
        sites, planes = [], []
        for block, low, high in self._meeting(first, end):
            sites.append(self.sites_of(block).between(low, high))
            planes.append(self.planes_of(block).between(low, high))
        return Block(first, Sites.joined(sites), Planes.joined(planes))

    def sites_at(self, numbers: Array) -> Sites:
        """Some variants' sites, in the order that is asked for."""
        runs, back = self._by_block(numbers)
        return Sites.joined([self.sites_of(block).take(own) for block, own in runs]).take(back)

    def planes_at(self, numbers: Array) -> Planes:
        """Some variants' genotypes, in the order that is asked for."""
        runs, back = self._by_block(numbers)
        return Planes.joined([self.planes_of(block).take(own) for block, own in runs]).take(back)

    def _by_block(self, numbers: Array) -> tuple[list[tuple[int, Array]], Array]:
        """Which of a block's variants are asked for, block by block; and where each one then lies."""
        ordered, back = np.unique(numbers, return_inverse=True)
        blocks = np.searchsorted(self._bounds, ordered, side="right") - 1
        runs = [
            (block, ordered[blocks == block] - self._bounds[block]) for block in np.unique(blocks).tolist()
        ]
        return runs, back

    def _block_of(self, number: int) -> int:
        return int(np.searchsorted(self._bounds, number, side="right")) - 1

    def _meeting(self, first: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Stored blocks of a run of variants, and from where to where, counted from each block's first."""
        for block in range(self._block_of(first), len(self._bounds) - 1):
            start, stop = self._bounds[block : block + 2]
            if start >= end:
                return
            yield block, max(first, start) - start, min(end, stop) - start

    # -- places --

    def region(self, text: str | Region) -> tuple[int, int]:
        """Numbers of the first variant of a region and the one behind its last.

        Raises
        ------
        InputError
            ``unknown-contig``, ``bad-region``; ``no-variants``: there are none in it.
        """
        region = text if isinstance(text, Region) else self._parsed(text)
        contig = self.panel.contig_of(region.contig)
        first, end = (self._at(contig, bp) for bp in (region.start_bp, region.end_bp))
        if first == end:
            hint = (
                f"its variants are {self._place(contig.first)} to {self._place(contig.first + contig.n - 1)}"
            )
            message = f"{self.panel.name} has no variants in {text}"
            raise InputError(message, kind="no-variants", hint=hint)
        return first, end

    def around(self, number: int, distance_bp: int) -> tuple[int, int]:
        """The run of variants that lie at most so far from one."""
        site = self.site(number)
        contig, start_bp = self.panel.contigs[int(site.contig[0])], int(site.start_bp[0])
        return self._at(contig, start_bp - distance_bp), self._at(contig, start_bp + distance_bp + 1)

    def _parsed(self, text: str) -> Region:
        table = ContigTable(tuple(self.contigs), (0,) * len(self.contigs))
        try:
            return parse_region(text, table)
        except InputError as err:
            words = str(err).replace("the store", self.panel.name, 1)
            hint = err.hint.replace("the store", "the panel", 1)
            raise InputError(words, kind=err.kind, hint=hint) from None

    def _at(self, contig: ContigRange, start_bp: int) -> int:
        """Number of the first variant of a contig that does not lie before a position."""
        first, end = contig.first, contig.first + contig.n
        blocks = range(self._block_of(first), self._block_of(end - 1) + 1)

        def last_bp(block: int) -> int:
            return int(
                self.sites_of(block).start_bp[min(end, self._bounds[block + 1]) - self._bounds[block] - 1]
            )

        block = bisect_left(blocks, start_bp, key=last_bp) + blocks.start
        if block == blocks.stop:
            return end
        start = self._bounds[block]
        low, high = max(first - start, 0), min(end, self._bounds[block + 1]) - start
        places = self.sites_of(block).start_bp[low:high]
        return int(start + low + np.searchsorted(places, start_bp))

    # -- single variants --

    def numbers(self, names: Sequence[str]) -> list[int]:
        """Variants by id, ``contig:position`` or ``contig:position:ref:alt``.

        What names a contig of the panel, and a position that has variants, is a place; the rest are ids.

        Raises
        ------
        InputError
            ``no-such-variant``, with similar ids; ``doubled-id``, with their places.
        """
        found = {name: self._at_place(name) for name in dict.fromkeys(names)}
        sought = [name for name, at in found.items() if not at]
        if sought:
            found |= self._with_ids(sought)
        return [self._only(name, found[name]) for name in names]

    def place(self, number: int) -> str:
        """``contig:position:ref:alt`` of a variant."""
        site = self.site(number)
        return f"{self._place(number)}:{site.ref[0]}:{site.alt[0]}"

    def labels(self, numbers: Array) -> list[str]:
        """Ids of some variants; places where several of them have the same id."""
        ids = list(self.sites_at(numbers).id)
        counts = Counter(ids)
        return [
            self.place(n) if counts[name] > 1 else name for n, name in zip(numbers.tolist(), ids, strict=True)
        ]

    def names(self) -> tuple[list[str], set[str]]:
        """(V,) the name of every variant: its id, or its place where another has the same id; and those ids.

        Notes
        -----
        Reads all sites; holds the names.
        """
        ids: list[str] = []
        for block in range(len(self._bounds) - 1):
            ids += self.sites_of(block).id
        counts = Counter(ids)
        doubled = {name for name, n in counts.items() if n > 1}
        return [self.place(n) if name in doubled else name for n, name in enumerate(ids)], doubled

    def _place(self, number: int) -> str:
        site = self.site(number)
        return f"{self.contigs[int(site.contig[0])]}:{int(site.start_bp[0]) + 1}"

    def _at_place(self, name: str) -> list[int]:
        """Numbers of the variants at a place; none where it is no place, or has no variants."""
        place = self._as_place(name)
        if place is None:
            return []
        first, end = (self._at(place.contig, place.start_bp + more) for more in (0, 1))
        if place.alleles is None:
            return list(range(first, end))
        return [n for n in range(first, end) if (self.site(n).ref[0], self.site(n).alt[0]) == place.alleles]

    def _as_place(self, name: str) -> _Place | None:
        match = _PLACE.fullmatch(name)
        if not match or match["contig"] not in self.contigs:
            return None
        alleles = (match["ref"], match["alt"]) if match["ref"] else None
        start_bp = int(match["pos"].replace(",", "") or 0) - 1
        return _Place(self.panel.contig_of(match["contig"]), start_bp, alleles)

    def _with_ids(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Numbers of the variants that have these ids."""
        found: dict[str, list[int]] = {name: [] for name in names}
        keys = {name: name.encode("utf-8", "surrogateescape") for name in names}
        for block, start in enumerate(self._bounds[:-1]):
            ids = self.sites_of(block).id
            if len(names) > _NAMED:
                for at, name in enumerate(ids):
                    if name in found:
                        found[name].append(start + at)
            else:
                for name, key in keys.items():
                    found[name] += [start + at for at in _equal(ids, key)]
        return found

    def _only(self, name: str, numbers: Sequence[int]) -> int:
        if len(numbers) == 1:
            return numbers[0]
        if not numbers:
            message = f"{self.panel.name} has no variant {name}"
            raise InputError(message, kind="no-such-variant", hint=self._similar(name))
        some = ", ".join(self.place(n) for n in numbers[:_NAMED]) + ", ..." * (len(numbers) > _NAMED)
        message = f"{name} is {len(numbers):,} variants of {self.panel.name}: {some}"
        raise InputError(message, kind="doubled-id", hint="ask for one of them by its place, as written here")

    def _similar(self, name: str) -> str:
        place = self._as_place(name)
        if place is not None:
            near = min(self._at(place.contig, place.start_bp), place.contig.first + place.contig.n - 1)
            return f"a variant near it is {self.place(near)}"
        begin, found = name[: max(len(name) // 2, 1)].lower(), list[tuple[float, str]]()
        for block in range(len(self._bounds) - 1):
            same = [other for other in self.sites_of(block).id if other.lower().startswith(begin)]
            found += [(SequenceMatcher(None, name, other).ratio(), other) for other in same[:2000]]
            found = sorted(found, key=lambda one: (-one[0], one[1]))[:_NAMED]
        if found:
            return f"similar ids are {', '.join(other for _, other in found)}"
        some = ", ".join(self.sites_of(0).id.between(0, min(_NAMED, self._bounds[1])))
        return f"its ids are {some}, ...; or write contig:position"


def _equal(texts: Texts, key: bytes) -> list[int]:
    """Which texts are these bytes, without making strings of them."""
    same_length = np.flatnonzero(np.diff(texts.start) == len(key))
    data = texts.data[texts.start[same_length, None] + np.arange(len(key))]
    found: list[int] = same_length[(data == np.frombuffer(key, np.uint8)).all(axis=1)].tolist()
    return found
