"""Brute force for linkage disequilibrium: genotypes as lists of alleles, and one pair at a time."""

import functools
import math
from fractions import Fraction

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from bams3.ld.blocks import Block
from bams3.variants import Planes, Sites, Texts

MISSING = (-1, -1)
"""A sample without a call; a haploid call is (allele, None)."""


def random_calls(rng, variants, samples, *, missing=0.0, haploid=0.0):
    """(V, S) calls: pairs of alleles that go with those of the variant before, more or less."""
    shares = rng.uniform(0.05, 0.95, variants)
    calls, before = [], rng.integers(0, 2, (samples, 2))
    single = rng.random(samples) < haploid
    for share in shares:
        fresh = rng.random((samples, 2)) < share
        alleles = np.where(rng.random((samples, 2)) < 0.6, before, fresh).astype(int)
        before = alleles
        row = [(int(a), None if one else int(b)) for (a, b), one in zip(alleles, single, strict=True)]
        calls.append([MISSING if rng.random() < missing else call for call in row])
    return calls


def block_of(calls, *, is_phased=True, contig=None, start_bp=None, first=0):
    """A block of such calls; ``is_phased`` may tell it for every variant."""
    V, S = len(calls), len(calls[0])

    def plane(bit):
        bits = np.zeros((V, -(-S // 64) * 64), np.uint8)
        for v, row in enumerate(calls):
            bits[v, :S] = [bit(call) for call in row]
        return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)

    missing, haploid = plane(lambda call: call == MISSING), plane(lambda call: call[1] is None)
    planes = Planes(
        first=plane(lambda call: call[0] == 1),
        second=plane(lambda call: call[1] == 1),
        missing=missing if missing.any() else None,
        haploid=haploid if haploid.any() else None,
    )
    alleles = [[a for call in row for a in call if a in (0, 1)] for row in calls]
    sites = Sites(
        contig=np.zeros(V, np.int32) if contig is None else np.asarray(contig, np.int32),
        start_bp=np.arange(V, dtype=np.int64) * 10 if start_bp is None else np.asarray(start_bp, np.int64),
        id=Texts.of([f"v{first + v}" for v in range(V)]),
        ref=Texts.of(["A"] * V),
        alt=Texts.of(["C"] * V),
        is_phased=np.broadcast_to(np.asarray(is_phased), V).copy(),
        n_alt=np.array([sum(row) for row in alleles], np.int64),
        n_alleles=np.array([len(row) for row in alleles], np.int64),
        n_missing=np.array([row.count(MISSING) for row in calls], np.int64),
    )
    return Block(first, sites, planes)


def both_known(x, y):
    return [(a, b) for a, b in zip(x, y, strict=True) if MISSING not in (a, b)]


def haplotypes_of(x, y):
    """How many haplotypes have which two alleles, in samples that are known at both variants."""
    table = [[0, 0], [0, 0]]
    for a, b in both_known(x, y):
        for one, other in zip(a, b, strict=True):
            if one is not None and other is not None:
                table[one][other] += 1
    return table


def correlation(x, y):
    """(r squared as a fraction, its sign, number of values), or None where one does not vary."""
    n, sx, sy = len(x), sum(x), sum(y)
    covariance = n * sum(a * b for a, b in zip(x, y, strict=True)) - sx * sy
    vx, vy = n * sum(a * a for a in x) - sx * sx, n * sum(b * b for b in y) - sy * sy
    if not vx or not vy:
        return None
    return Fraction(covariance**2, vx * vy), np.sign(covariance), n


def likeliest(x, y):
    """Maximum-likelihood haplotypes of unphased samples, by a search and not by the cubic."""
    known, unsure = np.zeros((2, 2)), 0
    for a, b in both_known(x, y):
        if a[1] is None and b[1] is None:
            known[a[0]][b[0]] += 1
        elif a[1] is None or b[1] is None:
            continue
        elif sum(a) == sum(b) == 1:
            unsure += 1
        else:
            for one, other in zip(sorted(a), sorted(b), strict=True):
                known[one][other] += 1

    def table(same):
        return known + np.array([[same, unsure - same], [unsure - same, same]])

    def cost(same):
        h = table(same)
        logs = np.where(known > 0, known * np.log(np.where(h > 0, h, 1)), 0)
        if ((known > 0) & (h <= 0)).any():
            return math.inf
        pair = h[0, 0] * h[1, 1] + h[0, 1] * h[1, 0]
        return -(
            logs.sum() + (unsure * math.log(pair) if unsure and pair > 0 else 0 if not unsure else -math.inf)
        )

    grid = np.linspace(0, unsure, 41)
    best = min(grid, key=cost)
    if unsure:
        step = unsure / 40
        found = minimize_scalar(
            cost,
            bounds=(max(0, best - step), min(unsure, best + step)),
            method="bounded",
            options={"xatol": 1e-12},
        )
        best = found.x if found.fun < cost(best) else best
    return table(best)


def of_haplotypes(h):
    """(D, D', r) of a table of haplotypes."""
    h = np.asarray(h, float)
    n = h.sum()
    x, y = h[1].sum() / n, h[:, 1].sum() / n
    d = h[1, 1] / n - x * y
    most = min(x * (1 - y), (1 - x) * y) if d > 0 else min(x * y, (1 - x) * (1 - y))
    return d, d / most if most > 0 else math.nan, d / math.sqrt(x * (1 - x) * y * (1 - y))


def statistics(x, y, *, is_phased, is_em=False):
    """What is told of a pair: (n, exact r2, r, D, D', P), or None where it has no r2."""
    return _statistics(tuple(x), tuple(y), is_phased, is_em)


@functools.cache  # many tests ask about the same pairs
def _statistics(x, y, is_phased, is_em):
    samples = both_known(x, y)
    if is_phased:
        h = haplotypes_of(x, y)
        items = [(i, j) for i in (0, 1) for j in (0, 1) for _ in range(h[i][j])]
    else:
        items = [(sum(k or 0 for k in a), sum(k or 0 for k in b)) for a, b in samples]
    found = correlation(*zip(*items, strict=True)) if items else None
    if found is None:
        return None
    r2, sign, n = found
    h = h if is_phased else likeliest(x, y)
    d, dprime, r = of_haplotypes(h) if np.all(np.sum(h, 0)) and np.all(np.sum(h, 1)) else (math.nan,) * 3
    if is_em and not is_phased:
        r2, n = r * r, np.sum(h)
    else:
        r = sign * math.sqrt(r2)
    return len(samples), r2, r, d, dprime, chi2.sf(n * float(r2), 1)
