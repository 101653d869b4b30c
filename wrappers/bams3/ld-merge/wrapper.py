__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from shlex import quote

from snakemake.shell import shell

tiles = snakemake.input.get("tiles")
if not tiles:
    sys.exit("bams3 ld-merge: input.tiles is missing: the files of bams3 ld-tile")
pairs = snakemake.output.get("pairs")
if not pairs:
    sys.exit("bams3 ld-merge: output.pairs is missing: a .tsv or .parquet file")

extra = snakemake.params.get("extra", "")
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"> {quote(str(snakemake.log))} 2>&1" if snakemake.log else ""

# bams3 writes under a temporary name and renames the file when it is whole.
shell("bams3 ld-merge {tiles:q} --output {pairs:q} {extra} {log}")
