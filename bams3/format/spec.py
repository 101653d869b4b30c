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


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a row group.

    ``dtype`` is that of the plain values (``bytes`` for values of varying length); ``codecs`` are
    those that a writer may choose from; ``needs`` are the columns that must be decoded first.
    """

    name: str
    dtype: str
    locate: bool
    codecs: tuple[str, ...]
    needs: tuple[str, ...]
    meaning: str


COLUMNS = (
    Column("contig", "int32", True, ("planes",), (), "contig number in the store, -1 if unplaced"),
    Column("flag", "uint16", True, ("planes",), (), "FLAG, unchanged"),
    Column("pos", "int32", True, ("delta",), (), "0-based leftmost position, -1 if none"),
    Column("ref_len", "uint32", True, ("planes",), (), "reference bases that the CIGAR covers"),
    Column("mapq", "uint8", True, ("planes",), (), "MAPQ, unchanged"),
    Column("cigar", "bytes", True, ("dictionary",), (), "BAM operations, 4 bytes each"),
    Column("seq_len", "uint32", False, ("planes",), (), "bases in SEQ, 0 for *"),
    Column("mate_contig", "int32", False, ("difference",), ("contig",), "RNEXT as contig number"),
    Column("mate_pos", "int32", False, ("difference",), ("pos",), "0-based PNEXT, -1 if none"),
    Column("tlen", "int32", False, ("difference",), ("mate_pos", "pos"), "TLEN, unchanged"),
    Column("name", "bytes", False, ("names",), (), "QNAME without its NUL"),
    Column("bases", "uint8", False, ("bytes", "bases2"), ("seq_len",), "SEQ in BAM's 4-bit codes"),
    Column("quals", "uint8", False, ("bytes",), ("seq_len",), "QUAL as in BAM, 255 if absent"),
    Column("layout", "uint32", False, ("layouts",), (), "which ordered list of tags it has"),
)

#: One column per tag and type follows, named tag:NM:C, tag:RG:Z or, for arrays, tag:ML:BC.
TAG_PREFIX = "tag:"
TAG_CODECS = {
    "A": ("planes",),
    "Z": ("dictionary", "strings"),
    "H": ("dictionary", "strings"),
    "B": ("strings",),
}

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
}

#: Totals of a contig in the index, uint64 each, in this order: samtools flagstat's categories for
#: reads that passed quality control, then for those that failed, then two more.
_CATEGORIES = (
    "records primary secondary supplementary duplicates primary_duplicates mapped primary_mapped"
    " paired read1 read2 proper_pair both_mapped singletons mate_elsewhere mate_elsewhere_mapq5"
).split()
TOTALS = (*_CATEGORIES, *(f"failed_{name}" for name in _CATEGORIES), "bases", "before_start")

COLUMN = {column.name: column for column in COLUMNS}
LOCATE = tuple(column.name for column in COLUMNS if column.locate)
