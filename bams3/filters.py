"""Which records a question is about: the filters of samtools view."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from . import kernels
from .columns import Array, Columns, Layouts, Strings
from .errors import InputError

FLAG_NAMES = (
    "PAIRED PROPER_PAIR UNMAP MUNMAP REVERSE MREVERSE READ1 READ2 SECONDARY QCFAIL DUP SUPPLEMENTARY"
).split()
_NUMBER = re.compile(r"0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*", re.ASCII | re.I)
_SUBSAMPLE = re.compile(r"(?P<seed>[+-]?[0-9]*)(?P<fraction>\.[0-9]+)", re.ASCII)
_RG = ord("R") | ord("G") << 8
_RG_TEXT = _RG | ord("Z") << 16


def parse_flags(text: str) -> int:
    """FLAG bits from a number (decimal, 0x hexadecimal, 0 octal) or names joined by commas.

    Raises
    ------
    InputError
        ``bad-flag``.
    """
    if not _NUMBER.fullmatch(text.strip()):
        return _parse_flag_names(text)
    number = text.strip().lower()
    value = int(number, 8 if number.isdecimal() and number.startswith("0") else 0)
    if value >= 1 << 16:
        raise InputError(f"{text} is not a FLAG: 0 to 65535", kind="bad-flag")
    return value


def _parse_flag_names(text: str) -> int:
    names = text.upper().split(",")
    unknown = [name for name in names if name not in FLAG_NAMES]
    if unknown:
        message = f"{unknown[0]!r} is neither a number nor a flag"
        raise InputError(message, kind="bad-flag", hint=", ".join(FLAG_NAMES))
    return sum({1 << FLAG_NAMES.index(name) for name in names})


def parse_subsample(text: str) -> tuple[int, float] | None:
    """(seed of the hash, fraction) from SEED.FRACTION as in samtools view -s; None keeps all, as 7.0 does.

    Raises
    ------
    InputError
        ``bad-subsample``.
    """
    found = _SUBSAMPLE.fullmatch(text)
    if found is None:
        hint = "-s 42.1 keeps a tenth, with seed 42"
        raise InputError(f"-s {text}: not SEED.FRACTION", kind="bad-subsample", hint=hint)
    fraction = float(found["fraction"])
    if not fraction:
        return None
    seed = int(found["seed"]) & 0xFFFFFFFF if found["seed"].strip("+-") else 0
    return (_glibc_rand(seed) if seed else 0), fraction


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
    read_groups
        ``-r``: no records whose RG tag is none of these; those without one pass. Empty: off.
    subsample
        ``-s``: (seed, fraction) as parse_subsample gives them.
    """

    require_flags: int = 0
    exclude_flags: int = 0
    any_flags: int = 0
    exclude_all_flags: int = 0
    min_mapq: int = 0
    read_groups: tuple[str, ...] = ()
    subsample: tuple[int, float] | None = None

    def needs(self) -> set[str]:
        """Columns that ``mask`` reads."""
        out: set[str] = set()
        if self.require_flags or self.exclude_flags or self.any_flags or self.exclude_all_flags:
            out.add("flag")
        if self.min_mapq:
            out.add("mapq")
        if self.read_groups:
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
        if self.read_groups:
            masks.append(_in_read_groups(c, self.read_groups))
        if self.subsample and c.name is not None:
            masks.append(kernels.subsample(c.name, *self.subsample).view(bool))
        return np.logical_and.reduce(masks).view(np.uint8) if masks else None


def _in_read_groups(c: Columns, wanted: tuple[str, ...]) -> Array:
    """Which records have no RG tag, or one of these as their first."""
    assert c.layout is not None
    assert c.layouts is not None
    first, n_texts = _read_group_layouts(c.layouts)
    out: Array = (first == 0)[c.layout]
    texts_per_record = n_texts[c.layout]
    first_text = np.cumsum(texts_per_record) - texts_per_record
    of_record = np.flatnonzero((first == _RG_TEXT)[c.layout])
    values = c.tags.get("RG:Z", Strings(np.zeros(0, np.uint32), np.zeros(0, np.uint8)))
    if not isinstance(values, Strings) or int(texts_per_record.sum()) != values.lengths.size:
        raise kernels.KernelError(kernels.ERR_BAD_COLUMN)
    starts = np.cumsum(values.lengths, dtype=np.int64) - values.lengths
    for name in wanted:
        text = np.frombuffer(name.encode("utf-8", "surrogateescape"), np.uint8)
        same_length = of_record[values.lengths[first_text[of_record]] == text.size]
        at = starts[first_text[same_length]][:, None] + np.arange(text.size)
        out[same_length] |= (values.data[at] == text).all(axis=1)
    return out


def _read_group_layouts(layouts: Layouts) -> tuple[Array, Array]:
    """Of each layout: tag and type of its first RG tag (0: none), and how many of type Z it has (L,)."""
    n_keys: Array = np.diff(layouts.start.astype(np.int64))
    of_layout = np.repeat(np.arange(n_keys.size), n_keys)
    is_group = layouts.keys & 0xFFFF == _RG
    first = np.zeros(n_keys.size, np.uint32)
    first[of_layout[is_group][::-1]] = layouts.keys[is_group][::-1]
    texts = is_group & (layouts.keys & 0xFFFFFF == _RG_TEXT)
    return first, np.bincount(of_layout[texts], minlength=first.size)
