"""What a stored panel holds, call by call, and what a VCF says by the plainest means: its text.

A call is ``.`` (missing), ``0`` or ``1`` (haploid: whether it is the alternate allele), or two of those.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bams3.panel.stored import StoredPanel, open_panel
from bams3.store import LocalStore


class Variant(NamedTuple):
    """A variant with the calls of all samples; ``pos`` counts from 1."""

    contig: str
    pos: int
    id: str
    ref: str
    alt: str
    is_phased: bool
    calls: tuple[str, ...]


def variants_of(panel: StoredPanel | Path, step: int = 1000) -> list[Variant]:
    """All variants of a panel, read some at a time, with counts checked against calls."""
    opened = open_panel(str(panel)) if isinstance(panel, Path) else panel
    cuts = [*range(0, opened.n_variants, step), opened.n_variants]
    return [one for first, end in pairwise(cuts) for one in _between(opened, first, end)]


def _between(panel: StoredPanel, first: int, end: int) -> Iterator[Variant]:
    sites, planes = panel.sites(first, end), panel.planes(first, end)
    names = [contig.name for contig in panel.contigs]
    for v in range(end - first):
        rows = [None if p is None else _number(p[v]) for p in (planes.first, planes.second)]
        missing, haploid = (0 if p is None else _number(p[v]) for p in (planes.missing, planes.haploid))
        assert not any(row >> len(panel.samples) for row in (*rows, missing, haploid))
        calls = tuple(_call(k, *rows, missing, haploid) for k in range(len(panel.samples)))
        contig = panel.contigs[sites.contig[v]]
        assert contig.first <= first + v < contig.first + contig.n
        assert sites.n_missing[v] == calls.count(".")
        assert sites.n_alleles[v] == sum(len(call) for call in calls if call != ".")
        assert sites.n_alt[v] == sum(call.count("1") for call in calls)
        yield Variant(
            names[sites.contig[v]],
            int(sites.start_bp[v]) + 1,
            *(sites.id[v], sites.ref[v], sites.alt[v]),
            bool(sites.is_phased[v]),
            calls,
        )


def _number(row: Iterable[int]) -> int:
    """The bits of a row as one number."""
    return sum(int(word) << 64 * k for k, word in enumerate(row))


def _call(k: int, first: int, second: int, missing: int, haploid: int) -> str:
    a, b, is_missing, is_haploid = ((plane >> k) & 1 for plane in (first, second, missing, haploid))
    if is_missing:
        assert (a, b, is_haploid) == (0, 0, 0)
        return "."
    assert not (is_haploid and b)
    return str(a) if is_haploid else f"{a}{b}"


def variants_of_text(text: str, split: bool = True, wanted: Sequence[str] = ()) -> list[Variant]:
    """The variants of a VCF; several alternate alleles are one variant each, or none."""
    samples: list[str] = []
    out: list[Variant] = []
    sets: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        cells = line.split("\t")
        if line.startswith("#CHROM"):
            samples = cells[9:]
        if line.startswith("#"):
            continue
        contig, pos, name, ref, alts = *cells[:2], *cells[2:5]
        keys = cells[8].split(":") if len(cells) > 8 else []
        people = {
            s: c.split(":") for s, c in zip(samples, cells[9:], strict=True) if not wanted or s in wanted
        }
        alleles = alts.split(",")
        if len(alleles) > 1 and not split:
            continue
        is_phased = "GT" not in keys or _is_phased(contig, keys, people, sets)
        for number, alt in enumerate(alleles, 1):
            calls = tuple(_text_call(cells, number) if "GT" in keys else "." for cells in people.values())
            own = _id(name, alleles, number) if name != "." else f"{contig}_{pos}_{ref}_{alt}"
            out.append(Variant(contig, int(pos), own, ref, alt, is_phased, calls))
    return out


def _id(name: str, alleles: list[str], number: int) -> str:
    parts = name.split(";")
    if len(alleles) == 1:
        return name
    return parts[number - 1] if len(parts) == len(alleles) else f"{name}_{alleles[number - 1]}"


def _text_call(cells: list[str], number: int) -> str:
    alleles = re.split(r"[/|]", cells[0])
    return "." if "." in alleles else "".join(str(int(allele == str(number))) for allele in alleles)


def _is_phased(
    contig: str, keys: list[str], people: dict[str, list[str]], sets: dict[tuple[str, str], str]
) -> bool:
    answer = True
    for sample, cells in people.items():
        alleles = re.split(r"[/|]", cells[0])
        if "." in alleles or len(set(alleles)) == 1:
            continue
        if "|" not in cells[0]:
            answer = False
            continue
        at = keys.index("PS") if "PS" in keys else len(cells)
        mine = cells[at] if at < len(cells) else "."
        answer &= sets.setdefault((contig, sample), mine) == mine
    return answer


def keys_of(folder: Path) -> list[str]:
    """Keys of the objects of a panel, but the provenance."""
    return [key for key in LocalStore(folder).list() if key != "_provenance.json"]
