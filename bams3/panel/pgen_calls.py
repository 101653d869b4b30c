"""Genotypes of PLINK 2 filesets with their phase, as planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..columns import Array
from ..errors import CorruptDataError, InputError
from .blocks import Note, Site, id_or_place
from .calls import Choice, Counts, FileOrder, OnProgress, Run, RunRoom, Wanted, allele_ids, chosen_samples
from .plink import check_there, names_of, rows_of
from .ploidy import Ploidy

_RECORDS_AT_ONCE = 256
_MALES = frozenset("1 M m".split())
_PVAR = "#CHROM POS ID REF ALT".split()


class PgenCalls:
    """The genotypes of PREFIX.pgen, .pvar (or .pvar.zst) and .psam, by pgenlib.

    A site is phased if each heterozygous call is. Several alternate alleles are split as those of VCF,
    samples are named as by PlinkPanel, ploidy is that of ploidy.py; dosages are not read.

    Parameters
    ----------
    prefix
        The path of the three files without .pgen, .pvar and .psam.

    Raises
    ------
    InputError
        kind ``no-such-file``, ``not-a-file``, ``not-a-panel``, ``bad-psam``, ``bad-pvar``,
        ``doubled-sample``, ``no-samples``, ``no-variants``, ``unknown-sample``.
    CorruptDataError
        kind ``bad-size``: the three files disagree.

    Notes
    -----
    Holds 8 bytes a variant, which pgenlib needs of how many alleles there are.
    """

    def __init__(self, prefix: Path, choice: Choice, *, on_note: Note | None = None) -> None:
        self.path, psam = (prefix.with_name(prefix.name + end) for end in (".pgen", ".psam"))
        pvar = prefix.with_name(prefix.name + ".pvar")
        packed = prefix.with_name(prefix.name + ".pvar.zst")
        self._pvar = packed if packed.exists() and not pvar.exists() else pvar
        for path in (self.path, self._pvar, psam):
            check_there(path, "give PREFIX.pgen, with PREFIX.pvar (or .pvar.zst) and PREFIX.psam beside it")
        self._choice, self.counts = choice, Counts()
        names, male = _people(psam, on_note)
        self._columns = chosen_samples(self.path, names, choice.samples)
        self.samples = tuple(names[k] for k in self._columns)
        self._ploidy = Ploidy([male[k] for k in self._columns], self.counts)
        self._alleles = np.fromiter((max(2, 1 + len(alts)) for _, alts in self._sites()), np.uintp)
        if not len(self._alleles):
            raise InputError(f"{self._pvar}: has no variants", kind="no-variants")
        self._reader = self._open(len(names))

    def _open(self, n_samples: int) -> Any:
        import pgenlib  # noqa: PLC0415  # optional

        offsets = np.zeros(len(self._alleles) + 1, np.uintp)
        np.cumsum(self._alleles, out=offsets[1:])
        try:
            reader = pgenlib.PgenReader(
                str(self.path).encode(),
                sample_subset=np.array(self._columns, np.uint32),
                allele_idx_offsets=offsets,
                raw_sample_ct=n_samples,
                variant_ct=len(self._alleles),
            )
        except Exception as err:  # pgenlib has no classes of its own
            shape = f"{len(self._alleles):,} variants of {n_samples:,} samples"
            message = f"{self.path}: not a .pgen of {shape}, as its .pvar and .psam say: {err}"
            hint = (
                "it is damaged, or the files are not of one set; plink2 --pfile PREFIX --validate checks it"
            )
            raise CorruptDataError(message, kind="bad-size", hint=hint) from err
        return reader

    def runs(self, on_progress: OnProgress) -> Iterator[Run]:
        """See ``CallSource.runs``.

        Raises
        ------
        InputError
            kind ``unsorted``, ``bad-pvar``, ``unknown-contig``, ``bad-region``.
        CorruptDataError
            kind ``bad-pgen``.
        """
        prefix = self.path.with_suffix("")
        order = FileOrder(self.path, f"plink2 --pfile {prefix} --sort-vars --make-pgen --out sorted")
        regions = self._choice.regions
        contigs = tuple(dict.fromkeys(site.contig for site, _ in self._sites())) if regions else ()
        wanted, room = Wanted(regions, contigs), RunRoom(len(self.samples))
        for number, (site, alts) in enumerate(self._sites()):
            order.see(site.contig, site.start_bp)
            self.counts.records += 1
            if self.counts.records % _RECORDS_AT_ONCE == 0:
                on_progress(_RECORDS_AT_ONCE)
            if wanted.has(site.contig, site.start_bp):
                self.counts.multiallelic += len(alts) > 1
                if len(alts) < 2 or not self._choice.drops_multiallelic:
                    yield from self._add(room, number, site, alts)
        on_progress(self.counts.records % _RECORDS_AT_ONCE)
        if room.row:
            yield room.take()

    def _add(self, room: RunRoom, number: int, site: Site, alts: list[str]) -> Iterator[Run]:
        """Every alternate allele of a site as a variant; runs that became full."""
        calls, n_alleles = self._calls(number, site.contig), int(self._alleles[number])
        for allele, (name, alt) in enumerate(zip(allele_ids(site.id, alts), alts, strict=True), 1):
            tally = room.run.planes.pack(room.row, calls, n_alleles, allele)
            name = id_or_place(name, site.contig, site.start_bp, site.ref, alt)
            if room.add(site._replace(id=name, alt=alt), not tally.unphased):
                yield room.take()

    def _calls(self, number: int, contig: str) -> Array:
        """(S, 3) int16. Alleles and phase of a variant, as PlaneRows packs them."""
        n = len(self.samples)
        alleles, known = np.empty(2 * n, np.int32), np.empty(n, np.uint8)
        try:
            self._reader.read_alleles_and_phasepresent(number, alleles, known)
        except Exception as err:  # pgenlib has no classes of its own
            message = f"{self.path}: cannot read variant {number + 1:,}: {err}"
            hint = "plink2 --pfile PREFIX --validate says what is wrong with it"
            raise CorruptDataError(message, kind="bad-pgen", hint=hint) from err
        calls = np.empty((n, 3), np.int16)
        calls[:, :2] = np.maximum(alleles.reshape(n, 2), -1)
        calls[:, 2] = known
        self._mend(contig, calls)
        return calls

    def _mend(self, contig: str, calls: Array) -> None:
        """What ploidy.py says of calls, which are changed in place."""
        kind = np.where(calls[:, 0] < 0, 2, calls[:, 0] != calls[:, 1]).astype(np.uint8)
        haploid = self._ploidy.mend(contig, kind[None, :], 2, 1)
        if haploid is not None:
            calls[kind == 2, :2] = -1
            calls[haploid & (kind != 2), 1] = -2

    def _sites(self) -> Iterator[tuple[Site, list[str]]]:
        """Every variant of the .pvar, with its alternate alleles; the id of a site may be ``.``."""
        columns: dict[str, int] = {name: k for k, name in enumerate(_PVAR)}
        with _text(self._pvar) as lines:
            for line, text in enumerate(_decoded(lines, self._pvar), 1):
                cells = text.split()
                if not cells or text.startswith("##"):
                    continue
                if text.startswith("#"):
                    columns = {name: k for k, name in enumerate(cells)}
                    continue
                yield _site(f"{self._pvar} line {line}", cells, columns)


def _site(where: str, cells: Sequence[str], columns: dict[str, int]) -> tuple[Site, list[str]]:
    hint = "a .pvar has the columns #CHROM POS ID REF ALT"
    try:
        contig, position, name, ref, alt = (cells[columns[column]] for column in _PVAR)
    except (KeyError, IndexError):
        raise InputError(f"{where}: a column is missing", kind="bad-pvar", hint=hint) from None
    if not (position.isascii() and position.isdigit() and len(position) < 10):
        raise InputError(f"{where}: {position!r} is not a position", kind="bad-pvar", hint=hint)
    return Site(contig, int(position) - 1, name, ref, "."), alt.split(",")


def _text(path: Path) -> Any:
    if path.suffix != ".zst":
        return path.open(encoding="utf-8")
    import zstandard  # noqa: PLC0415

    return zstandard.open(path, "rt", encoding="utf-8")


def _decoded(lines: Any, path: Path) -> Iterator[str]:
    import zstandard  # noqa: PLC0415

    try:
        yield from lines
    except (UnicodeDecodeError, zstandard.ZstdError) as err:
        raise InputError(f"{path}: not a text file: {err}", kind="bad-pvar") from err


def _people(psam: Path, on_note: Note | None) -> tuple[tuple[str, ...], list[bool]]:
    """Names of samples, and who is male."""
    columns = {"#FID": 0, "IID": 1, "SEX": 4}
    people, male = [], []
    for line, cells in rows_of(psam, "bad-psam"):
        if cells[0].startswith("#"):
            columns = {("IID" if name == "#IID" else name): k for k, name in enumerate(cells)}
            continue
        if "IID" not in columns or len(cells) <= max(columns.get(c, 0) for c in ("#FID", "IID", "SEX")):
            hint = "its header is #FID IID SEX, or #IID SEX"
            raise InputError(f"{psam} line {line}: a column is missing", kind="bad-psam", hint=hint)
        people.append((line, cells[columns["#FID"]] if "#FID" in columns else "0", cells[columns["IID"]]))
        male.append("SEX" in columns and cells[columns["SEX"]] in _MALES)
    return names_of(psam, people, on_note), male
