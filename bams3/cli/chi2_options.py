"""The options of tests of homogeneity, which ``chi2-batch`` and ``plan`` share."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import click

from ..chi2.twotier import Options
from ..errors import InputError
from .option_groups import Decorator, OptionTable, as_one


class Chi2Tests(NamedTuple):
    """How tables are tested; ``given`` are the options that the command line has."""

    options: Options
    sum_duplicates: bool
    given: tuple[str, ...]


_SEEDS = 1 << 63

_OPTIONS: OptionTable = (
    (
        ("--min-expected-count",),
        {
            "type": click.FloatRange(0),
            "default": 5.0,
            "show_default": True,
            "help": "Permute where an expected count is below this; elsewhere the chi-square tail is taken.",
        },
    ),
    (
        ("--adaptive/--no-adaptive",),
        {
            "default": True,
            "help": "Stop drawing tables after 10 as far out as the one seen (Besag and Clifford 1991)"
            " [adaptive].",
        },
    ),
    (
        ("--max-simulations",),
        {
            "type": click.IntRange(1, 10**12),
            "metavar": "N",
            "help": "Draw at most so many tables for a probeset [1000000].",
        },
    ),
    (
        ("--n-simulations",),
        {
            "type": click.IntRange(1, 10**12),
            "metavar": "N",
            "help": "With --no-adaptive: draw so many tables [10000].",
        },
    ),
    (
        ("--random-seed",),
        {"type": int, "default": 1, "show_default": True, "help": "Seed of the random numbers."},
    ),
    (("--exclude-no-call",), {"is_flag": True, "help": "Leave samples without a call (NC) out."}),
    (("--sum-duplicates",), {"is_flag": True, "help": "Add up rows of the same probeset and batch."}),
)


def chi2_options(before_help: str = "") -> Decorator:
    """Give a command the options of the tests, as the one argument ``tests``; help as ``as_one``."""
    return as_one(_OPTIONS, "tests", _tests, before_help)


def _tests(values: dict[str, Any], given: tuple[str, ...]) -> Chi2Tests:
    """The tests that options ask for."""
    sum_duplicates = values.pop("sum_duplicates")
    adaptive, most, n = (values[name] for name in ("adaptive", "max_simulations", "n_simulations"))
    if adaptive and n is not None:
        hint = "adaptive drawing stops by itself, at --max-simulations at the latest; or give --no-adaptive"
        raise InputError("--n-simulations is for --no-adaptive", kind="usage", hint=hint)
    if not adaptive and most is not None:
        raise InputError("--max-simulations is for --adaptive", kind="usage", hint="give --n-simulations")
    if not -_SEEDS <= values["random_seed"] < _SEEDS:
        raise InputError(f"--random-seed {values['random_seed']}: more than 64 bits", kind="usage")
    if math.isinf(values["min_expected_count"]):  # no JSON, which summaries and plans are
        hint = "1e300 is below it, and permutes every table too"
        raise InputError("--min-expected-count inf: not a number", kind="usage", hint=hint)
    options = Options(**{name: value for name, value in values.items() if value is not None})
    return Chi2Tests(options, sum_duplicates, given)
