"""Where records begin, as the index of a BAM (BAI or CSI) knows it."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator

from .errors import InputError
from .store import Store
from .store.base import MissingObjectError

_INT32, _CHUNK = struct.Struct("<i"), struct.Struct("<QQ")
_CSI_START = struct.Struct("<iii")


def index_keys(name: str) -> tuple[str, ...]:
    """Names that the index of a BAM may have, in the order in which they are looked for."""
    stem = name.removesuffix(".bam")
    return tuple(dict.fromkeys(f"{base}{end}" for end in (".bai", ".csi") for base in (name, stem)))


def load_record_starts(store: Store, name: str) -> list[int]:
    """Virtual offsets of some records of a BAM, sorted, from the index beside it; none without one.

    An index that cannot be read is as none, and may well be wrong: look before you trust.
    """
    for key in index_keys(name):
        try:
            return record_starts_in(store.get(key))
        except MissingObjectError:
            continue
        except InputError as err:  # who may not list a bucket is told that what is not there is forbidden
            if err.kind != "no-permission":
                raise
    return []


def record_starts_in(data: bytes) -> list[int]:
    """Virtual offsets at which bins of a BAI or CSI have records, sorted; none of what is no index."""
    try:
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        if data.startswith(b"BAI\1"):
            return sorted(set(_starts(data, 4, extra_bytes=0, has_linear=True, meta=37_450)))
        if data.startswith(b"CSI\1"):
            _, depth, aux_bytes = _CSI_START.unpack_from(data, 4)
            meta = ((1 << 3 * (depth + 1)) - 1) // 7 + 1
            return sorted(set(_starts(data, 16 + aux_bytes, extra_bytes=8, has_linear=False, meta=meta)))
    except (struct.error, ValueError, OverflowError, OSError, EOFError, zlib.error):
        pass
    return []


def _starts(data: bytes, at: int, *, extra_bytes: int, has_linear: bool, meta: int) -> Iterator[int]:
    """Where the chunks of all bins begin, but of the bin that holds counts instead."""

    def count(at: int) -> int:
        n: int = _INT32.unpack_from(data, at)[0]
        if not 0 <= n <= len(data):
            raise ValueError("a count that cannot be")
        return n

    n_contigs, at = count(at), at + 4
    for _ in range(n_contigs):
        n_bins, at = count(at), at + 4
        for _ in range(n_bins):
            number, n_chunks = _INT32.unpack_from(data, at)[0], count(at + 4 + extra_bytes)
            at += 8 + extra_bytes
            if number != meta:
                yield from (start for start, _ in _CHUNK.iter_unpack(data[at : at + 16 * n_chunks]))
            at += 16 * n_chunks
        if has_linear:
            at += 4 + 8 * count(at)
