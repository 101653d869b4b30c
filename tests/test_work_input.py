"""What plan, run, status and gather refuse, and how: one line, an exit code that tells who can mend it."""

import json
import os
import random
import resource
import shutil
import signal
from pathlib import Path

import pytest
from commands import run, run_apart, start
from work_cohort import CONTIGS, in_words, make_bam, make_cohort, many_regions, plan


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 2)


@pytest.fixture
def counted(cohort, tmp_path):
    """A plan of five slices."""
    return plan(tmp_path, cohort.sheet, "-L", cohort.bed, "--count", "--slices", 5)


def refused(tmp_path, *options):
    """How plan refuses; nothing is left behind."""
    done = run("plan", *options, "-o", tmp_path / "p.json")
    assert done.kind
    assert not (tmp_path / "p.json").exists()
    assert not (tmp_path / "p.work").exists()
    return done


# ---- plans ----


def test_a_contig_that_one_sample_lacks_is_named_with_the_sample(cohort, tmp_path):
    more = make_bam(tmp_path / "more.bam", 7, contigs=(*CONTIGS, ("chr9", 5000)))
    assert run("convert", "--quiet", more, tmp_path / "more.bams3").code == 0
    bed = tmp_path / "x.bed"
    bed.write_text("chr1\t5\t10\nchr9\t1\t2\n")
    done = refused(tmp_path, tmp_path / "more.bams3", cohort.store("S2"), "-L", bed, "--count")
    assert done.kind == "unknown-contig"
    assert f"sample S2: region chr9:2-2: chr9 is not in {cohort.store('S2')}" in done.err


def test_a_store_that_is_not_there_is_named_with_its_sample(cohort, tmp_path):
    done = refused(tmp_path, cohort.store("S1"), tmp_path / "S9.bams3", "-L", cohort.bed, "--count")
    assert done.kind == "not-a-store"
    assert "sample S9" in done.err


def test_a_sample_that_is_there_twice_is_refused(cohort, tmp_path):
    sheet = cohort.write_sheet(tmp_path / "twice.tsv", ("S1", "S2", "S1"))
    assert refused(tmp_path, sheet, "-L", cohort.bed, "--count").kind == "bad-sheet"
    store = cohort.store("S1")
    assert refused(tmp_path, store, store, "-L", cohort.bed, "--count").kind == "doubled-sample"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nothing to do"),
        (("--count",), "no regions"),
        (("--exec", "  "), "no command"),
        (("--count", "--slices", 2, "--target-seconds", 9), "exclude each other"),
        (("--stats", "--work", ""), "no folder"),
    ],
)
def test_a_plan_of_nothing_or_of_too_much_is_refused(cohort, tmp_path, options, words):
    done = refused(tmp_path, cohort.sheet, *options)
    assert done.kind == "usage"
    assert words in done.err


def test_a_work_folder_that_is_a_file_or_a_store_is_refused(cohort, tmp_path):
    for place in (cohort.bed, cohort.store("S1")):
        assert refused(tmp_path, cohort.sheet, "--stats", "--work", place).kind == "usage"
    assert not (cohort.store("S1") / "logs").exists()


def test_regions_of_a_file_without_any_are_refused(cohort, tmp_path):
    empty = tmp_path / "empty.bed"
    empty.write_text("track name=nothing\n")
    assert refused(tmp_path, cohort.sheet, "-L", empty, "--count").kind == "bad-bed"


# ---- what is no plan ----


def mutations(data: bytes):
    """A plan's JSON with one thing made wrong."""
    value = json.loads(data)
    wrong = {
        "format": ["bams3-store", None],
        "version": [2, "1"],
        "work": [5, None],
        "kinds": [[], [{}], [{"kind": "count"}, {"kind": "nothing"}], "count", None],
        "samples": [[], value["samples"][:1], [["S1"]], [[1, 2, 3], [4, 5, 6]], 7],
        "regions": [[], value["regions"][1:], [["chr1", "0", "9", ""]] * 12, None],
        "rows": [[], value["rows"][1:], [0] * 12, ["x"] * 12],
        "cost_us": [[], [-1] * 24, [10**30] * 24, ["x"] * 24, {"a": 1}],
        "done": [[[0, 99]], [[-5, 2]], [[3]], 8],
        "bounds": [
            [],
            [24],
            [0, 20, 10, 15, 18, 24],
            [3, 5, 10, 15, 20, 24],
            [0, 5, 10, 15, 20, 25],
            [0, "x"],
        ],
    }
    for name, others in wrong.items():
        yield {key: item for key, item in value.items() if key != name}
        for other in others:
            yield {**value, name: other}


def test_a_plan_with_anything_wrong_is_refused(counted):
    data = counted.plan.read_bytes()
    rng = random.Random(5)
    several = [b"", b"{}", b"[]", b"null", b"[" * 100_000, data[:-20], rng.randbytes(500)]
    several += [json.dumps(value).encode() for value in mutations(data)]
    for bad in several:
        counted.plan.write_bytes(bad)
        for command in (("run",), ("status",), ("gather", "-o", counted.plan.parent / "out")):
            done = run(command[0], counted.plan, *command[1:])
            assert done.kind == "not-a-plan", (bad[:300], done)


def test_a_plan_that_is_not_there_is_the_callers_mistake(tmp_path):
    for command in (("run",), ("status",), ("gather", "-o", tmp_path / "out")):
        assert run(command[0], tmp_path / "no.json", *command[1:]).kind == "no-such-file"


# ---- slices ----


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("0/5", "numbered from 1/5 to 5/5"),
        ("6/5", "numbered from 1/5 to 5/5"),
        ("1/4", "the plan has 5 slices"),
        ("x", "write i/n"),
        ("", "write i/n"),
        ("1", "write i/n"),
        ("-1/5", "write i/n"),
        ("1/5 ", "write i/n"),
    ],
)
def test_a_slice_that_is_not_there_is_refused(counted, place, words):
    done = counted.run("--slice", place)
    assert done.kind == "bad-slice"
    assert words in done.err
    assert not counted.folder.exists()


@pytest.mark.parametrize(
    ("name", "texts"),
    [("SLURM_ARRAY_TASK_ID", "12345"), ("AWS_BATCH_JOB_ARRAY_INDEX", "01234")],
)
def test_a_job_of_an_array_runs_its_slice(counted, monkeypatch, name, texts):
    for number, text in enumerate(texts, 1):
        monkeypatch.setenv(name, text)
        summary = counted.plan.parent / "summary.json"
        assert counted.run("--slice-from-env", "--summary", summary).code == 0
        assert json.loads(summary.read_text())[0]["slice"] == number
    assert counted.missing() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("SLURM_ARRAY_TASK_ID", text) for text in ("0", "6", "", "-1", "x", "²", "1.0")),
        *(("AWS_BATCH_JOB_ARRAY_INDEX", text) for text in ("5", "-1", "", "x")),
        ("HOME", "3"),
    ],
)
def test_a_job_of_an_array_that_is_not_the_plans_is_refused(counted, monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    assert counted.run("--slice-from-env").kind == "bad-slice"
    assert counted.run("--slice-from-env", "--slice", "1/5").kind == "usage"
    assert not counted.folder.exists()


@pytest.mark.parametrize("text", ["0", "-5m", "x", "", "5 weeks", "1e3", "0.0h"])
def test_a_time_that_is_none_is_refused(counted, text):
    assert counted.run("--stop-after", text).kind == "usage"
    assert not counted.folder.exists()


def test_a_pipe_fails_where_any_of_its_commands_does(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 2)
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--exec", "nosuchtool | sort", "--slices", 1)
    done = work.run()
    assert done.code == 5
    assert "nosuchtool" in in_words(done.err)


def test_a_store_that_was_replaced_when_all_was_done_is_told_by_gather(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 3)
    mine = Path(shutil.copytree(cohort.store("S1"), tmp_path / "mine.bams3"))
    work = plan(tmp_path, mine, "-L", bed, "--count", "--slices", 1)
    assert work.run().code == 0
    assert run("gather", work.plan, "-o", tmp_path / "out").code == 0
    shutil.rmtree(mine)
    assert run("gather", work.plan, "-o", tmp_path / "out").code == 0  # it has answered
    shutil.copytree(cohort.store("S2"), mine)
    done = run("gather", work.plan, "-o", tmp_path / "out")
    assert done.kind == "input-changed"
    assert f"{mine} is not what it was" in done.err


def test_a_plan_runs_from_any_folder(cohort, tmp_path, monkeypatch):
    bed = many_regions(tmp_path / "many.bed", 3)
    shutil.copytree(cohort.store("S1"), tmp_path / "mine.bams3")
    monkeypatch.chdir(tmp_path)
    work = plan(tmp_path, "mine.bams3", "-L", bed, "--count", "--slices", 1)
    monkeypatch.chdir("/")
    assert work.run().code == 0


def test_a_folder_of_stores_is_not_taken_for_a_sheet(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 3)
    done = refused(tmp_path, cohort.folder, "-L", bed, "--count")
    assert done.kind == "bad-sheet"
    assert f"'{cohort.folder}/*.bams3'" in done.err


def test_a_name_that_would_end_the_quotes_of_a_command_is_refused(cohort, tmp_path):
    bed = tmp_path / "odd.bed"
    bed.write_text("chr1\t0\t900\tok\nchr1\t0\t900\t';touch${IFS}here;'\n")
    for tool in ("echo '{name}'", 'echo "{name}"'):
        work = plan(
            tmp_path, cohort.store("S1"), "-L", bed, "--exec", f"cat >/dev/null; {tool}", "--slices", 1
        )
        done = work.run()
        assert done.code == 5
        assert "{name} stands within quotes" in in_words(done.err)
        assert len(work.times_done()) == 1
        assert not list(tmp_path.glob("**/here*"))
        shutil.rmtree(work.folder)


# ---- disks ----


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_work_folder_that_may_not_be_written_is_one_line(counted):
    counted.folder.mkdir()
    counted.folder.chmod(0o500)
    assert counted.run().kind == "no-permission"


def test_a_work_folder_that_became_a_file_is_one_line(counted):
    counted.folder.write_text("mine")
    done = counted.run()
    assert done.code in (2, 4)
    in_words(done.err)
    assert counted.folder.read_text() == "mine"


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))


def test_a_disk_that_is_full_in_mid_slice_loses_nothing(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 1000)
    work = plan(tmp_path, cohort.sheet, "-L", bed, "--count", "--coverage", "--slices", 1)
    done = work.run_apart("--workers", 2, preexec_fn=small_files)
    assert done.kind == "disk"
    kept = set(work.times_done())
    assert kept
    assert {lost["why"] for lost in work.missing()} <= {"was not run", "was begun when its process ended"}
    assert work.run("--workers", 2).code == 0
    assert set(work.times_done().values()) == {1}
    assert len(work.times_done()) == 4000
    assert work.missing() == []


def test_a_tool_whose_output_finds_no_room_fails_alone(cohort, tmp_path):
    tool = "if [ {name} = r2 ]; then head -c 400000 /dev/zero; else echo {name}; fi"
    bed = many_regions(tmp_path / "many.bed", 5)
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--exec", tool)
    done = work.run_apart(preexec_fn=small_files)
    assert done.code == 5
    assert "(r2)" in in_words(done.err)
    assert len(work.times_done()) == 4
    assert not list((work.folder / "exec" / "S1").glob("*r2*"))
    assert work.run().code == 0


# ---- status ----


def test_status_tells_of_a_plan_that_nobody_ran(counted):
    found = counted.status()
    assert (found["units"], found["done"], found["running"], found["slices"]) == (24, 0, 0, 5)
    assert found["eta_s"] is None
    assert "0 of 24 units done (0%)" in run("status", counted.plan).out
    lost = run("status", counted.plan, "--missing").out.splitlines()
    assert lost[0] == "slice\tunit\twhy"
    assert len(lost) == 25
    assert {line.split("\t")[2] for line in lost[1:]} == {"was not run"}


def test_watching_ends_when_all_that_is_left_has_failed(cohort, tmp_path):
    tool = "[ {name} != whole ]"
    work = plan(tmp_path, cohort.store("S1"), "-L", cohort.bed, "--exec", tool)
    assert work.run().code == 5
    done = run_apart("status", work.plan, "--watch")
    assert done.code == 0
    assert "1 failed" in done.out


def test_status_sees_a_run_at_work(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 2)
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--exec", "sleep 30")
    process = start("run", work.plan, "--quiet", "--workers", 1)
    while not (work.folder.exists() and work.events("begin")):
        assert process.poll() is None
    assert (work.status()["running"], work.status()["runners"]) == (1, 1)
    assert sorted(lost["why"] for lost in work.missing()) == ["is running", "was not run"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert work.status()["runners"] == 0


def test_a_plans_work_folder_lies_beside_it(cohort, tmp_path):
    for name, folder in (("a.b.json", "a.b.work"), (".plan", ".plan.work"), ("plan", "plan.work")):
        done = run("plan", cohort.store("S1"), "--stats", "-o", tmp_path / name, "--json")
        assert json.loads(done.out)["work"] == str(Path(tmp_path, folder))
