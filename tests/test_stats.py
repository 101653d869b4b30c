"""Stats: the text and JSON of samtools idxstats and flagstat, MultiQC's files, the figure."""

import contextlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys

import bam_records
import commands
import conformance
import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import data_folder, is_there

from bams3.cli import _run
from bams3.errors import CorruptDataError
from bams3.format import spec
from bams3.query import StoreReader, open_store
from bams3.regions import ContigTable
from bams3.stats import FLAGSTAT, Stats, flagstat, idxstats
from bams3.store import MemoryStore

#: BAM files up to this size are compared in every run, all other files when there is time.
SMALL_BYTES = 300_000


def written(*arguments):
    """Bytes that ``bams3 stats`` writes to standard output, in this process; it must say nothing else."""
    out, words = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(words):
        code = _run(["stats", *map(str, arguments)])
    out.flush()
    assert (code, words.getvalue()) == (0, "")
    return out.buffer.getvalue()


def agrees_with_samtools(bam, store):
    """Every form of the answer is samtools' own on the BAM, which gets an index."""
    pysam.index("-m", "30", str(bam))  # one that holds reads beyond the end of a contig
    assert written(store).decode() == pysam.idxstats(str(bam))
    assert written(store, "--flagstat").decode() == pysam.flagstat(str(bam))
    theirs = pysam.flagstat("-O", "json", str(bam))
    assert written(store, "--flagstat", "--json").decode() == theirs
    assert flagstat(open_store(str(store)).totals) == json.loads(theirs)


def store_of(folder, records, **options):
    """A BAM of these records, and its store."""
    bam, store = folder / "in.bam", folder / "in.bams3"
    bam.write_bytes(bam_records.bam(records, **options))
    assert commands.convert(bam, store, "--force").kind == ""
    return bam, store


def stats_of(store):
    reader = open_store(str(store))
    return Stats.of(reader.contigs, reader.totals)


# ---- against samtools ----


def each_case():
    """Every alignment file of the real data; without it there is one test, which is skipped."""
    data = data_folder()
    found = conformance.cases(data) if is_there(data) else [None]
    for case in found:
        quick = case is None or (
            case.path.endswith(".bam") and (data / case.path).stat().st_size <= SMALL_BYTES
        )
        yield pytest.param(case, marks=[] if quick else pytest.mark.slow, id=str(case))


@pytest.mark.parametrize("case", list(each_case()))
def test_a_file_has_the_stats_of_samtools(shared_data, tmp_path, monkeypatch, case):
    monkeypatch.setenv("REF_PATH", "/nonexistent")
    reference = conformance.reference_options(case, shared_data, tmp_path)
    try:
        source = conformance.expected_of(shared_data / case.path, reference, tmp_path).source
    except conformance.PositionTooLongError:
        return  # convert refuses it: test_conformance.py
    options = reference if source.suffix == ".cram" else []
    bam, store = tmp_path / "in.bam", tmp_path / "out.bams3"
    conformance.samtools("view", "-b", *options, "-o", bam, source)
    assert commands.convert(bam, store).kind == ""  # SAM and CRAM give the same store: test_conformance.py
    agrees_with_samtools(bam, store)


def record(flag, contig=0, pos=100, mapq=60, mate_contig=-1):
    return bam_records.record(
        flag=flag, contig=contig, pos=-1 if contig < 0 else pos, mapq=mapq, mate_contig=mate_contig
    )


def test_every_combination_of_flags_counts_as_in_samtools(tmp_path):
    records = [
        record(flag, contig, mapq=mapq, mate_contig=mate_contig)
        for contig in (0, 1, -1)
        for flag in range(1 << 12)
        for mapq, mate_contig in ((4, 0), (5, 0), (4, 1), (5, 1))
    ]
    agrees_with_samtools(*store_of(tmp_path, records))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, -1]),
            st.integers(0, (1 << 16) - 1),
            st.sampled_from([0, 4, 5, 255]),
            st.sampled_from([-1, 0, 1]),
        ),
        max_size=12,
    )
)
def test_a_few_records_of_any_flags_count_as_in_samtools(tmp_path_factory, rows):
    rows = sorted(rows, key=lambda row: row[0] % 3)  # the unplaced come last
    records = [record(flag, contig, mapq=mapq, mate_contig=mate) for contig, flag, mapq, mate in rows]
    agrees_with_samtools(*store_of(tmp_path_factory.mktemp("flags"), records))


@pytest.mark.parametrize("mapped", [1, 7, 17, 99])
def test_a_percentage_is_rounded_as_samtools_rounds_it(tmp_path, mapped):
    exact = f"{100 * mapped / 160:.2f}%"
    bam, store = store_of(tmp_path, [record(0 if i < mapped else 4) for i in range(160)])
    agrees_with_samtools(bam, store)
    assert exact not in written(store, "--flagstat").decode()  # single precision shows


def test_a_store_without_reads_or_contigs_has_stats_too(tmp_path):
    agrees_with_samtools(*store_of(tmp_path, []))
    agrees_with_samtools(*store_of(tmp_path, [record(4, -1)], header=bam_records.header_bytes(())))


def test_placed_reads_without_a_position_count_on_their_contig(tmp_path):
    records = [record(0, pos=-1), record(0, pos=2_000_000), record(4, 1, pos=-1)]  # past the end, too
    agrees_with_samtools(*store_of(tmp_path, records))


# ---- what it costs, and its values ----


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A store: 4 mapped and 1 unmapped record on chr1, 1 mapped on chr2, 2 unplaced."""
    flags = ((0, 0x63), (0, 0x93), (0, 0x443), (0, 0x905 & ~4), (0, 0x4), (1, 0x200), (-1, 0x4), (-1, 0x204))
    records = [record(flag, contig) for contig, flag in flags]
    return store_of(tmp_path_factory.mktemp("small"), records)[1]


@pytest.fixture(scope="module")
def many_contigs(tmp_path_factory):
    """A store of 1,500 contigs, every third with reads, the more the later, and some unplaced."""
    contigs = [(f"scaffold{i}", 1000) for i in range(1500)]
    records = [record(4 * (i % 2), i) for i in range(0, 1500, 3) for _ in range(1 + i // 100)]
    header = bam_records.header_bytes(contigs)
    folder = tmp_path_factory.mktemp("many")
    return store_of(folder, [*records, *[record(4, -1)] * 100], header=header)[1]


@pytest.mark.parametrize(("name", "n_ranges"), [("small", 1), ("many_contigs", 2)])
def test_nothing_is_read_but_totals_and_the_contig_table(request, name, n_ranges):
    folder, store = request.getfixturevalue(name), MemoryStore()
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    reader = StoreReader(store)
    store.ranges.clear()
    assert Stats.of(reader.contigs, reader.totals).total("records") == reader.manifest.records
    assert [key for key, _, _ in store.ranges] == [reader.manifest.index_key] * n_ranges


def test_a_store_without_its_chunks_still_has_its_stats(small, tmp_path):
    shutil.copytree(small, tmp_path / "s.bams3")
    shutil.rmtree(tmp_path / "s.bams3" / "data")
    assert written(tmp_path / "s.bams3", "--flagstat") == written(small, "--flagstat")


def test_no_heavy_package_is_imported(small):
    program = "import sys; from bams3.cli import _run; _run(['stats', sys.argv[1]]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, small], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "numpy" in imported
    assert not imported & {"pysam", "scipy", "matplotlib", "boto3", "pyarrow", "tqdm"}


def test_stats_are_values_with_names(small):
    stats = stats_of(small)
    assert stats.contigs.names == ("chr1", "chr2")
    assert (stats.mapped.tolist(), stats.unmapped.tolist(), stats.n_unplaced) == ([4, 1], [1, 0], 2)
    assert (stats.passed["records"], stats.failed["records"], stats.total("records")) == (6, 2, 8)
    assert (stats.passed["proper_pair"], stats.total("primary"), stats.bases) == (3, 7, 32)


def test_categories_are_those_of_the_index_in_its_order():
    assert tuple(category.total for category in FLAGSTAT) == spec.TOTALS[: len(FLAGSTAT)]


def test_idxstats_has_a_form_for_programs(small):
    assert json.loads(written(small, "--json")) == idxstats(stats_of(small))
    assert idxstats(stats_of(small)) == [
        {"contig": "chr1", "length_bp": 1_000_000, "mapped": 4, "unmapped": 1},
        {"contig": "chr2", "length_bp": 2_000, "mapped": 1, "unmapped": 0},
        {"contig": "*", "length_bp": 0, "mapped": 0, "unmapped": 2},
    ]


def test_a_contig_whose_name_is_no_utf8_keeps_its_bytes(tmp_path):
    header = bam_records.header_bytes((("chrX", 1000),)).replace(b"chrX", b"chr\xff")
    _, store = store_of(tmp_path, [record(0)], header=header)
    assert written(store) == b"chr\xff\t1000\t1\t0\n*\t0\t0\t0\n"
    assert json.loads(written(store, "--json"))[0]["contig"] == "chr\udcff"
    written(store, "--plot", tmp_path / "x.png")


@pytest.mark.parametrize(("name", "value"), [("mapped", 3), ("failed_secondary", 1), ("read1", 1 << 63)])
def test_totals_that_contradict_themselves_are_refused(name, value):
    totals = np.zeros((2, len(spec.TOTALS)), np.uint64)
    totals[0, spec.TOTALS.index("records")] = 2
    totals[0, spec.TOTALS.index(name)] = value
    for ask in (lambda: Stats.of(ContigTable(("a",), (9,)), totals), lambda: flagstat(totals)):
        with pytest.raises(CorruptDataError) as caught:
            ask()
        assert caught.value.kind == "bad-index"


# ---- options ----


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "--plot", "x.png"],
        ["--json", "--multiqc", "x_mqc.json"],
        ["--multiqc", "x.json"],
        ["--multiqc", "_mqc.json"],
        ["--plot", "x.pdf"],
        ["--sample", "me"],
        ["--sample", " ", "--plot", "x.png"],
    ],
)
def test_options_that_make_no_sense_together_are_an_input_error(
    small, capsys, monkeypatch, tmp_path, arguments
):
    monkeypatch.chdir(tmp_path)
    assert _run(["stats", str(small), *arguments]) == 2
    out, words = capsys.readouterr()
    assert out == ""
    assert words.splitlines()[0].endswith(" [usage]")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_and_where_nothing_can_be_written_are_input_errors(small, capsys, tmp_path):
    assert _run(["stats", str(tmp_path)]) == 2
    assert "[not-a-store]" in capsys.readouterr().err
    for option, name in (("--plot", "x.png"), ("--multiqc", "x_mqc.json")):
        assert _run(["stats", str(small), option, str(tmp_path / "absent" / name)]) == 2
        assert capsys.readouterr().err.splitlines()[0].endswith("[cannot-write]")


def test_files_alone_leave_stdout_empty_and_flagstat_fills_it(small, tmp_path):
    files = ["--multiqc", tmp_path / "s_mqc.json", "--plot", tmp_path / "s.png"]
    assert written(small, *files) == b""
    assert {path.name for path in tmp_path.iterdir()} == {"s_mqc.json", "s_reads_mqc.json", "s.png"}
    assert written(small, *files, "--flagstat") == written(small, "--flagstat")
    assert written(small, *files, "--flagstat", "--json") == written(small, "--flagstat", "--json")


def test_a_write_that_fails_leaves_the_file_that_was_there(small, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="the figure needs the extra plots")
    import bams3.plots

    def full(_stats, _sample, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bams3.plots, "write_stats", full)
    (tmp_path / "s.png").write_bytes(b"before")
    assert _run(["stats", str(small), "--plot", str(tmp_path / "s.png")]) == 4
    assert "[disk-full]" in capsys.readouterr().err
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("s.png", b"before")]


# ---- MultiQC ----


def multiqc_of(store, folder, *options):
    """General statistics and parts of the graph, of the one sample in the files."""
    assert written(store, "--multiqc", folder / "s_mqc.json", *options) == b""
    general, graph = (json.loads((folder / name).read_text()) for name in ("s_mqc.json", "s_reads_mqc.json"))
    assert list(general["data"]) == list(graph["data"])
    [sample] = general["data"]
    return sample, general["data"][sample], graph["data"][sample]


def test_multiqc_gets_reads_shares_and_parts_that_add_up(small, tmp_path):
    sample, numbers, parts = multiqc_of(small, tmp_path)
    assert sample == "in"
    assert numbers == {
        "reads": 7,
        "bases": 32,
        "mapped_percent": 57.1429,
        "duplicates_percent": 14.2857,
        "properly_paired_percent": 100.0,
    }
    assert parts == {"properly_paired": 3, "mapped": 1, "unmapped": 3, "secondary": 1, "supplementary": 0}
    assert sum(parts.values()) == 8


def test_a_percentage_of_nothing_is_left_out(tmp_path):
    _, store = store_of(tmp_path, [])
    assert multiqc_of(store, tmp_path)[1] == {"reads": 0, "bases": 0}


def test_a_sample_is_named_after_its_store_or_as_asked(small, tmp_path, monkeypatch):
    assert multiqc_of(small, tmp_path, "--sample", "patient 1")[0] == "patient 1"
    assert multiqc_of(f"{small}/", tmp_path)[0] == "in"
    (tmp_path / "staged.bams3").symlink_to(small)  # as workflow engines do
    assert multiqc_of(tmp_path / "staged.bams3", tmp_path)[0] == "staged"
    monkeypatch.chdir(small)
    assert multiqc_of(".", tmp_path)[0] == "in"


@pytest.mark.engine
@pytest.mark.skipif(
    importlib.util.find_spec("multiqc") is None, reason="MultiQC is not installed: pip install 'bams3[test]'"
)
def test_multiqc_shows_the_numbers_of_two_stores(small, many_contigs, tmp_path):
    for sample, store in (("one", small), ("two", many_contigs)):
        written(store, "--multiqc", tmp_path / f"{sample}_mqc.json", "--sample", sample)
    run = [sys.executable, "-m", "multiqc", "--strict", "--no-ansi", "--no-version-check", "-o", "out", "."]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    words = done.stdout + done.stderr
    assert done.returncode == 0, words
    assert "bams3_stats: Found 2" in words
    found = tmp_path / "out" / "multiqc_data"
    header, *rows = (found / "multiqc_general_stats.txt").read_text().splitlines()
    columns = "reads mapped_percent duplicates_percent properly_paired_percent bases".split()
    assert [name.rpartition("-")[2] for name in header.split("\t")[1:]] == columns
    assert rows[0].split("\t")[:3] == ["one", "7e-06", "57.1429"]  # millions
    assert rows[1].split("\t")[0] == "two"
    graph = (found / "multiqc_bams3_reads_plot.txt").read_text().splitlines()
    assert graph[0] == "Sample\tproperly_paired\tmapped\tunmapped\tsecondary\tsupplementary"
    assert graph[1] == "one\t3\t1\t3\t1\t0"
    assert graph[2].startswith("two\t0\t")
    assert (tmp_path / "out" / "multiqc_report.html").stat().st_size > 100_000
