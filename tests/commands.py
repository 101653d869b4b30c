"""Commands as users meet them: exit code, words, and nothing that looks like a bug."""

import contextlib
import io
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bams3.cli import _run

EXIT_CODES = {
    2: "not-alignments unsorted position-too-long output-exists not-a-store missing-reference no-such-file"
    " not-a-file no-permission bad-endpoint bad-configuration too-many-tags not-a-chunk mixed-stores usage"
    " bad-address unknown-scheme no-such-bucket no-credentials bad-credentials wrong-region bad-certificate"
    " archived s3-refused input-changed bad-time bad-slice not-sliceable slices-missing bad-cut"
    " too-little-memory not-results doubled-slice not-a-slice no-summary slice-mismatch bad-counts"
    " doubled-batch not-a-panel no-samples no-variants unknown-sample unknown-contig bad-region bad-samples"
    " polyploid bad-position bad-fam bad-bim bad-psam bad-pvar doubled-sample missing-package no-such-tile"
    " bad-tiles no-pairs not-tiles tile-mismatch doubled-tile tiles-missing cannot-write",
    3: "truncated-file bad-bgzf-block bad-bgzf-crc bad-bam-header bad-record bad-tag cigar-mismatch"
    " bad-alignments bad-manifest bad-checksum bad-index bad-chunk bad-column missing-object"
    " damaged newer-format older-format bad-block bad-vcf bad-genotype bad-pgen bad-size",
    4: "disk disk-full write-failed input-output out-of-memory s3-unavailable no-connection expired-token"
    " recent-writes",
    130: "interrupted",
}
EXIT_CODE = {kind: code for code, kinds in EXIT_CODES.items() for kind in kinds.split()}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def kind(self) -> str:
        """Kind of the one error, whose exit code must be the kind's; empty where there is none."""
        lines = [line for line in self.err.splitlines() if not line.startswith("bams3: warning: ")]
        if self.code == 0:
            assert lines == [] or all(not line.startswith("bams3: ") for line in lines), self.err
            return ""
        assert "Traceback" not in self.err, self.err
        found = re.fullmatch(r"bams3: \S.* \[([a-z0-9-]+)\]", lines[0])
        assert found, self.err
        assert lines[1:] == [] or (len(lines) == 2 and lines[1].startswith("hint: ")), self.err
        assert EXIT_CODE[found[1]] == self.code, self.err
        return found[1]


def run(*arguments: str | Path) -> Done:
    """A command in this process; an error that is not ours fails the test by itself."""
    out, err = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(out, "utf-8", "surrogateescape", write_through=True)
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(err):
        code = _run([str(argument) for argument in arguments])
    return Done(code, out.getvalue().decode("utf-8", "surrogateescape"), err.getvalue())


def start(*arguments: str | Path, **options: object) -> "subprocess.Popen[str]":
    """A command in a process of its own, its words in pipes."""
    program = [sys.executable, "-m", "bams3", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, **(pipes | options))  # type: ignore[call-overload,no-any-return]


def run_apart(*arguments: str | Path, **options: object) -> Done:
    """A command in a process of its own, to its end."""
    process = start(*arguments, **options)
    out, err = process.communicate()
    return Done(process.returncode, out or "", err or "")


def convert(source: str | Path, out: str | Path, *options: str) -> Done:
    return run("convert", "--quiet", *options, source, out)


def objects(store: Path) -> dict[str, bytes]:
    """Every object of a local store but the provenance."""
    found = {
        path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()
    }
    found.pop("_provenance.json", None)
    return found
