"""The i-th of n slices of some work: how users write it, and how several are named in a message."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import InputError

#: More slices than any scheduler takes; a limit keeps a typing error from filling a screen or a disk.
MOST_SLICES = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """The ``i``-th of ``n`` slices, from 1."""

    i: int
    n: int

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"


def parse_slice(text: str) -> Slice:
    """A slice from ``3/8``.

    Raises
    ------
    InputError
        kind ``bad-slice``.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not found:
        hint = "write i/n, such as 3/8: the third of eight slices"
        raise InputError(f"--slice {text}: not a slice", kind="bad-slice", hint=hint)
    i, n = map(int, found.groups())
    if not 1 <= n <= MOST_SLICES:
        words = f"--slice {text}: work is cut into 1 to {MOST_SLICES:,} slices"
        raise InputError(words, kind="bad-slice")
    if not 1 <= i <= n:
        raise InputError(f"--slice {text}: slices are numbered from 1/{n} to {n}/{n}", kind="bad-slice")
    return Slice(i, n)


def format_slices(several: Iterable[Slice]) -> str:
    """``slice 3/8``, ``slices 3/8 and 5/8``, ``slices 1/50, 3/50 to 9/50 and 12/50``; of one ``n``."""
    runs = []
    for _, mine in itertools.groupby(enumerate(sorted(several)), lambda pair: pair[1].i - pair[0]):
        found = [one for _, one in mine]
        long = len(found) > 2
        runs += [f"{found[0]} to {found[-1]}"] if long else list(map(str, found))
    last = runs.pop()
    if runs:
        return f"slices {', '.join(runs)} and {last}"
    return f"slice{'s' * ('to' in last)} {last}"


def parse_slice_list(text: str) -> tuple[list[int], int]:
    """Numbers of several slices, and of how many they are, from ``3,17,400-450/1000``.

    Raises
    ------
    InputError
        kind ``bad-slice``: another form, or numbers that do not ascend from 1 to what they are of.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*)/([0-9]{1,9})", text)
    hint = "write i,j-k/n, such as 3,17-20/50: five of fifty slices"
    if not found:
        raise InputError(f"{text}: not a list of slices", kind="bad-slice", hint=hint)
    n = parse_slice(f"1/{found[2]}").n
    runs = [(int(run[0]), int(run[-1])) for run in (run.split("-") for run in found[1].split(","))]
    before = [0, *(last for _, last in runs)]
    if before[-1] > n or not all(
        low < first <= last for low, (first, last) in zip(before, runs, strict=False)
    ):
        raise InputError(f"{text}: not slices from 1 to {n} that ascend", kind="bad-slice", hint=hint)
    return [number for first, last in runs for number in range(first, last + 1)], n


def format_slice_list(numbers: Iterable[int], n: int) -> str:
    """What ``parse_slice_list`` reads, from numbers that ascend."""
    return f"{','.join(_runs(numbers))}/{n}"


def _runs(numbers: Iterable[int]) -> Iterator[str]:
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
