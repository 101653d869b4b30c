"""Small panels for tests, and counts of their genotypes by the plainest means: text, one call at a time."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pysam

from bams3.genotype_counts import GENOTYPES, CountBlock
from bams3.panel import AA, AB, BB, MISSING

HEADER = """##fileformat=VCFv4.3
##contig=<ID=1,length=100000000>
##contig=<ID=X,length=100000000>
##INFO=<ID=END,Number=1,Type=Integer,Description="Last position, which pysam gives symbolic alleles">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">
"""
FIXED = "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".split()

CHR22 = "geno/1kg-phaseIII-v5a.20130502.genotypes.chr22-16-16.5mb.vcf.gz"
CHR20 = "geno/1kgp3_chr20_subset_20k.bcf"

Tables = dict[str, dict[str, tuple[int, ...]]]
"""Of every probeset, of every plate: the numbers of AA, AB, BB and NC."""


def vcf_text(samples: Sequence[str], rows: Iterable[str]) -> str:
    """A VCF of rows such as ``1 100 rs1 A G 0/1 1|1``: contig, position, id, ref, alt, genotypes."""
    lines = ["\t".join([*FIXED, *samples] if samples else FIXED[:-1])]
    for row in rows:
        contig, pos, name, ref, alt, *calls = row.split()
        lines.append("\t".join([contig, pos, name, ref, alt, ".", ".", ".", "GT", *calls]))
    return HEADER + "".join(line + "\n" for line in lines)


def write_vcf(path: Path, samples: Sequence[str], rows: Iterable[str]) -> Path:
    """A VCF of rows, as text, BGZF or BCF: the name says which."""
    text = vcf_text(samples, rows)
    if path.suffix == ".vcf":
        path.write_text(text)
        return path
    plain = path.with_name(path.name + ".plain.vcf")
    plain.write_text(text)
    with (
        pysam.VariantFile(str(plain)) as source,
        pysam.VariantFile(str(path), "wb" if path.suffix == ".bcf" else "wz", header=source.header) as out,
    ):
        for record in source:
            out.write(record)
    return path


def code_of(call: str) -> int:
    """The code of a genotype as VCF writes it."""
    alleles = re.split(r"[/|]", call.split(":", 1)[0].lstrip("/|"))
    if "." in alleles:
        return MISSING
    return {("0",): AA, ("1",): BB, ("0", "1"): AB}[tuple(sorted(set(alleles)))]


def tables_of_text(text: str, plates: Mapping[str, str]) -> Tables:
    """The tables of a VCF, call by call."""
    samples: list[str] = []
    tables: Tables = {}
    for line in text.splitlines():
        cells = line.split("\t")
        if line.startswith("#CHROM"):
            samples = cells[9:]
        if line.startswith("#") or "," in cells[4]:
            continue
        name = cells[2] if cells[2] != "." else "_".join((cells[0], cells[1], cells[3], cells[4]))
        has_calls = len(cells) > 8 and cells[8].split(":")[0] == "GT"
        calls = cells[9:] if has_calls else ["."] * len(samples)
        found = Counter((plates[s], code_of(c)) for s, c in zip(samples, calls, strict=True) if s in plates)
        on = sorted({plates[s] for s in samples if s in plates}, key=str.encode)
        tables[name] = {plate: tuple(found[plate, code] for code in range(4)) for plate in on}
    return tables


def tables_of(blocks: Iterable[CountBlock]) -> Tables:
    """The tables of blocks, each checked to be what CountBlock promises."""
    return dict(_each_table(blocks))


def _each_table(blocks: Iterable[CountBlock]) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    for block in blocks:
        assert block.start.dtype == "uint64"
        assert block.batch.dtype == block.counts.dtype == "int32"
        assert len(block.start) == len(block.probesets) + 1
        assert block.counts.shape == (len(block.batch), len(GENOTYPES))
        assert block.counts.flags.c_contiguous
        for p, name in enumerate(block.probesets):
            rows = range(int(block.start[p]), int(block.start[p + 1]))
            names = [block.batches[block.batch[r]] for r in rows]
            assert names == sorted(set(names), key=str.encode)
            yield name, {n: tuple(block.counts[r].tolist()) for n, r in zip(names, rows, strict=True)}


def write_plink(
    prefix: Path, people: Sequence[tuple[str, str]], sites: Sequence[str], codes: Sequence[Sequence[int]]
) -> Path:
    """A PLINK 1 fileset; people are FID and IID, sites are lines of the .bim, codes those of bams3.panel."""
    bits = {BB: 0, MISSING: 1, AB: 2, AA: 3}
    data = bytearray(b"\x6c\x1b\x01")
    for row in codes:
        for at in range(0, len(row), 4):
            data.append(sum(bits[code] << 2 * k for k, code in enumerate(row[at : at + 4])))
    prefix.with_name(prefix.name + ".bed").write_bytes(data)
    prefix.with_name(prefix.name + ".bim").write_text("".join(site + "\n" for site in sites))
    fam = "".join(f"{fid} {iid} 0 0 0 -9\n" for fid, iid in people)
    prefix.with_name(prefix.name + ".fam").write_text(fam)
    return prefix


def write_pgen(prefix: Path, rows: Sequence[str], sexes: Sequence[int]) -> None:
    """A .pgen of rows ``CONTIG POS ID REF ALT CALLS...`` of diploid calls."""
    import numpy as np
    import pgenlib

    cells = [row.split() for row in rows]
    most = max(1 + row[4].count(",") + 1 for row in cells)
    writer = pgenlib.PgenWriter(
        str(prefix.with_suffix(".pgen")).encode(),
        len(sexes),
        variant_ct=len(rows),
        nonref_flags=False,
        allele_ct_limit=most,
        hardcall_phase_present=True,
    )
    for row in cells:
        alleles = [-9 if a == "." else int(a) for call in row[5:] for a in call.replace("|", "/").split("/")]
        known = np.array(["|" in call for call in row[5:]])
        writer.append_partially_phased(np.array(alleles, np.int32), known, row[4].count(",") + 2)
    writer.close()
    prefix.with_suffix(".pvar").write_text(
        "##a comment\n#CHROM\tPOS\tID\tREF\tALT\n" + "".join("\t".join(row[:5]) + "\n" for row in cells)
    )
    fam = "".join(f"f\ti{k}\t0\t0\t{sex}\t-9\n" for k, sex in enumerate(sexes))
    prefix.with_suffix(".psam").write_text("#FID\tIID\tPAT\tMAT\tSEX\tPHENO1\n" + fam)


def populations(folder: Path) -> dict[str, str]:
    """The population of every sample of the 1000 Genomes."""
    lines = (folder / "geno/integrated_call_samples_v3.20130502.ALL.panel").read_text().splitlines()
    return {line.split()[0]: line.split()[1] for line in lines[1:]}
