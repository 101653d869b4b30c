"""BAM taken apart by nothing but the specification and gzip: what the tests hold the package against."""

import gzip
import struct
from pathlib import Path

_TAKES_REFERENCE = frozenset({0, 2, 3, 7, 8})  # M D N = X
_UNMAPPED = 0x4


def decompressed(path: Path) -> bytes:
    """All bytes of a BAM in BGZF, without its compression."""
    with gzip.open(path) as file:
        return file.read()


def parted(data: bytes) -> tuple[bytes, bytes]:
    """The bytes of a decompressed BAM up to its first record, and its records."""
    (text_bytes,) = struct.unpack_from("<i", data, 4)
    at = 8 + text_bytes
    (n_contigs,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(n_contigs):
        at += 8 + struct.unpack_from("<i", data, at)[0]
    return data[:at], data[at:]


def records(data: bytes) -> list[bytes]:
    """Each record, its length first."""
    out, at = [], 0
    while at < len(data):
        end = at + 4 + struct.unpack_from("<i", data, at)[0]
        out.append(data[at:end])
        at = end
    return out


def place(record: bytes) -> tuple[int, int]:
    """What coordinate order compares: contig and position; unplaced reads come last, in any order."""
    contig, pos = struct.unpack_from("<ii", record, 4)
    return (contig, pos) if contig >= 0 else (1 << 32, 0)


def span(record: bytes) -> tuple[int, int, int]:
    """Contig, start and end (0-based half-open) of what a record covers; one base where it aligns none."""
    contig, pos, l_name, _, _, n_cigar, flag, l_seq = struct.unpack_from("<iiBBHHHi", record, 4)
    cigar = struct.unpack_from(f"<{n_cigar}I", record, 36 + l_name)
    if n_cigar == 2 and cigar[0] == l_seq << 4 | 4 and cigar[1] & 15 == 3:
        cigar = _long_cigar(record) or cigar
    length_bp = 0 if flag & _UNMAPPED else sum(op >> 4 for op in cigar if op & 15 in _TAKES_REFERENCE)
    return contig, pos, pos + (length_bp or 1)


def _long_cigar(record: bytes) -> tuple[int, ...]:
    at = record.find(b"CGBI")
    if at < 0:
        return ()
    (n_cigar,) = struct.unpack_from("<I", record, at + 4)
    return struct.unpack_from(f"<{n_cigar}I", record, at + 8)


def with_bins(data: bytes) -> bytes:
    """Records with the bin field that their spans have."""
    out = bytearray(data)
    at = 0
    for record in records(data):
        _, start_bp, end_bp = span(record)
        struct.pack_into("<H", out, at + 14, bin_of(start_bp, end_bp) & 0xFFFF)
        at += len(record)
    return bytes(out)


def bin_of(start_bp: int, end_bp: int) -> int:
    """The smallest bin of the BAI scheme that holds a span, as the SAM specification calculates it."""
    last = end_bp - 1
    for first_bin, shift in ((4681, 14), (585, 17), (73, 20), (9, 23), (1, 26)):
        if start_bp >> shift == last >> shift:
            return first_bin + (start_bp >> shift)
    return 0
