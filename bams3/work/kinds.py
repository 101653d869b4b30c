"""Kinds of units: what each answers about regions of a sample, and how long that may take.

A kind is a small frozen class. What it is asked to do is data, so that a plan can hold it and a receipt can
be told to be of the same question.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import IO, Any, ClassVar

import numpy as np

from ..chi2 import Options
from ..columns import Array
from ..coverage import Rules
from ..depth import depths_of
from ..errors import Bams3Error, InputError
from ..filters import Filters
from ..ld.pairs import Rule
from ..ld.tiles import Limits, Tile, Tiling
from ..query import NO_FILTERS
from ..regions import Region
from ..sam import write_alignments
from ..stats import Stats, multiqc_general, multiqc_graph
from ..tables import CountedRegion
from .chi2 import Chi2
from .inputs import Input, StoreInput
from .jobs import Job, Kind, Place, result_file
from .ld import Ld
from .loads import Load

#: What {words} in a command of ``exec`` stand for.
EXEC_FIELDS = {
    "sample": "name of the sample",
    "region": "the region as samtools writes it, chr1:1001-2000",
    "name": "the region's name in the BED file; without one, as region",
    "contig": "its contig",
    "start": "its start, 0-based as in BED",
    "end": "its end",
}
_FIELD = re.compile(r"(?<!\$)\{([A-Za-z_]+)\}")  # ${name} is the shell's

#: Seconds of one core (tests/bench/work.py): a unit's own; a stored byte that is decoded, of the columns that
#: locate or of all; and a stored byte whose records are written as BAM, or given to a tool.
_UNIT_S = {"count": 2e-4, "coverage": 4e-4, "records": 4e-3, "exec": 4e-3, "stats": 2e-3}
_LOCATE_S, _DECODE_S, _WRITE_S, _GIVE_S = 4e-8, 3e-8, 3e-8, 5e-9


def _region(row: CountedRegion) -> Region:
    return Region(row.contig, row.start_bp, row.end_bp)


@functools.cache
def _text(filters: Filters) -> str:
    return ",".join(f"{name}={item}" for name, item in asdict(filters).items())


class _OfRegions:
    """A unit for each region of a sample."""

    input: ClassVar[type[Input]] = StoreInput

    def places(self, regions: Sequence[CountedRegion]) -> Sequence[CountedRegion]:
        return regions


@dataclass(frozen=True)
class Count(_OfRegions):
    """Reads of each region, as samtools view -c: the result is a number."""

    name: ClassVar[str] = "count"
    mem_mb: ClassVar[int] = 100
    filters: Filters = NO_FILTERS

    def seconds(self, load: Load) -> Array:
        read = load.locate_bytes if self.filters.needs() else load.bound_bytes
        return _UNIT_S[self.name] + read * _LOCATE_S

    def question(self, sample: str, place: CountedRegion) -> str:
        del sample, place
        return _text(self.filters)

    def run(self, job: Job[StoreInput], places: Sequence[CountedRegion]) -> Iterator[Any]:
        yield from job.input.reader.counts([_region(row) for row in places], self.filters)


@dataclass(frozen=True)
class Coverage(_OfRegions):
    """Depth of each region, as bams3 coverage -L: [sum, bases covered, least, most, bases of the region]."""

    name: ClassVar[str] = "coverage"
    mem_mb: ClassVar[int] = 150
    filters: Filters = field(default_factory=lambda: Rules().filters)

    def seconds(self, load: Load) -> Array:
        return _UNIT_S[self.name] + load.locate_bytes * _LOCATE_S

    def question(self, sample: str, place: CountedRegion) -> str:
        del sample, place
        return _text(self.filters)

    def run(self, job: Job[StoreInput], places: Sequence[CountedRegion]) -> Iterator[Any]:
        rules = Rules(filters=self.filters)
        sums, start, end = depths_of(job.input.reader, rules, [_region(row) for row in places])
        columns = (sums.sum, sums.covered, sums.least, sums.most, end - start)
        yield from np.stack([column.astype(np.int64) for column in columns], axis=1).tolist()


@dataclass(frozen=True)
class Records(_OfRegions):
    """Reads of each region as a BAM file: the result is its place below the work folder, and its bytes."""

    name: ClassVar[str] = "records"
    mem_mb: ClassVar[int] = 450
    filters: Filters = NO_FILTERS

    def seconds(self, load: Load) -> Array:
        return _UNIT_S[self.name] + load.read_bytes * _DECODE_S + load.inside_bytes * _WRITE_S

    def question(self, sample: str, place: CountedRegion) -> str:
        return f"{_text(self.filters)},{sample},{place.label}"  # which name the file

    def run(self, job: Job[StoreInput], places: Sequence[CountedRegion]) -> Iterator[Any]:
        for i, row in enumerate(places):
            key = job.file_key(self.name, i, row, ".bam")
            with result_file(job.work, key) as path:
                records = job.input.reader.records([_region(row)], self.filters)
                write_alignments(records, job.input.reader.header, path, "bam")
                size_bytes = path.stat().st_size
            yield {"file": key, "bytes": size_bytes}


@dataclass(frozen=True)
class Exec(_OfRegions):
    """The user's own tool, given each region's reads: the result is the place of what it wrote to stdout.

    Attributes
    ----------
    command
        For the shell; ``{sample}`` and the other EXEC_FIELDS stand for what they say, quoted.
    form
        What the tool reads from stdin: ``bam`` (uncompressed) or ``sam`` with its header.
    """

    name: ClassVar[str] = "exec"
    mem_mb: ClassVar[int] = 450
    command: str = ""
    form: str = "bam"
    filters: Filters = NO_FILTERS

    def __post_init__(self) -> None:
        for word in _FIELD.findall(self.command):
            near = difflib.get_close_matches(word, EXEC_FIELDS, n=1, cutoff=0.7)
            if near and word not in EXEC_FIELDS:
                hint = f"did you mean {{{near[0]}}}? There are {', '.join(map('{{{}}}'.format, EXEC_FIELDS))}"
                raise InputError(f"--exec: {{{word}}} stands for nothing", kind="usage", hint=hint)

    def seconds(self, load: Load) -> Array:
        return _UNIT_S[self.name] + load.read_bytes * _DECODE_S + load.inside_bytes * _GIVE_S

    def question(self, sample: str, place: CountedRegion) -> str:
        names = f"{sample},{place.label}"  # of the file
        return f"{_text(self.filters)},{self.form},{names},{self.command_for(sample, place)}"

    def command_for(self, sample: str, region: CountedRegion) -> str:
        """The command of a unit; words in braces that are no field are the command's own.

        Raises
        ------
        InputError
            ``usage``: a value that needs quotes of its own stands within quotes, and would end them.
        """
        place = f"{region.contig}:{region.start_bp + 1}-{region.end_bp}"
        start, end = str(region.start_bp), str(region.end_bp)
        values = (sample, place, region.name or place, region.contig, start, end)
        words = dict(zip(EXEC_FIELDS, map(shlex.quote, values), strict=True))
        for match in _FIELD.finditer(self.command):
            word = words.get(match[1], "")
            if word.startswith("'") and _is_quoted(self.command[: match.start()]):
                message = f"--exec: {match[0]} stands within quotes and is {word}"
                hint = "leave the quotes away: what takes its place is quoted where it must be"
                raise InputError(message, kind="usage", hint=hint)
        return _FIELD.sub(lambda match: words.get(match[1], match[0]), self.command)

    def run(self, job: Job[StoreInput], places: Sequence[CountedRegion]) -> Iterator[Any]:
        for i, row in enumerate(places):
            key = job.file_key(self.name, i, row, ".out")
            with result_file(job.work, key) as path:
                with path.open("wb") as out:
                    self._run_tool(job, row, out)
                size_bytes = path.stat().st_size
            yield {"file": key, "bytes": size_bytes}

    def _run_tool(self, job: Job[StoreInput], row: CountedRegion, out: IO[bytes]) -> None:
        command = self.command_for(job.sample, row)
        reader = job.input.reader
        records = reader.records([_region(row)], self.filters)
        with tempfile.TemporaryFile() as said, _tool(command, out, said) as tool:
            assert tool.stdin is not None
            form, level = ("sam", None) if self.form == "sam" else ("bam", 0)
            with contextlib.suppress(BrokenPipeError):  # a tool need not read all, as head does not
                write_alignments(records, reader.header, tool.stdin, form, level=level, name="the tool")  # type: ignore[arg-type]
            with contextlib.suppress(BrokenPipeError):
                tool.stdin.close()
            if tool.wait():
                raise _tool_error(command, tool.returncode, said)


def _is_quoted(before: str) -> bool:
    """Whether what follows these words of a shell command stands within quotes."""
    try:
        shlex.split(before)
    except ValueError:
        return True
    return False


@contextlib.contextmanager
def _tool(command: str, out: IO[bytes], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the shell, whose whole process group is gone at the end."""
    bash = shutil.which("bash")  # with it a pipe fails where any of its commands does, as in Snakemake
    shell = [bash, "-o", "pipefail"] if bash else ["/bin/sh"]
    tool = subprocess.Popen([*shell, "-c", command], stdin=subprocess.PIPE, stdout=out, stderr=said)
    try:
        yield tool
    finally:
        if tool.poll() is None:
            tool.kill()
        tool.wait()


def _tool_error(command: str, code: int, said: IO[bytes]) -> Bams3Error:
    said.seek(0, 2)
    said.seek(max(0, said.tell() - 2000))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    how = f"killed by signal {-code}" if code < 0 else f"exit {code}"
    last = f": {lines[-1][:300]}" if lines else ""
    return Bams3Error(f"`{command}` ended with {how}{last}", kind="tool-failed")


@dataclass(frozen=True)
class StatsOf:
    """Reads of a sample by flag and contig for MultiQC: {"general": ..., "graph": ...}."""

    name: ClassVar[str] = "stats"
    mem_mb: ClassVar[int] = 100
    input: ClassVar[type[Input]] = StoreInput

    def places(self, regions: Sequence[CountedRegion]) -> Sequence[None]:
        del regions
        return (None,)

    def seconds(self, load: Load) -> Array:
        del load
        return np.array([_UNIT_S[self.name]])

    def question(self, sample: str, place: None) -> str:
        del place
        return sample

    def run(self, job: Job[StoreInput], places: Sequence[None]) -> Iterator[Any]:
        del places
        stats = Stats.of(job.input.reader.contigs, job.input.reader.totals)
        yield {"general": multiqc_general(stats, job.sample), "graph": multiqc_graph(stats, job.sample)}


KINDS: dict[str, type[Any]] = {
    kind.name: kind for kind in (Count, Coverage, Records, Exec, StatsOf, Chi2, Ld)
}


def to_json(kind: Kind) -> dict[str, Any]:
    """A kind and what it is asked, as a plan holds it."""
    fields = asdict(kind)  # type: ignore[call-overload]
    if "rule" in fields:
        fields["rule"]["min_r2"] = str(fields["rule"]["min_r2"])
    return {"kind": kind.name, **fields}


def _filters(value: dict[str, Any]) -> Filters:
    subsample = tuple(value["subsample"]) if value["subsample"] else None
    return Filters(**{**value, "read_groups": tuple(value["read_groups"]), "subsample": subsample})


def _tiling(value: list[Any]) -> Tiling:
    blocks, rows = value
    tiles = [Tile(number, (*rows,), (*columns,), pairs) for number, rows, columns, pairs in rows]
    return Tiling(blocks, tuple(tiles))


#: What makes values of those fields of kinds that JSON does not hold as they are.
_VALUES: dict[str, Callable[[Any], Any]] = {
    "filters": _filters,
    "options": lambda value: Options(**value),
    "limits": lambda value: Limits(**value),
    "rule": lambda value: Rule(**{**value, "min_r2": Fraction(value["min_r2"])}),
    "tiling": _tiling,
}


def from_json(value: dict[str, Any]) -> Kind:
    """The kind that ``to_json`` gave; KeyError, TypeError or ValueError where it is none."""
    fields = {name: _VALUES.get(name, lambda item: item)(item) for name, item in value.items()}
    kind: Kind = KINDS[fields.pop("kind")](**fields)
    return kind


def key_of(kind: Kind, identity: str, sample: str, place: Place) -> str:
    """The key of a unit's receipt: a hash of what is asked, of what, and where."""
    where = "" if place is None else str(place)
    if isinstance(place, CountedRegion):
        where = f"{place.contig}\0{place.start_bp}\0{place.end_bp}"
    elif isinstance(place, Tile):
        where = f"{place.number}\0{place.rows}\0{place.columns}"
    text = f"1\0{kind.name}\0{kind.question(sample, place)}\0{identity}\0{where}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()
