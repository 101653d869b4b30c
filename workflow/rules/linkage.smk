# Linkage disequilibrium: which panel, and which pairs of its variants, as the config says it.

#: What a worker needs for a tile where the config does not say it.
MAX_MEMORY = "1G"
#: Memory of a job beside its workers' (MB): the process that hands them tiles, and what the system counts.
BESIDE_MB = 200


def genotypes():
    """What a panel is made of, file by file. What lies in S3 is read by bams3, which no rule need wait for."""
    ld = config["ld"]
    found = {"vcf": [ld["vcf"]]} if "vcf" in ld else {}
    if "bfile" in ld:
        found["bfile"] = [
            f"{ld['bfile']}{suffix}" for suffix in (".bed", ".bim", ".fam")
        ]
    if "samples" in ld:
        found["samples"] = [ld["samples"]]
    return check_files("ld", found)


def import_options():
    """What is imported, and what of it, as arguments of `bams3 ld-import`; the panel's place comes before them."""
    ld = config["ld"]
    options = [ld["vcf"] if "vcf" in ld else f"{ld['bfile']}.bed"]
    for region in ld.get("regions", []):
        options += ["--region", region]
    for key in ("samples", "maf", "multiallelic"):
        options += option(key, ld)
    return options


def panel():
    """The panel: the config's, or the one that is made of its genotypes."""
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
    options = ["--ld", panel(), "--work", f"{config['work'].rstrip('/')}/ld"]
    options += option("tiles", ld) or ["--max-memory", ld.get("max_memory", MAX_MEMORY)]
    for key in ("slices", "max_distance", "max_variants", "min_r2", "max_p"):
        options += option(key, ld)
    for key in ("inter_chr", "unphased", "em", "counts"):
        options += flag(key, ld)
    return options


def slice_mem_mb(wildcards, attempt, threads):
    """Memory of a slice: what each worker may need, twice as much with each try."""
    del wildcards
    size = config["ld"].get("max_memory", MAX_MEMORY)
    worker_mb = int(size[:-1]) * (1024 if size.endswith("G") else 1)
    return (BESIDE_MB + threads * worker_mb) * 2 ** (attempt - 1)
