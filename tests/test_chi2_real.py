"""Tests of homogeneity of real genotypes: every table runs, and a plate with a made artefact is found."""

import csv
import gzip
import statistics

import pytest
from commands import run

pytestmark = pytest.mark.slow


def results_in(counts, out, *options):
    done = run("chi2-batch", counts, out, *options)
    assert done.code == 0, done.err
    with out.open() as file:
        return {row["probeset_id"]: row for row in csv.DictReader(file, delimiter="\t")}


def n_probesets(counts):
    opened = gzip.open if counts.suffix == ".gz" else open
    with opened(counts, "rt") as file:
        return len({line.partition("\t")[0] for line in file}) - 1


@pytest.mark.parametrize("name", ["chi2mc_fixture.tsv", "1000G_chr22_26pop_counts.tsv.gz"])
def test_every_real_table_is_tested(shared_data, tmp_path, name):
    counts = shared_data / "counts" / name
    columns = n_probesets(counts) if name.startswith("1000G") else 100
    rows = results_in(counts, tmp_path / "out.tsv", "--max-simulations", 1000)
    assert len(rows) == columns
    for row in rows.values():
        assert bool(row["pvalue"]) != bool(row["error"])
        assert 0 < float(row["pvalue"] or 1) <= 1
        assert 0 < float(row["pvalue_no_call"]) <= 1


def test_the_plate_with_the_artefact_is_the_worst_one(shared_data, tmp_path):
    """Of 146 artefacts 49 are on variants so rare that even tests of their plate alone do not see them."""
    counts = shared_data / "counts" / "1000G_chr20_27plates_counts.tsv.gz"
    rows = results_in(counts, tmp_path / "out.tsv", "--max-simulations", 100_000)
    with (shared_data / "counts" / "1000G_chr20_27plates_counts.truth.tsv").open() as file:
        plate_of = {row["probeset_id"]: row["batch_name"] for row in csv.DictReader(file, delimiter="\t")}
    hits = [row for row in rows.values() if float(row["qvalue"]) < 0.01]
    assert len(hits) > 60
    assert statistics.mean(row["worst_batch"] == plate_of.get(row["probeset_id"]) for row in hits) >= 0.95
