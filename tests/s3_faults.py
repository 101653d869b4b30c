"""What bams3 does under faults of S3: faults, inputs, questions, conversions, and how each of them ended.

    with moto_server() as s3, FaultProxy(s3.url) as proxy:
        s3.make_bucket(BUCKET)
        place = Place(s3, proxy, make_source(folder / "in.bam", CI), folder, folder)
        tally = ask_all(place, SCENARIOS["reset"], questions(CI, 1, 40))
        assert tally.wrong == []

What is right never comes from S3: answers and objects are those of a store in a local folder.
"""

import contextlib
import functools
import hashlib
import io
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from bam_records import EOF_BLOCK, bgzf, header_bytes, record, tag
from commands import Done, convert, objects
from s3_servers import Fault, FaultProxy, MotoServer

from bams3.cli import _run
from bams3.store import Requests, S3Options, store_at

BUCKET = "cohort"
#: What the AWS tools find; moto believes anyone.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}
CUTS = ("--chunk-size", "256K")


# ---- faults ----


@dataclass(frozen=True)
class Scenario:
    """Faults that strike together, and the exit codes that may follow; ``anew`` for each question."""

    faults: tuple[Fault, ...]
    codes: frozenset[int] = frozenset({0, 4})
    anew: bool = False


def _wrong(anew: bool = False, **how: Any) -> Scenario:
    """Wrong bytes in objects; lists are left as they are, for nothing there could tell."""
    fault = Fault("wrong-bytes", **({"path": f"/{BUCKET}/"} | how))
    return Scenario((fault,), frozenset({0, 3, 4}), anew)


def scenarios(rate: float) -> dict[str, Scenario]:
    """By name; those that strike now and then befall about ``rate`` of the requests."""

    def often(kind: str, share: float = 1.0, **how: Any) -> Scenario:
        return Scenario((Fault(kind, probability=rate * share, **how),))

    rare = [often(kind, 0.3).faults[0] for kind in ("reset", "reset-in-body", "truncated", "lost")]
    errors = [often("error", 0.3, code=code).faults[0] for code in ("InternalError", "SlowDown")]
    return {
        "none": Scenario(()),
        "latency 50 ms": Scenario((Fault("latency", seconds=0.05),)),
        "500 in bursts": often("error", 0.5, code="InternalError", burst=3),
        "503 in bursts": often("error", 0.5, code="SlowDown", burst=3),
        "500 always": Scenario((Fault("error", code="InternalError", path="/data/"),)),
        "reset before the body": often("reset"),
        "reset within the body": often("reset-in-body"),
        "truncated body": often("truncated"),
        "answer lost": often("lost"),
        "stall 0.3 s": often("stall", seconds=0.3),
        "wrong bytes once": _wrong(anew=True, once=True),
        "wrong bytes now and then": _wrong(probability=rate),
        "wrong bytes always": _wrong(path="/data/"),
        "wrong index always": _wrong(path="/_index-"),
        "all of them": Scenario((Fault("latency", seconds=0.005), *rare, *errors)),
    }


# ---- inputs ----


@dataclass(frozen=True)
class Size:
    """Of an input: records, and lengths of its contigs; the last has no reads."""

    records: int
    contigs: tuple[tuple[str, int], ...]


#: Stores of about 1 MB in 15 chunks, 5 MB in 28, and 50 MB in 66.
CI = Size(14_000, (("chr1", 2_000_000), ("chr2", 1_000_000), ("chr3", 500_000), ("chrM", 16_569)))
MIDDLE = Size(60_000, (("chr1", 4_000_000), ("chr2", 2_000_000), ("chr3", 1_000_000), ("chrM", 16_569)))
LARGE = Size(600_000, (("chr1", 8_000_000), ("chr2", 5_000_000), ("chr3", 3_000_000), ("chrM", 16_569)))
_READ_BP = 100


def make_source(path: Path, size: Size, seed: int = 1) -> Path:
    """A sorted BAM: reads of 100 bp of a random reference, one in 200 bases wrong, random qualities."""
    rng = np.random.default_rng(seed)
    one = record(b"r0000000", cigar="100M", seq="A" * _READ_BP, tags=[tag("NM", "C", 0)])
    rows = np.tile(np.frombuffer(one, np.uint8), (size.records, 1))
    full = np.array([length for _, length in size.contigs[:-1]])
    ends = np.cumsum(full)
    place = np.sort(rng.integers(0, ends[-1], size.records))
    contig = np.searchsorted(ends, place, "right")
    position = np.minimum(place - (ends - full)[contig], full[contig] - _READ_BP)
    unplaced = size.records - size.records // 50
    contig[unplaced:] = position[unplaced:] = -1
    flag = rng.choice(np.array([0, 16, 1024, 256]), size.records, p=[0.48, 0.45, 0.05, 0.02])
    flag[unplaced:] = 4
    for at, values, kind in ((4, contig, "<i4"), (8, position, "<i4"), (18, flag, "<u2")):
        width = int(kind[-1])
        rows[:, at : at + width] = values.astype(kind).view(np.uint8).reshape(-1, width)
    rows[:, 13] = rng.choice(np.array([0, 20, 37, 60]), size.records)
    digits = np.arange(size.records)[:, None] // 10 ** np.arange(6, -1, -1) % 10
    rows[:, 37:44] = 48 + digits
    rows[:, 49:99] = _bases(rng, int(ends[-1]), np.clip(place, 0, ends[-1] - _READ_BP))
    rows[:, 99:199] = rng.integers(0, 60, (size.records, _READ_BP), np.uint8)
    blocks = (
        bgzf(rows[first : first + 10_000].tobytes(), level=0) for first in range(0, size.records, 10_000)
    )
    path.write_bytes(b"".join((bgzf(header_bytes(size.contigs)), *blocks, EOF_BLOCK)))
    return path


def _bases(rng: np.random.Generator, reference_bp: int, place: np.ndarray) -> np.ndarray:
    """Packed bases (R, 50) of reads at places of a random reference."""
    codes = np.array([1, 2, 4, 8], np.uint8)
    reference = rng.choice(codes, reference_bp)
    bases = np.lib.stride_tricks.sliding_window_view(reference, _READ_BP)[place]
    wrong = rng.random(bases.shape, np.float32) < 0.005
    bases = np.where(wrong, rng.choice(codes, bases.shape), bases)
    return bases[:, ::2] << 4 | bases[:, 1::2]


@dataclass
class Place:
    """An input, its store in a local folder, and the servers where others are made and asked."""

    s3: MotoServer
    proxy: FaultProxy
    source: Path
    stores: Path  # where local ones lie
    scratch: Path
    options: tuple[str, ...] = CUTS

    @functools.cached_property
    def local(self) -> Path:
        """The store that no fault has seen."""
        out = self.stores / f"{self.source.stem}{'-'.join(self.options)}" / "sample.bams3"
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            assert convert(self.source, out, *self.options).code == 0
        return out

    @functools.cached_property
    def expected(self) -> dict[str, str]:
        """MD5 of every object but the provenance."""
        found = objects(self.local).items()
        return {key: hashlib.md5(data, usedforsecurity=False).hexdigest() for key, data in found}

    @functools.cached_property
    def client(self) -> Any:
        """A client that meets no fault."""
        return self.s3.client()

    @property
    def by_proxy(self) -> tuple[str, str]:
        """Options of a command that meets the faults."""
        return "--endpoint-url", self.proxy.url

    @property
    def requests(self) -> Requests:
        """What this process has asked of the proxy."""
        return store_at(f"s3://{BUCKET}/any", S3Options(self.proxy.url)).requests

    def with_options(self, options: tuple[str, ...]) -> "Place":
        """The same input, converted in another way."""
        return Place(self.s3, self.proxy, self.source, self.stores, self.scratch, options)

    def upload(self, name: str) -> str:
        """The address of a copy of the local store."""
        for key, data in objects(self.local).items():
            self.client.put_object(Bucket=BUCKET, Key=f"{name}/{key}", Body=data)
        return f"s3://{BUCKET}/{name}"

    def upload_source(self) -> str:
        """The address of a copy of the input."""
        self.client.put_object(Bucket=BUCKET, Key=self.source.name, Body=self.source.read_bytes())
        return f"s3://{BUCKET}/{self.source.name}"

    def found(self, name: str) -> dict[str, str]:
        """ETag (the MD5) of every object of a store but the provenance."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        several = [one for page in pages for one in page.get("Contents", ())]
        found = {one["Key"].removeprefix(f"{name}/"): one["ETag"].strip('"') for one in several}
        found.pop("_provenance.json", None)
        return found

    def body(self, key: str) -> bytes:
        """An object as it is."""
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data


# ---- tallies ----


@dataclass
class Tally:
    """How many commands ended how; ``wrong`` says of each what it did."""

    right: int = 0
    exit_3: int = 0
    exit_4: int = 0
    wrong: list[str] = field(default_factory=list)
    retries: int = 0
    seconds: float = 0.0

    @property
    def all(self) -> int:
        return self.right + self.exit_3 + self.exit_4 + len(self.wrong)

    def add(self, done: Done, scenario: Scenario, problem: str) -> None:
        """Count a command; ``problem`` is what is wrong with what it made."""
        words = f"exit {done.code}: {done.err.strip()[-300:]} {problem}".strip()
        if problem or done.code not in scenario.codes or (done.code and not _says_one_thing(done)):
            self.wrong.append(words)
        else:
            name = {0: "right", 3: "exit_3", 4: "exit_4"}[done.code]
            setattr(self, name, getattr(self, name) + 1)


def _says_one_thing(done: Done) -> bool:
    """Whether a command that failed said so in one line, and perhaps a hint."""
    lines = [line for line in done.err.splitlines() if not line.startswith("bams3: warning: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    told = [line for line in lines if line.startswith("bams3: ") and line.endswith("]")]
    return len(told) == 1 and len(lines) == 1 + len(hints) <= 2


@contextlib.contextmanager
def _tallied(place: Place, scenario: Scenario) -> Iterator[Tally]:
    """Faults from here on, and what they cost."""
    tally, before, start_s = Tally(), place.requests.retries, time.perf_counter()
    place.proxy.set(*scenario.faults)
    try:
        yield tally
    finally:
        place.proxy.set()
        tally.seconds = time.perf_counter() - start_s
        tally.retries = place.requests.retries - before


def _safely(*arguments: str | Path) -> Done:
    """A command in this process, whose output may be bytes; a bug of ours is an ending like others."""
    out, err = io.TextIOWrapper(io.BytesIO(), "latin-1", write_through=True), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _run([str(argument) for argument in arguments])
    except Exception as bug:  # noqa: BLE001 - to be told with the fault that brought it out
        return Done(1, "", f"Traceback: {bug!r}")
    return Done(code, out.detach().getvalue().decode("latin-1"), err.getvalue())  # type: ignore[attr-defined]


# ---- questions ----


def questions(size: Size, seed: int, n: int) -> list[tuple[str, ...]]:
    """Arguments of commands, the store's address left open as ``{}``."""
    chance = random.Random(seed)
    return [_question(chance, size) for _ in range(n)]


def _question(chance: random.Random, size: Size) -> tuple[str, ...]:
    contig, length_bp = chance.choice(size.contigs)
    first = chance.randrange(length_bp)
    narrow, wide = (
        f"{contig}:{first + 1}-{min(first + int(10 ** chance.uniform(0, most)), length_bp)}"
        for most in (4.5, 6.5)
    )
    columns = chance.sample(["name", "flag", "pos", "mapq", "cigar", "seq", "qual", "tag:NM"], 3)
    weighed = [
        (30, ("query", "{}", wide, "--count")),
        (10, ("query", "{}", contig, "--count")),
        (12, ("query", "{}", wide, "--count", "-q", "30", "-F", "1024")),
        (16, ("query", "{}", narrow, "-u", "-o", "{out}")),
        (12, ("query", "{}", narrow, "--columns", ",".join(columns))),
        (6, ("coverage", "{}", narrow)),
        (6, ("coverage", "{}", wide, "--window", "500")),
        (4, ("stats", "{}")),
        (4, ("stats", "{}", "--flagstat")),
    ]
    return chance.choices([one for _, one in weighed], [weight for weight, _ in weighed])[0]


def answer(question: Sequence[str], address: str | Path, out: Path, *options: str) -> tuple[Done, bytes]:
    """How a question ended, and what it said and wrote."""
    out.unlink(missing_ok=True)
    done = _safely(*(part.format(address, out=out) for part in question), *options)
    return done, done.out.encode("latin-1") + (out.read_bytes() if out.exists() else b"")


@functools.cache
def _right_answers(local: Path, several: tuple[tuple[str, ...], ...]) -> list[bytes]:
    """What the local store says."""
    with tempfile.TemporaryDirectory() as scratch:
        answers = [answer(question, local, Path(scratch, "answer.bam")) for question in several]
    assert all(done.code == 0 for done, _ in answers), [done.err for done, _ in answers if done.code]
    return [said for _, said in answers]


def ask_all(place: Place, scenario: Scenario, several: Sequence[tuple[str, ...]], times: int = 1) -> Tally:
    """Ask a store in S3 under faults, with one client; each answer must be the local store's."""
    out = place.scratch / "answer.bam"
    address = place.upload("asked/sample.bams3")
    expected = _right_answers(place.local, tuple(several))
    with _tallied(place, scenario) as tally:
        for question, wanted in list(zip(several, expected, strict=True)) * times:
            if scenario.anew:
                place.proxy.set(*scenario.faults)
            done, said = answer(question, address, out, *place.by_proxy)
            differs = done.code == 0 and said != wanted
            tally.add(done, scenario, f"not the answer of the local store: {question}" if differs else "")
    return tally


# ---- conversions ----


def convert_all(place: Place, scenario: Scenario, times: int) -> Tally:
    """Convert to S3 under faults, every other time from S3; what is left is the local store or none."""
    remote = place.upload_source()
    with _tallied(place, scenario) as tally:
        for number in range(times):
            name = f"made-{number}/sample.bams3"
            forget(place, name)
            place.proxy.set(*(replace(fault, seed=number) for fault in scenario.faults))
            source = remote if number % 2 else place.source
            done = _safely(
                "convert", "--quiet", *place.options, *place.by_proxy, source, f"s3://{BUCKET}/{name}"
            )
            tally.add(done, scenario, what_is_wrong(place, name, done.code == 0, is_tidy(done)))
    return tally


def forget(place: Place, name: str) -> None:
    for key in [*place.found(name), "_provenance.json"]:
        place.client.delete_object(Bucket=BUCKET, Key=f"{name}/{key}")


def what_is_wrong(place: Place, name: str, is_done: bool, is_tidy: bool = True) -> str:
    """What is wrong with a store that was made; nothing if it is the local one, or if there is none yet."""
    found = place.found(name)
    if not is_done and "_metadata.json" not in found:
        return ""
    missing = [key for key, md5 in place.expected.items() if found.get(key) != md5]
    more = sorted(found.keys() - place.expected.keys())
    if not (is_done and is_tidy):  # the manifest was written, notes were not removed
        more = [key for key in more if not key.startswith("_resume/")]
    return f"missing or other: {missing}, left over: {more}" if missing or more else ""


def is_tidy(done: Done) -> bool:
    """Whether a conversion did not say that something is left over."""
    return "is done, but" not in done.err
