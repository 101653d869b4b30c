__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import quote

from snakemake.shell import shell
from snakemake_wrapper_utils.snakemake import are_args, get_mem

manifest = Path(snakemake.input.get("panel", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 ld-tile: input.panel is missing: NAME.ldp/_metadata.json")
pairs = snakemake.output.get("pairs")
if not pairs:
    sys.exit("bams3 ld-tile: output.pairs is missing: a .tsv or .parquet file")

extra = snakemake.params.get("extra", "")
# Memory decides into how many tiles pairs are cut. A job that does some of the tiles
# must cut them as the others do, so there the rule says how many.
cut = ["--tiles", "-c", "--tile", "-C", "--slice", "--max-memory"]
resources = snakemake.resources
has_memory = resources.get("mem_mb") or resources.get("mem_gb")
is_cut = not has_memory or any(are_args(cut, extra))
memory = "" if is_cut else f"--max-memory {get_mem(snakemake)}M"
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""

# bams3 writes under a temporary name and renames the file when it is whole.
shell(
    "bams3 ld-tile {manifest.parent:q} {pairs:q} --threads {snakemake.threads}"
    " {memory} {extra} {log}"
)
