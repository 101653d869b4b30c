__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import join, quote

from snakemake.shell import shell

manifest = Path(snakemake.input.get("store", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 coverage: input.store is missing: NAME.bams3/_metadata.json")
bed, window = snakemake.input.get("bed"), snakemake.params.get("window")
if snakemake.output.get("regions") and not bed:
    sys.exit("bams3 coverage: input.bed is missing, which output.regions needs")
if snakemake.output.get("windows") and not window:
    sys.exit("bams3 coverage: params.window is missing, which output.windows needs")
region, above = snakemake.params.get("region", []), snakemake.params.get("thresholds")
where = join([region] if isinstance(region, str) else region)
above = f"--thresholds {above}" if above else ""
extra = snakemake.params.get("extra", "")
ask = f"bams3 coverage {quote(str(manifest.parent))} --threads {snakemake.threads}"
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""

# Each is written under a temporary name, and renamed when it is whole.
kinds = {
    "per_base": f"{where} --output",
    "windows": f"{where} --window {window} {above} --output",
    "regions": f"--regions-file {quote(bed or '')} {above} --output",
    "summary": f"{where} --summary --output",
    "plot": f"{where} {above} --plot",
}
to = {name: path for name, path in snakemake.output.items() if name in kinds}
if not to:
    sys.exit(f"bams3 coverage: an output is missing: any of {', '.join(kinds)}")
commands = " && ".join(f"{ask} {extra} {kinds[name]} {quote(to[name])}" for name in to)
shell("( {commands} ) {log}")
