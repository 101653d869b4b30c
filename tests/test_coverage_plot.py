"""bams3 coverage --plot: what is drawn of a store, from where, what is said of the rest, what is refused."""

import random
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import queries
from commands import convert
from commands import run as run_kind
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="the figure needs the extra plots")

from bams3.cli import coverage_plot
from bams3.cli.coverage_plot import plot_window
from bams3.coverage import windows
from bams3.plots import MAX_PANELS, Panel, depth_figure

# ---- windows of a store ----

CONTIGS = {"chrA": 250_050, "chrB": 30_000, "chrC": 700, "chrD": 450, "chrE": 120_000}
EMPTY = "chrC"
CIGARS = ("60M", "20M10D40M", "30M3000N30M", "5S40M2I13M")


class Placed(NamedTuple):
    """A read, and the reference bases that its CIGAR covers."""

    contig: str
    pos: int
    flag: int
    mapq: int
    cigar: str

    def covered(self, mode):
        """Spans of covered bases."""
        at, spans = self.pos, []
        for n, op in ((int(n), op) for n, op in re.findall(r"(\d+)(\D)", self.cigar)):
            if op == "M":
                spans.append((at, at + n))
            at += n if op in "MDN" else 0
        return spans if mode == "depth" else [(self.pos, at)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of random reads, and the reads."""
    chance, reads = random.Random(1), []
    for contig, n in (("chrA", 900), ("chrB", 500), ("chrD", 60), ("chrE", 200)):
        for _ in range(n):
            pos = chance.randrange(CONTIGS[contig] - 3_100) if contig != "chrD" else chance.randrange(300)
            cigar = chance.choice(CIGARS) if contig != "chrD" else "60M"
            flag, mapq = chance.choice([0, 0, 0, 16, 0x400, 0x100]), chance.choice([0, 20, 60])
            reads.append(Placed(contig, pos, flag, mapq, cigar))
    reads.sort(key=lambda read: ([*CONTIGS].index(read.contig), read.pos))
    folder = tmp_path_factory.mktemp("stored")
    rows = [
        f"r{i}\t{r.flag}\t{r.contig}\t{r.pos + 1}\t{r.mapq}\t{r.cigar}\t*\t0\t0\t{'A' * 60}\t{'I' * 60}\n"
        for i, r in enumerate(reads)
    ]
    head = "".join(f"@SQ\tSN:{name}\tLN:{length}\n" for name, length in CONTIGS.items())
    (folder / "in.sam").write_text("@HD\tVN:1.6\tSO:coordinate\n" + head + "".join(rows))
    assert convert(folder / "in.sam", folder / "sample.bams3", "--chunk-size", "256K").code == 0
    return folder / "sample.bams3", reads


class Drawn(NamedTuple):
    """What was given to the drawing."""

    panels: list[Panel]
    title: str
    notes: list[str]
    thresholds: tuple[int, ...]

    @property
    def names(self):
        return [panel.name for panel in self.panels]


@pytest.fixture
def drawn_by(monkeypatch, tmp_path):
    """A function that runs ``coverage --plot``, and gives what it would draw."""

    def run(store, *options):
        calls = []
        with monkeypatch.context() as patched:
            patched.setattr(coverage_plot, "write_depth", lambda *args: calls.append(Drawn(*args[:4])))
            done = run_kind("coverage", store, *options, "--plot", tmp_path / "x.png")
        assert done.err == "" or "x.png" in done.err  # nothing was written
        return calls[0]

    return run


@pytest.fixture
def depths_of(stored):
    """A function that gives the depth of each base of a contig under some rules."""

    def depths(contig, mode="depth", exclude=0x704, min_mapq=0):
        out = np.zeros(CONTIGS[contig], int)
        for read in stored[1]:
            if read.contig == contig and not read.flag & exclude and read.mapq >= min_mapq:
                for low, high in read.covered(mode):
                    out[low:high] += 1
        return out

    return depths


RULES = {
    "default": ([], {}),
    "mapq": (["-q", "20"], {"min_mapq": 20}),
    "span": (["--mode", "span"], {"mode": "span"}),
    "flags": (["-F", "UNMAP"], {"exclude": 4}),
}


@pytest.mark.parametrize("rules", RULES)
def test_what_is_drawn_is_the_mean_of_the_bases(stored, drawn_by, depths_of, rules):
    options, as_rules = RULES[rules]
    regions = ["chrB", "chrA:55,556-222,333", "chrB:101-4500", "chrB:10,007-10,230", "chrA", "chrA:150K-999M"]
    for asked in ([], regions):
        for panel in drawn_by(stored[0], *asked, *options).panels:
            depth = depths_of(panel.name.partition(":")[0], **as_rules)
            bounds = zip(panel.starts.tolist(), panel.ends.tolist(), strict=True)
            assert np.allclose(panel.means, [depth[low:high].mean() for low, high in bounds])
            assert panel.means.any()
            assert (panel.starts[1:] == panel.ends[:-1]).all()
            assert panel.starts[0] <= panel.start_bp < panel.end_bp <= panel.ends[-1]
            assert max(panel.start_bp - panel.starts[0], panel.ends[-1] - panel.end_bp) < 100


def test_regions_are_drawn_as_they_were_asked_for(stored, drawn_by):
    regions = ["chrB:101-4500", "chrA:55,556-222,333", "chrB", "chrB:29000", "chrD:500-600"]
    drawn = drawn_by(stored[0], *regions, "--thresholds", "3,1")
    assert drawn.names == ["chrB:101-4,500", "chrA:55,556-222,333", "chrB", "chrB:29,000-30,000", "chrD"]
    assert [(p.start_bp, p.end_bp) for p in drawn.panels[:2]] == [(100, 4500), (55_555, 222_333)]
    assert [p.ends[0] - p.starts[0] for p in drawn.panels[:4]] == [5, 200, 30, 1]
    assert drawn.panels[4].means.size == 0
    figure = depth_figure(drawn.panels, drawn.title)
    assert figure.axes[4].texts[0].get_text() == "the contig ends before this region"
    assert (drawn.title, drawn.notes, drawn.thresholds) == ("Depth of sample", [], (3, 1))


def test_a_whole_genome_is_its_contigs_with_reads(stored, drawn_by):
    drawn = drawn_by(stored[0])
    assert drawn.names == ["chrA", "chrB", "chrD", "chrE"]
    assert drawn.notes == ["1 contig without reads is not shown."]
    assert [p.ends[0] - p.starts[0] for p in drawn.panels] == [300, 30, 1, 200]


@pytest.mark.parametrize("rules", RULES)
def test_of_many_contigs_the_longest_are_drawn_and_the_others_told(
    stored, drawn_by, depths_of, monkeypatch, rules
):
    options, as_rules = RULES[rules]
    bases = {contig: int(depths_of(contig, **as_rules).sum()) for contig in CONTIGS}
    kind = "spanned" if rules == "span" else "aligned"
    monkeypatch.setattr(coverage_plot, "MAX_CONTIGS", 2)
    drawn = drawn_by(stored[0], *options)
    assert drawn.names == ["chrA", "chrE"]
    share = 100 * (bases["chrB"] + bases["chrD"]) / sum(bases.values())
    others = f"the 2 others have {share:.1f}% of the {kind} bases."
    empty = "1 contig without reads is not shown."
    assert drawn.notes[-1] == f"The 2 longest of 4 contigs with reads; {others} {empty}"
    monkeypatch.setattr(coverage_plot, "MAX_CONTIGS", 3)
    share = 100 * bases["chrD"] / sum(bases.values())
    other = f"the other has {share:.1f}% of the {kind} bases."
    assert (
        drawn_by(stored[0], *options).notes[-1] == f"The 3 longest of 4 contigs with reads; {other} {empty}"
    )


def test_a_store_without_mapped_reads_says_so(tmp_path, drawn_by):
    (tmp_path / "in.sam").write_text("@SQ\tSN:c\tLN:500\nr\t4\tc\t10\t0\t*\t*\t0\t0\t*\t*\n")
    assert convert(tmp_path / "in.sam", tmp_path / "s.bams3").code == 0
    drawn = drawn_by(tmp_path / "s.bams3")
    assert (drawn.panels, drawn.notes) == ([], ["No contig has mapped reads."])


def test_rules_that_are_not_the_default_are_named(stored, drawn_by):
    note = drawn_by(stored[0], "chrB", "-q", "20", "--min-bq", "13", "-f", "16", "-F", "UNMAP,DUP").notes
    flags = "--require-flags REVERSE --exclude-flags UNMAP,DUP"
    assert note == [f"Counted with {flags} --min-mapq 20 --min-bq 13."]
    assert drawn_by(stored[0], "chrB", "--mode", "span", "-F", "0").notes == [
        "Counted with --mode span --exclude-flags 0."
    ]


def test_windows_of_whole_hundreds_are_answered_without_a_chunk(stored, drawn_by, tmp_path):
    store = tmp_path / "sample.bams3"
    shutil.copytree(stored[0], store)
    shutil.rmtree(store / "data")
    drawn = drawn_by(store, "chrA", "chrA:55,556-222,333", "chrE")
    assert all(panel.means.any() for panel in drawn.panels)
    assert run_kind("coverage", store, "chrB", "--plot", tmp_path / "x.png").kind == "missing-object"


@given(size_bp=st.integers(1, 2**31 - 1) | st.integers(90_000, 110_000) | st.integers(1, 5000))
def test_a_panel_has_about_a_thousand_windows_at_most(size_bp):
    window_bp = plot_window(size_bp)
    n = windows(0, size_bp, window_bp)[0].size
    assert n <= 1001
    assert n > (400 if size_bp >= 100_000 else 450) or (size_bp <= 1001 and window_bp == 1)
    assert size_bp < 100_000 or window_bp % 100 == 0


# ---- the command ----


def test_a_plot_stands_alone_or_beside_a_table(stored, tmp_path):
    plot, table = tmp_path / "x.png", tmp_path / "x.bed"
    assert queries.run("coverage", str(stored[0]), "chrB", "--plot", str(plot)) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    first = plot.read_bytes()
    both = ["--window", "500", "--thresholds", "2", "-o", str(table), "--plot", str(plot)]
    assert queries.run("coverage", str(stored[0]), "chrB", *both) == ""
    assert plot.read_bytes() != first  # a threshold is drawn
    alone = queries.bams3("coverage", stored[0], "chrB", "--window", "500", "--thresholds", "2")
    assert table.read_bytes() == alone
    on_stdout = ["--window", "500", "--thresholds", "2", "-o", "-", "--plot", str(plot)]
    assert queries.bams3("coverage", stored[0], "chrB", *on_stdout) == alone


def test_the_same_store_gives_the_same_bytes_at_any_number_of_threads(stored, tmp_path):
    for name, threads in (("a.png", "1"), ("b.PNG", "3")):
        assert run_kind("coverage", stored[0], "--threads", threads, "--plot", tmp_path / name).code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.PNG").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--summary"],
        ["-L", "x.bed"],
        ["--window", "500"],
        [f"chrB:{i}-{i + 5}" for i in range(1, MAX_PANELS + 2)],
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(stored, tmp_path, arguments):
    done = run_kind("coverage", stored[0], *arguments, "--plot", tmp_path / "x.png")
    assert "[usage]" in done.err
    assert done.code == 2
    assert list(tmp_path.iterdir()) == []


def test_other_pictures_than_png_are_refused(stored, tmp_path):
    done = run_kind("coverage", stored[0], "--plot", tmp_path / "x.svg")
    assert f"{tmp_path}/x.svg: a plot is PNG [usage]" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_plot_that_was_there(stored, tmp_path, monkeypatch):
    def full(*args):
        args[-1].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(coverage_plot, "write_depth", full)
    (tmp_path / "x.png").write_bytes(b"before")
    assert run_kind("coverage", stored[0], "chrB", "--plot", tmp_path / "x.png").kind == "disk-full"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.png", b"before")]


def test_coverage_without_a_plot_imports_no_matplotlib():
    program = "import bams3.cli.coverage, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
