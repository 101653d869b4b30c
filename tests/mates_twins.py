"""The kernels of links, mates and alternatives once more, slow and plain, written from FORMAT.md.

Same names and signatures as ``bams3.kernels``: one test class runs over both.
"""

import re

import numpy as np
from bam_records import OPS
from transform_twins import cut, strings, u8

from bams3.kernels import Alternatives, KernelError

BAD_COLUMN, BAD_CODE, BAD_LINK = 12, 14, 18
PAIRED, PROPER, UNMAPPED, MATE_UNMAPPED, REVERSE, MATE_REVERSE, READ1, READ2 = (1 << k for k in range(8))
SECONDARY, FAILED, DUPLICATE, SUPPLEMENTARY = (1 << k for k in range(8, 12))
KEPT, NEW, U32 = 255, 255, 2**32


# ---- links and mates ----


def find_links(names):
    last, prev = {}, []
    for number, name in enumerate(cut(names)):
        prev.append(last.get(name, -1))
        last[name] = number
    return np.array(prev, np.int32)


def join_links(first, later, n):
    prev, firsts, laters = [-1] * n, iter(first.tolist()), iter(later.tolist())
    for record in range(n):
        distance = next(firsts if prev[record] == -1 else laters, None)
        if distance is None:
            raise KernelError(BAD_COLUMN, record)
        if distance and (record + distance >= n or prev[record + distance] != -1):
            raise KernelError(BAD_LINK, record)
        if distance:
            prev[record + distance] = record
    if [*firsts, *laters]:
        raise KernelError(BAD_COLUMN, n)
    return np.array(prev, np.int32)


def chain_of(prev, record):
    """The records that are linked with one, in file order."""
    while prev[record] != -1:
        record = prev[record]
    chain = [record]
    while chain[-1] in prev:
        chain.append(prev.index(chain[-1]))
    return chain


def find_mates(prev, flag):
    prev, flag, mates = prev.tolist(), flag.tolist(), []
    for record, own in enumerate(flag):
        other = {READ1: READ2, READ2: READ1}.get(own & (READ1 | READ2), 0)
        read = READ1 | READ2 | SECONDARY | SUPPLEMENTARY
        found = [i for i in chain_of(prev, record) if other and flag[i] & read == other]
        mates.append(found[0] if found else -1)
    return np.array(mates, np.int32)


def flag_of_mate(flag):
    """A flag as the mate would have it."""
    swapped = [(UNMAPPED, MATE_UNMAPPED), (REVERSE, MATE_REVERSE), (READ1, READ2)]
    mate = flag & (PAIRED | PROPER | FAILED | DUPLICATE)
    for one, other in [*swapped, *((b, a) for a, b in swapped)]:
        mate |= other if flag & one else 0
    return mate


def flags_unlike_mates(prev, flag):
    before = [flag_of_mate(int(flag[link])) if link != -1 else 0 for link in prev.tolist()]
    return np.array(before, np.uint16) ^ flag


def flags_of_differences(prev, differences):
    flag = []
    for link, difference in zip(prev.tolist(), differences.tolist(), strict=True):
        flag.append(difference ^ (flag_of_mate(flag[link]) if link != -1 else 0))
    return np.array(flag, np.uint16)


def template_length(c, i, m, outermost):
    """What the TLEN of record ``i`` should be, if ``m`` is its mate."""
    flag, other_flag, pos, other_pos = (int(a[k]) for a in (c.flag, c.pos) for k in (i, m))
    end, other_end = pos + int(c.ref_len[i]), other_pos + int(c.ref_len[m])
    if c.contig[i] != c.contig[m] or flag & UNMAPPED or other_flag & UNMAPPED:
        return 0
    if outermost:
        length = max(end, other_end) - min(pos, other_pos)
        return -length if pos > other_pos else length
    five = end - 1 if flag & REVERSE else pos
    other_five = other_end - 1 if other_flag & REVERSE else other_pos
    if other_five == five:
        return 0
    return other_five - five + (1 if other_five > five else -1)


def tlen_residuals(c, mate, tlen, outermost, undo):
    values, out = tlen.astype(np.uint32).tolist(), []
    for i, m in enumerate(mate.tolist()):
        if m == -1:
            predicted = int(c.mate_pos[i]) - int(c.pos[i])
        elif m < i:
            predicted = -(out[m] if undo else values[m])
        else:
            predicted = template_length(c, i, m, outermost)
        out.append((values[i] + (predicted if undo else -predicted)) % U32)
    return np.array(out, np.uint32)


# ---- strings ----


def take_strings(values, index, limit_bytes):
    several = cut(values)
    taken = [several[number] for number in index]
    if sum(map(len, taken)) > limit_bytes:
        raise KernelError(BAD_COLUMN)
    return strings(taken)


def equal_strings(values, left, others, right):
    several, compared = cut(values), cut(others)
    return u8([several[i] == compared[j] for i, j in zip(left, right, strict=True)])


def cigar_text(operations):
    """A CIGAR of numbers as SAM has it."""
    return "".join(f"{op >> 4}{OPS[op & 15] if op & 15 < 9 else '?'}" for op in operations) or "*"


def operations_of(cigar):
    """The operations of each record, as numbers."""
    if int(cigar.lengths.sum(dtype=np.uint64)) != cigar.data.size:
        raise KernelError(BAD_COLUMN)
    return [np.frombuffer(one, "<u4").tolist() for one in cut(cigar)]


def cigar_texts(cigar, index, limit_bytes):
    texts = [cigar_text(one).encode() for one in operations_of(cigar)]
    return take_strings(strings(texts), index, limit_bytes)


# ---- alternatives ----

NUMBER = "0|[1-9][0-9]{0,9}"
PLACE = re.compile(rf"([^,;]+),([+-])({NUMBER}),([^,;]+),({NUMBER});".encode(), re.DOTALL)


def places_of(value):
    """(name, strand, POS, CIGAR, NM) of each place of an XA value; none if it is not of the form."""
    places, at = [], 0
    while at < len(value):
        found = PLACE.match(value, at)
        if not found:
            return []
        name, strand, pos, cigar, edits = found.groups()
        places.append((name, strand, int(pos), cigar, int(edits)))
        at = found.end()
    good = all(1 <= pos < 2**31 and edits < 2**31 for _, _, pos, _, edits in places)
    return places if good and len(places) <= 255 else []


class Reads:
    """What places are said relative to."""

    def __init__(self, c, record):
        self.pos, self.ref_len = int(c.pos[record]), int(c.ref_len[record])
        self.strand = b"-" if c.flag[record] & REVERSE else b"+"
        self.operations = operations_of(c.cigar)[record]

    def cigar(self, own):
        return cigar_text(self.operations if own else self.operations[::-1]).encode()


def split_alternatives(c, records, values):
    counts, kept, lists = [], [], {name: [] for name in Alternatives.__slots__[1:]}
    for record, value in zip(records, cut(values), strict=True):
        read, places, before = Reads(c, record), places_of(value), 0
        counts.append(len(places))
        for name, strand, pos, cigar, edits in places:
            own = strand == read.strand
            apart = (pos - 1 - read.pos if own else pos - 1 + read.pos + read.ref_len) % U32
            distance = name, own, apart
            lists["ranks"].append(kept.index(distance) if distance in kept else NEW)
            if distance not in kept:
                for field, part in zip(("names", "own_strand", "apart"), distance, strict=True):
                    lists[field].append(part)
            kept = [distance, *(other for other in kept if other != distance)][:KEPT]
            lists["same"].append(cigar == read.cigar(own))
            lists["cigars"] += [] if cigar == read.cigar(own) else [cigar]
            lists["edits"].append((edits - before) % U32)
            before = edits
    numbers = {name: np.array(lists[name], np.uint32) for name in ("edits", "apart")}
    marks = {name: u8(lists[name]) for name in ("ranks", "same", "own_strand")}
    texts = {name: strings(lists[name]) for name in ("names", "cigars")}
    return Alternatives(counts=u8(counts), **marks, **numbers, **texts)


def take(several):
    """The next of a list; KernelError where there is none."""
    for one in several:
        return one
    raise KernelError(BAD_COLUMN)


def join_alternatives(c, records, a, limit_bytes):
    if a.counts.size != len(records) or len({a.own_strand.size, a.apart.size, a.names.lengths.size}) > 1:
        raise KernelError(BAD_COLUMN)
    if len({a.ranks.size, a.same.size, a.edits.size}) > 1:
        raise KernelError(BAD_COLUMN)
    places = zip(a.ranks.tolist(), a.same.tolist(), a.edits.tolist(), strict=True)
    new = zip(cut(a.names), a.own_strand.tolist(), a.apart.tolist(), strict=True)
    cigars, kept, out = iter(cut(a.cigars)), [], []
    for record, count in zip(records, a.counts.tolist(), strict=True):
        read, value, edits = Reads(c, record), b"", 0
        for _ in range(count):
            rank, same, more = take(places)
            if rank != NEW and rank >= len(kept):
                raise KernelError(BAD_CODE)
            distance = take(new) if rank == NEW else kept.pop(rank)
            kept = [distance, *kept][:KEPT]
            name, own, apart = distance
            pos = (apart + read.pos if own else apart - read.pos - read.ref_len) % U32
            strand = read.strand if own else {b"+": b"-", b"-": b"+"}[read.strand]
            cigar, edits = read.cigar(own) if same else take(cigars), (edits + more) % U32
            value += b"%b,%b%d,%b,%d;" % (name, strand, (pos + 1) % U32, cigar, edits)
        out.append(value)
    if [*places, *new, *cigars] or sum(map(len, out)) > limit_bytes:
        raise KernelError(BAD_COLUMN)
    return strings(out)
