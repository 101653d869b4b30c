"""What p-values look like when nothing differs: order statistics, their band, genomic control."""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Newton's steps; from the mean five or six reach the last digit.
_MAX_STEPS = 50
#: Terms of the continued fraction: about the square root of n are needed.
_MAX_TERMS = 20_000


def genomic_control(pvalues: Floats) -> float:
    """Lambda: the median of chi-square quantiles (1 degree of freedom) of p-values over its expectation.

    Parameters
    ----------
    pvalues
        (P,) in 0 < p <= 1. They stand for statistics whose degrees of freedom differ.

    Returns
    -------
    1 where p-values are uniform, more where they are too small; NaN without any.

    Notes
    -----
    Devlin and Roeder, Biometrics 55:997 (1999). The quantile falls as p grows, so the median of quantiles is
    the mean of those of the one or two p-values in the middle: no others are computed.
    """
    if not pvalues.size:
        return math.nan
    middle = [(pvalues.size - 1) // 2, pvalues.size // 2]
    found = np.partition(pvalues, middle)[middle]
    return float(np.mean([_chi2_quantile(p) for p in found.tolist()])) / _chi2_quantile(0.5)


def _chi2_quantile(pvalue: float) -> float:
    """The value that a chi-square variable of 1 degree of freedom passes with this probability."""
    half = max(pvalue / 2, math.ulp(0.0))
    return NormalDist().inv_cdf(half) ** 2


def band_ranks(n: int, most: int = 160) -> npt.NDArray[np.int64]:
    """Ascending ranks from 1 to n, close to each other on a logarithmic axis of either end."""
    low = np.geomspace(1, n, most)
    return np.unique(np.rint(np.concatenate([low, n + 1 - low])).astype(np.int64))


def order_quantiles(ranks: npt.NDArray[np.int64], n: int, share: float) -> Floats:
    """The quantile ``share`` of the i-th smallest of n uniform values, for each rank i.

    Notes
    -----
    The i-th of n follows Beta(i, n + 1 - i) (David and Nagaraja, Order Statistics, 3rd ed., 2.1). Newton's
    method on log F over log x: that density is log-concave over log x, so log F is concave, every step after
    the first comes from the left, and none leads past the root.
    """
    a, b = ranks.astype(np.float64), (n + 1 - ranks).astype(np.float64)
    log_beta = _log_gamma(a) + _log_gamma(b) - math.lgamma(n + 1)
    at = np.log(a / (n + 1))
    for _ in range(_MAX_STEPS):
        x = np.exp(at)
        log_height = a * at + (b - 1) * np.log1p(-x) - log_beta
        below = _beta_below(a, b, x, log_beta)
        step = (math.log(share) - np.log(below)) * below / np.exp(log_height)
        at += step
        if np.abs(step).max() < 1e-12:
            break
    return np.exp(at)


def _log_gamma(values: Floats) -> Floats:
    return np.array([math.lgamma(value) for value in values.tolist()])


def _beta_below(a: Floats, b: Floats, x: Floats, log_beta: Floats) -> Floats:
    """Probability that a Beta(a, b) variable is below x: the regularised incomplete beta function."""
    swapped = x > (a + 1) / (a + b + 2)  # where the fraction of the other tail converges sooner
    one, other = np.where(swapped, b, a), np.where(swapped, a, b)
    y = np.where(swapped, 1 - x, x)
    log_front = one * np.log(y) + other * np.log1p(-y) - log_beta - np.log(one)
    tail = np.exp(log_front) / _beta_fraction(one, other, y)
    return np.asarray(np.where(swapped, 1 - tail, tail))


def _beta_fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """The continued fraction 8.17.22 of the NIST handbook, by the method of Lentz."""
    value, c, d = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    for term in range(1, _MAX_TERMS):
        m = term // 2
        if term % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + step * d)
        c = 1 + step / c
        value *= c * d
        if np.abs(c * d - 1).max() < 1e-14:
            break
    return value


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
