"""Tests of homogeneity as units of a plan: what chi2-batch writes, by jobs that may be killed."""

import gzip
import json
import os
import random
import time

import numpy as np
import pyarrow as pa
import pytest
from commands import EXIT_CODE, run, start
from pyarrow import csv, parquet
from work_cohort import in_words, plan

EXIT_CODE |= dict.fromkeys(("bad-counts", "not-a-table", "missing-column", "doubled-batch"), 2)

FILES = {"chi2.tsv", "chi2.tsv.summary.txt", "chi2.tsv.summary.json"}
#: What makes a unit take a while.
SLOW = ("--no-adaptive", "--n-simulations", 10_000)


def make_table(path, n=200, seed=1, grouped=True, twice=0):
    """Counts of n probesets on nine plates, many of them rare; a few rows may be there twice."""
    rng = np.random.default_rng(seed)
    share = rng.beta(0.3, 1.5, n)
    calls = np.stack([(1 - share) ** 2, 2 * share * (1 - share), share**2], axis=1) * 0.98
    counts = rng.multinomial(90, np.append(calls, np.full((n, 1), 0.02), axis=1)[:, None], (n, 9))
    rows = [
        f"AX-{p}\tplate {b}\t" + "\t".join(map(str, counts[p, b])) for p in range(n) for b in range(9)
    ] + [f"AX-{p}\tplate 1\t1\t2\t3\t4" for p in range(twice)]
    if not grouped:
        random.Random(seed).shuffle(rows)
    text = "\n".join(("probeset_id\tbatch_name\tn_AA\tn_AB\tn_BB\tn_NC", *rows)) + "\n"
    if path.suffix == ".parquet":
        options = csv.ParseOptions(delimiter="\t")
        parquet.write_table(csv.read_csv(pa.py_buffer(text.encode()), parse_options=options), path)
    else:
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path / "counts.tsv")


def by_one_command(folder, table, *options):
    """Files that chi2-batch writes, by name."""
    out = folder / "by-one-command"
    out.mkdir(exist_ok=True)
    done = run("chi2-batch", table, out / "chi2.tsv", "--quiet", *options)
    assert done.code == 0, done.err
    return {path.name: path.read_bytes() for path in out.iterdir()}


def run_slices(work, n, seed=1, *options):
    for i in random.Random(seed).sample(range(1, n + 1), n):
        done = work.run("--slice", f"{i}/{n}", *options)
        assert done.code == 0, done.err


def planned(folder, *options):
    """What plan says as JSON."""
    done = run("plan", "-o", folder / "p.json", "--json", *options)
    assert done.code == 0, done.err
    return json.loads(done.out)


# ---- answers ----


@pytest.mark.parametrize(
    ("n", "name", "how", "options"),
    [
        (1, "counts.tsv", {}, ()),
        (3, "counts.tsv.gz", {"twice": 5}, ("--sum-duplicates", "--exclude-no-call", "--random-seed", 7)),
        (3, "counts.tsv", {"grouped": False}, ("--min-expected-count", 2, "--max-simulations", 500)),
        (7, "counts.parquet", {}, ("--no-adaptive", "--n-simulations", 300)),
        (7, "few.tsv", {"n": 3}, ()),
    ],
)
def test_slices_in_any_order_give_what_chi2_batch_writes(tmp_path, monkeypatch, n, name, how, options):
    make_table(tmp_path / name, **how)
    monkeypatch.chdir(tmp_path)  # the summary calls the table as it was given
    wanted = by_one_command(tmp_path, name, *options)
    work = plan(tmp_path, "--chi2", name, "--slices", n, *options)
    monkeypatch.chdir("/")
    run_slices(work, n, n, "--workers", 2)
    assert work.gather() == wanted
    assert wanted.keys() == FILES


def test_all_slices_at_once_and_stdout_as_the_plan(table, tmp_path):
    done = run("plan", "--chi2", table, "--slices", 2, "-o", "-", "--work", tmp_path / "WORK")
    (tmp_path / "plan.json").write_text(done.out)
    assert run("run", tmp_path / "plan.json", "--quiet").code == 0
    assert run("gather", tmp_path / "plan.json", "-o", tmp_path / "out").code == 0
    wanted = by_one_command(tmp_path, table)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == wanted


def test_a_unit_is_called_by_its_table_and_slice(tmp_path):
    work = plan(tmp_path, "--chi2", make_table(tmp_path / "my.counts.tsv.gz"), "--slices", 2)
    assert [one["what"] for one in work.missing()] == [f"chi2 of my.counts, slice {i}/2" for i in (1, 2)]
    assert work.run("--slice", "2/2").code == 0
    assert work.status() | {"units": 2, "done": 1, "slices_done": 1} == work.status()
    assert [one["slice_number"] for one in work.missing()] == [1]


def test_what_slices_take_and_need_falls_with_their_number(tmp_path):
    table = make_table(tmp_path / "counts.tsv", 3000)
    found = {n: planned(tmp_path, "--chi2", table, "--slices", n) for n in (1, 2, 8)}
    for n, told in found.items():
        assert (told["units"], [one["units"] for one in told["slices"]]) == (n, [1] * n)
        assert len({(one["seconds"], one["mem_mb"]) for one in told["slices"]}) == 1
    most = [told["slices"][0] for told in found.values()]
    assert most[0]["seconds"] > most[1]["seconds"] > most[2]["seconds"] > 0
    assert 300 < most[2]["mem_mb"] <= most[1]["mem_mb"] <= most[0]["mem_mb"] < 1000
    assert len(planned(tmp_path, "--chi2", table)["slices"]) == 1


def test_plots_are_those_of_another_command(table, tmp_path):
    work = plan(tmp_path, "--chi2", table)
    assert work.run().code == 0
    done = run("gather", work.plan, "-o", tmp_path / "out", "--plots")
    assert (done.code, {path.name for path in (tmp_path / "out").iterdir()}) == (0, FILES)
    assert f"bams3 chi2-plot {tmp_path}/out/chi2.tsv" in done.err


# ---- what is still true ----


def test_a_runner_that_was_killed_goes_on(tmp_path):
    table = make_table(tmp_path / "counts.tsv", 600)
    work = plan(tmp_path, "--chi2", table, "--slices", 3, *SLOW)
    process = start("run", work.plan, "--quiet", "--workers", 1)
    while not (work.events("end") and len(work.events("begin")) == 2):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    before = work.times_done()
    assert sum(before.values()) == 1
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "missing-units"
    assert work.run("--workers", 1).code == 0
    assert all(n == 1 for n in work.times_done().values())
    assert work.gather() == by_one_command(tmp_path, table, *SLOW)
    assert not [path for path in work.folder.rglob("*") if "partial" in path.name]


def test_a_deadline_stops_a_unit_which_is_begun_again(tmp_path):
    table = make_table(tmp_path / "counts.tsv", 600)
    work = plan(tmp_path, "--chi2", table, *SLOW)
    assert work.run("--workers", 1, "--stop-after", "0.3s").kind == "deadline"
    assert not [path for path in work.folder.glob("chi2/*") if path.suffix == ".parquet"]
    assert work.run("--workers", 2).code == 0
    assert work.gather() == by_one_command(tmp_path, table, *SLOW)


def test_a_changed_table_is_noticed_whatever_its_size_and_time_say(table, tmp_path):
    work = plan(tmp_path, "--chi2", table, "--slices", 2)
    assert work.run("--slice", "1/2").code == 0
    before = table.stat()
    text = table.read_text()
    table.write_text(text.replace("AX-7\t", "AX=7\t"))
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = work.run("--slice", "2/2")
    assert (done.kind, "is not what it was when this was planned" in done.err) == ("units-failed", True)
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "input-changed"
    plan(tmp_path, "--chi2", table, "--slices", 2)
    assert len(work.missing()) == 2
    run_slices(work, 2)
    assert work.gather() == by_one_command(tmp_path, table)
    table.write_text(text)  # as it was at first, at another time
    assert planned(tmp_path, "--chi2", table, "--slices", 2, "--work", work.folder)["done"] == 1


def test_other_options_or_another_number_of_slices_make_new_units(table, tmp_path):
    work = plan(tmp_path, "--chi2", table, "--slices", 2)
    run_slices(work, 2)
    same = ("--chi2", table, "--slices", 2, "--work", work.folder)
    assert planned(tmp_path, *same)["done"] == 2
    for options in (
        ("--min-expected-count", 4),
        ("--no-adaptive",),
        ("--max-simulations", 99),
        ("--random-seed", 2),
        ("--exclude-no-call",),
        ("--sum-duplicates",),
    ):
        assert planned(tmp_path, *same, *options)["done"] == 0, options
    assert planned(tmp_path, "--chi2", table, "--slices", 3, "--work", work.folder)["done"] == 0


@pytest.mark.parametrize("end", ["parquet", "parquet.summary.json"])
def test_a_result_that_lost_a_file_is_made_again_by_a_new_plan(table, tmp_path, end):
    work = plan(tmp_path, "--chi2", table, "--slices", 2)
    run_slices(work, 2)
    (path,) = work.folder.glob(f"chi2/counts.1-of-2.*.{end}")
    path.unlink()
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "missing-units"
    plan(tmp_path, "--chi2", table, "--slices", 2)
    assert len(work.missing()) == 1
    assert work.run().code == 0
    assert work.gather() == by_one_command(tmp_path, table)


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("samples.tsv",), "--chi2 and SAMPLES exclude"),
        (("-L", "targets.bed"), "--chi2 and --regions-file exclude"),
        (("--count",), "--chi2 and --count exclude"),
        (("--exec", "cat"), "--chi2 and --exec exclude"),
        (("-q", 20), "--chi2 and --min-mapq exclude"),
        (("--target-seconds", 60), "--chi2 and --target-seconds exclude"),
        (("--n-simulations", 9), "--n-simulations is for --no-adaptive"),
        (("--no-adaptive", "--max-simulations", 9), "--max-simulations is for --adaptive"),
    ],
)
def test_options_that_exclude_each_other_are_one_line(table, tmp_path, options, words):
    done = run("plan", "--chi2", table, *options, "-o", tmp_path / "p.json")
    assert done.kind == "usage"
    assert words in in_words(done.err)
    assert not (tmp_path / "p.json").exists()


def test_options_of_tests_are_for_tables_and_samples_are_asked_for(tmp_path):
    for options in (("S1.bams3", "--stats", "--random-seed", 1), ("--count",)):
        assert run("plan", *options, "-o", tmp_path / "p.json").kind == "usage"


def test_what_no_job_can_read_is_refused_when_it_is_planned(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for given, kind in (("nothing.tsv", "no-such-file"), ("", "not-a-file"), ("pipe", "not-a-file")):
        done = run("plan", "--chi2", tmp_path / given, "-o", tmp_path / "p.json")
        assert (done.kind, in_words(done.err).count(str(tmp_path))) == (kind, 1)
    assert run("plan", "--chi2", "-", "-o", tmp_path / "p.json").kind == "usage"


def test_a_bad_table_fails_its_units_with_what_chi2_batch_says(table, tmp_path):
    table.write_text(table.read_text().replace("AX-9\tplate 4\t", "AX-9\tplate 4\tmany"))
    said = run("chi2-batch", table, tmp_path / "chi2.tsv", "--quiet")
    assert said.kind == "bad-counts"
    work = plan(tmp_path, "--chi2", table, "--slices", 2)
    done = work.run()
    assert (done.code, done.kind) == (5, "units-failed")
    assert in_words(said.err).removeprefix("bams3: ") in in_words(done.err)
    assert "chi2 of counts, slice 1/2" in done.err
    refused = run("gather", work.plan, "-o", tmp_path / "out")
    assert (refused.code, refused.kind) == (5, "missing-units")
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_gone_fails_its_units_but_what_is_done_is_gathered(table, tmp_path):
    work = plan(tmp_path, "--chi2", table, "--slices", 2)
    wanted = by_one_command(tmp_path, table)
    assert work.run("--slice", "1/2").code == 0
    table.rename(tmp_path / "away.tsv")
    assert "no such file" in in_words(work.run("--slice", "2/2").err)
    (tmp_path / "away.tsv").rename(table)
    assert work.run("--retry-failed").code == 0
    table.unlink()
    assert work.gather() == wanted


def test_a_plan_with_a_wrong_kind_is_refused(table, tmp_path):
    work = plan(tmp_path, "--chi2", table, "--slices", 2)
    value = json.loads(work.plan.read_text())
    for wrong in ({"n": 0}, {"n": "2"}, {"n": 3}, {"options": {}, "m": 1}, {"options": {"n_simulations": 0}}):
        kind = {**value["kinds"][0], **wrong}
        work.plan.write_text(json.dumps({**value, "kinds": [kind]}))
        assert run("status", work.plan).kind == "not-a-plan", wrong
    mixed = {**value, "kinds": [value["kinds"][0], {"kind": "stats"}], "cost_us": [1] * 3, "bounds": [0, 3]}
    work.plan.write_text(json.dumps(mixed))
    assert run("status", work.plan).kind == "not-a-plan"


# ---- S3 ----


@pytest.mark.engine
@pytest.mark.parametrize("key", ["in/counts.tsv.gz", "counts.tsv.gz"])
def test_all_of_it_works_in_s3(s3_bucket, tmp_path, key):
    table = make_table(tmp_path / "counts.tsv.gz")
    given = s3_bucket.put(key, table.read_bytes())
    address = s3_bucket.address("plan.json")
    assert run("plan", "--chi2", given, "--slices", 3, "-o", address).code == 0
    for i in (2, 3, 1):
        done = run("run", address, "--quiet", "--slice", f"{i}/3")
        assert done.code == 0, done.err
    assert "3 of 3 units done" in run("status", address).out
    done = run("gather", address, "-o", s3_bucket.address("out"))
    assert done.code == 0, done.err
    assert {name: s3_bucket.get(f"out/{name}") for name in FILES} == by_one_command(tmp_path, given)
    assert len(s3_bucket.listed("out/")) == 3
    assert len(s3_bucket.listed("plan.work/chi2/")) == 6


@pytest.mark.engine
def test_a_changed_or_bad_table_in_s3_is_called_by_its_address(s3_bucket, tmp_path):
    table = make_table(tmp_path / "counts.tsv")
    given = s3_bucket.put("counts.tsv", table.read_bytes())
    options = ("--chi2", given, "--slices", 2, "-o", tmp_path / "p.json")
    assert run("plan", *options).code == 0
    s3_bucket.put("counts.tsv", table.read_bytes().replace(b"AX-9\tplate 4\t", b"AX-9\tplate 4\tmany"))
    done = run("run", tmp_path / "p.json", "--quiet")
    assert f"{given} is not what it was when this was planned [input-changed]" in in_words(done.err)
    assert run("gather", tmp_path / "p.json", "-o", tmp_path / "out").kind == "input-changed"
    assert run("plan", *options).code == 0
    done = run("run", tmp_path / "p.json", "--quiet")
    assert f"{given} line " in in_words(done.err)
    assert "bams3-" not in in_words(done.err).replace(s3_bucket.name, "")
    s3_bucket.delete("counts.tsv")
    assert run("plan", *options).kind == "no-such-file"


def test_a_plan_does_not_replace_its_table(table, tmp_path):
    before = table.read_bytes()
    assert run("plan", "--chi2", table, "--slices", 2, "-o", table).kind == "usage"
    assert table.read_bytes() == before
