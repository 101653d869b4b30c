"""Stored panels of made-up calls, the same calls as plink's files, and plink 1.9."""

import subprocess
from pathlib import Path

import numpy as np
from commands import run
from ld_twins import MISSING, random_calls
from panels import write_vcf

from bams3.panel.stored import StoredPanel, open_panel


def text_of(call, is_phased):
    """A call as VCF has it."""
    if call == MISSING:
        return "./."
    first, second = call
    return str(first) if second is None else f"{first}{'|' if is_phased else '/'}{second}"


def write_calls(folder: Path, calls, contig, start_bp, *, is_phased=False, ids=None) -> Path:
    """A VCF of calls, whose ids are v0, v1 ..."""
    V, S = len(calls), len(calls[0])
    phased = np.broadcast_to(np.asarray(is_phased), V)
    rows = [
        f"{contig[v]} {start_bp[v] + 1} {ids[v] if ids else f'v{v}'} A C "
        + " ".join(text_of(call, phased[v]) for call in calls[v])
        for v in range(V)
    ]
    return write_vcf(folder / "calls.vcf", [f"s{s}" for s in range(S)], rows)


def stored(vcf: Path, *options) -> Path:
    """The panel of a VCF or BCF."""
    panel = vcf.with_name("calls.ldp")
    assert run("ld-import", vcf, panel, "--quiet", *options).code == 0
    return panel


def panel_of(folder: Path, calls, contig, start_bp, **how) -> StoredPanel:
    """A panel of calls, open."""
    return open_panel(str(stored(write_calls(folder, calls, contig, start_bp, **how))))


def made_up(seed: int, variants: int, samples: int, missing: float = 0.0, haploid: float = 0.0):
    """Calls of neighbours in LD, two contigs ``1`` and ``X``, positions in kb of which some are the same."""
    rng = np.random.default_rng(seed)
    calls = random_calls(rng, variants, samples, missing=missing, haploid=haploid)
    for v in rng.integers(1, variants, variants // 4):  # twins: equal frequencies, r2 of 1
        calls[v] = list(calls[v - 1])
    calls[0] = [(0, 0)] * samples
    calls[variants // 2] = [(1, 1)] * samples
    calls[variants // 3] = [(0, 1)] * samples
    first = variants * 2 // 3
    contig = ["1"] * first + ["X"] * (variants - first)
    start_bp = [*np.sort(rng.integers(0, 60, first)), *np.sort(rng.integers(0, 60, variants - first))]
    return calls, contig, [int(bp) * 500 for bp in start_bp]


def plink(folder: Path, *options, out="plink") -> None:
    """Run plink 1.9 there, with results in plink.*, or of another name."""
    words = ["plink1.9", "--allow-extra-chr", "--allow-no-sex", "--out", out, *map(str, options)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def plink_files(vcf: Path) -> Path:
    """A VCF as plink's files."""
    prefix = vcf.with_name("files")
    plink(vcf.parent, "--vcf", vcf, "--double-id", "--make-bed", out=prefix.name)
    return prefix
