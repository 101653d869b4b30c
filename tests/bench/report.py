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
    for page, kinds in PAGES.items():
        for kind, render in kinds:
            path = newest(kind)
            if path is None:
                print(f"{page}: no rows of {kind} yet", file=sys.stderr)
                continue
            text = (ROOT / page).read_text()
            (ROOT / page).write_text(with_table(text, kind, render(read_rows(path))))
            print(f"{page}: {path.name}")


def newest(kind: str) -> Path | None:
    """The last file of rows of a kind; names begin with year and month."""
    return max(ROWS.glob(f"*-{kind}.jsonl"), default=None)


def with_table(page: str, kind: str, table: str) -> str:
    """A page with the table of a kind between its two marks."""
    before, mark, rest = page.partition(f"{BEGIN} {kind}")
    line, _, rest = rest.partition("\n")
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"the page lacks {BEGIN} ... {END}")
    return f"{before}{mark}{line}\n{table}{end}{after}"


# ---- times ----


def render_times(rows: list[Row]) -> str:
    """A line for each task and peer, and where and when they were measured."""
    lines = ["| task | bams3 | peer | bams3 / peer | bytes | peak memory |", "|---|---|---|---|---|---|"]
    for _, group in groupby(rows, lambda row: row["task"]):
        ours, *peers = group
        lines += [_times(ours, peer) for peer in peers]
    return "\n".join([*lines, "", *_footing(rows), ""])


def _times(ours: Row, peer: Row) -> str:
    cells = [
        ours["task"],
        _seconds(ours),
        f"`{'' if peer['tool'] == 'bams3' else peer['tool'] + ' '}{peer['form']}` {_seconds(peer)}",
        f"{ratio(peer, ours):.2f}",
        f"{_mb(ours['bytes'])} / {_mb(peer['bytes'])} MB" if ours["bytes"] else "",
        f"{_mb(max(ours['peak_bytes']))} / {_mb(max(peer['peak_bytes']))} MB",
    ]
    return f"| {' | '.join(cells)} |"


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
    versions = " and ".join(dict.fromkeys(f"{row['tool']} {row['version']}" for row in rows))
    return [
        f"Medians of {len(rows[0]['seconds'])} (least-most) where the memory holds all files; {versions}; "
        f"{_all(rows, 'date')}, {_all(rows, 'cores')} cores of {_all(rows, 'cpu')},",
        f"Python {_all(rows, 'python')}, commit {_all(rows, 'commit')}. Bytes and memory are bams3's / "
        "the peer's; memory is the most of all repeats, processes added up.",
    ]


def _all(rows: Iterable[Row], what: str) -> str:
    return ", ".join(dict.fromkeys(str(row[what]) for row in rows))


# ---- where a conversion's time and bytes go ----


def render_profile(rows: list[Row]) -> str:
    """Two tables: the stages of a conversion, and the columns of what it encodes."""
    stages = [row for row in rows if row["of"] == "stage"]
    columns = sorted((row for row in rows if row["of"] == "column"), key=lambda row: -row["bytes_out"])
    lines = ["| stage | CPU-seconds | share |", "|---|---|---|"]
    all_s = sum(row["cpu_s"] for row in stages)
    lines += [f"| {row['name']} | {row['cpu_s']:.2f} | {row['cpu_s'] / all_s:.0%} |" for row in stages]
    lines += [
        "",
        "| column | codec | MB in | MB out | encode s | MB/s | decode s | MB/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_column(row) for row in columns]
    footing = f"{_all(rows, 'date')}, one thread of {_all(rows, 'cpu')}, commit {_all(rows, 'commit')}."
    return "\n".join([*lines, "", footing, ""])


def _column(row: Row) -> str:
    sizes = f"{row['bytes_in'] / 1e6:,.1f} | {row['bytes_out'] / 1e6:,.1f}"
    times = " | ".join(
        f"{row[what]:.2f} | " + (f"{row['bytes_in'] / row[what] / 1e6:,.0f}" if row[what] else "")
        for what in ("encode_s", "decode_s")
    )
    return f"| {row['name']} | {row['codec']} | {sizes} | {times} |"


# ---- sizes of real files ----


def render_sizes(rows: list[Row]) -> str:
    """A line for each file, and how they were made."""
    lines = [
        "| file | what | records | BAM | CRAM 3.1 | archive | store | of it header | store / CRAM 3.1 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sizes = " | ".join(f"{row[form]:,}" for form in ("records", "bam", "cram31", "archive"))
        store = f"{row['store']:,} | {row['header']:,} | {row['store'] / row['cram31']:.2f}"
        lines.append(f"| {row['file']} | {row['kind']} | {sizes} | {store} |")
    footing = (
        f"Bytes; CRAM without a reference, by samtools {_all(rows, 'samtools')}; "
        f"{_all(rows, 'date')}, commit {_all(rows, 'commit')}."
    )
    return "\n".join([*lines, "", footing, ""])


# ---- what questions cost ----


def render_prices(rows: list[Row]) -> str:
    """A line for each question."""
    lines = ["| question | requests | bytes | share of the store |", "|---|---|---|---|"]
    for row in rows:
        share = f"{row['bytes'] / row['store']:.3%}"
        lines.append(f"| {row['question']} | {row['requests']} | {row['bytes']:,} | {share} |")
    footing = (
        f"Of a store of {_mb(rows[0]['store'])} MB, opened for each question (its manifest is one request); "
        f"{_all(rows, 'date')}, commit {_all(rows, 'commit')}."
    )
    return "\n".join([*lines, "", footing, ""])


# ---- S3 ----


def render_s3(rows: list[Row]) -> str:
    """Three tables: questions, load, memory."""
    asked = [row for row in rows if row["of"] == "question"]
    lines = [
        "| question | requests: bams3 / samtools | bytes | seconds at 50 ms a request | bams3 / samtools |",
        "|---|---|---|---|---|",
    ]
    for ours, theirs in zip(asked[::2], asked[1::2], strict=True):
        quotient = statistics.median(ours["seconds"]) / statistics.median(theirs["seconds"])
        ratio_text = f"{quotient:.2f}" if ours["answer"] else ""
        n_bytes = f"{ours['bytes']:,} / {theirs['bytes']:,}"
        requests = f"{ours['requests']} / {theirs['requests']}"
        seconds = f"{_seconds(ours)} / {_seconds(theirs)}"
        lines.append(f"| {ours['task']} | {requests} | {n_bytes} | {seconds} | {ratio_text} |")
    lines += [f"| {row['task']} | | | {_seconds(row)} | |" for row in rows if row["of"] == "warm"]
    lines += ["", "| 16 threads, no latency | seconds | requests/s | MB/s |", "|---|---|---|---|"]
    for row in rows:
        if row["of"] == "load":
            middle = statistics.median(row["seconds"])
            rates = f"{row['requests'] / middle:,.0f} | {row['bytes'] / middle / 1e6:,.1f}"
            lines.append(f"| {row['task']} | {_seconds(row)} | {rates} |")
    lines += ["", "| peak memory | in a folder | in S3 |", "|---|---|---|"]
    held = [row for row in rows if row["of"] == "memory"]
    for local, remote in zip(held[::2], held[1::2], strict=True):
        peaks = f"{_mb(local['peak_bytes'])} MB | {_mb(remote['peak_bytes'])} MB"
        lines.append(f"| {local['task']} | {peaks} |")
    footing = (
        "Cold processes but for the last question; requests and bytes by the log of nginx; no ratio where the"
        f" answers are not the same; bams3 {asked[0]['version']}, samtools {asked[1]['version']};"
        f" {_all(rows, 'date')}, {_all(rows, 'cores')} cores of {_all(rows, 'cpu')},"
    )
    return "\n".join([*lines, "", footing, f"commit {_all(rows, 'commit')}.", ""])


# ---- what it costs ----


def render_cost(rows: list[Row]) -> str:
    """Two tables: the questions, and chunk sizes."""
    prices = rows[0]["prices"]
    lines = [
        "| 1,000 genomes | said then | GETs | read | USD: same region / other / internet | what differs |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_scenario(row) for row in rows if "question" in row]
    lines += ["", "| chunk size | chunks | PUTs, USD | GETs | read | USD |", "|---|---|---|---|---|---|"]
    for row in (row["what_if"] for row in rows if "what_if" in row):
        stores, asked = row["stores"], row["asked"]
        cells = [
            f"{row['chunk_size_bp'] // 1000:,} kb",
            f"{stores['chunks']:,}",
            f"{stores['put_requests']:,}, {stores['put_usd']:.0f}",
            f"{asked['get_requests']:,}",
            f"{asked['read_mb'] / 1000:,.1f} GB",
            _cases(asked["total_usd"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    footing = (
        f"USD of requests, transfer and compute, which is estimated; prices of {prices['region']},"
        f" {prices['as_of']} (config/prices.yaml). Second table: 100 regions of 1 kb, a process a sample."
    )
    return "\n".join([*lines, "", footing, ""])


def _scenario(row: Row) -> str:
    stores, asked = row["stores"], row["asked"]
    if asked is None:
        size = f"{stores['mb'] / 1e6:,.1f} TB"
        make_usd = stores["put_usd"] + stores["convert_usd"]
        usd = f"{stores['storage_usd_per_month']:,.0f} a month, {make_usd:,.0f} to make"
        return f"| {row['question']} | {row['said']} | | {size} | {usd} | {row['why']} |"
    size = f"{asked['read_mb'] / 1000:,.2f} GB"
    cells = [f"{asked['get_requests']:,}", size, _cases(asked["total_usd"]), row["why"]]
    return f"| {row['question']} | {row['said']} | {' | '.join(cells)} |"


def _cases(usd: Row) -> str:
    return " / ".join(f"{usd[case]:.2g}" for case in ("same_region", "cross_region", "internet"))


# ---- plans ----


def render_work(rows: list[Row]) -> str:
    """Three tables: plans at scale, slices of a real cohort, and one unit run in three ways."""
    lines = [
        "| planned | of | units | slices | seconds | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in (row for row in rows if "of" in row):
        much = f"{row['jobs']:,} jobs |" if "jobs" in row else f"{row['units']:,} | {row['slices']}"
        took = f"{_three_digits(row['seconds'])} s | {row['peak_mb']:.0f} MB"
        lines.append(f"| `{row['what']}` | {row['of']} | {much} | {took} |")
    head = "| 40 samples x 200 regions | units | CPU-seconds of 8 slices | slowest / median |"
    lines += ["", head, "|---|---|---|---|"]
    for row in (row for row in rows if "cpu_seconds" in row):
        span = f"{_three_digits(min(row['cpu_seconds']))}-{_three_digits(max(row['cpu_seconds']))}"
        cells = f"{row['units']:,} | {span} | {row['dearest_to_median']:.2f}"
        lines.append(f"| {row['what']} | {cells} |")
    lines += ["", "| one count | seconds each | times that in a slice |", "|---|---|---|"]
    each = {row["what"]: row["seconds"] / row["units"] for row in rows if row["what"].startswith("a count")}
    for what, seconds in each.items():
        lines.append(f"| {what} | {seconds:.4f} s | {seconds / each['a count in a slice']:,.0f} |")
    dearest = next(row["dearest_to_cheapest"] for row in rows if "dearest_to_cheapest" in row)
    footing = (
        f"Predicted costs of the 400 slices are within {dearest - 1:.1%} of each other. SLURM on one machine"
        f" with two nodes of four CPUs; {_all(rows, 'date')}, {_all(rows, 'cores')} cores of"
        f" {_all(rows, 'cpu')}, commit {_all(rows, 'commit')}."
    )
    return "\n".join([*lines, "", footing, ""])


# ---- tests of genotype counts ----


def render_chi2(rows: list[Row]) -> str:
    """Two tables: what chi2-batch takes, and what others take for the same p-values."""
    lines = [
        "| `bams3 chi2-batch --n-workers 2` | options | seconds | CPU-seconds | goal | tables drawn |"
        " ns a table | drawing, of CPU | peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_chi2_run(row) for row in rows if row["of"] == "run"]
    lines += ["", "| the same p-values, CPU-seconds | bams3 | peer | bams3 / peer |", "|---|---|---|---|"]
    for row in (row for row in rows if row["of"] == "peers"):
        if row["tool"] == "bams3":
            ours = row
        else:
            lines.append(_chi2_peer(ours, row))
    versions = " and ".join(f"{name} {_all(rows, name)}" for name in ("bams3", "numpy", "scipy"))
    footing = [
        *_chi2_notes(rows),
        "Cold processes, but for the call; medians of 3. Drawing is measured alone, that for the no-call test"
        " included, whose tables are not counted.",
        f"{versions}; {_all(rows, 'date')}, {_all(rows, 'cores')} cores of {_all(rows, 'cpu')},"
        f" Python {_all(rows, 'python')}, commit {_all(rows, 'commit')}.",
    ]
    return "\n".join([*lines, "", *footing, ""])


def _chi2_run(row: Row) -> str:
    kernel, cpu_s = row["kernel"], statistics.median(row["cpu_seconds"])
    drawing_s = kernel["cpu_s"] + kernel["no_call_cpu_s"]
    cells = [
        f"{row['task']}, {row['methods']['monte_carlo']:,} permuted",
        f"`{row['form']}`" if row["form"] else "none",
        _seconds(row).replace(" s", "", 1),
        _three_digits(cpu_s),
        row["goal"],
        f"{kernel['draws']:,}",
        f"{kernel['cpu_s'] / kernel['draws'] * 1e9:,.0f}" if kernel["draws"] else "",
        f"{drawing_s / cpu_s:.0%}",
        f"{_mb(max(row['peak_bytes']))} MB",
    ]
    return f"| {' | '.join(cells)} |"


def _chi2_peer(ours: Row, peer: Row) -> str:
    mine, theirs = (statistics.median(row["cpu_seconds"]) for row in (ours, peer))
    quotient = f"{mine / theirs:.3g}" if peer["agrees"] else "none: p-values differ"
    form = f" {peer['form']}" if peer["form"] else ""
    return f"| {peer['task']} | {mine:.3g} | `{peer['tool']}{form}` {theirs:.2g} | {quotient} |"


def _chi2_notes(rows: list[Row]) -> list[str]:
    """A line on counts 100 times as large, and one on reading where that was measured."""
    out = []
    for row in rows:
        if row["of"] == "times 100":
            one, hundred = (statistics.median(row[f"cpu_s_times_{times}"]) for times in (1, 100))
            words = f"{_three_digits(hundred)} CPU-seconds for {_three_digits(one)}"
            out.append(f"Real counts x 100: drawing takes {hundred / one:.2f} times as long ({words}).")
        if row["of"] == "reading":
            rate = row["bytes"] / statistics.median(row["seconds"]) / 1e6
            out.append(f"Reading the {_mb(row['bytes'])} MB of 1,000,000 probesets alone: {rate:,.0f} MB/s.")
    return out


# ---- linkage disequilibrium ----

#: Millions of pairs a second of other programs, measured once on such a machine with two threads.
_ELSEWHERE = (
    ("tomahawk 0.7, phased", 15.0),
    ("tomahawk 0.7, unphased", 2.9),
    ("plink2 alpha 7.4 --r2-phased", 9.5),
    ("plink2 alpha 7.4 --r2-unphased", 16.7),
)


def render_ld(rows: list[Row]) -> str:
    """All pairs beside plink, the kernel by instructions, import, and memory of tiles."""
    plink = next(row for row in rows if row["of"] == "pairs" and row["tool"] != "bams3")
    lines = ["| all pairs, r2 >= 0.1 | seconds | million pairs/s | times plink 1.9 | peak memory |"]
    lines += ["|---|---|---|---|---|"]
    for row in (row for row in rows if row["of"] == "pairs"):
        times = statistics.median(plink["seconds"]) / statistics.median(row["seconds"])
        rate = row["pairs"] / statistics.median(row["seconds"]) / 1e6
        what = f"{row['tool']}, {row['form']}"
        memory = f"{_mb(max(row['peak_bytes']))} MB"
        lines.append(f"| {what} | {_seconds(row)} | {_three_digits(rate)} | {times:.1f} | {memory} |")
    lines += [f"| {name} (measured elsewhere) | | {rate} | | |" for name, rate in _ELSEWHERE]
    lines += ["", "| kernel, one core | | million pairs/s | popcounts a clock cycle |", "|---|---|---|---|"]
    for row in (row for row in rows if row["of"] == "kernel"):
        what = f"{row['form']}{', values missing' * row['partial']} | {row['instructions']}"
        share = row["popcounts_per_s"] / row["mhz"] / 1e6
        lines.append(f"| {what} | {_three_digits(row['pairs_per_s'] / 1e6)} | {share:.2f} |")
    ours, theirs = (row for row in rows if row["of"] == "import")
    quotient = statistics.median(ours["seconds"]) / statistics.median(theirs["seconds"])
    lines += [
        "",
        f"Import of a BCF: {_seconds(ours)}; `{theirs['command']}` {_seconds(theirs)}: {quotient:.2f}.",
    ]
    if any(row["of"] == "tile" for row in rows):
        lines += ["", "| tile of 1,000,000 variants | variants in memory | peak memory | promised |"]
        lines += ["|---|---|---|---|"]
    for row in (row for row in rows if row["of"] == "tile"):
        blocks = round((8 * row["tiles"] + 1) ** 0.5 - 1) // 2
        sizes = f"{_mb(max(row['peak_bytes']))} MB | {_mb(row['promised_bytes'])} MB"
        lines.append(f"| one of {row['tiles']} | {2 * 1_000_000 // blocks:,} | {sizes} |")
    footing = (
        f"{plink['pairs']:,} pairs of a simulated panel of 2,504 people; cold processes, 2 threads, medians"
        f" of 3; plink {_all(rows, 'plink1.9')}, plink2 {_all(rows, 'plink2')}; {_all(rows, 'date')},"
        f" {_all(rows, 'cores')} cores of {_all(rows, 'cpu')}, commit {_all(rows, 'commit')}."
    )
    return "\n".join([*lines, "", footing, ""])


#: What each page shows: the kinds of its rows in the order of their places, and how they become tables.
PAGES: dict[str, tuple[tuple[str, Callable[[list[Row]], str]], ...]] = {
    "README.md": (
        ("convert-query", render_times),
        ("depth-stats", render_times),
        ("prices", render_prices),
        ("s3", render_s3),
        ("cost", render_cost),
        ("work", render_work),
        ("chi2", render_chi2),
        ("ld", render_ld),
    ),
    "tests/bench/README.md": (("convert-profile", render_profile), ("sizes", render_sizes)),
}


if __name__ == "__main__":
    main()
