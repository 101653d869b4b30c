"""Depth, statistics and columns against mosdepth, samtools and pysam: ``make ask BAM=file.bam``."""

from __future__ import annotations

import compileall
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import convert_query, harness, report
from .convert_query import BAM, STORE, contig_lengths, region
from .harness import Command, Entry, Row

_COLUMNS = (
    "import bams3; m = bams3.open('{}').columns('{}', ['mapq'])['mapq'];"
    " print(m.size, int(m.sum()), sep='\\t')"
)
_LOOP = (
    "import pysam; m = [r.mapping_quality for r in pysam.AlignmentFile('{}', threads=2).fetch(region='{}')];"
    " print(len(m), sum(m), sep='\\t')"
)


def main() -> None:
    """Measure, write the rows, print the table."""
    options = convert_query.parsed("ask", "depth-stats", __doc__)
    if (
        shutil.which("mosdepth") is None
        or subprocess.run(["mosdepth", "--version"], capture_output=True).returncode
    ):
        raise SystemExit("needs its peer: apt-get install mosdepth libhts-dev")
    if os.getloadavg()[0] > 0.3:
        print("warning: this machine is busy, the times will say so", file=sys.stderr)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bams3-bench-", dir=options.scratch) as name:
        folder = Path(name)
        convert_query.link(Path(options.bam), folder)
        convert_query.warm(folder / BAM)
        compileall.compile_dir(harness.ROOT / "bams3", quiet=1)
        convert = harness.argv(("bams3", "convert", "--quiet", BAM, STORE))
        subprocess.run(convert, cwd=folder, check=True, env=harness.environment())
        for entries in tasks(folder):
            rows += harness.measure(entries, folder, options.repeats)
            print(convert_query.progress(rows[-len(entries) :]), file=sys.stderr)
    Path(options.rows).parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(Path(options.rows), rows)
    print(report.render_times(rows))


def tasks(folder: Path) -> Iterator[list[Entry]]:
    """Each task as the entries of its tools, bams3 first."""
    yield _windows("mean depth of 500 bp windows, from the index", "coverage --window 500")
    yield _windows("the same as spans, from chunks", "coverage --window 500 --mode span -@2")
    yield _per_base()
    yield _depth()
    yield _same_text("coverage --summary -@2", "coverage", "summary of each contig")
    yield _same_text("stats --flagstat", "flagstat -@2", "reads by flag")
    yield _same_text("stats", "idxstats", "reads by contig")
    contigs = contig_lengths(folder / BAM)
    contig = max(contigs, key=contigs.__getitem__)
    yield _mapping_qualities(region(contig, contigs[contig], 1_000_000, random.Random(22)))


def _mosdepth(*options: str) -> Command:
    return ("mosdepth", "-x", "-t", "2", *options, "m", BAM)


def _windows(task: str, form: str) -> list[Entry]:
    """The number of windows is checked; that their values agree is tests/test_coverage.py."""
    command, *ours = form.split()
    out = "windows.bed.gz"
    theirs = "m.regions.bed.gz"
    return [
        Entry(task, "bams3", (("bams3", command, STORE, *ours, "-o", out),), form, (out,), _lines(out)),
        Entry(
            task, "mosdepth", (_mosdepth("-n", "-b", "500"),), "-x -n -b 500 -t 2", (theirs,), _lines(theirs)
        ),
    ]


def _lines(path: str) -> Command:
    return ("sh", "-c", f"gzip -dc {path} | grep -vc '^#'")


def _per_base() -> list[Entry]:
    """Both write the same text, compressed, with an index."""
    task, out, theirs = "depth of every base as spans", "base.bed.gz", "m.per-base.bed.gz"
    ours = ("bams3", "coverage", STORE, "--mode", "span", "-@2", "-o", out)
    form = "coverage --mode span -@2 -o .gz"
    return [
        Entry(task, "bams3", (ours,), form, (out,), ("gzip", "-dc", out), as_text=True),
        Entry(task, "mosdepth", (_mosdepth(),), "-x -t 2", (theirs,), ("gzip", "-dc", theirs), as_text=True),
    ]


def _depth() -> list[Entry]:
    """Text of another form: what is checked is the sum of all depths."""
    task, out, theirs = "depth of every base, as text", "depth.bedgraph", "depth.tsv"
    ours = ("bams3", "coverage", STORE, "-@2", "-o", out)
    samtools = ("samtools", "depth", "-@2", "-a", "-o", theirs, BAM)
    total = ("sh", "-c", f"awk '{{n += ($3 - $2) * $4}} END {{printf \"%d\\n\", n}}' {out}")
    their_total = ("sh", "-c", f"awk '{{n += $3}} END {{printf \"%d\\n\", n}}' {theirs}")
    return [
        Entry(task, "bams3", (ours,), "coverage -@2", (out,), total),
        Entry(task, "samtools", (samtools,), "depth -a -@2", (theirs,), their_total),
    ]


def _same_text(ours: str, theirs: str, task: str) -> list[Entry]:
    command, *options = ours.split()
    mine, other = ("bams3", command, STORE, *options), ("samtools", *theirs.split(), BAM)
    return [
        Entry(task, "bams3", (mine,), ours, check=mine, as_text=True),
        Entry(task, "samtools", (other,), theirs, check=other, as_text=True),
    ]


def _mapping_qualities(where: str) -> list[Entry]:
    task = "mapping qualities of 1 Mb, in Python"
    ours, theirs = ("python", "-c", _COLUMNS.format(STORE, where)), ("python", "-c", _LOOP.format(BAM, where))
    return [
        Entry(task, "bams3", (ours,), "columns(region, ['mapq'])"),
        Entry(task, "pysam", (theirs,), "a loop over fetch(region)"),
    ]


if __name__ == "__main__":
    main()
