"""Stores in S3: requests, bytes, latency, throughput and memory: ``make s3 BAM=file.bam``.

nginx serves the store and, for samtools, the same BAM and index over HTTP; requests and bytes are those
of its own log. Latency is put in by a proxy (tests/fault_proxy.py).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import convert_query, harness, report
from .convert_query import BAM, STORE
from .harness import Command, Entry, Row, Run

sys.path.insert(0, str(harness.ROOT / "tests"))
from s3_servers import Fault, FaultProxy, NginxServer, moto_server, nginx_server

BUCKET, LATENCY_S, THREADS, QUERIES = "bucket", 0.05, 16, 480
CONTIG, CONTIG_BP = "chr20", 10_000_000
REGION = f"{CONTIG}:4000001-5000000"
STORE_ADDRESS = f"s3://{BUCKET}/{STORE}"


@dataclass(frozen=True)
class Question:
    """The same question to both; ``compared``: their text, how many lines they print, or nothing."""

    task: str
    ours: Command
    theirs: Command
    compared: str = "text"

    def answer(self, tool: str, printed: bytes) -> str:
        """What must be the same."""
        if self.compared == "lines":
            return str(printed.count(b"\n") - (tool == "bams3"))  # a table begins with its names
        return hashlib.sha256(printed).hexdigest() if self.compared == "text" else ""


QUESTIONS = (
    Question("open", ("query", "--count"), ("view", "-H"), ""),
    Question("reads by contig", ("stats",), ("idxstats",)),
    Question("count of a contig", ("query", "--count", CONTIG), ("view", "-c", CONTIG)),
    Question("count of 1 Mb", ("query", "--count", REGION), ("view", "-c", REGION)),
    Question(
        "mean depth: of 500 bp windows / of contigs", ("coverage", "--window", "500"), ("coverage",), ""
    ),
    Question("records of 1 Mb", ("query", REGION), ("view", REGION)),
    Question(
        "mapping qualities of 1 Mb / its records",
        ("query", "--columns", "mapq", REGION),
        ("view", REGION),
        "lines",
    ),
)


def main() -> None:
    """Measure, write the rows, print the tables."""
    options = convert_query.parsed("s3", "s3", __doc__)
    if os.getloadavg()[0] > 0.3:
        print("warning: this machine is busy, the times will say so", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bams3-bench-", dir=options.scratch) as name:
        served, folder = Path(name, "served", BUCKET), Path(name, "client")
        served.mkdir(parents=True)
        folder.mkdir()
        convert_query.link(Path(options.bam), served)
        convert_query.warm(served / BAM)
        convert = harness.argv(("bams3", "convert", "--quiet", BAM, STORE))
        subprocess.run(convert, cwd=served, check=True, env=harness.environment())
        with nginx_server(served.parent) as server, FaultProxy(server.url) as proxy:
            rows = [row for one in QUESTIONS for row in ask(one, server, proxy, folder, options.repeats)]
            rows.append(warm_count(proxy, options.repeats))
            rows += load(server, options.repeats)
            rows += memory(served, folder, server)
    rows = [row | harness.machine() for row in rows]
    Path(options.rows).parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(Path(options.rows), rows)
    print(report.render_s3(rows))


# ---- questions ----


def ask(question: Question, server: NginxServer, proxy: FaultProxy, folder: Path, repeats: int) -> list[Row]:
    """A row for each tool: requests and bytes by the server's log, then seconds with latency."""
    rows: list[Row] = []
    for tool in ("bams3", "samtools"):
        server.clear()
        run = _run(question, tool, server.url, folder)
        log = server.log()
        rows.append(
            {
                "of": "question",
                "task": question.task,
                "tool": tool,
                "version": harness.version(tool),
                "command": " ".join(question.ours if tool == "bams3" else question.theirs),
                "requests": len(log),
                "bytes": sum(row.sent_bytes for row in log),
                "answer": question.answer(tool, run.printed[0]),
                "seconds": [],
            }
        )
    if rows[0]["answer"] != rows[1]["answer"]:
        raise harness.NotTheSameWorkError(f"{question.task}: the answers differ")
    proxy.set(Fault("latency", seconds=LATENCY_S))
    for _ in range(repeats):
        for row in rows:
            row["seconds"].append(round(_run(question, row["tool"], proxy.url, folder).seconds, 4))
    proxy.set()
    print(
        *(f"{r['tool']}: {r['requests']} {r['bytes']} {r['seconds']}" for r in rows),
        sep="\n",
        file=sys.stderr,
    )
    return rows


def _run(question: Question, tool: str, url: str, folder: Path) -> Run:
    """One cold process; samtools keeps the index that it fetched, which is removed before."""
    if tool == "bams3":
        verb, *rest = question.ours
        command = ("bams3", verb, STORE_ADDRESS, *rest, "--anonymous", "--endpoint-url", url)
    else:
        verb, *rest = question.theirs
        flags = [word for word in rest if word.startswith("-")]
        command = ("samtools", verb, *flags, f"{url}/{BUCKET}/{BAM}", *rest[len(flags) :])
    entry = Entry(question.task, tool, (command,), "", (f"{BAM}.bai", f"{BAM}.csi"))
    return harness.run_all(entry, folder)


def warm_count(proxy: FaultProxy, repeats: int) -> Row:
    """Seconds of the count of 1 Mb, from opening the store on, where a client is there already."""
    from bams3.query import open_store
    from bams3.store import S3Options

    options = S3Options(endpoint_url=proxy.url, anonymous=True)
    proxy.set(Fault("latency", seconds=LATENCY_S))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        open_store(STORE_ADDRESS, options).count(REGION)
        seconds.append(round(time.perf_counter() - start, 4))
    proxy.set()
    return {"of": "warm", "task": "count of 1 Mb, the client is there", "seconds": seconds[1:]}


# ---- load ----


def load(server: NginxServer, repeats: int) -> list[Row]:
    """Many counts at once by threads of a process, and their requests once more by a plain client."""
    from bams3.query import open_store
    from bams3.store import S3Options

    options = S3Options(endpoint_url=server.url, anonymous=True)
    chance = random.Random(22)
    starts = [chance.randrange(CONTIG_BP - 100_000) for _ in range(QUERIES)]

    def count(start: int) -> int:
        return open_store(STORE_ADDRESS, options).count(f"{CONTIG}:{start + 1}-{start + 100_000}")

    count(starts[0])
    server.clear()
    ours = [_timed(count, starts) for _ in range(repeats)]
    log = server.log()[: len(server.log()) // repeats]
    ranges = [(row.path, row.range) for row in log]
    local = plain_client(server.url)
    plain = [_timed(local, ranges) for _ in range(repeats)]
    about = {
        "of": "load",
        "requests": len(log),
        "bytes": sum(row.sent_bytes for row in log),
        "threads": THREADS,
    }
    return [
        about
        | {"task": "counts of 100 kb, each from opening the store on", "queries": QUERIES, "seconds": ours},
        about | {"task": "the same requests by http.client, nothing done with the bytes", "seconds": plain},
    ]


def _timed(work: Callable[[Any], object], items: list[Any]) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, items))
    return round(time.perf_counter() - start, 3)


def plain_client(url: str) -> Callable[[tuple[str, str]], int]:
    """A function that fetches a range; a connection a thread."""
    place, own = urllib.parse.urlsplit(url).netloc, threading.local()

    def fetch(what: tuple[str, str]) -> int:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(place)
        path, span = what
        own.connection.request("GET", path, headers={"Range": span} if span else {})
        return len(own.connection.getresponse().read())

    return fetch


# ---- memory ----


def memory(served: Path, folder: Path, server: NginxServer) -> list[Row]:
    """Peak memory of a conversion and an export, with the store in a folder and in S3."""
    rows = []
    with moto_server() as moto:
        moto.make_bucket(BUCKET)
        os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
        bam, store = str(served / BAM), str(served / STORE)
        to_moto = ("--endpoint-url", moto.url)
        from_nginx = ("--anonymous", "--endpoint-url", server.url)
        for task, place, command in (
            ("BAM to store", "folder", ("convert", bam, "out.bams3", "--force")),
            ("BAM to store", "S3", ("convert", bam, STORE_ADDRESS, "--force", *to_moto)),
            ("store to BAM", "folder", ("export", store, "out.bam", "--force")),
            ("store to BAM", "S3", ("export", STORE_ADDRESS, "out.bam", "--force", *from_nginx)),
        ):
            run = harness.run_all(Entry(task, "bams3", (("bams3", *command, "--quiet"),), ""), folder)
            shown = {"peak_bytes": run.peak_bytes, "seconds": [round(run.seconds, 3)]}
            rows.append({"of": "memory", "task": task, "place": place} | shown)
            print(rows[-1], file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
