"""Codecs of the second reader that know records and mates, from FORMAT.md, 8.1 and 8.2."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SPEC_ORDER = {
    name: i
    for i, name in enumerate(
        (
            "link contig flag pos ref_len mapq cigar seq_len mate_contig mate_pos tlen name"
            " reference bases quals layout"
        ).split()
    )
}
SIGNED = {"contig", "pos", "mate_contig", "mate_pos", "tlen"}
WIDTHS = {"flag": 2, "mapq": 1, "cigar": 4}
TYPE_WIDTHS = {"s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "d": 8}
ACGT = {1: 0, 2: 1, 4: 2, 8: 3}
CODE_OF = (1, 2, 4, 8)
LETTERS = "=ACMGRSVTWYHKDBN"
Streams = list[bytes]


@dataclass
class Columns:
    """Decoded columns of a row group: a list with one entry a record (a value, for tags) each."""

    n: int
    decoded_bytes: int
    values: dict[str, Any] = field(default_factory=dict)
    mismatches: list[list[tuple[int, int, int]]] | None = None  # (aligned bases before, symbol, reference)

    def __getitem__(self, name: str) -> Any:
        require(name in self.values, f"it needs the column {name}")
        return self.values[name]


def require(good: bool, words: str) -> None:
    if not good:
        raise ValueError(words)


def width_of(name: str) -> int:
    return TYPE_WIDTHS.get(name[-1], 1) if name.startswith("tag:") else WIDTHS.get(name, 4)


# ---- 8.1 plain codecs ----


def planes(streams: Streams) -> list[int]:
    require(len({len(stream) for stream in streams}) < 2, "planes of different lengths")
    return [int.from_bytes(parts, "little") for parts in zip(*streams, strict=True)]


def unzigzag(values: list[int], bits: int = 32) -> list[int]:
    return [(u >> 1 ^ -(u & 1)) % 2**bits for u in values]


def pieces(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    at = 0
    for n in lengths:
        yield data[at : at + n]
        at += n
    require(at == len(data), "lengths do not add up to what they cut")


def plain(streams: Streams, name: str, columns: Columns) -> list[int]:
    return planes(streams)


def delta(streams: Streams, name: str, columns: Columns) -> list[int]:
    out, last = [], 0
    for step in unzigzag(planes(streams)):
        last = (last + step) % 2**32
        out.append(last)
    return out


def difference(streams: Streams, name: str, columns: Columns) -> list[int]:
    of = {"mate_contig": "contig", "mate_pos": "pos"}
    if name == "tlen":
        predicted = [a - b for a, b in zip(columns["mate_pos"], columns["pos"], strict=True)]
    else:
        predicted = columns[of[name]]
    return [a + b for a, b in zip(predicted, unzigzag(planes(streams)), strict=True)]


def whole(streams: Streams, name: str, columns: Columns) -> bytes:
    [data] = streams
    return data


def two_bits(packed: bytes, n: int) -> list[int]:
    require(len(packed) == (n + 3) // 4, "packed bases of another length")
    return [CODE_OF[packed[i // 4] >> 2 * (i % 4) & 3] for i in range(n)]


def put_others(codes: list[int], gaps: Streams, others: bytes) -> None:
    """Bases that are none of A, C, G, T, at their gaps."""
    at = -1
    for gap, code in zip(planes(gaps), others, strict=True):
        at += 1 + gap
        codes[at] = code


def four_bits(codes: list[int]) -> bytes:
    padded = codes + [0] * (len(codes) % 2)
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))


def bases2(streams: Streams, name: str, columns: Columns) -> list[bytes]:
    lengths = columns["seq_len"]
    packed = pieces(streams[0], [(n + 3) // 4 for n in lengths])
    codes = [code for part, n in zip(packed, lengths, strict=True) for code in two_bits(part, n)]
    put_others(codes, streams[1:5], streams[5])
    return [four_bits(list(part)) for part in pieces(bytes(codes), lengths)]


def strings(streams: Streams, width: int) -> list[bytes]:
    require(len(streams) == 4 + width, "another number of streams")
    items = b"".join(bytes(item) for item in zip(*streams[4:], strict=True))
    return list(pieces(items, [n * width for n in planes(streams[:4])]))


def dictionary(streams: Streams, width: int) -> list[bytes]:
    entries, rest = strings(streams[1 : 5 + width], width), iter(strings(streams[5 + width :], width))
    out = [next(rest) if code == 255 else entries[code] for code in streams[0]]
    require(next(rest, None) is None, "strings that no code names")
    return out


def names(streams: Streams, name: str, columns: Columns) -> list[bytes]:
    separators, is_text, regular, n_texts = streams[:4]
    texts, rest = strings(streams[4:9], 1), iter(strings(streams[9:14], 1))
    at, fields, first = 14, [], 0
    for text, n in zip(is_text, n_texts, strict=True):
        size = 1 if text else 4
        values = planes(streams[at : at + size])
        fields.append([texts[first + v] if text else b"%d" % v for v in values])
        at, first = at + size, first + n
    ends = [bytes((separator,)) for separator in separators] + [b""]
    good = iter(
        b"".join(part + end for part, end in zip(parts, ends, strict=True))
        for parts in zip(*fields, strict=True)
    )
    return [next(good) if fits else next(rest) for fits in regular]


def layouts(streams: Streams, name: str, columns: Columns) -> list[list[bytes]]:
    lengths, keys, numbers = (planes(streams[i : i + 4]) for i in (0, 4, 8))
    raw = [key.to_bytes(4, "little") for key in keys]
    cut, at = [], 0
    for n in lengths:
        cut.append(raw[at : at + n])
        at += n
    require(at == len(raw), "layouts do not add up")
    return [cut[number] for number in numbers]


# ---- 8.2 links and mates ----


def links(streams: Streams, name: str, columns: Columns) -> list[int]:
    first, later = iter(planes(streams[:4])), iter(planes(streams[4:]))
    link = [-1] * columns.n
    for i in range(columns.n):
        distance = next(first if link[i] < 0 else later)
        if distance:
            require(link[i + distance] < 0, "a record that is linked twice")
            link[i + distance] = i
    return link


def linked(streams: Streams, name: str, columns: Columns) -> Any:
    link = columns["link"]
    if name == "flag":
        return linked_flags(streams, link)
    if name == "name":
        own, out = iter(names(streams, name, columns)), []
        for before in link:
            out.append(next(own) if before < 0 else out[before])
        return out
    same, rest = iter(streams[0]), iter(dictionary(streams[1:], 1))
    value_of: dict[int, bytes] = {}
    for i in having(columns, name):
        value_of[i] = value_of[link[i]] if link[i] in value_of and next(same) else next(rest)
    return list(value_of.values())


def linked_flags(streams: Streams, link: list[int]) -> list[int]:
    first, later = iter(planes(streams[:2])), iter(planes(streams[2:]))
    out: list[int] = []
    for before in link:
        if before < 0:
            out.append(next(first))
            continue
        f = out[before]
        out.append(next(later) ^ (f & 0x603 | (f & 0x54) << 1 | (f & 0xA8) >> 1))
    return out


def having(columns: Columns, name: str) -> list[int]:
    """The records that have a tag, once each."""
    key = name[4:6].encode("latin-1") + name[7:].encode("latin-1").ljust(2, b"\0")
    counts = [layout.count(key) for layout in columns["layout"]]
    require(max(counts, default=0) < 2, "a predicted tag twice in a record")
    return [i for i, count in enumerate(counts) if count]


def mates(columns: Columns) -> list[int]:
    flags, roots = columns["flag"], []
    for i, before in enumerate(columns["link"]):
        roots.append(i if before < 0 else roots[before])
    first: dict[tuple[int, int], int] = {}
    for i, flag in enumerate(flags):
        if not flag & 0x900 and flag & 0xC0 in (0x40, 0x80):
            first.setdefault((roots[i], flag & 0xC0), i)
    return [
        first.get((root, flag & 0xC0 ^ 0xC0), -1) if flag & 0xC0 in (0x40, 0x80) else -1
        for root, flag in zip(roots, flags, strict=True)
    ]


def of_mate(streams: Streams, name: str, columns: Columns) -> Any:
    mate = mates(columns)
    if name == "tlen":
        return tlens(streams, columns, mate)
    if name == "tag:MC:Z":
        return mate_cigars(streams, columns, mate)
    if name in ("mate_contig", "mate_pos"):
        own = columns[name[5:]]
        predicted = [own[m] if m >= 0 else own[i] for i, m in enumerate(mate)]
    elif name[4:6] == "MQ":
        predicted = [columns["mapq"][mate[i]] if mate[i] >= 0 else 0 for i in having(columns, name)]
    else:
        sums = [sum(q for q in quals if q >= 15) for quals in columns["quals"]]
        predicted = [sums[mate[i]] if mate[i] >= 0 else 0 for i in having(columns, name)]
    bits = 8 * width_of(name)
    return [(a + b) % 2**bits for a, b in zip(predicted, unzigzag(planes(streams), bits), strict=True)]


def tlens(streams: Streams, columns: Columns, mate: list[int]) -> list[int]:
    c, out = columns, []
    for i, residual in enumerate(unzigzag(planes(streams[1:]))):
        m = mate[i]
        if m < 0:
            predicted = c["mate_pos"][i] - c["pos"][i]
        elif m < i:
            predicted = -out[m]
        else:
            predicted = template_length(c, i, m, streams[0][0])
        out.append(predicted + residual)
    return out


def template_length(c: Columns, i: int, m: int, form: int) -> int:
    if c["contig"][i] != c["contig"][m] or (c["flag"][i] | c["flag"][m]) & 4:
        return 0
    (pos, e), (pos2, e2) = ((c["pos"][k], c["pos"][k] + c["ref_len"][k]) for k in (i, m))
    if form == 1:
        return (max(e, e2) - min(pos, pos2)) * (-1 if pos > pos2 else 1)
    require(form == 0, "an unknown form")
    a, b = ((end - 1 if c["flag"][k] & 16 else start) for k, start, end in ((i, pos, e), (m, pos2, e2)))
    return int(b - a + (b > a) - (b < a))


def cigar_text(cigar: bytes, backwards: bool = False) -> bytes:
    ops = [op for (op,) in struct.iter_unpack("<I", cigar)]
    parts = [b"%d%c" % (op >> 4, b"MIDNSHP=X???????"[op & 15]) for op in ops]
    return b"".join(parts[::-1] if backwards else parts) or b"*"


def mate_cigars(streams: Streams, columns: Columns, mate: list[int]) -> list[bytes]:
    hits, rest, out = iter(streams[0]), iter(dictionary(streams[1:], 1)), []
    for i in having(columns, "tag:MC:Z"):
        hit = mate[i] >= 0 and next(hits)
        out.append(cigar_text(columns["cigar"][mate[i]]) if hit else next(rest))
    return out
