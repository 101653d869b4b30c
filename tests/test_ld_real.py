"""LD of real panels against plink 1.9: every pair that either of them has."""

import csv
import subprocess
from collections import Counter

import cyvcf2
import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import run
from ld_twins import of_haplotypes

HAPMAP, CHR20 = "geno/hapmap3_flashpca", "geno/1kgp3_chr20_subset_20k.bcf"
FAR = "--ld-window 999999 --ld-window-kb 999999".split()


def plink(folder, *arguments):
    """Run plink 1.9, whose files are called ``plink`` here."""
    command = ["plink1.9", *map(str, arguments), "--keep-allele-order", "--allow-extra-chr", "--threads", "1"]
    subprocess.run([*command, "--out", folder / "plink"], check=True, capture_output=True)


def pairs_of_plink(folder, least):
    """r2 by the ids of both variants, as plink --r2 prints it."""
    plink(folder, "--bfile", folder / "set", "--r2", *FAR, "--ld-window-r2", least)
    with (folder / "plink.ld").open() as lines:
        rows = csv.DictReader(lines, delimiter=" ", skipinitialspace=True)
        return {(row["SNP_A"], row["SNP_B"]): float(row["R2"]) for row in rows}


def pairs_of_ours(folder, least):
    done = run("ld-import", folder / "set.bed", folder / "set.ldp", "--quiet")
    assert done.code == 0, done.err
    done = run("ld-tile", folder / "set.ldp", folder / "pairs.parquet", "--min-r2", least, "--quiet")
    assert done.code == 0, done.err
    table = pq.read_table(folder / "pairs.parquet", columns=["id_a", "id_b", "r2"])
    columns = (column.to_pylist() for column in table.columns)
    return {(a, b): r2 for a, b, r2 in zip(*columns, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "least", "most"),
    [
        (HAPMAP, "0.005", 700_000),  # all contigs; X with plink's --ld-xchr 1, males have 0 or 1 alleles
        (CHR20, "0.1", 400_000),
    ],
)
def test_unphased_r2_is_that_of_plink_for_all_pairs(shared_data, tmp_path, source, least, most):
    path = shared_data / source
    if path.suffix == ".bcf":
        names = ["--set-missing-var-ids", r"@_#_\$1_\$2", "--biallelic-only", "strict", "--double-id"]
        plink(tmp_path, "--bcf", path, *names, "--make-bed")
        for end in ("bed", "bim", "fam"):
            (tmp_path / f"plink.{end}").rename(tmp_path / f"set.{end}")
    else:
        for end in ("bed", "bim", "fam"):
            (tmp_path / f"set.{end}").symlink_to(f"{path}.{end}")
    theirs, ours = pairs_of_plink(tmp_path, least), pairs_of_ours(tmp_path, least)
    assert most / 2 < len(theirs) < most
    assert ours.keys() == theirs.keys()
    for pair, r2 in theirs.items():
        assert ours[pair] == pytest.approx(r2, rel=6e-6), pair  # six digits are printed


def test_phased_pairs_of_a_real_panel_are_those_of_its_haplotypes(shared_data, tmp_path):
    """2,000 of the pairs, from what cyvcf2 reads; its reader and ours are not the same."""
    haplotypes = {}
    for record in cyvcf2.VCF(str(shared_data / CHR20)):
        if len(record.ALT) == 1:
            haplotypes[record.POS, record.REF, record.ALT[0]] = record.genotype.array()[:, :2].ravel() == 1
    several = Counter(place for place, _, _ in haplotypes)
    alone = {place: calls for (place, _, _), calls in haplotypes.items() if several[place] == 1}
    panel, out = tmp_path / "panel.ldp", tmp_path / "pairs.parquet"
    for command in (
        ("ld-import", shared_data / CHR20, panel, "--multiallelic", "drop"),
        ("ld-tile", panel, out, "--max-distance", "100kb", "--min-r2", "0.001"),
    ):
        done = run(*command, "--quiet")
        assert done.code == 0, done.err
    table = pq.read_table(out)
    checked = 0
    for row in table.take(np.random.default_rng(4).permutation(len(table))[:2500]).to_pylist():
        if row["pos_a"] not in alone or row["pos_b"] not in alone:
            continue
        x, y = alone[row["pos_a"]], alone[row["pos_b"]]
        counts = [[np.sum(~x & ~y), np.sum(~x & y)], [np.sum(x & ~y), np.sum(x & y)]]
        d, dprime, r = of_haplotypes(counts)
        assert row["phased"]
        assert [row["r"], row["r2"], row["d"], row["dprime"]] == pytest.approx(
            [r, r * r, d, dprime], abs=1e-9
        )
        checked += 1
        if checked == 2000:
            break
    assert checked == 2000
