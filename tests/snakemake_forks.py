"""Snakemake's command in forks of a process that has imported it: the import is most of a short run."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What ``python -m snakemake`` does, once for each line of the standard input; says how each run ended. What
#: Snakemake imports only when it runs is imported beforehand, too.
_PARENT = """
import json, os, sys, jsonschema, smart_open
import snakemake_interface_report_plugins.registry
from snakemake.cli import main

for line in sys.stdin:
    asked = json.loads(line)
    if not (child := os.fork()):
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        for number, name in enumerate((os.devnull, asked["out"], asked["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        sys.argv[1:] = asked["options"]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _parent() -> "subprocess.Popen[str]":
    """The process that forks; it ends with its standard input, which is when this process ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", _PARENT], text=True, **pipes)


def snakemake(options: Sequence[str], env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run it to its end in the working directory of this process."""
    parent = _parent()
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        asked = {"options": [*options], "env": {**env}, "cwd": os.getcwd(), "out": str(out), "err": str(err)}
        parent.stdin.write(json.dumps(asked) + "\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        return subprocess.CompletedProcess(["snakemake", *options], code, out.read_text(), err.read_text())
