"""Fields of the records of a store: which columns they need, read and made row group by row group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from . import kernels
from .columns import Array, Columns
from .errors import InputError
from .fields import FIELDS, Field, stored_types, tag_field, tag_kind
from .format import spec
from .pipeline import ordered_map
from .reader import StoreIndex
from .rowgroups import ChunkReader

if TYPE_CHECKING:
    import pyarrow


class Selection:
    """Fields by name, as a store has them.

    Parameters
    ----------
    names
        Those of fields.FIELDS, and ``tag:NM`` for a tag.

    Raises
    ------
    InputError
        ``unknown-column`` for a name that is none, or a tag that no record has, naming those that there
        are; ``mixed-tag`` for a tag whose values have types that make no column.
    """

    def __init__(self, reader: StoreIndex, names: Sequence[str]) -> None:
        self.names = list(dict.fromkeys(names))
        self._contigs = reader.contigs.names
        plain = [name for name in self.names if name in FIELDS]
        self._tags = [name.removeprefix(spec.TAG_PREFIX) for name in self.names if name not in plain]
        stored = _stored_columns(reader) if self._tags else set()
        for name in self.names:
            if name not in FIELDS and not (
                name.startswith(spec.TAG_PREFIX) and stored_types(stored, name[4:])
            ):
                raise _unknown(name, stored or _stored_columns(reader))
        self._kinds = {tag: tag_kind(stored_types(stored, tag)) for tag in self._tags}
        #: Stored columns that the fields are made of.
        self.needs = set().union(*(FIELDS[name][0] for name in plain)) | ({"layout"} if self._tags else set())
        self.needs |= {name for name in stored for tag in self._tags if name.startswith(f"tag:{tag}:")}

    def fields(self, columns: Columns, keep: Array | None) -> dict[str, Field]:
        """The fields of the records of a row group that ``keep`` marks (None: all)."""
        index = np.arange(columns.n) if keep is None else np.flatnonzero(keep)
        out = {}
        for name in self.names:
            if name in FIELDS:
                out[name] = FIELDS[name][1](columns, index, self._contigs)
            else:
                tag = name.removeprefix(spec.TAG_PREFIX)
                types = stored_types((spec.TAG_PREFIX + key for key in columns.tags), tag)
                out[name] = tag_field(columns, tag, types, self._kinds[tag], index)
        return out

    def of_none(self) -> dict[str, Field]:
        """The fields of no record at all."""
        return self.fields(kernels.split(b"", 0), None)


def _stored_columns(reader: StoreIndex) -> set[str]:
    """Names of all columns that chunks have."""
    return {name for _, chunk in reader.all_chunks() for name in chunk.directory.columns}


def _unknown(name: str, stored: set[str]) -> InputError:
    tags = sorted({column[:6] for column in stored if column.startswith(spec.TAG_PREFIX)})
    hint = f"there are {', '.join([*FIELDS, *tags])}"
    what = "no record has it" if name.startswith(spec.TAG_PREFIX) else "no such column"
    return InputError(f"{name}: {what}", kind="unknown-column", hint=hint)


def select(
    selection: Selection, groups: Iterable[tuple[ChunkReader, int, Array | None]], workers: int = 1
) -> Iterator[dict[str, Field]]:
    """The fields of row groups, as StoreReader.groups gives them with the columns that are needed.

    Where there is none: one run of no records, so that a table has its columns.
    """
    tasks = iter(groups)
    first = next(tasks, None)
    if first is None:
        yield selection.of_none()
        return

    def work(task: tuple[ChunkReader, int, Array | None]) -> dict[str, Field]:
        chunk, group, keep = task
        return selection.fields(chunk.columns(group), keep)

    with ThreadPoolExecutor(workers, thread_name_prefix="bams3") as pool:
        yield from ordered_map(pool, work, chain([first], tasks), workers + 1)


def to_numpy(runs: Iterable[dict[str, Field]]) -> dict[str, Array]:
    """All runs as one array a field."""
    found = list(runs)
    out = {}
    for name in found[0]:
        parts = [run[name].numpy() for run in found]
        masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
        join = np.ma.concatenate if masked else np.concatenate
        out[name] = join(parts)
    return out


def to_arrow(runs: Iterable[dict[str, Field]]) -> pyarrow.Table:
    """All runs as one table."""
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

    return pa.concat_tables([arrow_table(run) for run in runs])


def arrow_table(run: dict[str, Field]) -> pyarrow.Table:
    """One run as a table."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.table({name: field.arrow() for name, field in run.items()})
