"""BAM records and files made by hand, field by field: nothing here comes from the code under test."""

import struct
import zlib

from bam_bytes import bin_of

EOF_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
OPS = "MIDNSHP=X"
CODES = "=ACMGRSVTWYHKDBN"
FORMATS = {"A": "c", "c": "b", "C": "B", "s": "h", "S": "H", "i": "i", "I": "I", "f": "f", "d": "d"}
CONSUMES_QUERY, CONSUMES_REFERENCE = "MIS=X", "MDN=X"


def cigar_bytes(text):
    """``5M1I`` as BAM operations; ``*`` as none."""
    out, number = b"", ""
    for c in text.replace("*", ""):
        if c.isdigit():
            number += c
        else:
            out += struct.pack("<I", int(number) << 4 | OPS.index(c))
            number = ""
    return out


def tag(name, kind, value):
    """One optional field; ``kind`` is a type, or B and a subtype such as ``BC``."""
    head = name.encode("latin-1") + kind[0].encode()
    if kind[0] in "ZH":
        return head + value + b"\0"
    if kind[0] == "B":
        items = struct.pack(f"<{len(value)}{FORMATS[kind[1]]}", *value)
        return head + kind[1].encode() + struct.pack("<I", len(value)) + items
    if kind == "A":
        return head + value
    return head + struct.pack(f"<{FORMATS[kind]}", value)


def reference_length(cigar):
    words = struct.unpack(f"<{len(cigar) // 4}I", cigar)
    return sum(word >> 4 for word in words if word & 15 < 9 and OPS[word & 15] in CONSUMES_REFERENCE)


def record(
    name=b"r1",
    *,
    flag=0,
    contig=0,
    pos=100,
    mapq=60,
    cigar="4M",
    mate_contig=-1,
    mate_pos=-1,
    tlen=0,
    seq="ACGT",
    quals=None,
    tags=(),
    **lies,
):
    """Bytes of a record, block_size first.

    ``lies`` replace what is declared: ``block_size``, ``name_bytes``, ``n_cigar``, ``seq_len``, ``bin``;
    ``nul`` is what ends the name, ``padding`` the last four bits of an odd sequence.
    """
    operations = cigar if isinstance(cigar, bytes) else cigar_bytes(cigar)
    codes = [CODES.index(base) for base in seq] if isinstance(seq, str) else list(seq)
    padded = codes + [lies.get("padding", 0)] * (len(codes) % 2)
    bases = bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))
    quals = bytes([30] * len(codes)) if quals is None else quals
    full_name = name + lies.get("nul", b"\0")
    covered = reference_length(operations)
    if not flag & 4 and contig >= 0 and pos >= 0 and any(one[:4] in (b"CGBI", b"CGBi") for one in tags):
        covered = reference_length(long_cigar_of(operations, len(codes), tags))
    place = bin_of(pos, pos + (1 if flag & 4 or covered == 0 else covered)) & 0xFFFF
    fixed = struct.pack(
        "<iiBBHHHIiii",
        *(contig, pos, lies.get("name_bytes", len(full_name)), mapq, lies.get("bin", place)),
        *(lies.get("n_cigar", len(operations) // 4), flag, lies.get("seq_len", len(codes))),
        *(mate_contig, mate_pos, tlen),
    )
    body = fixed + full_name + operations + bases + quals + b"".join(tags)
    return struct.pack("<I", lies.get("block_size", len(body))) + body


def long_cigar_of(operations, seq_len, tags):
    """The CIGAR that htslib uses: of the first CG tag, where the field is its placeholder."""
    first = struct.unpack_from("<I", operations)[0] if operations else 0
    if not operations or first & 15 != 4 or first >> 4 != seq_len:
        return operations
    array = next(one for one in tags if one.startswith(b"CG"))
    is_array = array[2:4] in (b"BI", b"Bi")
    return array[8:] if is_array and len(array) - 8 >= len(operations) else operations


def header_bytes(contigs=(("chr1", 1_000_000), ("chr2", 2_000)), text=None):
    """Header of a decompressed BAM."""
    if text is None:
        lines = [f"@SQ\tSN:{name}\tLN:{length}\n" for name, length in contigs]
        text = "@HD\tVN:1.6\tSO:coordinate\n" + "".join(lines)
    raw = text if isinstance(text, bytes) else text.encode()
    out = b"BAM\1" + struct.pack("<I", len(raw)) + raw + struct.pack("<I", len(contigs))
    for name, length in contigs:
        encoded = name.encode() + b"\0"
        out += struct.pack("<I", len(encoded)) + encoded + struct.pack("<I", length)
    return out


def bgzf(data, block_bytes=60_000, level=6):
    """BGZF blocks of these bytes, without the end-of-file block."""
    out = b""
    for start in range(0, len(data), block_bytes):
        part = data[start : start + block_bytes]
        packer = zlib.compressobj(level, zlib.DEFLATED, -15)
        payload = packer.compress(part) + packer.flush()
        head = struct.pack("<4B4xBBH2BHH", 31, 139, 8, 4, 0, 255, 6, 66, 67, 2, len(payload) + 25)
        out += head + payload + struct.pack("<II", zlib.crc32(part), len(part))
    return out


def bam(records=(), header=None, eof=EOF_BLOCK):
    """A BAM file."""
    return bgzf((header_bytes() if header is None else header) + b"".join(records)) + eof
