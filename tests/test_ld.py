"""Linkage disequilibrium against brute force: every statistic, every pair once, every set of instructions."""

import functools
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from ld_twins import block_of, random_calls, statistics

from bams3.errors import InputError
from bams3.kernels import ld as kernels
from bams3.ld.blocks import Block
from bams3.ld.pairs import Rule, joined, pairs_of_tile
from bams3.ld.tiles import Limits, ends_of, tiling_of, tiling_of_tiles
from bams3.variants import Planes

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
        return joined([some for some, _ in pairs_of_tile(block, block, samples, limits, rule, pool, 2)])


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


@pytest.mark.native
@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize(("samples", "missing", "haploid", "phased"), PANELS)
def test_every_statistic_is_that_of_brute_force(samples, missing, haploid, phased, instructions, monkeypatch):
    monkeypatch.setattr(kernels, "instruction_sets", lambda: (instructions,))
    block, wanted = panel_and_all_pairs(samples, missing, haploid, phased)
    check(all_pairs(block, samples, ALL), wanted)


@pytest.mark.native
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


# ---- every pair once ----


def is_within(block, limits, a, b):
    """Whether two variants are to be paired, by the words of Limits."""
    contig, start_bp = block.sites.contig, block.sites.start_bp
    if limits.inter_chr:
        return True
    return (
        contig[a] == contig[b]
        and (limits.max_distance_bp is None or start_bp[b] - start_bp[a] <= limits.max_distance_bp)
        and (limits.max_variants is None or b - a <= limits.max_variants)
    )


def cut(calls, is_phased, contig, start_bp, first, end):
    """A block of some variants of a panel."""
    own = slice(first, end)
    return block_of(
        calls[own], is_phased=is_phased[own], contig=contig[own], start_bp=start_bp[own], first=first
    )


LIMITS = {
    "none": Limits(),
    "inter_chr": Limits(inter_chr=True),
    "few bp": Limits(max_distance_bp=30),
    "many bp": Limits(max_distance_bp=400),
    "few variants": Limits(max_variants=3),
    "many variants": Limits(max_variants=25),
    "both": Limits(max_distance_bp=200, max_variants=12),
}


def test_pairs_are_the_same_however_few_are_held_at_once(monkeypatch):
    calls = random_calls(np.random.default_rng(2), 600, 20)
    block = block_of(calls, is_phased=np.random.default_rng(2).random(600) < 0.6)
    before = all_pairs(block, 20, ALL)
    for most in (0, 1000, 30_000):
        monkeypatch.setattr("bams3.ld.pairs._MOST_OF_A_STEP", most)
        found = all_pairs(block, 20, ALL)
        for column, wanted in zip(found[:3], before[:3], strict=True):
            np.testing.assert_array_equal(column, wanted)
        for name in kernels.PAIR.names[2:]:
            np.testing.assert_array_equal(found.found[name], before.found[name])


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 9])
def test_tiles_hold_every_pair_once(blocks, limits):
    calls, is_phased = panel_of(20, 0.05, 0.0, "mixed", variants=61, seed=blocks)
    rng = np.random.default_rng(blocks)
    contig = np.repeat([0, 1, 2], [40, 1, 20])
    start_bp = np.concatenate([np.sort(rng.integers(0, 900, n)) for n in (40, 1, 20)])  # doubled ones too
    whole = cut(calls, is_phased, contig, start_bp, 0, 61)
    once = all_pairs(whole, 20, ALL, Limits(inter_chr=True))
    kept = [is_within(whole, limits, a, b) for a, b in zip(once.a, once.b, strict=True)]
    tiling = tiling_of(ends_of(contig, start_bp, limits), blocks, is_band=limits.is_band)
    assert tiling.pairs == sum(is_within(whole, limits, a, b) for a in range(61) for b in range(a + 1, 61))
    assert [tile.number for tile in tiling.tiles] == list(range(1, len(tiling.tiles) + 1))
    assert limits.is_band or len(tiling.tiles) == blocks * (blocks + 1) // 2
    parts = []
    for tile in tiling.tiles:
        sides = [cut(calls, is_phased, contig, start_bp, *span) for span in (tile.rows, tile.columns)]
        with ThreadPoolExecutor(2) as pool:
            found = list(pairs_of_tile(*sides, 20, limits, ALL, pool, 2))
        assert sum(pairs for _, pairs in found) == tile.pairs
        parts.append(joined([some for some, _ in found]))
        assert (np.diff(parts[-1].a << 32 | parts[-1].b) > 0).all()
    together = joined(parts)
    order = np.lexsort((together.b, together.a))
    for column, wanted in zip(together[:3], once[:3], strict=True):
        np.testing.assert_array_equal(column[order], wanted[kept])
    for name in kernels.PAIR.names[2:]:
        np.testing.assert_array_equal(together.found[name][order], once.found[name][kept])


@pytest.mark.parametrize("tiles", [1, 3, 6, 10, 15, 21, 45, 105, 1275])
def test_the_numbers_of_tiles_of_the_seed_are_those_of_blocks(tiles):
    ends = np.full(3000, 3000)
    tiling = tiling_of_tiles(ends, tiles, is_band=False)
    assert len(tiling.tiles) == tiles == tiling.blocks * (tiling.blocks + 1) // 2
    assert tiling.pairs == 3000 * 2999 // 2


@pytest.mark.parametrize(("tiles", "nearest"), [(2, "1 and 3"), (44, "36 and 45"), (1274, "1,225 and 1,275")])
def test_another_number_names_the_nearest(tiles, nearest):
    with pytest.raises(InputError) as refused:
        tiling_of_tiles(np.full(3000, 3000), tiles, is_band=False)
    assert f"nearest numbers are {nearest};" in refused.value.hint


# ---- the least r2, without rounding ----


def fourfold_ties(n, r2):
    """Tables of n haplotypes with exactly this r2: (both ALT, ALT of the first, ALT of the second)."""
    for x in range(1, n):
        for y in range(1, n):
            spread = Fraction(x * (n - x) * y * (n - y)) * r2
            root = math.isqrt(spread.numerator) if spread.denominator == 1 else 0
            both, rest = divmod(x * y + root, n)
            if root and root * root == spread and not rest and x + y - n <= both <= min(x, y):
                yield both, x, y


def haplotypes_block(both, x, y, samples):
    """Two variants of haplotypes that lie in this table."""
    alt = np.zeros((2, 2 * samples), np.int8)
    alt[0, :x] = 1
    alt[1, x - both : x - both + y] = 1
    bits = np.packbits(
        np.pad(alt.reshape(2, 2, samples), ((0, 0), (0, 0), (0, -samples % 64))), axis=2, bitorder="little"
    )
    planes = Planes(*np.ascontiguousarray(bits.transpose(1, 0, 2)).view(np.uint64), None, None)
    few = block_of([[(0, 0)]] * 2)
    return Block(0, few.sites, planes)


@pytest.mark.parametrize("r2", [Fraction(1, 10), Fraction(1, 5), Fraction(1, 4), Fraction(9, 10)], ids=str)
def test_the_least_r2_is_met_exactly_by_two_million_haplotypes(r2):
    n, samples = 40, 1_000_000
    factor = 2 * samples // n
    ties = list(itertools.islice(fourfold_ties(n, r2), 0, None, 7))[:3]
    assert ties
    for both, x, y in ties:
        tie = haplotypes_block(both * factor, x * factor, y * factor, samples)
        below = haplotypes_block(both * factor - 1, x * factor, y * factor, samples)
        more = Rule(min_r2=r2 + Fraction(1, 10**6))
        kept = [
            len(all_pairs(block, samples, rule).a)
            for block, rule in ((tie, Rule(min_r2=r2)), (tie, more), (below, Rule(min_r2=r2)))
        ]
        assert kept == [1, 0, 0]
