"""What the index alone says of a store's reads: samtools idxstats and flagstat, and MultiQC. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import Array
from .errors import CorruptDataError
from .format import spec
from .regions import UNPLACED, ContigTable

#: A number of samtools flagstat's JSON; None for a percentage of nothing.
Number = int | float | None


@dataclass(frozen=True, slots=True)
class Category:
    """A line of samtools flagstat.

    ``total`` is its name in spec.TOTALS, ``key`` its name in the JSON, ``label`` its words in the text;
    ``whole`` is the total that its percentage is of, empty where samtools gives none.
    """

    total: str
    key: str
    label: str
    whole: str = ""


def _category(total: str, key: str, whole: str = "", label: str = "") -> Category:
    return Category(total, key, label or key, whole)


#: The lines of samtools flagstat, in its order.
FLAGSTAT = (
    _category("records", "total", label="in total (QC-passed reads + QC-failed reads)"),
    _category("primary", "primary"),
    _category("secondary", "secondary"),
    _category("supplementary", "supplementary"),
    _category("duplicates", "duplicates"),
    _category("primary_duplicates", "primary duplicates"),
    _category("mapped", "mapped", "records"),
    _category("primary_mapped", "primary mapped", "primary"),
    _category("paired", "paired in sequencing"),
    _category("read1", "read1"),
    _category("read2", "read2"),
    _category("proper_pair", "properly paired", "paired"),
    _category("both_mapped", "with itself and mate mapped"),
    _category("singletons", "singletons", "paired"),
    _category("mate_elsewhere", "with mate mapped to a different chr"),
    _category(
        "mate_elsewhere_mapq5",
        "with mate mapped to a different chr (mapQ >= 5)",
        label="with mate mapped to a different chr (mapQ>=5)",
    ),
)

_NAMES = [category.total for category in FLAGSTAT]
_PASSED = [spec.TOTALS.index(name) for name in _NAMES]
_FAILED = [spec.TOTALS.index(f"failed_{name}") for name in _NAMES]
_MAPPED = _NAMES.index("mapped")
_HEADINGS = ("QC-passed reads", "QC-failed reads")


@dataclass(frozen=True, slots=True, eq=False)
class Stats:
    """Reads of a store, by contig and by category. All numbers are numbers of records but ``bases``.

    Attributes
    ----------
    contigs
        Names and lengths (bp) of the C contigs, in file order.
    mapped
        Mapped records on each contig: int64 array (C,).
    unmapped
        Unmapped records on each contig, placed there beside their mate: int64 array (C,).
    n_unplaced
        Records on no contig, whatever their flags, as the index of a BAM counts them.
    passed, failed
        Records without and with flag 0x200 in each category of samtools flagstat, all contigs and the
        unplaced together, by their names in spec.TOTALS: ``records``, ``primary``, ``mapped``, ...
    bases
        Sum of the sequence lengths of all records: unmapped, secondary and failed ones too, clipped bases
        where they are stored. It is no depth; that is ``bams3 coverage``.
    """

    contigs: ContigTable
    mapped: Array
    unmapped: Array
    n_unplaced: int
    passed: dict[str, int]
    failed: dict[str, int]
    bases: int

    @classmethod
    def of(cls, contigs: ContigTable, totals: Array) -> Stats:
        """Stats of the totals of an index, uint64 array (C + 1, 34), the unplaced records last.

        Raises
        ------
        CorruptDataError
            ``bad-index``: a category has more records than there are.
        """
        passed, failed = _checked(totals[:, _PASSED]), _checked(totals[:, _FAILED])
        records = passed[:, 0] + failed[:, 0]
        mapped = passed[:, _MAPPED] + failed[:, _MAPPED]
        return cls(
            contigs,
            mapped[:-1],
            (records - mapped)[:-1],
            int(records[-1]),
            _sums(passed),
            _sums(failed),
            int(totals[:, spec.TOTALS.index("bases")].sum()),
        )

    def total(self, name: str) -> int:
        """Records of a category, failed ones included."""
        return self.passed[name] + self.failed[name]


def _checked(counts: Array) -> Array:
    """Counts (C + 1, 16) as int64, the records first."""
    out: Array = counts.astype(np.int64)
    if (out < 0).any() or (out > out[:, :1]).any():
        raise CorruptDataError("the index counts more reads in a category than there are", kind="bad-index")
    return out


def _sums(counts: Array) -> dict[str, int]:
    """Counts (C + 1, 16), added up over contigs."""
    return dict(zip(_NAMES, counts.sum(axis=0).tolist(), strict=True))


# ---- samtools idxstats ----


def idxstats(stats: Stats) -> list[dict[str, str | int]]:
    """Contig, length_bp, mapped and unmapped (records) of every contig; ``*``, the unplaced, comes last."""
    rows = _rows(stats)
    names = ("contig", "length_bp", "mapped", "unmapped")
    return [dict(zip(names, row, strict=True)) for row in rows]


def format_idxstats(stats: Stats) -> str:
    """The text of samtools idxstats on the sorted, indexed BAM."""
    return "".join("\t".join(map(str, row)) + "\n" for row in _rows(stats))


def format_idxstats_json(stats: Stats) -> str:
    """``idxstats`` as JSON, a line a contig. What is not UTF-8 in a name is written as in the manifest."""
    return "[\n" + ",\n".join(f" {json.dumps(row)}" for row in idxstats(stats)) + "\n]\n"


def _rows(stats: Stats) -> list[tuple[str, int, int, int]]:
    counts = stats.mapped.tolist(), stats.unmapped.tolist()
    placed = zip(stats.contigs.names, stats.contigs.lengths, *counts, strict=True)
    return [*placed, (UNPLACED, 0, 0, stats.n_unplaced)]


# ---- samtools flagstat ----


def flagstat(totals: Array) -> dict[str, dict[str, Number]]:
    """The totals of an index, uint64 array (C + 1, 34), as samtools flagstat -O json names them.

    Percentages have two decimals, and are None where there is nothing to be a part of.

    Raises
    ------
    CorruptDataError
        ``bad-index``, as ``Stats.of``.
    """
    return {
        heading: {key: json.loads(text) for key, text in _json_items(_sums(_checked(totals[:, columns])))}
        for heading, columns in zip(_HEADINGS, (_PASSED, _FAILED), strict=True)
    }


def format_flagstat(stats: Stats) -> str:
    """The text of samtools flagstat."""
    return "".join(_line(category, stats.passed, stats.failed) for category in FLAGSTAT)


def _line(category: Category, passed: dict[str, int], failed: dict[str, int]) -> str:
    counts = f"{passed[category.total]} + {failed[category.total]} {category.label}"
    if not category.whole:
        return f"{counts}\n"
    shares = (_percent(counted, category) for counted in (passed, failed))
    return f"{counts} ({' : '.join(f'{share}%' if share else 'N/A' for share in shares)})\n"


def format_flagstat_json(stats: Stats) -> str:
    """The JSON of samtools flagstat -O json, its blanks at the ends of lines included."""
    parts = []
    for heading, counted in zip(_HEADINGS, (stats.passed, stats.failed), strict=True):
        items = ", \n".join(f'  "{key}": {text}' for key, text in _json_items(counted))
        parts.append(f' "{heading}": {{ \n{items} \n }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _json_items(counted: dict[str, int]) -> list[tuple[str, str]]:
    """Keys and values of one object of the JSON."""
    items = []
    for category in FLAGSTAT:
        items.append((category.key, str(counted[category.total])))
        if category.whole:
            items.append((f"{category.key} %", _percent(counted, category) or "null"))
    return items


def _percent(counted: dict[str, int], category: Category) -> str:
    """Percentage of a category, empty if it is one of nothing.

    samtools divides in single precision, which shows in the second decimal: 1 of 160 is 0.63 there.
    """
    whole = counted[category.whole]
    if whole == 0:
        return ""
    return f"{float(np.float32(counted[category.total]) / np.float32(whole)) * 100:.2f}"


# ---- MultiQC ----

#: Parts of the bar graph, which add up to all records: key, name, colour.
_PARTS = (
    ("properly_paired", "Mapped in a proper pair", "#437bb1"),
    ("mapped", "Mapped otherwise", "#7cb5ec"),
    ("unmapped", "Unmapped", "#b1084c"),
    ("secondary", "Secondary alignments", "#f7a35c"),
    ("supplementary", "Supplementary alignments", "#e4d354"),
)
#: Columns of the general statistics. MultiQC itself turns counts into millions, by their shared key.
_COLUMNS: dict[str, dict[str, Any]] = {
    "reads": {
        "title": "Reads",
        "description": "Reads: records but secondary and supplementary ones, QC-failed ones included",
        "shared_key": "read_count",
        "scale": "Blues",
    },
    "mapped_percent": {"title": "% Mapped", "description": "Mapped reads", "scale": "RdYlGn"},
    "duplicates_percent": {
        "title": "% Dups",
        "description": "Reads marked as duplicates",
        "scale": "RdYlGn-rev",
    },
    "properly_paired_percent": {
        "title": "% Proper pairs",
        "description": "Mapped reads in proper pairs, of reads that are paired",
        "scale": "RdYlGn",
    },
    "bases": {
        "title": "Bases",
        "description": "Sum of the sequence lengths of all records, mapped or not",
        "shared_key": "base_count",
        "scale": "Greens",
        "hidden": True,
    },
}


def multiqc_general(stats: Stats, sample: str) -> dict[str, Any]:
    """MultiQC custom content: columns for its general statistics, of one sample.

    A percentage of nothing is left out, and an empty cell there.
    """
    numbers: dict[str, int | float] = {"reads": stats.total("primary"), "bases": stats.bases}
    for key, part, whole in (
        ("mapped_percent", "primary_mapped", "primary"),
        ("duplicates_percent", "primary_duplicates", "primary"),
        ("properly_paired_percent", "proper_pair", "paired"),
    ):
        if stats.total(whole):
            numbers[key] = round(100 * stats.total(part) / stats.total(whole), 4)
    percents = {"min": 0, "max": 100, "suffix": "%"}
    columns = [
        {key: column | (percents if key.endswith("percent") else {})} for key, column in _COLUMNS.items()
    ]
    return {
        "id": "bams3_stats",
        "namespace": "bams3",
        "plot_type": "generalstats",
        "pconfig": columns,
        "data": {sample: numbers},
    }


def multiqc_graph(stats: Stats, sample: str) -> dict[str, Any]:
    """MultiQC custom content: one bar of a graph, the records of one sample by what became of them."""
    parts = {
        "properly_paired": stats.total("proper_pair"),
        "mapped": stats.total("primary_mapped") - stats.total("proper_pair"),
        "unmapped": stats.total("primary") - stats.total("primary_mapped"),
        "secondary": stats.total("secondary"),
        "supplementary": stats.total("supplementary"),
    }
    return {
        "id": "bams3_reads",
        "section_name": "bams3 stats",
        "description": "Every record of a store once; reads are the first three parts.",
        "plot_type": "bargraph",
        "categories": {key: {"name": name, "color": colour} for key, name, colour in _PARTS},
        "pconfig": {
            "id": "bams3_reads_plot",
            "title": "bams3 stats: Records",
            "ylab": "Records",
            "cpswitch_counts_label": "Number of records",
        },
        "data": {sample: parts},
    }
