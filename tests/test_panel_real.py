"""Panels of the 1000 Genomes, against tables of counts that others made of them."""

import gzip

import numpy as np
import pytest
from panels import CHR20, CHR22, populations, tables_of

from bams3.panel import VcfPanel, plate_counts
from bams3.slices import Slice


def published(path, by_place):
    """A made table of counts, by id; ``by_place`` turns its CHROM_POS_REF_ALT into the panel's id."""
    tables = {}
    with gzip.open(path, "rt") as lines:
        next(lines)
        for line in lines:
            name, *counts, plate = line.split()
            tables.setdefault(by_place[name], {})[plate] = tuple(map(int, counts))
    return tables


def sites_by_place(panel):
    """The id of every place, as the tables name it: its first 60 letters."""
    return {
        f"{s.contig}_{s.start_bp + 1}_{s.ref}_{s.alt}"[:60]: s.id
        for block in panel.blocks()
        for s in block.sites
    }


def test_the_published_counts_of_chromosome_22_come_out_exactly(shared_data):
    panel = VcfPanel(shared_data / CHR22)
    found = tables_of(plate_counts(panel, populations(shared_data)))
    want = published(shared_data / "counts/1000G_chr22_26pop_counts.tsv.gz", sites_by_place(panel))
    assert found == want
    assert len(found) == 6081


def test_the_made_plates_of_chromosome_20_hold_the_genotypes_of_all(shared_data):
    """Its plates are not published, and no-calls were added: but nobody came or went."""
    panel = VcfPanel(shared_data / CHR20)
    want = published(shared_data / "counts/1000G_chr20_27plates_counts.tsv.gz", sites_by_place(panel))
    found = tables_of(plate_counts(panel, dict.fromkeys(panel.samples, "p")))
    assert len(want) == 5000
    for name, plates in want.items():
        made, real = np.sum(list(plates.values()), axis=0), np.array(found[name]["p"])
        assert made.sum() == real.sum() == 2504
        assert made[3] >= real[3]


@pytest.mark.parametrize("name", [CHR20, CHR22])
def test_a_slice_of_a_real_panel_is_every_nth_variant(shared_data, name):
    panel = VcfPanel(shared_data / name)
    plates = dict(zip(panel.samples, "ab" * 1252, strict=True))
    whole = tables_of(plate_counts(panel, plates))
    own = tables_of(plate_counts(panel, plates, which=Slice(3, 5)))
    assert own == dict(list(whole.items())[2::5])
