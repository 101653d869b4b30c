__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import join, quote
from tempfile import TemporaryDirectory

from snakemake.shell import shell

manifest = Path(snakemake.input.get("store", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 query: input.store is missing: NAME.bams3/_metadata.json")
columns = snakemake.params.get("columns", "")
if snakemake.output.get("table") and not columns:
    sys.exit("bams3 query: params.columns is missing: the fields of output.table")
bed, region = snakemake.input.get("bed"), snakemake.params.get("region", [])
regions = [region] if isinstance(region, str) else region
where = join(["--regions-file", bed] if bed else regions)
ask = f"bams3 query {quote(str(manifest.parent))} {where} --threads {snakemake.threads}"
ask += f" {snakemake.params.get('extra', '')}"
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"2> {quote(str(snakemake.log))}" if snakemake.log else ""

with TemporaryDirectory() as folder:
    # --output writes under a temporary name and renames; what comes on stdout is moved.
    part = quote(f"{folder}/part")
    kinds = {
        "aln": "--output",
        "table": f"--columns {quote(columns)} --output",
        "n_records": f"--count > {part} && mv {part}",
        "counts": f"--tsv > {part} && mv {part}",
    }
    to = {name: path for name, path in snakemake.output.items() if name in kinds}
    if not to:
        sys.exit(f"bams3 query: an output is missing: any of {', '.join(kinds)}")
    commands = " && ".join(f"{ask} {kinds[name]} {quote(to[name])}" for name in to)
    shell("( {commands} ) {log}")
