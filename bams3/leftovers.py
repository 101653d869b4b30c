"""What killed conversions left in a store, and nobody names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .format import index, spec
from .query import StoreReader
from .store import Store
from .store.base import Entry
from .verify import named_keys


class Leftover(NamedTuple):
    """An object that no manifest names, or an upload in parts that nobody finished; how it is removed."""

    entry: Entry
    remove: Callable[[], None]


def leftovers(store: Store) -> list[Leftover]:
    """What a conversion wrote into a store, and its manifest does not name; without a manifest: all of it.

    Objects that no conversion writes are left alone. Those of a conversion that is under way are named by
    no manifest yet: ask ``newest_s`` before you remove anything.

    Raises
    ------
    CorruptDataError, InputError
        Where the manifest or the index cannot be read, or is not ours: then nothing can be said.
    """
    kept: set[str] = set()
    if store.exists(spec.MANIFEST_KEY):  # whatever it holds: what cannot be read names all
        kept = named_keys(StoreReader(store)) | {spec.MANIFEST_KEY, spec.PROVENANCE_KEY}
    found = [
        Leftover(entry, lambda key=entry.key: store.delete(key))  # type: ignore[misc]
        for entry in store.entries()
        if index.is_store_key(entry.key) and entry.key not in kept
    ]
    uploads = (Leftover(*upload) for upload in store.unfinished())
    return found + [one for one in uploads if index.is_store_key(one.entry.key)]


def newest_s(found: list[Leftover]) -> float:
    """When the last of them was written, in seconds since 1970; 0 without any."""
    return max((one.entry.modified_s for one in found), default=0.0)
