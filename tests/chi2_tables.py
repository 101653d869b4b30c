"""Tables as chi2-batch writes them, for the tests of what reads them."""

import numpy as np
import pyarrow as pa
from pyarrow import csv

from bams3.chi2.twotier import METHODS

COLUMNS = (
    "probeset_id chi2_statistic pvalue dof method n_batches total_samples n_simulations error"
    " excluded_genotypes qvalue cramers_v worst_batch worst_residual pvalue_no_call mc_se"
).split()


def table_of(n, seed=1):
    """A table as chi2-batch writes it, of probesets of all methods in eight batches of which one is bad."""
    chance = np.random.default_rng(seed)
    pvalue = chance.uniform(size=n)
    pvalue[: n // 20] = 10.0 ** -chance.uniform(5, 60, n // 20)
    worst = np.where(np.arange(n) < n // 20, "plate_3", np.char.add("plate_", (np.arange(n) % 8).astype(str)))
    method = np.array(METHODS)[chance.choice(4, n, p=[0.7, 0.2, 0.05, 0.05])]
    none = method == "skipped"
    simulated = method == "monte_carlo"
    pvalue[simulated] = (np.floor(pvalue[simulated] * 1000) + 1) / 1001
    found = {
        "probeset_id": [f"AX-{i}" for i in range(n)],
        "pvalue": pa.array(pvalue, mask=none),
        "method": method,
        "n_batches": pa.array(np.full(n, 8), mask=none),
        "n_simulations": pa.array(np.full(n, 1000), mask=~simulated),
        "qvalue": pa.array(np.minimum(pvalue * 20, 1), mask=none),
        "worst_batch": pa.array(worst, mask=none),
    }
    others = pa.nulls(n, pa.string())
    return pa.table({name: found.get(name, others) for name in COLUMNS})


def write_tsv(table, path):
    csv.write_csv(table, path, csv.WriteOptions(delimiter="\t", quoting_style="none"))
    path.write_text(path.read_text().replace('"', ""))  # the names of columns are quoted nevertheless
    return path
