"""``bams3 cost`` of the cohorts that the project began with, beside what was said then: ``make cost``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from . import harness, report
from .harness import Row

PLAN = ("cost", "--reads", "800M", "--samples", "1000", "--json")
BRCA1 = "chr17:43044295-43125364"
HUNDRED = "".join(f"chr1\t{i}500000\t{i}501000\n" for i in range(1, 101))
ROWS = Path(__file__).parent / "rows" / "2026-11-cost.jsonl"

#: Question, options, which way of asking (row of "asked"), what the first documents said, and why it differs.
SCENARIOS = (
    (
        "keep 1,000 genomes",
        (),
        None,
        "$190 a month, where BAM costs $1,150",
        "theirs is a sixth of the BAM; a store is 0.41 of the benchmark's",
    ),
    (
        "BRCA1: counts",
        (BRCA1,),
        0,
        "$0.08",
        "$0.08 buys 200 GETs a sample: we need manifest, a range of the index, a range of a chunk",
    ),
    (
        "BRCA1: records",
        (BRCA1, "--question", "records"),
        0,
        "$0.08",
        "the same, the header, and one more a chunk",
    ),
    (
        "100 regions of 1 kb, a process each",
        ("-L", "hundred.bed"),
        1,
        "$0.12 of requests, $17 of compute",
        "the same three requests; theirs is 100 machines for ten minutes",
    ),
    (
        "the same, a process a sample",
        ("-L", "hundred.bed"),
        0,
        "",
        "`-L`: manifest and index are read once",
    ),
)


def main() -> None:
    """Ask, write the rows, print the tables."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "hundred.bed").write_text(HUNDRED)
        for question, options, way, said, why in SCENARIOS:
            found = ask(folder, *options)
            asked = None if way is None else found["asked"][way]
            about = {"question": question, "options": " ".join(options), "said": said, "why": why}
            rows.append(about | {"stores": found["stores"], "asked": asked, "prices": found["prices"]})
        rows += [{"what_if": row} for row in ask(folder, "-L", "hundred.bed", "--what-if")["what_if"]]
    harness.write_rows(Path(sys.argv[1]) if sys.argv[1:] else ROWS, rows)
    print(report.render_cost(rows))


def ask(folder: str, *options: str) -> Row:
    """What the command says."""
    command = harness.argv(("bams3", *PLAN, *options))
    printed = subprocess.run(command, cwd=folder, check=True, capture_output=True, env=harness.environment())
    found: Row = json.loads(printed.stdout)
    return found


if __name__ == "__main__":
    main()
