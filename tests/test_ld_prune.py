"""ld-prune and ld-clump: what plink 1.9 makes of the same genotypes, and plain twins of both."""

import random
from fractions import Fraction

import numpy as np
import pytest
from commands import EXIT_CODE, run
from ld_panels import made_up, panel_of, plink, plink_files, stored, write_calls
from ld_twins import statistics
from panels import CHR20

from bams3.ld.clump import ClumpRule, Results, clumps
from bams3.ld.prune import Window, prune

EXIT_CODE |= dict.fromkeys(("doubled-id", "bad-assoc", "no-such-column", "no-such-variant"), 2)

WINDOWS = ["50 5 0.2", "10 3 0.5", "2 1 0.1", "7 7 0.05", "30 1 0.8", "4kb 1 0.2", "12kb 5 0.1", "2kb 2 0.5"]


def lines(path):
    return path.read_text().splitlines()


# ---- pruning ----


def thinned(calls, contig, start_bp, words):
    """The variants that are kept, one comparison at a time: r2 as fractions, every window by itself."""
    size, step, most = words.split()
    threshold = Fraction(most)
    minor, total = [], []
    for row in calls:
        alleles = [a for call in row for a in call if a in (0, 1)]
        minor.append(min(sum(alleles), len(alleles) - sum(alleles)))
        total.append(len(alleles))
    left = [statistics(row, row, is_phased=False) is not None for row in calls]
    for name in dict.fromkeys(contig):
        own = [v for v in range(len(calls)) if contig[v] == name]
        before = set()
        for first in range(0, len(own), int(step)):
            if size.endswith("kb"):
                stop = start_bp[own[first]] + 1000 * int(size[:-2])
                window = {v for v in own[first:] if start_bp[v] <= stop}
            else:
                window = set(own[first : first + int(size)])
            if not window <= before:
                rounds(sorted(window), before, calls, left, threshold, minor, total)
            before |= window
    return left


def rounds(window, before, calls, left, threshold, minor, total):
    done = {}
    again = True
    while again:
        again = False
        for v in window:
            for other in window:
                if other <= done.get(v, v) or not left[v] or not left[other] or {v, other} <= before:
                    continue
                found = statistics(calls[v], calls[other], is_phased=False)
                done[v] = other
                if found and found[1] > threshold:
                    left[v if minor[v] * total[other] < minor[other] * total[v] else other] = False
                    again = True
                    break


@pytest.mark.parametrize("words", WINDOWS)
def test_a_plain_twin_keeps_the_same(tmp_path, words):
    calls, contig, start_bp = made_up(3, 60, 30, missing=0.05)
    panel = panel_of(tmp_path, calls, contig, start_bp)
    size, step, most = words.split()
    n = int(size.removesuffix("kb"))
    window = Window(int(step), *((None, 1000 * n) if size.endswith("kb") else (n, None)))
    kept, considered = prune(panel, window, float(most), workers=2)
    assert considered.all()
    assert kept.tolist() == thinned(calls, contig, start_bp, words)


@pytest.mark.parametrize("seed", range(6))
def test_plink_keeps_the_same_of_made_up_calls(tmp_path, seed):
    calls, contig, start_bp = made_up(seed, 150, 40 + 13 * seed, missing=0.04 * (seed % 3))
    vcf = write_calls(tmp_path, calls, ["1" if c == "1" else "2" for c in contig], start_bp)
    panel, files = stored(vcf), plink_files(vcf)
    for words in WINDOWS:
        plink(tmp_path, "--bfile", files, "--indep-pairwise", *words.split())
        done = run("ld-prune", panel, "--indep-pairwise", *words.split(), "-o", tmp_path / "ours", "--quiet")
        assert done.code == 0, done.err
        for end in ("in", "out"):
            assert lines(tmp_path / f"ours.prune.{end}") == lines(tmp_path / f"plink.prune.{end}"), words


@pytest.fixture(scope="module")
def chr20(shared_data, tmp_path_factory):
    """The panel of the BCF, and plink's files with its ids."""
    folder = tmp_path_factory.mktemp("chr20")
    vcf = folder / "calls.vcf"
    vcf.symlink_to(shared_data / CHR20)
    panel = folder / "calls.ldp"
    assert run("ld-import", shared_data / CHR20, panel, "--multiallelic", "drop", "--quiet").code == 0
    strict = ("--biallelic-only", "strict", "--set-missing-var-ids", "@_#_$1_$2")
    plink(folder, "--bcf", shared_data / CHR20, "--double-id", *strict, "--make-bed", out="files")
    with_ids(panel, folder / "files.bim")
    return panel, folder / "files"


def with_ids(panel, bim):
    """Give the variants of a .bim the ids of the panel."""
    from bams3.panel.stored import open_panel

    opened = open_panel(str(panel))
    sites = opened.sites(0, opened.n_variants)
    rows = [line.split() for line in lines(bim)]
    assert [int(row[3]) for row in rows] == (sites.start_bp + 1).tolist()
    for row, name in zip(rows, sites.id, strict=True):
        row[1] = name
    bim.write_text("".join("\t".join(row) + "\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["50 5 0.2", "50 5 0.5", "200 50 0.8", "100 1 0.05", "5kb 1 0.2", "100kb 5 0.1"]
)
def test_plink_keeps_the_same_of_chromosome_20(chr20, tmp_path, words):
    panel, files = chr20
    plink(tmp_path, "--bfile", files, "--indep-pairwise", *words.split())
    done = run("ld-prune", panel, "--indep-pairwise", *words.split(), "--quiet")
    assert done.out.splitlines() == lines(tmp_path / "plink.prune.in")
    assert 1000 < len(done.out.splitlines()) < 19_000


@pytest.fixture(scope="module")
def hapmap(shared_data, tmp_path_factory):
    """The HapMap set as a panel, chromosomes X, XY and MT with the autosomes; and plink's files."""
    panel = tmp_path_factory.mktemp("hapmap") / "calls.ldp"
    files = shared_data / "geno/hapmap3_flashpca"
    assert run("ld-import", f"{files}.bed", panel, "--quiet").code == 0
    return panel, files


@pytest.mark.slow
@pytest.mark.parametrize("words", ["50 5 0.05", "100 1 0.02", "5000kb 1 0.02", "5000kb 5 0.05"])
def test_plink_keeps_the_same_of_the_hapmap(hapmap, tmp_path, words):
    panel, files = hapmap
    plink(tmp_path, "--bfile", files, "--indep-pairwise", *words.split())
    done = run("ld-prune", panel, "--indep-pairwise", *words.split(), "--quiet")
    assert done.out.splitlines() == lines(tmp_path / "plink.prune.in")
    assert lines(tmp_path / "plink.prune.out")


def test_variants_of_one_id_are_written_by_their_places(tmp_path):
    calls, contig, start_bp = made_up(1, 12, 20)
    ids = ["a", "b", "c", "d", "e", "b", "f", "g", "h", "i", "j", "k"]
    panel = stored(write_calls(tmp_path, calls, contig, start_bp, ids=ids))
    done = run("ld-prune", panel, "--indep-pairwise", "2", "1", "0.99", "-o", tmp_path / "x", "--quiet")
    assert done.code == 0
    assert "1 ids are of several variants" in done.err
    named = [*lines(tmp_path / "x.prune.in"), *lines(tmp_path / "x.prune.out")]
    assert len(set(named)) == 12
    assert {f"1:{start_bp[v] + 1}:A:C" for v in (1, 5)} < set(named)


def test_variants_without_a_place_are_left_out(tmp_path):
    calls, _, start_bp = made_up(1, 12, 20)
    panel = panel_of(tmp_path, calls, ["0"] * 4 + ["1"] * 8, start_bp[:4] + sorted(start_bp[4:]))
    kept, considered = prune(panel, Window(1, 5, None), 0.5)
    assert considered.tolist() == [False] * 4 + [True] * 8
    assert not kept[:4].any()


@pytest.mark.parametrize(
    "words",
    ["50x 5 0.2", "50 x 0.2", "50 5 x", "50 5 1", "50 5 -0.1", "1 1 0.5", "5 6 0.5", "0kb 1 0.5", "5 0 0.1"],
)
def test_windows_that_are_none_are_refused(tmp_path, words):
    panel = stored(write_calls(tmp_path, *made_up(1, 12, 20)))
    assert run("ld-prune", panel, "--indep-pairwise", *words.split()).kind == "usage"


# ---- clumps ----


def associations(path, ids, seed, *, twice=0.0, rate=0.5):
    """A table of made-up P values of most variants, some twice, and some lines that are no results."""
    chance = random.Random(seed)
    rows = [("MARKER", "CHISQ", "P"), ("unknown", 0, 1e-9), (ids[0], 0, "NA")]
    named = [name for name in ids for _ in range(1 + (chance.random() < twice)) if chance.random() < 0.9]
    rows += [(name, 1, f"{10 ** -chance.expovariate(rate):.3g}") for name in named]
    path.write_text("".join("  ".join(map(str, row)) + "\n" for row in rows) + "short\n\n")
    return path


def clumped(path):
    """Cells of a report; P as plink writes it."""
    rows = [line.split() for line in lines(path) if line.split()]
    return [[f"{float(cell):.4g}" if k == 4 else cell for k, cell in enumerate(row)] for row in rows[1:]]


def same_clumps(folder, panel, files, table, *options):
    """Check that both reports are the same; the number of clumps and of members."""
    given = list(map(str, options))
    plink(folder, "--bfile", files, "--clump", table, "--clump-snp-field", "SNP", "MARKER", *given)
    given += ["--clump-snp-field", "SNP,MARKER", "-o", str(folder / "ours.clumped"), "--quiet"]
    done = run("ld-clump", panel, table, *given)
    assert done.code == 0, done.err
    assert "lacks 1 top variant of" in done.err
    ours, theirs = clumped(folder / "ours.clumped"), clumped(folder / "plink.clumped")
    assert ours == theirs
    return len(ours), sum(int(row[5]) for row in ours)


@pytest.mark.parametrize("seed", range(5))
def test_plink_makes_the_same_clumps_of_made_up_calls(tmp_path, seed):
    calls, contig, start_bp = made_up(seed, 150, 40 + 13 * seed, missing=0.04 * (seed % 3))
    vcf = write_calls(tmp_path, calls, ["1" if c == "1" else "2" for c in contig], start_bp)
    panel, files = stored(vcf), plink_files(vcf)
    table = associations(tmp_path / "t.assoc", [f"v{v}" for v in range(150)], seed, twice=0.3 * (seed % 2))
    for options in (
        ("--clump-p1", 0.1),
        ("--clump-p1", 1, "--clump-p2", 1, "--clump-r2", 0.05, "--clump-kb", 2),
        ("--clump-p1", 0.2, "--clump-p2", 0.5, "--clump-r2", 0.3, "--clump-kb", 0.5),
        ("--clump-p1", 1, "--clump-r2", 0.9, "--clump-kb", 1.5),
    ):
        n, members = same_clumps(tmp_path, panel, files, table, *options)
        assert n
        assert members or options[-1] == 1.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--clump-r2", 0.1, "--clump-p1", 0.01, "--clump-p2", 0.5),
        ("--clump-r2", 0.2, "--clump-kb", 1.5, "--clump-p1", 0.05, "--clump-p2", 1),
    ],
)
def test_plink_makes_the_same_clumps_of_chromosome_20(chr20, tmp_path, options):
    panel, files = chr20
    ids = [line.split()[1] for line in lines(files.with_suffix(".bim"))]
    table = associations(tmp_path / "t.assoc", ids, 1, rate=0.8, twice=0.1)
    n, members = same_clumps(tmp_path, panel, files, table, *options)
    assert n > 500
    assert members > 1000


@pytest.mark.slow
def test_plink_makes_the_same_clumps_of_the_hapmap(hapmap, tmp_path):
    panel, files = hapmap
    ids = [line.split()[1] for line in lines(files.with_suffix(".bim"))]
    table = associations(tmp_path / "t.assoc", ids, 1)
    options = ("--clump-p1", 0.5, "--clump-p2", 1, "--clump-r2", 0.01, "--clump-kb", 2000)
    plink(tmp_path, "--bfile", files, "--clump", table, "--clump-snp-field", "MARKER", *options)
    ours = run(
        "ld-clump", panel, table, "--clump-snp-field", "MARKER", *map(str, options), "-o", tmp_path / "o"
    )
    assert ours.code == 0
    assert clumped(tmp_path / "o") == clumped(tmp_path / "plink.clumped")
    assert sum(int(row[5]) for row in clumped(tmp_path / "o")) > 1000


def test_a_plain_twin_makes_the_same_clumps(tmp_path):
    calls, contig, start_bp = made_up(8, 40, 30, missing=0.05)
    panel = panel_of(tmp_path, calls, contig, start_bp, is_phased=True)
    p = np.random.default_rng(8).random(40) ** 3
    rule = ClumpRule(0.2, 0.3, 0.15, 4000)
    taken, wanted = set(), []
    for v in np.argsort(p).tolist():
        if p[v] > 0.2 or v in taken:
            continue
        near = [
            u
            for u in range(40)
            if u not in taken | {v} and contig[u] == contig[v] and abs(start_bp[u] - start_bp[v]) < 4000
        ]
        found = {u: statistics(calls[v], calls[u], is_phased=False, is_em=True) for u in near}
        members = [u for u, one in found.items() if one and one[1] > 0.15]
        taken |= set(members)
        wanted.append((v, len(members), tuple(u for u in members if p[u] < 0.3)))
    made = [
        (one.number, sum(one.below), one.listed) for one in clumps(panel, Results(np.arange(40), p), rule)
    ]
    assert made == wanted
    assert sum(n for _, n, _ in made) > 5


def test_no_result_small_enough_makes_no_clump(tmp_path):
    panel = stored(write_calls(tmp_path, *made_up(1, 12, 20)))
    (tmp_path / "t").write_text("SNP P\nv1 0.5\n")
    done = run("ld-clump", panel, tmp_path / "t", "--quiet")
    assert (done.code, done.out.count("\n")) == (0, 1)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "no-such-column"),
        ("SNP\tPVALUE\nv1\t0.1\n", "no-such-column"),
        ("SNP\tP\tP\nv1\t0.1\t0.1\n", "bad-assoc"),
        ("SNP\tP\nv1\t-0.1\n", "bad-assoc"),
        ("SNP\tP\nv1\t1.5\n", "bad-assoc"),
        ("SNP\tP\nrs1\t0.5\n", "no-such-variant"),
        ("SNP\tP\nv3\t0.5\n", "doubled-id"),
        ("SNP\tP\n\udcff\t0.5\n", "bad-assoc"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, text, kind):
    ids = [f"v{v % 9}" for v in range(12)]
    ids[0], ids[9] = "w", "x"
    panel = stored(write_calls(tmp_path, *made_up(1, 12, 20), ids=ids))
    (tmp_path / "t").write_bytes(text.encode("utf-8", "surrogateescape"))
    if kind == "doubled-id":
        text = text.replace("v3", "v2")
        (tmp_path / "t").write_text(text)
    assert run("ld-clump", panel, tmp_path / "t").kind == kind


@pytest.mark.parametrize("option", [("--clump-p1", 2), ("--clump-r2", -1), ("--clump-kb", 0)])
def test_numbers_that_are_none_are_refused(tmp_path, option):
    panel = stored(write_calls(tmp_path, *made_up(1, 12, 20)))
    (tmp_path / "t").write_text("SNP P\nv1 0.5\n")
    assert run("ld-clump", panel, tmp_path / "t", *option).kind == "usage"
