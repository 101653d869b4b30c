"""Plans at scale, and what a unit costs in a slice, as a process and as a job: ``make work BAM=file.bam``.

The 1,000 stores of 30x are made up: a planned index of 18,536 row groups, which each of them has. The cohort
of 40 is real: samples of a BAM, at 4 to 20 % of its depth.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import harness, report
from .harness import Row

STORES, REGIONS, SLICES = 1_000, 100, 400
SAMPLES, WINDOWS = 40, 200
SHARES = ("04", "08", "12", "20")
#: Units that are run as a process, and as a job, each.
ALONE = 40
SNAKEFILE = harness.ROOT / "workflow/Snakefile"


def main() -> None:
    """Measure, write the rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bam", type=Path)
    parser.add_argument("--scratch", type=Path, default=Path("build/bench-work"))
    arguments = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    folder = arguments.scratch.absolute()
    (folder / "made-up").mkdir(parents=True, exist_ok=True)
    rows = plan_of_thousand(folder / "made-up")
    make_cohort(arguments.bam.absolute(), folder)
    rows += [slices(folder, kinds) for kinds in (("--count", "--coverage"), ("--records",))]
    rows += units(folder)
    rows = [row | harness.machine() for row in rows]
    harness.write_rows(Path("build") / f"{time.strftime('%Y-%m')}-work.jsonl", rows)
    print(report.render_work(rows))


def run(folder: Path, *command: str) -> tuple[float, float, float]:
    """Seconds, CPU-seconds and MB (of its largest process) of a command."""
    start_s, out = time.perf_counter(), subprocess.DEVNULL
    child = subprocess.Popen(harness.argv(command), cwd=folder, stdout=out, env=harness.environment())
    _, status, used = os.wait4(child.pid, 0)
    seconds, child.returncode = time.perf_counter() - start_s, os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


# ---- 1,000 samples x 100 regions ----


def plan_of_thousand(folder: Path) -> list[Row]:
    """Plan, and a dry run of the workflow."""
    maker = multiprocessing.get_context("spawn").Process(target=make_stores, args=(folder,))
    maker.start()  # apart: a measured process begins with the memory of this one
    maker.join()
    options = ("--count", "--coverage", "--records", "--slices", str(SLICES))
    command = ("bams3", "plan", "samples.tsv", "-L", "regions.bed", *options, "-o", "plan.json", "--json")
    seconds, _, peak_mb = run(folder, *command)
    printed = subprocess.run(
        harness.argv(command), cwd=folder, check=True, capture_output=True, env=harness.environment()
    ).stdout
    plan = json.loads(printed)
    costs = [one["seconds"] for one in plan["slices"]]
    config = (
        f"samples: samples.tsv\nregions: regions.bed\nslices: {SLICES}\nkinds: [count, coverage, records]\n"
    )
    (folder / "config.yaml").write_text(config)
    dry = (sys.executable, "-m", "snakemake", "-n", "--quiet", "--cores", "2", "--snakefile", str(SNAKEFILE))
    dry_s, _, dry_mb = run(folder, *dry, "--directory", ".", "--configfile", "config.yaml")
    about = {"samples": STORES, "regions": REGIONS, "units": plan["units"], "slices": SLICES}
    spread = max(costs) / min(costs)
    return [
        {
            "what": "bams3 plan",
            **about,
            "seconds": seconds,
            "peak_mb": peak_mb,
            "dearest_to_cheapest": spread,
        },
        {"what": "snakemake -n", **about, "seconds": dry_s, "peak_mb": dry_mb},
    ]


def make_stores(folder: Path) -> None:
    """1,000 stores that share an index of 30x, and 100 regions."""
    from bams3.format import manifest, spec
    from bams3.planned import GRCH38, even_depth, even_pieces, planned_store

    made = planned_store(
        even_pieces(GRCH38, 16_000 * 50_000, 151), GRCH38, 1_000_000, even_depth(GRCH38), 4_000
    )
    value = json.loads(made.get(spec.MANIFEST_KEY))
    del value["crc32"]
    keys = [key for key in made.list() if key != spec.MANIFEST_KEY]
    for key in keys:
        (folder / key).write_bytes(made.get(key))
    for number in range(STORES):
        store = folder / f"s{number}.bams3"
        store.mkdir(exist_ok=True)
        for key in keys:
            (store / key).unlink(missing_ok=True)
            os.link(folder / key, store / key)
        value["records"] += 1  # a manifest of its own
        (store / spec.MANIFEST_KEY).write_bytes(manifest.render(value))
    sheet = "".join(f"s{number}\ts{number}.bams3\n" for number in range(STORES))
    (folder / "samples.tsv").write_text(f"sample\tstore\n{sheet}")
    contigs = dict(zip(GRCH38.names[:22], GRCH38.lengths[:22], strict=True))
    write_regions(folder / "regions.bed", REGIONS, contigs, (2_000, 50_000, 200_000, 1_000_000))


def write_regions(path: Path, n: int, contigs: dict[str, int], sizes: Sequence[int]) -> None:
    """Random regions, the same ones each time."""
    chance = random.Random(n)
    rows = []
    for number in range(n):
        contig, size = chance.choice(list(contigs)), chance.choice(sizes)
        start = chance.randrange(contigs[contig] - size)
        rows.append(f"{contig}\t{start}\t{start + size}\tr{number}\n")
    path.write_text("".join(rows))


# ---- a real cohort ----


def make_cohort(bam: Path, folder: Path) -> None:
    """Stores of 40 samples of the BAM, and 200 regions."""
    for number in range(SAMPLES):
        store = folder / f"s{number}.bams3"
        if (store / "_metadata.json").exists():
            continue
        part = folder / "part.bam"
        share = f"{number + 1}.{SHARES[number % len(SHARES)]}"
        subprocess.run(["samtools", "view", "-b", "-1", "-s", share, "-o", part, bam], check=True)
        run(folder, "bams3", "convert", "--quiet", "--force", str(part), str(store))
        part.unlink()
    sizes = (1_000, 5_000, 20_000, 100_000, 200_000)
    write_regions(folder / "regions.bed", WINDOWS, {"chr20": 9_990_000, "chr21": 9_990_000}, sizes)


def plan(folder: Path, slices: int, *kinds: str) -> dict[str, Any]:
    """A new plan of the cohort, nothing of it done."""
    subprocess.run(["rm", "-rf", "plan.work"], cwd=folder, check=True)
    command = ("bams3", "plan", "s*.bams3", "-L", "regions.bed", "-o", "plan.json", *kinds, "--json")
    command += ("--slices", str(slices))
    done = subprocess.run(
        harness.argv(command), cwd=folder, check=True, capture_output=True, env=harness.environment()
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def slices(folder: Path, kinds: tuple[str, ...]) -> Row:
    """CPU-seconds of each of eight slices, run one after the other."""
    planned = plan(folder, 8, *kinds)
    cpu, peak = [], 0.0
    for number in range(1, 9):
        _, cpu_s, peak_mb = run(
            folder, "bams3", "run", "plan.json", "--slice", f"{number}/8", "--workers", "1"
        )
        cpu.append(round(cpu_s, 3))
        peak = max(peak, peak_mb)
    about = {"samples": SAMPLES, "regions": WINDOWS, "units": planned["units"], "slices": 8}
    return {
        "what": "slices of " + " ".join(kinds),
        **about,
        "cpu_seconds": cpu,
        "predicted_s": [one["seconds"] for one in planned["slices"]],
        "dearest_to_median": max(cpu) / statistics.median(cpu),
        "peak_mb": peak,
    }


def units(folder: Path) -> list[Row]:
    """Seconds that a count takes: as a unit of a slice, as a process, as a job of SLURM."""
    planned = plan(folder, 1, "--count")
    seconds, _, _ = run(folder, "bams3", "run", "plan.json", "--workers", "1")
    out = [{"what": "a count in a slice", "units": planned["units"], "seconds": seconds}]
    rows = [line.split("\t") for line in (folder / "regions.bed").read_text().splitlines()[:ALONE]]
    each = [
        ("bams3", "query", "--count", f"s{i}.bams3", f"{contig}:{int(start) + 1}-{end}")
        for i, (contig, start, end, _) in enumerate(rows)
    ]
    alone_s = sum(run(folder, *command)[0] for command in each)
    out.append({"what": "a count as a process", "units": ALONE, "seconds": alone_s})
    jobs_s = as_jobs(folder, each)
    if jobs_s is not None:
        out.append({"what": "a count as a SLURM job", "units": ALONE, "seconds": jobs_s})
    return out


def as_jobs(folder: Path, commands: Sequence[tuple[str, ...]]) -> float | None:
    """Seconds until an array has run commands, a task each, on two nodes of four CPUs; None without SLURM."""
    sys.path.insert(0, str(harness.ROOT / "tests"))
    from slurm_cluster import SlurmCluster, why_not

    if why_not():
        return None
    (folder / "units.txt").write_text("\n".join(" ".join(harness.argv(words)) for words in commands) + "\n")
    script = 'sh -c "$(sed -n ${SLURM_ARRAY_TASK_ID}p units.txt)"'
    with SlurmCluster() as slurm:
        start_s = time.perf_counter()
        options = ("--chdir", str(folder), "--output=/dev/null", f"--array=1-{len(commands)}")
        job = slurm.sbatch(*options, "--export=ALL", "--wrap", script)
        ended = slurm.wait(job, 600)
        seconds = time.perf_counter() - start_s
    assert {task.state for task in ended.values()} == {"COMPLETED"}
    return seconds


if __name__ == "__main__":
    main()
