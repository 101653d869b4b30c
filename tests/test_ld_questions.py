"""ld-query, r2_matrix and ld-decay against brute force, and questions that have no answer."""

import csv
import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from commands import EXIT_CODE, run
from ld_panels import made_up, panel_of, stored, write_calls
from ld_twins import statistics
from panels import CHR20

from bams3.format import spec
from bams3.kernels import ld as kernels
from bams3.ld import r2_matrix
from bams3.ld.blocks import as_columns, as_rows, form_of
from bams3.ld.decay import Distances, decay
from bams3.ld.find import Finder
from bams3.panel.stored import open_panel

EXIT_CODE |= dict.fromkeys(
    (
        "doubled-id",
        "no-such-variant",
        "bad-ids",
        "no-variants",
        "unknown-contig",
        "bad-region",
        "not-a-panel",
    ),
    2,
)
SETS = kernels.instruction_sets()


@pytest.fixture(scope="module", params=[False, True, "mixed"], ids=["unphased", "phased", "mixed"])
def cohort(request, tmp_path_factory):
    """Calls, whether each variant is phased, and their panel, in blocks of a few variants."""
    folder = tmp_path_factory.mktemp("cohort")
    calls, contig, start_bp = made_up(5, 60, 37, missing=0.06, haploid=0.2)
    phased = (
        np.random.default_rng(5).random(60) < 0.6 if request.param == "mixed" else np.full(60, request.param)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "BLOCK_TEXT_BYTES", 40)
        panel = panel_of(folder, calls, contig, start_bp, is_phased=phased)
    assert len(panel.block_starts) > 5
    sites = panel.sites(0, 60)
    return calls, contig, start_bp, sites.is_phased, panel


def r2_of(cohort, a, b, *, is_unphased=False):
    """What brute force finds of a pair: n, r2, r, D, D', P; or None."""
    calls, _, _, phased, _ = cohort
    return statistics(calls[a], calls[b], is_phased=bool(phased[a] and phased[b]) and not is_unphased)


def table(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def check_row(cohort, row, a, b, **how):
    n, r2, r, d, dprime, p = r2_of(cohort, a, b, **how)
    _, contig, start_bp, phased, _ = cohort
    for side, v in (("a", a), ("b", b)):
        found = (row[f"chrom_{side}"], int(row[f"pos_{side}"]), row[f"id_{side}"])
        assert found == (contig[v], start_bp[v] + 1, f"v{v}")
    assert int(row["n"]) == n
    assert row["phased"] == str(bool(phased[a] and phased[b]) and not how).lower()
    for name, value in (("r2", r2), ("r", r), ("d", d), ("dprime", dprime), ("p", p)):
        if math.isnan(value):
            assert row[name] == ""
        else:
            assert float(row[name]) == pytest.approx(float(value), abs=2e-6), name


# ---- one variant ----


@pytest.mark.parametrize("v", [1, 17, 39, 40, 59])
@pytest.mark.parametrize("distance", [None, 0, 3000])
def test_a_variant_is_paired_with_all_its_neighbours(cohort, v, distance):
    _, contig, start_bp, _, panel = cohort
    options = () if distance is None else ("--max-distance", max(distance, 1))
    found = table(run("ld-query", panel.name, f"v{v}", *options).out)
    near = [
        b
        for b in range(60)
        if contig[b] == contig[v]
        and b != v
        and abs(start_bp[b] - start_bp[v]) <= (10**6 if distance is None else max(distance, 1))
        and r2_of(cohort, v, b)
    ]
    assert [row["id_b"] for row in found] == [f"v{b}" for b in near]
    for row, b in zip(found, near, strict=True):
        check_row(cohort, row, v, b)


def test_a_least_r2_and_genotypes_are_asked_for(cohort):
    panel = cohort[4]
    found = table(run("ld-query", panel.name, "v20", "--min-r2", "0.1", "--unphased").out)
    wanted = [
        b for b in range(40) if b != 20 and (one := r2_of(cohort, 20, b, is_unphased=True)) and one[1] >= 0.1
    ]
    assert [row["id_b"] for row in found] == [f"v{b}" for b in wanted]
    for row, b in zip(found, wanted, strict=True):
        check_row(cohort, row, 20, b, is_unphased=True)


def test_a_variant_is_asked_for_by_its_place_too(tmp_path):
    calls, _, _ = made_up(5, 9, 20)
    ids = ["a", "b", "b", "d", "X:7", "f", "g", "h", "i"]
    panel = stored(
        write_calls(tmp_path, calls, ["1"] * 6 + ["H:1"] * 3, [4, 9, 9, 12, 15, 20, 1, 1, 8], ids=ids)
    )
    finder = Finder(open_panel(str(panel)))
    names = ["a", "1:5", "1:5:A:C", "1:13:A:C", "X:7", "H:1:9", "H:1:9:A:C", "i", "1:0,013"]
    assert finder.numbers(names) == [0, 0, 0, 3, 4, 8, 8, 8, 3]
    for name, kind in [
        ("b", "doubled-id"),
        ("1:10", "doubled-id"),
        ("1:10:A:C", "doubled-id"),
        ("H:1:2", "doubled-id"),
        ("1:6", "no-such-variant"),
        ("1:900", "no-such-variant"),
        ("1:5:A:G", "no-such-variant"),
        ("A", "no-such-variant"),
        ("", "no-such-variant"),
        ("zzz", "no-such-variant"),
    ]:
        assert run("ld-query", panel, name).kind == kind, name
    assert "1:10:A:C, 1:10:A:C" in run("ld-query", panel, "b").err


def test_similar_ids_are_named(cohort):
    assert "hint: similar ids are v50, v5, " in run("ld-query", cohort[4].name, "v500").err


def test_one_place_reads_few_blocks(shared_data, tmp_path):
    assert run("ld-import", shared_data / CHR20, tmp_path / "p.ldp", "--quiet").code == 0
    done = run("ld-query", tmp_path / "p.ldp", "20:61098", "--max-distance", "1kb", "--requests")
    asked = json.loads(done.err.partition("requests: ")[2])
    assert table(done.out)
    assert asked["bytes_read"] < 500_000 if "bytes_read" in asked else asked


# ---- a region, and matrices ----


def test_a_region_gives_all_its_pairs(cohort):
    _, contig, start_bp, _, panel = cohort
    inside = [v for v in range(60) if contig[v] == "1" and 4999 <= start_bp[v] < 20_000]
    wanted = [(a, b) for a in inside for b in inside if a < b and r2_of(cohort, a, b)]
    found = table(run("ld-query", panel.name, "--region", "1:5000-20k").out)
    assert [(row["id_a"], row["id_b"]) for row in found] == [(f"v{a}", f"v{b}") for a, b in wanted]
    for row, (a, b) in zip(found, wanted, strict=True):
        check_row(cohort, row, a, b)


def brute_matrix(cohort, numbers, *, signed=False, **how):
    def one(a, b):
        found = r2_of(cohort, a, b, **how)
        if a == b:
            return 1.0 if found else math.nan
        return math.nan if found is None else float(found[2] if signed else found[1])

    return np.array([[one(a, b) for b in numbers] for a in numbers])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("unphased", [False, True])
def test_the_matrix_of_a_region_is_that_of_brute_force(cohort, signed, unphased):
    _, _, start_bp, _, panel = cohort
    found = r2_matrix(panel.name, "1", signed=signed, unphased=unphased, workers=2)
    assert found.ids == tuple(f"v{v}" for v in range(40))
    assert found.start_bp.tolist() == start_bp[:40]
    assert found.r2.dtype == np.float64
    wanted = brute_matrix(cohort, range(40), signed=signed, is_unphased=unphased)
    np.testing.assert_allclose(found.r2, wanted, atol=1e-12)
    np.testing.assert_array_equal(found.r2, found.r2.T)
    assert np.isnan(wanted).any()


def test_a_list_of_variants_makes_a_matrix_in_its_order(cohort, tmp_path):
    numbers = [44, 3, 7, 58, 0, 21]
    wanted = brute_matrix(cohort, numbers)
    (tmp_path / "ids").write_text("".join(f"v{v} more words\n" for v in numbers) + "\n")
    panel = cohort[4].name
    text = run("ld-query", panel, *(f"v{v}" for v in numbers)).out
    assert run("ld-query", panel, "--ids", tmp_path / "ids").out == text
    rows = [line.split("\t") for line in text.splitlines()]
    assert rows[0] == ["id", *(f"v{v}" for v in numbers)]
    assert [row[0] for row in rows[1:]] == rows[0][1:]
    np.testing.assert_allclose(np.array([row[1:] for row in rows[1:]], float), wanted, atol=1e-12)
    assert run("ld-query", panel, "--ids", tmp_path / "ids", "--signed", "-o", tmp_path / "r.npy").code == 0
    r = np.load(tmp_path / "r.npy")
    np.testing.assert_allclose(r, brute_matrix(cohort, numbers, signed=True), atol=1e-12)
    assert run("ld-query", panel, "v3", "--matrix", "-o", tmp_path / "r.tsv").code == 0
    assert (tmp_path / "r.tsv").read_text() == "id\tv3\nv3\t1.0\n"


def test_a_matrix_larger_than_a_step_is_symmetric(tmp_path):
    calls, _, _ = made_up(2, 700, 9, missing=0.1)
    panel = panel_of(tmp_path, calls, ["1"] * 700, range(700))
    found = r2_matrix(panel, "1:1-699").r2
    assert found.shape == (699, 699)
    np.testing.assert_array_equal(found, found.T)
    for a, b in [(0, 698), (300, 517), (511, 512), (512, 513), (1, 2)]:
        pair = statistics(calls[a], calls[b], is_phased=False)
        wanted = math.nan if pair is None else float(pair[1])
        np.testing.assert_allclose(found[a, b], wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([], "usage"),
        (["v1", "--region", "1"], "usage"),
        (["v1", "--signed"], "usage"),
        (["v1", "v2", "--min-r2", "0.5"], "usage"),
        (["v1", "v2", "--max-distance", "5"], "usage"),
        (["v1", "v2", "--em"], "usage"),
        (["v1", "v2", "-o", "x.parquet"], "usage"),
        (["v1", "-o", "x.npy"], "usage"),
        (["--region", "2"], "unknown-contig"),
        (["--region", "1:x"], "bad-region"),
        (["--region", "1:900M-901M"], "no-variants"),
        (["v1", "--max-distance", "x"], "bad-size"),
        (["--ids", "/dev/null"], "bad-ids"),
    ],
)
def test_questions_that_are_none_are_refused(cohort, words, kind, monkeypatch):
    monkeypatch.setitem(EXIT_CODE, "bad-size", 2)
    assert run("ld-query", cohort[4].name, *words).kind == kind


def test_what_is_no_panel_is_refused(tmp_path):
    for words in (["ld-query", tmp_path, "a"], ["ld-decay", tmp_path]):
        assert run(*words).kind == "not-a-panel"


def test_importing_the_entry_is_cheap():
    program = "import bams3.ld, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"pysam", "scipy", "matplotlib", "boto3", "pyarrow", "click", "cyvcf2"}


# ---- the kernel ----


@pytest.mark.native
@pytest.mark.parametrize("instructions", SETS)
def test_every_set_of_instructions_gives_the_same_r(cohort, instructions, monkeypatch):
    panel = cohort[4]
    planes, phased = panel.planes(0, 60), cohort[3]
    for is_phased in (False, True):
        form = form_of(37, planes, planes, is_phased=is_phased)
        spans = np.zeros((2, 60), np.uint64)
        spans[0] = np.arange(60) // 3
        spans[1] = np.maximum(60 - np.arange(60) // 2, spans[0])
        sides = as_rows(planes, form), as_columns(planes, form)
        found = kernels.correlations(form, *sides, (spans[0], spans[1]), instructions=instructions)
        assert found.shape == (60, 64)
        for a in range(60):
            begin, end = spans[:, a].astype(int)
            assert np.isnan(found[a, :begin]).all()
            assert np.isnan(found[a, end:]).all()
            for b in range(begin, end):
                if is_phased and not (phased[a] and phased[b]):
                    continue
                one = statistics(cohort[0][a], cohort[0][b], is_phased=is_phased)
                wanted = math.nan if one is None else float(one[2])
                np.testing.assert_allclose(found[a, b], wanted, atol=1e-12)


@pytest.mark.native
@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("n_spans", [1, 2, 7, 100])
def test_every_set_of_instructions_gives_the_same_sums(cohort, instructions, n_spans):
    planes = cohort[4].planes(0, 60)
    edges = np.sort(np.random.default_rng(n_spans).integers(0, 61, (60, n_spans + 1)), axis=1)
    for is_phased in (False, True):
        form = form_of(37, planes, planes, is_phased=is_phased)
        sides = as_rows(planes, form), as_columns(planes, form)
        whole = np.zeros((2, 60), np.uint64)
        whole[1] = 60
        r2 = kernels.correlations(form, *sides, (whole[0], whole[1]))[:, :60] ** 2
        pairs, sums = kernels.r2_sums(form, *sides, edges.astype(np.uint64), instructions=instructions)
        spans = [
            np.concatenate([r2[a, e[k] : e[k + 1]] for a, e in enumerate(edges)]) for k in range(n_spans)
        ]
        assert pairs.tolist() == [np.isfinite(some).sum() for some in spans]
        np.testing.assert_allclose(sums, [np.nansum(some) for some in spans], atol=1e-12)


# ---- decay ----


def test_decay_of_common_variants_is_that_of_a_panel_of_them(tmp_path):
    vcf = write_calls(tmp_path, *made_up(6, 80, 41, missing=0.1, haploid=0.3), is_phased=True)
    few = run("ld-decay", stored(vcf), "--maf", "0.3", "--max-distance", "30kb", "--quiet")
    all_of_them = run("ld-decay", tmp_path / "calls.ldp", "--max-distance", "30kb", "--quiet")
    stored(vcf, "--maf", "0.3", "--force")
    common = run("ld-decay", tmp_path / "calls.ldp", "--max-distance", "30kb", "--quiet")
    assert few.out == common.out != all_of_them.out


@pytest.mark.parametrize(
    ("width", "most"), [(1000, 30_000), (1000, 4500), (700, 9000), (30_000, 30_000), (1, 3)]
)
@pytest.mark.parametrize("unphased", [False, True])
def test_decay_is_that_of_brute_force(cohort, width, most, unphased, monkeypatch):
    monkeypatch.setattr("bams3.ld.decay._ROWS", 16)
    monkeypatch.setattr("bams3.ld.decay._COLUMNS", 12)
    _, contig, start_bp, _, panel = cohort
    values = [[] for _ in range(-(-most // width))]
    for a in range(60):
        for b in range(a + 1, 60):
            apart = start_bp[b] - start_bp[a]
            if contig[a] == contig[b] and apart < most and (one := r2_of(cohort, a, b, is_unphased=unphased)):
                values[apart // width].append(float(one[1]))
    found = decay(panel, Distances(width, most), is_unphased=unphased, workers=2)
    assert found.pairs.tolist() == [len(some) for some in values]
    np.testing.assert_allclose(
        found.mean_r2, [np.mean(some) if some else np.nan for some in values], atol=1e-12
    )


def test_decay_is_written_as_a_table(cohort, tmp_path):
    panel = cohort[4]
    words = ("ld-decay", panel.name, "--step", "0.8kb", "--max-distance", "1kb", "--quiet")
    found = table(run(*words).out)
    wanted = decay(panel, Distances(800, 1000))
    assert [(row["from_bp"], row["to_bp"]) for row in found] == [("0", "800"), ("800", "1000")]
    assert [int(row["pairs"]) for row in found] == wanted.pairs.tolist()
    means = [math.nan if row["mean_r2"] == "" else float(row["mean_r2"]) for row in found]
    np.testing.assert_array_equal(means, wanted.mean_r2)
    assert run(*words, "-o", tmp_path / "d.parquet").code == 0


@pytest.mark.parametrize(
    "words", [["--step", "0"], ["--step", "2kb", "--max-distance", "1kb"], ["-o", "x.npy"]]
)
def test_steps_that_are_none_are_refused(cohort, words):
    assert run("ld-decay", cohort[4].name, *words).kind == "usage"
