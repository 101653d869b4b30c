"""A samtools command in a child process: its pipes, its end, and its words turned into our errors.

pysam holds the GIL for as long as a samtools command runs and keeps its options in globals; a child can be
stopped at any moment and takes nobody with it. It starts in 40 ms, beside the caller's own work.
"""

import contextlib
import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Self

from .errors import Bams3Error, CorruptDataError, InputError, StoreError

Warn = Callable[[str], None]

PIPE_BYTES = 1 << 18
_MAX_MESSAGE_BYTES = 1 << 16
_MAX_WARNINGS = 20
_MAX_WORDS = 300
#: What the disk says where another name, or another right, would do.
_NAME_IS_WRONG = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
}

_CHILD = """
import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # to end without a word when the reader has gone
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path.insert(0, sys.argv[1])
import pysam
command, options = getattr(pysam.samtools, sys.argv[2]), sys.argv[3:]
if sys.argv[2] != "index":  # pysam looks into the options of index, and wants them as text
    options = map(os.fsencode, options)
try:
    command(*options, catch_stdout=False)
except pysam.SamtoolsError as err:
    sys.exit(str(err.value).partition("stderr=")[2])
print(command.get_messages() or "", file=sys.stderr)
"""


class Outcome(NamedTuple):
    """How a child ended, and what htslib said."""

    code: int
    lines: list[str]

    @property
    def words(self) -> str:
        """The words of htslib in one line: its errors, first things first, or else the last that it said."""
        errors = [line for line in self.lines if line.startswith("[E::")]
        errors += [line for line in self.lines if "Parse error at line" in line]
        return "; ".join(map(_plain, errors or self.lines[-1:] or ["no message"]))[:_MAX_WORDS]

    def says(self, *phrases: str) -> bool:
        """Whether any line holds any of these phrases."""
        return any(phrase in line for line in self.lines for phrase in phrases)

    def calling(self, path: str, name: str) -> "Outcome":
        """The same with the file called as the user calls it."""
        return self._replace(lines=[line.replace(path, name) for line in self.lines])

    def pass_on(self, name: str, on_warning: Warn | None) -> None:
        """Give each line to the caller, to show or to keep."""
        if on_warning is not None:
            for line in self.lines[:_MAX_WARNINGS]:
                on_warning(f"{name}: {_plain(line)}")


def _plain(line: str) -> str:
    return re.sub(r"^\[\w::\w+\] ", "", line)


class Samtools:
    """A samtools command in a child process; leaving the context ends it, whatever it does.

    Parameters
    ----------
    stdin, stdout
        As for ``subprocess.Popen``.
    """

    def __init__(self, command: str, *options: str, stdin: int, stdout: int) -> None:
        program = [sys.executable, "-I", "-S", "-c", _CHILD, _folder_of_pysam(), command, *options]
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the context
        self._process = subprocess.Popen(
            program, bufsize=PIPE_BYTES, stdin=stdin, stdout=stdout, stderr=self._messages
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._close_stdin()
        if self._process.stdout:
            self._process.stdout.close()
        self._process.wait()
        self._messages.close()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into the child."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe out of the child."""
        assert self._process.stdout is not None
        return self._process.stdout

    def has_failed(self) -> bool:
        """Whether the child has ended already, and not well."""
        return bool(self._process.poll())

    def feed(self, pieces: Iterable[bytes]) -> bool:
        """Write all pieces into the child, and their end; false if it stopped reading before."""
        try:
            for piece in pieces:
                self.stdin.write(piece)
            self.stdin.close()
        except BrokenPipeError:
            return False
        return True

    def end(self) -> Outcome:
        """Wait for the child to end by itself."""
        self._close_stdin()
        code = self._process.wait()
        size_bytes = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, size_bytes - _MAX_MESSAGE_BYTES))
        text = self._messages.read().decode("utf-8", "replace")
        return Outcome(code, list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())))

    def _close_stdin(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()


def _folder_of_pysam() -> str:
    """Where the child finds pysam, without the cost of importing it here."""
    found = importlib.util.find_spec("pysam")
    if found is None or found.origin is None:
        raise Bams3Error("pysam is not installed", kind="no-pysam", hint="pip install pysam")
    return os.path.dirname(os.path.dirname(found.origin))


class Feeder(threading.Thread):
    """Writes pieces into a pipe until they end or its reader goes; keeps the error of their source."""

    def __init__(self, pieces: Iterable[bytes], pipe: IO[bytes]) -> None:
        super().__init__(daemon=True, name="bams3-feeder")
        self._pieces = pieces
        self._pipe = pipe
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Write; what goes wrong is for ``finish`` to raise."""
        try:
            for piece in self._pieces:
                self._pipe.write(piece)
        except BrokenPipeError:
            pass  # the reader says why, if it matters
        except BaseException as err:  # noqa: BLE001  # handed to the thread that reads
            self._error = err
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()

    def finish(self) -> None:
        """Wait until all is written; raise what the source of the pieces raised."""
        self.join()
        if self._error is not None:
            raise self._error


def thread_options(threads: int) -> list[str]:
    """Options for so many threads in all."""
    return ["-@", str(max(threads - 1, 0))]


def reference_options(reference: Path | None) -> list[str]:
    """Options for a CRAM's reference.

    Raises
    ------
    InputError
        kind ``no-such-file``.
    """
    if reference is None:
        return []
    if not reference.is_file():
        raise InputError(f"{reference}: no such file", kind="no-such-file")
    return ["-T", os.path.abspath(reference)]


def reading_error(name: str, outcome: Outcome) -> Bams3Error:
    """The error of a child that failed to read the file ``name``."""
    if outcome.code < 0:
        return _death(name, outcome) or CorruptDataError(
            f"{name}: htslib crashed on it", kind="htslib-crashed"
        )
    if outcome.says("Positional data is too large"):
        return InputError(
            f"{name}: a position lies beyond 2,147,483,647, the last that BAM can hold",
            kind="position-too-long",
        )
    return _reference_error(name, outcome) or CorruptDataError(
        f"{name}: htslib cannot read it: {outcome.words}", kind="bad-alignments"
    )


def writing_error(name: str, outcome: Outcome) -> Bams3Error | BrokenPipeError:
    """The error of a child that failed to write the file ``name``, or whose reader has gone."""
    if outcome.code in (0, -signal.SIGPIPE):
        return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE), name)
    if outcome.code < 0:
        return _death(name, outcome) or _failed_write(
            name, "crashed while it wrote, as it may on a full disk"
        )
    for number in (errno.ENOSPC, errno.EDQUOT):
        if outcome.says(os.strerror(number)):
            return _os_error(name, OSError(number, os.strerror(number)))
    if found := _reference_error(name, outcome):
        return found
    if outcome.says('reading file "-"', "read the header") and not outcome.says("writing to"):
        return CorruptDataError(f"{name}: records that htslib refuses: {outcome.words}", kind="bad-records")
    return _failed_write(name, f"cannot write it: {outcome.words}")


def _failed_write(name: str, how: str) -> StoreError:
    return StoreError(f"{name}: htslib {how}", kind="write-failed", hint="is the disk full?")


def _death(name: str, outcome: Outcome) -> StoreError | None:
    """The error of a child that was killed; none if it did that to itself."""
    if -outcome.code in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        number = signal.Signals(-outcome.code)
        return StoreError(f"{name}: htslib was ended by {number.name}", kind="htslib-killed")
    return None


def _reference_error(name: str, outcome: Outcome) -> InputError | None:
    if outcome.says("reference mismatch"):
        message = f"{name}: not the reference that it was written with: {outcome.words}"
        return InputError(message, kind="wrong-reference")
    if outcome.says("Unable to fetch reference", "Failed to populate reference"):
        contig = re.search(r'(?:fetch|populate) reference "?([^\s"]+)', "\n".join(outcome.lines))
        message = f"{name}: needs its reference, which is not found: {contig[1] if contig else outcome.words}"
        hint = "give the FASTA that it was written with: --reference FASTA"
        return InputError(message, kind="missing-reference", hint=hint)
    if outcome.says("[E::fai_", "[E::refs_load_fai]"):
        return InputError(f"{name}: its reference cannot be used: {outcome.words}", kind="bad-reference")
    return None


@contextlib.contextmanager
def write_errors(name: str) -> Iterator[None]:
    """Errors of the disk as ours; a reader that has gone stays a ``BrokenPipeError``."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as err:
        raise _os_error(name, err) from err


def _os_error(name: str, err: OSError) -> Bams3Error:
    why = os.strerror(err.errno) if err.errno else str(err)  # Arrow's own words name the file aside
    if err.errno in _NAME_IS_WRONG:
        return InputError(f"{name}: cannot be written: {why}", kind="cannot-write")
    kind = "disk-full" if err.errno in (errno.ENOSPC, errno.EDQUOT) else "write-failed"
    return StoreError(f"{name}: {why}", kind=kind)
