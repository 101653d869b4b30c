"""Bad inputs: writes tests/hostile/KIND/NAME; KIND is the error that ``bams3 convert NAME`` must end with.

    python tests/make_hostile.py

Each is made here, byte by byte, so that it says what is wrong with it; test_hostile.py checks that the
committed files are these. Nothing is compressed: the bytes must not depend on a library's version.
"""

import struct
import zlib
from pathlib import Path

from bam_records import EOF_BLOCK, header_bytes, record, tag
from bam_records import bgzf as compressed_bgzf

HOSTILE = Path(__file__).parent / "hostile"


def bgzf(data: bytes) -> bytes:
    return compressed_bgzf(data, level=0)


def bam(records: list[bytes], header: bytes | None = None) -> bytes:
    return bgzf((header_bytes() if header is None else header) + b"".join(records)) + EOF_BLOCK


GOOD = [record(b"a", pos=10), record(b"b", pos=20)]
WHOLE = bam(GOOD)
SAM = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000000\n"
GZIP_END = struct.pack("<II", zlib.crc32(b"hello\n"), 6)
LINE = "r1\t0\tchr1\t11\t60\t4M\t*\t0\t0\tACGT\tIIII"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def with_bad(*bad: bytes) -> bytes:
    """A good record, then what is wrong."""
    return bam([GOOD[0], *bad])


def header(contigs: bytes = b"", text_bytes: int = 0, n_contigs: int = 1) -> bytes:
    return bam([], b"BAM\1" + struct.pack("<ii", text_bytes, n_contigs) + contigs)


#: A BAM in two blocks.
FIRST, SECOND = bgzf(header_bytes() + GOOD[0]), bgzf(GOOD[1]) + EOF_BLOCK

FILES = {
    "not-alignments": {
        "empty.bam": b"",
        "a-newline.sam": b"\n",
        "text.bam": b"sample\tpath\nS1\ts1.bam\n",
        "text-in-gzip.bam": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + zlib.compress(b"hello\n", 0, -15) + GZIP_END,
        "text-in-bgzf.bam": bgzf(b"hello, world\n") + EOF_BLOCK,
        "png.bam": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "vcf.bam": b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n",
        "zeros.bam": bytes(1000),
    },
    "truncated-file": {
        "only-the-end.bam": EOF_BLOCK,
        "inside-the-first-block.bam": WHOLE[:100],
        "inside-the-last-block.bam": (FIRST + SECOND)[: len(FIRST) + 30],
        "inside-a-block-header.bam": FIRST + SECOND[:10],
        "inside-the-end-block.bam": WHOLE[:-5],
        "inside-a-record.bam": bam([GOOD[0], GOOD[1][:-3]]),
        "inside-a-record-length.bam": bam([GOOD[0], GOOD[1][:2]]),
        "inside-the-header.bam": bam([], header_bytes()[:-7]),
        "inside-the-header-text.bam": bam([], header_bytes()[:30]),
        "a-record-of-two-gigabytes.bam": with_bad(record(block_size=2**31 - 1)),
        "a-header-of-two-gigabytes.bam": bam([], b"BAM\1" + struct.pack("<i", 2**31 - 1) + bytes(90)),
        "two-billion-contigs.bam": header(bytes(90), n_contigs=2**31 - 1),
    },
    "bad-bgzf-block": {
        "no-deflate.bam": flipped(FIRST + SECOND, len(FIRST) + 18),
        "another-magic.bam": FIRST + flipped(SECOND, 1),
        "declares-4-gigabytes.bam": FIRST + SECOND[:-32] + b"\xff\xff\xff\xff" + EOF_BLOCK,
        "junk-behind-the-end.bam": WHOLE + b"junk behind the end",
        "a-block-smaller-than-its-header.bam": FIRST + SECOND[:16] + b"\5\0" + SECOND[18:],
    },
    "bad-bgzf-crc": {
        "first-block.bam": flipped(WHOLE, len(WHOLE) - len(EOF_BLOCK) - 6),
        "second-block.bam": FIRST + flipped(SECOND, len(SECOND) - len(EOF_BLOCK) - 7),
        "another-length.bam": FIRST + flipped(SECOND, len(SECOND) - len(EOF_BLOCK) - 4),
    },
    "bad-bam-header": {
        "negative-text.bam": header(text_bytes=-1),
        "negative-contigs.bam": header(n_contigs=-1),
        "negative-name.bam": header(struct.pack("<i", -4) + bytes(30)),
        "empty-name.bam": header(struct.pack("<ii", 0, 100) + bytes(30)),
        "name-without-nul.bam": header(struct.pack("<i4si", 4, b"chr1", 100)),
        "nul-inside-a-name.bam": header(struct.pack("<i5si", 5, b"ch\0r\0", 100)),
    },
    "bad-record": {
        "shorter-than-its-fields.bam": with_bad(record(block_size=31)),
        "no-length.bam": with_bad(record(block_size=0)),
        "negative-length.bam": with_bad(record(block_size=2**32 - 1)),
        "negative-sequence.bam": with_bad(record(seq_len=2**32 - 1)),
        "sequence-longer-than-the-record.bam": with_bad(record(seq_len=2**31 - 1)),
        "sequence-one-base-too-long.bam": with_bad(record(seq_len=6)),
        "cigar-longer-than-the-record.bam": with_bad(record(n_cigar=65_535)),
        "name-longer-than-the-record.bam": with_bad(record(name_bytes=255)),
        "no-room-for-a-name.bam": with_bad(record(b"", nul=b"", name_bytes=0)),
        "a-name-of-255-characters.bam": with_bad(record(b"n" * 255, nul=b"")),
        "contig-out-of-range.bam": with_bad(record(contig=2)),
        "contig-minus-two.bam": with_bad(record(contig=-2)),
        "mate-contig-out-of-range.bam": with_bad(record(mate_contig=2)),
        "mate-contig-minus-two.bam": with_bad(record(mate_contig=-2)),
        "cigar-over-two-billion-bases.bam": with_bad(record(cigar="4M" + "268435455N" * 9)),
        "a-record-but-no-contigs.bam": bam(GOOD, header_bytes(())),
    },
    "cigar-mismatch": {
        "shorter.bam": with_bad(record(cigar="3M")),
        "longer.bam": with_bad(record(cigar="4M1S")),
        "in-a-tag.bam": with_bad(record(cigar="4S2N", tags=[tag("CG", "BI", [5 << 4, 2 << 4 | 2])])),
    },
    "bad-tag": {
        "unknown-type.bam": with_bad(record(tags=[b"NM?\1\0\0\0"])),
        "no-value.bam": with_bad(record(tags=[b"NMi"])),
        "one-byte.bam": with_bad(record(tags=[b"N"])),
        "short-number.bam": with_bad(record(tags=[b"NMi\1\0\0"])),
        "text-without-end.bam": with_bad(record(tags=[b"RGZabc"])),
        "array-longer-than-the-record.bam": with_bad(record(tags=[b"MLBC\xff\xff\xff\xffab"])),
        "array-of-unknown-type.bam": with_bad(record(tags=[b"MLB?\1\0\0\0a"])),
        "behind-a-long-cigar.bam": with_bad(record(cigar="4S4N", tags=[b"XXi\1"])),
    },
    "unsorted": {
        "positions.bam": bam([GOOD[1], GOOD[0]]),
        "contigs.bam": bam([record(contig=1, pos=5), record(contig=0, pos=5)]),
        "unplaced-first.bam": bam([record(contig=-1, pos=-1, flag=4), GOOD[0]]),
        "positions.sam": f"{SAM}{LINE}\n{LINE.replace('11', '5', 1)}\n".encode(),
    },
    "bad-alignments": {
        "too-few-fields.sam": f"{SAM}{LINE}\nr2\t0\tchr1\t20\n".encode(),
        "flag-is-no-number.sam": f"{SAM}{LINE}\n{LINE.replace('0', 'x', 1)}\n".encode(),
        "qualities-of-another-length.sam": f"{SAM}{LINE}\n{LINE[:-1]}\n".encode(),
        "cigar-of-another-length.sam": f"{SAM}{LINE}\n{LINE.replace('4M', '5M')}\n".encode(),
        "tag-without-type.sam": f"{SAM}{LINE}\n{LINE}\tNM:i\n".encode(),
        "a-header-line-of-nothing.sam": f"{SAM}@SQ\n{LINE}\n".encode(),
        "magic-only.cram": b"CRAM\3\0" + bytes(20),
        "cram-of-junk.cram": b"CRAM\3\1" + bytes(range(256)) * 4,
    },
    "position-too-long": {
        "three-billion.sam": f"{SAM}{LINE.replace('11', '3000000000', 1)}\n".encode(),
    },
}


def write(folder: Path) -> None:
    """Write every file below a folder."""
    for kind, files in FILES.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / kind / name).write_bytes(data)


if __name__ == "__main__":
    write(HOSTILE)
