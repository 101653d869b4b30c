"""Plans, their slices and what is gathered: against samtools, and the user's tools run by hand."""

import csv
import io
import json
import random
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pysam
import pytest
from commands import run
from work_cohort import make_cohort, many_regions, plan

from bams3.regions import read_bed

KINDS = ("--count", "--coverage", "--records", "--stats")
#: Counts and measures reads, and says what it was told; a word of awk's own is left alone.
TOOL = (
    "awk '/^@/ {next} {n++; bases += length($10)} END {print n + 0, bases + 0}';"
    ' printf "%s|" {sample} {region} {name} {contig} {start} {end} ${HOME:+home}'
)

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def whole(cohort, tmp_path_factory):
    """All kinds of units of the cohort, planned as one slice and run."""
    work = plan(
        tmp_path_factory.mktemp("whole"),
        *(cohort.sheet, "-L", cohort.bed, *KINDS, "--exec", TOOL, "--exec-sam", "--slices", 1),
    )
    assert work.run("--workers", 1).code == 0
    return work


@pytest.fixture(scope="module")
def tables(whole):
    return whole.gather()


def rows(table: bytes):
    """Rows of a table by column."""
    return list(csv.DictReader(io.StringIO(table.decode()), delimiter="\t", quoting=csv.QUOTE_NONE))


def place(row):
    """A row's region as samtools writes it; None where it holds no base, which samtools cannot be asked."""
    start, end = int(row["start"]), int(row["end"])
    return f"{row['contig']}:{start + 1}-{end}" if end > start else None


def view(cohort, sample, *options):
    return pysam.view(*options, str(cohort.bam(sample)))


def region_files(work, table):
    """Each row of records.tsv or exec.tsv, and the file that it names."""
    return [(row, Path(work.plan.parent, "tables", row["file"])) for row in rows(table)]


# ---- answers ----


def test_counts_are_those_of_samtools(cohort, tables):
    found = rows(tables["counts.tsv"])
    assert [(row["contig"], int(row["start"]), int(row["end"])) for row in found] == [
        (row.contig, row.start_bp, row.end_bp) for row in read_bed(cohort.bed)
    ]
    for row in found:
        for sample in cohort.samples if place(row) else ():
            wanted = pysam.view("-c", str(cohort.bam(sample)), place(row))
            assert int(row[sample]) == int(wanted), (row, sample)


@pytest.mark.parametrize("filters", ["-F 0x704", "-q 30 -f REVERSE", "-F DUP -q 10"])
def test_counts_of_filtered_reads_are_those_of_samtools(cohort, tmp_path, filters):
    work = plan(tmp_path, cohort.sheet, "-L", cohort.bed, "--count", *filters.split(), "--slices", 2)
    assert work.run().code == 0
    for row in rows(work.gather()["counts.tsv"]):
        for sample in cohort.samples if place(row) else ():
            wanted = pysam.view("-c", *filters.split(), str(cohort.bam(sample)), place(row))
            assert int(row[sample]) == int(wanted), (row, sample)


def test_a_region_without_bases_counts_as_it_does_for_query(cohort, tables):
    for sample in cohort.samples:
        done = run("query", cohort.store(sample), "-L", cohort.bed, "--tsv")
        assert done.code == 0, done.err
        wanted = [row["count"] for row in rows(done.out.encode())]
        assert [row[sample] for row in rows(tables["counts.tsv"])] == wanted


def test_depth_is_that_of_coverage_and_of_samtools(cohort, tables, tmp_path):
    depth, breadth = rows(tables["depth.tsv"]), rows(tables["breadth.tsv"])
    bed = tmp_path / "plain.bed"
    kept = [i for i, row in enumerate(depth) if place(row)]
    bed.write_text("".join("\t".join(depth[i][c] for c in ("contig", "start", "end")) + "\n" for i in kept))
    for sample in cohort.samples:
        done = run("coverage", cohort.store(sample), "-L", cohort.bed)
        assert done.code == 0, done.err
        for mine, wide, theirs in zip(depth, breadth, rows(done.out.encode()), strict=True):
            assert (mine[sample], wide[sample]) == (theirs["mean"], theirs["breadth"])
        bedcov = pysam.bedcov("-g", "SUPPLEMENTARY", "-j", str(bed), str(cohort.bam(sample)))
        lengths = dict(zip(*pysam_contigs(cohort, sample), strict=True))
        for i, line in zip(kept, bedcov.splitlines(), strict=True):
            contig, start, end, bases = line.split("\t")[:4]
            size_bp = min(int(end), lengths[contig]) - int(start)
            assert float(depth[i][sample]) == pytest.approx(int(bases) / size_bp, abs=6e-5), line


def pysam_contigs(cohort, sample):
    with pysam.AlignmentFile(str(cohort.bam(sample))) as file:
        return file.references, file.lengths


def test_a_records_file_holds_what_samtools_shows(cohort, whole, tables):
    files = region_files(whole, tables["records.tsv"])
    assert len(files) == len(cohort.samples) * len(read_bed(cohort.bed))
    for row, path in files:
        assert path.stat().st_size == int(row["bytes"])
        if place(row):
            wanted = pysam.view(str(cohort.bam(row["sample"])), place(row))
            assert pysam.view(str(path)) == wanted, row


def test_a_tool_writes_what_it_writes_by_hand(cohort, whole, tables):
    for row, path in region_files(whole, tables["exec.tsv"]):
        if not place(row):
            continue
        sam = pysam.view("-h", str(cohort.bam(row["sample"])), place(row))
        words = {"sample": row["sample"], "region": place(row), "name": row["name"] or place(row)}
        words |= {name: row[name] for name in ("contig", "start", "end")}
        command = TOOL
        for name, value in words.items():
            command = re.sub(rf"(?<!\$)\{{{name}\}}", lambda _, v=value: shlex.quote(v), command)
        by_hand = subprocess.run(["sh", "-c", command], input=sam.encode(), capture_output=True, check=True)
        assert path.read_bytes() == by_hand.stdout
        said = path.read_text().splitlines()[-1].split("|")
        assert said == [*words.values(), "home", ""]


def test_statistics_are_those_of_the_command_stats(cohort, tables, tmp_path):
    for sample in cohort.samples:
        done = run("stats", cohort.store(sample), "--multiqc", tmp_path / f"{sample}_mqc.json")
        assert done.code == 0, done.err
        made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        mine = {name.removeprefix("multiqc/"): data for name, data in tables.items() if "multiqc" in name}
        assert {name: mine[name] for name in made} == made


@pytest.mark.parametrize(("command", "hint"), [("echo {samples}", "sample"), ("echo {Region}", "region")])
def test_a_word_that_is_nearly_one_of_ours_is_refused(cohort, tmp_path, command, hint):
    done = run("plan", cohort.sheet, "-L", cohort.bed, "--exec", command, "-o", tmp_path / "p.json")
    assert done.kind == "usage"
    assert f"did you mean {{{hint}}}?" in done.err
    assert not (tmp_path / "p.json").exists()


def test_a_tool_need_not_read_what_it_is_given(cohort, tmp_path):
    work = plan(tmp_path, cohort.store("S1"), "-L", cohort.bed, "--exec", "exec <&-; echo {name}")
    assert work.run().code == 0
    assert {path.read_text().strip() for _, path in region_files(work, work.gather()["exec.tsv"])} >= {
        "whole"
    }


# ---- slices ----


@pytest.mark.parametrize(
    ("n", "workers", "seed"),
    [
        (3, 3, 1),
        pytest.param(3, 1, 2, marks=pytest.mark.slow),
        pytest.param(50, 2, 3, marks=pytest.mark.slow),
    ],
)
def test_tables_do_not_depend_on_slices_workers_or_order(cohort, whole, tables, tmp_path, n, workers, seed):
    work = plan(tmp_path, cohort.sheet, "-L", cohort.bed, *KINDS, "--exec", TOOL, "--exec-sam", "--slices", n)
    order = random.Random(seed).sample(range(1, n + 1), n)
    for i in order:
        assert work.run("--slice", f"{i}/{n}", "--workers", workers).code == 0
    found = work.gather()
    assert {name: found.pop(name) for name in list(found) if name not in ("records.tsv", "exec.tsv")} == {
        name: data for name, data in tables.items() if name not in ("records.tsv", "exec.tsv")
    }
    for name, data in found.items():
        pairs = zip(region_files(whole, tables[name]), region_files(work, data), strict=True)
        for (theirs, their_file), (mine, my_file) in pairs:
            assert {**mine, "file": ""} == {**theirs, "file": ""}
            assert my_file.name == their_file.name
            assert my_file.read_bytes() == their_file.read_bytes()


def test_slices_that_hold_nothing_end_at_once(cohort, tmp_path):
    work = plan(tmp_path, cohort.store("S1"), "-L", cohort.bed, "--count", "--slices", 40)
    for i in range(1, 41):
        assert work.run("--slice", f"{i}/40").code == 0
    assert work.status() | {"slices_done": 40, "done": 12, "units": 12} == work.status()
    assert len(work.events("attempt")) == 12


def planned(tmp_path, *options):
    """What plan says as JSON."""
    done = run("plan", *options, "-o", tmp_path / "p.json", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_slices_are_of_equal_predicted_cost(cohort, tmp_path):
    many = many_regions(tmp_path / "many.bed", 600)
    found = planned(tmp_path, cohort.sheet, "-L", many, "--count", "--coverage", "--slices", 10)
    seconds = np.array([one["seconds"] for one in found["slices"]])
    assert sum(one["units"] for one in found["slices"]) == found["units"] == 3600
    assert (np.abs(seconds - seconds.mean()) <= 0.1 * seconds.mean()).all()


def test_a_dear_unit_is_a_slice_of_its_own(cohort, tmp_path):
    bed = tmp_path / "uneven.bed"
    cheap = "".join(f"chr2\t{i * 10}\t{i * 10 + 5}\n" for i in range(2))
    bed.write_text(cheap + "chr1\t0\t1000000\n")
    found = planned(tmp_path, cohort.store("S1"), "-L", bed, "--records", "--slices", 2)
    assert [one["units"] for one in found["slices"]] in ([1, 2], [2, 1])


def test_a_plan_says_which_samples_each_slice_asks(cohort, tmp_path):
    found = planned(tmp_path, cohort.sheet, "-L", cohort.bed, "--count", "--slices", 2)
    first, second = (one["samples"] for one in found["slices"])
    assert (first[0], second[-1]) == ("S1", "S3")
    assert list(dict.fromkeys(first + second)) == ["S1", "S2", "S3"]


def test_tables_name_files_as_they_are_found_from_where_the_tables_will_be(cohort, tmp_path):
    bed = many_regions(tmp_path / "one.bed", 1)
    work = plan(tmp_path, cohort.store("S1"), "-L", bed, "--records", "--slices", 1)
    assert work.run().code == 0
    for options, start in (([], "../WORK/"), (["--files-from", tmp_path / "a/b"], "../../WORK/")):
        assert run("gather", work.plan, "-o", tmp_path / "tables", *options).code == 0
        row = (tmp_path / "tables/records.tsv").read_text().splitlines()[1].split("\t")
        assert row[5].startswith(start)


def test_as_many_slices_are_made_as_take_the_time_that_is_asked_for(cohort, tmp_path):
    many = many_regions(tmp_path / "many.bed", 600)
    found = planned(tmp_path, cohort.sheet, "-L", many, "--records", "--target-seconds", 2)
    whole_s = sum(one["seconds"] for one in found["slices"])
    assert len(found["slices"]) == int(np.ceil(whole_s / 2))
    assert max(one["seconds"] for one in found["slices"]) < 2.2
    assert all(one["mem_mb"] > 0 for one in found["slices"])
    assert found["work"] == str(tmp_path / "p.work")


# ---- what was done stays done ----


def numbers_done(work, before=0):
    return [line["key"] for line in work.events("done")][before:]


def test_a_new_sample_a_new_region_or_another_number_of_slices_adds_only_what_is_new(cohort, tmp_path):
    two = cohort.write_sheet(tmp_path / "two.tsv", ("S1", "S2"))
    regions = cohort.bed.read_text()
    bed = tmp_path / "grows.bed"
    bed.write_text(regions)
    work = plan(tmp_path, two, "-L", bed, *KINDS, "--slices", 3)
    assert work.run().code == 0
    assert len(numbers_done(work)) == 2 * (12 * 3 + 1)
    plan(tmp_path, two, "-L", bed, *KINDS, "--slices", 7)
    assert work.run().code == 0
    assert len(numbers_done(work)) == 74
    plan(tmp_path, cohort.sheet, "-L", bed, *KINDS, "--slices", 4)
    assert work.run().code == 0
    assert len(numbers_done(work)) == 3 * 37
    bed.write_text("chr2\t7\t5000\tnew\n" + regions)
    plan(tmp_path, cohort.sheet, "-L", bed, *KINDS)
    assert work.run().code == 0
    assert len(numbers_done(work)) == 3 * 37 + 3 * 3
    assert len(set(numbers_done(work))) == 3 * (13 * 3 - 2 * 2 + 1)  # doubled regions share counts and depths
    found = rows(work.gather()["counts.tsv"])
    assert found[0]["name"] == "new"
    assert int(found[0]["S3"]) == int(pysam.view("-c", str(cohort.bam("S3")), "chr2:8-5000"))


def test_another_question_is_another_unit(cohort, tmp_path):
    work = plan(tmp_path, cohort.store("S1"), "-L", cohort.bed, "--count")
    assert work.run().code == 0
    plan(tmp_path, cohort.store("S1"), "-L", cohort.bed, "--count", "-q", "20")
    assert len(work.missing()) == 12
    assert work.run().code == 0
    (row, *_) = rows(work.gather()["counts.tsv"])
    assert int(row["S1"]) == int(pysam.view("-c", "-q", "20", str(cohort.bam("S1")), place(row)))
    plan(tmp_path, cohort.store("S1"), "-L", cohort.bed, "--count")
    assert work.missing() == []
