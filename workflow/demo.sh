#!/usr/bin/env bash
# The cohort run on a small simulated cohort, from nothing to the heat map. Everything is in build/demo.
set -euo pipefail
cd "$(dirname "$0")/.."
demo=build/demo
for need in bams3 snakemake; do
    command -v "$need" >/dev/null || { echo "demo.sh: no $need on the PATH; run it as: make demo" >&2; exit 1; }
done

if [ ! -e "$demo/config.yaml" ]; then
    echo "Simulating four samples, one with a deletion on one chromosome and one with it on both"
    python tests/simulate_cohort.py "$demo"
fi

echo "Running: snakemake --cores 2 --directory $demo --configfile $demo/config.yaml"
snakemake --cores 2 --directory "$demo" --configfile "$demo/config.yaml" --quiet rules host

python - "$demo" <<'END'
import csv
import statistics
import sys
from pathlib import Path

demo = Path(sys.argv[1])
with open(demo / "results/counts.tsv") as table, open(demo / "truth.tsv") as truth:
    counts = list(csv.DictReader(table, delimiter="\t"))
    deletions = list(csv.DictReader(truth, delimiter="\t"))
print(f"\nThe deletion, {deletions[0]['contig']}:{deletions[0]['start']}-{deletions[0]['end']}:")
row = "{:10} {:12} {:>7} {:>9} {:>6}".format
print(row("sample", "region", "reads", "median", "ratio"))
for gone in deletions:
    median = statistics.median(int(region[gone["sample"]]) for region in counts)
    for region in counts:
        inside = int(region["start"]) >= int(gone["start"]) and int(region["end"]) <= int(gone["end"])
        if region["contig"] == gone["contig"] and inside:
            reads = int(region[gone["sample"]])
            print(row(gone["sample"], region["name"], reads, f"{median:g}", f"{reads / median:.2f}"))
print(f"\nReads:    {demo}/results/counts.tsv, counts.png  ({len(counts)} regions)")
print(f"Depth:    {demo}/results/depth.tsv, depth.png; breadth.tsv, breadth.png")
print(f"Stores:   {demo}/results/stores/")
print("The commands are on the PATH after: . .venv/bin/activate")
END
