"""The simulator: the same bytes for a seed, files that samtools accepts, and reads that are what they say."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pysam
import pytest
from simulate_cohort import main as simulate

from bams3.tables import read_samples


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A cohort of four samples, small enough for a second."""
    folder = tmp_path_factory.mktemp("cohort")
    simulate([str(folder), "--size-kb", "60", "--depth", "12"])
    return folder


@pytest.fixture(scope="module")
def reads(cohort):
    """All records of each sample."""
    return {path.stem: records(path) for path in alignments(cohort)}


def alignments(cohort):
    return sorted(path for path in (cohort / "alignments").iterdir() if path.suffix in (".bam", ".cram"))


def records(path):
    with pysam.AlignmentFile(str(path), reference_filename=str(path.parent.parent / "reference.fa")) as file:
        return list(file)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_seed_gives_the_same_bytes_wherever_they_are_written(tmp_path):
    for name, seed in (("one", 1), ("a/longer/path", 1), ("other", 2)):
        simulate(
            [str(tmp_path / name), "--size-kb", "12", "--depth", "4", "--samples", "2", "--seed", str(seed)]
        )
    one, again, other = (contents(tmp_path / name) for name in ("one", "a/longer/path", "other"))
    assert one == again
    assert one.keys() == other.keys()
    assert one[Path("reference.fa")] != other[Path("reference.fa")]


def test_samtools_accepts_every_file(cohort):
    for path in alignments(cohort):
        pysam.quickcheck("-v", str(path))
        with pysam.AlignmentFile(str(path)) as file:
            assert file.header["HD"]["SO"] == "coordinate"
            assert file.check_index()
    assert [path.suffix for path in alignments(cohort)] == [".bam", ".bam", ".bam", ".cram"]


def test_md_and_nm_are_those_of_calmd(cohort):
    for path in alignments(cohort)[:3]:
        lines = pysam.calmd("-Q", str(path), str(cohort / "reference.fa")).splitlines()
        right = [line.split("\t") for line in lines if not line.startswith("@")]
        mine = records(path)
        assert len(right) == len(mine)
        for read, fields in zip(mine, right, strict=True):
            tags = {tag[:2]: tag[5:] for tag in fields[11:]}
            expected = {"MD": tags.get("MD"), "NM": tags.get("NM")}
            found = {tag: str(read.get_tag(tag)) if read.has_tag(tag) else None for tag in ("MD", "NM")}
            assert found == expected, read.query_name


def test_mates_agree_with_each_other(reads):
    for sample in reads.values():
        pairs = {}
        for read in sample:
            pairs.setdefault(read.query_name, []).append(read)
        for one, other in pairs.values():
            assert one.is_read1 != other.is_read1
            for read, mate in ((one, other), (other, one)):
                assert (read.next_reference_id, read.next_reference_start) == (
                    mate.reference_id,
                    mate.reference_start,
                )
                assert (read.mate_is_unmapped, read.mate_is_reverse) == (mate.is_unmapped, mate.is_reverse)
                assert read.has_tag("MC") != mate.is_unmapped
                assert mate.is_unmapped or read.get_tag("MC") == mate.cigarstring
                assert mate.is_unmapped or read.get_tag("MQ") == mate.mapping_quality
            assert one.template_length == -other.template_length


def test_the_cohort_has_every_kind_of_read(reads):
    for sample in reads.values():
        kinds = Counter()
        for read in sample:
            kinds["duplicate"] += read.is_duplicate
            kinds["unplaced"] += read.reference_id < 0
            kinds["unmapped, placed"] += read.is_unmapped and read.reference_id >= 0
            kinds.update(set(re.findall("[MIDS]", read.cigarstring or "")))
            kinds["N"] += "N" in read.query_sequence
            kinds["low mapq"] += not read.is_unmapped and read.mapping_quality < 60
        assert all(kinds[kind] > 0 for kind in ("duplicate", "unplaced", "unmapped, placed", "N", "low mapq"))
        assert kinds["M"] > 20 * kinds["S"] > 0
        assert kinds["I"] > 0
        assert kinds["D"] > 0


def test_names_are_those_of_a_sequencer(reads):
    for sample in reads.values():
        names = {read.query_name for read in sample}
        assert 2 * len(names) == len(sample)
        assert all(re.fullmatch(r"A00684:112:H\w{5}DSX2:[12]:[12][12]\d\d:\d+:\d+", name) for name in names)
        assert all(read.get_tag("RG")[-1] == read.query_name.split(":")[3] for read in sample)


def test_qualities_fall_along_the_read_and_say_how_often_it_is_wrong(reads):
    mapped = [read for read in reads["sample1"] if read.cigarstring == "150M"]
    qualities = np.array([read.get_forward_qualities() for read in mapped])
    assert qualities[:, 10:50].mean() > qualities[:, 120:].mean() + 3
    expected = (10 ** (qualities / -10.0)).sum()
    edits = sum(read.get_tag("NM") for read in mapped)
    assert 0.9 * expected < edits < 2.5 * expected


def test_the_deletion_halves_one_sample_and_empties_another(cohort):
    truth = [line.split("\t") for line in (cohort / "truth.tsv").read_text().splitlines()[1:]]
    assert [(row[0], row[4]) for row in truth] == [("sample2", "1"), ("sample3", "2")]
    for sample, contig, start, end, copies in truth:
        path = str(cohort / "alignments" / f"{sample}.bam")
        inside = int(pysam.view("-c", path, f"{contig}:{int(start) + 200}-{int(end) - 200}"))
        before = int(pysam.view("-c", path, f"{contig}:{2 * int(start) - int(end) + 200}-{int(start) - 200}"))
        assert inside / before == pytest.approx(1 - int(copies) / 2, abs=0.2)


def test_samples_differ_in_depth(reads):
    sizes = [len(sample) for sample in reads.values()]
    assert max(sizes) > 1.2 * min(sizes)


def test_the_sheet_and_the_regions_fit_the_files(cohort, monkeypatch):
    monkeypatch.chdir(cohort)
    samples = read_samples(Path("samples.tsv"))
    assert [sample.name for sample in samples] == ["sample1", "sample2", "sample3", "sample4"]
    assert samples[3].reference == "reference.fa"
    rows = [line.split("\t") for line in Path("regions.bed").read_text().splitlines()]
    with pysam.FastaFile("reference.fa") as reference:
        lengths = dict(zip(reference.references, reference.lengths, strict=True))
    covered = Counter()
    for contig, start, end, _ in rows:
        covered[contig] += int(end) - int(start)
    assert covered == lengths
    assert len({name for *_, name in rows}) == len(rows) > 50
