"""The cohort run on four real BAMs, its counts equal to samtools'."""

import shutil

import pysam
import pytest
from test_workflow import run

from bams3.tables import read_counts

pytestmark = pytest.mark.engine

ALIGNMENTS = {
    "wgs_hg19_chr20": "NA12878_S1.chr20.10_10p1mb.bam",  # short pairs, 50x
    "wgs_grch38_chr22": "NA12878.chr22.s.bam",  # short pairs, 3,366 contigs
    "hifi_grch38_chr6": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",  # 10 to 30 kb, =/X CIGAR
    "ont_chr4": "ont.bam",  # 90 kb
}
CONTIGS = ("chr4", "chr6", "chr20", "chr22")
#: What is asked of the cohort, of genotype counts of 27 plates, and of the phased calls of 2,504 people.
CONFIG = """\
samples: samples.csv
regions: regions.bed
slices: 3
kinds: [count, coverage, records]
exec: samtools view -c -F 1024 -
chi2: {counts: 1000G_chr20_27plates_counts.tsv.gz, max_simulations: 1000, slices: 2}
ld: {vcf: 1kgp3_chr20_subset_20k.bcf, tiles: 6, slices: 2, draw: ["20:60000-70000"]}
"""
JOBS = {"convert": 4, "plan": 1, "run_slice": 3, "gather": 1}
JOBS |= {"chi2_slice": 2, "chi2_merge": 1, "chi2_plot": 1}
JOBS |= {"ld_import": 1, "ld_plan": 1, "ld_slice": 2, "ld_gather": 1, "ld_decay": 1, "ld_draw": 1}


def extent(path):
    """Contig of the placed reads of a file, their first and last position."""
    with pysam.AlignmentFile(str(path)) as file:
        reads = [read for read in file if not read.is_unmapped]
    (contig,) = {read.reference_name for read in reads}
    return contig, reads[0].reference_start, max(read.reference_end for read in reads)


def regions_of(paths):
    """Windows over what each file covers, its whole extent, the points around its ends, a whole contig."""
    rows = []
    for path in paths:
        contig, start, end = extent(path)
        step = (end - start) // 8
        rows += [(contig, start + i * step, start + (i + 1) * step + 500) for i in range(8)]
        rows += [(contig, start, end), (contig, max(start - 1000, 0), start), (contig, end, end + 1000)]
        rows += [(contig, end - 1, end), (contig, 0, 250_000_000)]
    return [(*row, f"{row[0]}_{number}") for number, row in enumerate(rows)]


@pytest.fixture(scope="module")
def cohort(shared_data, tmp_path_factory):
    """The four files with indexes for samtools, regions on the contigs of all, and the finished run."""
    folder = tmp_path_factory.mktemp("real")
    paths = [folder / f"{sample}.bam" for sample in ALIGNMENTS]
    for path, name in zip(paths, ALIGNMENTS.values(), strict=True):
        shutil.copyfile(shared_data / "aln" / name, path)
        pysam.index(str(path))
        with pysam.AlignmentFile(str(path)) as file:
            assert set(CONTIGS) <= set(file.references)
    bed = "".join("\t".join(map(str, row)) + "\n" for row in regions_of(paths))
    (folder / "regions.bed").write_text(bed)
    sheet = "".join(f"{path.stem},{path.name}\n" for path in paths)
    (folder / "samples.csv").write_text(f"sample,alignment\n{sheet}")
    for name in ("counts/1000G_chr20_27plates_counts.tsv.gz", "geno/1kgp3_chr20_subset_20k.bcf"):
        shutil.copy(shared_data / name, folder)
    (folder / "config.yaml").write_text(CONFIG)
    assert run(folder) == JOBS
    return folder


@pytest.mark.parametrize("sample", ALIGNMENTS)
def test_counts_of_a_real_sample_are_those_of_samtools(cohort, sample):
    table = read_counts(cohort / "results/counts.tsv")
    counts = table.counts[:, table.samples.index(sample)].tolist()
    regions = [f"{region.contig}:{region.start_bp + 1}-{region.end_bp}" for region in table.regions]
    expected = [int(pysam.view("-c", str(cohort / f"{sample}.bam"), region)) for region in regions]
    assert counts == expected
    assert sum(count > 0 for count in counts) >= 10


def test_the_heat_map_of_real_samples_is_drawn(cohort):
    assert (cohort / "results/counts.png").read_bytes().startswith(b"\x89PNG")
