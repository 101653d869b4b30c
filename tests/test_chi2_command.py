"""``bams3 chi2-batch`` and ``chi2-merge`` as users run them: the same bytes however cut, and bad use."""

import csv
import gzip
import json
import os
import re
import signal
import socket
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from commands import run, run_apart, start
from test_chi2 import KNOWN, results_of

from bams3.chi2 import run_two_tier_chi2_test
from bams3.chi2.results import COLUMNS, qvalues
from bams3.chi2.summary import genomic_control_lambda
from bams3.errors import InputError

HEADER = "probeset_id\tbatch_name\tn_AA\tn_AB\tn_BB\tn_NC\n"
FEW = ("--max-simulations", 2000)


def lines_of(tables):
    """Rows of {probeset: table}, batches b000, b001, ..."""
    return [
        f"{name}\tb{i:03}\t" + "\t".join(map(str, row)) + "\n"
        for name, table in tables.items()
        for i, row in enumerate(np.asarray(table).tolist())
    ]


def write_counts(path, tables, order=None):
    lines = lines_of(tables)
    path.write_text(HEADER + "".join(lines if order is None else [lines[i] for i in order]))
    return path


def some_tables(n=60, seed=1):
    rng = np.random.default_rng(seed)
    tables = {}
    for k in range(n):
        q = rng.beta(0.5, 1.5) if k % 3 else 0.4
        shares = np.array([(1 - q) ** 2, 2 * q * (1 - q), q * q, 0]) * 0.9 + [0, 0, 0, 0.1]
        tables[f"AX-{k:04}"] = [rng.multinomial(size, shares) for size in rng.integers(70, 250, 9)]
    return tables


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("counts") / "counts.tsv", some_tables())


@pytest.fixture(scope="module")
def whole(counts):
    """What one run with its defaults writes of them."""
    out = counts.with_name("whole.tsv")
    succeeds("chi2-batch", counts, out, *FEW)
    return out


def succeeds(*arguments):
    done = run(*arguments)
    assert done.code == 0, done.err
    return done


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


# ---- what comes out ----


def test_results_are_those_of_the_tests_with_all_columns(counts, whole):
    rows = rows_of(whole)
    assert list(rows[0]) == list(COLUMNS)
    tables = some_tables()
    assert [row["probeset_id"] for row in rows] == list(tables)
    found = results_of([*tables.values()], [*tables], max_simulations=2000)
    assert {row["method"] for row in rows} >= {"standard", "monte_carlo"}
    for i, row in enumerate(rows):
        assert float(row["pvalue"]) == found.pvalue[i]
        assert float(row["chi2_statistic"]) == found.statistic[i]
        assert float(row["pvalue_no_call"]) == found.pvalue_no_call[i]
        assert float(row["worst_residual"]) == found.worst_residual[i]
        assert int(row["dof"]) == found.dof[i]
        assert row["worst_batch"] == f"b{found.worst_row[i] - 9 * i:03}"
        assert int(row["total_samples"]) == np.sum(tables[row["probeset_id"]])
    q = [float(row["qvalue"]) for row in rows]
    assert q == qvalues(found.pvalue).tolist()


def test_the_python_entry_of_the_seed_gives_the_same(counts, whole):
    results = run_two_tier_chi2_test(str(counts), batch_size=1000, show_progress=False, max_simulations=2000)
    assert results.column_names == list(COLUMNS)
    assert results["pvalue"].to_pylist() == [float(row["pvalue"]) for row in rows_of(whole)]
    first = run_two_tier_chi2_test(counts, adaptive=False, n_simulations=100)
    assert {n for n in first["n_simulations"].to_pylist() if n} == {100}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_simulations": 100}, "n_simulations is for adaptive=False"),
        ({"adaptive": False, "max_simulations": 100}, "max_simulations is for adaptive=True"),
        ({"min_expected": 3}, "min_expected is no option of the tests"),
        ({"random_seed": "x"}, "random_seed is x: give a whole number"),
        ({"min_expected_count": float("inf")}, "min_expected_count is inf: give 0 or"),
        ({"batch_size": -1}, "batch_size is -1: give None, or 1 or more"),
        ({"batch_size": 1 << 63}, "batch_size is 9223372036854775808: give None"),
        ({"n_workers": 1.5}, "n_workers is 1.5: give None"),
    ],
)
def test_the_python_entry_refuses_what_it_cannot_do(counts, options, words):
    with pytest.raises(InputError, match=words):
        run_two_tier_chi2_test(counts, **options)


def test_the_python_entry_adds_up_doubled_rows_when_asked(counts, whole, tmp_path):
    header, *rows = counts.read_text().splitlines(keepends=True)
    twice = tmp_path / "twice.tsv"
    twice.write_text("".join([header, *(2 * rows)]))
    with pytest.raises(InputError, match="has a row already"):
        run_two_tier_chi2_test(twice)
    found = run_two_tier_chi2_test(twice, sum_duplicates=True, max_simulations=2000)
    assert found["total_samples"].to_pylist() == [2 * int(row["total_samples"]) for row in rows_of(whole)]


def test_parquet_holds_what_text_holds(counts, whole, tmp_path):
    out = tmp_path / "out.parquet"
    succeeds("chi2-batch", counts, out, *FEW)
    table = pa.parquet.read_table(out)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    for row, other in zip(table.to_pylist(), rows_of(whole), strict=True):
        for name, value in row.items():
            text = other[name]
            assert value == (None if value is None else type(value)(text)), name
            assert (value is None) == (text == "" and COLUMNS[name] == "double")


def test_the_summary_counts_what_the_results_hold(counts, whole):
    rows = rows_of(whole)
    summary = json.loads(whole.with_name("whole.tsv.summary.json").read_text())
    assert summary["probesets"] == len(rows)
    for method, n in summary["methods"].items():
        assert n == sum(row["method"] == method for row in rows)
    assert summary["draws"] == sum(int(row["n_simulations"]) for row in rows)
    assert summary["below_q"]["0.05"] == sum(float(row["qvalue"]) < 0.05 for row in rows)
    p = np.array([float(row["pvalue"]) for row in rows])
    assert summary["genomic_control_lambda"] == genomic_control_lambda(p)
    text = whole.with_name("whole.tsv.summary.txt").read_text()
    assert f"{len(rows)} probesets" in text
    assert f"{summary['methods']['monte_carlo']}  monte_carlo" in text


def test_the_notes_of_the_seed_are_told(counts, tmp_path):
    done = succeeds("chi2-batch", counts, tmp_path / "out.tsv", "--batch-size", 1000, "--n-workers", 3, *FEW)
    assert done.err.splitlines()[:2] == [
        "Note: Using 3 parallel workers for processing",
        "Note: Batch size = 1000 probesets per worker",
    ]
    auto = succeeds("chi2-batch", counts, tmp_path / "out.tsv", "--n-workers", 2, *FEW)
    assert re.search(r"^Note: Batch size = \d+ probesets per worker$", auto.err, re.MULTILINE)
    assert succeeds("chi2-batch", counts, tmp_path / "out.tsv", "--quiet", *FEW).err == ""


# ---- however it is cut ----


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("workers", [1, 4])
def test_batches_and_workers_change_no_byte(counts, whole, tmp_path, batch_size, workers):
    out = tmp_path / "out.tsv"
    succeeds("chi2-batch", counts, out, "--batch-size", batch_size, "--n-workers", workers, *FEW)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("n", "suffix"), [(7, "tsv"), (3, "parquet"), (100, "tsv"), (1, "parquet")])
def test_merged_slices_are_what_one_run_writes(counts, whole, tmp_path, n, suffix):
    slices = [tmp_path / f"slice-{i}.{suffix}" for i in range(1, n + 1)]
    for i, path in enumerate(slices, 1):
        succeeds("chi2-batch", counts, path, "--slice", f"{i}/{n}", *FEW)
    merged = tmp_path / "merged.tsv"
    succeeds("chi2-merge", *reversed(slices), "-o", merged)
    assert merged.read_bytes() == whole.read_bytes()
    summary = "tsv.summary.json"
    assert merged.with_suffix(f".{summary}").read_bytes() == whole.with_suffix(f".{summary}").read_bytes()
    in_columns = [tmp_path / "merged.parquet", tmp_path / "whole.parquet"]
    succeeds("chi2-merge", *slices, "-o", in_columns[0])
    succeeds("chi2-batch", counts, in_columns[1], *FEW)
    assert in_columns[0].read_bytes() == in_columns[1].read_bytes()


def test_the_order_of_rows_changes_no_result(whole, tmp_path):
    tables = some_tables()
    order = np.random.default_rng(3).permutation(sum(map(len, tables.values())))
    mixed = write_counts(tmp_path / "mixed.tsv", tables, order)
    succeeds("chi2-batch", mixed, tmp_path / "out.tsv", *FEW)
    found = {row["probeset_id"]: row for row in rows_of(tmp_path / "out.tsv")}
    assert found == {row["probeset_id"]: row for row in rows_of(whole)}


def test_tables_come_packed_and_through_pipes(counts, whole, tmp_path):
    packed = tmp_path / "counts.tsv.gz"
    packed.write_bytes(gzip.compress(counts.read_bytes()))
    succeeds("chi2-batch", packed, tmp_path / "out.tsv", *FEW)
    assert (tmp_path / "out.tsv").read_bytes() == whole.read_bytes()
    with packed.open("rb") as file:
        done = run_apart("chi2-batch", "-", "-", "--quiet", *FEW, stdin=file)
    assert done.out.encode() == whole.read_bytes()
    assert done.err == ""


def test_other_seeds_give_other_draws(counts, whole, tmp_path):
    succeeds("chi2-batch", counts, tmp_path / "out.tsv", "--random-seed", -5, *FEW)
    others = zip(rows_of(tmp_path / "out.tsv"), rows_of(whole), strict=True)
    drawn = [(a["pvalue"], b["pvalue"]) for a, b in others if a["method"] == "monte_carlo"]
    assert any(a != b for a, b in drawn)


# ---- edges ----


def test_what_cannot_be_tested_is_a_row_with_its_reason(tmp_path):
    tables = {"alone": [[3, 4, 5, 0]], "same": [[9, 0, 0, 0], [8, 0, 0, 0]], "none": [[0] * 4] * 3}
    known = {
        f"known{i}": np.pad(table, ((0, 0), (0, 4 - len(table[0])))) for i, (table, *_) in enumerate(KNOWN)
    }
    write_counts(tmp_path / "in.tsv", tables | known)
    succeeds("chi2-batch", tmp_path / "in.tsv", tmp_path / "out.tsv", *FEW)
    rows = {row["probeset_id"]: row for row in rows_of(tmp_path / "out.tsv")}
    assert [rows[name]["error"] for name in tables] == [
        "one batch has samples",
        "one genotype: AA",
        "no samples",
    ]
    for name in tables:
        assert rows[name]["method"] == "skipped"
        assert not any(rows[name][column] for column in ("pvalue", "qvalue", "chi2_statistic", "worst_batch"))
    assert all(rows[name]["pvalue"] and not rows[name]["error"] for name in known)
    summary = json.loads((tmp_path / "out.tsv.summary.json").read_text())
    assert summary["errors"] == dict.fromkeys(["one batch has samples", "one genotype: AA", "no samples"], 1)
    assert summary["empty_batches"] == 3


def test_rows_of_a_probeset_and_batch_are_added_up_if_asked_for(tmp_path):
    once = write_counts(tmp_path / "once.tsv", {"a": [[4, 6, 2, 0], [5, 5, 3, 1]]})
    twice = tmp_path / "twice.tsv"
    twice.write_text(HEADER + "a\tb000\t1\t6\t2\t0\na\tb001\t5\t5\t3\t1\na\tb000\t3\t0\t0\t0\n")
    refused = run("chi2-batch", twice, tmp_path / "out.tsv")
    assert (refused.code, "line 4" in refused.err, "doubled-batch" in refused.err) == (2, True, True)
    assert not (tmp_path / "out.tsv").exists()
    for source in (once, twice):
        succeeds("chi2-batch", source, source.with_suffix(".out.tsv"), "--sum-duplicates")
    assert (tmp_path / "once.out.tsv").read_bytes() == (tmp_path / "twice.out.tsv").read_bytes()


def test_a_batch_of_too_many_samples_is_refused(tmp_path):
    (tmp_path / "in.tsv").write_text(HEADER + "a\tb\t1\t2\t3\t4\n" + "a\tc\t2000000000\t200000000\t0\t0\n")
    done = run("chi2-batch", tmp_path / "in.tsv", tmp_path / "out.tsv")
    assert done.code == 2
    assert "line 3" in done.err
    assert "2,200,000,000 samples" in done.err


BAD_USE = [
    (("IN",), "INPUT and OUTPUT"),
    (("IN", "OUT", "more"), "INPUT and OUTPUT"),
    (("IN", "IN"), "is the input too"),
    (("IN", "out.csv"), "not the name of results"),
    (("IN", "OUT", "--n-simulations", "5"), "--n-simulations is for --no-adaptive"),
    (("IN", "OUT", "--no-adaptive", "--max-simulations", "5"), "--max-simulations is for --adaptive"),
    (("IN", "OUT", "--no-adaptive", "--n-simulations", "0"), "n-simulations"),
    (("IN", "OUT", "--batch-size", "0.5"), "batch-size"),
    (("IN", "OUT", "--slice", "4/3"), "slices are numbered"),
    (("OUT", "--vcf", "x.vcf"), "go together"),
    (("OUT", "--vcf", "x.vcf", "--bfile", "y", "--plates", "z"), "exclude each other"),
    (("IN", "OUT", "--vcf", "x.vcf", "--plates", "z"), "OUTPUT"),
    (("nothing.tsv", "OUT"), "no such file"),
    (("IN", "OUT", "--min-expected-count", "inf"), "min-expected-count inf"),
    (("IN", "OUT", "--random-seed", str(2**63)), "64 bits"),
    (("IN", "OUT", "--batch-size", str(2**63)), "batch-size"),
    (("IN", "OUT", "--batch-size", "9" * 5000), "batch-size"),
    (("IN", "OUT", "--n-workers", "9" * 5000), "threads"),
    (("OUT", "--bfile", "./", "--plates", "z"), "--bfile"),
    (("IN", "nowhere/out.parquet"), "nowhere/out.parquet: cannot be written: No such file or directory"),
    (("IN", "z/out.tsv"), "cannot be written: Not a directory"),
    (("IN", f"{'x' * 250}.tsv"), "cannot be written: File name too long"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_USE, ids=[words for _, words in BAD_USE])
def test_bad_use_is_one_line_and_leaves_nothing(counts, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "z").write_text("s\tp\n")
    known = {"IN": str(counts), "OUT": "out.tsv"}
    before = counts.read_bytes()
    done = run("chi2-batch", *(known.get(word, word) for word in arguments))
    assert done.code == 2
    assert words in done.err.splitlines()[0]
    assert counts.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"z"}


def test_slices_that_do_not_belong_together_are_not_merged(counts, whole, tmp_path):
    names = [tmp_path / f"{i}.tsv" for i in (1, 2, 3)]
    for i, path in enumerate(names, 1):
        succeeds("chi2-batch", counts, path, "--slice", f"{i}/3", *FEW)
    out = ("-o", tmp_path / "out.tsv")
    assert run("chi2-merge", *names[:2], *out).kind == "slices-missing"
    assert run("chi2-merge", *names, names[0], *out).kind == "doubled-slice"
    assert run("chi2-merge", whole, *out).kind == "not-a-slice"
    assert run("chi2-merge", counts, *out).kind == "no-summary"
    succeeds("chi2-batch", counts, names[1], "--slice", "2/3", *FEW, "--random-seed", 9)
    assert run("chi2-merge", *names, *out).kind == "slice-mismatch"
    succeeds("chi2-batch", counts, names[1], "--slice", "2/4", *FEW)
    assert run("chi2-merge", *names, *out).kind == "slice-mismatch"
    succeeds("chi2-batch", counts, names[1], "--slice", "2/3", *FEW)
    names[2].write_bytes(names[2].read_bytes()[:-100])
    assert run("chi2-merge", *names, *out).kind in ("not-results", "slice-mismatch")
    names[2].write_text("\t".join(COLUMNS) + "\n")
    assert run("chi2-merge", *names, *out).kind == "slice-mismatch"
    assert not (tmp_path / "out.tsv").exists()


def test_no_input_is_overwritten_by_results_or_their_summary(counts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vcf = (
        "##fileformat=VCFv4.2\n##contig=<ID=1>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n"
        "1\t5\tx\tA\tT\t.\t.\t.\tGT\t0/0\t1/1\n"
    )
    for name, text in (("vcf.tsv", vcf), ("plates.tsv", "A\tp\nB\tq\n")):
        (tmp_path / name).write_text(text)
    for name in ("o.tsv.summary.txt", "o.tsv.summary.json"):
        (tmp_path / name).write_bytes(counts.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    panel = ("--vcf", "vcf.tsv", "--plates", "plates.tsv")
    for arguments in (
        (*panel, "plates.tsv"),
        (*panel, "vcf.tsv"),
        ("o.tsv.summary.txt", "o.tsv"),
        ("o.tsv.summary.json", "o.tsv"),
    ):
        done = run("chi2-batch", *arguments)
        assert (done.code, done.kind) == (2, "usage")
        assert "is the input too" in done.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_merged_results_replace_none_of_their_slices(counts, tmp_path):
    one = tmp_path / "1.tsv"
    succeeds("chi2-batch", counts, one, "--slice", "1/1", *FEW)
    assert run("chi2-merge", one, "-o", one).kind == "usage"
    succeeds("chi2-merge", one, "-o", tmp_path / "all.tsv")


def test_a_flipped_bit_of_a_slice_is_noticed(counts, tmp_path):
    one = tmp_path / "1.parquet"
    succeeds("chi2-batch", counts, one, "--slice", "1/1", *FEW)
    out, data = tmp_path / "out.tsv", one.read_bytes()
    succeeds("chi2-merge", one, "-o", out)
    sound = out.read_bytes()
    for at in range(100, len(data) // 2, 97):  # pages of columns; their metadata lies behind them
        one.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        done = run("chi2-merge", one, "-o", out)
        # or it was one of a page's header, that says nothing of its values
        assert done.kind == "not-results" or out.read_bytes() == sound


def test_slices_of_a_table_that_was_changed_meanwhile_are_not_merged(tmp_path):
    counts = write_counts(tmp_path / "in.tsv", some_tables(9, seed=1))
    slices = [tmp_path / "1.tsv", tmp_path / "2.tsv"]
    succeeds("chi2-batch", counts, slices[0], "--slice", "1/2", *FEW)
    write_counts(counts, some_tables(9, seed=2))
    succeeds("chi2-batch", counts, slices[1], "--slice", "2/2", *FEW)
    done = run("chi2-merge", *slices, "-o", tmp_path / "out.tsv")
    assert done.kind == "slice-mismatch"
    assert "was not the same" in done.err
    assert not (tmp_path / "out.tsv").exists()


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("pvalue", "2", "pvalue: 2.0"),
        ("pvalue", "nan", "pvalue: nan"),
        ("pvalue", "", "pvalue: None"),
        ("method", "magic", "method: 'magic'"),
    ],
)
def test_slices_that_were_edited_are_not_merged(counts, tmp_path, column, cell, words):
    one = tmp_path / "1.tsv"
    succeeds("chi2-batch", counts, one, "--slice", "1/1", *FEW)
    lines = one.read_text().splitlines()
    cells = lines[4].split("\t")
    cells[list(COLUMNS).index(column)] = cell
    one.write_text("\n".join([*lines[:4], "\t".join(cells), *lines[5:]]) + "\n")
    done = run("chi2-merge", one, "-o", tmp_path / "out.tsv")
    assert done.kind == "not-results"
    assert f"probeset {cells[0]} column {words}" in done.err
    assert not (tmp_path / "out.tsv").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"which": 5},
        {"which": "x"},
        {"probesets": "7"},
        {"empty_batches": None},
        {"options": {"n_simulations": 0}},
    ],
    ids=str,
)
def test_a_summary_that_was_edited_is_none(counts, tmp_path, change):
    one = tmp_path / "1.tsv"
    succeeds("chi2-batch", counts, one, "--slice", "1/1", *FEW)
    beside = tmp_path / "1.tsv.summary.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    assert run("chi2-merge", one, "-o", tmp_path / "out.tsv").kind == "no-summary"


def test_a_name_with_a_quote_is_refused_in_text_and_kept_in_parquet(tmp_path):
    prefix = tmp_path / "panel"
    prefix.with_suffix(".bed").write_bytes(bytes([0x6C, 0x1B, 1, 0b1100]))
    prefix.with_suffix(".bim").write_text('1\ta"b\t0\t5\tT\tA\n')
    prefix.with_suffix(".fam").write_text("F A 0 0 0 0\nF B 0 0 0 0\n")
    plates = tmp_path / "plates.tsv"
    plates.write_text("A\tp\nB\tq\n")
    panel = ("--bfile", prefix, "--plates", plates, "--quiet")
    done = run("chi2-batch", *panel, tmp_path / "out.tsv")
    assert done.code == 2
    assert "'a\"b' has a quote" in done.err.splitlines()[0]
    assert not (tmp_path / "out.tsv").exists()
    succeeds("chi2-batch", *panel, tmp_path / "out.parquet")
    assert pa.parquet.read_table(tmp_path / "out.parquet")["probeset_id"].to_pylist() == ['a"b']


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_names_of_files_need_not_be_utf_8(counts, tmp_path, suffix):
    table = tmp_path / "\udcff.tsv"
    table.write_bytes(counts.read_bytes())
    one = tmp_path / f"\udcfe{suffix}"
    succeeds("chi2-batch", table, one, "--slice", "1/1", *FEW)
    succeeds("chi2-merge", one, "-o", tmp_path / f"\udcfd{suffix}")


def test_what_a_killed_run_left_goes_with_the_next(counts, tmp_path):
    def left_by(pid):
        path = tmp_path / f".out.tsv.{socket.gethostname()}.{pid}.partial"
        path.write_text("half")
        return path

    dead = start("--version")
    dead.communicate()
    gone, kept = left_by(dead.pid), left_by(os.getppid())
    succeeds("chi2-batch", counts, tmp_path / "out.tsv", *FEW)
    assert not gone.exists()
    assert kept.exists()  # its writer may be at work


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_or_all(tmp_path):
    counts = write_counts(tmp_path / "in.tsv", some_tables(3000))
    out = tmp_path / "out.tsv"
    rng = np.random.default_rng(8)
    for _ in range(8):
        process = start("chi2-batch", counts, out, "--quiet", *FEW)
        time.sleep(rng.uniform(0.2, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if out.exists():
            assert len(rows_of(out)) == 3000
            assert (tmp_path / "out.tsv.summary.json").exists()
            break
        assert not os.path.lexists(out)
    succeeds("chi2-batch", counts, out, *FEW)
    assert len(rows_of(out)) == 3000


@pytest.mark.engine
def test_tables_and_results_may_lie_in_s3(counts, whole, s3_bucket):
    address = s3_bucket.put("in/counts.tsv", counts.read_bytes())
    succeeds("chi2-batch", address, s3_bucket.address("out/all.tsv"), *FEW)
    assert s3_bucket.get("out/all.tsv") == whole.read_bytes()
    for i in (1, 2):
        succeeds("chi2-batch", address, s3_bucket.address(f"out/{i}.parquet"), "--slice", f"{i}/2", *FEW)
    slices = [s3_bucket.address(f"out/{i}.parquet") for i in (1, 2)]
    succeeds("chi2-merge", *slices, "-o", s3_bucket.address("out/merged.tsv"))
    assert s3_bucket.get("out/merged.tsv") == whole.read_bytes()
    summary = json.loads(s3_bucket.get("out/merged.tsv.summary.json"))
    assert summary["given"] == address
