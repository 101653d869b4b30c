"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError
from .format import spec
from .htslib import write_errors


@contextlib.contextmanager
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
    if path.is_symlink() or (is_there(path) and not path.is_file()):
        yield path
        return
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        yield partial
        with write_errors(str(path)):
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong is told, not that there is nothing to remove
            partial.unlink(missing_ok=True)


def is_there(path: Path) -> bool:
    """Whether something has this name; false too where none could, as it is too long."""
    return os.path.exists(path)


def remove_leftovers(path: Path) -> None:
    """Remove what processes of this host that were killed had begun to write to ``path``.

    Notes
    -----
    Lists the folder: once a command, not once a file.
    """
    start, end = f".{path.name}.{socket.gethostname()}.", ".partial"
    with contextlib.suppress(OSError):  # no folder, or not ours: the writing tells
        for name in os.listdir(path.parent):
            pid = name[len(start) : -len(end)]
            if name.startswith(start) and name.endswith(end) and pid.isdecimal() and not _runs(int(pid)):
                path.with_name(name).unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
