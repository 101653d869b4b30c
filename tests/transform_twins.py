"""The kernels of codecs once more, slow and plain, written from FORMAT.md, not from the C code.

Same names and signatures as ``bams3.kernels``: one test class runs over both.
"""

import re

import numpy as np

from bams3.columns import Strings
from bams3.kernels import KernelError, NameFields

BAD_NAME, BAD_COLUMN, BAD_CODE = 5, 12, 14


def u8(data):
    return np.frombuffer(bytes(data), np.uint8)


def strings(values):
    return Strings(np.array([len(value) for value in values], np.uint32), u8(b"".join(values)))


def cut(values):
    """Strings as a list of bytes; KernelError if their lengths do not add up."""
    ends = np.cumsum(values.lengths, dtype=np.int64).tolist()
    if (ends or [0])[-1] != values.data.size:
        raise KernelError(BAD_COLUMN)
    sizes = values.lengths.tolist()
    return [bytes(values.data[end - n : end]) for end, n in zip(ends, sizes, strict=True)]


def split_planes(values, width):
    return np.array([list(bytes(values)[k::width]) for k in range(width)], np.uint8).reshape(width, -1)


def join_planes(planes):
    return u8(bytes(b for value in zip(*map(bytes, planes), strict=True) for b in value))


def _nibbles(bases, seq_len):
    """4-bit codes of every read, the padding of odd ones included, as lists; KernelError if lengths lie."""
    at, out = 0, []
    for n in map(int, seq_len):
        part = bytes(bases)[at : at + (n + 1) // 2]
        at += (n + 1) // 2
        if at > len(bases):
            raise KernelError(BAD_COLUMN)
        out.append([half for byte in part for half in (byte >> 4, byte & 15)])
    if at != len(bases):
        raise KernelError(BAD_COLUMN)
    return out


def measure_bases(bases, seq_len):
    reads = _nibbles(bases, seq_len)
    codes = [code for read, n in zip(reads, seq_len, strict=True) for code in read[: int(n)]]
    padded = any(read[int(n) :] != [0] for read, n in zip(reads, seq_len, strict=True) if n % 2)
    return sum((int(n) + 3) // 4 for n in seq_len), sum(code not in (1, 2, 4, 8) for code in codes), padded


def pack_bases(bases, seq_len):
    packed, gaps, codes, since = bytearray(), [], [], 0
    for read, n in zip(_nibbles(bases, seq_len), map(int, seq_len), strict=True):
        for start in range(0, n, 4):
            byte = 0
            for shift, code in enumerate(read[start : min(start + 4, n)]):
                if code in (1, 2, 4, 8):
                    byte |= (1, 2, 4, 8).index(code) << 2 * shift
                    since += 1
                else:
                    gaps.append(since)
                    codes.append(code)
                    since = 0
            packed.append(byte)
    return u8(packed), np.array(gaps, np.uint32), np.array(codes, np.uint8)


def unpack_bases(packed, gaps, codes, seq_len):
    if gaps.size != codes.size or sum((int(n) + 3) // 4 for n in seq_len) != packed.size:
        raise KernelError(BAD_COLUMN)
    at, reads = 0, []
    for n in map(int, seq_len):
        part = bytes(packed)[at : at + (n + 3) // 4]
        at += len(part)
        reads.append([1 << (part[j // 4] >> 2 * (j % 4) & 3) for j in range(n)])
    places = [(r, j) for r, read in enumerate(reads) for j in range(len(read))]
    place = -1
    for gap, code in zip(gaps.tolist(), codes.tolist(), strict=True):
        place += 1 + gap
        if place >= len(places):
            raise KernelError(BAD_COLUMN)
        if code > 15:
            raise KernelError(BAD_CODE)
        reads[places[place][0]][places[place][1]] = code
    padded = [[*read, 0] if len(read) % 2 else read for read in reads]
    return u8(bytes(read[j] << 4 | read[j + 1] for read in padded for j in range(0, len(read), 2)))


def encode_dictionary(values):
    numbers, codes, rest = {}, [], []
    for value in cut(values):
        if value not in numbers and len(numbers) < 255:
            numbers[value] = len(numbers)
        codes.append(numbers.get(value, 255))
        rest += [value] * (codes[-1] == 255)
    return np.array(codes, np.uint8), strings(list(numbers)), strings(rest)


def decode_dictionary(codes, entries, rest, limit_bytes):
    known, others = cut(entries), iter(cut(rest))
    out = []
    for code in codes.tolist():
        if code != 255 and code >= len(known):
            raise KernelError(BAD_CODE)
        value = next(others, None) if code == 255 else known[code]
        if value is None:
            raise KernelError(BAD_COLUMN)
        out.append(value)
    if next(others, None) is not None or sum(map(len, out)) > limit_bytes:
        raise KernelError(BAD_COLUMN)
    return strings(out)


# ---- names ----

SEPARATORS = re.compile(rb"[:_./#|\-+ ]")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")


def split_names(names):
    several = cut(names)
    first = SEPARATORS.split(several[0]) if several else [b""]
    if len(first) > 16:
        first = []
    separators = SEPARATORS.findall(several[0]) if several and first else []
    is_text = [not NUMBER.fullmatch(field) for field in first]
    texts = [{} for _ in first]
    regular, rows, rest = [], [], []
    for name in several:
        row = _row(name, separators, is_text, texts) if first else None
        regular.append(row is not None)
        rows += [row] if row is not None else []
        rest += [name] if row is None else []
    values = np.array(rows, np.uint32).reshape(len(rows), len(first)).T
    return NameFields(
        u8(b"".join(separators)),
        u8(is_text),
        u8(regular),
        values,
        u8([len(t) for t in texts]),
        strings([text for t in texts for text in t]),
        strings(rest),
    )


def _row(name, separators, is_text, texts):
    """A name's values by the template, or None; texts are numbered as they come, at most 64 a field."""
    fields = SEPARATORS.split(name)
    if len(fields) != len(is_text):
        return None
    row = []
    for number, field in enumerate(fields):
        known = texts[number]
        if is_text[number]:
            if field not in known and len(known) == 64:
                return None
            row.append(known.setdefault(field, len(known)))
        elif NUMBER.fullmatch(field):
            row.append(int(field))
        else:
            return None
        if number < len(separators) and SEPARATORS.findall(name)[number] != separators[number]:
            return None
    return row


def join_names(fields):
    is_text, counts = fields.is_text.tolist(), fields.n_texts.tolist()
    texts, rest = cut(fields.texts), iter(cut(fields.rest))
    sane = len(counts) == len(is_text) <= 16 and sum(counts) == len(texts)
    if not sane or fields.separators.size != max(len(is_text) - 1, 0):
        raise KernelError(BAD_COLUMN)
    separators = [b"", *(bytes([b]) for b in fields.separators.tolist())]
    rows, out = iter(fields.values.T.tolist()), []
    for regular in fields.regular.tolist():
        name = None if not regular else _name(next(rows, None), separators, is_text, counts, texts)
        name = next(rest, None) if not regular else name
        if name is None:
            raise KernelError(BAD_COLUMN)
        if len(name) > 255:
            raise KernelError(BAD_NAME)
        out.append(name)
    if next(rows, None) is not None or next(rest, None) is not None:
        raise KernelError(BAD_COLUMN)
    return strings(out)


def _name(row, separators, is_text, counts, texts):
    if row is None or not is_text:
        return None
    out, first = b"", 0
    for value, separator, text, count in zip(row, separators, is_text, counts, strict=True):
        if text and value >= count:
            raise KernelError(BAD_CODE)
        out += separator + (texts[first + value] if text else str(value).encode())
        first += count
    return out
