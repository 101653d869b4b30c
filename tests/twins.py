"""The kernels over records once more, slow and plain, written from the SAM specification, not from the C.

Same names and signatures as ``bams3.kernels``: one test class runs over both.
"""

import struct

import numpy as np
from bam_bytes import bin_of
from bam_records import CONSUMES_QUERY, CONSUMES_REFERENCE, OPS
from transform_twins import cut, strings, u8

from bams3.columns import INT_COLUMNS, Columns, Layouts, Strings, tag_name
from bams3.kernels import KernelError

WIDTHS = {"A": 1, "c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "d": 8}
TRUNCATED, SHORT, NEGATIVE, OVERRUN, BAD_NAME, REFERENCE, MISMATCH, TOO_LONG = range(1, 9)
BAD_TAG, UNSORTED, _, BAD_COLUMN, RECORD_TOO_LONG, BAD_CODE = range(9, 15)
LONGEST = 2**31 - 1


# ---- records ----


def fields(data, at):
    """A record at ``at`` as a dictionary, with its ``size``; KernelError if its lengths lie."""
    if len(data) - at < 4:
        raise KernelError(TRUNCATED, at)
    block = int.from_bytes(data[at : at + 4], "little")
    if block > LONGEST:
        raise KernelError(NEGATIVE, at)
    if block < 32:
        raise KernelError(SHORT, at)
    if block > len(data) - at - 4:
        raise KernelError(TRUNCATED, at)
    body = data[at + 4 : at + 4 + block]
    names = "contig pos name_bytes mapq bin n_cigar flag seq_len mate_contig mate_pos tlen".split()
    r = dict(zip(names, struct.unpack_from("<iiBBHHHIiii", body), strict=True))
    if r["seq_len"] > LONGEST:
        raise KernelError(NEGATIVE, at)
    if r["name_bytes"] == 0:
        raise KernelError(BAD_NAME, at)
    sizes = r["name_bytes"], 4 * r["n_cigar"], (r["seq_len"] + 1) // 2, r["seq_len"]
    if 32 + sum(sizes) > block:
        raise KernelError(OVERRUN, at)
    cut = 32
    for name, size in zip(("name", "cigar", "bases", "quals"), sizes, strict=True):
        r[name], cut = body[cut : cut + size], cut + size
    r["name"] = r["name"].removesuffix(b"\0")
    if len(r["name"]) > 254:
        raise KernelError(BAD_NAME, at)
    return r | {"tags": body[cut:], "size": block + 4, "at": at}


def tags_of(r):
    """(tag, type with subtype, payload) of each optional field."""
    data, at, out = r["tags"], 0, []
    while at < len(data):
        name, kind = data[at : at + 2], chr(data[at + 2]) if at + 2 < len(data) else ""
        value = data[at + 3 :]
        if kind in ("Z", "H") and b"\0" in value:
            payload = value[: value.index(b"\0")]
            used = len(payload) + 1
        elif kind == "B" and len(value) >= 5 and chr(value[0]) in WIDTHS and value[:1] != b"A":
            kind += chr(value[0])
            used = 5 + WIDTHS[kind[1]] * int.from_bytes(value[1:5], "little")
            payload = value[5:used]
        elif kind in WIDTHS:
            used = WIDTHS[kind]
            payload = value[:used]
        else:
            raise KernelError(BAD_TAG, r["at"])
        if used > len(value) or not value:
            raise KernelError(BAD_TAG, r["at"])
        out.append((name, kind, payload))
        at += 3 + used
    return out


def spans(cigar):
    """Reference bases and query bases of BAM operations."""
    words = struct.unpack(f"<{len(cigar) // 4}I", cigar)
    ops = [(word >> 4, OPS[word & 15] if word & 15 < 9 else "?") for word in words]
    return tuple(sum(n for n, op in ops if op in kinds) for kinds in (CONSUMES_REFERENCE, CONSUMES_QUERY))


def real_cigar(r, tags):
    """(operations that htslib uses, number of the CG tag if it can be made again, else None)."""
    cigar = r["cigar"]
    first = struct.unpack_from("<I", cigar)[0] if cigar else 0
    if not cigar or r["contig"] < 0 or r["pos"] < 0 or first != r["seq_len"] << 4 | 4:
        return cigar, None
    number = next((i for i, (name, _, _) in enumerate(tags) if name == b"CG"), None)
    if number is None or tags[number][1] not in ("BI", "Bi"):
        return cigar, None
    array = tags[number][2]
    if len(array) < len(cigar) or len(array) >= 4 << 29:
        return cigar, None
    covered = spans(array)[0]
    usual = len(cigar) == 8 and cigar[4:] == struct.pack("<I", (covered << 4 | 3) & 0xFFFFFFFF)
    return array, number if usual and tags[number][1] == "BI" and covered < 1 << 28 else None


class Scanner:
    NEED_MORE, SPAN, FULL = 0, 1, 2

    def __init__(self, section, span_bp, max_records, max_bytes):
        self.section, self.span_bp = section.tolist(), span_bp.tolist()
        self.max_records, self.max_bytes = max_records, max_bytes
        self.last, self.span, self.records, self.bytes = None, None, 0, 0

    def begin_group(self):
        self.records = self.bytes = 0

    def scan(self, data, at):
        data = bytes(data)
        while True:
            try:
                r = fields(data, at)
            except KernelError as err:
                if err.code == TRUNCATED:
                    return at, self.NEED_MORE
                raise
            contig, pos = r["contig"], r["pos"]
            if not all(-1 <= c < len(self.section) for c in (contig, r["mate_contig"])):
                raise KernelError(REFERENCE, at)
            order = (contig, pos) if contig >= 0 else (LONGEST + 1, 0)
            if self.last is not None and order < self.last:
                raise KernelError(UNSORTED, at)
            window = max(pos, 0) // self.span_bp[contig] if contig >= 0 and self.span_bp[contig] else 0
            span = (self.section[contig] if contig >= 0 else -1, window)
            if self.records and span != self.span:
                return at, self.SPAN
            full = self.records + 1 > self.max_records or self.bytes + r["size"] > self.max_bytes
            if self.records and full:
                return at, self.FULL
            self.last, self.span = order, span
            self.records, self.bytes, at = self.records + 1, self.bytes + r["size"], at + r["size"]


def key_of(name, kind):
    return int.from_bytes(name + kind.encode().ljust(2, b"\0"), "little")


def split(records, n):
    data, at, rows = bytes(records), 0, []
    layouts, columns = {}, {}
    for _ in range(n):
        r = fields(data, at)
        tags = tags_of(r)
        cigar, gone = real_cigar(r, tags)
        covered, query = spans(cigar)
        if covered > LONGEST:
            raise KernelError(TOO_LONG, at)
        if r["seq_len"] and not r["flag"] & 4 and cigar and query != r["seq_len"]:
            raise KernelError(MISMATCH, at)
        keys = tuple(key_of(name, "B*" if i == gone else kind) for i, (name, kind, _) in enumerate(tags))
        for i, (key, (_, _, payload)) in enumerate(zip(keys, tags, strict=True)):
            if i != gone:
                columns.setdefault(key, []).append(payload)
        kept = r["cigar"] if gone is None else cigar
        rows.append(r | {"ref_len": covered, "layout": layouts.setdefault(keys, len(layouts)), "kept": kept})
        at += r["size"]
    if at != len(data):
        raise KernelError(BAD_COLUMN, at)
    added = sum(row["name_bytes"] == len(row["name"]) for row in rows)
    return _columns(rows, layouts, columns, len(data) + added)


def _columns(rows, layouts, tags, size):
    plain = {name: np.array([row[name] for row in rows], dtype) for name, dtype in INT_COLUMNS.items()}
    starts = np.cumsum([0, *map(len, layouts)]).astype(np.uint32)
    c = Columns(len(rows), size, **plain)
    c.layouts = Layouts(np.array([key for keys in layouts for key in keys], np.uint32), starts)
    c.cigar, c.name = strings([row["kept"] for row in rows]), strings([row["name"] for row in rows])
    c.bases, c.quals = (u8(b"".join(row[name] for row in rows)) for name in ("bases", "quals"))
    for key, values in tags.items():
        long = chr(key >> 16 & 255) in "ZHB"
        c.tags[tag_name(key)] = strings(values) if long else u8(b"".join(values))
    return c


class Values:
    """Values of one column, taken one after the other; KernelError where they end too early."""

    def __init__(self, column, width):
        self.data, self.at, self.next = bytes(column.data), 0, 0
        self.lengths = column.lengths.tolist() if isinstance(column, Strings) else width

    def take(self, size=None):
        if size is None and isinstance(self.lengths, list):
            if self.next == len(self.lengths):
                raise KernelError(BAD_COLUMN)
            size, self.next = self.lengths[self.next], self.next + 1
        size = self.lengths if size is None else size
        value, self.at = self.data[self.at : self.at + size], self.at + size
        if len(value) != size:
            raise KernelError(BAD_COLUMN)
        return value


def join(c, keep=None):
    n = c.n
    if any(getattr(c, name).size != n for name in INT_COLUMNS) or (keep is not None and keep.size != n):
        raise KernelError(BAD_COLUMN)
    if not c.cigar.lengths.size == c.name.lengths.size == n or (c.cigar.lengths % 4).any():
        raise KernelError(BAD_COLUMN)
    tags = {name: Values(column, WIDTHS.get(name[3])) for name, column in c.tags.items()}
    plain = {name: Values(getattr(c, name), 0) for name in ("cigar", "name", "bases", "quals")}
    out = [_joined(c, i, plain, tags) for i in range(n)]
    if any(column.at != len(column.data) for column in plain.values()):
        raise KernelError(BAD_COLUMN)
    return u8(b"".join(one for i, one in enumerate(out) if keep is None or keep[i]))


def _joined(c, i, plain, tags):
    cigar, name, seq_len = plain["cigar"].take(), plain["name"].take(), int(c.seq_len[i])
    bases, quals = plain["bases"].take((seq_len + 1) // 2), plain["quals"].take(seq_len)
    if c.layout[i] >= c.layouts.start.size - 1:
        raise KernelError(BAD_CODE)
    begin, end = c.layouts.start[c.layout[i] : c.layout[i] + 2]
    optional, moved = _joined_tags(c.layouts.keys[begin:end].tolist(), tags, cigar)
    if len(name) > 254 or (not moved and len(cigar) // 4 > 65_535):
        raise KernelError(BAD_COLUMN)
    covered = 0 if c.flag[i] & 4 else int(c.ref_len[i])
    place = bin_of(int(c.pos[i]), int(c.pos[i]) + (covered or 1)) & 0xFFFF
    if moved:
        cigar = struct.pack("<II", (seq_len << 4 | 4) & 0xFFFFFFFF, (int(c.ref_len[i]) << 4 | 3) & 0xFFFFFFFF)
    values = c.contig[i], c.pos[i], len(name) + 1, c.mapq[i], place, len(cigar) // 4, c.flag[i], seq_len
    fixed = struct.pack("<iiBBHHHIiii", *values, c.mate_contig[i], c.mate_pos[i], c.tlen[i])
    body = fixed + name + b"\0" + cigar + bases + quals + optional
    return struct.pack("<I", len(body)) + body


def _joined_tags(keys, tags, cigar):
    out, moved = b"", False
    for key in keys:
        raw = key.to_bytes(4, "little")
        kind, subtype = chr(raw[2]), chr(raw[3])
        if kind == "B" and subtype == "*":
            out, moved = out + raw[:3] + b"I" + struct.pack("<I", len(cigar) // 4) + cigar, True
            continue
        known = (kind in WIDTHS or kind in "ZH") and raw[3] == 0
        if not known and not (kind == "B" and subtype in WIDTHS and subtype != "A"):
            raise KernelError(BAD_CODE)
        if tag_name(key) not in tags:
            raise KernelError(BAD_COLUMN)
        value = tags[tag_name(key)].take()
        if kind == "B":
            if len(value) % WIDTHS[subtype]:
                raise KernelError(BAD_COLUMN)
            value = raw[3:] + struct.pack("<I", len(value) // WIDTHS[subtype]) + value
        out += raw[:3] + value + (b"\0" if kind in "ZH" else b"")
    return out, moved


# ---- what the index says ----


def _end(c, i):
    covered = 0 if c.flag[i] & 4 else int(c.ref_len[i])
    return int(c.pos[i]) + (covered or 1)


def _categories(flag, elsewhere, mapq):
    """Numbers of the categories of samtools flagstat that a record counts in."""
    mapped, yes = not flag & 4, [0]
    yes += [6] * mapped + [4] * bool(flag & 0x400)
    if flag & 0x900:
        return [*yes, 2 if flag & 0x100 else 3]
    yes += [1] + [7] * mapped + [5] * bool(flag & 0x400)
    if flag & 1:
        yes += [8] + [9] * bool(flag & 0x40) + [10] * bool(flag & 0x80)
        if mapped:
            both = not flag & 8
            yes += [11] * bool(flag & 2) + [12 if both else 13]
            yes += [14, 15][: 1 + (mapq >= 5)] if both and elsewhere else []
    return yes


def summarise(c, max_runs):
    runs = []
    for i in range(c.n):
        contig, pos, flag = int(c.contig[i]), int(c.pos[i]), int(c.flag[i])
        if not runs or runs[-1][0] != contig:
            if len(runs) == max_runs:
                raise KernelError(11)
            runs.append([contig, 0, pos, _end(c, i), [0] * 34])
        run = runs[-1]
        run[1:4] = run[1] + 1, min(run[2], pos), max(run[3], _end(c, i))
        for number in _categories(flag, c.mate_contig[i] != contig, int(c.mapq[i])):
            run[4][number + (16 if flag & 0x200 else 0)] += 1
        run[4][32] += int(c.seq_len[i])
        run[4][33] += contig >= 0 and _end(c, i) <= 0
    dtypes = np.int32, np.uint64, np.int64, np.int64, np.uint64
    columns = zip(*runs, strict=True) if runs else [[]] * 5
    return tuple(np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True))


def add_depth(c, first_contig, window_base, length, first_window, sums):
    if (c.cigar.lengths % 4).any():
        raise KernelError(BAD_COLUMN)
    cigars = Values(c.cigar, 0)
    for i in range(c.n):
        words = struct.unpack(f"<{int(c.cigar.lengths[i]) // 4}I", cigars.take())
        k, at = int(c.contig[i]) - first_contig, int(c.pos[i])
        if c.flag[i] & 0x704 or at < 0 or not 0 <= k < len(window_base):
            continue
        for word in words:
            op = OPS[word & 15] if word & 15 < 9 else "?"
            for bp in range(at, at + (word >> 4)) if op in "M=X" else ():
                slot = int(window_base[k]) + bp // 100 - first_window
                if bp < length[k] and 0 <= slot < sums.size:
                    sums[slot] += np.uint64(1)
            at += word >> 4 if op in CONSUMES_REFERENCE else 0


def subsample(names, seed, fraction):
    """What htslib calls __ac_X31_hash_string and __ac_Wang_hash, as samtools view -s uses them."""
    keep, mask = [], 0xFFFFFFFF
    for name in cut(names):
        key = 0
        for j, c in enumerate(name.split(b"\0")[0]):
            signed = c - 256 if c > 127 else c
            key = (key * 31 + signed if j else signed) & mask
        key ^= seed
        key = (key + ~(key << 15)) & mask
        key ^= key >> 10
        key = (key + (key << 3)) & mask
        key ^= key >> 6
        key = (key + ~(key << 11)) & mask
        key ^= key >> 16
        keep.append((key & 0xFFFFFF) / 0x1000000 < fraction)
    return np.array(keep, np.uint8)
