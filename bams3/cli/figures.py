"""What commands that draw share: formats, and the names of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..files import replaced
from ..htslib import write_errors
from ..store import is_s3
from .remote import OUTPUT_FILE, address_of

if TYPE_CHECKING:
    from ..plots import Figure

_FORMATS = ("png", "svg")


class _Formats(click.ParamType[tuple[str, ...]]):
    """Formats of files with commas between."""

    name = "formats"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        del param, ctx
        wanted = tuple(dict.fromkeys(str(value).lower().split(",")))
        if not set(wanted) <= set(_FORMATS):
            raise InputError(f"--format {value}: png, svg or png,svg", kind="usage")
        return wanted


formats_option = click.option(
    "--format",
    "formats",
    type=_Formats(),
    default="png,svg",
    show_default=True,
    metavar="png,svg",
    help="What to write.",
)


def write_forms(figure: Figure, prefix: Path, what: str, formats: tuple[str, ...]) -> None:
    """Write a figure as PREFIX.WHAT.FORM, in each form."""
    from ..plots import write_figure

    for form in formats:
        path = prefix.with_name(f"{prefix.name}.{what}.{form}")
        with replaced(path) as partial, write_errors(str(path)):
            write_figure(figure, partial, form)


def stem(name: str) -> str:
    """The name of a file without what tells its form."""
    return Path(name.removesuffix(".gz")).stem


def prefix_of(output: str | None, results: Path, name: str) -> Path:
    """What the names of files begin with, folder included."""
    if output is None:
        if is_s3(address_of(results)):
            raise InputError("where to? RESULTS lies in S3", kind="usage", hint="add -o PREFIX")
        return results.with_name(name)
    if not is_s3(output):
        if output.endswith("/"):
            with write_errors(output):
                Path(output).mkdir(parents=True, exist_ok=True)
        return Path(output) / name if Path(output).is_dir() else Path(output)
    address = output + name if output.endswith("/") else output
    return OUTPUT_FILE.convert(address, None, click.get_current_context())
