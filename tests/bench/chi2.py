"""What chi2-batch costs, and other ways to its p-values: ``make chi2 COUNTS=counts.tsv``.

COUNTS is a real table, small enough for the slowest peer. The others are made up under the null with a fixed
seed, in a scratch folder. CPU-seconds are those of whole processes, start-up included.
"""

from __future__ import annotations

import argparse
import compileall
import csv
import dataclasses
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

from . import chi2_counts, harness, report
from .harness import Command, Entry, Row

WORKERS, REPEATS, SEED, DRAWS = 2, 3, 1, 10_000
#: Every so manieth of the probesets of COUNTS that are permuted goes to the slow peers.
TENTH = 10
#: Standard errors that two Monte Carlo p-values of a table may lie apart: by chance once in 150,000 tables.
MOST_ERRORS = 4.5
COUNTS, MADE_UP, HUNDREDTH, STANDARD, LARGE = (
    "counts.tsv",
    "made-up.tsv",
    "1-of-100.tsv",
    "std.tsv",
    "large.tsv",
)
NO_ADAPTIVE = ("--no-adaptive",)
READ = (
    "import sys, pathlib; from bams3.genotype_counts import read_genotype_counts as read;"
    " print(sum(len(block.counts) for block in read(pathlib.Path(sys.argv[1]))))"
)


def main() -> None:
    """Measure, write the rows, print the tables."""
    parser = argparse.ArgumentParser(prog="make chi2", description=__doc__)
    parser.add_argument("counts", type=Path)
    parser.add_argument("--large", action="store_true", help="1,000,000 probesets too: 1 GB on disk")
    parser.add_argument("--scratch", type=Path, help="folder for what is made (default: that of the system)")
    parser.add_argument("--rows", type=Path, default=Path(f"build/{time.strftime('%Y-%m')}-chi2.jsonl"))
    options = parser.parse_args()
    if os.getloadavg()[0] > 0.3:
        print("warning: this machine is busy, the times will say so", file=sys.stderr)
    compileall.compile_dir(harness.ROOT / "bams3", quiet=1)
    compileall.compile_dir(harness.ROOT / "tests/bench", quiet=1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bams3-bench-", dir=options.scratch) as name:
        folder = Path(name)
        (folder / COUNTS).symlink_to(options.counts.absolute())
        cases: list[Callable[[Path], list[Row]]] = [real_counts, array, peers, times_hundred, where_we_lose]
        for case in [*cases, million] if options.large else cases:
            rows += case(folder)
            print(f"{case.__name__}: done", file=sys.stderr)
    rows = [row | versions() | harness.machine() for row in rows]
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(options.rows, rows)
    print(report.render_chi2(rows))


def versions() -> dict[str, str]:
    """Of what is compared."""
    return {name: metadata.version(name) for name in ("bams3", "numpy", "scipy")}


# ---- what chi2-batch takes ----


def real_counts(folder: Path) -> list[Row]:
    """COUNTS in three ways of drawing."""
    from bams3.chi2 import Options

    n = n_probesets(folder / COUNTS)
    capped = ("--adaptive", "--max-simulations", str(DRAWS))
    return runs(
        folder,
        [
            Case(f"{n} real probesets", COUNTS, NO_ADAPTIVE, Options(adaptive=False), "1.2 CPU-s"),
            Case(f"{n} real probesets", COUNTS, capped, Options(max_simulations=DRAWS), "0.8 CPU-s"),
            Case(f"{n} real probesets", COUNTS, (), Options(), "4.0 CPU-s"),
        ],
    )


def array(folder: Path) -> list[Row]:
    """A genotyping array of 100 plates; drawing 10,000 tables each is measured on a hundredth of it."""
    from bams3.chi2 import Options

    chi2_counts.write_made_up(folder / MADE_UP, 72_000, 100, 0.6, SEED)
    chi2_counts.write_made_up(folder / HUNDREDTH, 720, 100, 0.6, SEED)
    return runs(
        folder,
        [
            Case("72,000 probesets x 100 batches", MADE_UP, (), Options(), "30 s"),
            Case("720, 1 % of as many", HUNDREDTH, NO_ADAPTIVE, Options(adaptive=False), ""),
        ],
    )


def million(folder: Path) -> list[Row]:
    """Memory of 1,000,000 probesets, and how fast they are read."""
    from bams3.chi2 import Options

    path = folder / LARGE
    chi2_counts.write_made_up(path, 1_000_000, 30, 0.1, SEED)
    case = Case("1,000,000 probesets x 30 batches", LARGE, (), Options(), "500 MB")
    rows = runs(folder, [case])
    reading = Entry("reading alone", "bams3", (("python", "-c", READ, LARGE),), "")
    return [*rows, {"of": "reading", "bytes": path.stat().st_size, **took([reading], folder)[0]}]


@dataclasses.dataclass(frozen=True)
class Case:
    """A run of chi2-batch: ``words`` and ``options`` are the same, for the command and in Python."""

    task: str
    counts: str
    words: Command
    options: Any
    goal: str

    @property
    def entry(self) -> Entry:
        """As a process."""
        return ours(self.task, self.counts, self.words)


def ours(task: str, counts: str, words: Command) -> Entry:
    """chi2-batch, from and to TSV."""
    command = ("bams3", "chi2-batch", counts, out_of("bams3", counts, words), "--quiet", *words)
    return Entry(task, "bams3", ((*command, "--n-workers", str(WORKERS)),), " ".join(words))


def out_of(tool: str, counts: str, words: Command = ()) -> str:
    """Where a tool's p-values go."""
    return "".join([tool, *words, "-", counts])


def runs(folder: Path, cases: Sequence[Case]) -> list[Row]:
    """A row for each case, with what the kernel takes of it."""
    rows = took([case.entry for case in cases], folder)
    out = []
    for case, row in zip(cases, rows, strict=True):
        results = out_of("bams3", case.counts, case.words)
        told = json.loads((folder / f"{results}.summary.json").read_text())
        kernel = kernel_of(folder / case.counts, case.options)
        if kernel["draws"] != told["draws"]:
            raise harness.NotTheSameWorkError(f"{case.task}: {kernel['draws']} draws, not {told['draws']}")
        size = (folder / case.counts).stat().st_size
        found = {"probesets": told["probesets"], "methods": told["methods"], "kernel": kernel}
        out.append({"of": "run", "goal": case.goal, "bytes": size, **row, **found})
        print(json.dumps(out[-1]), file=sys.stderr)
    return out


def took(entries: Sequence[Entry], folder: Path, repeats: int = REPEATS) -> list[Row]:
    """What processes take; entries take turns."""
    found: list[list[harness.Run]] = [[] for _ in entries]
    for _ in range(repeats):
        for entry, mine in zip(entries, found, strict=True):
            mine.append(harness.run_all(entry, folder))
    return [
        {
            "task": entry.task,
            "tool": entry.tool,
            "form": entry.form,
            "command": " ".join(entry.commands[0]),
            "seconds": [round(run.seconds, 4) for run in mine],
            "cpu_seconds": [round(run.cpu_seconds, 3) for run in mine],
            "peak_bytes": [run.peak_bytes for run in mine],
        }
        for entry, mine in zip(entries, found, strict=True)
    ]


def n_probesets(path: Path) -> int:
    """Probesets of a small TSV."""
    with path.open(newline="") as file:
        return len({row["probeset_id"] for row in csv.DictReader(file, delimiter="\t")})


# ---- the kernel alone ----


def kernel_of(path: Path, options: Any) -> Row:
    """CPU-seconds of permute_tables on the tables of a file, and how many it draws."""
    from bams3.chi2.twotier import describe, two_tier_tests
    from bams3.genotype_counts import read_genotype_counts

    blocks = read_genotype_counts(path, grouped=path.name != COUNTS)
    return clocked(lambda: [two_tier_tests(block, describe(block, options), options) for block in blocks])


def clocked(work: Callable[[], object]) -> Row:
    """What permute_tables takes within ``work``, in this thread: of genotypes, and of calls and no-calls."""
    from bams3.chi2 import twotier
    from bams3.kernels.chi2 import permute_tables

    spent: Row = {"cpu_s": 0.0, "no_call_cpu_s": 0.0, "draws": 0, "no_call_draws": 0}

    def timed(start: Any, counts: Any, *rest: Any) -> Any:
        of = "" if counts[:, 2:].any() else "no_call_"  # such tables have two columns
        start_s = time.thread_time()
        tiers = permute_tables(start, counts, *rest)
        spent[f"{of}cpu_s"] += time.thread_time() - start_s
        spent[f"{of}draws"] += int(tiers["draws"].sum())
        return tiers

    with mock.patch.object(twotier, "permute_tables", timed):
        work()
    return {name: round(value, 4) for name, value in spent.items()}


def times_hundred(folder: Path) -> list[Row]:
    """Counts 100 times as large, the same probesets permuted: 5 times, taking turns."""
    from bams3.chi2 import Options
    from bams3.chi2.twotier import describe, two_tier_tests
    from bams3.genotype_counts import read_genotype_counts

    def kernel(times: int) -> Row:
        options = Options(min_expected_count=5.0 * times, adaptive=False)
        blocks = [
            dataclasses.replace(block, counts=block.counts * times)
            for block in read_genotype_counts(folder / COUNTS, grouped=False)
        ]
        return clocked(lambda: [two_tier_tests(block, describe(block, options), options) for block in blocks])

    found: dict[int, list[Row]] = {1: [], 100: []}
    for _ in range(5):
        for times, mine in found.items():
            mine.append(kernel(times))
    if len({row["draws"] for mine in found.values() for row in mine}) != 1:
        raise harness.NotTheSameWorkError("counts x 100: not as many tables are drawn")
    cpu_s = {f"cpu_s_times_{times}": [row["cpu_s"] for row in mine] for times, mine in found.items()}
    return [{"of": "times 100", "draws": found[1][0]["draws"], "goal": "4", **cpu_s}]


# ---- peers ----


def peers(folder: Path) -> list[Row]:
    """The permuted probesets of COUNTS, and every tenth of them, by whoever else draws tables."""
    harness.run_all(ours("", COUNTS, NO_ADAPTIVE), folder)
    drawn = [name for name, row in answers(folder / out_of("bams3", COUNTS, NO_ADAPTIVE)).items() if row[2]]
    some = drawn[::TENTH]
    chi2_counts.write_some(folder / COUNTS, drawn, folder / "drawn.tsv")
    chi2_counts.write_some(folder / COUNTS, some, folder / "tenth.tsv")
    about = f"real probesets, {DRAWS:,} tables each"
    return [
        *against(folder, f"{len(drawn)} {about}", "drawn.tsv", NO_ADAPTIVE, ("scipy-monte-carlo",)),
        *against(
            folder,
            f"every tenth of these: {len(some)}",
            "tenth.tsv",
            NO_ADAPTIVE,
            ("scipy-monte-carlo", "shuffled", "scipy-permutation"),
        ),
    ]


def against(folder: Path, task: str, counts: str, words: Command, ways: Sequence[str]) -> list[Row]:
    """Ours, then peers, each with whether its p-values are ours."""
    entries = [ours(task, counts, words)]
    for way in ways:
        command = ("python", "-m", "tests.bench.chi2_peers", way, counts, out_of(way, counts), str(DRAWS - 1))
        entries.append(Entry(task, way, (command,), ""))
    rows = took(entries, folder)
    mine = answers(folder / out_of("bams3", counts, words))
    out: list[Row] = [{"of": "peers", **rows[0]}]
    for row in rows[1:]:
        apart = errors_apart(mine, answers(folder / out_of(row["tool"], counts), DRAWS - 1))
        out.append({"of": "peers", **row, "errors_apart": apart, "agrees": apart <= MOST_ERRORS})
        print(json.dumps(out[-1]), file=sys.stderr)
    return out


Answers = dict[str, tuple[float, float, int]]


def answers(path: Path, draws: int = 0) -> Answers:
    """Statistic, p-value and draws (0: none) of each probeset, from results of chi2-batch or of a peer."""
    with path.open(newline="") as file:
        if draws:
            rows = csv.reader(file, delimiter="\t")
            return {name: (float(statistic), float(p), draws) for name, statistic, p in rows}
        return {
            row["probeset_id"]: (
                float(row["chi2_statistic"]),
                float(row["pvalue"]),
                int(row["n_simulations"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
            if row["pvalue"]
        }


def errors_apart(mine: Answers, theirs: Answers) -> float:
    """Standard errors between two p-values, the most of all probesets; inf where more than chance differs."""
    if mine.keys() != theirs.keys():
        return math.inf
    most = 0.0
    for name, (statistic, p, n) in mine.items():
        their_statistic, their_p, their_n = theirs[name]
        if not math.isclose(statistic, their_statistic, rel_tol=1e-9):
            return math.inf
        if n == 0:  # a tail, not drawn
            if not math.isclose(p, their_p, rel_tol=1e-6):
                return math.inf
            continue
        both = (p * n + their_p * their_n) / (n + their_n)
        error = math.sqrt(both * (1 - both) * (1 / n + 1 / their_n))
        most = max(most, abs(p - their_p) / error if error else 0.0)
    return round(most, 2)


def where_we_lose(folder: Path) -> list[Row]:
    """The chi-square tail alone against NumPy, and one small table against a call in an open session."""
    chi2_counts.write_made_up(folder / STANDARD, 72_000, 100, 0.0, SEED)
    rows = against(folder, "72,000 probesets x 100 batches, none permuted", STANDARD, (), ("vectorised",))
    chi2_counts.write_made_up(folder / "one.tsv", 1, 3, 0.0, SEED)
    task = "1 table of 3 batches: a process, and a call in an open session"
    one = took([ours(task, "one.tsv", ())], folder)[0]
    return [*rows, {"of": "peers", **one}, {"of": "peers", "task": task, **call_of_scipy(folder)}]


def call_of_scipy(folder: Path) -> Row:
    """Seconds of chi2_contingency on a table in memory."""
    from scipy import stats

    from .chi2_peers import read_tables

    ((name, table),) = read_tables(folder / "one.tsv").items()
    seconds, loops = [], 100
    for _ in range(REPEATS):
        start_s = time.perf_counter()
        for _ in range(loops):
            found = stats.chi2_contingency(table, correction=False)
        seconds.append((time.perf_counter() - start_s) / loops)
    theirs = {name: (float(found.statistic), float(found.pvalue), 0)}
    apart = errors_apart(answers(folder / out_of("bams3", "one.tsv")), theirs)
    about = {"tool": "scipy", "form": "chi2_contingency(table)", "errors_apart": apart, "agrees": apart == 0}
    return {**about, "seconds": seconds, "cpu_seconds": seconds}


if __name__ == "__main__":
    main()
