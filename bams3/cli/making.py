"""What commands share that make a store or a panel: whether its place is free, and what is told of it."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import InputError
from ..format import spec
from ..format.manifest import is_foreign
from ..store import Store, is_s3
from ..store.base import MissingObjectError


def manifest_to_replace(
    store: Store,
    force: bool,
    *,
    is_own: Callable[[str], bool],
    noun: str = "store",
    form: str = spec.FORMAT,
) -> bytes | None:
    """The manifest that is there and may go; a folder that holds something else is left alone.

    Parameters
    ----------
    is_own, noun, form
        What is made: which keys are its own, its name, and the ``format`` of its manifest.
    """
    hint = f"give another name: a {noun} needs a folder of its own"
    with contextlib.suppress(MissingObjectError):
        manifest = store.get(spec.MANIFEST_KEY)
        if force and is_foreign(manifest, form):
            words = f"{store.name} holds another program's {spec.MANIFEST_KEY}"
            raise InputError(words, kind="output-exists", hint=hint)
        if force:
            return manifest
        raise InputError(
            f"{store.name} is there already", kind="output-exists", hint="replace it with --force"
        )
    files = (key for key in store.list() if key and not key.endswith("/"))  # S3's consoles mark folders
    foreign = next((key for key in files if not is_own(key)), None)
    if foreign is not None or Path(store.name).is_file():
        words = f"{store.name} holds something else" + (f": {foreign}" if foreign else "")
        raise InputError(words, kind="output-exists", hint=hint)
    return None


def provenance_of(source: str) -> dict[str, Any]:
    """What was made, of what, by what, and when."""
    return {
        "tool": f"bams3 {__version__}",
        "command": ["bams3", *sys.argv[1:]],
        "input": source if source == "-" or is_s3(source) else str(Path(source).resolve()),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def peak_bytes() -> int:
    """The most memory that this process, and one of its children, had."""
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage) * (1 if sys.platform == "darwin" else 1024)
