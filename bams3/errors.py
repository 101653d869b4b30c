"""Errors, grouped by what the caller can do about them.

    Bams3Error            1  a bug of ours, if nothing more exact fits
    ├── InputError        2  the caller can fix it: a path, a region, an option, an unsorted file
    ├── CorruptDataError  3  the bytes are wrong: truncated, flipped, lying lengths
    ├── StoreError        4  the store or the disk failed; worth a retry
    ├── PartialError      5  some units failed, the others are done
    └── DeadlineError     6  stopped at its deadline; run again to go on

The command line prints ``bams3: MESSAGE [KIND]``, then ``hint: HINT``, and exits with the number.
``kind`` is stable: scripts may match on it.
"""


class Bams3Error(Exception):
    """A deliberate error: one line for the user, a stable kind, and a cure where there is one."""

    exit_code = 1

    def __init__(self, message: str, *, kind: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class InputError(Bams3Error):
    """The caller can fix it."""

    exit_code = 2


class CorruptDataError(Bams3Error):
    """The bytes are wrong; the message names the object and the byte offset."""

    exit_code = 3


class StoreError(Bams3Error):
    """The store, the disk or the network failed; a retry may heal it."""

    exit_code = 4


class PartialError(Bams3Error):
    """Some units failed and the others are done."""

    exit_code = 5


class DeadlineError(Bams3Error):
    """Stopped at a deadline; the same command goes on from there."""

    exit_code = 6
