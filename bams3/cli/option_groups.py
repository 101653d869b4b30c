"""Options that belong together: one argument of a command, which knows which of them were given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

OptionTable = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
"""Names of each, and how click declares it."""

Make = Callable[[dict[str, Any], tuple[str, ...]], Any]
"""Makes an argument of options' values by name, and of the names of those that were given."""

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def as_one(options: OptionTable, argument: str, make: Make, before_help: str) -> Decorator:
    """Give a command options, as one argument.

    Parameters
    ----------
    before_help
        What the help of each begins with: what else they need, where that is so.
    """
    names = [names[0].partition("/")[0] for names, _ in options]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_one(**given: Any) -> None:
            source = click.get_current_context().get_parameter_source
            typed = [name for name in names if source(parameter(name)) is ParameterSource.COMMANDLINE]
            values = {parameter(name): given.pop(parameter(name)) for name in names}
            command(**given, **{argument: make(values, tuple(typed))})

        out: Callable[..., None] = with_one
        for spelled, how in reversed(options):
            out = click.option(*spelled, **{**how, "help": before_help + how["help"]})(out)
        return out

    return decorate


def parameter(name: str) -> str:
    """What click calls the value of an option."""
    return name.removeprefix("--").replace("-", "_")
