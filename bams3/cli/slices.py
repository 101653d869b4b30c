"""The option ``--slice i/n`` of every command that can be spread over jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..slices import Slice, parse_slice

F = TypeVar("F", bound=Callable[..., Any] | click.Command)


class SliceType(click.ParamType[Slice]):
    """``i/n``, from 1."""

    name = "slice"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Slice:
        del param, ctx
        return value if isinstance(value, Slice) else parse_slice(value)


def slice_option(what: str) -> Callable[[F], F]:
    """``--slice i/n``; ``what`` completes its help, which says what the slices are of."""
    return click.option("--slice", "which", type=SliceType(), metavar="i/n", help=what)
