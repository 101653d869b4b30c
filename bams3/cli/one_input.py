"""What ``plan`` is told of one input instead of samples: a table whose probesets are tested, a panel."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

from ..errors import InputError
from ..store import is_s3
from .remote import counting_opener, store

if TYPE_CHECKING:
    from ..work.jobs import Kind
    from .chi2_options import Chi2Tests
    from .ld_options import LdAsked

#: Ends of tables' and panels' names.
_FORMS = re.compile(r"(?<=.)((\.(tsv|txt|parquet))?(\.(gz|zst))?|\.ldp)$")


class OneInput(NamedTuple):
    """An option that names an input.

    Attributes
    ----------
    option, address
        Such as ``--chi2``, and what it names; None where it was not given.
    given
        Options that are for it alone, and were given.
    without
        Arguments of the command that do not go with it.
    """

    option: str
    address: str | None
    given: Sequence[str]
    without: Set[str]


def check_alone(inputs: Sequence[OneInput]) -> None:
    """InputError ``usage`` for what does not go with the option that names the input, or needs another."""
    named = [one for one in inputs if one.address is not None]
    for one in inputs:
        if one.given and one.address is None:
            raise InputError(f"{one.given[0]} is for {one.option}", kind="usage")
    if not named:
        return
    mine = named[0]
    others = [one.option for one in named[1:]]
    context = click.get_current_context()
    for option in context.command.params:
        is_there = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if is_there and option.name in mine.without:
            others.append("SAMPLES" if option.name == "samples" else option.opts[0])
    if others:
        raise InputError(f"{mine.option} and {others[0]} exclude each other", kind="usage")


def chi2(table: str, n_slices: int, tests: Chi2Tests, output: Path) -> Kind:
    """Tests of a table, a unit a slice; the plan must not take the table's place."""
    from ..chi2.summary import refuse_input_as_output
    from ..work.chi2 import Chi2
    from ..work.inputs import TableInput

    refuse_input_as_output(output, [Path(table)])
    if table == "-":
        hint = "give a file: every job reads it anew"
        raise InputError("--chi2 -: jobs do not see stdin", kind="usage", hint=hint)
    text_bytes = TableInput(everywhere(table), counting_opener()).text_bytes()
    return Chi2(n_slices, tests.options, tests.sum_duplicates, table, text_bytes)


def ld(panel: str, pairs: LdAsked, n_slices: int | None) -> Kind:
    """Pairs of a panel, a unit a tile; without --tiles there is one for each slice, at least."""
    from ..ld.plan import make_plan
    from ..panel.stored import StoredPanel
    from ..work.ld import Ld

    tiles, most_bytes = pairs.tiles, pairs.max_memory_bytes
    if tiles is None and most_bytes is None and n_slices is None:
        hint = "bams3 ld-plan tells what a tile takes and needs"
        raise InputError("--ld needs --tiles, --max-memory or --slices", kind="usage", hint=hint)
    opened = StoredPanel(store(everywhere(panel)))
    plan = make_plan(
        opened,
        pairs.limits,
        pairs.rule,
        tiles=tiles,
        max_memory_bytes=most_bytes,
        least_tiles=n_slices or 1,
    )
    return Ld.of(plan, pairs.counts)


def name_of(address: str) -> str:
    """What an input is called: the last of its address, without what tells its form."""
    name = address.rstrip("/").rpartition("/")[2]
    return _FORMS.sub("", name) or name


def everywhere(address: str) -> str:
    """An address as every job finds it, wherever it starts."""
    return address if is_s3(address) else str(Path(address).absolute())
