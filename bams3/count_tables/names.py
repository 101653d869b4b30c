"""Names that a reading has met: batches by number, and probesets that have begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..columns import Array


@dataclass(slots=True)
class BatchNames:
    """Names of batches in the order in which they are met."""

    names: list[str] = field(default_factory=list)
    _codes: dict[str, int] = field(default_factory=dict)
    _ranks: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def code(self, names: Sequence[str]) -> Array:
        """int32: the place of each in ``names``, to whose end new ones go."""
        found = [self._codes.setdefault(name, len(self._codes)) for name in names]
        self.names.extend(names[k] for k, code in enumerate(found) if code >= len(self.names))
        return np.array(found, np.int32)

    def ranks(self) -> Array:
        """int64: the place of each name among all in order of their bytes, which is that of code points."""
        if len(self._ranks) != len(self.names):
            order = sorted(range(len(self.names)), key=self.names.__getitem__)
            self._ranks = np.empty(len(order), np.int64)
            self._ranks[order] = np.arange(len(order))
        return self._ranks


@dataclass(slots=True)
class BegunProbesets:
    """Which probesets have begun: nothing is looked up while their ids ascend; after that, hashes are.

    Hashes lie in sorted arrays, each at least twice as long as the next. That two ids have the same one
    costs a second reading and no more.
    """

    _last: str = ""
    _ascending: bool = True
    _hashes: list[Array] = field(default_factory=list)

    def add(self, runs: Any, ids: list[str]) -> str | None:
        """Note ids that begin, as Arrow strings and as a list; one of them that had begun, if one had."""
        hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
        if self._ascending and self._ascend(runs, ids):
            self._last = ids[-1]
            self._hashes.append(hashes)
            return None
        if self._ascending:
            self._ascending = False
            self._hashes = [np.sort(np.concatenate(self._hashes))] if self._hashes else []
        hashes.sort()
        if self._is_known(hashes):
            return self._name_again(ids)
        self._merge(hashes)
        return None

    def _ascend(self, runs: Any, ids: list[str]) -> bool:
        from pyarrow import compute  # noqa: PLC0415  # a tenth of a second

        rising = len(ids) < 2 or compute.all(compute.greater(runs[1:], runs[:-1])).as_py()
        return bool(rising and ids[0] > self._last)

    def _is_known(self, hashes: Array) -> bool:
        if (hashes[1:] == hashes[:-1]).any():
            return True
        for known in self._hashes:
            place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            if (known[place] == hashes).any():
                return True
        return False

    def _name_again(self, ids: list[str]) -> str:
        seen: set[int] = set()
        for name in ids:
            value = hash(name)
            at = [int(np.searchsorted(known, value)) for known in self._hashes]
            if value in seen or any(
                k < len(known) and known[k] == value for k, known in zip(at, self._hashes, strict=True)
            ):
                return name
            seen.add(value)
        return ids[0]

    def _merge(self, hashes: Array) -> None:
        while self._hashes and len(self._hashes[-1]) < 2 * len(hashes):
            hashes = np.concatenate([self._hashes.pop(), hashes])
            hashes.sort(kind="stable")  # merges what is sorted
        self._hashes.append(hashes)
