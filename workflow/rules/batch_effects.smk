# Tests for batch effects: what is tested and how, as the config says it.

#: Figures of `bams3 chi2-plot`, and their labels in the report.
FIGURES = {"qq": "QQ plot", "pvalues": "p-values", "batches": "worst batches"}


def tested_files():
    """What is tested, file by file. What lies in S3 is read by bams3, which no rule need wait for."""
    chi2 = config["chi2"]
    found = {key: [chi2[key]] for key in ("counts", "vcf", "plates") if key in chi2}
    if "bfile" in chi2:
        found["bfile"] = [
            f"{chi2['bfile']}{suffix}" for suffix in (".bed", ".bim", ".fam")
        ]
    return check_files("chi2", found)


def chi2_options():
    """What is tested and how, as arguments of `bams3 chi2-batch`; what the config does not say is left to it."""
    chi2 = config["chi2"]
    options = [address(chi2["counts"])] if "counts" in chi2 else []
    for key in ("vcf", "bfile", "plates"):
        options += [f"--{key}", address(chi2[key])] if key in chi2 else []
    for key in ("min_expected_count", "max_simulations"):
        options += option(key, chi2)
    options += option("n_simulations", chi2) + option("random_seed", chi2)
    options += [] if chi2.get("adaptive", True) else ["--no-adaptive"]
    for key in ("exclude_no_call", "sum_duplicates"):
        options += flag(key, chi2)
    return options


def slices_of_tests(suffix):
    """Files of all slices, by how their names end."""
    n = config["chi2"]["slices"]
    return [f"results/chi2/slices/{i}-of-{n}{suffix}" for i in range(1, n + 1)]


def figures():
    """The figures by name; the report shows those that are PNG."""
    found = {f"{name}_svg": f"results/chi2.{name}.svg" for name in FIGURES}
    for name, label in FIGURES.items():
        found[f"{name}_png"] = report(
            f"results/chi2.{name}.png",
            caption=f"../report/chi2_{name}.rst",
            category="Batch effects",
            labels={"result": label},
        )
    return found
