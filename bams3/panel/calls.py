"""What is asked of an import, and what every reader of genotypes gives it: runs of variants as planes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from ..errors import InputError
from ..format import spec
from ..format.panel_block import block_variants
from ..kernels import PlaneRows
from ..regions import ContigTable, parse_region
from .blocks import Site

_NAMED = 3

#: Told of the records that were read, some hundreds at a time.
OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What of an input is wanted.

    Attributes
    ----------
    regions
        Texts of regions: variants whose position lies in one of them; none: all.
    samples
        Their names; none: all.
    drops_multiallelic
        Whether sites with several alternate alleles are left out; else each allele becomes a variant.
    """

    regions: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    drops_multiallelic: bool = False


@dataclass(slots=True)
class Counts:
    """What a reader met.

    Attributes
    ----------
    records
        Of the input.
    multiallelic
        Sites with several alternate alleles.
    half_calls
        Calls of whose alleles some are missing; they count as missing.
    without_calls
        Records without GT.
    het_haploid
        Heterozygous calls where there can be one allele only; they count as missing.
    nonmale_y
        Calls on chromosome Y of samples that are not male; they count as missing.
    """

    records: int = 0
    multiallelic: int = 0
    half_calls: int = 0
    without_calls: int = 0
    het_haploid: int = 0
    nonmale_y: int = 0


@dataclass(slots=True)
class Run:
    """V variants in the order of the input; the rows of ``planes`` behind them say nothing.

    Attributes
    ----------
    sites
        (V,) Contig, position, id, alleles.
    is_phased
        (V,) Whether each site is phased.
    planes
        Rows of planes, V or more.
    """

    planes: PlaneRows
    sites: list[Site] = field(default_factory=list)
    is_phased: list[bool] = field(default_factory=list)


class CallSource(Protocol):
    """Genotypes of an input, read once, front to back.

    Attributes
    ----------
    path
        The file that messages name.
    samples
        (S,) Those that are wanted, in the order of the input.
    counts
        What was met so far.
    """

    path: Path
    samples: tuple[str, ...]
    counts: Counts

    def runs(self, on_progress: OnProgress) -> Iterator[Run]:
        """Every variant that is wanted.

        Raises
        ------
        InputError
            kind ``unsorted``, ``polyploid``, ``unknown-contig``, and what the reader says.
        CorruptDataError
            What the reader says of bytes that are wrong.
        """


class RunRoom:
    """Where a reader puts variants: a run at a time, as many as a block has.

    A run ends early where its texts are long, so that alleles of megabytes do not fill the memory.
    """

    def __init__(self, samples: int) -> None:
        self._samples, self.variants = samples, block_variants(samples)
        self._text = 0
        self.run = self._new()

    def _new(self) -> Run:
        return Run(PlaneRows(self.variants, self._samples))

    @property
    def row(self) -> int:
        """Where the next variant goes."""
        return len(self.run.sites)

    def add(self, site: Site, is_phased: bool) -> bool:
        """Keep the row that was filled; whether the run is full."""
        self.run.sites.append(site)
        self.run.is_phased.append(is_phased)
        self._text += len(site.id) + len(site.ref) + len(site.alt)
        return self.row == self.variants or self._text >= spec.BLOCK_TEXT_BYTES

    def extend(self, sites: Sequence[Site]) -> bool:
        """Keep rows that were filled, of sites that are not phased; whether the run is full."""
        is_full = False
        for site in sites:
            is_full |= self.add(site, False)
        return is_full

    def take(self) -> Run:
        """The run, in whose place a new one begins."""
        full, self.run, self._text = self.run, self._new(), 0
        return full


#: Positions that can be stored, as in BCF.
_MOST_BP = (1 << 31) - 1


class FileOrder:
    """Holds an input to its order: contigs in one piece each, positions ascending.

    Parameters
    ----------
    cure
        The command that sorts the file.
    """

    def __init__(self, path: Path, cure: str) -> None:
        self._path, self._cure = path, cure
        self._contig, self._start_bp, self._number = "", -1, 0
        self._ends: dict[str, tuple[int, int]] = {}

    def see(self, contig: str, start_bp: int) -> None:
        """The next record.

        Raises
        ------
        InputError
            ``unsorted``, naming it and the one that it should not follow; ``bad-position``: above 31 bits.
        """
        if start_bp >= _MOST_BP:
            words = f"record {self._number + 1:,} ({contig}:{start_bp + 1}) lies beyond {_MOST_BP:,}"
            hint = "positions of VCF and BCF have 31 bits"
            raise InputError(f"{self._path}: {words}", kind="bad-position", hint=hint)
        if contig != self._contig:
            self._ends[self._contig] = self._number, self._start_bp
            if contig in self._ends and self._number:
                raise self._refusal(contig, start_bp, *self._ends[contig], "comes back behind other contigs")
            self._contig = contig
        elif start_bp < self._start_bp:
            raise self._refusal(contig, start_bp, self._number, self._start_bp, "lies before")
        self._start_bp = start_bp
        self._number += 1

    def _refusal(self, contig: str, start_bp: int, number: int, other_bp: int, what: str) -> InputError:
        new = f"record {self._number + 1:,} ({contig}:{start_bp + 1})"
        old = f"record {number:,} ({contig}:{other_bp + 1})"
        words = f"{new} lies before {old}" if what == "lies before" else f"{new} {what}, after {old}"
        return InputError(f"{self._path}: not sorted: {words}", kind="unsorted", hint=self._cure)


class Wanted:
    """Which positions the regions of a choice hold.

    Parameters
    ----------
    contigs
        Names that the input declares; where it declares none, a region is taken at its word.
    """

    def __init__(self, regions: Sequence[str], contigs: Sequence[str]) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = {}
        for text in regions:
            known = contigs or [text.rpartition(":")[0] or text]
            table = ContigTable(tuple(known), (0,) * len(known))
            try:
                region = parse_region(text, table)
            except InputError as err:
                words, hint = (text.replace("the store", "the input") for text in (str(err), err.hint))
                raise InputError(words, kind=err.kind, hint=hint) from err
            self._spans.setdefault(region.contig, []).append((region.start_bp, region.end_bp))

    def has(self, contig: str, start_bp: int) -> bool:
        """Whether a variant at this position is wanted."""
        spans = self._spans
        return not spans or any(low <= start_bp < high for low, high in spans.get(contig, ()))


def chosen_samples(path: Path, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Places of the wanted samples (all, if none is named), in the order of the input.

    Raises
    ------
    InputError
        kind ``unknown-sample``, ``doubled-sample``.
    """
    if again := next((name for name, n in Counter(names).items() if n > 1), None):
        hint = "rename one: bcftools reheader --samples"
        raise InputError(f"{path}: two samples are {again}", kind="doubled-sample", hint=hint)
    if not wanted:
        return list(range(len(names)))
    lacking = sorted(set(wanted) - set(names))
    if lacking:
        noun = "sample is" if len(lacking) == 1 else "samples are"
        message = f"{path}: {len(lacking):,} {noun} not in the panel: {some(lacking)}"
        raise InputError(message, kind="unknown-sample", hint=f"its samples are {some(names)}")
    chosen = set(wanted)
    return [k for k, name in enumerate(names) if name in chosen]


def some(names: Sequence[str]) -> str:
    """The first names of several."""
    return ", ".join(islice(names, _NAMED)) + ", ..." * (len(names) > _NAMED)


def allele_ids(name: str | None, alts: Sequence[str]) -> list[str | None]:
    """The id of each alternate allele of a site: ``rs1;rs2`` is one each, ``rs1`` becomes rs1_A and rs1_T."""
    if not name or len(alts) == 1:
        return [name] * len(alts)
    parts = name.split(";")
    return list(parts) if len(parts) == len(alts) else [f"{name}_{alt}" for alt in alts]
