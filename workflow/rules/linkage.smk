# Linkage disequilibrium: which panel, and which pairs of its variants, as the config says it.

import re
from pathlib import Path

from snakemake.exceptions import WorkflowError

#: How the names of PLINK files end; what is imported is named by the first.
PLINK = {"bfile": (".bed", ".bim", ".fam"), "pfile": (".pgen", ".pvar", ".psam")}
#: What a worker needs for a tile where the config does not say it.
MAX_MEMORY = "1G"
#: Memory of a job beside its workers' (MB): the process that hands them tiles, and what the system counts.
BESIDE_MB = 200


def genotypes():
    """What a panel is made of, file by file. What lies in S3 is read by bams3, which no rule need wait for."""
    ld = config["ld"]
    found = {"vcf": [ld["vcf"]]} if "vcf" in ld else {}
    for key, suffixes in PLINK.items():
        if key in ld:
            found[key] = [there_or_packed(f"{ld[key]}{suffix}") for suffix in suffixes]
    if "samples" in ld:
        found["samples"] = [ld["samples"]]
    return check_files("ld", found)


def there_or_packed(path):
    """The path, or that of the file as PLINK 2 packs a .pvar, where only this is there."""
    packed = f"{path}.zst"
    return packed if Path(packed).exists() and not Path(path).exists() else path


def import_options():
    """What is imported, and what of it, as arguments of `bams3 ld-import`; the panel's place comes before them."""
    ld = config["ld"]
    options = [ld["vcf"]] if "vcf" in ld else []
    options += [
        f"{ld[key]}{suffixes[0]}" for key, suffixes in PLINK.items() if key in ld
    ]
    for region in ld.get("regions", []):
        options += ["--region", region]
    for key in ("samples", "maf", "multiallelic"):
        options += option(key, ld)
    return options


def panel():
    """The panel: the config's, or the one that is made of its genotypes."""
    if "panel" not in config["ld"] and not SHARES_DISK:
        raise WorkflowError(
            "config, key ld: jobs share no disk, on which a panel could be made: make it with"
            " `bams3 ld-import GENOTYPES s3://...`, and give ld.panel"
        )
    return config["ld"].get("panel", "results/ld/panel.ldp")


def manifest_of_panel():
    """The panel's manifest, where it is a file."""
    manifest = local([f"{panel().rstrip('/')}/_metadata.json"])
    return (
        check_files("ld", {"panel": manifest}) if "panel" in config["ld"] else manifest
    )


def ld_options():
    """The panel, its tiles and which pairs are kept, as arguments of `bams3 plan`."""
    ld = config["ld"]
    work = address(config["work"].rstrip("/"))
    options = ["--ld", address(panel()), "--work", f"{work}/ld"]
    options += option("tiles", ld) or ["--max-memory", ld.get("max_memory", MAX_MEMORY)]
    for key in ("slices", "max_distance", "max_variants", "min_r2", "max_p"):
        options += option(key, ld)
    for key in ("inter_chr", "unphased", "em", "counts"):
        options += flag(key, ld)
    return options


def decay_options():
    """The panel, and how mean r2 by distance is computed, as arguments of `bams3 ld-decay`."""
    ld = config["ld"]
    return [address(panel())] + option("max_distance", ld) + drawn_variants(ld)


def draw_options(wildcards):
    """The panel and a region of it, as arguments of `bams3 ld-plot`."""
    region = REGIONS_OF_LD[wildcards.name]
    return [address(panel()), "--region", region] + drawn_variants(config["ld"])


def drawn_variants(ld):
    """Which variants figures are of, and how they are compared."""
    return ["--maf", str(ld["draw_maf"])] + flag("unphased", ld)


def drawn_regions():
    """Regions that are drawn, by the name of their figures."""
    regions = config["ld"].get("draw", [])
    found = {re.sub(r"[^A-Za-z0-9._+-]", "_", region): region for region in regions}
    if len(found) < len(regions):
        raise WorkflowError(
            f"config, key ld.draw: figures of two of {', '.join(regions)} have the same name"
        )
    return found


def figures_of_ld(name, caption, **labels):
    """The figures of one name by form; the report shows that which is PNG."""
    shown = report(
        f"{name}.png",
        caption=f"../report/{caption}.rst",
        category="Linkage disequilibrium",
        labels=labels,
    )
    return {"png": shown, "svg": f"{name}.svg"}


def slice_mem_mb(wildcards, attempt, threads):
    """Memory of a slice: what each worker may need, twice as much with each try."""
    del wildcards
    size = config["ld"].get("max_memory", MAX_MEMORY)
    worker_mb = int(size[:-1]) * (1024 if size.endswith("G") else 1)
    return (BESIDE_MB + threads * worker_mb) * 2 ** (attempt - 1)


REGIONS_OF_LD = drawn_regions()
