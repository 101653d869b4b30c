"""Panels from VCF and BCF, by htslib: what a record says of its samples, and files that end too early."""

from __future__ import annotations

import contextlib
import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..bam import BGZF_EOF
from ..columns import Array
from ..errors import CorruptDataError, InputError
from ..slices import Slice
from .blocks import (
    AA,
    AB,
    BB,
    MISSING,
    Note,
    Site,
    UniqueIds,
    VariantBlock,
    block_variants,
    id_or_place,
    is_own,
)

_BGZF_START = b"\x1f\x8b\x08\x04"
_GZIP_START = b"\x1f\x8b"

# Alleles as cyvcf2 gives them: -1 is a missing one; -2 fills the row of a sample with fewer of them.
_NO_ALLELE, _UNKNOWN = -2, -1


@dataclass(slots=True)
class _Tally:
    """What a reading left out, for its notes."""

    several: int = 0
    without_calls: int = 0


class VcfPanel:
    """The genotypes of a VCF or BCF file: those of records with at most one alternate allele.

    A is REF and B is ALT, which may be a symbol such as ``<DEL>`` or ``*``; a record without ALT is all A.
    Haploid calls count as homozygous, calls with a missing allele (``./.``, ``0/.``, ``.``) as missing, and
    so does everybody where a record has no GT. Records with several alternate alleles are left out and
    noted. An id is that of the ID column, or CHROM_POS_REF_ALT where that is ``.``.

    Parameters
    ----------
    path
        A regular file: VCF, plain or compressed, or BCF.
    on_note
        Told, after a reading, of records that were left out or have no genotypes.

    Raises
    ------
    InputError
        kind ``no-such-file``, ``not-a-file``, ``not-a-panel``, ``no-samples``.
    CorruptDataError
        kind ``truncated-file``: no end marker of BGZF, or no end of the last line.

    Notes
    -----
    Bytes of BCF that lie inside sound BGZF blocks can end the process: htslib itself exits at some of them.

    Read by cyvcf2, which gives a record's alleles as one array; pysam makes a Python object of every call,
    at 20 times the time. A BCF costs 50 us and a VCF 115 us a record of 2,504 samples, nearly all of it
    htslib's.
    """

    def __init__(self, path: Path, *, on_note: Note | None = None) -> None:
        self.path = path
        self._on_note = on_note
        check_file(path)
        self.samples: tuple[str, ...] = ()
        self._open()

    def blocks(self, which: Slice | None = None, *, unique: bool = False) -> Iterator[VariantBlock]:
        """See ``Panel.blocks``.

        Raises
        ------
        InputError
            kind ``doubled-probeset``, ``no-variants``.
        CorruptDataError
            kind ``bad-vcf``: a record that cannot be read, or bytes that end inside one; ``bad-genotype``.
        """
        tally, number = _Tally(), -1
        ids = UniqueIds(self.path, self._find, _UNIQUE_HINT) if unique else None
        codes = np.empty((block_variants(len(self.samples)), len(self.samples)), np.uint8)
        sites: list[Site] = []
        for number, (site, record) in enumerate(self._records(tally)):
            if ids is not None:
                ids.add(site.id)
            if is_own(number, which):
                codes[len(sites)] = self._codes(record, site, tally)
                sites.append(site)
            if len(sites) == len(codes):
                yield VariantBlock(sites, codes)
                sites, codes = [], np.empty_like(codes)
        if ids is not None:
            ids.check()
        if sites:
            yield VariantBlock(sites, codes[: len(sites)])
        self._end(tally, number + 1)

    def _open(self) -> Any:
        vcf = open_vcf(self.path)
        self.samples = tuple(vcf.samples)
        return vcf

    def _records(self, tally: _Tally) -> Iterator[tuple[Site, Any]]:
        """Every record with at most one alternate allele."""
        for site, record in SoundRecords(self._open(), self.path):
            if len(record.ALT) > 1:
                tally.several += 1
            else:
                yield site, record

    def _codes(self, record: Any, site: Site, tally: _Tally) -> Array:
        """(S,) uint8. The genotypes of a record."""
        try:
            genotype = record.genotype
            if genotype.ploidy < 1:  # of damaged BCF; to ask for the array is to crash
                raise ValueError("calls without alleles")
            calls = genotype.array()
        except Exception as err:  # cyvcf2 has no classes of its own
            if "GT" in record.FORMAT:
                raise CorruptDataError(f"{self.path}: {site}: GT cannot be read", kind="bad-vcf") from err
            tally.without_calls += 1
            return np.full(len(self.samples), MISSING, np.uint8)
        alleles = calls[:, :-1]  # the last column is phase
        # all columns lie in one piece: that is 8 times as fast, and phase is 0 or 1
        if calls.min() < _NO_ALLELE or calls.max() > 1:
            message = f"{self.path}: {site}: a genotype names an allele that the record does not have"
            raise CorruptDataError(message, kind="bad-genotype")
        return codes_of(alleles)

    def _find(self, number: int) -> tuple[Site, str]:
        site, _ = next(islice(self._records(_Tally()), number, None))
        return site, str(site)

    def _end(self, tally: _Tally, variants: int) -> None:
        hint = "bcftools norm -m -both makes a record of every alternate allele"
        several = f"{self.path}: {tally.several:,} records with several alternate alleles are left out"
        if not variants:
            none = several if tally.several else f"{self.path}: has no records"
            raise InputError(none, kind="no-variants", hint=hint if tally.several else "")
        if self._on_note and tally.several:
            self._on_note(f"{several}; {hint}")
        if self._on_note and tally.without_calls:
            self._on_note(
                f"{self.path}: {tally.without_calls:,} records have no GT: every call of theirs is missing"
            )


def open_vcf(path: Path, **options: Any) -> Any:
    """A VCF or BCF file with samples, open; ``options`` are those of cyvcf2.VCF.

    Raises
    ------
    InputError
        kind ``not-a-panel``, ``no-samples``.
    """
    import cyvcf2  # noqa: PLC0415  # 0.1 s that only panels in VCF need

    cyvcf2.cyvcf2.set_htslib_log_level(0)  # its words would stand between ours
    try:
        vcf = cyvcf2.VCF(str(path), **options)
        has_samples = bool(vcf.samples)
    except Exception as err:  # cyvcf2 has no classes of its own
        hint = "bcftools view -h, or samtools' htsfile, says what is wrong with it"
        raise InputError(f"{path}: not a VCF or BCF file: {err}", kind="not-a-panel", hint=hint) from err
    if not has_samples:
        hint = "genotypes stand behind the FORMAT column, a column a sample"
        raise InputError(f"{path}: has no samples, only sites", kind="no-samples", hint=hint)
    return vcf


class SoundRecords:
    """Every record of an open file, none of which is a torso.

    Raises
    ------
    CorruptDataError
        kind ``bad-vcf``, naming the record that cannot be read.
    """

    def __init__(self, vcf: Any, path: Path) -> None:
        self._vcf, self._path = vcf, path
        self._read, self._last = 0, ""

    def __iter__(self) -> Iterator[tuple[Site, Any]]:
        """Records, each with its site; ALT is the first one."""
        with contextlib.closing(_Scout(self._path)) as scout:
            while True:
                try:
                    scout.go_ahead()
                    record = next(self._vcf)
                    site = _site(record)
                except StopIteration:
                    return
                except Exception as err:  # cyvcf2 has no classes of its own
                    where = f"record {self._read + 1}" + f", after {self._last}" * bool(self._last)
                    hint = "the file may be cut short; bcftools view says what is wrong with the record"
                    message = f"{self._path}: cannot read {where}"
                    raise CorruptDataError(message, kind="bad-vcf", hint=hint) from err
                self._read, self._last = self._read + 1, f"{site.contig}:{site.start_bp + 1}"
                yield site, record


class _Scout:
    """Looks at every line of a VCF before cyvcf2 does.

    Where the first word of a line is not a contig that was seen or declared, cyvcf2 (0.35) takes the record
    for good even if htslib stopped in its middle, and crashes; so does an empty line. pysam raises, and so
    tries such a line first, in a file of its own: once a contig at most. Binary files have no such lines.
    """

    def __init__(self, path: Path) -> None:
        from isal import igzip  # noqa: PLC0415  # only panels in VCF need it

        with path.open("rb") as raw:
            is_compressed = raw.read(2) == _GZIP_START
        opened: IO[bytes] = igzip.open(path, "rb") if is_compressed else path.open("rb")  # type: ignore[no-untyped-call]
        self._lines = opened
        self._header, self._known, self._at_end = bytearray(), set[bytes](), False
        for line in self:
            self._header += line
            if found := _CONTIG_LINE.match(line):
                self._known.add(found[1])
            if not line.startswith(b"##"):
                break
        self._at_end |= not self._header.startswith(b"##")

    def __iter__(self) -> Iterator[bytes]:
        """The next lines; a file that is cut or damaged ends, for cyvcf2 says so."""
        with contextlib.suppress(EOFError, OSError, zlib.error):
            while line := self._lines.readline():
                yield line
        self._at_end = True

    def go_ahead(self) -> None:
        """Look at a line; raises OSError or ValueError if it cannot be a record."""
        line = b"" if self._at_end else next(iter(self), b"")
        contig = line[: line.find(b"\t")]
        if line and contig not in self._known:
            self._try(line)
            self._known.add(contig)

    def _try(self, line: bytes) -> None:
        import pysam  # noqa: PLC0415  # 30 ms that only files with undeclared contigs need

        before = pysam.set_verbosity(0)
        try:
            with tempfile.NamedTemporaryFile(suffix=".vcf") as alone:
                alone.write(self._header + line)
                alone.flush()
                with pysam.VariantFile(alone.name) as file:
                    if next(file, None) is None:
                        raise OSError("not a record")
        finally:
            pysam.set_verbosity(before)

    def close(self) -> None:
        self._lines.close()


_CONTIG_LINE = re.compile(rb"##contig=<ID=([^,>]+)[,>]")

_UNIQUE_HINT = (
    r"bcftools annotate --set-id '%CHROM\_%POS\_%REF\_%ALT' names variants by their place,"
    " and bcftools norm -d exact drops records that come twice"
)


def check_file(path: Path) -> None:
    """Whether a file is there and whole, as far as its first and last bytes tell."""
    try:
        if path.exists() and not path.is_file():
            hint = "a panel is read more than once; write it to a file first" * (not path.is_dir())
            raise InputError(f"{path}: not a regular file", kind="not-a-file", hint=hint)
        with path.open("rb") as file:
            start, size = file.read(18), path.stat().st_size
            file.seek(max(0, size - len(BGZF_EOF)))
            end = file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file") from None
    except OSError as err:
        raise InputError(f"{path}: {err.strerror}", kind="not-readable") from err
    if start.startswith(_BGZF_START) and start[12:14] == b"BC" and end != BGZF_EOF:
        hint = "copy or make it again; if it is whole, bcftools view -O z (or b) writes it with the marker"
        raise CorruptDataError(
            f"{path}: cut short: the end marker of BGZF is missing", kind="truncated-file", hint=hint
        )
    if start.startswith(b"##") and not end.endswith(b"\n"):
        hint = "copy or make it again; if it is whole, end its last line"
        raise CorruptDataError(
            f"{path}: cut short: its last line has no end", kind="truncated-file", hint=hint
        )


def _site(record: Any) -> Site:
    contig, start_bp, ref, alt = record.CHROM, record.start, record.REF, (record.ALT or ".")
    return Site(contig, start_bp, id_or_place(record.ID, contig, start_bp, ref, alt[0]), ref, alt[0])


def codes_of(alleles: Array) -> Array:
    """(S,) uint8 codes of (S, P) alleles: 0 or 1, -1 missing, -2 not there, for a ploidy of at most P."""
    if alleles.shape[1] == 2:  # nearly always: one look-up instead of eight passes
        found: Array = _DIPLOID.take(alleles[:, 0] * 4 + alleles[:, 1] - 5 * _NO_ALLELE)
        return found
    return _codes_of_any(alleles)


def _codes_of_any(alleles: Array) -> Array:
    alternates, called = (alleles == 1).sum(axis=1), (alleles >= 0).sum(axis=1)
    codes = np.where(alternates == 0, AA, np.where(alternates == called, BB, AB)).astype(np.uint8)
    codes[(alleles == _UNKNOWN).any(axis=1) | (called == 0)] = MISSING
    return codes


_DIPLOID = _codes_of_any(np.array([(a, b) for a in range(_NO_ALLELE, 2) for b in range(_NO_ALLELE, 2)]))
