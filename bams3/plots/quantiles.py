"""What p-values look like when nothing differs: order statistics and their band."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def band_ranks(n: int, most: int = 160) -> npt.NDArray[np.int64]:
    """Ascending ranks from 1 to n, close to each other on a logarithmic axis of either end."""
    low = np.geomspace(1, n, most)
    return np.unique(np.rint(np.concatenate([low, n + 1 - low])).astype(np.int64))


def order_quantiles(ranks: npt.NDArray[np.int64], n: int, share: float) -> Floats:
    """The quantile ``share`` of the i-th smallest of n uniform values, for each rank i.

    It follows Beta(i, n + 1 - i) (David and Nagaraja, Order Statistics, 3rd ed., 2.1).
    """
    from scipy.special import betaincinv  # noqa: PLC0415  # a quarter of a second

    return np.asarray(betaincinv(ranks, n + 1 - ranks, share))


def thinned(across: Floats, up: Floats, limits: tuple[float, float], cells: int) -> npt.NDArray[np.int64]:
    """Which of many points to draw: one in a cell of a grid that is finer than a point.

    Parameters
    ----------
    across, up
        (P,) where points lie, from 0; those beyond ``limits`` are cut there.
    limits, cells
        The ends of both axes, and how many cells each of them has.

    Returns
    -------
    Ascending places of points; of a cell, the first.
    """
    key = np.zeros(across.size, np.int64)
    for values, limit in zip((across, up), limits, strict=True):
        key = key * (cells + 1) + (np.minimum(values / limit, 1) * cells).astype(np.int64)
    return np.sort(np.unique(key, return_index=True)[1])
