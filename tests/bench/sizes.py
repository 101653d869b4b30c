"""Bytes of real files as BAM, CRAM 3.1, CRAM 3.1 archive and store: ``make sizes DIR=folder``.

Every BAM and CRAM of the folder is first sorted by samtools, so that all forms hold the same records in
the same order. A CRAM's reference is looked for beside it: NAME.fa.gz for NAME.cram.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import harness, report
from .harness import Row

CRAM = "cram,version=3.1,no_ref"
#: What the files of our table are; others are named by nothing.
KINDS = {
    "CEUTrio.HiSeq.WGS.b37.NA12878.20.first.8000.bam": "Illumina, 41 qualities",
    "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam": "HiFi",
    "NA12878.bam": "amplicon-like depth (mitochondrion)",
    "NA12878.chr22.s.bam": "Illumina, 8 qualities",
    "NA12878_S1.chr20.10_10p1mb.bam": "Illumina, 38 qualities",
    "cigar-64k.bam": "3 long reads",
    "longcontignames.bam": "Illumina on 9,592 contigs",
    "ont.bam": "ONT",
    "possorted_genome_bam.bam": "10x, 84 % unmapped",
    "test.bam": "unmapped",
    "test.rna.paired_end.sorted.chr6.bam": "RNA",
    "9827_rand3.cram": "Illumina, 45 qualities",
    "E.coli.cram": "Illumina, no tags but RG",
}


def main() -> None:
    """Measure, write the rows, print the table."""
    parser = argparse.ArgumentParser(prog="make sizes", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--rows", type=Path, default=f"build/{time.strftime('%Y-%m')}-sizes.jsonl")
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix in (".bam", ".cram"))
    if not paths:
        parser.error(f"{options.folder} holds no BAM and no CRAM")
    rows = [sizes_of(path) for path in paths]
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(options.rows, rows)
    print(report.render_sizes(rows))


def sizes_of(path: Path) -> Row:
    """The row of one file."""
    with tempfile.TemporaryDirectory(prefix="bams3-sizes-") as name:
        folder = Path(name)
        bam, store = folder / "sorted.bam", folder / "s.bams3"
        _run("samtools", "sort", *_reference(path, folder), "-o", bam, path)
        for form in (CRAM, f"{CRAM},archive"):
            _run("samtools", "view", "-O", form, "-o", folder / form, bam)
        _run(*harness.argv(("bams3", "convert", "--quiet", str(bam), str(store))))
        count = subprocess.run(["samtools", "view", "-c", bam], check=True, capture_output=True, text=True)
        parts = {file.name: file.stat().st_size for file in store.rglob("*") if file.is_file()}
        return {
            "file": path.name,
            "kind": KINDS.get(path.name, ""),
            "records": int(count.stdout),
            "bam": bam.stat().st_size,
            "cram31": (folder / CRAM).stat().st_size,
            "archive": (folder / f"{CRAM},archive").stat().st_size,
            "store": sum(size for part, size in parts.items() if part != "_provenance.json"),
            "header": sum(size for part, size in parts.items() if part.startswith("_header")),
            "samtools": harness.version("samtools"),
            **harness.machine(),
        }


def _reference(path: Path, folder: Path) -> tuple[str, ...]:
    packed = path.with_suffix(".fa.gz")
    if path.suffix != ".cram" or not packed.exists():
        return ()
    plain = folder / "reference.fa"
    with gzip.open(packed) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target)
    return "--reference", str(plain)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, env=harness.environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr.strip()}"
        )


if __name__ == "__main__":
    main()
