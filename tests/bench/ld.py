"""What LD of all pairs costs, and plink: ``make ld PANEL=panel.vcf BCF=some.bcf``.

PANEL is what ``python -m tests.bench.ld_panel`` makes; BCF is imported by bams3 and by plink2. Needs plink1.9
and plink2.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import harness, report
from .chi2 import took
from .harness import Command, Entry, Row

THREADS = 2
FAR = ("--ld-window", "999999", "--ld-window-kb", "999999", "--ld-window-r2", "0.1")
PLINK = ("plink1.9", "--bfile", "plink", "--keep-allele-order", "--threads", str(THREADS), "--out", "plink")
TO_PLINK = "--double-id --keep-allele-order --allow-extra-chr --make-bed --out plink".split()
#: Words that an instruction counts, and variants of a side, for the kernel alone.
WORDS_AT_ONCE = {"plain": 1, "popcnt": 1, "avx2": 4, "avx512": 8, "neon": 2}
SIDE, LEAST_S = 4096, 1.0


def main() -> None:
    """Measure, write the rows, print the tables."""
    parser = argparse.ArgumentParser(prog="make ld", description=__doc__)
    parser.add_argument("panel", type=Path)
    parser.add_argument("bcf", type=Path)
    parser.add_argument("--large", action="store_true", help="tiles of 1,000,000 variants too: 2 GB on disk")
    parser.add_argument("--scratch", type=Path, help="folder for what is made (default: that of the system)")
    parser.add_argument("--rows", type=Path, default=Path(f"build/{time.strftime('%Y-%m')}-ld.jsonl"))
    options = parser.parse_args()
    if os.getloadavg()[0] > 0.3:
        print("warning: this machine is busy, the times will say so", file=sys.stderr)
    compileall.compile_dir(harness.ROOT / "bams3", quiet=1)
    with tempfile.TemporaryDirectory(prefix="bams3-bench-", dir=options.scratch) as name:
        folder = Path(name)
        (folder / "panel.vcf").symlink_to(options.panel.absolute())
        (folder / "panel.bcf").symlink_to(options.bcf.absolute())
        rows = [*all_pairs(folder), *kernels(folder), *imports(folder)]
        if options.large:
            rows += tiles(folder)
    rows = [row | versions() | harness.machine() for row in rows]
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(options.rows, rows)
    print(report.render_ld(rows))


def versions() -> dict[str, str]:
    """Of what is compared."""
    found = {}
    for tool in ("plink1.9", "plink2"):
        said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
        found[tool] = re.sub(r"^PLINK v?|\s+\(.*", "", said.strip())
    return found


# ---- all pairs ----


def all_pairs(folder: Path) -> list[Row]:
    """Every pair of the panel with r2 >= 0.1, by ld-tile and by plink 1.9."""
    make(folder, ("bams3", "ld-import", "panel.vcf", "panel.ldp", "--quiet"))
    make(folder, ("plink1.9", "--vcf", "panel.vcf", *TO_PLINK))
    ours = ("bams3", "ld-tile", "panel.ldp", "ours.parquet", "--threads", str(THREADS), "--quiet", "--force")
    rows = took(
        [
            Entry("all pairs", "bams3", (ours,), "phased"),
            Entry("all pairs", "bams3", ((*ours, "--unphased"),), "unphased"),
            Entry("all pairs", "plink1.9 --r2", ((*PLINK, "--r2", "gz", *FAR),), "unphased"),
        ],
        folder,
    )
    told = json.loads(printed(folder, ("bams3", "ld-plan", "panel.ldp", "--json")))
    return [{"of": "pairs", "pairs": told["plan"]["pairs"], **row} for row in rows]


def make(folder: Path, *commands: Command) -> None:
    """Run commands that are not measured."""
    harness.run_all(Entry("", "", commands, ""), folder)


def printed(folder: Path, command: Command) -> str:
    """What a command prints."""
    return harness.run_all(Entry("", "", (command,), ""), folder).printed[0].decode()


# ---- the kernel alone ----


def kernels(folder: Path) -> list[Row]:
    """Pairs a second of one core, in each set of instructions, and of how many popcounts a cycle that is.

    Pairs of the first variants of the panel, of which hardly any passes; partial ones lack the first sample.
    """
    import numpy as np

    from bams3.kernels.ld import instruction_sets, pairs
    from bams3.ld.blocks import as_columns, as_rows, form_of
    from bams3.panel.stored import open_panel
    from bams3.variants import Planes

    panel = open_panel(str(folder / "panel.ldp"))
    whole = panel.planes(0, SIDE)
    gap = np.zeros_like(whole.first)
    gap[:, 0] = 1
    partial = Planes(whole.first & ~gap, whole.second & ~gap, gap, None)
    spans = np.zeros(SIDE, np.uint64), np.full(SIDE, SIDE, np.uint64)
    rows = []
    for planes in (whole, partial):
        for is_phased in (True, False):
            form = form_of(len(panel.samples), planes, planes, is_phased=is_phased)
            sides = as_rows(planes, form), as_columns(planes, form)
            for name in instruction_sets():
                n, start_s = 0, time.thread_time()
                while (spent_s := time.thread_time() - start_s) < LEAST_S:
                    pairs(form, *sides, spans, min_r2=(999_999, 1_000_000), instructions=name)
                    n += SIDE * SIDE
                sums = (4 if is_phased else 7) if form.has_known else (1 if is_phased else 2)
                popcounts = n / spent_s * sums * form.plane_words / WORDS_AT_ONCE[name]
                how = {"form": "phased" if is_phased else "unphased", "partial": form.has_known}
                rate = {"pairs_per_s": round(n / spent_s), "popcounts_per_s": round(popcounts)}
                rows.append({"of": "kernel", "instructions": name, **how, **rate, "mhz": mhz()})
    return rows


def mhz() -> float:
    """The clock of a core, as the system tells it."""
    found = re.findall(r"^cpu MHz\s*: ([0-9.]+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return float(max(found, default="nan"))


# ---- import ----


def imports(folder: Path) -> list[Row]:
    """A BCF to a panel, and to a .bed by plink2."""
    ours = ("bams3", "ld-import", "panel.bcf", "imported.ldp", "--quiet")
    theirs = ("plink2", "--bcf", "panel.bcf", "--max-alleles", "2", "--make-bed", "--out", "plink2")
    entries = [
        Entry("import", "bams3", (ours,), "", ("imported.ldp",)),
        Entry("import", "plink2", ((*theirs, "--allow-extra-chr", "--threads", str(THREADS)),), ""),
    ]
    return [{"of": "import", **row} for row in took(entries, folder)]


# ---- memory ----


def tiles(folder: Path) -> list[Row]:
    """Memory of a tile of 10, 45 and 105 of a million variants, beside what the plan promises.

    They are those of the panel again and again, as .bed.
    """
    variants = 1_000_000
    bed, bim = (folder / f"plink.{end}" for end in ("bed", "bim"))
    lines, codes = bim.read_text().splitlines(), bed.read_bytes()[3:]
    with (folder / "large.bed").open("wb") as out:
        out.write(b"\x6c\x1b\x01")
        size = len(codes) // len(lines)
        for first in range(0, variants, len(lines)):
            out.write(codes[: min(len(lines), variants - first) * size])
    with (folder / "large.bim").open("w") as out_lines:
        out_lines.writelines(f"1\tv{k}\t0\t{k + 1}\tC\tA\n" for k in range(variants))
    (folder / "large.fam").symlink_to(folder / "plink.fam")
    make(folder, ("bams3", "ld-import", "large.bed", "large.ldp", "--quiet"))
    rows = []
    for n in (10, 45, 105):
        told = json.loads(
            printed(folder, ("bams3", "ld-plan", "large.ldp", "--tiles", str(n), "--json", "--threads", "2"))
        )
        command = (
            "bams3",
            "ld-tile",
            "large.ldp",
            "tile.parquet",
            "--tiles",
            str(n),
            "--tile",
            "2",
            "--threads",
            "2",
            "--force",
            "--quiet",
            "--min-r2",
            "1",
        )
        row = took([Entry("tile", "bams3", (command,), f"2 of {n}")], folder, 1)[0]
        rows.append(
            {
                "of": "tile",
                "tiles": n,
                "promised_bytes": told["tiles"][1]["memory_bytes"],
                "pairs": told["tiles"][1]["pairs"],
                **row,
            }
        )
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
