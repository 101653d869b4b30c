"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError
from .format import spec
from .htslib import write_errors


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A name to write to that becomes ``path`` at the end, and goes where something fails.

    What is no plain file is written in place: a pipe, a device such as /dev/stdout, what a link leads to.

    Raises
    ------
    InputError
        ``usage``: it would lie in a store, whose objects have names of their own.
    """
    if (path.parent / spec.MANIFEST_KEY).exists():
        hint = "give a file outside of it"
        raise InputError(f"{path} lies in a store", kind="usage", hint=hint)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        yield path
        return
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        yield partial
        with write_errors(str(path)):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
