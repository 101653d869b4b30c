"""Options that the commands of LD share: which pairs there are, and which of them are kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import click

from ..errors import InputError
from ..ld.pairs import Rule
from ..ld.tiles import Limits
from ..regions import parse_bp, parse_bytes
from .option_groups import Decorator, OptionTable, as_one, parameter

#: As far as any two variants are apart: a larger limit is as good as this.
_MOST = (1 << 31) - 1

F = TypeVar("F", bound=Callable[..., Any] | click.Command)


class Share(click.ParamType[Fraction]):
    """A number as it is written, without rounding."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        del ctx
        try:
            return Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            name = param.opts[0] if param else "a number"
            raise InputError(f"{name} {value}: not a number", kind="usage", hint="give 0 to 1") from None


_OPTIONS: OptionTable = (
    (
        ("--max-distance",),
        {"metavar": "BP", "help": "Pair variants at most so far apart, such as 500kb or 1M."},
    ),
    (
        ("--max-variants",),
        {"type": int, "metavar": "N", "help": "Pair a variant with at most so many that follow."},
    ),
    (("--inter-chr",), {"is_flag": True, "help": "Pair variants of different contigs too."}),
    (
        ("--min-r2",),
        {"type": Share(), "default": "0.1", "show_default": True, "help": "Keep pairs of this r2 or more."},
    ),
    (("--max-p",), {"type": float, "default": 1.0, "help": "Keep pairs of this P (chi-square) or less."}),
    (
        ("--unphased",),
        {"is_flag": True, "help": "Compare genotypes, as plink --r2 does, where phase is known too."},
    ),
    (
        ("--em",),
        {"is_flag": True, "help": "Of unphased pairs r, r2 and P by maximum-likelihood haplotypes."},
    ),
)


_TILING: OptionTable = (
    (
        ("--tiles", "-c"),
        {
            "type": click.IntRange(min=1),
            "metavar": "N",
            "help": "Cut the pairs into N tiles: 1, 3, 6, 10, 15 ...",
        },
    ),
    (
        ("--max-memory",),
        {
            "metavar": "SIZE",
            "help": "Cut them into the fewest tiles that need so little memory, such as 400M.",
        },
    ),
)


_COUNTS = ("--counts",), {"is_flag": True, "help": "Add columns with the haplotypes of each pair."}


class LdAsked(NamedTuple):
    """LD of a panel in tiles; ``given`` are the options that the command line has."""

    limits: Limits
    rule: Rule
    tiles: int | None
    max_memory_bytes: int | None
    counts: bool
    given: tuple[str, ...]


def tiling_options(command: F) -> F:
    """Give a command ``--tiles`` and ``--max-memory``."""
    for names, how in reversed(_TILING):
        command = click.option(*names, **how)(command)
    return command


def ld_options(command: Callable[..., None]) -> Any:
    """Give a command these options, as the arguments ``limits`` and ``rule``."""
    return _with_options(command, {})


def query_options(command: Callable[..., None]) -> Any:
    """The same for a question about few variants, all pairs of which are told."""
    return _with_options(command, {"--min-r2": {"default": "0"}, "--inter-chr": None, "--max-variants": None})


def distance_bp(text: str | None) -> int | None:
    """A distance such as ``500kb`` or ``1M``; one that is longer than any contig is cut."""
    return None if text is None else min(parse_bp(text.lower().removesuffix("bp").removesuffix("b")), _MOST)


def _with_options(command: Callable[..., None], other: dict[str, dict[str, Any] | None]) -> Any:
    """These options for a command; ``other`` is what differs by an option's name, None to leave it out."""

    @functools.wraps(command)
    def with_both(**given: Any) -> None:
        values = {name: given.pop(name, None) for name in _NAMES}
        command(**given, limits=_limits(values), rule=_rule(values))

    out: Callable[..., None] = with_both
    for names, how in reversed(_OPTIONS):
        changed = other.get(names[0], {})
        if changed is not None:
            out = click.option(*names, **{**how, **changed})(out)
    return out


_NAMES = [parameter(names[0]) for names, _ in _OPTIONS]


def ld_plan_options(before_help: str) -> Decorator:
    """Give a command these options and those of tiles, as the one argument ``pairs``; help as ``as_one``."""
    return as_one((*_TILING, *_OPTIONS, _COUNTS), "pairs", _asked, before_help)


def _asked(values: dict[str, Any], given: tuple[str, ...]) -> LdAsked:
    memory = values["max_memory"]
    memory_bytes = None if memory is None else parse_bytes(memory)
    limits, rule = _limits(values), _rule(values)
    return LdAsked(limits, rule, values["tiles"], memory_bytes, values["counts"], given)


def _limits(values: dict[str, Any]) -> Limits:
    bp, has_all = distance_bp(values["max_distance"]), bool(values["inter_chr"])
    most = values["max_variants"]
    return Limits(bp, None if most is None else min(most, _MOST), has_all)


def _rule(values: dict[str, Any]) -> Rule:
    return Rule(values["min_r2"], values["max_p"], values["unphased"], values["em"])
