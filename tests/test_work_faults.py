"""Units that fail, processes that die, runners that are killed: the rest is done, and nothing is lost."""

import csv
import io
import random
import shutil
import signal
import time
from pathlib import Path

import pysam
import pytest
from commands import run, start
from work_cohort import in_words, make_bam, make_cohort, many_regions, plan


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 2)


def keys(work, event):
    """Units of an event, in the order of the logs."""
    return [line["unit"] for line in work.events(event)]


def failing_at(name, how):
    """A tool that does something for one region; for the others it counts reads."""
    return f"if [ {{name}} = {name} ]; then {how}; fi; grep -vc ^@; true"


def tools(work):
    """Processes that have this work's folder in their environment or command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if str(work.folder).encode() in (folder / "cmdline").read_bytes():
                    found.append((folder / "cmdline").read_bytes())
            except OSError:
                continue
    return found


def until(check, seconds=20.0):
    """Wait for something; whether it came."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if check():
            return True
        time.sleep(0.02)
    return False


# ---- units that fail ----


def test_a_tool_that_fails_fails_its_unit_alone(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 20)
    mended = tmp_path / "mended"
    how = f"echo first >&2; echo no chimney >&2; test -e {mended} || exit 3"
    tool = ("--exec", failing_at("r17", how), "--exec-sam")
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--count", *tool, "--slices", 2)
    done = run("run", work.plan, "--quiet", "--workers", 2)
    assert done.code == 5
    line = in_words(done.err)
    assert "exec of S1 at chr1:25501-26500 (r17)" in line
    assert "no chimney" in line
    assert "exit 3" in line
    assert "first" not in line.split("ended with")[1]
    (failed,) = work.events("failed")
    assert len(keys(work, "done")) == 39
    (lost,) = work.missing()
    assert lost["unit"] == failed["unit"]
    assert "no chimney" in lost["why"]
    done = run("gather", work.plan, "-o", tmp_path / "out")
    assert done.code == 5
    assert f"hint: run slice {lost['slice_number']}/2 of the plan" in done.err
    assert not (tmp_path / "out").exists()
    assert run("run", work.plan, "--quiet").code == 5
    assert keys(work, "failed") == [failed["unit"]] * 2
    mended.touch()
    assert run("run", work.plan, "--quiet").code == 0
    assert len(keys(work, "done")) == 40
    assert work.times_done().most_common(1)[0][1] == 1
    assert work.missing() == []


@pytest.mark.slow
def test_of_500_tools_one_fails_and_499_are_done(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 500)
    tool = ("--exec", failing_at("r412", "exit 3"), "--exec-sam")
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, *tool, "--slices", 1)
    assert run("run", work.plan, "--quiet", "--workers", 3).code == 5
    assert (len(keys(work, "done")), len(keys(work, "failed"))) == (499, 1)
    assert run("run", work.plan, "--quiet").code == 5
    assert (len(keys(work, "done")), len(keys(work, "failed"))) == (499, 2)


def test_a_store_that_was_replaced_fails_its_units_and_no_others(cohort, tmp_path):
    for sample in cohort.samples:
        shutil.copytree(cohort.store(sample), tmp_path / f"{sample}.bams3")
    stores = [tmp_path / f"{sample}.bams3" for sample in cohort.samples]
    work = plan(tmp_path, *stores, "-L", cohort.bed, "--count", "--records", "--stats", "--slices", 3)
    other = make_bam(tmp_path / "other.bam", 99)
    assert run("convert", "--quiet", "--force", other, stores[0]).code == 0
    done = run("run", work.plan, "--quiet", "--workers", 2)
    assert done.code == 5
    assert f"{stores[0]} is not what it was" in in_words(done.err)
    assert "[input-changed]" in done.err
    assert "hint: make the plan anew" in done.err
    assert (len(keys(work, "done")), len(keys(work, "failed"))) == (25, 25)
    assert run("run", work.plan, "--quiet").code == 5
    assert len(keys(work, "failed")) == 25  # what is wrong with the input stays wrong
    assert run("run", work.plan, "--quiet", "--retry-failed").code == 5
    assert len(keys(work, "failed")) == 50
    plan(tmp_path, *stores, "-L", cohort.bed, "--count", "--records", "--stats", "--slices", 3)
    assert run("run", work.plan, "--quiet").code == 0
    assert len(keys(work, "done")) == 50
    row = next(csv.DictReader(io.StringIO(work.gather()["counts.tsv"].decode()), delimiter="\t"))
    assert int(row["S1"]) == int(pysam.view("-c", str(other), "chr1:1001-21000"))


# ---- processes that die ----


@pytest.mark.parametrize("number", ["SEGV", "9", "TERM"])
def test_a_unit_that_kills_its_worker_twice_is_set_aside(cohort, tmp_path, number):
    bed = many_regions(tmp_path / "many.bed", 12)
    mended = tmp_path / "mended"
    tool = failing_at("r7", f"test -e {mended} || kill -{number} $PPID; sleep 0.2")
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--exec", tool, "--exec-sam", "--count")
    done = work.run_apart("--workers", 2)
    assert done.code == 5
    assert "0 units failed, 1 set aside, 23 done; the first: exec of S1 at chr1:10501-11500 (r7)" in done.err
    assert len(work.events("died")) == 2
    (lost,) = work.missing()
    assert "(r7)" in lost["what"]
    assert "set aside" in lost["why"]
    done = run("run", work.plan, "--quiet")
    assert done.code == 5
    assert len(work.events("died")) == 2
    assert run("gather", work.plan, "-o", tmp_path / "out").code == 5
    mended.touch()
    assert run("run", work.plan, "--quiet", "--retry-failed").code == 0
    assert len(set(keys(work, "done"))) == len(keys(work, "done")) == 24


def test_a_unit_that_kills_its_runner_again_and_again_is_set_aside(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 7)
    # The worker's parent, which is the runner, goes first, and then the worker.
    tool = failing_at("r5", "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat) $PPID; sleep 1")
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--exec", tool, "--exec-sam", "--count")
    codes = []
    while len(codes) < 8 and codes[-1:] != [5]:
        codes.append(work.run_apart("--workers", 2).code)
    assert codes == [-9] * 3 + [5]
    (lost,) = work.missing()
    assert "(r5)" in lost["what"]
    assert "set aside" in lost["why"]
    assert set(keys(work, "done")) == set(range(14)) - {lost["unit"]}


# ---- runners that are killed ----


def killed(work, seed, number=signal.SIGKILL):
    """A run that is killed at some moment; what its logs say then: units done, and the exit code."""
    process = start("run", work.plan, "--quiet", "--workers", 2)
    rng = random.Random(seed)
    assert until(lambda: list(work.folder.glob("logs/*/*/*.jsonl")))
    time.sleep(rng.random() * 1.5)
    process.send_signal(number)
    process.communicate()
    return set(keys(work, "done")), process.returncode


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(i, marks=pytest.mark.slow) for i in range(3, 20))])
def test_a_runner_killed_at_any_moment_loses_nothing(cohort, tmp_path, monkeypatch, seed):
    bed = many_regions(tmp_path / "many.bed", 10)
    tool = ("--exec", f"samtools=1; : {tmp_path}; sleep 0.05; grep -vc ^@; true", "--exec-sam")
    work = plan(tmp_path, cohort.sheet, "-L", bed, "--count", "--records", *tool, "--slices", 1)
    done, code = killed(work, seed)
    assert until(lambda: not tools(work), 2.0)  # no orphans
    again = run("run", work.plan, "--quiet", "--workers", 2)
    assert again.code == 0, again.err
    assert {unit: n for unit, n in work.times_done().items() if n > 1 and unit in done} == {}
    assert code in (-9, 0)
    whole = plan(tmp_path, cohort.sheet, "-L", bed, "--count", "--records", *tool, name="again.json")
    assert whole.missing() == []
    assert work.gather("killed")["counts.tsv"] == counts_by_samtools(cohort, bed)


def counts_by_samtools(cohort, bed):
    lines = ["contig\tstart\tend\tname\t" + "\t".join(cohort.samples)]
    for text in bed.read_text().splitlines():
        contig, start, end, _ = text.split("\t")
        place = f"{contig}:{int(start) + 1}-{end}"
        found = [pysam.view("-c", str(cohort.bam(sample)), place).strip() for sample in cohort.samples]
        lines.append("\t".join((text, *found)))
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_tool_outlives_its_runner(cohort, tmp_path, number):
    bed = many_regions(tmp_path / "many.bed", 4)
    tool = ("--exec", f"trap '' TERM; : {tmp_path}/WORK; sleep 60; true")
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, *tool)
    process = start("run", work.plan, "--quiet", "--workers", 2, preexec_fn=interruptible)
    assert until(lambda: len(tools(work)) >= 2)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number, -9)
    assert until(lambda: not tools(work), 3.0)
    if number != signal.SIGKILL:
        assert {lost["why"] for lost in work.missing()} == {"was not run"}


def interruptible():
    """A shell's background jobs, such as this may be, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_deadline_ends_a_run_which_goes_on_later(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 8)
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--count", "--exec", "sleep 0.4; echo {name}")
    done = run("run", work.plan, "--quiet", "--workers", 2, "--stop-after", "1s")
    assert done.kind == "deadline"
    assert "run it again: it goes on" in done.err
    first = len(keys(work, "done"))
    assert f"{16 - first} of 16 units are left" in done.err
    assert 8 <= first < 16
    assert {lost["why"] for lost in work.missing()} == {"was not run"}
    assert run("run", work.plan, "--quiet", "--workers", 4).code == 0
    assert len(keys(work, "done")) == len(set(keys(work, "done"))) == 16


def test_many_kills_do_not_set_an_innocent_unit_aside(cohort, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 6)
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--exec", "sleep 0.3; echo {name}")
    for n in range(2):
        process = start("run", work.plan, "--quiet", "--workers", 1)
        assert until(lambda n=n: len(work.events("begin")) > n * 2)
        process.kill()
        process.communicate()
    assert run("run", work.plan, "--quiet").code == 0


# ---- logs and results that are damaged, and two at once ----


def logs(work):
    return sorted(work.folder.glob("logs/*/*/*.jsonl"))


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
def test_units_of_a_damaged_log_are_run_again(cohort, tmp_path, damage):
    work = plan(tmp_path, cohort.sheet, "-L", cohort.bed, "--count", "--slices", 2)
    assert run("run", work.plan, "--quiet").code == 0
    wanted = work.gather()
    path = logs(work)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"flipped": data, "cut": data[:-30], "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    assert len(work.missing()) == 12
    assert {lost["slice_number"] for lost in work.missing()} == {1}
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "missing-units"
    assert run("run", work.plan, "--quiet").code == 0
    assert work.gather() == wanted


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_result_file_that_is_not_as_it_was_is_made_again_by_a_new_plan(cohort, tmp_path, how):
    work = plan(tmp_path, cohort.sheet, "-L", cohort.bed, "--records")
    assert run("run", work.plan, "--quiet").code == 0
    wanted = work.gather()
    (path,) = work.folder.glob("records/S2/whole.*.bam")
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[:500])
    else:
        path.unlink()
    done = run("gather", work.plan, "-o", tmp_path / "out")
    assert done.kind == "missing-units"
    assert "plan again" in done.err
    plan(tmp_path, cohort.sheet, "-L", cohort.bed, "--records")
    assert run("run", work.plan, "--quiet").code == 0
    assert work.gather() == wanted
    assert path.read_bytes() == data


def test_two_runners_on_one_slice_do_no_harm(cohort, tmp_path):
    work = plan(tmp_path, cohort.sheet, "-L", cohort.bed, "--count", "--records", "--slices", 1)
    both = [start("run", work.plan, "--quiet", "--workers", 2) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert work.missing() == []
    assert work.status()["done"] == 48
    assert all(pysam.view("-c", str(path)) for path in work.folder.glob("records/*/*.bam"))
