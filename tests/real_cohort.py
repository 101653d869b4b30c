"""The cohort run on four real BAMs, with tests of real genotype counts and LD of real genotypes."""

import shutil
from pathlib import Path

import pysam
from test_workflow import run

ALIGNMENTS = {
    "wgs_hg19_chr20": "NA12878_S1.chr20.10_10p1mb.bam",  # short pairs, 50x
    "wgs_grch38_chr22": "NA12878.chr22.s.bam",  # short pairs, 3,366 contigs
    "hifi_grch38_chr6": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",  # 10 to 30 kb, =/X CIGAR
    "ont_chr4": "ont.bam",  # 90 kb
}
CONTIGS = ("chr4", "chr6", "chr20", "chr22")
COUNTS = "1000G_chr20_27plates_counts.tsv.gz"
GENOTYPES = "1kgp3_chr20_subset_20k.bcf"
#: What is asked of the cohort, of genotype counts of 27 plates, and of the phased calls of 2,504 people.
CONFIG = f"""\
samples: samples.csv
regions: regions.bed
slices: 3
kinds: [count, coverage, records]
exec: samtools view -c -F 1024 -
chi2: {{counts: {COUNTS}, max_simulations: 1000, slices: 2}}
ld: {{vcf: {GENOTYPES}, tiles: 6, slices: 2, draw: ["20:60000-70000"]}}
"""
JOBS = {"convert": 4, "plan": 1, "run_slice": 3, "gather": 1}
JOBS |= {"chi2_slice": 2, "chi2_merge": 1, "chi2_plot": 1}
JOBS |= {"ld_import": 1, "ld_plan": 1, "ld_slice": 2, "ld_gather": 1, "ld_decay": 1, "ld_draw": 1}
#: Tables of samples x regions; and all that the run makes.
TABLES = ("counts.tsv", "depth.tsv", "breadth.tsv", "records.tsv", "exec.tsv")
RESULTS = (*TABLES, "chi2.tsv", "chi2.tsv.summary.json", "ld.parquet", "ld/panel.decay.tsv")


def extent(path: Path) -> tuple[str, int, int]:
    """Contig of the placed reads of a file, their first and last position."""
    with pysam.AlignmentFile(str(path)) as file:
        reads = [read for read in file if not read.is_unmapped]
    (contig,) = {read.reference_name for read in reads}
    return contig, reads[0].reference_start, max(read.reference_end for read in reads)


def regions_of(paths: list[Path]) -> list[tuple[str, int, int, str]]:
    """Windows over what each file covers, its whole extent, the points around its ends, a whole contig."""
    rows = []
    for path in paths:
        contig, start, end = extent(path)
        step = (end - start) // 8
        rows += [(contig, start + i * step, start + (i + 1) * step + 500) for i in range(8)]
        rows += [(contig, start, end), (contig, max(start - 1000, 0), start), (contig, end, end + 1000)]
        rows += [(contig, end - 1, end), (contig, 0, 250_000_000)]
    return [(*row, f"{row[0]}_{number}") for number, row in enumerate(rows)]


def make(shared_data: Path, folder: Path) -> None:
    """The four files with indexes for samtools, regions on the contigs of all, and the finished run."""
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
    for name in (f"counts/{COUNTS}", f"geno/{GENOTYPES}"):
        shutil.copy(shared_data / name, folder)
    (folder / "config.yaml").write_text(CONFIG)
    assert run(folder) == JOBS
