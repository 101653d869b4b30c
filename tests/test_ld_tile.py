"""bams3 ld-tile and ld-merge as users run them: tiles, slices, all at once; and what goes wrong."""

import csv
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import run
from ld_twins import MISSING, random_calls, statistics

from bams3.ld.merge import METADATA_KEY
from bams3.ld.table import COLUMNS

SAMPLES, CONTIGS = 60, {"chr1": 70, "chr2": 1, "chrX": 39}


def text_of(call, is_phased):
    if call == MISSING:
        return "."
    return str(call[0]) if call[1] is None else f"{call[0]}{'|' if is_phased else '/'}{call[1]}"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A VCF of three contigs, its panel, and its calls by (contig, position)."""
    folder, rng = tmp_path_factory.mktemp("ld"), np.random.default_rng(8)
    lines = ["##fileformat=VCFv4.3", '##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">']
    lines += [f"##contig=<ID={name},length=1000000>" for name in CONTIGS]
    head = "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".split()
    lines.append("\t".join([*head, *(f"s{k}" for k in range(SAMPLES))]))
    calls = {}
    for name, n in CONTIGS.items():
        haploid = 0.4 if name == "chrX" else 0.0
        own = random_calls(rng, n, SAMPLES, missing=0.02, haploid=haploid)
        for k, (row, at) in enumerate(zip(own, np.sort(rng.choice(9000, n, replace=False)), strict=True)):
            is_phased = bool(k % 5)
            genotypes = "\t".join(text_of(call, is_phased) for call in row)
            lines.append(f"{name}\t{at + 1}\t{name}v{k}\tA\tC\t.\t.\t.\tGT\t{genotypes}")
            hets = any(call[1] is not None and call[0] != call[1] for call in row)
            calls[f"{name}v{k}"] = (row, is_phased or not hets, name, at + 1)
    (folder / "study.vcf").write_text("\n".join(lines) + "\n")
    done = run("ld-import", folder / "study.vcf", folder / "study.ldp", "--quiet")
    assert done.code == 0, done.err
    return folder, calls


@pytest.fixture(scope="module")
def whole(study):
    """All pairs at once."""
    folder, _ = study
    path = folder / "whole.parquet"
    succeeds("ld-tile", folder / "study.ldp", path)
    return path


def succeeds(*arguments):
    done = run(*arguments)
    assert done.code == 0, done.err
    return done


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


# ---- what comes out ----


def test_a_table_tells_of_every_pair_what_brute_force_finds(study, tmp_path):
    folder, calls = study
    succeeds("ld-tile", folder / "study.ldp", tmp_path / "all.tsv", "--min-r2", "0.05", "--quiet")
    rows = {(row["id_a"], row["id_b"]): row for row in rows_of(tmp_path / "all.tsv")}
    assert list(next(iter(rows.values()))) == list(COLUMNS)
    names, seen = list(calls), 0
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            (x, phased_x, contig, pos_a), (y, phased_y, other, pos_b) = calls[a], calls[b]
            found = statistics(x, y, is_phased=phased_x and phased_y) if contig == other else None
            if not found or found[1] < Fraction(1, 20):
                assert (a, b) not in rows
                continue
            row, seen = rows[a, b], seen + 1
            n, r2, r, d, dprime, p = found
            assert [row[name] for name in ("chrom_a", "pos_a", "chrom_b", "pos_b", "n", "phased")] == [
                contig,
                str(pos_a),
                other,
                str(pos_b),
                str(n),
                str(phased_x and phased_y).lower(),
            ]
            for name, value in (("r2", r2), ("r", r), ("d", d), ("dprime", dprime)):
                assert float(row[name]) == pytest.approx(float(value), abs=2e-6), (a, b, name)
            assert float(row["p"]) == pytest.approx(p, rel=1e-6)
    assert seen == len(rows) > 300


def test_parquet_holds_what_text_holds(study, whole, tmp_path):
    folder, _ = study
    succeeds("ld-tile", folder / "study.ldp", tmp_path / "out.tsv")
    table = pq.read_table(whole)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    rows = rows_of(tmp_path / "out.tsv")
    assert len(rows) == table.num_rows > 100
    for row, other in zip(table.to_pylist(), rows, strict=True):
        assert {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in row.items()
        } == {
            name: text if COLUMNS[name] in ("string", "bool") else type(row[name])(text)
            for name, text in other.items()
        }
    told = json.loads(pq.read_metadata(whole).metadata[METADATA_KEY.encode()])
    assert (told["pairs"], told["kept"]) == (70 * 69 // 2 + 39 * 38 // 2, table.num_rows)


def test_haplotypes_are_counted_when_asked(study, tmp_path):
    folder, calls = study
    succeeds("ld-tile", folder / "study.ldp", tmp_path / "out.tsv", "--counts")
    for row in rows_of(tmp_path / "out.tsv"):
        counts = [float(row[name]) for name in ("ref_ref", "ref_alt", "alt_ref", "alt_alt")]
        if row["phased"] == "true":
            x, y = calls[row["id_a"]][0], calls[row["id_b"]][0]
            both = [(a, b) for a, b in zip(x, y, strict=True) if MISSING not in (a, b)]
            pairs = [(i, j) for a, b in both for i, j in zip(a, b, strict=True) if None not in (i, j)]
            assert counts == [pairs.count(pair) for pair in ((0, 0), (0, 1), (1, 0), (1, 1))]


# ---- tiles ----


@pytest.mark.parametrize("tiles", [3, 6, 10, 45])
def test_merged_tiles_are_the_single_run_byte_for_byte(study, whole, tmp_path, tiles):
    folder, _ = study
    succeeds("ld-tile", folder / "study.ldp", tmp_path / "cut.parquet", "--tiles", tiles)
    assert (tmp_path / "cut.parquet").read_bytes() == whole.read_bytes()
    for k in range(1, tiles + 1):
        succeeds("ld-tile", folder / "study.ldp", tmp_path / f"{k}.parquet", "-c", tiles, "-C", k)
    parts = [tmp_path / f"{k}.parquet" for k in range(tiles, 0, -1)]
    succeeds("ld-merge", *parts, "-o", tmp_path / "merged.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == whole.read_bytes()


def test_slices_of_tiles_merge_too(study, whole, tmp_path):
    folder, _ = study
    parts = [tmp_path / f"{i}.parquet" for i in range(1, 5)]
    for i, part in enumerate(parts, 1):
        succeeds("ld-tile", folder / "study.ldp", part, "--tiles", 10, "--slice", f"{i}/4")
    succeeds("ld-merge", *parts, "-o", tmp_path / "merged.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == whole.read_bytes()
    succeeds("ld-merge", *parts, "-o", tmp_path / "merged.tsv")
    succeeds("ld-tile", folder / "study.ldp", tmp_path / "whole.tsv")
    assert (tmp_path / "merged.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()


def test_workers_do_not_change_what_comes_out(study, whole, tmp_path):
    folder, _ = study
    for workers in (1, 3):
        succeeds("ld-tile", folder / "study.ldp", tmp_path / "out.parquet", "--workers", workers, "--force")
        assert (tmp_path / "out.parquet").read_bytes() == whole.read_bytes()


def test_what_is_done_is_not_done_again(study, tmp_path):
    folder, _ = study
    out = tmp_path / "tile.parquet"
    asked = ("ld-tile", folder / "study.ldp", out, "--tiles", 6, "--tile", 2)
    succeeds(*asked)
    before = out.stat().st_ino
    assert "is done" in succeeds(*asked).err
    assert out.stat().st_ino == before
    succeeds(*asked[:-1], 3)  # another tile takes its place
    assert out.stat().st_ino != before


def test_killed_tiles_run_again_and_merge(study, whole, tmp_path):
    folder, _ = study

    def tile(k, *, kill=False):
        out = tmp_path / f"{k}.parquet"
        command = [
            sys.executable,
            "-m",
            "bams3",
            "ld-tile",
            folder / "study.ldp",
            out,
            "-c",
            "45",
            "-C",
            str(k),
        ]
        process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE)
        if kill:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert kill or process.returncode == 0
        return out

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: tile(k, kill=k in (7, 20, 45)), range(1, 46)))
    refused = run("ld-merge", *(part for part in parts if part.exists()), "-o", tmp_path / "merged.parquet")
    assert refused.kind == "tiles-missing"
    assert "3 of 45 tiles are missing: 7, 20, 45" in refused.err
    for k in (7, 20, 45):
        tile(k)
    succeeds("ld-merge", *parts, "-o", tmp_path / "merged.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == whole.read_bytes()


# ---- what goes wrong ----


def test_a_damaged_part_is_never_merged(study, tmp_path):
    folder, _ = study
    parts = [tmp_path / f"{k}.parquet" for k in (1, 2, 3)]
    asked = ("ld-tile", folder / "study.ldp", parts[2], "--tiles", 3, "--tile", 3)
    for k, part in enumerate(parts, 1):
        succeeds(*asked[:2], part, "--tiles", 3, "--tile", k)
    succeeds("ld-merge", *parts, "-o", tmp_path / "sound.tsv")
    sound, chance = parts[2].read_bytes(), np.random.default_rng(1)
    receipt = sound.index(b'"kept": ') + 8
    for at in [receipt, *chance.integers(0, len(sound), 60).tolist()]:
        damaged = bytearray(sound)
        damaged[at] ^= int(chance.integers(1, 256))
        parts[2].write_bytes(damaged)
        done = run("ld-merge", *parts, "-o", tmp_path / "merged.tsv")
        same = (
            done.code == 0 and (tmp_path / "merged.tsv").read_bytes() == (tmp_path / "sound.tsv").read_bytes()
        )
        assert same or done.kind in ("damaged", "not-tiles"), (at, done.err)
    parts[2].write_bytes(sound[: len(sound) // 2])
    assert run("ld-merge", *parts, "-o", tmp_path / "merged.tsv").kind == "damaged"
    assert "is done" not in succeeds(*asked).err  # but made again
    assert parts[2].read_bytes() == sound


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        (("--tiles", 4), "bad-tiles", "do not make 4 tiles"),
        (("--tiles", 10, "--tile", 11), "no-such-tile", "there is no tile 11: they are 1 to 10"),
        (("--tiles", 10, "--tile", 0), "no-such-tile", "there is no tile 0"),
        (("--tiles", 10, "--tile", 1, "--slice", "1/2"), "usage", "exclude each other"),
        (("--min-r2", "1.5"), "usage", "least r2 is 1.5"),
        (("--min-r2", "0.1234567"), "usage", "at most six decimals"),
        (("--min-r2", "x"), "usage", "--min-r2 x: not a number"),
        (("--max-p", "2"), "usage", "largest P is 2"),
        (("--max-distance", "0"), "usage", "largest distance is 0"),
        (("--max-variants", "0"), "usage", "largest number of variants is 0"),
        (("--inter-chr", "--max-distance", "1M"), "usage", "have no distance"),
        (("--max-memory", "1M"), "too-little-memory", "1M is too little memory"),
        (("--tiles", 3, "--max-memory", "1G"), "usage", "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused(study, tmp_path, options, kind, words):
    folder, _ = study
    done = run("ld-tile", folder / "study.ldp", tmp_path / "out.parquet", *options)
    assert (done.kind, list(tmp_path.iterdir())) == (kind, [])
    assert words in done.err


def test_what_is_no_panel_is_refused(study, tmp_path):
    folder, _ = study
    assert run("ld-tile", folder, tmp_path / "out.parquet").kind == "not-a-panel"
    assert run("ld-tile", folder / "study.ldp", tmp_path / "out.csv").kind == "usage"
    done = run("ld-tile", folder / "study.ldp", tmp_path / "tile.tsv", "--tiles", 3, "--tile", 1)
    assert done.kind == "usage"
    assert "tiles are written as Parquet" in done.err


def test_tiles_that_do_not_belong_together_are_not_merged(study, whole, tmp_path):
    folder, _ = study
    out = tmp_path / "merged.parquet"
    for name, more in {
        "a": (3, "--tile", 1),
        "b": (6, "--tile", 2),
        "c": (3, "--tile", 2, "--min-r2", "0.2"),
    }.items():
        succeeds("ld-tile", folder / "study.ldp", tmp_path / f"{name}.parquet", "--tiles", *more)
    a, b, c = (tmp_path / f"{name}.parquet" for name in "abc")
    assert run("ld-merge", a, b, "-o", out).kind == "tile-mismatch"
    assert run("ld-merge", a, c, "-o", out).kind == "tile-mismatch"
    assert run("ld-merge", a, a, "-o", out).kind == "doubled-tile"
    assert run("ld-merge", a, whole, "-o", out).kind == "not-tiles"
    assert run("ld-merge", a, folder / "study.vcf", "-o", out).kind == "not-tiles"
    assert run("ld-merge", a, tmp_path / "none.parquet", "-o", out).kind == "no-such-file"
    assert not out.exists()


# What it takes ------------------------------------------------------------------------------------------

PEAK = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "bams3", *sys.argv[1:]], os.environ)
_, status, used = os.wait4(pid, 0)
print(status, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
def test_memory_is_what_the_plan_says_even_where_all_pairs_pass(tmp_path):
    V, S = 3000, 50
    alleles = np.random.default_rng(1).integers(0, 2, (V, S, 2)).tolist()
    calls = ("\t".join(f"{a}|{b}" for a, b in row) for row in alleles)
    rows = [f"1\t{v + 1}\tv{v}\tA\tC\t.\t.\t.\tGT\t{row}" for v, row in enumerate(calls)]
    head = "\t".join(
        ["#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".replace(" ", "\t"), *map(str, range(S))]
    )
    (tmp_path / "a.vcf").write_text("\n".join(["##fileformat=VCFv4.3", "##contig=<ID=1>", head, *rows, ""]))
    succeeds("ld-import", tmp_path / "a.vcf", tmp_path / "a.ldp", "--quiet")
    told = json.loads(run("ld-plan", tmp_path / "a.ldp", "--json", "--threads", "2").out)
    words = ["ld-tile", "a.ldp", "a.parquet", "--min-r2", "0", "--threads", "2", "--quiet"]
    done = subprocess.run([sys.executable, "-c", PEAK, *words], cwd=tmp_path, capture_output=True, check=True)
    status, peak_bytes = map(int, done.stdout.split())
    assert status == 0
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows > 0.99 * V * (V - 1) / 2
    assert peak_bytes <= told["tiles"][0]["memory_bytes"]
