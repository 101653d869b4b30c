__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import quote

from snakemake.shell import shell

manifest = Path(snakemake.input.get("store", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 export: input.store is missing: NAME.bams3/_metadata.json")
aln, idx = snakemake.output.get("aln"), snakemake.output.get("idx")
if not aln:
    sys.exit("bams3 export: output.aln is missing: a .bam, .cram or .sam file")

ref = snakemake.input.get("ref")
ref = ["--reference", ref] if ref else []
index = "" if idx else "--no-index"
extra = snakemake.params.get("extra", "")
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""
# The index lies beside the file, whose name it begins with.
beside = f"{aln}{Path(idx or '').suffix}"
move = f"&& mv {quote(beside)} {quote(idx)}" if idx and idx != beside else ""

# bams3 writes both under temporary names and renames them when they are whole.
shell(
    "( bams3 export {manifest.parent:q} {aln:q} {ref:q} --threads {snakemake.threads}"
    " --force {index} {extra} {move} ) {log}"
)
