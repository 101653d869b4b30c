"""What units read: stores of samples, a table of genotype counts, a panel; and how a change is noticed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from ..errors import Bams3Error, InputError
from ..format import spec
from ..ld.run import HeldBlocks
from ..panel.stored import StoredPanel
from ..query import StoreReader
from ..regions import Region
from ..store import Store, is_s3
from ..store.base import MissingObjectError
from ..tables import CountedRegion
from .loads import Load, loads

if TYPE_CHECKING:
    from ..store.s3 import S3Store

OpenStore = Callable[[str], Store]

#: Bytes that are hashed or copied at a time.
_PIECE_BYTES = 1 << 22
#: Beginnings of packed tables, and about how many bytes of text are in one of theirs.
_PACKED = {b"\x1f\x8b": 6, b"\x28\xb5": 8, b"PA": 12}


class Input(Protocol):
    """What units of one sample read, opened.

    Attributes
    ----------
    noun
        What a user calls one.
    identity
        What tells it from what it was before.
    """

    noun: ClassVar[str]

    def __init__(self, address: str, open_store: OpenStore) -> None: ...

    @property
    def identity(self) -> str: ...

    def load(self, regions: Sequence[CountedRegion]) -> Any:
        """What kinds are told of regions, to say what their units cost."""
        ...

    @staticmethod
    def identity_now(address: str, open_store: OpenStore) -> str:
        """The identity of what lies there, which need not be sound; MissingObjectError."""
        ...


class StoreInput:
    """A store, known by its manifest's hash.

    Raises
    ------
    InputError, CorruptDataError
        From its making: ``not-a-store``, those of the manifest.
    """

    noun: ClassVar[str] = "sample"

    def __init__(self, address: str, open_store: OpenStore) -> None:
        self.reader = StoreReader(open_store(address))
        self.reader.keeps_chunk = True  # units of one sample that follow each other are neighbours
        self.identity = _hash_of(self.reader.manifest_bytes)

    def load(self, regions: Sequence[CountedRegion]) -> Load:
        """What the index tells of regions; InputError ``unknown-contig``."""
        for region in regions:
            if region.contig not in self.reader.contigs:
                raise self._unknown_contig(region)
        return loads(self.reader, [Region(*region[:3]) for region in regions])

    def _unknown_contig(self, region: CountedRegion) -> InputError:
        """The error for a region on no contig of the store, with the hint that the store's contigs give."""
        try:
            self.reader.contigs.id_of(region.contig)
        except InputError as err:
            return InputError(f"region {region}: {err}", kind=err.kind, hint=err.hint)
        raise AssertionError

    @staticmethod
    def identity_now(address: str, open_store: OpenStore) -> str:
        return _hash_of(open_store(address).get(spec.MANIFEST_KEY))


def _hash_of(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:16]


class PanelInput:
    """A panel of genotypes, known by its manifest's hash.

    Attributes
    ----------
    panel, blocks
        The panel, and its variants block by block, as tiles need them.

    Raises
    ------
    InputError, CorruptDataError
        From its making: ``not-a-panel``, those of the manifest.
    """

    noun: ClassVar[str] = "panel"

    def __init__(self, address: str, open_store: OpenStore) -> None:
        self.panel = StoredPanel(open_store(address))
        self.blocks = HeldBlocks(self.panel)
        self.identity = self.panel.identity

    def load(self, regions: Sequence[CountedRegion]) -> StoredPanel:
        """The panel itself, which says what tiles cost."""
        del regions
        return self.panel

    @staticmethod
    def identity_now(address: str, open_store: OpenStore) -> str:
        return hashlib.sha256(open_store(address).get(spec.MANIFEST_KEY)).hexdigest()


class TableInput:
    """A table of genotype counts in a file, known by its content's hash, or an object, known by its ETag.

    Size and time of a file would not do: a table that is made twice in one tick of the clock, or copied with
    its times, would pass for the one before. Hashing takes a second a gigabyte, reading the table seven.

    Raises
    ------
    InputError
        When it is first asked for anything: ``no-such-file``, ``not-a-file``, ``no-permission``.
    """

    noun: ClassVar[str] = "table"

    def __init__(self, address: str, open_store: OpenStore) -> None:
        self._address, self._open = address, open_store

    @cached_property
    def identity(self) -> str:
        """Its hash or ETag."""
        try:
            if is_s3(self._address):
                there, name = self._object()
                return there.identity(name)[1].strip('"')
            self._seen = _stamp(self._address)
            return _hash_of_file(self._address)
        except MissingObjectError as err:
            raise InputError(f"{self._address}: no such file", kind="no-such-file") from err

    def _object(self) -> tuple[S3Store, str]:
        return cast("S3Store", self._open(self._address)).as_object()

    def text_bytes(self) -> int:
        """About how many bytes it would have as plain text, by its size and its first two bytes."""
        try:
            if is_s3(self._address):
                there, name = self._object()
                size_bytes, head = there.size(name), there.get_range(name, 0, 2)
            else:
                size_bytes = _stamp(self._address)[0]
                with _reading(self._address), Path(self._address).open("rb") as file:
                    head = file.read(2)
        except MissingObjectError as err:
            raise InputError(f"{self._address}: no such file", kind="no-such-file") from err
        return size_bytes * _PACKED.get(head, 1)

    def load(self, regions: Sequence[CountedRegion]) -> None:
        """Nothing: kinds know the size of their table."""

    @staticmethod
    def identity_now(address: str, open_store: OpenStore) -> str:
        try:
            return TableInput(address, open_store).identity
        except InputError as err:
            if err.kind == "no-such-file":
                raise MissingObjectError(address) from err
            raise

    @contextlib.contextmanager
    def file(self) -> Iterator[Path]:
        """The table on a disk, where an object is fetched to for as long as this lasts.

        Raises
        ------
        InputError
            ``input-changed``: it is not what ``identity`` says, or is no longer when all was read.
        """
        if is_s3(self._address):
            with tempfile.TemporaryDirectory(prefix="bams3-") as place:
                path = self._fetched(Path(place))
                with _called(path, self._address):
                    yield path
            return
        identity, path = self.identity, Path(self._address)
        if _stamp(self._address) != self._seen and _hash_of_file(self._address) != identity:
            raise self._was_changed()
        self._seen = before = _stamp(self._address)
        yield path
        if _stamp(self._address) != before:
            raise self._was_changed()

    def _fetched(self, folder: Path) -> Path:
        from ..store.s3_stream import S3Stream  # noqa: PLC0415  # boto3 takes 0.2 s

        there, name = self._object()
        path = folder / name
        with contextlib.closing(S3Stream(there, name)) as stream, path.open("wb") as file:
            if stream.etag.strip('"') != self.identity:
                raise self._was_changed()
            shutil.copyfileobj(stream, file, _PIECE_BYTES)
        return path

    def _was_changed(self) -> InputError:
        return InputError(f"{self._address} was changed while it was read", kind="input-changed")


@contextlib.contextmanager
def _called(path: Path, address: str) -> Iterator[None]:
    """Errors call a file what the user does."""
    try:
        yield
    except Bams3Error as err:
        err.args = (str(err).replace(str(path), address),)
        raise


@contextlib.contextmanager
def _reading(address: str) -> Iterator[None]:
    """Turn what the disk says into errors."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as err:
        raise MissingObjectError(address) from err
    except PermissionError as err:
        raise InputError(f"{address}: {err.strerror}", kind="no-permission") from err


def _stamp(address: str) -> tuple[int, int, int]:
    """Bytes, time of the last change and inode of a file that can be read twice."""
    with _reading(address):
        found = os.stat(address)
    if not stat.S_ISREG(found.st_mode):
        hint = "give a file: every job reads it anew"
        raise InputError(f"{address}: not a file", kind="not-a-file", hint=hint)
    return found.st_size, found.st_mtime_ns, found.st_ino


def _hash_of_file(address: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with _reading(address), Path(address).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
