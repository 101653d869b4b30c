"""Questions to a stored panel: one variant and its neighbours, the pairs of a region, a square matrix.

Axes in docstrings: V variants of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..columns import Array
from ..regions import Region
from .correlate import Genotypes, r_matrix
from .find import Finder
from .pairs import Pairs, PreparedTile, Rule, pairs_of_tile
from .table import as_table, schema
from .tiles import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from ..panel.stored import StoredPanel

#: Columns that one call of the kernel compares a variant with.
_COLUMNS = 1 << 14


class R2Matrix(NamedTuple):
    """LD of V variants.

    Attributes
    ----------
    ids
        V.
    start_bp
        (V,) int64. 0-based positions.
    r2
        (V, V) float64, symmetric, 1 on the diagonal. NaN where one of the two does not vary among the samples
        that both know; signed r where that was asked for.
    """

    ids: tuple[str, ...]
    start_bp: Array
    r2: Array


def r2_matrix(
    panel: str | StoredPanel,
    region: str | Region,
    *,
    signed: bool = False,
    unphased: bool = False,
    workers: int = 1,
) -> R2Matrix:
    """r2 of all pairs of variants in a region of a panel.

    Where both variants are phased, of haplotypes; else the squared correlation of genotypes, as plink's --r2.

    Parameters
    ----------
    panel
        Its folder or s3:// address, or the panel, open.
    region
        Such as ``chr20`` or ``chr20:1M-2M`` (1-based, both ends included), or a Region.
    signed
        Give r, with the sign of ALT with ALT, not r2.
    unphased
        Compare genotypes where phase is known too.
    workers
        Threads.

    Returns
    -------
    The ids and positions of the V variants, and the (V, V) matrix.

    Raises
    ------
    InputError
        ``not-a-panel``, ``unknown-contig``, ``bad-region``, ``no-variants``.
    CorruptDataError
        ``bad-checksum`` and the like: the panel is damaged.

    Notes
    -----
    Reads the blocks that the region meets. Holds 8·V·V bytes, and the bits of the variants twice.
    """
    finder = Finder(_opened(panel))
    first, end = finder.region(region)
    return matrix_of(finder, np.arange(first, end), signed=signed, is_unphased=unphased, workers=workers)


def matrix_of(
    finder: Finder, numbers: Array, *, signed: bool = False, is_unphased: bool = False, workers: int = 1
) -> R2Matrix:
    """r2 of all pairs of some variants, in the order that is asked for; the rest is r2_matrix's."""
    sites = finder.sites_at(numbers)
    some = Genotypes(sites.is_phased, finder.planes_at(numbers))
    r = r_matrix(some, len(finder.panel.samples), is_unphased=is_unphased, workers=workers)
    return R2Matrix(tuple(sites.id), sites.start_bp, r if signed else np.square(r, out=r))


def dprime_matrix(finder: Finder, span: tuple[int, int], rule: Rule, workers: int) -> Array:
    """(V, V) absolute D' of all pairs of a run of variants, 1 on the diagonal; NaN where there is none."""
    first, end = span
    block, samples = finder.run(first, end), len(finder.panel.samples)
    out = np.full((end - first, end - first), np.nan)
    np.fill_diagonal(out, 1)
    with ThreadPoolExecutor(workers, "bams3-ld") as pool:
        for some, _ in pairs_of_tile(block, block, samples, Limits(), rule, pool, workers + 1):
            a, b = some.a - first, some.b - first
            out[a, b] = out[b, a] = np.abs(some.found["dprime"])
    return out


def neighbours(finder: Finder, number: int, distance_bp: int, rule: Rule) -> Iterator[pa.Table]:
    """Pairs of one variant, which is a, with those up to a distance, which are b, in their order.

    Notes
    -----
    Reads the blocks that the neighbours lie in, and holds them.
    """
    first, end = finder.around(number, distance_bp)
    row, like = finder.run(number, number + 1), schema(with_counts=False, with_numbers=False)
    for low in range(first, end, _COLUMNS):
        columns = finder.run(low, min(low + _COLUMNS, end))
        tile = PreparedTile(row, columns, len(finder.panel.samples), rule)
        all_of_them = np.zeros(1, np.int64), np.full(1, len(columns.sites))
        found = tile.pairs((0, 1), *all_of_them)
        found = Pairs(*(column[found.b != number] for column in found))
        yield as_table(found, row, columns, finder.contigs, like)


def pairs_of_region(
    finder: Finder, span: tuple[int, int], limits: Limits, rule: Rule, workers: int
) -> Iterator[pa.Table]:
    """All pairs of a run of variants that pass, as ld-tile has them.

    Notes
    -----
    Holds the variants of the run.
    """
    block, like = finder.run(*span), schema(with_counts=False, with_numbers=False)
    samples = len(finder.panel.samples)
    with ThreadPoolExecutor(workers, "bams3-ld") as pool:
        for some, _ in pairs_of_tile(block, block, samples, limits, rule, pool, workers + 1):
            yield as_table(some, block, block, finder.contigs, like)


def _opened(panel: str | StoredPanel) -> StoredPanel:
    from ..panel.stored import open_panel  # noqa: PLC0415  # a twentieth of a second

    return open_panel(panel) if isinstance(panel, str) else panel
