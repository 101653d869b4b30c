"""Tiles as one: pairs in the order of the panel, each tile of the plan exactly once."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrow_files import write_results, write_tsv
from ..errors import CorruptDataError, InputError
from .table import NUMBERS, encoding, schema

if TYPE_CHECKING:
    import pyarrow as pa

#: Where a Parquet file of pairs keeps its receipt.
METADATA_KEY = "bams3.ld"
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Part:
    """A tile of a file: its rows begin with row ``first`` of the file."""

    path: Path
    tile: int
    block: int
    first: int
    kept: int


def receipt(asked: dict[str, Any], done: list[dict[str, int]], cut: dict[str, int] | None) -> dict[str, str]:
    """What a Parquet file of pairs says of itself; ``cut`` only where it holds some of the tiles."""
    told: dict[str, Any] = {"asked": asked}
    told |= {name: sum(tile[name] for tile in done) for name in ("pairs", "kept")}
    if cut is not None:
        told |= {"cut": cut, "tiles": done}
    return {METADATA_KEY: json.dumps({**told, "crc32": _crc32(told)})}


def _crc32(told: dict[str, Any]) -> int:
    """Of a receipt without it."""
    return zlib.crc32(json.dumps(told).encode())


def receipt_in(path: Path) -> dict[str, Any]:
    """The receipt in a Parquet file of tiles.

    Raises
    ------
    InputError
        ``not-tiles``; ``no-such-file``.
    CorruptDataError
        ``damaged``.
    """
    from pyarrow import parquet  # noqa: PLC0415  # a tenth of a second

    if not path.exists():
        raise InputError(f"{path}: no such file", kind="no-such-file")
    with _reading(path):
        with parquet.ParquetFile(path) as file:
            found = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
            rows, names = file.metadata.num_rows, file.schema_arrow.names
        if found is None:
            raise _foreign(path)
        told: dict[str, Any] = json.loads(found)
        crc32 = told.pop("crc32")
        like = schema(with_counts=told["asked"]["counts"], with_numbers="tiles" in told)
        if (crc32, rows, names) != (_crc32(told), told["kept"], like.names):
            raise CorruptDataError(f"{path}: does not hold what it tells of", kind="damaged")
    return told


def check_rows(path: Path) -> None:
    """CorruptDataError ``damaged`` where a row of a file of pairs is not what was written."""
    from pyarrow import parquet  # noqa: PLC0415

    with _reading(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group)


def _foreign(path: Path) -> InputError:
    hint = "give what bams3 ld-tile --tile or --slice wrote, as Parquet"
    return InputError(f"{path}: holds no tiles of bams3 ld-tile", kind="not-tiles", hint=hint)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says of what Arrow cannot read that it is damaged, or another file."""
    from pyarrow import ArrowException  # noqa: PLC0415

    try:
        yield
    except (ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as err:
        if isinstance(err, OSError) and err.errno is not None:
            raise InputError(f"{path}: {err.strerror}", kind="not-tiles") from err
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if not is_parquet:
            raise _foreign(path) from err
        words = f"{path}: damaged: {str(err).partition(chr(10))[0]}"
        raise CorruptDataError(words, kind="damaged", hint="make it again") from err


def tiles_of(paths: Sequence[Path]) -> tuple[dict[str, Any], list[dict[str, int]], list[Part]]:
    """What was asked, what was done, and every tile of the plan in order.

    Raises
    ------
    InputError
        ``not-tiles``, ``no-such-file``; ``tile-mismatch`` for tiles of different plans; ``doubled-tile``;
        ``tiles-missing``, naming them.
    """
    receipts = [(path, receipt_in(path)) for path in paths]
    first_path, first = receipts[0]
    found: dict[int, tuple[Part, dict[str, int]]] = {}
    for path, told in receipts:
        if "tiles" not in told:
            hint = "give what bams3 ld-tile --tile or --slice wrote"
            raise InputError(f"{path} holds all pairs, not some tiles", kind="not-tiles", hint=hint)
        if (told["asked"], told["cut"]) != (first["asked"], first["cut"]):
            hint = "merge tiles of one panel, with the same limits, thresholds and number of tiles"
            message = f"{first_path} and {path} hold tiles of different plans"
            raise InputError(message, kind="tile-mismatch", hint=hint)
        for part, done in zip(parts_in(path, told["tiles"]), told["tiles"], strict=True):
            if part.tile in found:
                message = f"{found[part.tile][0].path} and {path} both hold tile {part.tile}"
                raise InputError(message, kind="doubled-tile", hint="leave one of them out")
            found[part.tile] = part, done
    n = first["cut"]["tiles"]
    if missing := sorted(set(range(1, n + 1)) - set(found)):
        names = ", ".join(map(str, missing[:_NAMED])) + ", ..." * (len(missing) > _NAMED)
        message = f"{len(missing):,} of {n:,} tiles are missing: {names}"
        raise InputError(message, kind="tiles-missing", hint="run them, and give their files too")
    inside = [found[number] for number in sorted(found)]
    return first["asked"], [done for _, done in inside], [part for part, _ in inside]


def write_merged(paths: Sequence[Path], output: Path) -> list[dict[str, int]]:
    """Write what one run would have written, from all tiles of a plan; what was done, tile by tile.

    Parameters
    ----------
    output
        TSV, or by its name Parquet; ``-`` is stdout.

    Raises
    ------
    InputError
        Those of tiles_of.
    """
    asked, done, parts = tiles_of(paths)
    like = schema(with_counts=asked["counts"], with_numbers=False)
    if str(output) == "-":
        write_tsv(merged(parts), like, sys.stdout.buffer)
    else:
        told = functools.partial(receipt, asked, done, None)
        write_results(merged(parts), like, output, told, encoding(like))
    return done


def parts_in(path: Path, tiles: Sequence[dict[str, int]]) -> list[Part]:
    """The tiles that lie one after the other in a file."""
    parts, first = [], 0
    for tile in tiles:
        parts.append(Part(path, tile["tile"], tile["block"], first, tile["kept"]))
        first += tile["kept"]
    return parts


def merged(parts: Sequence[Part]) -> Iterator[pa.Table]:
    """Pairs of tiles in the order of the panel, without the variants' numbers.

    Notes
    -----
    Holds a row group of each tile of a row of tiles, and what of them is in order.
    """
    for _, row in groupby(parts, lambda part: part.block):
        readers = [_Reader(part) for part in row]
        yield from _merged_row([reader for reader in readers if reader.fill()])


def _merged_row(readers: list[_Reader]) -> Iterator[pa.Table]:
    """Pairs of tiles that have the same rows: all those of some variants at a time."""
    import pyarrow as pa  # noqa: PLC0415

    while readers:
        limit = min(reader.last for reader in readers)
        low = min(reader.at for reader in readers)
        if limit == low and any(reader.last == low and reader.more() for reader in readers):
            continue  # the pairs of this variant go on
        limit = max(limit, low + 1)
        table = pa.concat_tables([reader.take(limit) for reader in readers])
        a, b = (table[name].to_numpy() for name in NUMBERS)
        yield table.take(pa.array(np.argsort(a << 32 | b, kind="stable"))).drop_columns(list(NUMBERS))
        readers = [reader for reader in readers if reader.fill()]


class _Reader:
    """The rows of a tile, in order, a row group at a time."""

    def __init__(self, part: Part) -> None:
        from pyarrow import parquet  # noqa: PLC0415

        self._part = part
        with _reading(part.path):
            self._file = parquet.ParquetFile(part.path, page_checksum_verification=True)
        self._tables = self._read()
        self._held: pa.Table | None = None

    def _read(self) -> Iterator[pa.Table]:
        at, first, end = 0, self._part.first, self._part.first + self._part.kept
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            low, high = max(first - at, 0), min(end - at, rows)
            if low < high:
                with _reading(self._part.path):
                    table = self._file.read_row_group(group)
                yield table.slice(low, high - low)
            at += rows
        if at < end:
            words = f"{self._part.path}: has fewer rows than it tells of"
            raise CorruptDataError(words, kind="damaged")

    @property
    def at(self) -> int:
        """The first variant of the next row."""
        assert self._held is not None
        return int(self._held[NUMBERS[0]][0].as_py())

    @property
    def last(self) -> int:
        """The first variant of the last row in hand; pairs of those before it are all in hand."""
        assert self._held is not None
        return int(self._held[NUMBERS[0]][-1].as_py())

    def fill(self) -> bool:
        """Whether there are rows left; reads some if none are in hand."""
        return (self._held is not None and self._held.num_rows > 0) or self.more()

    def more(self) -> bool:
        """Read on; False at the end."""
        import pyarrow as pa  # noqa: PLC0415

        table = next(self._tables, None)
        if table is None:
            return False
        self._held = table if self._held is None else pa.concat_tables([self._held, table])
        return True

    def take(self, limit: int) -> pa.Table:
        """The rows of variants below ``limit``."""
        assert self._held is not None
        n = int(np.searchsorted(self._held[NUMBERS[0]].to_numpy(), limit))
        out, self._held = self._held.slice(0, n), self._held.slice(n)
        return out
