"""Who was on which plate, and how often each genotype was called there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..slices import Slice
from .blocks import AA, AB, BB, MISSING, Note, Panel, VariantBlock

if TYPE_CHECKING:
    from ..genotype_counts import CountBlock

#: First cells that make a line a header, without case, blanks and signs.
_HEADS = frozenset("sample sampleid samplename iid id individual individualid".split())

_NAMED = 3


def read_plates(path: Path) -> dict[str, str]:
    """The plate of every sample, from a table of two columns with a tab between: sample and plate.

    The first line may be a header: it is one where its first cell is ``sample``, ``sample_id``,
    ``sample_name``, ``IID``, ``id`` or ``individual``, in any case. Empty lines and lines that start with
    ``#`` are skipped. A sample may be named again with the same plate.

    Raises
    ------
    InputError
        kind ``bad-plates``: naming the line, or both lines of a sample on two plates; ``no-such-file``.
    """
    plates: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, cells in _rows(path):
        sample, plate = _checked(path, line, cells)
        if plates.setdefault(sample, plate) != plate:
            where = f"{path} lines {lines[sample]} and {line}"
            message = f"{where}: {sample} is on two plates, {plates[sample]} and {plate}"
            hint = "a sample that was run twice needs two names, here and in the panel"
            raise InputError(message, kind="bad-plates", hint=hint)
        lines.setdefault(sample, line)
    if not plates:
        hint = "a line is: sample, tab, plate"
        raise InputError(f"{path}: names no samples", kind="bad-plates", hint=hint)
    return plates


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line but the header, empty ones and comments."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # of any kind, when read as text
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file") from None
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: not a readable text file: {err}", kind="bad-plates") from None
    used = [(n, text) for n, text in enumerate(lines, 1) if text.strip() and not text.startswith("#")]
    for k, (line, text) in enumerate(used):
        cells = [cell.strip() for cell in text.rstrip().split("\t")]
        if k or "".join(filter(str.isalnum, cells[0])).casefold() not in _HEADS:
            yield line, cells


def _checked(path: Path, line: int, cells: Sequence[str]) -> tuple[str, str]:
    if len(cells) != 2:
        hint = "sample, tab, plate; cut -f1,2 takes the first two columns of a table"
        message = f"{path} line {line}: {len(cells)} column{'s' * (len(cells) > 1)} where there are 2"
        raise InputError(message, kind="bad-plates", hint=hint)
    if not all(cells):
        raise InputError(f"{path} line {line}: an empty cell", kind="bad-plates")
    return cells[0], cells[1]


def plate_counts(
    panel: Panel, plates: Mapping[str, str], *, which: Slice | None = None, on_note: Note | None = None
) -> Iterator[CountBlock]:
    """Genotypes of every variant of a panel, counted on every plate.

    A table has a row for each plate with a sample of the panel. Samples that no plate names are left out, and
    those that the panel lacks are passed over; notes tell how many.

    Parameters
    ----------
    plates
        The plate of a sample, by name.
    which
        Only the variants whose number k from 0 has ``k % n == i - 1`` for the slice ``i/n``.
    on_note
        Told of samples on one side only, before anything is read.

    Raises
    ------
    InputError
        kind ``no-samples-in-common``, at once; ``doubled-probeset`` and what else ``Panel.blocks`` raises.

    Notes
    -----
    Takes 5 us a variant of 2,504 samples, beside the reading; holds one block.
    """
    columns = [k for k, name in enumerate(panel.samples) if name in plates]
    _compare(panel, plates, on_note)
    batches = sorted({plates[panel.samples[k]] for k in columns}, key=str.encode)
    number = {name: k for k, name in enumerate(batches)}
    of_column = np.array([number[plates[panel.samples[k]]] for k in columns])
    order = np.argsort(of_column, kind="stable")
    starts = np.searchsorted(of_column[order], np.arange(len(batches)))
    chosen = np.array(columns)[order]
    return (_counted(block, chosen, starts, batches) for block in panel.blocks(which, unique=True))


def _compare(panel: Panel, plates: Mapping[str, str], on_note: Note | None) -> None:
    outside = [name for name in panel.samples if name not in plates]
    lacking = sorted(plates.keys() - set(panel.samples))
    if len(outside) == len(panel.samples):
        raise InputError(
            f"{panel.path}: no sample of the panel is on a plate",
            kind="no-samples-in-common",
            hint=f"the panel's samples are {_some(panel.samples)}; those of the plates are {_some(lacking)}",
        )
    if on_note and outside:
        on_note(f"{_samples(outside)} of the panel on no plate, left out: {_some(outside)}")
    if on_note and lacking:
        on_note(f"{_samples(lacking)} of the plates not in the panel: {_some(lacking)}")


def _samples(names: Sequence[str]) -> str:
    return f"{len(names):,} sample{'s' * (len(names) > 1)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(islice(names, _NAMED)) + ", ..." * (len(names) > _NAMED)


def _counted(block: VariantBlock, chosen: Array, starts: Array, batches: list[str]) -> CountBlock:
    """The tables of a block; ``chosen`` are its columns plate by plate, which begin at ``starts``."""
    from ..genotype_counts import GENOTYPES, CountBlock  # noqa: PLC0415  # 25 ms that LD does not need

    codes = block.codes[:, chosen]
    V, P = len(codes), len(batches)
    counts = np.empty((V, P, len(GENOTYPES)), np.int32)
    for column, code in enumerate((AA, AB, BB, MISSING)):
        counts[:, :, column] = np.add.reduceat(codes == code, starts, axis=1, dtype=np.int32)
    return CountBlock(
        probesets=[site.id for site in block.sites],
        start=np.arange(V + 1, dtype=np.uint64) * np.uint64(P),
        batch=np.tile(np.arange(P, dtype=np.int32), V),
        batches=batches,
        counts=counts.reshape(V * P, len(GENOTYPES)),
    )
