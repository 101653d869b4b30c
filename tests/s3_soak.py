"""The full-size proof that faults of S3 cost time, not answers: questions and conversions under each; kills.

    python -m tests.s3_soak [--queries 1000] [--converts 20] [--kills 30] [--jobs 2] [--only FAULT]

Prints tables as Markdown. Questions go to a store of about 50 MB in 67 objects, by one client in one process;
conversions and kills make one of 6 MB in 32 objects, every other conversion from an input in S3. Needs no
network but the loopback, 2 GB of memory and 500 MB of disk.
"""

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import s3_faults
from commands import run_apart, start
from s3_faults import (
    BUCKET,
    CREDENTIALS,
    CUTS,
    LARGE,
    MIDDLE,
    Place,
    Tally,
    forget,
    is_tidy,
    make_source,
    what_is_wrong,
)
from s3_servers import Fault, FaultProxy, moto_server

from bams3.format import index

#: Of requests that faults befall, and of questions, which are asked again and again.
RATE, DISTINCT = 0.03, 200
_HASH = index.CHUNK.names.index("hash")


# ---- kills ----


@dataclass(frozen=True)
class Killed:
    """A conversion that was killed, and the one that ended it."""

    after_requests: int
    was_killed: bool
    had_manifest: bool
    noted: int
    resumed: int
    put_again: list[str]
    problem: str


def kill_and_finish(place: Place, name: str, after_requests: int) -> Killed:
    """Kill -9 a conversion when it has sent so many requests, and convert again."""
    forget(place, name)
    address = f"s3://{BUCKET}/{name}"
    arguments = ("convert", "--quiet", "--json", *place.options, *place.by_proxy, place.source, address)
    place.proxy.clear()
    process = start(*arguments)
    was_killed = _kill_at(process, place.proxy, after_requests)
    place.proxy.log()  # waits for what was under way
    had_manifest = "_metadata.json" in place.found(name)
    notes = [span for note in _notes(place, name) for span in note]
    noted = {f"-{row[_HASH]:08x}.chunk" for span in notes for row in span["rows"]}
    place.proxy.clear()
    done = run_apart(*arguments)
    puts = [row.path for row in place.proxy.log() if row.method == "PUT"]
    put_again = [path for path in puts if any(path.endswith(key) for key in noted)]
    problem = what_is_wrong(place, name, done.code == 0, is_tidy(done))
    if done.code != (2 if had_manifest else 0):
        problem += f" exit {done.code}: {done.err}"
    resumed = json.loads(done.out)["spans_resumed"] if done.code == 0 else 0
    if not had_manifest and resumed != len(notes):
        problem += f" {len(notes)} spans were noted, {resumed} resumed"
    return Killed(after_requests, was_killed, had_manifest, len(notes), resumed, put_again, problem)


def _kill_at(process: "subprocess.Popen[str]", proxy: FaultProxy, requests: int) -> bool:
    """Kill a process when the proxy has seen so many requests; whether it still ran."""
    end_s = time.monotonic() + 60
    while process.poll() is None and len(proxy.log(0)) < requests and time.monotonic() < end_s:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    return process.returncode < 0


def _notes(place: Place, name: str) -> list[list[dict[str, Any]]]:
    """The spans of each note of a conversion."""
    keys = sorted(key for key in place.found(name) if key.startswith("_resume/"))
    return [json.loads(place.body(f"{name}/{key}"))["spans_done"] for key in keys]


def count_requests(place: Place, name: str) -> int:
    """How many requests a conversion sends that is left alone."""
    forget(place, name)
    place.proxy.clear()
    done = run_apart(
        "convert", "--quiet", *place.options, *place.by_proxy, place.source, f"s3://{BUCKET}/{name}"
    )
    assert done.code == 0, done.err
    return len(place.proxy.log())


# ---- the whole of it ----


@contextmanager
def served(source: Path, options: tuple[str, ...] = CUTS) -> Iterator[Place]:
    """Servers of their own for an input."""
    with moto_server() as s3, FaultProxy(s3.url) as proxy, tempfile.TemporaryDirectory() as scratch:
        s3.make_bucket(BUCKET)
        yield Place(s3, proxy, source, source.parent, Path(scratch), options)


def soak_one(name: str, folder: Path, n_queries: int, n_converts: int) -> tuple[str, Tally, Tally]:
    """Questions and conversions under one fault."""
    scenario = s3_faults.scenarios(RATE)[name]
    distinct = min(DISTINCT, n_queries)
    with served(folder / "large.bam") as place:
        several = s3_faults.questions(LARGE, 1, distinct)
        asked = s3_faults.ask_all(place, scenario, several, n_queries // max(distinct, 1))
    with served(folder / "middle.bam") as place:
        made = s3_faults.convert_all(place, scenario, n_converts)
    return name, asked, made


def soak_kills(folder: Path, n_kills: int) -> list[Killed]:
    """Conversions that are killed at random requests, each then ended by another."""
    chance = random.Random(7)
    with served(folder / "middle.bam") as place:
        place.proxy.set(Fault("latency", seconds=0.02))
        last = count_requests(place, "killed/sample.bams3")
        return [
            kill_and_finish(place, "killed/sample.bams3", chance.randint(1, last)) for _ in range(n_kills)
        ]


def table(rows: Sequence[tuple[str, Tally, Tally]]) -> str:
    """Rows as Markdown."""
    lines = [
        "| fault | queries | right | exit 4 | exit 3 | wrong | retries | s |"
        " converts | right | exit 4 | exit 3 | wrong stores | retries | s |",
        "|---|" + "--:|" * 14,
    ]
    for name, *tallies in rows:
        cells = [
            f"{t.all} | {t.right} | {t.exit_4} | {t.exit_3} | {len(t.wrong)} | {t.retries} | {t.seconds:.0f}"
            for t in tallies
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def kill_table(kills: Sequence[Killed]) -> str:
    """What became of the kills, as Markdown."""
    lines = ["| killed after request | notes | resumed | put again | manifest was there | problem |"]
    lines.append("|--:|--:|--:|--:|---|---|")
    for one in sorted(kills, key=lambda one: one.after_requests):
        where = str(one.after_requests) + ("" if one.was_killed else " (had ended)")
        cells = (where, one.noted, one.resumed, len(one.put_again), one.had_manifest, one.problem or "none")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> int:
    """0 where nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, n in (("queries", 1000), ("converts", 20), ("kills", 30), ("jobs", 2)):
        parser.add_argument(f"--{name}", type=int, default=n, metavar=str(n))
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="one fault; may be repeated"
    )
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    names = options.only or list(s3_faults.scenarios(RATE))
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = Path(scratch)
        for name, size in (("large", LARGE), ("middle", MIDDLE)):
            Place(None, None, make_source(folder / f"{name}.bam", size), folder, folder).expected  # type: ignore[arg-type] # noqa: B018
        rows, kills = soak(options, names, folder)
    print(table(sorted(rows, key=lambda row: names.index(row[0]))))
    print("\n" + kill_table(kills) if kills else "")
    wrong = [words for _, *tallies in rows for tally in tallies for words in tally.wrong]
    wrong += [one.problem for one in kills if one.problem or one.put_again]
    print("\n".join(["", *wrong]))
    return int(bool(wrong))


def soak(
    options: argparse.Namespace, names: Sequence[str], folder: Path
) -> tuple[list[tuple[str, Tally, Tally]], list[Killed]]:
    """All of it, some at a time; each that ends is told on stderr."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, spawn, max_tasks_per_child=1) as pool:
        jobs = [pool.submit(soak_one, name, folder, options.queries, options.converts) for name in names]
        killing = pool.submit(soak_kills, folder, options.kills) if options.kills else None
        for job in as_completed(jobs):
            print(table([job.result()]).splitlines()[-1], file=sys.stderr, flush=True)
        return [job.result() for job in jobs], killing.result() if killing else []


if __name__ == "__main__":
    sys.exit(main())
