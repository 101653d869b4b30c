"""The kernels of entropy coding once more, slow and plain, written from FORMAT.md, not from the C code.

Same names and signatures as ``bams3.kernels``: one test class runs over both.
"""

import numpy as np
from transform_twins import u8

from bams3.kernels import KernelError

BAD_COLUMN, SHORT_STREAM, BAD_FREQUENCIES, LONG_STREAM = 12, 15, 16, 17
TOTAL, LOW, NEVER_MET = 4096, 32_768, 255


def histogram(data):
    return np.array([bytes(data).count(byte) for byte in range(256)], np.uint32)


# ---- rANS ----


def normalise(counts):
    """Frequencies of counts, together 4,096; all 0 where nothing was counted."""
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    freq = [max((TOTAL * k + total // 2) // total, 1) if k else 0 for k in counts]
    while sum(freq) > TOTAL:
        largest = freq.index(max(freq))
        freq[largest] -= min(freq[largest] // 2, sum(freq) - TOTAL)
    freq[counts.index(max(counts))] += TOTAL - sum(freq)
    return freq


def put_frequency(f):
    return bytes([f]) if f < 128 else bytes([128 + f // 256, f % 256])


class Source:
    """Bytes that are taken one after the other."""

    def __init__(self, data):
        self.left = bytes(data)

    def number(self, n_bytes):
        if len(self.left) < n_bytes:
            raise KernelError(SHORT_STREAM)
        taken, self.left = self.left[:n_bytes], self.left[n_bytes:]
        return int.from_bytes(taken, "little")

    def frequency(self):
        first = self.number(1)
        return first if first < 128 else (first - 128) * 256 + self.number(1)


def put_symbol(x, freq, symbol, words):
    """The state before a symbol; what it has no room for goes to ``words``."""
    f, c = freq[symbol], sum(freq[:symbol])
    while x >= 524_288 * f:
        words.append(x % 65_536)
        x //= 65_536
    return TOTAL * (x // f) + x % f + c


def get_symbol(x, freq, source):
    """A symbol, and the state behind it."""
    slot, symbol, c = x % TOTAL, 0, 0
    while not c <= slot < c + freq[symbol]:
        c += freq[symbol]
        symbol += 1
    x = freq[symbol] * (x // TOTAL) + slot - c
    return symbol, 65_536 * x + source.number(2) if x < LOW else x


def put_words(words):
    """Words in the order in which a reader takes them: what was put last comes first."""
    return b"".join(word.to_bytes(2, "little") for word in reversed(words))


def encode_rans(data, limit_bytes):
    data, freq = bytes(data), normalise(histogram(data).tolist())
    symbols = [s for s in range(256) if freq[s]]
    states, words = [LOW] * 4, []
    for i in reversed(range(len(data))):
        states[i % 4] = put_symbol(states[i % 4], freq, data[i], words)
    table = b"".join(bytes([s]) + put_frequency(freq[s]) for s in symbols)
    packed = b"".join(x.to_bytes(4, "little") for x in states) + put_words(words)
    packed = bytes([len(symbols) - 1]) + table + packed if data else b""
    return packed if len(packed) <= limit_bytes else b""


def decode_rans(packed, n):
    source, freq, last = Source(packed), [0] * 256, -1
    for _ in range(source.number(1) + 1):
        symbol, f = source.number(1), source.frequency()
        if symbol <= last or not 1 <= f <= TOTAL:
            raise KernelError(BAD_FREQUENCIES)
        freq[symbol], last = f, symbol
    if sum(freq) != TOTAL:
        raise KernelError(BAD_FREQUENCIES)
    states, out = [source.number(4) for _ in range(4)], bytearray()
    for i in range(n):
        symbol, states[i % 4] = get_symbol(states[i % 4], freq, source)
        out.append(symbol)
    if source.left or states != [LOW] * 4:
        raise KernelError(LONG_STREAM)
    return u8(out)


# ---- qualities ----


def cut_reads(data, seq_len):
    """The bytes of each read; KernelError if lengths lie."""
    if int(seq_len.sum(dtype=np.uint64)) != data.size:
        raise KernelError(BAD_COLUMN)
    ends = np.cumsum(seq_len, dtype=np.int64).tolist()
    return [bytes(data[end - n : end]) for end, n in zip(ends, seq_len.tolist(), strict=True)]


def orient_qualities(quals, seq_len, flag, alphabet):
    reads = zip(cut_reads(quals, seq_len), flag.tolist(), strict=True)
    turned = b"".join(read[::-1] if f & 16 else read for read, f in reads)
    return u8([bytes(alphabet).index(quality) for quality in turned])


def restore_qualities(values, seq_len, flag, alphabet):
    reads = zip(cut_reads(values, seq_len), flag.tolist(), strict=True)
    turned = b"".join(read[::-1] if f & 16 else read for read, f in reads)
    values[:] = [alphabet[value] for value in turned]


def quality_sums(quals, seq_len):
    reads = cut_reads(quals, seq_len)
    return np.array([sum(quality for quality in read if quality >= 15) for read in reads], np.uint32)


def context_of(form, before, j):
    """The context of value ``j`` of a read, ``before`` the values that come before it."""
    q2, q1 = (0, 0, *before[-2:])[-2:]
    position = min(j // 2**form.shift, form.n_positions - 1)
    return (q1 * form.n_classes + q2 * form.n_classes // form.n_values) * form.n_positions + position


def count_qualities(values, seq_len, form, step):
    counts = np.zeros((form.n_contexts, form.n_values), np.uint32)
    for read in cut_reads(values, seq_len)[::step]:
        for j, value in enumerate(read):
            counts[context_of(form, read[:j], j), value] += 1
    return counts


def quality_tables(counts, form):
    freq = [normalise(row) for row in counts.tolist()]
    tables = b"".join(_table(row) if sum(row) else bytes([NEVER_MET]) for row in freq)
    return np.array(freq, np.uint16), u8(tables)


def _table(freq):
    out, v = b"", 0
    while v < len(freq):
        out += put_frequency(freq[v])
        v += 1
        if freq[v - 1] == 0:
            zeros = next((k for k, f in enumerate(freq[v:]) if f), len(freq) - v)
            out += bytes([zeros])
            v += zeros
    return out


def lanes_of(n, n_lanes):
    """Numbers of the reads of each lane."""
    return [range(k * n // n_lanes, (k + 1) * n // n_lanes) for k in range(n_lanes)]


def encode_qualities(values, seq_len, form, freq, n_lanes):
    reads, freq, lanes = cut_reads(values, seq_len), freq.tolist(), []
    for lane in lanes_of(len(reads), n_lanes):
        x, words = LOW, []
        for read in (reads[number] for number in reversed(lane)):
            for j in reversed(range(len(read))):
                x = put_symbol(x, freq[context_of(form, read[:j], j)], read[j], words)
        lanes.append(put_words([*words, x % 65_536, x // 65_536]))
    return np.array([len(lane) for lane in lanes], np.uint32), u8(b"".join(lanes))


def read_tables(tables, form):
    """The frequencies of each context."""
    source, out = Source(tables), []
    for _ in range(form.n_contexts):
        if source.left[:1] == bytes([NEVER_MET]):
            source.number(1)
            out.append([TOTAL] + [0] * (form.n_values - 1))  # reads 0 and leaves the state as it is
            continue
        freq = []
        while len(freq) < form.n_values:
            at_zero = source.left[:1] == b"\0"
            freq.append(source.frequency())
            freq += [0] * (source.number(1) if at_zero else 0)
        if len(freq) != form.n_values or sum(freq) != TOTAL:
            raise KernelError(BAD_FREQUENCIES)
        out.append(freq)
    if source.left:
        raise KernelError(LONG_STREAM)
    return out


def decode_qualities(payload, lanes, tables, seq_len, form):
    if not form.valid or not 0 < lanes.size < 256:
        raise KernelError(BAD_COLUMN)
    freq, out, payload = read_tables(tables, form), bytearray(), Source(payload)
    for size, lane in zip(lanes.tolist(), lanes_of(seq_len.size, lanes.size), strict=True):
        source, payload.left = Source(payload.left[:size]), payload.left[size:]
        x = source.number(2) * 65_536 + source.number(2)
        if 4 + len(source.left) != size or size % 2:
            raise KernelError(SHORT_STREAM)
        for n in seq_len[lane.start : lane.stop].tolist():
            read = []
            for j in range(n):
                value, x = get_symbol(x, freq[context_of(form, read, j)], source)
                read.append(value)
            out += bytes(read)
        if source.left or x != LOW:
            raise KernelError(LONG_STREAM)
    if payload.left:
        raise KernelError(LONG_STREAM)
    return u8(out)
