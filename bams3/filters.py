"""Which records a question is about: the filters of samtools view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import kernels
from .columns import Array, Columns, Strings
from .errors import InputError

FLAG_NAMES = (
    "PAIRED PROPER_PAIR UNMAP MUNMAP REVERSE MREVERSE READ1 READ2 SECONDARY QCFAIL DUP SUPPLEMENTARY"
).split()
_RG = ord("R") | ord("G") << 8 | ord("Z") << 16


def parse_flags(text: str) -> int:
    """FLAG bits from a number (decimal, 0x hexadecimal, 0 octal) or names joined by commas.

    Raises
    ------
    InputError
        ``bad-flag``.
    """
    try:
        value = int(text, 8 if text.startswith("0") and text.isdigit() else 0)
    except ValueError:
        names = text.upper().split(",")
        unknown = [name for name in names if name not in FLAG_NAMES]
        if unknown:
            raise InputError(
                f"{unknown[0]!r} is neither a number nor a flag", kind="bad-flag", hint=", ".join(FLAG_NAMES)
            ) from None
        return sum({1 << FLAG_NAMES.index(name) for name in names})
    if not 0 <= value < 1 << 16:
        raise InputError(f"{text} is not a FLAG: 0 to 65535", kind="bad-flag")
    return value


def parse_subsample(text: str) -> tuple[int, float]:
    """(seed of the hash, fraction) from SEED.FRACTION as in samtools view -s.

    Raises
    ------
    InputError
        ``bad-subsample``.
    """
    whole, dot, digits = text.partition(".")
    if not dot or not (digits + "0").isdigit() or not (whole.lstrip("+-") + "0").isdigit():
        raise InputError(
            f"-s {text}: not SEED.FRACTION", kind="bad-subsample", hint="-s 42.1 keeps a tenth, with seed 42"
        )
    seed = int(whole or "0")
    return (_glibc_rand(seed & 0xFFFFFFFF) if seed else 0), float("0." + (digits or "0"))


def _glibc_rand(seed: int) -> int:
    """The first rand() of glibc after srand(seed), which samtools uses to spread small seeds."""
    signed = seed - (1 << 32) if seed >> 31 else seed
    state = [signed]
    for _ in range(30):
        high, low = int(state[-1] / 127773), 0
        low = state[-1] - high * 127773
        word = 16807 * low - 2836 * high
        state.append(word + 2147483647 if word < 0 else word)
    state += state[:3]
    for i in range(34, 345):
        state.append((state[i - 31] + state[i - 3]) & 0xFFFFFFFF)
    return state[344] >> 1


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of samtools view; a record must pass all of them.

    Attributes
    ----------
    require_flags, exclude_flags, any_flags, exclude_all_flags
        ``-f`` all of these bits, ``-F`` none of them, ``--rf`` at least one, ``-G`` not all. 0: off.
    min_mapq
        ``-q``.
    read_group
        ``-r``: only records whose RG tag is this.
    subsample
        ``-s``: (seed, fraction) as parse_subsample gives them.
    """

    require_flags: int = 0
    exclude_flags: int = 0
    any_flags: int = 0
    exclude_all_flags: int = 0
    min_mapq: int = 0
    read_group: str | None = None
    subsample: tuple[int, float] | None = None

    def needs(self) -> set[str]:
        """Columns that ``mask`` reads."""
        out: set[str] = set()
        if self.require_flags or self.exclude_flags or self.any_flags or self.exclude_all_flags:
            out.add("flag")
        if self.min_mapq:
            out.add("mapq")
        if self.read_group is not None:
            out |= {"layout", "tag:RG:Z"}
        if self.subsample:
            out.add("name")
        return out

    def mask(self, c: Columns) -> Array | None:
        """Which records pass (R, uint8); None: all of them."""
        masks = []
        if c.flag is not None:
            flag = c.flag
            if self.require_flags:
                masks.append(flag & self.require_flags == self.require_flags)
            if self.exclude_flags:
                masks.append(flag & self.exclude_flags == 0)
            if self.any_flags:
                masks.append(flag & self.any_flags != 0)
            if self.exclude_all_flags:
                masks.append(flag & self.exclude_all_flags != self.exclude_all_flags)
        if self.min_mapq and c.mapq is not None:
            masks.append(c.mapq >= self.min_mapq)
        if self.read_group is not None:
            masks.append(_in_read_group(c, self.read_group.encode()))
        if self.subsample and c.name is not None:
            masks.append(kernels.subsample(c.name, *self.subsample).view(bool))
        return np.logical_and.reduce(masks).view(np.uint8) if masks else None


def _in_read_group(c: Columns, wanted: bytes) -> Array:
    """Which records' first RG tag is ``wanted``."""
    out = np.zeros(c.n, bool)
    values = c.tags.get("RG:Z")
    if not isinstance(values, Strings) or c.layout is None or c.layouts is None:
        return out
    per_layout = np.add.reduceat(
        np.append(c.layouts.keys == _RG, False).astype(np.int64), c.layouts.start[:-1].astype(np.int64)
    ) * (np.diff(c.layouts.start) > 0)
    per_record = per_layout[c.layout]
    first = (np.cumsum(per_record) - per_record)[per_record > 0]
    if first.size and int(first[-1]) >= values.lengths.size:
        raise kernels.KernelError(kernels.ERR_BAD_COLUMN)
    starts = np.cumsum(values.lengths, dtype=np.int64) - values.lengths
    equal = values.lengths[first] == len(wanted)
    at = starts[first[equal]][:, None] + np.arange(len(wanted))
    same = (values.data[at] == np.frombuffer(wanted, np.uint8)).all(axis=1)
    equal[equal] = same
    out[per_record > 0] = equal
    return out
