"""Tests of homogeneity against scipy, enumeration and known values; and p-values under the null."""

import numpy as np
import pytest
from chi2_twins import as_block, exact_pvalue, usable
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency, hypergeom, kstest, random_table

from bams3.chi2.results import qvalues
from bams3.chi2.twotier import (
    EXACT,
    METHODS,
    MONTE_CARLO,
    SKIPPED,
    Options,
    describe,
    two_tier_tests,
)
from bams3.genotype_counts import GENOTYPES
from bams3.kernels import KernelError
from bams3.kernels.chi2 import describe_tables, permute_tables


def results_of(tables, names=None, **options):
    block = as_block(tables, names)
    chosen = Options(**options)
    return two_tier_tests(block, describe(block, chosen), chosen)


def one(table, **options):
    return results_of([table], **options)


def methods(found):
    return [METHODS[code] for code in found.method]


def drawn(tables, n, max_tables=0, stop_at=0, seed=1):
    """Tiers of tables, drawn even where they are few."""
    block = as_block(tables)
    seeds = np.random.default_rng(seed).integers(0, 2**63, (len(tables), 4)).astype(np.uint64)
    return permute_tables(block.start, block.counts, seeds, max_tables, n, stop_at)


# ---- the first tier ----


def random_tables(n, rng, low=2, high=120, size=60):
    """Tables of batches x 4 genotypes whose expected counts are 5 or more."""
    for _ in range(n):
        shares = rng.dirichlet([4, 6, 4, 2])
        sizes = rng.integers(size, 5 * size, rng.integers(low, high + 1))
        yield rng.multinomial(sizes, shares)


def compare_with_scipy(tables):
    found = results_of(tables, min_expected_count=0)
    for i, table in enumerate(tables):
        used = table[:, table.sum(0) > 0]
        expected = chi2_contingency(used, correction=False)
        assert found.statistic[i] == pytest.approx(expected.statistic, rel=1e-12)
        assert found.pvalue[i] == pytest.approx(expected.pvalue, rel=1e-12)
        assert found.dof[i] == expected.dof
        assert found.total[i] == used.sum()
        v = np.sqrt(expected.statistic / used.sum() / (min(used.shape) - 1))
        assert found.cramers_v[i] == pytest.approx(v, rel=1e-12)


def test_the_standard_tier_is_that_of_scipy():
    compare_with_scipy([*random_tables(1500, np.random.default_rng(1))])


def compare_with_numpy(tables):
    """The same, all tables at once: chi2_contingency takes 0.5 ms for one."""
    seen = np.zeros((len(tables), max(map(len, tables)), 4))
    for place, table in zip(seen, tables, strict=True):
        place[: len(table)] = table
    rows, columns, total = seen.sum(2, keepdims=True), seen.sum(1, keepdims=True), seen.sum((1, 2))
    expected = rows * columns / total[:, None, None]
    n_rows, n_columns = np.count_nonzero(rows, (1, 2)), np.count_nonzero(columns, (1, 2))
    dof = (n_rows - 1) * (n_columns - 1)
    statistic = np.divide((seen - expected) ** 2, expected, np.zeros_like(seen), where=expected > 0)
    statistic = statistic.sum((1, 2))
    found = results_of(tables, min_expected_count=0)
    np.testing.assert_allclose(found.statistic, statistic, rtol=1e-12)
    np.testing.assert_allclose(found.pvalue, chi2.sf(statistic, dof), rtol=1e-12)
    np.testing.assert_array_equal(found.dof, dof)
    np.testing.assert_array_equal(found.total, total)
    v = np.sqrt(statistic / total / (np.minimum(n_rows, n_columns) - 1))
    np.testing.assert_allclose(found.cramers_v, v, rtol=1e-12)


@pytest.mark.slow
def test_the_standard_tier_is_that_of_scipy_on_a_hundred_thousand_tables():
    rng = np.random.default_rng(2)
    for _ in range(100):
        tables = [*random_tables(1000, rng)]
        compare_with_numpy(tables)
        compare_with_scipy(tables[:30])


@pytest.mark.parametrize("scale", [1, 1000, 1_000_000])
def test_large_counts_keep_their_digits(scale):
    table = np.array([[500, 700, 300], [510, 690, 310], [505, 702, 299]]) * scale
    expected = chi2_contingency(table)
    found = one(table)
    assert methods(found) == ["standard"]
    assert found.statistic[0] == pytest.approx(expected.statistic, rel=1e-12)
    assert found.pvalue[0] == pytest.approx(expected.pvalue, rel=1e-11)


def test_a_far_tail_is_not_zero():
    table = [[2000, 1000], [1000, 1900]]
    found = one(table)
    assert 0 < found.pvalue[0] < 1e-100
    wide = np.array([[3000, 1000], [1500, 2600]])
    found = one(wide)
    assert found.pvalue[0] == pytest.approx(chi2.sf(chi2_contingency(wide, correction=False).statistic, 1))
    assert 1e-300 < found.pvalue[0] < 1e-240


def adjusted_residuals(table):
    table = np.asarray(table, float)
    n, r, c = table.sum(), table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        e = r * c / n
        return (table - e) / np.sqrt(e * (1 - r / n) * (1 - c / n))


def test_the_worst_batch_has_the_largest_adjusted_residual():
    tables = [*random_tables(200, np.random.default_rng(3))]
    found = results_of(tables)
    first = as_block(tables).start[:-1]
    for i, table in enumerate(tables):
        residuals = adjusted_residuals(table)
        at = np.nanargmax(np.abs(residuals))
        assert found.worst_row[i] - int(first[i]) == at // 4
        assert found.worst_residual[i] == pytest.approx(residuals.flat[at], rel=1e-9)


# ---- the second tier ----

KNOWN = [
    ([[45, 52, 38, 2], [48, 50, 40, 1], [42, 55, 37, 3]], 1.7404093489, None, "monte_carlo", ""),
    ([[120, 85, 30, 15], [115, 90, 32, 18], [118, 88, 31, 17]], 0.5428583408, 0.9972771912, "standard", ""),
    ([[2, 3, 1, 1], [1, 4, 2, 1], [3, 2, 1, 1]], 2.0297619048, 0.9619744174, "exact", ""),
    ([[50, 60, 40, 0], [55, 58, 42, 0], [52, 62, 38, 0]], 0.4892494596, 0.9745390713, "standard", "NC"),
    ([[1, 40], [4, 35]], None, 0.1954, "exact", "BB,NC"),
]


@pytest.mark.native
@pytest.mark.parametrize(("table", "statistic", "pvalue", "method", "excluded"), KNOWN)
def test_known_values(table, statistic, pvalue, method, excluded):
    found = one(table)
    assert methods(found) == [method]
    if statistic is not None:
        assert found.statistic[0] == pytest.approx(statistic, abs=5e-11)
    if pvalue is not None:
        assert found.pvalue[0] == pytest.approx(pvalue, abs=1e-10 if statistic else 1e-4)
    left_out = [name for c, name in enumerate(GENOTYPES) if not found.genotypes[0] >> c & 1]
    assert ",".join(left_out) == excluded


def small_tables(n, rng):
    """Tables of few items, each of which can be enumerated."""
    found = []
    while len(found) < n:
        columns = rng.integers(2, 5)
        table = np.zeros((rng.integers(2, 7), 4), int)
        table[:, :columns] = rng.poisson(rng.uniform(0.3, 4, columns), (len(table), columns))
        if usable(table) and drawn([table], 1, max_tables=300_000)["draws"][0] == 0:
            found.append(table)
    return found


tiny = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=2, max_size=4).filter(usable)


@given(tiny)
def test_enumeration_is_that_of_fractions(table):
    found = drawn([table], 1, max_tables=1e12)[0]
    assert found["draws"] == 0
    assert found["pvalue"] == pytest.approx(exact_pvalue(table), rel=1e-12)


@pytest.mark.parametrize(
    "table",
    [
        [[0, 1]] + [[30, 0]] * 40,  # long
        [[2, 90]] + [[i % 3 == 0, 60 + i] for i in range(8)],
        [[3, 0, 0, 1], [200, 180, 150, 0]],  # better turned
        [[1, 0, 2, 1], [0, 300, 0, 0], [0, 0, 0, 2]],
        [[250, 1], [0, 249]],
    ],
)
@pytest.mark.native
def test_enumeration_of_tables_of_every_shape_is_that_of_fractions(table):
    found = drawn([table], 1, max_tables=300_000)[0]
    assert found["draws"] == 0
    assert found["pvalue"] == pytest.approx(exact_pvalue(table), rel=1e-11)


def test_drawing_gives_what_enumeration_gives():
    tables, n = small_tables(300, np.random.default_rng(7)), 20_000
    exact = drawn(tables, 1, max_tables=300_000)["pvalue"]
    found = drawn(tables, n)
    error = np.sqrt(exact * (1 - exact) / n)
    sure = error < 1e-9
    assert (found["far"][sure] == n).all()  # p = 1: equal tables count
    z = ((found["far"] / n - exact) / np.where(sure, 1, error))[~sure]
    assert z.size > 200
    assert np.mean(np.abs(z) < 4) >= 0.99
    assert 0.8 < z.std() < 1.2


def test_drawing_gives_the_far_tail_of_fourfold_tables():
    rng, tables, exact, n = np.random.default_rng(5), [], [], 200_000
    while len(tables) < 60:  # moves of items are left out where they cannot make a table far
        rows, column = rng.integers(60, 900, 2), int(rng.integers(40, 300))
        x = np.arange(max(0, column - rows[1]), min(rows[0], column) + 1)
        tail = far_tail(x, hypergeom(rows.sum(), rows[0], column).pmf(x), column * rows[0] / rows.sum())
        chosen = np.flatnonzero((tail < 0.02) & (tail > 1e-4))
        if chosen.size:
            first = x[i := rng.choice(chosen)]
            tables.append(np.array([[first, rows[0] - first], [column - first, rows[1] - column + first]]))
            exact.append(tail[i])
    z = (drawn(tables, n)["far"] / n - exact) / np.sqrt(np.array(exact) / n)
    assert np.mean(np.abs(z) < 4) >= 0.99
    assert 0.8 < z.std() < 1.2


def far_tail(x, probability, expected):
    """Of each x, how likely one is that is as far from what is expected."""
    distance = np.abs(x - expected)
    return ((distance >= distance[:, None] - 1e-9) * probability).sum(1)


def large_tables(n, rng):
    """Plates of like sizes, sizes that differ a thousandfold, rows of many thousands, and small columns."""
    for k in range(n):
        n_rows = rng.integers(3, 60)
        sizes = rng.integers(20, 120, n_rows)
        if k % 4 == 0:
            sizes = (rng.pareto(0.6, n_rows) * 20 + 5).clip(5, 100_000).astype(int)
        sizes = sizes * (100 if k % 5 == 4 else 1)
        shares = rng.dirichlet([(0.3, 2, 3, 0.1), (1, 1, 1, 1), (0.05, 2, 9, 0.5)][k % 3])
        yield rng.multinomial(sizes, shares)


def test_drawing_gives_what_scipy_draws():
    rng = np.random.default_rng(11)
    tables = [table for table in large_tables(88, rng) if usable(table)][:80]
    n, n_scipy, z = 20_000, 1_500, []
    for table, found in zip(tables, drawn(tables, n), strict=True):
        used = table[:, table.sum(0) > 0]
        expected = np.outer(used.sum(1), used.sum(0)) / used.sum()
        others = random_table(used.sum(1), used.sum(0), seed=rng).rvs(n_scipy)
        statistic = ((others - expected) ** 2 / expected).sum((1, 2))
        seen = ((used - expected) ** 2 / expected).sum()
        far = np.sum(statistic >= seen * (1 - 1e-9))
        pooled = (far + found["far"]) / (n + n_scipy)
        error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_scipy))
        z.append((found["far"] / n - far / n_scipy) / max(error, 1e-9))
    assert len(z) == 80
    assert np.mean(np.abs(z) < 4) >= 0.99
    assert 0.8 < np.std(z) < 1.2


@pytest.fixture(scope="module")
def null_tables():
    """20,000 tables that keep the null, most of the second tier: 12 plates, rare alleles, few no-calls."""
    rng = np.random.default_rng(20)
    tables = []
    for _ in range(20_000):
        q = rng.beta(0.4, 2)
        shares = np.array([(1 - q) ** 2, 2 * q * (1 - q), q * q, 0]) * 0.98 + [0, 0, 0, 0.02]
        tables.append(rng.multinomial(rng.integers(80, 96, 12), shares))
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [True, False])
def test_under_the_null_no_level_is_exceeded(null_tables, adaptive):
    found = results_of(null_tables, adaptive=adaptive, max_simulations=20_000, n_simulations=1_000)
    p = found.pvalue[(found.method == MONTE_CARLO) | (found.method == EXACT)]
    assert p.size > 10_000
    for level in (0.1, 0.05, 0.01, 0.001):
        assert np.mean(p <= level) <= level + 4 * np.sqrt(level * (1 - level) / p.size)
    no_call = found.pvalue_no_call
    for level in (0.1, 0.05, 0.01):
        assert np.mean(no_call <= level) <= level + 4 * np.sqrt(level * (1 - level) / no_call.size)


@pytest.mark.slow
def test_under_the_null_p_values_of_large_tables_are_uniform(null_tables):
    large = [table for table in null_tables if np.sort(table.sum(0))[-2] > 300]
    found = results_of(large, adaptive=False, n_simulations=1_000, min_expected_count=1e9)
    assert set(found.method) == {MONTE_CARLO}
    assert len(large) > 3_000
    assert kstest(found.pvalue, "uniform").pvalue > 0.001


def test_adaptive_drawing_stops_after_ten_as_far_out():
    found = one(KNOWN[0][0])
    assert found.pvalue[0] == 10 / found.draws[0]
    assert 10 <= found.draws[0] < 40
    far = one([[20, 300, 90, 2], [60, 240, 80, 4], [90, 210, 70, 3]], max_simulations=5000)
    assert far.draws[0] == 5000
    assert far.pvalue[0] == 1 / 5001
    assert found.mc_se[0] == pytest.approx(np.sqrt(found.pvalue[0] * (1 - found.pvalue[0]) / found.draws[0]))


def test_without_it_as_many_are_drawn_as_were_asked_for():
    found = one(KNOWN[0][0], adaptive=False, n_simulations=777)
    assert found.draws[0] == 777
    assert round(found.pvalue[0] * 778, 6).is_integer()


@pytest.mark.native
def test_a_result_depends_on_neither_order_nor_company():
    rng = np.random.default_rng(5)
    tables = [table for table in large_tables(30, rng) if usable(table)]
    names = [f"AX-{i}" for i in range(len(tables))]
    together = results_of(tables, names, min_expected_count=50)
    order = rng.permutation(len(tables))
    mixed = results_of([tables[i] for i in order], [names[i] for i in order], min_expected_count=50)
    for i, table in enumerate(tables):
        alone = results_of([table], [names[i]], min_expected_count=50)
        at = int(np.flatnonzero(order == i)[0])
        assert together.pvalue[i] == mixed.pvalue[at] == alone.pvalue[0]
        assert together.statistic[i] == mixed.statistic[at] == alone.statistic[0]
    other = results_of(tables, names, min_expected_count=50, random_seed=2)
    assert (other.pvalue != together.pvalue).any()


# ---- what is left out ----


def test_what_cannot_be_tested_says_why():
    found = results_of([[[5, 5, 5, 5]], [[7, 0, 0, 0], [9, 0, 0, 0]], [[0, 0, 0, 0]] * 2, [[3, 2], [0, 0]]])
    assert (found.method == SKIPPED).all()
    assert list(found.error) == [
        "one batch has samples",
        "one genotype: AA",
        "no samples",
        "one batch has samples",
    ]
    for values in (found.statistic, found.pvalue, found.cramers_v, found.worst_residual, found.mc_se):
        assert np.isnan(values).all()
    assert found.pvalue_no_call[1] == 1
    assert np.isnan(found.pvalue_no_call[[0, 2, 3]]).all()


@pytest.mark.native
def test_empty_batches_do_not_count():
    table = np.array([[30, 40, 20, 6], [0, 0, 0, 0], [35, 33, 25, 7]])
    found, without = one(table), one(table[[0, 2]])
    assert found.n_batches[0] == 2
    assert found.pvalue[0] == without.pvalue[0]
    assert found.pvalue_no_call[0] == without.pvalue_no_call[0]


def test_samples_without_a_call_can_be_left_out():
    table = np.array([[30, 40, 20, 60], [35, 33, 25, 7], [0, 0, 0, 9]])
    found, without = one(table, exclude_no_call=True), one(table[:2] * [1, 1, 1, 0])
    assert found.statistic[0] == without.statistic[0]
    assert found.total[0] == table[:, :3].sum()
    assert found.n_batches[0] == 2
    assert found.pvalue_no_call[0] < 1e-10


def test_the_no_call_rate_is_tested_by_itself():
    table = np.array([[30, 40, 20, 10], [35, 33, 25, 27], [31, 39, 19, 11]])
    split = np.stack([table[:, :3].sum(1), table[:, 3]], 1)
    expected = chi2_contingency(split, correction=False).pvalue
    assert one(table).pvalue_no_call[0] == pytest.approx(expected, rel=1e-12)
    assert one(table * [1, 1, 1, 0]).pvalue_no_call[0] == 1
    few = np.array([[30, 40, 20, 0], [35, 33, 25, 3]])
    few_split = np.stack([few[:, :3].sum(1), few[:, 3]], 1)
    assert one(few).pvalue_no_call[0] == pytest.approx(exact_pvalue(few_split), rel=1e-10)


def test_more_samples_than_can_be_permuted_are_not():
    table = [[2**30, 2**29, 2], [2**30, 2**29, 1]]
    found = one(table)
    assert methods(found) == ["skipped"]
    assert found.error[0] == "more than 2147483647 samples"


@pytest.mark.native
def test_tables_that_cannot_be_are_refused():
    start, counts = np.array([0, 2], np.uint64), np.ones((2, 4), np.int32)
    for bad in (np.array([0, 3], np.uint64), np.array([2, 0], np.uint64)):
        with pytest.raises(KernelError):
            describe_tables(bad, counts)
    with pytest.raises(KernelError):
        describe_tables(start, -counts)
    with pytest.raises(KernelError):
        permute_tables(start, counts, np.zeros((0, 4), np.uint64), 1, 1, 1)


# ---- over all probesets ----


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=40))
def test_q_values_are_those_of_benjamini_and_hochberg(pvalues):
    p = np.array(pvalues, float)
    found = qvalues(p)
    known = np.flatnonzero(~np.isnan(p))
    for i in known:  # by definition: the least, over ranks at or above, of p * tests / rank
        ranks = [(np.sum(p[known] <= p[j]), p[j]) for j in known if p[j] >= p[i]]
        assert found[i] == pytest.approx(min(q * known.size / rank for rank, q in ranks), rel=1e-12)
    assert np.isnan(np.delete(found, known)).all()
