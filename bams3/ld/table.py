"""Pairs of variants as Arrow tables: a row a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..columns import Array
from ..variants import Sites, Texts
from .blocks import Block
from .pairs import Pairs

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {
    "chrom_a": "string",
    "pos_a": "int64",
    "id_a": "string",
    "chrom_b": "string",
    "pos_b": "int64",
    "id_b": "string",
    "n": "int64",
    "r": "double",
    "r2": "double",
    "d": "double",
    "dprime": "double",
    "p": "double",
    "phased": "bool",
}
"""Columns of pairs and their Arrow types; positions are 1-based. A number that there is not is null."""

COUNTS = ("ref_ref", "ref_alt", "alt_ref", "alt_alt")
"""Haplotypes by the alleles of a and b: whole numbers where phased, else maximum-likelihood ones."""

NUMBERS = ("number_a", "number_b")
"""Numbers of the variants in their panel, by which tiles are merged."""

_FLOATS = ("r", "r2", "d", "dprime", "p")


def schema(*, with_counts: bool, with_numbers: bool) -> pa.Schema:
    """The Arrow schema of pairs."""
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

    fields = [(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()]
    fields += [(name, pa.float64()) for name in COUNTS if with_counts]
    fields += [(name, pa.int64()) for name in NUMBERS if with_numbers]
    return pa.schema(fields)


def encoding(like: pa.Schema) -> dict[str, Any]:
    """How Parquet files hold such columns: floats byte by byte, which is a third faster."""
    floats = [name for name in like.names if name in (*_FLOATS, *COUNTS)]
    return {
        "use_dictionary": [name for name in like.names if name not in floats and name != "phased"],
        "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        "compression_level": 1,
    }


def as_table(pairs: Pairs, rows: Block, columns: Block, contigs: Sequence[str], like: pa.Schema) -> pa.Table:
    """Pairs of a tile, with the columns of ``like``.

    Parameters
    ----------
    contigs
        Names, by number.
    """
    import pyarrow as pa  # noqa: PLC0415

    found = pairs.found
    out: dict[str, Any] = {
        **_places("a", rows.sites, pairs.a - rows.first, contigs),
        **_places("b", columns.sites, pairs.b - columns.first, contigs),
        "n": found["n"].astype(np.int64),
        **{name: pa.array(found[name], from_pandas=True) for name in _FLOATS},
        "phased": pairs.is_phased,
        **{name: found["haplotypes"][:, k] for k, name in enumerate(COUNTS)},
        **dict(zip(NUMBERS, (pairs.a, pairs.b), strict=True)),
    }
    return pa.table([pa.array(out[name]) for name in like.names], schema=like)


def _places(side: str, sites: Sites, which: Array, contigs: Sequence[str]) -> dict[str, Any]:
    """Contig, position and id of some variants."""
    import pyarrow as pa  # noqa: PLC0415

    chosen = pa.array(which)
    return {
        f"chrom_{side}": pa.array(contigs).take(pa.array(sites.contig[which])),
        f"pos_{side}": sites.start_bp[which] + 1,
        f"id_{side}": _strings(sites.id).take(chosen),
    }


def _strings(texts: Texts) -> pa.Array:
    """The same texts; what is no UTF-8 stays as it is."""
    import pyarrow as pa  # noqa: PLC0415

    start = pa.py_buffer(texts.start.astype(np.int32))
    return pa.StringArray.from_buffers(len(texts), start, pa.py_buffer(texts.data))
