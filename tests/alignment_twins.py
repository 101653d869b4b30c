"""The kernels of aligned records once more, slow and plain, written from FORMAT.md, not from the C code.

Same names and signatures as ``bams3.kernels``: one test class runs over both. Behind them, reads to try
them on.
"""

import random
import re

import numpy as np
from bam_records import CODES, CONSUMES_QUERY, CONSUMES_REFERENCE, OPS, cigar_bytes
from hypothesis import strategies as st
from transform_twins import cut, strings, u8

from bams3.columns import Columns
from bams3.kernels import KernelError, Mismatches, Placement

BAD_COLUMN, BAD_CODE = 12, 14
LONG_GAP, LONGEST = 1000, 2**31 - 1
ACGT = [CODES.index(base) for base in "ACGT"]
IN_BOTH, LETTER = "M=X", re.compile("[A-Za-z]")


def operations(words):
    """(letter, length) of BAM's operations; ``?`` for those that there are not."""
    return [(OPS[word & 15] if word & 15 < len(OPS) else "?", word >> 4) for word in words]


def covers(letter, n):
    return letter in IN_BOTH or (letter == "D" and n <= LONG_GAP)


def is_aligned(contig, pos, seq_len, steps):
    query = sum(n for letter, n in steps if letter in CONSUMES_QUERY)
    span = sum(n for letter, n in steps if letter in CONSUMES_REFERENCE)
    return contig >= 0 and pos >= 0 and seq_len >= 1 and query == seq_len and span <= LONGEST


def blocks_of(contig, pos, steps):
    """Runs of covered positions (contig, position)."""
    blocks = [[]]
    for letter, n in steps:
        if covers(letter, n):
            blocks[-1] += [(contig, pos + k) for k in range(n)]
        elif letter in "DN":
            blocks.append([])
        pos += n if letter in CONSUMES_REFERENCE else 0
    return [block for block in blocks if block]


def cigars_of(n_ops, cigar):
    """The operations of each record."""
    ends = np.cumsum(n_ops, dtype=np.int64).tolist()
    parts = zip(n_ops.tolist(), ends, strict=True)
    return [operations(cigar[end - n : end].tolist()) for n, end in parts]


def place(c):
    columns = [c.contig, c.pos, c.seq_len, c.cigar and c.cigar.lengths]
    if any(one is None or one.size != c.n for one in columns) or c.cigar.lengths.sum() != c.cigar.data.size:
        raise KernelError(BAD_COLUMN)
    n_ops, words = c.cigar.lengths >> np.uint32(2), c.cigar.data.view("<u4")
    aligned, blocks, n_loose = [], [], 0
    records = zip(c.contig.tolist(), c.pos.tolist(), c.seq_len.tolist(), cigars_of(n_ops, words), strict=True)
    for contig, pos, seq_len, steps in records:
        aligned.append(is_aligned(contig, pos, seq_len, steps))
        blocks += blocks_of(contig, pos, steps) if aligned[-1] else []
        n_loose += sum(n for letter, n in steps if letter in "IS") if aligned[-1] else seq_len
    order = {position: k for k, position in enumerate(sorted({one for block in blocks for one in block}))}
    block_at = np.array([order[block[0]] for block in blocks], np.uint32)
    base_bytes = sum((n + 1) // 2 for n in c.seq_len.tolist())
    longest = max(c.seq_len.tolist(), default=0)
    return Placement(u8(aligned), block_at, len(order), n_loose, base_bytes, longest, c.seq_len, n_ops, words)


def walk(p):
    """(letter, length, place in the reference or None) of the operations of each record, if it is aligned."""
    begins, out = iter(p.block_at.tolist()), []
    for aligned, steps in zip(p.aligned.tolist(), cigars_of(p.n_ops, p.cigar), strict=True):
        at, walked = None, []
        for letter, n in steps if aligned else ():
            if covers(letter, n) and n:
                at = next(begins) if at is None else at
                walked.append((letter, n, at))
                at += n
            else:
                at = None if letter in "DN" and not covers(letter, n) else at
                walked.append((letter, n, None))
        out.append(walked)
    return out


def reads_of(p, bases):
    """4-bit codes of each read, and whether something stands behind one of odd length."""
    if bases.size != p.base_bytes:
        raise KernelError(BAD_COLUMN)
    at, reads, padded = 0, [], False
    for n in p.seq_len.tolist():
        codes = [half for byte in bases[at : at + (n + 1) // 2].tolist() for half in (byte >> 4, byte & 15)]
        padded |= any(codes[n:])
        reads.append(codes[:n])
        at += (n + 1) // 2
    return reads, padded


def under(steps):
    """(place in the read, place in the reference) of the bases of M, = and X."""
    out, q = [], 0
    for letter, n, at in steps:
        out += [(q + k, at + k) for k in range(n)] if letter in IN_BOTH else []
        q += n if letter in CONSUMES_QUERY else 0
    return out


def loose_of(steps, read, aligned):
    """Places in the read of its loose bases."""
    matched = {q for q, _ in under(steps)} if aligned else set()
    return [q for q in range(len(read)) if q not in matched]


# ---- the reference ----


class Md:
    """An MD, read character by character; a number counts down."""

    def __init__(self, text):
        self.tokens, self.matches = re.findall(r"[0-9]+|.", text, re.DOTALL), 0

    def next(self):
        """``0`` for a base that matches, else a character; "" behind the end."""
        while not self.matches and self.tokens and self.tokens[0].isdigit():
            self.matches = int(self.tokens.pop(0))
        if self.matches:
            self.matches -= 1
            return "0"
        return self.tokens.pop(0) if self.tokens else ""


def says(steps, read, text):
    """(place in the reference, base) that an MD says, as long as it agrees with the CIGAR."""
    md, q = Md(text), 0
    for letter, n, at in steps:
        if letter == "D" and n:
            if md.next() != "^":
                return
            for k in range(n):
                if not md.tokens or not LETTER.match(md.tokens[0]):
                    return
                yield None if at is None else at + k, md.tokens.pop(0)
        for k in range(n if letter in IN_BOTH else 0):
            said = md.next()
            if said != "0" and not LETTER.match(said):
                return
            yield at + k, CODES[read[q + k]] if said == "0" else said
        q += n if letter in CONSUMES_QUERY else 0


def infer_reference(p, bases, md_of, md):
    reads, texts, said = reads_of(p, bases)[0], [text.decode("latin-1") for text in cut(md)], {}
    if md_of.size != p.aligned.size:
        raise KernelError(BAD_COLUMN)
    for steps, read, number in zip(walk(p), reads, md_of.tolist(), strict=True):
        for at, base in says(steps, read, texts[number]) if number != -1 and steps else ():
            if base in "ACGT":
                said.setdefault(at, CODES.index(base))
    votes = [(CODES.index("A"), 0)] * p.covered
    for steps, read in zip(walk(p), reads, strict=True):
        for q, at in under(steps):
            votes[at] = vote(*votes[at], read[q]) if read[q] in ACGT else votes[at]
    return u8([said.get(at, candidate) for at, (candidate, _) in enumerate(votes)])


def vote(candidate, lead, base):
    if lead == 0:
        return base, 1
    return candidate, min(lead + 1, 63) if base == candidate else lead - 1


# ---- differences ----


def symbol_of(base, reference):
    if base in ACGT:
        return (ACGT.index(base) - ACGT.index(reference)) % 4
    return 4 if CODES[base] == "N" else 16 + base


def base_of(symbol, reference):
    if symbol in (1, 2, 3):
        return ACGT[(ACGT.index(reference) + symbol) % 4]
    if symbol != 4 and not 16 <= symbol < 32:
        raise KernelError(BAD_CODE)
    return CODES.index("N") if symbol == 4 else symbol - 16


def differ(p, bases, reference):
    if reference.size != p.covered:
        raise KernelError(BAD_COLUMN)
    reads, padded = reads_of(p, bases)
    counts, found, loose = [], [], []
    for steps, read, aligned in zip(walk(p), reads, p.aligned.tolist(), strict=True):
        aside = [read[q] != reference[at] for q, at in under(steps)]
        mine = [k for k, wrong in enumerate(aside) if wrong]
        for before, k in zip([-1, *mine], mine, strict=False):
            q, at = under(steps)[k]
            found.append((k - before - 1, symbol_of(read[q], reference[at]), reference[at]))
        counts.append(len(mine))
        loose += [read[q] for q in loose_of(steps, read, aligned)]
    if padded or len(found) > sum(map(len, reads)) // 4 + 64:
        return None
    gap, symbol, ref = zip(*found, strict=True) if found else ((), (), ())
    first = np.cumsum([0, *counts], dtype=np.uint64)
    found = Mismatches(first, np.array(gap, np.uint32), u8(symbol), u8(ref))
    return np.array(counts, np.uint32), found, u8(loose)


def restore(p, m, reference, loose):
    first, given, out = m.first.tolist(), iter(loose.tolist()), b""
    if reference.size != p.covered or {first[-1], m.gap.size, m.symbol.size, m.ref.size} != {m.gap.size}:
        raise KernelError(BAD_COLUMN)
    for i, steps in enumerate(walk(p)):
        read, k = [None] * int(p.seq_len[i]), -1
        for q, at in under(steps):
            read[q] = int(reference[at])
        for number in range(first[i], first[i + 1]):
            k += 1 + int(m.gap[number])
            if k >= len(under(steps)):
                raise KernelError(BAD_COLUMN, i)
            q, at = under(steps)[k]
            m.ref[number], read[q] = reference[at], base_of(int(m.symbol[number]), int(reference[at]))
        read = [next(given, None) if base is None else base for base in read]
        if None in read:
            raise KernelError(BAD_COLUMN, i)
        read += [0] * (len(read) % 2)
        out += bytes(read[q] << 4 | read[q + 1] for q in range(0, len(read), 2))
    if next(given, None) is not None:
        raise KernelError(BAD_COLUMN)
    return u8(out)


def pack_codes(codes):
    packed, gaps, others, since = [0] * ((codes.size + 3) // 4), [], [], 0
    for k, code in enumerate(codes.tolist()):
        if code in ACGT:
            packed[k // 4] += ACGT.index(code) * 4 ** (k % 4)
            since += 1
        else:
            gaps, others, since = [*gaps, since], [*others, code], 0
    return u8(packed), np.array(gaps, np.uint32), u8(others)


def unpack_codes(packed, n, gap, other):
    if packed.size != (n + 3) // 4 or gap.size != other.size:
        raise KernelError(BAD_COLUMN)
    codes, k = [ACGT[packed[k // 4] // 4 ** (k % 4) % 4] for k in range(n)], -1
    for since, code in zip(gap.tolist(), other.tolist(), strict=True):
        k += 1 + since
        if k >= n:
            raise KernelError(BAD_COLUMN)
        if code > 15:
            raise KernelError(BAD_CODE)
        codes[k] = code
    return u8(codes)


# ---- tags ----


def mismatches_of(m, i):
    """{aligned base: (symbol, base of the reference)} of a record."""
    out, k = {}, -1
    for number in range(int(m.first[i]), int(m.first[i + 1])):
        k += 1 + int(m.gap[number])
        out[k] = int(m.symbol[number]), int(m.ref[number])
    return out


def md_lengths(p, m, reference, wanted):
    return u32([len(text) for text in md_list(p, m, reference, wanted)])


def md_texts(p, m, reference, wanted, lengths):
    texts = md_list(p, m, reference, wanted)
    if sum(map(len, texts)) > int(lengths.sum()):
        raise KernelError(BAD_COLUMN)
    return strings(texts)


def md_list(p, m, reference, wanted):
    texts = []
    for i, steps in enumerate(walk(p)):
        text, count, aligned, wrong = "", 0, 0, mismatches_of(m, i)
        for letter, n, at in steps:
            for k in range(aligned, aligned + n) if letter in IN_BOTH else ():
                if k in wrong:
                    text, count = text + f"{count}{CODES[wrong[k][1]]}", -1
                count += 1
            aligned += n if letter in IN_BOTH else 0
            if letter == "D" and n:
                gone = "" if at is None else "".join(CODES[code] for code in reference[at : at + n])
                text, count = text + f"{count}^{gone}", 0
        texts += [f"{text}{count}".encode() if p.aligned[i] else b""] if wanted[i] else []
    return texts


def alignment_counts(p, m):
    rows = []
    for i, steps in enumerate(walk(p)):
        wrong, gaps = mismatches_of(m, i), [n for letter, n, _ in steps if letter in "ID"]
        unknown = [symbol for symbol, _ in wrong.values()].count(4)
        rows.append((len(under(steps)) - len(wrong), len(wrong) - unknown, unknown, len(gaps), sum(gaps)))
    return np.array(rows, np.int32).reshape(-1, 5).T


# ---- reads that tests draw ----

GENOME = "".join(random.Random(1).choices("ACGT", k=97))
LENGTHS = {"D": [1, 1, 2, 3, 0, 999, 1000, 1001], "N": [1, 5, 0, 1000, 1001], "P": [1, 0], "H": [3]}
LETTERS, BASE = st.sampled_from("MMMMMM==XXIISDDNNHP"), st.sampled_from("ACGTNR=")


def i32(values):
    return np.array(values, np.int32)


def u32(values):
    return np.array(values, np.uint32)


def packed_bases(seqs, padding=0):
    """Sequences in BAM's 4-bit codes."""
    out = b""
    for seq in seqs:
        codes = [CODES.index(base) for base in seq] + [padding] * (len(seq) % 2)
        out += bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))
    return u8(out)


def columns_of(*records):
    """Columns of records (contig, pos, CIGAR, sequence), whatever they say."""
    contig, pos, cigars, seqs = zip(*records, strict=True) if records else ((), (), (), ())
    columns = Columns(len(records), contig=i32(contig), pos=i32(pos), seq_len=u32([len(seq) for seq in seqs]))
    columns.cigar = strings([one if isinstance(one, bytes) else cigar_bytes(one) for one in cigars])
    columns.bases = packed_bases(seqs)
    return columns


@st.composite
def reads(draw):
    """(contig, pos, CIGAR, sequence, MD) of a read that agrees with the genome but here and there."""
    pos, seq, md, count, cigar = draw(st.integers(0, 30)), "", "", 0, ""
    at = pos
    for letter in draw(st.lists(LETTERS, max_size=6)):
        n = draw(st.sampled_from(LENGTHS.get(letter, [1, 2, 3, 8, 9, 20, 0])))
        cigar += f"{n}{letter}"
        genome = "".join(GENOME[(at + k) % 97] for k in range(n))
        if letter in "M=X":
            other = draw(st.lists(st.integers(0, 9), max_size=2 if n else 0))
            bases = [draw(BASE) if k in other else base for k, base in enumerate(genome)]
            for base, real in zip(bases, genome, strict=True):
                md, count = (md, count + 1) if base == real else (f"{md}{count}{real}", 0)
            seq += "".join(bases)
        elif letter in "IS":
            seq += "".join(draw(st.lists(st.sampled_from("ACGTN"), min_size=n, max_size=n)))
        elif letter == "D" and n:
            md, count = f"{md}{count}^{genome}", 0
        at += n if letter in "MDN=X" else 0
    return draw(st.sampled_from([0, 0, 0, 1])), pos, cigar, seq, f"{md}{count}"


ODD_CIGAR = st.sampled_from(
    [b"", b"\x19\0\0\0", b"\x1f\0\0\0\x20\0\0\0", cigar_bytes("3M"), cigar_bytes("1M2H")]
)


@st.composite
def groups(draw, honest=False):
    """Columns of reads, their MD tags, and which MD belongs to each (-1: none)."""
    records, mds, md_of = [], [], []
    for contig, pos, cigar, seq, md in draw(st.lists(reads(), max_size=6)):
        if not honest and draw(st.integers(0, 5)) == 0:
            contig, pos = draw(st.sampled_from([(-1, pos), (contig, -1), (contig, 2**31 - 1)]))
            seq, cigar = draw(st.sampled_from([seq, "", "ACN"])), draw(st.just(cigar) | ODD_CIGAR)
        records.append((contig, pos, cigar, seq))
        md_of.append(len(mds) if honest or draw(st.integers(0, 3)) else -1)
        mds += [(md if honest else draw(lying_mds(md))).encode()] if md_of[-1] >= 0 else []
    return columns_of(*records), i32(md_of), strings(mds)


@st.composite
def lying_mds(draw, md):
    """An MD as it is, or cut short, too long, lower-case, of another read, or changed somewhere."""
    at = draw(st.integers(0, len(md) - 1))
    other = draw(st.text(st.sampled_from("0125ACGTN^acg*"), max_size=4))
    lies = [md, md.lower(), md[:at], md + other, md[:at] + other + md[at + 1 :], md[:at] + other + md[at:]]
    return draw(st.sampled_from([md, *lies, other, "99999999999999999999999", ""]))
