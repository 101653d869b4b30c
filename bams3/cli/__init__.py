"""The command line: a thin door. stdout is data, one line an error, an exit code a kind.

Importing this costs nothing: commands, and what they use, are imported when they run.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..errors import Bams3Error

if TYPE_CHECKING:
    import click

COMMANDS = (
    "convert",
    "query",
    "coverage",
    "stats",
    "chunks",
    "cost",
    "cat",
    "export",
    "verify",
    "plan",
    "run",
    "status",
    "gather",
    "batch",
    "gc",
    "chi2-batch",
    "chi2-merge",
    "check-sheet",
    "tabulate",
    "chi2-plot",
    "ld-import",
    "ld-plan",
    "ld-tile",
    "ld-merge",
    "ld-query",
    "ld-prune",
    "ld-clump",
    "ld-decay",
    "ld-plot",
)

#: Packages that a command may do without, and the extra of bams3 that brings them.
OPTIONAL = {"matplotlib": "plots", "pgenlib": "pgen"}


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 our bug, 2 to 6 as errors.py says, 129/130/143 stopped."""
    if sys.argv[1:] == ["--version"]:
        print(f"bams3 {__version__}")
        sys.exit(0)
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup asks for
        signal.signal(signal.SIGHUP, _stop)  # the terminal is gone
    sys.meta_path.insert(0, _NoPandas())
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # as fast here; Arrow's own keeps 70 MB more
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, as by `<&-`
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # for the life of the process
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported, or a second one
        code = _interrupted()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    if code > 128:  # at once: Python would wait for threads that wait for a server
        os._exit(code)
    sys.exit(code)


class _NoPandas:
    """Hides pandas, which pyarrow imports with its first array where it is there: 0.2 s, for nothing here."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("no command uses pandas", name=fullname)


def _stop(number: int, _frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


def _run(arguments: list[str]) -> int:
    import click

    try:
        group = _group()
        with group.make_context("bams3", arguments) as context:  # main() would exit with 1 after `| head`
            group.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as err:
        print(err.format_message(), file=sys.stderr)
        return 2
    except click.ClickException as err:
        where = err.ctx.command_path if isinstance(err, click.UsageError) and err.ctx else "bams3"
        return _tell(err.format_message(), "usage", f"{where} --help", 2)
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _interrupted()
    except BrokenPipeError:  # the reader has gone, as in `| head`: nothing more to say
        _forget_stdout()
        return 0
    except MemoryError:
        return _tell("out of memory", "out-of-memory", "use fewer --workers", 4)
    except Bams3Error as err:
        return _tell(str(err), err.kind, err.hint, err.exit_code)
    except ModuleNotFoundError as err:
        extra = OPTIONAL.get((err.name or "").split(".")[0])
        if extra is None:
            raise
        return _tell(f"this needs {err.name}", "missing-package", f"pip install 'bams3[{extra}]'", 2)
    except OSError as err:
        _forget_stdout()
        kind = "disk-full" if err.errno in (errno.ENOSPC, errno.EDQUOT) else "input-output"
        return _tell(f"{err.filename or 'standard output'}: {err.strerror or err}", kind, "", 4)
    return 0


def _forget_stdout() -> None:
    """Let what is still in its buffer go nowhere when Python flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _interrupted() -> int:
    return _tell("interrupted", "interrupted", "", 130)


def _tell(message: str, kind: str, hint: str, exit_code: int) -> int:
    print(f"bams3: {' '.join(message.split())} [{kind}]", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return exit_code


def counted(n: int, noun: str) -> str:
    """``1 problem``, ``1,234 problems``."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def warn(message: str) -> None:
    """One line about something that was done all the same."""
    print(f"bams3: warning: {message}", file=sys.stderr)


def _group() -> click.Group:
    import importlib

    import click

    class Commands(click.Group):
        """Commands by module, imported when one is asked for."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            if name not in COMMANDS:
                return None
            module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
            command: click.Command = module.command
            command.name = name
            return command

    return Commands(
        help="Alignments as independent, checksummed chunks: convert them, ask them, check them.",
        params=[
            click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version)
        ],
        no_args_is_help=True,
    )


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        print(f"bams3 {__version__}")
        ctx.exit()
