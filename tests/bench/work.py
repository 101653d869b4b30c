"""Plans at scale, and what a unit costs in a slice, as a process and as a job: ``make work BAM=file.bam``.

The 1,000 stores of 30x are made up: a planned index of 18,536 row groups, which each of them has. So are the
panel and the genotype counts, whose tiles and probesets are planned beside them. The cohort of 40 is real:
samples of a BAM, at 4 to 20 % of its depth.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import chi2_counts, harness, report
from .harness import Row

STORES, REGIONS, SLICES = 1_000, 100, 400
VARIANTS, TILES, LD_SLICES = 200_000, 5_050, 50
PROBESETS, CHI2_SLICES = 1_000_000, 36
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
    rows = plans_at_scale(folder / "made-up")
    make_cohort(arguments.bam.absolute(), folder)
    rows += [slices(folder, kinds) for kinds in (("--count", "--coverage"), ("--records",))]
    rows += units(folder)
    rows = [row | harness.machine() for row in rows]
    harness.write_rows(Path("build") / f"{time.strftime('%Y-%m')}-work.jsonl", rows)
    print(report.render_work(rows))


def run(folder: Path, *command: str, told: Path | None = None) -> tuple[float, float, float]:
    """Seconds, CPU-seconds and MB (of its largest process) of a command; ``told`` gets what it prints."""
    start_s = time.perf_counter()
    with open(told or os.devnull, "w") as out:
        err = out if told else None
        child = subprocess.Popen(
            harness.argv(command), cwd=folder, stdout=out, stderr=err, env=harness.environment()
        )
        _, status, used = os.wait4(child.pid, 0)
    seconds, child.returncode = time.perf_counter() - start_s, os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


# ---- 1,000 samples x 100 regions, 5,050 tiles, 1,000,000 probesets ----


def plans_at_scale(folder: Path) -> list[Row]:
    """Plans of each, and dry runs of the workflow: of the samples, and of all."""
    maker = multiprocessing.get_context("spawn").Process(target=make_inputs, args=(folder,))
    maker.start()  # apart: a measured process begins with the memory of this one
    maker.join()
    kinds = ("--count", "--coverage", "--records")
    samples = planned(folder, SLICES, "samples.tsv", "-L", "regions.bed", *kinds)
    ld = planned(folder, LD_SLICES, "--ld", "panel.ldp", "--tiles", str(TILES))
    chi2 = planned(folder, CHI2_SLICES, "--chi2", "counts.tsv")
    config = (
        f"samples: samples.tsv\nregions: regions.bed\nslices: {SLICES}\nkinds: [count, coverage, records]\n"
    )
    (folder / "config.yaml").write_text(config)
    more = (
        f"chi2: {{counts: counts.tsv, slices: {CHI2_SLICES}}}\n"
        f"ld: {{panel: panel.ldp, tiles: {TILES}, slices: {LD_SLICES}}}\n"
    )
    (folder / "all.yaml").write_text(config + more)
    return [
        {"what": "bams3 plan", "of": "1,000 samples x 100 regions, 3 kinds", **samples},
        {"what": "bams3 plan --ld", "of": "all pairs of 200,000 variants", **ld},
        {"what": "bams3 plan --chi2", "of": "1,000,000 probesets", **chi2},
        {"what": "snakemake -n", "of": "the samples x regions", **dry_run(folder, "config.yaml")},
        {"what": "snakemake -n", "of": "all of the above", **dry_run(folder, "all.yaml")},
    ]


def planned(folder: Path, slices: int, *asked: str) -> Row:
    """A plan: how long it takes, its units, and how far costs of its slices are apart."""
    command = ("bams3", "plan", *asked, "--slices", str(slices), "-o", "plan.json", "--json")
    told = folder / "told.json"
    seconds, _, peak_mb = run(folder, *command, told=told)
    plan = json.loads(told.read_text())
    costs = [one["seconds"] for one in plan["slices"]]
    return {
        "units": plan["units"],
        "slices": slices,
        "seconds": seconds,
        "peak_mb": peak_mb,
        "dearest_to_cheapest": max(costs) / min(costs),
    }


def dry_run(folder: Path, config: str) -> Row:
    """A dry run of the workflow, and how many jobs it tells."""
    told = folder / "told.txt"
    command = (sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--snakefile", str(SNAKEFILE))
    seconds, _, peak_mb = run(folder, *command, "--directory", ".", "--configfile", config, told=told)
    jobs = int(re.findall(r"^total +(\d+)$", told.read_text(), re.MULTILINE)[-1])
    return {"jobs": jobs - 1, "seconds": seconds, "peak_mb": peak_mb}  # `all` is none


def make_inputs(folder: Path) -> None:
    """Stores, regions, a panel of 64 samples and counts of two batches."""
    make_stores(folder)
    chance = np.random.default_rng(1)
    header = b"\x6c\x1b\x01"  # PLINK 1's .bed, variant by variant
    (folder / "panel.bed").write_bytes(header + chance.integers(0, 256, VARIANTS * 16, np.uint8).tobytes())
    variants = "".join(f"1\tv{i}\t0\t{1_000 + 1_000 * i}\tA\tC\n" for i in range(VARIANTS))
    (folder / "panel.bim").write_text(variants)
    (folder / "panel.fam").write_text("".join(f"p{i} p{i} 0 0 0 -9\n" for i in range(64)))
    run(folder, "bams3", "ld-import", "--quiet", "--force", "panel.bed", "panel.ldp")
    chi2_counts.write_made_up(folder / "counts.tsv", PROBESETS, 2, 0.5, 1)


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
    made = plan(folder, 8, *kinds)
    cpu, peak = [], 0.0
    for number in range(1, 9):
        _, cpu_s, peak_mb = run(
            folder, "bams3", "run", "plan.json", "--slice", f"{number}/8", "--workers", "1"
        )
        cpu.append(round(cpu_s, 3))
        peak = max(peak, peak_mb)
    about = {"samples": SAMPLES, "regions": WINDOWS, "units": made["units"], "slices": 8}
    return {
        "what": "slices of " + " ".join(kinds),
        **about,
        "cpu_seconds": cpu,
        "predicted_s": [one["seconds"] for one in made["slices"]],
        "dearest_to_median": max(cpu) / statistics.median(cpu),
        "peak_mb": peak,
    }


def units(folder: Path) -> list[Row]:
    """Seconds that a count takes: as a unit of a slice, as a process, as a job of SLURM."""
    made = plan(folder, 1, "--count")
    seconds, _, _ = run(folder, "bams3", "run", "plan.json", "--workers", "1")
    out = [{"what": "a count in a slice", "units": made["units"], "seconds": seconds}]
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
