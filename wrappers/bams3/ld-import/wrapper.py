__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import quote

from snakemake.shell import shell

genotypes = next(filter(None, map(snakemake.input.get, ("vcf", "bed", "pgen"))), None)
if not genotypes:
    sys.exit("bams3 ld-import: an input is missing: vcf, bed or pgen")
manifest = Path(snakemake.output.get("panel", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 ld-import: output.panel is missing: NAME.ldp/_metadata.json")

samples = snakemake.input.get("samples")
samples = ["--samples", samples] if samples else []
extra = snakemake.params.get("extra", "")
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""

# The manifest is written last, under a temporary name that is then its own: a panel
# without it does not exist. --force: the rule runs because the genotypes have changed.
shell(
    "bams3 ld-import {genotypes:q} {manifest.parent:q} {samples:q}"
    " --threads {snakemake.threads} --force {extra} {log}"
)
