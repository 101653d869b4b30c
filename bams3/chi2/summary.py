"""What a run of tests found in all: counts, how inflated statistics are, and the batches that stand out."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..arrow_files import write_results, write_tsv
from ..columns import Array
from ..errors import InputError
from ..files import is_there, replaced
from ..htslib import write_errors
from ..slices import parse_slice
from .results import schema
from .twotier import METHODS, Options

if TYPE_CHECKING:
    import pyarrow as pa

#: q-values below which probesets are counted; batches are ranked among those below the first.
MAX_Q = (0.05, 0.01)
#: The median of the chi-square distribution with one degree of freedom.
_MEDIAN = 0.45493642311957283


def genomic_control_lambda(pvalues: Array) -> float:
    """How inflated statistics are: the median of the chi-square quantiles (1 degree of freedom) of p-values.

    It is 1 under the null (Devlin and Roeder 1999); from p-values, as degrees of freedom differ. NaN where
    there are none.
    """
    known = pvalues[~np.isnan(pvalues)]
    if not known.size:
        return float("nan")
    places = [
        (known.size - 1) // 2,
        known.size // 2,
    ]  # quantiles fall as p-values grow: the middle is the same
    middle = np.maximum(np.partition(known, places)[places], sys.float_info.min)
    return float(np.mean([NormalDist().inv_cdf(p / 2) ** 2 for p in middle.tolist()])) / _MEDIAN


@dataclass
class Summary:
    """Counts over the probesets of a run.

    Attributes
    ----------
    given
        What was tested, as the user named it.
    which
        ``i/n`` of a slice; empty: all probesets.
    input
        Hash of what a slice is of, where it can be read again: its name may have stayed the same.
    empty_batches
        Batches of a probeset that were left out as they have no samples.
    errors
        Probesets that were not tested, by the reason.
    below_q
        Probesets by the q-value that they are below.
    worst_batches
        How often each batch is the worst one among those below the first of them, most often first.
    """

    given: str
    options: Options
    which: str = ""
    input: str = ""
    probesets: int = 0
    methods: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(METHODS, 0)))
    errors: Counter[str] = field(default_factory=Counter)
    draws: int = 0
    empty_batches: int = 0
    genomic_control_lambda: float | None = None
    below_q: dict[str, int] = field(default_factory=lambda: {str(q): 0 for q in MAX_Q})
    worst_batches: Counter[str] = field(default_factory=Counter)

    def add(self, table: pa.Table) -> None:
        """Take results, with their q-values."""
        import pyarrow.compute as pc  # noqa: PLC0415  # a tenth of a second

        self.probesets += table.num_rows
        self.methods.update(_counts(table["method"]))
        self.errors.update({why: n for why, n in _counts(table["error"]).items() if why})
        self.draws += pc.sum(table["n_simulations"]).as_py() or 0
        for q in self.below_q:
            self.below_q[q] += pc.sum(pc.less(table["qvalue"], float(q))).as_py() or 0
        far = table.filter(pc.less(table["qvalue"], MAX_Q[0]))
        self.worst_batches.update(_counts(far["worst_batch"]))

    def as_json(self) -> str:
        """For machines, and for ``chi2-merge``, which reads it again."""
        value = {"bams3": __version__, **vars(self), "options": asdict(self.options)}
        value["worst_batches"] = dict(self.worst_batches.most_common())
        return json.dumps(value, indent=1, allow_nan=False) + "\n"

    def as_text(self) -> str:
        """For people."""
        n_tested = self.probesets - self.methods["skipped"]
        lines = [f"{self.given}{f', slice {self.which}' if self.which else ''}: {self.probesets:,} probesets"]
        lines += [f"{n:>12,}  {method}" for method, n in self.methods.items()]
        lines += [f"{n:>12,}    {why}" for why, n in self.errors.most_common()]
        lines.append(f"{self.draws:>12,}  tables drawn")
        if self.empty_batches:
            lines.append(f"{self.empty_batches:>12,}  batches of a probeset without samples, left out")
        if not self.which and n_tested:
            share = [f"{n:>12,}  probesets of q < {q}: {n / n_tested:.2%}" for q, n in self.below_q.items()]
            lines += [*share, f"{self.genomic_control_lambda:>12.4f}  genomic-control lambda"]
            lines += [f"{n:>12,}  times the worst: {name}" for name, n in self.worst_batches.most_common(10)]
        return "\n".join(lines) + "\n"


def _counts(column: Any) -> Counter[str]:
    return Counter({row["values"]: row["counts"] for row in column.value_counts().to_pylist()})


def place_beside(path: Path, form: str) -> Path:
    """Where the summary of results lies: no name of results ends like it."""
    return path.with_name(f"{path.name}.summary.{form}")


def refuse_input_as_output(output: Path, inputs: Iterable[Path]) -> None:
    """InputError ``usage`` where results, or their summaries, would take the place of what is read."""
    for place in (output, place_beside(output, "txt"), place_beside(output, "json")):
        for path in inputs:
            if is_there(place) and is_there(path) and place.samefile(path):
                hint = "give results a name of their own"
                raise InputError(f"{place} is the input too", kind="usage", hint=hint)


def write_summary(summary: Summary, path: Path) -> None:
    """Write both forms beside the results' place."""
    for form, text in (("txt", summary.as_text()), ("json", summary.as_json())):
        place = place_beside(path, form)
        with replaced(place) as partial, write_errors(str(place)):
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # a name need not be UTF-8


def write_with_summary(tables: Iterator[pa.Table], summary: Summary, path: Path) -> None:
    """Write results, counted in the summary as they come, and that beside them; or results to stdout.

    The summary is in its place before the results are: who sees those has both.
    """
    if str(path) == "-":
        write_tsv(tables, schema(), sys.stdout.buffer)
        return

    def then_summary() -> Iterator[pa.Table]:
        yield from tables
        write_summary(summary, path)

    write_results(then_summary(), schema(), path)


def read_summary(path: Path) -> Summary:
    """The summary beside results.

    Raises
    ------
    InputError
        ``no-summary``: it is not there, or is none.
    """
    place = place_beside(path, "json")
    try:
        value = json.loads(place.read_text(encoding="utf-8"))
        value.pop("bams3")
        found = Summary(**{**value, "options": Options(**value["options"])})
        if found.which:
            parse_slice(found.which)
        if any(type(n) is not int for n in (found.probesets, found.empty_batches)):
            raise TypeError("not numbers")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError) as err:
        hint = "chi2-batch --slice writes it beside its results: keep the two together"
        raise InputError(f"{place}: no summary of {path.name}", kind="no-summary", hint=hint) from err
