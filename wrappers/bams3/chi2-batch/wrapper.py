__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from snakemake.shell import shell

counts, vcf, bed, plates = map(snakemake.input.get, ("counts", "vcf", "bed", "plates"))
if not counts and not (plates and (vcf or bed)):
    sys.exit("bams3 chi2-batch: an input is missing: counts, or plates and vcf or bed")
panel = ["--vcf", vcf] if vcf else ["--bfile", (bed or "").removesuffix(".bed")]
source = [counts] if counts else [*panel, "--plates", plates]
table = snakemake.output.get("table")
if not table:
    sys.exit("bams3 chi2-batch: output.table is missing: a .tsv or .parquet file")
extra = snakemake.params.get("extra", "")
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""

with TemporaryDirectory() as folder:
    # The summaries are written beside the table; as outputs they may lie elsewhere.
    part = f"{folder}/{Path(table).name}"
    ends = {"table": "", "summary": ".summary.txt", "json": ".summary.json"}
    to = {name: path for name, path in snakemake.output.items() if name in ends}
    moves = " && ".join(
        f"mv {quote(part + ends[name])} {quote(to[name])}" for name in to
    )
    shell(
        "( bams3 chi2-batch {source:q} {part:q} --threads {snakemake.threads} {extra}"
        " && {moves} ) {log}"
    )
