"""The benchmark of convert, export and query against samtools: ``make bench BAM=file.bam``.

Any coordinate-sorted BAM with its index will do; README.md says how ours was made.
"""

from __future__ import annotations

import argparse
import compileall
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import harness, report
from .harness import Entry, Row

BAM, STORE, CRAM = "bench.bam", "bench.bams3", "bench.cram"
BIG_BAM, BIG_STORE = "bench4.bam", "bench4.bams3"
ZSTD_STORE, ARCHIVE = "zstd.bams3", "archive.cram"
CRAM_FORM = "cram,version=3.1,no_ref"
COUNT_ALL = ("samtools", "view", "-c", "-@2")


def main() -> None:
    """Measure, write the rows, print the table."""
    options = parsed("bench", "convert-query", __doc__, four_times=True)
    if os.getloadavg()[0] > 0.3:
        print("warning: this machine is busy, the times will say so", file=sys.stderr)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bams3-bench-", dir=options.scratch) as name:
        folder = Path(name)
        link(Path(options.bam), folder)
        warm(folder / BAM)
        compileall.compile_dir(harness.ROOT / "bams3", quiet=1)  # as pip does when it installs
        for entries in tasks(folder, options.four_times):
            _index(folder)
            rows += harness.measure(
                entries, folder, 1 if "four times" in entries[0].task else options.repeats
            )
            print(progress(rows[-len(entries) :]), file=sys.stderr)
    rows_path = Path(options.rows)
    rows_path.parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(rows_path, rows)
    print(report.render_times(rows))


def parsed(target: str, kind: str, about: str | None, *, four_times: bool = False) -> argparse.Namespace:
    """The options of a benchmark on a BAM."""
    parser = argparse.ArgumentParser(prog=f"make {target}", description=about)
    parser.add_argument("bam", metavar="BAM", help="coordinate-sorted, with its .bai or .csi beside it")
    parser.add_argument("--repeats", type=int, default=3)
    if four_times:
        parser.add_argument("--four-times", action="store_true", help="also convert four copies as one BAM")
    parser.add_argument("--rows", default=f"build/{time.strftime('%Y-%m')}-{kind}.jsonl")
    parser.add_argument("--scratch", help="where a folder for five times the size of BAM may be made")
    options = parser.parse_args()
    if not options.bam:
        parser.error(f"which BAM? make {target} BAM=file.bam (coordinate-sorted, with its index)")
    if shutil.which("samtools") is None:
        parser.error("needs its peer: apt-get install samtools")
    return options


def link(bam: Path, folder: Path) -> None:
    """The BAM and its index under fixed names, so that the rows name no folder."""
    index = next(
        (path for path in (bam.with_suffix(".bam.bai"), bam.with_suffix(".bam.csi")) if path.exists()), None
    )
    if not bam.is_file() or index is None:
        raise SystemExit(f"{bam}: no such BAM, or no index beside it: samtools index {bam}")
    (folder / BAM).symlink_to(bam.resolve())
    (folder / f"{BAM}{index.suffix}").symlink_to(index.resolve())


def _index(folder: Path) -> None:
    """The index of the CRAM, once there is one."""
    if (folder / CRAM).exists() and not (folder / f"{CRAM}.crai").exists():
        subprocess.run(["samtools", "index", CRAM], cwd=folder, check=True)


def warm(path: Path) -> None:
    """Read a file, so that every tool finds it in the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def progress(rows: list[Row]) -> str:
    """A line about one task."""
    return "; ".join(f"{row['tool']} {row['seconds']}" for row in rows) + f"  {rows[0]['task']}"


# ---- the tasks ----


def tasks(folder: Path, four_times: bool) -> Iterator[list[Entry]]:
    """Each task as the entries of its tools, bams3 first; later ones use the store that the first makes."""
    yield converting(BAM, STORE, CRAM, "BAM to store, or to CRAM 3.1 without a reference", ARCHIVE)
    yield plain_columns()
    yield from exporting()
    yield from counting(folder / BAM)
    yield from reading(folder / BAM)
    if four_times:
        make_four_times(folder)
        task = "the same, for a BAM four times as large"
        yield converting(BIG_BAM, BIG_STORE, CRAM, task)


def converting(bam: str, store: str, cram: str, task: str, archive: str = "") -> list[Entry]:
    """2 threads beside the main one for both tools; the archive profile of CRAM too, if it is named."""
    ours = ("bams3", "convert", bam, store, "--workers", "2")
    check = ("bams3", "query", store, "--count")
    entries = [Entry(task, "bams3", (ours,), "convert", (store,), check)]
    for out, form in ((cram, CRAM_FORM), (archive, f"{CRAM_FORM},archive")):
        theirs = ("samtools", "view", "-@2", "-O", form, "-o", out, bam)
        if out:
            form = f"view -@2 -O {form}"
            entries.append(Entry(task, "samtools", (theirs,), form, (out,), (*COUNT_ALL, out)))
    return entries


def plain_columns() -> list[Entry]:
    """Columns that know each other against plain ones."""
    task = "the same, and a store with --compression zstd"
    entries = []
    for store, options in ((STORE, ()), (ZSTD_STORE, ("--compression", "zstd"))):
        command = ("bams3", "convert", BAM, store, "--workers", "2", *options)
        form = " ".join(("convert", *options))
        entries.append(Entry(task, "bams3", (command,), form, (store,), ("bams3", "query", store, "--count")))
    return entries


def exporting() -> Iterator[list[Entry]]:
    """Store to BAM against BAM to BAM, at each tool's default level, at 1, and with an index."""
    default = "at default levels (bams3 3, samtools 6)"
    yield _exporting(f"store to BAM, or CRAM 3.1 to BAM, {default}", (), (), source=CRAM)
    yield _exporting(f"store to BAM, or BAM to BAM, {default}", (), ())
    yield _exporting("the same, both at level 1", ("--level", "1"), ("--output-fmt-option", "level=1"))
    yield _exporting(f"the same with index, {default}", (), ("--write-index",), index=True)
    task = "store to SAM, or CRAM 3.1 to SAM"
    ours, theirs = ("bams3", "export", "-@2", STORE, "-"), ("samtools", "view", "--no-PG", "-h", "-@2", CRAM)
    yield [
        Entry(task, "bams3", (ours,), "export -", check=("bams3", "query", STORE, "--count")),
        Entry(task, "samtools", (theirs,), "view -h -@2", check=(*COUNT_ALL, CRAM)),
    ]


def _exporting(
    task: str, ours: tuple[str, ...], theirs: tuple[str, ...], index: bool = False, source: str = BAM
) -> list[Entry]:
    out = {tool: f"from-{tool}.bam" for tool in ("bams3", "samtools")}
    makes = {tool: (name, f"{name}.bai") if index else (name,) for tool, name in out.items()}
    no_index = () if index else ("--no-index",)
    export = ("bams3", "export", "-@2", *ours, *no_index, STORE, out["bams3"])
    named = "##idx##".join(makes["samtools"])
    view = ("samtools", "view", "-b", "-@2", *theirs, "-o", named, source)
    forms = {"bams3": "export", "samtools": " ".join(("view -b -@2", *theirs))}
    same_text = source == BAM  # htslib puts RG last where it reads a CRAM
    checks = {tool: ("samtools", "view", *(() if same_text else ("-c",)), "-@2", out[tool]) for tool in out}
    return [
        Entry(task, tool, (command,), forms[tool], makes[tool], checks[tool], same_text)
        for tool, command in (("bams3", export), ("samtools", view))
    ]


def counting(bam: Path) -> Iterator[list[Entry]]:
    """Counts, each by a process that starts cold."""
    contigs = contig_lengths(bam)
    contig = max(contigs, key=contigs.__getitem__)
    draw = random.Random(20)
    two_mb = region(contig, contigs[contig], 2_000_000, draw)
    yield _counts("count of a 2 Mb region", [two_mb])
    names = draw.choices(list(contigs), list(contigs.values()), k=20)
    many = [region(name, contigs[name], 100_000, draw) for name in names]
    yield _counts("counts of 20 regions of 100 kb, a process each", many)
    yield _counts("count of a contig", [contig])
    whole = _counts("count of all", [])
    idxstats = ("samtools", "idxstats", BAM)
    yield [*whole, Entry(whole[0].task, "samtools", (idxstats,), "idxstats")]


def _counts(task: str, regions: list[str]) -> list[Entry]:
    each = [(name,) for name in regions] or [()]
    ours = tuple(("bams3", "query", "--count", STORE, *names) for names in each)
    theirs = tuple((*COUNT_ALL, BAM, *names) for names in each)
    return [Entry(task, "bams3", ours, "query --count"), Entry(task, "samtools", theirs, "view -c -@2")]


def reading(bam: Path) -> Iterator[list[Entry]]:
    """Records of a region as SAM; of a small one the start of the program is most of the time."""
    contigs = contig_lengths(bam)
    contig = max(contigs, key=contigs.__getitem__)
    draw = random.Random(21)
    for size_bp, words in ((1_000_000, "1 Mb"), (1_000, "1 kb")):
        where = region(contig, contigs[contig], size_bp, draw)
        ours = ("bams3", "query", "-@2", STORE, where)
        task = f"records of {words} as SAM"
        theirs = ("samtools", "view", "-@2", BAM, where)
        yield [
            Entry(task, "bams3", (ours,), "query -@2", check=ours, as_text=True),
            Entry(task, "samtools", (theirs,), "view -@2", check=theirs, as_text=True),
        ]
        # htslib puts RG last where it reads a CRAM: the texts differ, the records are counted.
        from_cram = ("samtools", "view", "-@2", CRAM, where)
        task = f"the same, and from CRAM 3.1: {words}"
        yield [
            Entry(task, "bams3", (ours,), "query -@2", check=("bams3", "query", "--count", STORE, where)),
            Entry(task, "samtools", (from_cram,), "view -@2", check=(*COUNT_ALL, CRAM, where)),
        ]


def contig_lengths(bam: Path) -> dict[str, int]:
    """Contigs that hold records, and how long they are in bp."""
    table = subprocess.run(["samtools", "idxstats", bam], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in table.splitlines()]
    return {name: int(length) for name, length, mapped, _ in rows if int(mapped)}


def region(contig: str, length_bp: int, size_bp: int, draw: random.Random) -> str:
    """A region somewhere on a contig, as users write it: 1-based, inclusive."""
    size_bp = min(size_bp, length_bp)
    first = draw.randint(1, length_bp - size_bp + 1)
    return f"{contig}:{first}-{first + size_bp - 1}"


def make_four_times(folder: Path) -> None:
    """Four copies of the BAM on contigs of their own, merged in order."""
    copies = []
    view = ["samtools", "view", "-H", BAM]
    header = subprocess.run(view, cwd=folder, check=True, capture_output=True, text=True).stdout
    for k in range(1, 5):
        (folder / "header.sam").write_text(header.replace("\tSN:", f"\tSN:copy{k}_"))
        copies.append(f"copy{k}.bam")
        with (folder / copies[-1]).open("wb") as file:
            subprocess.run(["samtools", "reheader", "header.sam", BAM], cwd=folder, check=True, stdout=file)
    merge = ["samtools", "merge", "-@2", "-c", "-p", "-l", "1", "-o", BIG_BAM, *copies]
    subprocess.run(merge, cwd=folder, check=True)
    for name in copies:
        (folder / name).unlink()


if __name__ == "__main__":
    main()
