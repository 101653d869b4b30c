"""The format as data: what FORMAT.md says in words, and a test ties the two together."""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = "bams3"
VERSION = (0, 9)

MANIFEST_KEY = "_metadata.json"
PROVENANCE_KEY = "_provenance.json"
RESUME_PREFIX = "_resume/"
DATA_PREFIX = "data/"

CHUNK_MAGIC = b"BAMS3\0C\n"

#: A row group ends at this many records or decoded bytes, whichever comes first.
GROUP_RECORDS = 50_000
GROUP_BYTES = 24 << 20
#: A chunk ends at this many records (an option) or decoded bytes.
CHUNK_RECORDS = 1_000_000
CHUNK_BYTES = 128 << 20
CHUNK_SPAN_BP = 1_000_000
MIN_CHUNK_SPAN_BP, MAX_CHUNK_SPAN_BP = 256_000, 8_000_000

#: Aligned bases are summed in windows of this many bp, in frames of this many windows.
WINDOW_BP = 100
FRAME_WINDOWS = 65_536

#: Above this many contigs the contig table is a range of the index, not part of the manifest.
MANIFEST_CONTIGS = 1_000

#: Nothing that a file declares may make a reader reserve more than this for one range of the index.
MAX_INDEX_RANGE_BYTES = 1 << 30

#: A panel, its manifest's `format`, and its objects.
PANEL_FORMAT = "bams3-panel"
PANEL_VERSION = (0, 1)
BLOCK_MAGIC = b"BAMS3\0L\n"
BLOCK_PREFIX = "blocks/"
#: A block has the largest power of two of variants whose first and second plane are within this, and not
#: more than so many; it ends early where ids and alleles have this many bytes.
BLOCK_PLANE_BYTES = 4 << 20
BLOCK_VARIANTS = 65_536
BLOCK_TEXT_BYTES = 16 << 20
#: Nothing that a file declares may make a reader reserve more than this for the sites of one block.
MAX_SITES_BYTES = 1 << 30

#: Longer deletions cut what a record covers, as N does.
LONG_GAP_BP = 1_000
#: Different qualities of a row group, and contexts of their rANS, at most.
QUALITY_VALUES = 128
QUALITY_CONTEXTS = 4_096
#: Distances of alternatives that are kept.
KEPT_DISTANCES = 255


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a row group.

    ``dtype`` is that of the plain values (``bytes`` for values of varying length); ``codecs`` are
    those that a writer may choose from, with the columns that each of them needs decoded first.
    An ``optional`` column is there only where a codec of another one needs it.
    """

    name: str
    dtype: str
    locate: bool
    codecs: dict[str, tuple[str, ...]]
    meaning: str
    optional: bool = False


_MATE = ("link", "flag")
_PLACE = ("contig", "pos", "cigar", "seq_len")

COLUMNS = (
    Column("link", "int32", True, {"links": ()}, "the record before of the same name, -1 if none", True),
    Column("contig", "int32", True, {"planes": ()}, "contig number in the store, -1 if unplaced"),
    Column("flag", "uint16", True, {"planes": (), "linked": ("link",)}, "FLAG, unchanged"),
    Column("pos", "int32", True, {"delta": ()}, "0-based leftmost position, -1 if none"),
    Column("ref_len", "uint32", True, {"planes": ()}, "reference bases that the CIGAR covers"),
    Column("mapq", "uint8", True, {"planes": ()}, "MAPQ, unchanged"),
    Column("cigar", "bytes", True, {"dictionary": ()}, "BAM operations, 4 bytes each"),
    Column("seq_len", "uint32", False, {"planes": ()}, "bases in SEQ, 0 for *"),
    Column(
        *("mate_contig", "int32", False),
        {"difference": ("contig",), "mate": (*_MATE, "contig")},
        "RNEXT as contig number",
    ),
    Column(
        *("mate_pos", "int32", False),
        {"difference": ("pos",), "mate": (*_MATE, "pos")},
        "0-based PNEXT, -1 if none",
    ),
    Column(
        *("tlen", "int32", False),
        {"difference": ("mate_pos", "pos"), "mate": (*_MATE, "contig", "pos", "ref_len", "mate_pos")},
        "TLEN, unchanged",
    ),
    Column("name", "bytes", False, {"names": (), "linked": ("link",)}, "QNAME without its NUL"),
    Column("reference", "uint8", False, {"reference": _PLACE}, "bases of the positions covered", True),
    Column(
        *("bases", "uint8", False),
        {"bytes": ("seq_len",), "bases2": ("seq_len",), "aligned": (*_PLACE, "reference")},
        "SEQ in BAM's 4-bit codes",
    ),
    Column(
        *("quals", "uint8", False),
        {"bytes": ("seq_len",), "qualities": ("flag", "seq_len")},
        "QUAL as in BAM, 255 if absent",
    ),
    Column("layout", "uint32", False, {"layouts": ()}, "which ordered list of tags it has"),
)

#: One column per tag and type follows, named tag:NM:C, tag:RG:Z or, for arrays, tag:ML:BC.
TAG_PREFIX = "tag:"
Codecs = dict[str, tuple[str, ...]]
_TEXT: Codecs = {"dictionary": (), "strings": (), "linked": ("link", "layout")}
#: Codecs by type; the other types are numbers.
TAG_CODECS: dict[str, Codecs] = {
    "A": {"planes": ()},
    "f": {"planes": ()},
    "d": {"planes": ()},
    "Z": _TEXT,
    "H": _TEXT,
    "B": {"strings": ()},
}
#: More codecs of tags: what they are predicted from. NM and so on are of any integer type.
PREDICTED_TAGS: dict[str, Codecs] = {
    "MC:Z": {"mate": (*_MATE, "cigar", "layout")},
    "MD:Z": {"aligned": ("bases", "layout")},
    "MQ": {"mate": (*_MATE, "mapq", "layout")},
    "ms": {"mate": (*_MATE, "quals", "seq_len", "layout")},
    "XA:Z": {"alternatives": ("pos", "ref_len", "flag", "cigar", "layout")},
    "NM": {"aligned": ("bases", "layout")},
    "AS": {"aligned": ("bases", "layout")},
}


def codecs_of(column: str) -> Codecs:
    """Codecs that a column, tag columns included, may have, and what each needs; none if unknown."""
    if column in COLUMN:
        return COLUMN[column].codecs
    tag = column.removeprefix(TAG_PREFIX)
    if tag == column or len(tag) < 4 or tag[2] != ":":
        return {}
    number = tag[3] in "cCsSiI"
    plain: Codecs = {"planes": ()}
    return TAG_CODECS.get(tag[3], plain) | PREDICTED_TAGS.get(tag[:2] if number else tag, {})


CODECS = {
    1: "planes",
    2: "delta",
    3: "difference",
    4: "bytes",
    5: "bases2",
    6: "strings",
    7: "dictionary",
    8: "names",
    9: "layouts",
    10: "links",
    11: "linked",
    12: "mate",
    13: "reference",
    14: "aligned",
    15: "qualities",
    16: "alternatives",
}

#: Totals of a contig in the index, uint64 each, in this order: samtools flagstat's categories for
#: reads that passed quality control, then for those that failed, then two more.
_CATEGORIES = (
    "records primary secondary supplementary duplicates primary_duplicates mapped primary_mapped"
    " paired read1 read2 proper_pair both_mapped singletons mate_elsewhere mate_elsewhere_mapq5"
).split()
TOTALS = (*_CATEGORIES, *(f"failed_{name}" for name in _CATEGORIES), "bases", "before_start")

#: Costs of a chunk in the index, uint64 each: what a planner needs to price a question.
COSTS = ("contig", "start", "records", "bytes", "locate_bytes", "groups")

COLUMN = {column.name: column for column in COLUMNS}
LOCATE = tuple(column.name for column in COLUMNS if column.locate)
