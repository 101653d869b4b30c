"""Does a store give back what it was made from? Every file that samtools reads, against samtools.

``python tests/conformance.py [FOLDER OF REAL DATA]`` prints a table; ``test_conformance.py`` asks the same.
"""

import contextlib
import csv
import gzip
import io
import os
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pysam
from bam_bytes import decompressed, parted, place, records, with_bins
from real_data import data_folder, is_there

from bams3.cli import _run

#: References of CRAM files in aln; those of the suites are named in conformance.tsv.
ALN_REFERENCES = {"aln/E.coli.cram": "aln/E.coli.fa.gz"}
REFERENCE_FOLDERS = ("conf/htslib", "conf/hts-specs/cram")

#: Larger files and options that cut them into many chunks and row groups.
CUT_FILES = (
    "aln/NA12878_S1.chr20.10_10p1mb.bam",
    "aln/NA12878.chr22.s.bam",
    "aln/test.rna.paired_end.sorted.chr6.bam",
    "aln/possorted_genome_bam.bam",
    "aln/HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",
    "aln/longcontignames.bam",
    "aln/cigar-64k.bam",
    "aln/E.coli.cram",
)
CUTS = (
    ("--chunk-size", "256K", "--chunk-records", "1000", "--workers", "3"),
    ("--chunk-size", "8M", "--chunk-records", "777", "--compression", "none", "--workers", "1"),
    ("--chunk-size", "300K", "--level", "3", "--workers", "3"),
)
#: Files with more records are not cut into chunks of two.
MANY_RECORDS = 300


@dataclass(frozen=True, slots=True)
class Case:
    """A file of the real data, its reference (both by their path in it), and options of convert."""

    path: str
    reference: str | None = None
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.path, *self.options))


@dataclass(frozen=True, slots=True)
class Result:
    """``outcome``: equal, refused (``why`` is the error's kind) or wrong (``why`` says what differs)."""

    case: Case
    outcome: str
    why: str = ""
    records: int = 0
    was_sorted: bool = True


def cases(data: Path) -> list[Case]:
    """Every alignment file of the suites that samtools reads, and every BAM and CRAM of aln."""
    with (data / "conformance.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = [
        Case(row["file"], _reference(data, row["reference"]))
        for row in rows
        if row["kind"] == "aln" and row["samtools_1.24"] == "pass"
    ]
    files = [f"aln/{path.name}" for path in (data / "aln").iterdir() if path.suffix in (".bam", ".cram")]
    return found + [Case(name, ALN_REFERENCES.get(name)) for name in sorted(files)]


def cut_cases() -> list[Case]:
    """Larger files, cut small."""
    return [Case(path, ALN_REFERENCES.get(path), options) for path in CUT_FILES for options in CUTS]


def _reference(data: Path, name: str) -> str | None:
    if not name:
        return None
    return next(f"{folder}/{name}" for folder in REFERENCE_FOLDERS if (data / folder / name).is_file())


def reference_options(case: Case, data: Path, folder: Path) -> list[str]:
    """Options that name a case's reference, if it has one; a copy of it is made in ``folder``."""
    if not case.reference:
        return []
    return ["--reference", str(_copy_reference(data / case.reference, folder))]


def _copy_reference(path: Path, folder: Path) -> Path:
    """A reference, decompressed, where its index may be made beside it."""
    copy = folder / path.name.removesuffix(".gz")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target)
    return copy


def samtools(command: str, *options: str | Path) -> None:
    """Run samtools 1.24 in this process."""
    getattr(pysam.samtools, command)("--no-PG", *map(str, options), catch_stdout=False)


class PositionTooLongError(Exception):
    """A position that BAM cannot hold."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out: the SAM, and header and records of the BAM, bins recomputed."""

    source: Path
    sam: bytes
    header: bytes
    records: bytes
    n_records: int
    was_sorted: bool


def expected_of(path: Path, reference: list[str], folder: Path) -> Expected:
    """What samtools makes of a file, sorted if it is not; ``reference``: options that name one.

    Raises
    ------
    PositionTooLongError
    """
    text = folder / "expected.sam"
    samtools("view", "-h", *reference, "-o", text, path)
    if _has_long_position(text.read_bytes()):
        raise PositionTooLongError
    header, data = parted(_as_bam(path, reference, folder))
    places = [place(record) for record in records(data)]
    was_sorted = places == sorted(places)
    if not was_sorted:
        form = path.suffix[1:].replace("cram", "bam")
        ordered = folder / f"sorted.{form}"
        samtools("sort", "-O", form, *reference, "-o", ordered, path)
        path, reference = ordered, []
        header, data = parted(_as_bam(path, reference, folder))
        samtools("view", "-h", "-o", text, path)
    return Expected(path, text.read_bytes(), header, with_bins(data), len(places), was_sorted)


def _has_long_position(text: bytes) -> bool:
    lines = (line.split(b"\t") for line in text.splitlines() if not line.startswith(b"@"))
    return any(int(fields[i]) > 2**31 - 1 for fields in lines for i in (3, 7))


def _as_bam(path: Path, reference: list[str], folder: Path) -> bytes:
    """Decompressed BAM: the file's own where it is one, for SAM and CRAM what samtools makes of them."""
    if path.suffix == ".bam":
        return decompressed(path)
    bam = folder / "expected.bam"
    samtools("view", "-u", *reference, "-o", bam, path)
    return decompressed(bam)


def check(case: Case, data: Path, folder: Path) -> Result:
    """Convert, verify and export a file, and compare with samtools."""
    reference, store = reference_options(case, data, folder), folder / "s.bams3"
    try:
        expected = expected_of(data / case.path, reference, folder)
    except PositionTooLongError:
        return _refused(case, _bams3("convert", data / case.path, store, "--quiet"))
    for arguments in (
        ("convert", expected.source, store, *reference, *(case.options or ("--workers", "1"))),
        ("verify", store, "--threads", "1"),
        ("export", store, folder / "out.sam"),
        ("export", store, folder / "out.bam", "--no-index", "--level", "1"),
    ):
        if words := _bams3(*arguments, "--quiet"):
            return Result(case, "wrong", f"{arguments[0]}: {words}")
    differs = _difference(expected, folder / "out.sam", folder / "out.bam")
    if not differs and not case.options and expected.n_records <= MANY_RECORDS:
        differs = _difference_in_twos(expected, folder)
    return Result(case, "wrong" if differs else "equal", differs, expected.n_records, expected.was_sorted)


def _bams3(*arguments: str | Path) -> str:
    """Run a command in this process; what it said if it failed, else nothing."""
    words = io.StringIO()
    with contextlib.redirect_stderr(words), contextlib.redirect_stdout(io.StringIO()):
        code = _run([str(argument) for argument in arguments])
    return f"exit code {code}: {words.getvalue().strip()}" if code else ""


def _refused(case: Case, words: str) -> Result:
    """The result for a file that BAM cannot hold: it must be refused by name."""
    if words.startswith("exit code 2:") and "[position-too-long]" in words:
        return Result(case, "refused", "position-too-long")
    return Result(case, "wrong", f"BAM cannot hold it, and it is not refused so: {words}")


def _difference(expected: Expected, sam: Path, bam: Path) -> str:
    if sam.read_bytes() != expected.sam:
        return "SAM differs"
    header, data = parted(decompressed(bam))
    if header != expected.header:
        return "BAM header differs"
    return "" if data == expected.records else "BAM records differ"


def _difference_in_twos(expected: Expected, folder: Path) -> str:
    """The same through a store of chunks of two records."""
    for arguments in (
        ("convert", folder / "out.bam", folder / "twos.bams3", "--chunk-records", "2", "--workers", "2"),
        ("verify", folder / "twos.bams3"),
        ("export", folder / "twos.bams3", folder / "twos.bam", "--no-index", "--level", "1"),
    ):
        if words := _bams3(*arguments, "--quiet"):
            return f"in twos: {arguments[0]}: {words}"
    return "" if parted(decompressed(folder / "twos.bam"))[1] == expected.records else "in twos: BAM differs"


def check_in_a_folder_of_its_own(case: Case, data: Path) -> Result:
    """The same, for a process pool."""
    with tempfile.TemporaryDirectory(prefix="bams3-conformance-") as folder:
        return check(case, data, Path(folder))


def table(results: list[Result]) -> str:
    """The results by suite and format, and each file that is refused or wrong."""
    groups: dict[str, Counter[str]] = {}
    for result in results:
        path = Path(result.case.path)
        suite = "/".join(path.parts[: 2 if path.parts[0] == "conf" else 1])
        cut = ", cut small" if result.case.options else ""
        row = groups.setdefault(f"{suite} {path.suffix[1:].upper()}{cut}", Counter())
        row.update([result.outcome, "tried"] + ([] if result.was_sorted else ["sorted first"]))
        row["records"] += result.records
    columns = ("tried", "sorted first", "equal", "wrong", "refused", "records")
    rows = [(name, *(row[column] for column in columns)) for name, row in sorted(groups.items())]
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, len(columns) + 1))))
    lines = ["| files | tried | sorted first | equal | not equal | refused | records |", "|---" * 7 + "|"]
    lines += [f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |" for name, *counts in rows]
    lines += [f"{r.outcome}: {r.case}: {r.why}" for r in results if r.outcome != "equal"]
    return "\n".join(lines)


def main() -> int:
    """Print the table; exit code 1 if a file is not equal."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else data_folder()
    if not is_there(data):
        print(f"no real data in {data}", file=sys.stderr)
        return 2
    os.environ["REF_PATH"] = "/nonexistent"  # htslib must not look for references on the network
    todo = cases(data) + cut_cases()
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(check_in_a_folder_of_its_own, todo, [data] * len(todo), chunksize=4))
    print(table(results))
    return int(any(result.outcome == "wrong" for result in results))


if __name__ == "__main__":
    sys.exit(main())
