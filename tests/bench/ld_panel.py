"""A simulated panel as VCF: 2,504 people, variants with MAF >= 1 %, and a recombination hotspot.

Needs msprime (``pip install .[bench]``); seeded, so that it is the same file everywhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msprime
import numpy as np

SAMPLES, LENGTH_BP, SEED = 2504, 11_700_000, 2021
RATE = 1e-8
#: A span (bp) where crossovers are so many times as frequent.
HOTSPOT_BP, HOTTER = (5_000_000, 5_005_000), 500
MIN_MAF = 0.01


def main() -> None:
    """Simulate, and write the VCF."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ld_panel", description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--length", type=int, default=LENGTH_BP, metavar="BP")
    parser.add_argument("--min-maf", type=float, default=MIN_MAF)
    options = parser.parse_args()
    print(write_vcf(options.output, options.length, options.min_maf), "variants")


def write_vcf(path: Path, length_bp: int = LENGTH_BP, min_maf: float = MIN_MAF) -> int:
    """Write a panel; gives how many variants it has."""
    rates = msprime.RateMap(
        position=[0, *HOTSPOT_BP, max(length_bp, HOTSPOT_BP[1] + 1)], rate=[RATE, RATE * HOTTER, RATE]
    ).slice(0, length_bp, trim=True)
    trees = msprime.sim_ancestry(
        samples=SAMPLES, population_size=10_000, recombination_rate=rates, random_seed=SEED
    )
    trees = msprime.sim_mutations(trees, rate=RATE, random_seed=SEED, model=msprime.BinaryMutationModel())
    cells = np.full((SAMPLES, 4), ord("\t"), np.uint8)
    cells[:, 2] = ord("|")
    n, before = 0, 0
    with path.open("wb") as out:
        out.write(_header(length_bp))
        for variant in trees.variants():
            share = variant.genotypes.mean()
            position = max(before + 1, int(variant.site.position) + 1)
            if min(share, 1 - share) < min_maf or len(variant.alleles) != 2:
                continue
            cells[:, 1], cells[:, 3] = (variant.genotypes.reshape(-1, 2) + ord("0")).T
            out.write(f"1\t{position}\tv{n}\tA\tC\t.\t.\t.\tGT".encode() + cells.tobytes() + b"\n")
            n, before = n + 1, position
    return n


def _header(length_bp: int) -> bytes:
    names = "\t".join(f"p{k}" for k in range(SAMPLES))
    return (
        "##fileformat=VCFv4.3\n"
        f"##contig=<ID=1,length={length_bp + 1}>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}\n"
    ).encode()


if __name__ == "__main__":
    main()
