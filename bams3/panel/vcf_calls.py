"""Genotypes of VCF and BCF with their phase, as planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..columns import Array
from ..errors import CorruptDataError, InputError
from ..kernels import KernelError, PlaneRows, Tally
from .blocks import Site, id_or_place
from .calls import Choice, Counts, FileOrder, OnProgress, Run, RunRoom, Wanted, allele_ids, chosen_samples
from .vcf import SoundRecords, check_file, open_vcf

_RECORDS_AT_ONCE = 256

# Phase sets by number: not seen yet, and a call without one; others are below.
_UNSEEN, NO_SET = 1 << 62, 1 << 61
_MISSING_INT = -(1 << 31)


class VcfCalls:
    """The genotypes of a VCF or BCF file.

    The first allele of a call is its first haplotype. A site is phased if each heterozygous call is, and lies
    in the phase set (PS) of the sample's first phased heterozygous call on the contig; calls without PS are
    of one set. A call with any allele missing is missing. With several alternate alleles each becomes a
    variant, against all other alleles, as by ``bcftools norm -m -both``; its id is its part of ``rs1;rs2``
    where there are as many as alleles, as by plink2's ``vid-split``, else the id and the allele: ``rs1_T``.

    Parameters
    ----------
    path
        A regular file: VCF, plain or compressed, or BCF.

    Raises
    ------
    InputError
        kind ``no-such-file``, ``not-a-file``, ``not-a-panel``, ``no-samples``, ``unknown-sample``.
    CorruptDataError
        kind ``truncated-file``.

    Notes
    -----
    A record of 2,504 samples takes 200 us of VCF, half of it htslib's; BCF has a reader of its own, BcfCalls.
    """

    def __init__(self, path: Path, choice: Choice) -> None:
        self.path, self.counts, self._choice = path, Counts(), choice
        check_file(path)
        names = open_vcf(path).samples
        self.samples = tuple(names[k] for k in chosen_samples(path, names, choice.samples))

    def runs(self, on_progress: OnProgress) -> Iterator[Run]:
        """See ``CallSource.runs``.

        Raises
        ------
        InputError
            kind ``unsorted``, ``polyploid``, ``unknown-contig``, ``bad-region``.
        CorruptDataError
            kind ``bad-vcf``, ``bad-genotype``.
        """
        subset = {"samples": list(self.samples)} if self._choice.samples else {}
        vcf = open_vcf(self.path, threads=2, **subset)
        order = FileOrder(self.path, f"bcftools sort -O b -o sorted.bcf {self.path}")
        try:
            contigs = vcf.seqnames
        except UnicodeDecodeError as err:
            message = f"{self.path}: the name of a contig is not UTF-8"
            raise InputError(message, kind="not-a-panel") from err
        wanted, sets = Wanted(self._choice.regions, contigs), _phase_sets(vcf, len(self.samples))
        room = RunRoom(len(self.samples))
        for site, record in SoundRecords(vcf, self.path):
            order.see(site.contig, site.start_bp)
            self.counts.records += 1
            if self.counts.records % _RECORDS_AT_ONCE == 0:
                on_progress(_RECORDS_AT_ONCE)
            if not wanted.has(site.contig, site.start_bp):
                continue
            alts = record.ALT or ["."]
            self.counts.multiallelic += len(alts) > 1
            if len(alts) > 1 and self._choice.drops_multiallelic:
                continue
            yield from self._add(room, site, record, alts, sets)
        on_progress(self.counts.records % _RECORDS_AT_ONCE)
        if room.row:
            yield room.take()

    def _add(
        self, room: RunRoom, site: Site, record: Any, alts: list[str], sets: PhaseSets | None
    ) -> Iterator[Run]:
        """Every alternate allele of a record as a variant; runs that became full."""
        calls, is_phased = self._calls(record, site), True
        for number, (name, alt) in enumerate(zip(allele_ids(record.ID, alts), alts, strict=True), 1):
            row = room.row
            tally = self._pack(room.run.planes, row, calls, len(alts) + bool(record.ALT), number, site)
            if number == 1:
                self.counts.half_calls += tally.half
                is_phased = not tally.unphased
                if sets is not None:
                    is_phased &= sets.agree(
                        site.contig, _sets_of(record, len(self.samples)), room.run.planes.phased[row]
                    )
            name = id_or_place(name, site.contig, site.start_bp, site.ref, alt)
            if room.add(site._replace(id=name, alt=alt), is_phased):
                yield room.take()

    def _calls(self, record: Any, site: Site) -> Array:
        """(S, P + 1) int16. Alleles and phase of a record."""
        try:
            genotype = record.genotype
            if genotype.ploidy < 1:  # of damaged BCF; to ask for the array is to crash
                raise ValueError("calls without alleles")
            calls: Array = genotype.array()
        except Exception as err:  # cyvcf2 has no classes of its own
            if "GT" in record.FORMAT:
                raise CorruptDataError(f"{self.path}: {site}: GT cannot be read", kind="bad-vcf") from err
            self.counts.without_calls += 1
            return np.full((len(self.samples), 2), (-1, 0), np.int16)
        return calls

    def _pack(self, rows: PlaneRows, row: int, calls: Array, n_alleles: int, alt: int, site: Site) -> Tally:
        try:
            tally = rows.pack(row, calls, n_alleles, alt)
        except KernelError as err:
            raise bad_genotype(self.path, site) from err
        if tally.polyploid:
            raise polyploid(self.path, site, self.samples[tally.culprit])
        return tally


def bad_genotype(path: Path, site: Site) -> CorruptDataError:
    """The error for a call of an allele that is not there."""
    message = f"{path}: {site}: a genotype names an allele that the record does not have"
    return CorruptDataError(message, kind="bad-genotype")


def polyploid(path: Path, site: Site, sample: str) -> InputError:
    """The error for a call of three alleles or more."""
    message = f"{path}: {site}: {sample} has more than two alleles"
    hint = "calls have one or two alleles here; bcftools +fixploidy or +setGT mends them"
    return InputError(message, kind="polyploid", hint=hint)


class PhaseSets:
    """The phase set of each sample's first phased heterozygous call on a contig."""

    def __init__(self, samples: int) -> None:
        self._contig, self._first = "", np.full(samples, _UNSEEN, np.int64)

    def agree(self, contig: str, sets: Array | None, phased: Array) -> bool:
        """Whether the phased heterozygous calls (bits, W words) of a site lie in these sets.

        ``sets`` are those of the site, as numbers of samples (S,) int64; None: it has none.
        """
        if contig != self._contig:
            self._contig = contig
            self._first.fill(_UNSEEN)
        found = np.full(len(self._first), NO_SET) if sets is None else sets
        is_het = np.unpackbits(phased.view(np.uint8), bitorder="little")[: len(found)].astype(bool)
        is_new = is_het & (self._first == _UNSEEN)
        self._first[is_new] = found[is_new]
        return not (is_het & (self._first != found)).any()


def _phase_sets(vcf: Any, samples: int) -> PhaseSets | None:
    """None where the header declares no PS."""
    declared = (line.info() for line in vcf.header_iter())
    has_sets = any(info.get("HeaderType") == "FORMAT" and info.get("ID") == "PS" for info in declared)
    return PhaseSets(samples) if has_sets else None


def _sets_of(record: Any, samples: int) -> Array | None:
    """(S,) int64. The phase set of each sample; None where the record has none."""
    values = record.format("PS")
    if values is None:
        return None
    if values.dtype.kind in "iu":
        first = values.reshape(samples, -1)[:, 0].astype(np.int64)
        return np.where(first == _MISSING_INT, NO_SET, first)
    return numbered(str(value) for value in values.reshape(-1))


def numbered(names: Iterable[str]) -> Array:
    """int64. A number for each name of a phase set."""
    return np.array([NO_SET if name in ("", ".") else hash(name) >> 8 for name in names], np.int64)
