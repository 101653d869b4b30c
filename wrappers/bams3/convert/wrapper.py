__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import quote

from snakemake.shell import shell
from snakemake_wrapper_utils.snakemake import get_mem

aln = snakemake.input.get("aln")
if not aln:
    sys.exit("bams3 convert: input.aln is missing: a BAM, SAM or CRAM file")
manifest = Path(snakemake.output.get("store", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 convert: output.store is missing: NAME.bams3/_metadata.json")

ref = snakemake.input.get("ref")
ref = ["--reference", ref] if ref else []
resources = snakemake.resources
has_memory = resources.get("mem_mb") or resources.get("mem_gb")
memory = f"--max-memory {get_mem(snakemake)}M" if has_memory else ""
extra = snakemake.params.get("extra", "")
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""

# The manifest is written last, under a temporary name that is then its own: a store
# without it does not exist. What a killed job left is gone on with. --force: the rule
# runs because the alignments have changed.
shell(
    "bams3 convert {aln:q} {manifest.parent:q} {ref:q} --threads {snakemake.threads}"
    " {memory} --force {extra} {log}"
)
