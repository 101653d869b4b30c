"""Linkage disequilibrium against brute force: every statistic, every pair once, every set of instructions."""

import functools
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from ld_twins import block_of, random_calls, statistics

from bams3.kernels import ld as kernels
from bams3.ld.pairs import Rule, joined, pairs_of_tile
from bams3.ld.tiles import Limits

ALL = Rule(min_r2=Fraction(0))
NO_LIMITS = Limits()
SETS = kernels.instruction_sets()

PANELS = [  # samples, missing, haploid, phased
    (1, 0.0, 0.0, True),
    (63, 0.0, 0.0, True),
    (64, 0.1, 0.0, True),
    (65, 0.3, 0.0, True),
    (65, 0.05, 0.5, True),
    (40, 0.0, 1.0, True),
    (63, 0.0, 0.0, False),
    (64, 0.1, 0.0, False),
    (65, 0.3, 0.0, False),
    (130, 0.1, 0.4, False),
    (65, 0.05, 0.2, "mixed"),
    (129, 0.0, 0.0, "mixed"),
]


def panel_of(samples, missing, haploid, phased, variants=37, seed=1):
    rng = np.random.default_rng(seed)
    calls = random_calls(rng, variants, samples, missing=missing, haploid=haploid)
    calls[3] = [(0, call[1] and 0) for call in calls[3]]  # monomorphic
    if missing:
        calls[5] = [(-1, -1)] * samples
    is_phased = rng.random(variants) < 0.6 if phased == "mixed" else np.full(variants, phased)
    return calls, is_phased


def all_pairs(block, samples, rule, limits=NO_LIMITS):
    with ThreadPoolExecutor(2) as pool:
        return joined(list(pairs_of_tile(block, block, samples, limits, rule, pool, 2)))


@functools.cache
def panel_and_all_pairs(samples, missing, haploid, phased):
    """A panel, and what brute force finds of all its pairs."""
    calls, is_phased = panel_of(samples, missing, haploid, phased)
    return block_of(calls, is_phased=is_phased), expected(calls, is_phased, ALL)


def expected(calls, is_phased, rule):
    """By (a, b): what brute force finds of every pair that passes."""
    out = {}
    for a in range(len(calls)):
        for b in range(a + 1, len(calls)):
            phased = bool(is_phased[a] and is_phased[b]) and not rule.is_unphased
            found = statistics(calls[a], calls[b], is_phased=phased, is_em=rule.is_em)
            if found and found[1] >= rule.min_r2 and found[5] <= rule.max_p:
                out[a, b] = (phased, *found)
    return out


def check(found, wanted, is_em=False):
    assert list(zip(found.a.tolist(), found.b.tolist(), strict=True)) == sorted(wanted)
    for a, b, is_phased, one in zip(*found, strict=True):
        phased, n, r2, r, d, dprime, p = wanted[a, b]
        assert (is_phased, one["n"]) == (phased, n)
        for name, value in (("r2", r2), ("r", r), ("d", d), ("dprime", dprime)):
            assert one[name] == pytest.approx(float(value), abs=2e-6, nan_ok=True), (a, b, name)
        assert one["p"] == pytest.approx(p, rel=1e-4 if is_em else 1e-6, abs=1e-300)  # EM's by search


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize(("samples", "missing", "haploid", "phased"), PANELS)
def test_every_statistic_is_that_of_brute_force(samples, missing, haploid, phased, instructions, monkeypatch):
    monkeypatch.setattr(kernels, "instruction_sets", lambda: (instructions,))
    block, wanted = panel_and_all_pairs(samples, missing, haploid, phased)
    check(all_pairs(block, samples, ALL), wanted)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(),
        Rule(min_r2=Fraction(1, 4), max_p=1e-3),
        Rule(is_unphased=True),
        Rule(is_unphased=True, is_em=True),
        Rule(is_em=True, min_r2=Fraction(1, 5)),
    ],
    ids=["defaults", "p", "unphased", "em", "mixed em"],
)
def test_a_rule_keeps_what_brute_force_keeps(rule):
    calls, is_phased = panel_of(70, 0.05, 0.1, "mixed", seed=3)
    wanted = expected(calls, is_phased, rule)
    assert 10 < len(wanted) < 600
    check(all_pairs(block_of(calls, is_phased=is_phased), 70, rule), wanted, rule.is_em)
