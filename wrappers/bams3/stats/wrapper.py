__author__ = "bams3 developers"
__copyright__ = "Copyright 2026, bams3 developers"
__email__ = "maintainers@bams3.example"
__license__ = "MIT"

import sys
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from snakemake.shell import shell

manifest = Path(snakemake.input.get("store", ""))
if manifest.name != "_metadata.json":
    sys.exit("bams3 stats: input.store is missing: NAME.bams3/_metadata.json")
extra, sample = snakemake.params.get("extra", ""), snakemake.params.get("sample")
ask = f"bams3 stats {quote(str(manifest.parent))} {extra}"
named = f"--sample {quote(sample)}" if sample else ""
# not log_fmt_shell, which does not quote: a path may have spaces
log = f"2> {quote(str(snakemake.log))}" if snakemake.log else ""

with TemporaryDirectory() as folder:
    # --multiqc and --plot write under a temporary name and rename; stdout is moved.
    part = quote(f"{folder}/part")
    kinds = {
        "idxstats": f"> {part} && mv {part}",
        "flagstat": f"--flagstat > {part} && mv {part}",
        "multiqc": f"{named} --multiqc",
        "plot": f"{named} --plot",
    }
    commands = []
    for kind, options in kinds.items():
        if path := snakemake.output.get(kind):
            is_json = kind != "multiqc" and path.endswith(".json")
            commands.append(f"{ask} {'--json' * is_json} {options} {quote(path)}")
    if not commands:
        sys.exit(f"bams3 stats: an output is missing: any of {', '.join(kinds)}")
    commands = " && ".join(commands)
    shell("( {commands} ) {log}")
