"""Questions to a BAM and to its store: random regions and filters, and both answers, for test_query.py."""

import contextlib
import io
import random
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pysam
from bam_bytes import decompressed, parted, records, span, with_bins

from bams3.cli import _run
from bams3.format import spec

FLAG_CHOICES = {
    "-f": ("PAIRED", "paired,proper_pair", "0x10", "READ1", "0"),
    "-F": ("0x904", "UNMAP", "1024", "UNMAP,SECONDARY,DUP", "02000", "REVERSE"),
    "-G": ("12", "PAIRED,REVERSE", "0x3"),
    "--rf": ("READ2,REVERSE", "UNMAP,SUPPLEMENTARY", "0x40"),
    "-q": ("1", "20", "37", "60"),
    "-s": ("0.5", "7.25", "42.9", ".1", "123456.03", "3.0"),
}


@dataclass
class Pair:
    """A BAM with its index, and the store that was made from it."""

    bam: Path
    store: Path

    @cached_property
    def spans(self) -> list[tuple[str, int, int]]:
        """Contig (``*`` for none), start and end of every record, 0-based half-open."""
        found = map(span, records(parted(decompressed(self.bam))[1]))
        return [(self.contigs[i][0] if i >= 0 else "*", start, end) for i, start, end in found]

    @cached_property
    def contigs(self) -> list[tuple[str, int]]:
        """Names and lengths."""
        with pysam.AlignmentFile(str(self.bam), check_sq=False) as file:
            return list(zip(file.references, file.lengths, strict=True))

    @cached_property
    def read_groups(self) -> list[str]:
        """IDs of its read groups, and one that it has not."""
        with pysam.AlignmentFile(str(self.bam), check_sq=False) as file:
            return [*[group["ID"] for group in file.header.to_dict().get("RG", [])][:4], "nobody's"]

    # -- samtools --

    def samtools(self, *options: str) -> bytes:
        """Records that samtools view gives, as BAM; options stand before its regions."""
        out = self.bam.with_name("expected.bam")
        pysam.samtools.view("--no-PG", "-u", "-o", str(out), *options, catch_stdout=False)
        return parted(decompressed(out))[1]

    def samtools_text(self, *options: str) -> bytes:
        """What samtools view writes."""
        out = self.bam.with_name("expected.sam")
        pysam.samtools.view("--no-PG", "-o", str(out), *options, catch_stdout=False)
        return out.read_bytes()

    # -- bams3 --

    def records(self, *arguments: str) -> bytes:
        """Records that ``bams3 query -u -o`` writes, in this process."""
        out = self.bam.with_name("answer.bam")
        assert run("query", str(self.store), "-u", "-o", str(out), *arguments) == ""
        return parted(decompressed(out))[1]

    def count(self, *arguments: str) -> int:
        """What ``bams3 query --count`` writes, in this process."""
        return int(run("query", str(self.store), "--count", *arguments))


def make_pair(source: Path, folder: Path, monkeypatch, *options: str, group_records: int = 500) -> Pair:
    """A sorted BAM again, with right bins and an index, and a store of many small chunks and row groups."""
    pair = Pair(folder / "in.bam", folder / "in.bams3")
    header, data = parted(decompressed(source))
    with pysam.BGZFile(str(pair.bam), "wb") as file:
        file.write(header + with_bins(data))  # those of a store: a few writers leave them 0
    pysam.index(str(pair.bam))
    monkeypatch.setattr(spec, "GROUP_RECORDS", group_records)
    cuts = options or ("--chunk-size", "256K", "--chunk-records", "1000")
    run("convert", str(pair.bam), str(pair.store), "--quiet", *cuts)
    return pair


def run(*arguments: str) -> str:
    """Standard output of a command, run in this process; it must succeed."""
    out, words = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(words):
        code = _run(list(arguments))
    assert code == 0, words.getvalue()
    return out.getvalue()


def bams3(*arguments: str | Path) -> bytes:
    """Standard output of a command, run as users run it; it must succeed and say nothing."""
    program = [sys.executable, "-m", "bams3", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def regions(pair: Pair, chance: random.Random, n: int) -> list[str]:
    """Regions as users type them: on bounds of reads, of any width, past the end, whole contigs, ``*``."""
    makers = (_on_bounds, _on_bounds, _around, _around, _around, _past_the_end, _open_ended, _anywhere)
    found = [chance.choice(makers)(pair, chance) for _ in range(n - 2)]
    return [*found, "*", _braced(_read(pair, chance)[0])]


def _read(pair: Pair, chance: random.Random) -> tuple[str, int, int]:
    """A placed read, preferring none; the first contig where there is none."""
    name, start_bp, end_bp = chance.choice(pair.spans)
    return (name, start_bp, end_bp) if name != "*" else (pair.contigs[0][0], 0, 1)


def _on_bounds(pair: Pair, chance: random.Random) -> str:
    name, start_bp, end_bp = _read(pair, chance)
    edges = (start_bp - 1, start_bp, start_bp + 1, end_bp - 1, end_bp, end_bp + 1)
    return _region(name, *sorted(chance.choices(edges, k=2)), chance)


def _around(pair: Pair, chance: random.Random) -> str:
    name, start_bp, _ = _read(pair, chance)
    width_bp = int(10 ** chance.uniform(0, 7))
    start_bp -= chance.randrange(width_bp)
    return _region(name, start_bp, start_bp + width_bp - 1, chance)


def _past_the_end(pair: Pair, chance: random.Random) -> str:
    name, length_bp = chance.choice(pair.contigs[:50])
    return f"{_braced(name)}:{max(length_bp - chance.randrange(10**6), 1)}-{length_bp + 10**6}"


def _open_ended(pair: Pair, chance: random.Random) -> str:
    name, start_bp, end_bp = _read(pair, chance)
    return _braced(name) + chance.choice((f":{start_bp + 1}", f":{end_bp}-", f":-{end_bp}", ":0-99999999999"))


def _anywhere(pair: Pair, chance: random.Random) -> str:
    name, length_bp = chance.choice(pair.contigs)
    first = chance.randrange(length_bp)
    return chance.choice((_braced(name), _region(name, first, first + chance.randrange(10**6), chance)))


def _region(name: str, first: int, last: int, chance: random.Random) -> str:
    """Text of 1-based inclusive bounds."""
    first, last = max(first, 1), max(first, last, 1)
    form = chance.choice(("{}:{}-{}", "{}:{:,}-{:,}", "{}:{}-{}"))
    return form.format(_braced(name), first, last)


def _braced(name: str) -> str:
    return f"{{{name}}}" if ":" in name else name


def filters(pair: Pair, chance: random.Random) -> list[str]:
    """One to three of the options that filter."""
    choices = FLAG_CHOICES | {"-r": tuple(pair.read_groups)}
    return [
        text
        for option in chance.sample(sorted(choices), chance.randint(1, 3))
        for text in (option, chance.choice(choices[option]))
    ]


def bed_rows(pair: Pair, chance: random.Random, n: int) -> list[tuple[str, int, int]]:
    """Unsorted rows, many of which overlap; some hold no base."""
    rows = []
    for _ in range(n):
        name, start_bp, end_bp = _read(pair, chance)
        first = max(start_bp + chance.randint(-200, 200), 0)
        last = chance.choice((first, end_bp, first + chance.randrange(2000), first + 10**6))
        rows.append((name, first, max(first, last)))
    return rows
