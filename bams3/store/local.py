"""A store in a local folder: a key is a path below it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InputError, StoreError
from .base import Entry, MissingObjectError, Requests


@contextlib.contextmanager
def _disk_errors(where: Path) -> Iterator[None]:
    """Turn what the disk says into an error that tells whether a retry may help."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
        raise MissingObjectError(str(where)) from err
    except PermissionError as err:
        raise InputError(f"{where}: {err.strerror}", kind="no-permission") from err
    except OSError as err:
        hint = "free space or repair it, then run again"
        raise StoreError(f"{where}: {err.strerror}", kind="disk", hint=hint) from err


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of the ``with`` block, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class LocalStore:
    """Objects as files below ``root``. Files are written aside and renamed, so none is ever half."""

    parallel = 1

    def __init__(self, root: Path) -> None:
        self._root = root
        self.requests = Requests()

    @property
    def name(self) -> str:
        return str(self._root)

    def _path(self, key: str) -> Path:
        return self._root / key

    def _write_aside(self, path: Path, data: bytes) -> Path:
        self.requests.add(puts=1, bytes_out=len(data))
        aside = path.with_name(f".{path.name[:60]}.{os.getpid()}.{threading.get_ident()}.partial")
        try:
            self._write(aside, data)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        return aside

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file and the folders that it lies in, which another process may be removing."""
        for attempts_left in range(20, -1, -1):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                return
            except (FileNotFoundError, FileExistsError):
                if not attempts_left:
                    raise

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with _disk_errors(path):
            self._write_aside(path, data).replace(path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with _disk_errors(path):
            aside = self._write_aside(path, data)
            try:
                os.link(aside, path)  # fails if there is one, in one step
            except FileExistsError:
                return False
            finally:
                aside.unlink()
        return True

    def put_if_match(self, key: str, data: bytes, expected: bytes) -> bool:
        """As Store says; the lock goes with the process that holds it."""
        if not self.exists(key):
            return False
        with _disk_errors(self._root), _locked(self._root):
            if self.get(key) != expected:
                return False
            self.put(key, data)
        return True

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _disk_errors(path):
            data = path.read_bytes()
        self.requests.add(gets=1, bytes_in=len(data))
        return data

    def get_range(self, key: str, offset: int, size_bytes: int) -> bytes:
        path = self._path(key)
        with _disk_errors(path), path.open("rb", buffering=0) as file:
            file.seek(offset)
            left, parts = min(size_bytes, max(0, os.fstat(file.fileno()).st_size - offset)), []
            while left and (part := file.read(left)):
                parts.append(part)
                left -= len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.requests.add(gets=1, bytes_in=len(data))
        return data

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def size(self, key: str) -> int:
        path = self._path(key)
        with _disk_errors(path):
            if path.is_dir():
                raise IsADirectoryError
            return path.stat().st_size

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._delete(self._path(key))

    def _delete(self, path: Path) -> None:
        with _disk_errors(path):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder that this emptied goes too
            for parent in path.parents:
                if parent == self._root:
                    break
                parent.rmdir()

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        for key in self.list(prefix):
            with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                found = self._path(key).stat()
                yield Entry(key, found.st_size, found.st_mtime)

    def unfinished(self) -> Iterator[tuple[Entry, Callable[[], None]]]:
        yield from ()

    def list(self, prefix: str = "") -> Iterator[str]:
        found = []
        for folder, _, files in os.walk(self._root / prefix.rpartition("/")[0]):
            base = Path(folder).relative_to(self._root)
            keys = ((base / file).as_posix() for file in files)
            found += [key for key in keys if key.startswith(prefix)]
        yield from sorted(found)
