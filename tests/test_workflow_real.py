"""The cohort run on four real BAMs, its counts equal to samtools'."""

import pysam
import pytest
from real_cohort import ALIGNMENTS

from bams3.tables import read_counts

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("sample", ALIGNMENTS)
def test_counts_of_a_real_sample_are_those_of_samtools(real_cohort, sample):
    table = read_counts(real_cohort / "results/counts.tsv")
    counts = table.counts[:, table.samples.index(sample)].tolist()
    regions = [f"{region.contig}:{region.start_bp + 1}-{region.end_bp}" for region in table.regions]
    expected = [int(pysam.view("-c", str(real_cohort / f"{sample}.bam"), region)) for region in regions]
    assert counts == expected
    assert sum(count > 0 for count in counts) >= 10


def test_the_heat_map_of_real_samples_is_drawn(real_cohort):
    assert (real_cohort / "results/counts.png").read_bytes().startswith(b"\x89PNG")
