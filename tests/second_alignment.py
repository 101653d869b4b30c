"""Codecs of the second reader that know alignments, from FORMAT.md, 8.3 to 8.5, and the table of all."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import second_codecs as plain
from second_codecs import (
    ACGT,
    CODE_OF,
    LETTERS,
    SIGNED,
    Columns,
    Streams,
    cigar_text,
    dictionary,
    four_bits,
    having,
    pieces,
    planes,
    put_others,
    require,
    two_bits,
    unzigzag,
    width_of,
)

# ---- 8.3 aligned bases ----

Steps = list[tuple[str, int, int | None]]  # operation, length, first position that it covers


def steps_of(columns: Columns, i: int) -> Steps | None:
    """The operations of an aligned record; None of others."""
    ops = [(op >> 4, "MIDNSHP=X???????"[op & 15]) for (op,) in struct.iter_unpack("<I", columns["cigar"][i])]
    query = sum(n for n, op in ops if op in "MIS=X")
    span = sum(n for n, op in ops if op in "MDN=X")
    at, length = columns["pos"][i], columns["seq_len"][i]
    if columns["contig"][i] < 0 or at < 0 or length < 1 or query != length or span > 2**31 - 1:
        return None
    out: Steps = []
    for n, op in ops:
        covers = op in "M=X" or (op == "D" and n <= 1000)
        out.append((op, n, at if covers else None))
        at += n if op in "MDN=X" else 0
    return out


def all_steps(columns: Columns) -> list[Steps | None]:
    return [steps_of(columns, i) for i in range(columns.n)]


def reference(streams: Streams, name: str, columns: Columns) -> dict[tuple[int, int], int]:
    """The 4-bit code of each (contig, position) that is covered."""
    covered = {
        (contig, at + k)
        for contig, steps in zip(columns["contig"], all_steps(columns), strict=True)
        for _, n, at in steps or ()
        if at is not None
        for k in range(n)
    }
    [packed] = streams
    return dict(zip(sorted(covered), two_bits(packed, len(covered)), strict=True))


def aligned(streams: Streams, name: str, columns: Columns) -> Any:
    if name == "bases":
        return aligned_bases(streams, columns)
    if name == "tag:MD:Z":
        marks, rest = streams[0], iter(dictionary(streams[1:], 1))
        require(len(marks) == len(having(columns, name)), "a mark for each MD")
        return [
            md_text(columns, i) if mark else next(rest)
            for i, mark in zip(having(columns, name), marks, strict=True)
        ]
    weights = struct.unpack("<5h", streams[0])
    bits = 8 * width_of(name)
    predicted = [
        sum(w * count for w, count in zip(weights, counts_of(columns, i), strict=True))
        for i in having(columns, name)
    ]
    return [(a + b) % 2**bits for a, b in zip(predicted, unzigzag(planes(streams[1:]), bits), strict=True)]


def aligned_bases(streams: Streams, columns: Columns) -> list[bytes]:
    counts, gaps = iter(planes(streams[:4])), iter(planes(streams[4:8]))
    symbols, ref = iter(streams[8]), columns["reference"]
    steps = all_steps(columns)
    n_loose = sum(
        length if one is None else sum(n for op, n, _ in one if op in "IS")
        for one, length in zip(steps, columns["seq_len"], strict=True)
    )
    codes = two_bits(streams[9], n_loose)
    put_others(codes, streams[10:14], streams[14])
    loose, out = iter(codes), []
    columns.mismatches = []
    for i, one in enumerate(steps):
        mine = [] if one is None else [(next(gaps), next(symbols)) for _ in range(next(counts))]
        if one is None:
            bases = [next(loose) for _ in range(columns["seq_len"][i])]
        else:
            bases = merged(one, [ref.get((columns["contig"][i], p), 0) for p in positions(one)], mine, loose)
        columns.mismatches.append([(gap, symbol, 0) for gap, symbol in mine])
        out.append(four_bits(bases))
    require(next(loose, None) is None and next(gaps, None) is None, "bases that no record has")
    return out


def positions(steps: Steps) -> Iterator[int]:
    """Positions under M, = and X."""
    for op, n, at in steps:
        if at is not None and op != "D":
            yield from range(at, at + n)


def merged(steps: Steps, under: list[int], mine: list[tuple[int, int]], loose: Iterator[int]) -> list[int]:
    """Bases of a record from the reference under it, its mismatches and loose bases."""
    at = -1
    for gap, symbol in mine:
        at += 1 + gap
        if symbol >= 16:
            under[at] = symbol - 16
        else:
            under[at] = 15 if symbol == 4 else CODE_OF[(ACGT[under[at]] + symbol) % 4]
    matched = iter(under)
    out = []
    for op, n, _ in steps:
        if op in "M=XIS":
            source = loose if op in "IS" else matched
            out += [next(source) for _ in range(n)]
    return out


def md_text(columns: Columns, i: int) -> bytes:
    steps, ref, contig = steps_of(columns, i), columns["reference"], columns["contig"][i]
    require(columns.mismatches is not None, "MD without aligned bases")
    if steps is None:
        return b""
    assert columns.mismatches is not None
    at, wrong = -1, set()
    for gap, _, _ in columns.mismatches[i]:
        at += 1 + gap
        wrong.add(at)
    text, run, k = "", 0, 0
    for op, n, first in steps:
        if op in "M=X":
            for p in range(first or 0, (first or 0) + n):
                if k in wrong:
                    text, run = f"{text}{run}{LETTERS[ref[contig, p]]}", -1
                run, k = run + 1, k + 1
        elif op == "D" and n:
            gone = "" if first is None else "".join(LETTERS[ref[contig, first + j]] for j in range(n))
            text, run = f"{text}{run}^{gone}", 0
    return f"{text}{run}".encode()


def counts_of(columns: Columns, i: int) -> tuple[int, ...]:
    steps = steps_of(columns, i)
    require(columns.mismatches is not None, "a score without aligned bases")
    if steps is None:
        return (0,) * 5
    assert columns.mismatches is not None
    unknown = sum(symbol == 4 for _, symbol, _ in columns.mismatches[i])
    wrong = len(columns.mismatches[i])
    both = sum(n for op, n, _ in steps if op in "M=X")
    gaps = [n for op, n, _ in steps if op in "ID"]
    return both - wrong, wrong - unknown, unknown, len(gaps), sum(gaps)


# ---- 8.4 qualities ----


def qualities(streams: Streams, name: str, columns: Columns) -> list[bytes]:
    alphabet, form, tables, sizes, payload = streams
    classes, shift, n_positions = struct.unpack("<BBH", form)
    n_values = len(alphabet)
    require(0 < n_values * classes * n_positions <= 4096 and n_values <= 128, "form")
    slots = read_tables(tables, n_values, n_values * classes * n_positions)
    lanes = list(pieces(payload, [size for (size,) in struct.iter_unpack("<I", sizes)]))
    out: list[bytes] = []
    for k, lane in enumerate(lanes):
        words = iter([word for (word,) in struct.iter_unpack("<H", lane)])
        x = next(words) * 65536 + next(words)
        for i in range(k * columns.n // len(lanes), (k + 1) * columns.n // len(lanes)):
            q1 = q2 = 0
            read = bytearray()
            for j in range(columns["seq_len"][i]):
                position = min(j >> shift, n_positions - 1)
                context = (q1 * classes + q2 * classes // n_values) * n_positions + position
                value, f, c = slots[context][x % 4096]
                x = f * (x // 4096) + x % 4096 - c
                x = x * 65536 + next(words) if x < 32768 else x
                q1, q2 = value, q1
                read.append(alphabet[value])
            out.append(bytes(read[::-1] if columns["flag"][i] & 16 else read))
        require(x == 32768 and next(words, None) is None, "a lane is too short or too long")
    return out


def read_tables(tables: bytes, n_values: int, n_contexts: int) -> list[list[tuple[int, int, int]]]:
    """(value, frequency, sum of those before) at each of 4,096 slots of each context."""
    at, out = 0, []
    for _ in range(n_contexts):
        slots: list[tuple[int, int, int]] = []
        if tables[at] == 255:
            slots, at = [(0, 4096, 0)] * 4096, at + 1
            out.append(slots)
            continue
        value = 0
        while value < n_values:
            f, at = tables[at], at + 1
            if f == 0:
                value, at = value + 1 + tables[at], at + 1
                continue
            if f > 127:
                f, at = (f - 128) * 256 + tables[at], at + 1
            slots += [(value, f, len(slots))] * f
            value += 1
        require(len(slots) == 4096 and value == n_values, "frequencies do not add up")
        out.append(slots)
    require(at == len(tables), "tables go on")
    return out


# ---- 8.5 alternatives ----


def alternatives(streams: Streams, name: str, columns: Columns) -> list[bytes]:
    counts, ranks, same = (iter(streams[k]) for k in range(3))
    edits = iter(unzigzag(planes(streams[3:7])))
    new = zip(streams[7], planes(streams[8:12]), dictionary(streams[12:23], 1), strict=True)
    cigars, rest = (iter(dictionary(streams[k : k + 11], 1)) for k in (23, 34))
    kept: list[tuple[int, int, bytes]] = []
    out = []
    for i in having(columns, name):
        count, text, nm = next(counts), b"", 0
        for _ in range(count):
            rank = next(ranks)
            kept.insert(0, next(new) if rank == 255 else kept.pop(rank))
            del kept[255:]
            own, apart, contig = kept[0]
            pos, reverse = columns["pos"][i], columns["flag"][i] & 16 != 0
            place = apart + pos if own else apart - pos - columns["ref_len"][i]
            strand = b"-" if reverse == bool(own) else b"+"
            cigar = cigar_text(columns["cigar"][i], not own) if next(same) else next(cigars)
            nm = (nm + next(edits)) % 2**32
            text += b"%s,%s%d,%s,%d;" % (contig, strand, place % 2**32 + 1, cigar, nm)
        out.append(text if count else next(rest))
    leftovers = [next(it, None) for it in (counts, ranks, same, edits, new, cigars, rest)]
    require(leftovers == [None] * 7, "lists that are too long")
    return out


# ---- all ----


def as_strings(streams: Streams, name: str, columns: Columns) -> list[bytes]:
    return plain.strings(streams, width_of(name))


def as_dictionary(streams: Streams, name: str, columns: Columns) -> list[bytes]:
    return dictionary(streams, width_of(name))


CODECS: dict[int, Callable[[Streams, str, Columns], Any]] = {
    1: plain.plain,
    2: plain.delta,
    3: plain.difference,
    4: plain.whole,
    5: plain.bases2,
    6: as_strings,
    7: as_dictionary,
    8: plain.names,
    9: plain.layouts,
    10: plain.links,
    11: plain.linked,
    12: plain.of_mate,
    13: reference,
    14: aligned,
    15: qualities,
    16: alternatives,
}


def decode_column(columns: Columns, name: str, codec: int, streams: Streams) -> None:
    """Decode a column into ``columns``."""
    values = CODECS[codec](streams, name, columns)
    if name in SIGNED:
        values = [(v + 2**31) % 2**32 - 2**31 for v in values]
    if codec == 4:
        sizes = columns["seq_len"] if name == "quals" else [(n + 1) // 2 for n in columns["seq_len"]]
        values = list(pieces(values, sizes))
    if name.startswith("tag:") and name[7] not in "ZHB":
        values = [v.to_bytes(width_of(name), "little") for v in values]
    elif not name.startswith("tag:") and name != "reference":
        require(len(values) == columns.n, f"{name}: {len(values)} values for {columns.n} records")
    columns.values[name] = values
