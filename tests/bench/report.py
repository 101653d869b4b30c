"""Tables from committed raw rows, written into the pages that show them: ``python -m tests.bench.report``.

No number of a table is typed by hand, and a test holds the pages to the rows.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from .harness import ROOT, Row, ratio, read_rows

ROWS = Path(__file__).parent / "rows"
BEGIN, END = "<!-- bench:begin", "<!-- bench:end -->"


def main() -> None:
    """Write every page's table anew."""
    for page, (kind, render) in PAGES.items():
        path = newest(kind)
        if path is None:
            print(f"{page}: no rows of {kind} yet", file=sys.stderr)
            continue
        text = (ROOT / page).read_text()
        (ROOT / page).write_text(with_table(text, render(read_rows(path))))
        print(f"{page}: {path.name}")


def newest(kind: str) -> Path | None:
    """The last file of rows of a kind; names begin with year and month."""
    return max(ROWS.glob(f"*-{kind}.jsonl"), default=None)


def with_table(page: str, table: str) -> str:
    """A page with a table between its two marks."""
    before, mark, rest = page.partition(BEGIN)
    line, _, rest = rest.partition("\n")
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"the page lacks {BEGIN} ... {END}")
    return f"{before}{mark}{line}\n{table}{end}{after}"


# ---- times ----


def render_times(rows: list[Row]) -> str:
    """A line for each task and peer, and where and when they were measured."""
    lines = ["| task | bams3 | samtools | ratio | bytes | peak memory |", "|---|---|---|---|---|---|"]
    for _, group in groupby(rows, lambda row: row["task"]):
        ours, *peers = group
        lines += [_times(ours, peer) for peer in peers]
    return "\n".join([*lines, "", *_footing(rows), ""])


def _times(ours: Row, peer: Row) -> str:
    cells = [
        ours["task"],
        _seconds(ours),
        f"`{_form(peer)}` {_seconds(peer)}",
        f"{ratio(peer, ours):.2f}",
        f"{_mb(ours['bytes'])} / {_mb(peer['bytes'])} MB" if ours["bytes"] else "",
        f"{_mb(max(ours['peak_bytes']))} / {_mb(max(peer['peak_bytes']))} MB",
    ]
    return f"| {' | '.join(cells)} |"


def _form(row: Row) -> str:
    """The command of a peer without the names of files, the first region and the tool."""
    words = row["command"].split()[1:]
    skipped = {i + 1 for i, word in enumerate(words) if word == "-o"} | {i for i, word in enumerate(words) if word == "-o"}
    return " ".join(
        word for i, word in enumerate(words) if i not in skipped and not word.endswith(".bam") and i < _first_region(words)
    )


def _first_region(words: list[str]) -> int:
    named = [i for i, word in enumerate(words) if word.endswith(".bam")]
    return named[-1] + 1 if named else len(words)


def _seconds(row: Row) -> str:
    seconds = row["seconds"]
    middle = _three_digits(statistics.median(seconds))
    if len(seconds) == 1:
        return f"{middle} s"
    return f"{middle} s ({_three_digits(min(seconds))}-{_three_digits(max(seconds))})"


def _three_digits(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f}"


def _footing(rows: list[Row]) -> list[str]:
    first = rows[0]
    versions = sorted({f"{row['tool']} {row['version']}" for row in rows})
    records = max(row["records"] for row in rows)
    return [
        f"Medians of {len(first['seconds'])} (least-most), {_all(rows, 'date')}, {_all(rows, 'cores')} cores of "
        f"{_all(rows, 'cpu')}, {' and '.join(versions)}, commit {_all(rows, 'commit')}, Python {_all(rows, 'python')}.",
        f"{records:,} records at most; files in the page cache; bytes and memory: bams3 / samtools, the most of",
        "all repeats, every process of the command added up.",
    ]


def _all(rows: Iterable[Row], what: str) -> str:
    return ", ".join(dict.fromkeys(str(row[what]) for row in rows))
