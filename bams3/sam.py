"""SAM, CRAM and the rarer forms of BAM in, and all three out.

htslib reads and writes SAM and CRAM, in a child process (``htslib.py``) that is fed BAM through a plain pipe,
without BGZF; BAM is written here, in threads. Cheap to import: only ``fetch_segments`` loads pysam.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Literal

from isal import isal_zlib

from . import htslib
from .bam import BAM_MAGIC, BGZF_EOF, BLOCK_DATA_BYTES, BamHeader, compress_blocks, is_bgzf
from .errors import Bams3Error, InputError
from .files import replaced

if TYPE_CHECKING:
    import pysam
    from _typeshed import WriteableBuffer

Form = Literal["bam", "other-bam", "sam", "cram"]
"""What can be read: ``bam`` is BAM in BGZF, the hot path; ``other-bam`` is uncompressed or in plain gzip."""
Format = Literal["bam", "sam", "cram"]
"""What can be written."""

_FORMATS: dict[str, Format] = {".bam": "bam", ".sam": "sam", ".cram": "cram"}

DEFAULT_LEVEL = 3
MAX_BAI_BP = 1 << 29
_HEAD_BYTES = 1 << 16
_SLAB_BYTES = 16 * BLOCK_DATA_BYTES
_SAM_START = re.compile(
    rb"@(?:HD|SQ|RG|PG|CO)\t"
    rb"|[^\t\n]+\t\w+\t[^\t\n]+\t\d+\t\d+\t[^\t\n]+\t[^\t\n]+\t\d+\t[-+]?\d+\t[^\t\n]"
)


def sniff(head: bytes, source: str) -> Form:
    """What a file is, by its first bytes: 64 KiB of them, or what a peek into a pipe gives.

    Raises
    ------
    InputError
        kind ``not-alignments`` if it is none of SAM, BAM and CRAM.
    """
    if not head:
        raise InputError(f"{source}: empty, no alignments", kind="not-alignments")
    if head.startswith(b"CRAM"):
        return "cram"
    if head.startswith(BAM_MAGIC):
        return "other-bam"
    blocks = is_bgzf(head)
    text = _first_inflated(head) if head.startswith(b"\x1f\x8b") else head
    if text.startswith(BAM_MAGIC) or (blocks and not text):  # if it is damaged, the hot path says where
        return "bam" if blocks else "other-bam"
    if _SAM_START.match(text):
        return "sam"
    raise InputError(f"{source}: neither SAM nor BAM nor CRAM", kind="not-alignments")


def _first_inflated(head: bytes) -> bytes:
    """First decompressed bytes of a gzip file; none if its start is damaged."""
    while head.startswith(b"\x1f\x8b"):
        stream = isal_zlib.decompressobj(31)
        try:
            data = stream.decompress(head, _HEAD_BYTES)
        except isal_zlib.error:  # type: ignore[misc]  # isal's stub declares its exceptions as instances
            return b""
        if data or not stream.eof:
            return data
        head = stream.unused_data  # a first block may be empty
    return b""


def detect(path: Path) -> Form:
    """What a file is, by its first bytes.

    Raises
    ------
    InputError
        kind ``no-such-file``, ``not-a-file`` (a folder, or a pipe: what is read here would be lost),
        ``not-readable`` or ``not-alignments``.
    """
    if path.exists() and not path.is_file():
        hint = "" if path.is_dir() else "give - as the input and pipe it in"
        raise InputError(f"{path}: not a regular file", kind="not-a-file", hint=hint)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file") from None
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror}", kind="not-readable") from None
    return sniff(head, str(path))


@contextlib.contextmanager
def open_as_bam(
    source: Path | BinaryIO,
    *,
    reference: Path | None = None,
    threads: int = 1,
    on_warning: htslib.Warn | None = None,
) -> Iterator[BinaryIO]:
    """Any file that htslib reads, as a stream of BAM in stored BGZF blocks, decoded while it is read.

    Parameters
    ----------
    source
        A path, or an open stream such as standard input, of which nothing but a peek has been read.
    reference
        FASTA of a CRAM, with its .fai or in a folder where one can be made. Without it htslib follows the
        CRAM's header (UR, M5) and REF_PATH. MD and NM are decoded as ``samtools view`` does.
    threads
        Threads of htslib in all.
    on_warning
        Called with each line that htslib said about a file that it read to the end nevertheless.

    Raises
    ------
    InputError, CorruptDataError, StoreError
        ``no-such-file`` at once if there is no such reference. From the read that meets the end, or on
        leaving after the child has failed: ``missing-reference``, ``wrong-reference``, ``bad-reference``,
        ``position-too-long``, ``bad-alignments``, ``htslib-crashed``, ``htslib-killed``.

    Notes
    -----
    One child process, which is gone when the context is left, early or not.
    """
    name = str(source if isinstance(source, Path) else getattr(source, "name", "the stream"))
    given = os.path.abspath(source) if isinstance(source, Path) else "-"
    stdin = subprocess.DEVNULL if isinstance(source, Path) else subprocess.PIPE
    options = ["-u", "--no-PG", *htslib.thread_options(threads), *htslib.reference_options(reference), given]
    with htslib.Samtools("view", *options, stdin=stdin, stdout=subprocess.PIPE) as samtools:
        feeder = None if isinstance(source, Path) else htslib.Feeder(_pieces(source), samtools.stdin)

        def at_end() -> None:
            if feeder:
                feeder.finish()
            outcome = samtools.end().calling(given, name)
            if outcome.code:
                raise htslib.reading_error(name, outcome)
            outcome.pass_on(name, on_warning)

        output = _Output(samtools.stdout, at_end)
        with io.BufferedReader(output, htslib.PIPE_BYTES) as stream:
            yield stream
            if samtools.has_failed() and not output.met_end:
                at_end()


class _Output(io.RawIOBase):
    """The output of a child; its end is an end only if the child ended well."""

    def __init__(self, pipe: IO[bytes], at_end: Callable[[], None]) -> None:
        assert isinstance(pipe, io.BufferedReader)
        self._pipe = pipe.raw
        self._at_end = at_end
        self.met_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        n_bytes = self._pipe.readinto(buffer) or 0
        if n_bytes == 0 and not self.met_end:  # the end can be read again
            self.met_end = True
            self._at_end()
        return n_bytes


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """What is left of a stream, first what a peek has left in its buffer."""
    raw: IO[bytes] | io.RawIOBase = stream
    if isinstance(stream, io.BufferedReader):
        yield stream.read(len(stream.peek()))
        raw = stream.raw  # without the buffer's lock, which a thread must not hold when the interpreter ends
    while piece := raw.read(htslib.PIPE_BYTES):
        yield piece


def write_alignments(
    records: Iterable[bytes],
    header: BamHeader,
    out: Path | BinaryIO,
    fmt: Format,
    *,
    reference: Path | None = None,
    threads: int = 1,
    level: int | None = None,
    with_header: bool = True,
    on_warning: htslib.Warn | None = None,
    name: str | None = None,
) -> None:
    """Records as SAM, BAM or CRAM, in the order in which they come.

    Parameters
    ----------
    records
        Runs of whole records as in a decompressed BAM, each with its length before it.
    out
        A path, written in place, or an open file.
    reference
        FASTA for CRAM. Without it the bases are stored as they are (``no_ref``), and reading needs none.
    threads
        Threads that compress or format.
    level
        0 to 9: see ``compress_blocks`` for BAM (default 3); htslib's for CRAM; SAM has none.
    with_header
        Whether SAM starts with the header, as ``samtools view -h``. BAM and CRAM always do.
    on_warning
        Called with each line that htslib said.
    name
        What messages call the output.

    Raises
    ------
    BrokenPipeError
        The reader of ``out`` has gone, as in ``| head``: time to end quietly.
    InputError, StoreError, Bams3Error
        ``bad-level``, ``cannot-write``, ``disk-full``, ``write-failed``; those of the reference as
        ``open_as_bam``; ``bad-records`` if a run is not whole records.

    Notes
    -----
    BAM is the header verbatim, then the records, byte for byte. SAM is what ``samtools view --no-PG`` writes
    of that BAM. Holds 1 MB a thread beside the run in hand.
    """
    with contextlib.ExitStack() as stack:
        name = name or str(out if isinstance(out, Path) else getattr(out, "name", "the output"))
        stack.enter_context(htslib.write_errors(name))
        file = stack.enter_context(out.open("wb")) if isinstance(out, Path) else out
        if fmt == "bam":
            _write_bam(records, header, file, threads, DEFAULT_LEVEL if level is None else level)
        else:
            options = ["-h"] if with_header else []
            if fmt == "cram":
                options = [
                    "-C",
                    *(htslib.reference_options(reference) or ["--output-fmt-option", "no_ref=1"]),
                ]
                options += [] if level is None else ["--output-fmt-option", f"level={level}"]
            pieces = chain([header.encode()], records)
            _write_by_htslib(pieces, [*options, *htslib.thread_options(threads)], file, name, on_warning)
        file.flush()


def _write_bam(records: Iterable[bytes], header: BamHeader, file: BinaryIO, threads: int, level: int) -> None:
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads, "bams3-compress") as pool:
        for slab in _slabs(records, header):
            if len(waiting) > threads:
                file.write(waiting.popleft().result())
            waiting.append(pool.submit(compress_blocks, slab, level))
        for future in waiting:
            file.write(future.result())
    file.write(BGZF_EOF)


def _slabs(records: Iterable[bytes], header: BamHeader) -> Iterator[bytes | bytearray]:
    """What is compressed at a time: the header, in its own blocks, then 1 MB of records, in whole blocks."""
    yield header.encode()
    buffer = bytearray()
    for run in records:
        buffer += run
        whole_bytes = len(buffer) - len(buffer) % _SLAB_BYTES
        for start in range(0, whole_bytes, _SLAB_BYTES):
            yield buffer[start : start + _SLAB_BYTES]
        del buffer[:whole_bytes]
    yield buffer


def _write_by_htslib(
    pieces: Iterable[bytes], options: list[str], file: BinaryIO, name: str, on_warning: htslib.Warn | None
) -> None:
    try:
        stdout = file.fileno()
    except (AttributeError, io.UnsupportedOperation):  # in memory: htslib needs a file
        with tempfile.TemporaryFile() as spool:
            _write_by_htslib(pieces, options, spool, name, on_warning)
            spool.seek(0)
            shutil.copyfileobj(spool, file)
        return
    file.flush()
    with htslib.Samtools("view", "--no-PG", *options, "-", stdin=subprocess.PIPE, stdout=stdout) as samtools:
        fed = samtools.feed(pieces)
        outcome = samtools.end()
    if outcome.code or not fed:
        raise htslib.writing_error(name, outcome)
    outcome.pass_on(name, on_warning)


def format_of(path: Path) -> Format:
    """What a file's name says that it will hold; InputError ``unknown-format`` if nothing known."""
    if path.suffix.lower() in _FORMATS:
        return _FORMATS[path.suffix.lower()]
    raise InputError(f"{path}: its name ends in none of .bam, .sam, .cram", kind="unknown-format")


def write_alignments_file(
    records: Iterable[bytes],
    header: BamHeader,
    path: Path,
    *,
    reference: Path | None = None,
    threads: int = 1,
    level: int | None = None,
    index: bool = True,
    force: bool = False,
    on_warning: htslib.Warn | None = None,
) -> None:
    """A SAM, BAM or CRAM file, by its name, with its index for BAM and CRAM: all of it, or nothing.

    Built beside its place and renamed once. The index of a BAM is ``.bai``, or ``.csi`` where a contig is
    longer than 2**29 bp; that of a CRAM is ``.crai``. Parameters and errors as ``write_alignments``, and:

    Raises
    ------
    InputError
        kind ``unknown-format``; ``output-exists`` if there is such a file and not ``force``.
    Bams3Error
        kind ``index-failed``, for records that are not in coordinate order.
    """
    fmt = format_of(path)
    if path.exists() and not force:
        raise InputError(f"{path} exists", kind="output-exists", hint="remove it, or use --force")
    long_contigs = max(header.contigs.lengths, default=0) > MAX_BAI_BP
    suffix = {"bam": ".csi" if long_contigs else ".bai", "cram": ".crai", "sam": ""}[fmt] if index else ""
    in_place = path.exists() and not path.is_file()  # a pipe or device
    with contextlib.ExitStack() as stack:  # left in reverse: the index takes its place after the file
        beside = None
        if suffix and not in_place:
            beside = stack.enter_context(replaced(path.with_name(path.name + suffix)))
        partial = stack.enter_context(replaced(path))
        write_alignments(
            records,
            header,
            partial,
            fmt,
            reference=reference,
            threads=threads,
            level=level,
            on_warning=on_warning,
            name=str(path),
        )
        with htslib.write_errors(str(path)):
            for old in (".bai", ".csi", ".crai"):  # of the file that was there
                path.with_name(path.name + old).unlink(missing_ok=True)
        if beside is not None:
            _build_index(partial, beside, threads, str(path))


def _build_index(path: Path, index: Path, threads: int, name: str) -> None:
    kind = ["-c"] if index.suffix == ".csi" else []
    options = [os.path.abspath(path), *kind, "-o", os.path.abspath(index), *htslib.thread_options(threads)]
    with htslib.Samtools("index", *options, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as samtools:
        outcome = samtools.end().calling(options[0], name)
    if outcome.code:
        raise Bams3Error(f"{name}: cannot be indexed: {outcome.words}", kind="index-failed")


def fetch_segments(records: Iterable[bytes], header: BamHeader) -> "Iterator[pysam.AlignedSegment]":
    """Each record as pysam's AlignedSegment, decoded by htslib while the records come.

    Parameters
    ----------
    records
        Runs of whole records as in a decompressed BAM. They are pulled by another thread, ahead by the size
        of a pipe; what they raise is raised here, after the records before it.
    """
    import pysam  # noqa: PLC0415  # 30 ms that only this function needs

    read_end, write_end = os.pipe()
    feeder = htslib.Feeder(chain([header.encode()], records), os.fdopen(write_end, "wb", htslib.PIPE_BYTES))
    problem = None
    try:
        try:
            file = pysam.AlignmentFile(read_end, "rb", check_sq=False)
        finally:
            os.close(read_end)  # pysam has its own copy: when that is closed the feeder ends
        with file:
            yield from file.fetch(until_eof=True)
    except (OSError, ValueError) as err:  # also when the records ended too early, and the feeder knows why
        problem = err
    finally:
        feeder.join()
    feeder.finish()
    if problem is not None:
        raise problem
