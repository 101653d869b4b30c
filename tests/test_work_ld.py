"""Tiles of a panel as units of a plan: what ld-tile writes, by jobs that may be killed."""

import json
import os
import random
import shutil
import time

import pyarrow.parquet as pq
import pytest
from commands import EXIT_CODE, run, start
from test_ld_tile import study as made_study
from test_work_slurm import ENVIRONMENT, bams3
from work_cohort import in_words, plan

from bams3.ld.pairs import Rule
from bams3.ld.plan import make_plan
from bams3.ld.run import HeldBlocks, Run
from bams3.ld.tiles import Limits
from bams3.panel.stored import open_panel

EXIT_CODE |= {"not-a-plan": 2, "units-failed": 5, "missing-units": 5, "deadline": 6}

study = made_study  # a fixture: a VCF of three contigs, and its panel


@pytest.fixture
def panel(study, tmp_path):
    """A panel that a test may change."""
    return shutil.copytree(study[0] / "study.ldp", tmp_path / "study.ldp")


def by_one_command(folder, panel, *options):
    """What ld-tile writes of all pairs."""
    done = run("ld-tile", panel, folder / "alone.parquet", "--quiet", *options)
    assert done.code == 0, done.err
    return (folder / "alone.parquet").read_bytes()


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
    ("cut", "slices", "options"),
    [
        (("--tiles", 1), 1, ()),
        (("--tiles", 45), 4, ()),
        (("-c", 10), 3, ("--counts", "--unphased", "--em")),
        (("--tiles", 3), 7, ("--min-r2", "0.05", "--max-p", "0.01")),
        (("--tiles", 19), 2, ("--max-distance", "2kb")),
        (("--tiles", 6), 2, ("--inter-chr",)),
        (("--max-memory", "1G"), 1, ("--max-variants", 9)),
    ],
)
def test_slices_in_any_order_give_what_ld_tile_writes(study, tmp_path, monkeypatch, cut, slices, options):
    monkeypatch.chdir(study[0])
    work = plan(tmp_path, "--ld", "study.ldp", *cut, "--slices", slices, *options)
    monkeypatch.chdir("/")
    run_slices(work, slices, slices, "--workers", 2)
    assert work.gather() == {"ld.parquet": by_one_command(tmp_path, study[0] / "study.ldp", *options)}
    assert pq.read_metadata(tmp_path / "tables/ld.parquet").num_rows > 20


def test_a_unit_is_called_by_its_panel_and_tile(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 3, "--slices", 2)
    assert [one["what"] for one in work.missing()] == [f"ld of study, tile {k}" for k in (1, 2, 3)]
    assert work.run("--slice", "2/2").code == 0
    told = work.status()
    assert (told["units"], told["slices_done"]) == (3, 1)
    assert {one["slice_number"] for one in work.missing()} == {1}


def test_slices_are_of_about_equal_cost_and_memory_is_that_of_a_tile(panel, tmp_path):
    told = planned(tmp_path, "--ld", panel, "--tiles", 45, "--slices", 5)
    assert [one["units"] for one in told["slices"]] == [9] * 5
    seconds = [one["seconds"] for one in told["slices"]]
    assert max(seconds) < 1.2 * min(seconds)
    large = planned(tmp_path, "--ld", panel, "--tiles", 1)
    assert large["slices"][0]["mem_mb"] >= told["slices"][0]["mem_mb"] > 150
    assert len(planned(tmp_path, "--ld", panel, "--tiles", 45, "--target-seconds", 1)["slices"]) == 1
    few = run("ld-plan", panel, "--max-memory", "257M", "--json", "--workers", 1)
    told = planned(tmp_path, "--ld", panel, "--max-memory", "257M")
    assert told["units"] == json.loads(few.out)["plan"]["tiles"]
    assert told["slices"][0]["mem_mb"] <= 257 + 90  # and the process that hands them out


def test_tiles_that_follow_each_other_share_a_block(panel):
    class Counted(HeldBlocks):
        def of(self, tile):
            before = set(self._held)
            sides = super().of(tile)
            read.extend(span for span in self._held if span not in before)
            return sides

    read = []
    opened = open_panel(str(panel))
    tiles = make_plan(opened, Limits(), Rule(), tiles=10)
    blocks = Counted(opened)
    for tile in tiles.tiling.tiles:
        list(Run(tiles, (tile,), ["1", "2", "3"], 1, blocks=blocks).tables())
    assert len(read) == 9  # of each row those that are not in hand: 4, 3, 2 and none


def test_plots_are_not_drawn(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 1)
    assert work.run().code == 0
    done = run("gather", work.plan, "-o", tmp_path / "out", "--plots")
    assert (done.code, [path.name for path in (tmp_path / "out").iterdir()]) == (0, ["ld.parquet"])
    assert "--plots draws region tables alone" in done.err


# ---- what is still true ----


def test_a_runner_that_was_killed_goes_on(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 300, "--slices", 2)
    process = start("run", work.plan, "--quiet", "--workers", 1, "--slice", "1/2")
    while not work.events("done"):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    before = work.times_done()
    assert 0 < sum(before.values()) < 150
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "missing-units"
    for i in (1, 2):
        assert work.run("--workers", 2, "--slice", f"{i}/2").code == 0
    assert before.keys() < work.times_done().keys()
    assert set(work.times_done().values()) == {1}
    assert work.gather() == {"ld.parquet": by_one_command(tmp_path, panel)}
    assert not [path for path in work.folder.rglob("*") if "partial" in path.name]


def test_a_deadline_stops_a_slice_which_goes_on(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 300)
    assert work.run("--workers", 1, "--stop-after", "0.5s").kind == "deadline"
    assert work.run("--workers", 2).code == 0
    assert set(work.times_done().values()) == {1}
    assert work.gather() == {"ld.parquet": by_one_command(tmp_path, panel)}


def test_another_number_of_slices_or_another_place_keeps_what_is_done(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 21, "--slices", 3)
    assert work.run("--slice", "2/3").code == 0
    done = sum(work.times_done().values())
    same = ("--tiles", 21, "--work", work.folder)
    assert 5 < done < 9
    assert planned(tmp_path, "--ld", panel, "--slices", 8, *same)["done"] == done
    moved = panel.rename(tmp_path / "elsewhere.ldp")
    assert planned(tmp_path, "--ld", moved, *same)["done"] == done
    plan(tmp_path, "--ld", moved, "--tiles", 21, "--slices", 8)
    run_slices(work, 8)
    assert set(work.times_done().values()) <= {1, 2}  # numbers of units of two plans
    assert len(work.events("done")) == 21
    assert work.gather() == {"ld.parquet": by_one_command(tmp_path, moved)}


def test_other_questions_make_new_units(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 3)
    assert work.run().code == 0
    same = ("--ld", panel, "--work", work.folder)
    assert planned(tmp_path, *same, "--tiles", 3)["done"] == 3
    for options in (
        ("--tiles", 6),
        ("--tiles", 3, "--min-r2", "0.2"),
        ("--tiles", 3, "--max-p", "0.5"),
        ("--tiles", 3, "--unphased"),
        ("--tiles", 3, "--em"),
        ("--tiles", 3, "--counts"),
        ("--tiles", 3, "--inter-chr"),
        ("--tiles", 3, "--max-variants", 100),
        ("--tiles", 3, "--max-distance", "8kb"),
    ):
        assert planned(tmp_path, *same, *options)["done"] == 0, options


def test_a_changed_panel_is_noticed(study, panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 6, "--slices", 2)
    assert work.run("--slice", "1/2").code == 0
    vcf, once_done = study[0] / "study.vcf", len(work.events("done"))
    assert run("ld-import", vcf, panel, "--force", "--quiet", "--maf", "0.2").code == 0
    done = work.run("--slice", "2/2")
    assert (done.kind, "is not what it was when this was planned" in done.err) == ("units-failed", True)
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "input-changed"
    plan(tmp_path, "--ld", panel, "--tiles", 6, "--slices", 2)
    assert len(work.missing()) == 6
    run_slices(work, 2)
    assert work.gather() == {"ld.parquet": by_one_command(tmp_path, panel)}
    assert run("ld-import", vcf, panel, "--force", "--quiet").code == 0  # as it was at first
    assert planned(tmp_path, "--ld", panel, "--tiles", 6, "--work", work.folder)["done"] == once_done


def test_a_result_that_was_lost_is_made_again_by_a_new_plan(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 3)
    assert work.run().code == 0
    (path,) = work.folder.glob("ld/2-of-3.*.parquet")
    path.unlink()
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "missing-units"
    plan(tmp_path, "--ld", panel, "--tiles", 3)
    assert len(work.missing()) == 1
    assert work.run().code == 0
    assert work.gather() == {"ld.parquet": by_one_command(tmp_path, panel)}


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("samples.tsv",), "--ld and SAMPLES exclude"),
        (("--chi2", "counts.tsv"), "--ld exclude each other"),
        (("-L", "targets.bed"), "--ld and --regions-file exclude"),
        (("--count",), "--ld and --count exclude"),
        (("--exec", "cat"), "--ld and --exec exclude"),
        (("-q", 20), "--ld and --min-mapq exclude"),
        (("--random-seed", 2), "--random-seed is for --chi2"),
        (("--tiles", 3, "--max-memory", "1G"), "--tiles and --max-memory exclude"),
        (("--slices", 2, "--target-seconds", 9), "--slices and --target-seconds exclude"),
        ((), "--ld needs --tiles, --max-memory or --slices"),
        (("--tiles", 3, "--min-r2", "1.5"), "least r2 is 1.5"),
        (("--tiles", 3, "--inter-chr", "--max-variants", 2), "have no distance"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(panel, tmp_path, options, words):
    (tmp_path / "counts.tsv").touch()
    done = run("plan", "--ld", panel, *options, "-o", tmp_path / "p.json")
    assert done.kind == "usage"
    assert words in in_words(done.err)
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("options", [("--tiles", 3), ("--min-r2", "0.1"), ("--counts",), ("--max-p", 1)])
def test_options_of_ld_are_for_panels(tmp_path, options):
    for others in (("S1.bams3", "--stats"), ("--chi2", "counts.tsv")):
        done = run("plan", *others, *options, "-o", tmp_path / "p.json")
        assert (done.kind, f"{options[0]} is for --ld" in done.err) == ("usage", True)


def test_what_cannot_be_tiled_is_refused_when_it_is_planned(study, panel, tmp_path):
    for given, options, kind in (
        (study[0], ("--tiles", 3), "not-a-panel"),
        ("", ("--tiles", 3), "not-a-panel"),
        (panel, ("--tiles", 4), "bad-tiles"),
        (panel, ("--max-memory", "1M"), "too-little-memory"),
        (panel, ("--tiles", 1, "--max-distance", "0"), "usage"),
    ):
        done = run("plan", "--ld", given, *options, "-o", tmp_path / "p.json")
        assert done.kind == kind
        in_words(done.err)


def test_a_damaged_panel_fails_those_tiles_that_read_it(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 6)
    block = max((path for path in panel.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(block.read_bytes())
    data[-1] ^= 1
    block.write_bytes(data)
    done = work.run()
    assert (done.code, done.kind) == (5, "units-failed")
    assert (block.name in done.err, "bad-checksum" in done.err) == (True, True)
    assert run("gather", work.plan, "-o", tmp_path / "out").kind == "missing-units"
    assert not (tmp_path / "out").exists()


def test_a_plan_with_a_wrong_kind_is_refused(panel, tmp_path):
    work = plan(tmp_path, "--ld", panel, "--tiles", 3)
    value = json.loads(work.plan.read_text())
    (kind,) = value["kinds"]
    blocks, tiles = kind["tiling"]
    for wrong in (
        {"limits": None},
        {"limits": {"max_variants": 0}},
        {"rule": {**kind["rule"], "min_r2": "x"}},
        {"rule": {**kind["rule"], "min_r2": "1/0"}},
        {"tiling": [blocks]},
        {"tiling": [blocks, []]},
        {"tiling": [blocks, tiles[::-1]]},
        {"tiling": [blocks, tiles[:2]]},
        {"tiling": [blocks, [[n, a[:1], b, pairs] for n, a, b, pairs in tiles]]},
        {"tiling": [blocks, [[n, a, b, str(pairs)] for n, a, b, pairs in tiles]]},
        {"mem_mb": "much"},
        {"m": 1},
    ):
        work.plan.write_text(json.dumps({**value, "kinds": [{**kind, **wrong}]}))
        assert run("status", work.plan).kind == "not-a-plan", wrong


# ---- S3 and SLURM ----


@pytest.mark.engine
def test_all_of_it_works_in_s3(s3_bucket, study, tmp_path):
    panel = s3_bucket.put_folder(study[0] / "study.ldp", "in/study.ldp")
    address = s3_bucket.address("plan.json")
    assert run("plan", "--ld", panel, "--tiles", 6, "--slices", 3, "-o", address).code == 0
    for i in (2, 3, 1):
        done = run("run", address, "--quiet", "--slice", f"{i}/3")
        assert done.code == 0, done.err
    assert "6 of 6 units done" in run("status", address).out
    done = run("gather", address, "-o", s3_bucket.address("out"))
    assert done.code == 0, done.err
    assert s3_bucket.listed("out/") == ["out/ld.parquet"]
    assert s3_bucket.get("out/ld.parquet") == by_one_command(tmp_path, study[0] / "study.ldp")
    assert len(s3_bucket.listed("plan.work/ld/")) == 6
    again = run("ld-import", study[0] / "study.vcf", panel, "--force", "--quiet", "--maf", "0.2")
    assert again.code == 0, again.err
    assert run("gather", address, "-o", s3_bucket.address("out")).kind == "input-changed"


@pytest.mark.engine
def test_an_array_of_jobs_of_which_two_are_killed_gives_them_too(slurm, study, tmp_path):
    panel = str(study[0] / "study.ldp")
    done = bams3(tmp_path, "plan", "--ld", panel, "--tiles", "136", "--slices", "5", "-o", "ld.json")
    assert done.returncode == 0, done.stderr
    options = ["--chdir", str(tmp_path), "--export=ALL,PATH=" + ENVIRONMENT["PATH"], "--output=/dev/null"]
    recipe = "bams3 run ld.json --slice-from-env --workers 1"
    log = "ld.work/logs/*/00000$SLURM_ARRAY_TASK_ID/*"
    kill = f"{recipe} & until ls {log}; do sleep 0.02; done; kill -9 $!; wait $!"
    killed = f"case $SLURM_ARRAY_TASK_ID in 2|5) {kill};; *) {recipe};; esac"
    first = slurm.wait(slurm.sbatch("--array=1-5", *options, "--wrap", killed), 120)
    assert sorted(n for n, task in first.items() if task.state == "FAILED") == [2, 5]
    assert bams3(tmp_path, "gather", "ld.json", "-o", "out").returncode == 5
    again = slurm.wait(slurm.sbatch("--array=1-5", *options, "--wrap", recipe), 120)
    assert {task.state for task in again.values()} == {"COMPLETED"}
    assert bams3(tmp_path, "gather", "ld.json", "-o", "out").returncode == 0
    assert (tmp_path / "out/ld.parquet").read_bytes() == by_one_command(tmp_path, panel)
    assert os.listdir(tmp_path / "out") == ["ld.parquet"]
