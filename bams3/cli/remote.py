"""What commands share about S3: how it is reached, what was asked of it, and files that lie there."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import Bams3Error, InputError
from ..format import spec
from ..store import Requests, S3Options, Store, is_s3, store_at
from ..store.base import MissingObjectError

if TYPE_CHECKING:
    from ..query import StoreReader
    from ..store.s3 import S3Store

#: Files that may have an index beside them, and indexes, which are wrong when the file is replaced.
_INDEXED, _INDEXES = {".gz", ".bam", ".cram"}, (".tbi", ".csi", ".bai", ".crai")

_OPTIONS = (
    click.Option(
        ["--endpoint-url"],
        metavar="URL",
        envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        help="Server of s3:// addresses, where it is not AWS [$AWS_ENDPOINT_URL].",
    ),
    click.Option(["--profile"], metavar="NAME", help="Profile of the AWS configuration [$AWS_PROFILE]."),
    click.Option(["--aws-region"], metavar="NAME", help="Region of the bucket [$AWS_REGION]."),
    click.Option(["--anonymous"], is_flag=True, help="Do not sign requests: for public buckets."),
    click.Option(
        ["--requests"],
        is_flag=True,
        help="Write to stderr, as JSON, what was asked of S3 or the disk.",
    ),
)


def s3_options(command: click.Command) -> click.Command:
    """Give a command the options about S3; ``store`` and the types below follow them."""
    for option in _OPTIONS:
        option.expose_value, option.is_eager = False, True  # files of other options may lie in S3
        option.callback = _keep
        command.params.append(option)
    return command


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    ctx.meta[f"bams3.{option.name}"] = value
    if option.name == "requests" and value:
        ctx.call_on_close(lambda: print(f"requests: {json.dumps(requests())}", file=sys.stderr))


def given_options() -> S3Options:
    """How S3, and what else of AWS a command uses, is reached."""
    meta = click.get_current_context().meta
    endpoint_url, profile, region, anonymous = (
        meta.get(f"bams3.{name}") for name in ("endpoint_url", "profile", "aws_region", "anonymous")
    )
    return S3Options(endpoint_url, profile, region, bool(anonymous))


def given_to_jobs() -> list[str]:
    """Options by which a job elsewhere finds the same S3; who it is, it must know itself."""
    given = given_options()
    options = ["--endpoint-url", given.endpoint_url] if given.endpoint_url else []
    options += ["--aws-region", given.region] if given.region else []
    return options + ["--anonymous"] * given.anonymous


def store(address: str) -> Store:
    """The bytes behind a path or S3 address, as the command's options reach it; its requests are counted."""
    return counting_opener()(address)


def counting_opener() -> Callable[[str], Store]:
    """A function that opens stores as ``store`` does, in any thread."""
    options, counted, lock = given_options(), _asked(), threading.Lock()

    def open_one(address: str) -> Store:
        found = store_at(address, options)
        with lock:
            _count_once(counted, found.requests)
        return found

    return open_one


def opener() -> Callable[[str], Store]:
    """A function that opens stores as ``store`` does, here or in another process, uncounted."""
    return functools.partial(store_at, s3=given_options())


def count(asked: Requests) -> None:
    """Count what was asked elsewhere as this command's."""
    _asked().append(asked)


def folder(address: str) -> tuple[S3Store, str]:
    """What lies in S3 beside an object, and its name."""
    from ..store.s3 import s3_folder

    found, name = s3_folder(address, given_options())
    _count_once(_asked(), found.requests)
    return found, name


def _asked() -> list[Requests]:
    """What was asked of the stores that this command opened."""
    counted: list[Requests] = click.get_current_context().meta.setdefault("bams3.counted", [])
    return counted


def _count_once(counted: list[Requests], asked: Requests) -> None:
    if not any(one is asked for one in counted):  # stores of a client count together
        counted.append(asked)


def opened(address: str) -> StoreReader:
    """The store behind a path or S3 address."""
    from ..query import StoreReader

    return StoreReader(store(address))


def requests() -> dict[str, Any]:
    """What the command has asked of stores so far."""
    total = Requests()
    for one in _asked():
        total.add(**one.as_dict())
    return total.as_dict()


# ---- files of options ----


def address_of(path: Path) -> str:
    """What the user calls a file."""
    return str(click.get_current_context().meta.get("bams3.staged", {}).get(path, path))


def refuse_existing(path: Path) -> None:
    """InputError ``output-exists`` for an output in S3 that is there."""
    address = address_of(path)
    if is_s3(address):
        there, name = folder(address)
        if there.exists(name):
            raise InputError(f"{address} exists", kind="output-exists", hint="remove it, or use --force")


@contextmanager
def _fetched(address: str) -> Iterator[Path]:
    there, name = folder(address)
    with _staged(address, name) as local:
        try:
            local.write_bytes(there.get(name))
        except MissingObjectError as err:
            raise InputError(f"{address}: no such file", kind="no-such-file") from err
        yield local


def fetched_set(address: str, files: Sequence[Sequence[str]]) -> Path:
    """The prefix on disk of a set of files in S3, which are fetched for as long as the command runs.

    Parameters
    ----------
    address
        What the names of all begin with.
    files
        How they end; of each the first that there is.
    """
    ctx = click.get_current_context()
    with ctx.scope(cleanup=False):
        return ctx.with_resource(_fetched_set(address, files))


@contextmanager
def _fetched_set(address: str, files: Sequence[Sequence[str]]) -> Iterator[Path]:
    there, name = folder(address)
    with _staged(address, name) as prefix:
        for ends in files:
            end = next((end for end in ends if there.exists(name + end)), None)
            if end is None:
                raise InputError(f"{address}{ends[0]}: no such file", kind="no-such-file")
            prefix.with_name(name + end).write_bytes(there.get(name + end))
        yield prefix


@contextmanager
def _sent(address: str) -> Iterator[Path]:
    there, name = folder(address)
    if _is_store(there):
        raise InputError(f"{address} lies in a store", kind="usage", hint="give a file outside of it")
    with _staged(address, name) as local:
        yield local
        if local.suffix in _INDEXED:  # an index of the file that was there must not outlive it
            with suppress(InputError):  # who may not delete can live with one
                there.delete(*(name + suffix for suffix in _INDEXES))
        for path in sorted(local.parent.iterdir()):
            with path.open("rb") as file:
                there.upload(path.name, file)


def _is_store(there: Store) -> bool:
    """Whether a manifest is seen; who may only write sees none."""
    try:
        return there.exists(spec.MANIFEST_KEY)
    except InputError as err:
        if err.kind != "no-permission":
            raise
        return False


@contextmanager
def _staged(address: str, name: str) -> Iterator[Path]:
    """A place for a file of this name; errors call it what the user does."""
    with tempfile.TemporaryDirectory(prefix="bams3-") as place:
        local = Path(place, name)
        click.get_current_context().meta.setdefault("bams3.staged", {})[local] = address
        try:
            yield local
        except Bams3Error as err:
            err.args = (str(err).replace(str(local), address),)
            raise


class _StagedFile(click.ParamType[Path]):
    """A file that may lie in S3: the command is given one of the same name on disk."""

    name = "file"

    def __init__(self, stage: Callable[[str], AbstractContextManager[Path]]) -> None:
        self._stage = stage

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if isinstance(value, Path) or not is_s3(value):
            return Path(value)
        assert ctx is not None
        with ctx.scope(cleanup=False):
            return ctx.with_resource(self._stage(value))


#: A file that a command reads; from S3 it is fetched first.
INPUT_FILE = _StagedFile(_fetched)
#: A file that a command writes; to S3 it goes at the end, with what lies beside it, if all went well.
OUTPUT_FILE = _StagedFile(_sent)
