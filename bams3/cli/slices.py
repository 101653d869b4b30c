"""The option ``--slice i/n`` of every command that can be spread over jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..slices import Slice, parse_slice, parse_slice_list

F = TypeVar("F", bound=Callable[..., Any] | click.Command)


class SliceType(click.ParamType[Slice]):
    """``i/n``, from 1."""

    name = "slice"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Slice:
        del param, ctx
        return value if isinstance(value, Slice) else parse_slice(value)


class SliceListType(click.ParamType[tuple[list[int], int]]):
    """``3,17,400-450/1000``."""

    name = "slices"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[list[int], int]:
        del param, ctx
        return value if isinstance(value, tuple) else parse_slice_list(value)


def slice_option(what: str) -> Callable[[F], F]:
    """``--slice i/n``; ``what`` completes its help, which says what the slices are of."""
    return click.option("--slice", "which", type=SliceType(), metavar="i/n", help=what)
