"""``bams3 batch``: a plan's slices as jobs of AWS Batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import Bams3Error, InputError
from ..regions import parse_bytes
from . import counted, warn
from .remote import INPUT_FILE, address_of, given_options, given_to_jobs, s3_options, store
from .run import Duration

if TYPE_CHECKING:
    from ..work.aws_batch import Left
    from ..work.batch_client import BatchClient


@click.group(short_help="Submit a plan to AWS Batch.", no_args_is_help=True)
def command() -> None:
    """AWS Batch: submit the slices of a plan.

    \b
    Examples:
      bams3 batch submit s3://bucket/plan.json --queue spot --job-definition bams3
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark


@s3_options
@command.command(short_help="Submit the slices of a plan that are left.", no_args_is_help=True)
@click.argument("plan", type=INPUT_FILE, metavar="PLAN")
@click.option("--queue", required=True, metavar="NAME", help="Job queue, or its ARN.")
@click.option(
    "--job-definition",
    required=True,
    metavar="NAME[:REVISION]",
    help="Job definition whose container has bams3, or its ARN [newest revision].",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, 10),
    default=5,
    metavar="N",
    help="Tries of a job that was killed, whose spot instance was taken away, or in which units failed [5].",
)
@click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    help="End a try after this time (6h); it stops by itself before, and the next goes on [definition's].",
)
@click.option(
    "--vcpus",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="CPUs, and so workers, of a job [definition's].",
)
@click.option("--memory", metavar="SIZE", help="Memory of a job, such as 4G [definition's].")
@click.option("--retry-failed", is_flag=True, help="Run again what failed for good or was set aside.")
@click.option("--dry-run", is_flag=True, help="Check all, write the requests as JSON, and submit nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write jobs, and the slices of each, as JSON.")
def submit(
    plan: Path,
    queue: str,
    job_definition: str,
    attempts: int,
    timeout: float | None,
    vcpus: int | None,
    memory: str | None,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Submit the slices of PLAN that are left, as arrays of up to 10,000 jobs, and write the jobs' ids.

    PLAN, its --work and its inputs lie in S3. A job runs `bams3 run` for one slice. It is tried again when
    its instance was taken away, when it was killed, and on exit codes 4, 5 and 6, but not on 1, 2 and 3; what
    was done is not run again. Slices without anything left are left out, so this may be given again when all
    jobs have ended, or for a plan that was made anew.

    A definition with less memory than the plan needs is refused. A job of --vcpus N runs N units at a time.

    \b
    Examples:
      bams3 batch submit s3://bucket/plan.json --queue spot --job-definition bams3 --dry-run
      bams3 batch submit s3://bucket/plan.json --queue spot --job-definition bams3:7 --timeout 2h
      bams3 batch submit s3://bucket/plan.json --queue spot --job-definition bams3 --vcpus 4 --memory 8G
      bams3 status s3://bucket/plan.json --watch
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..work import aws_batch
    from ..work.batch_client import BatchClient
    from ..work.plan import read_plan

    limit_s = _limit_s(timeout)
    memory_mb = None if memory is None else parse_bytes(memory) >> 20
    mine, address = read_plan(plan), address_of(plan)
    aws_batch.check_addresses(address, mine)
    left = aws_batch.slices_left(mine, store(mine.work), retry_failed=retry_failed)
    aws_batch.check_left(left, address)
    batch = BatchClient(given_options())
    batch.check_queue(queue)
    definition = batch.definition(job_definition)
    workers = vcpus or definition.vcpus
    _check_memory(mine.mem_mb(workers), workers, job_definition, definition.memory_mb, memory_mb)
    overrides = {"VCPU": vcpus, "MEMORY": memory_mb}
    submission = aws_batch.Submission(
        plan=address,
        queue=queue,
        definition=definition.arn,
        workers=workers,
        overrides={what: value for what, value in overrides.items() if value is not None},
        options=(*given_to_jobs(), *["--retry-failed"] * retry_failed),
        attempts=attempts,
        timeout_s=limit_s or definition.timeout_s,
    )
    requests = submission.requests(left.slices, mine.n_slices)
    if dry_run:
        click.echo(json.dumps(requests, indent=1))
        return
    _tell(_submit(batch, requests), left, address, as_json)


def _limit_s(timeout: float | None) -> int | None:
    """The time limit as AWS takes it; InputError ``usage``."""
    from ..work.aws_batch import LEAST_TIMEOUT_S

    if timeout is not None and timeout < LEAST_TIMEOUT_S:
        words = f"--timeout: {timeout:g} s, and AWS Batch takes no limit below {LEAST_TIMEOUT_S} s"
        raise InputError(words, kind="usage", hint="a slice should take minutes: make fewer, larger ones")
    return None if timeout is None else int(timeout)


def _check_memory(need_mb: int, workers: int, definition: str, has_mb: int, given_mb: int | None) -> None:
    """InputError ``too-little-memory`` of a definition; what the user gives himself is a warning."""
    need = f"{counted(workers, 'worker')} may need {need_mb} MB"
    if given_mb is not None:
        if given_mb < need_mb:
            warn(f"--memory {given_mb}M: {need}")
        return
    if has_mb >= need_mb:
        return
    words = f"the job definition {definition} gives a job {has_mb} MB, and {need}"
    raise InputError(words, kind="too-little-memory", hint=f"add --memory {need_mb}M")


def _submit(batch: BatchClient, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Submit jobs; an error says which are submitted already."""
    jobs: list[dict[str, Any]] = []
    for request in requests:
        try:
            job_id = batch.submit(request)
        except Bams3Error as err:
            if jobs:
                before = ", ".join(job["id"] for job in jobs)
                err.args = (f"{err}; submitted before: {before}",)
            raise
        size = request.get("arrayProperties", {}).get("size", 1)
        jobs.append({"id": job_id, "name": request["jobName"], "slices": size})
    return jobs


def _tell(jobs: list[dict[str, Any]], left: Left, address: str, as_json: bool) -> None:
    """The jobs' ids, or all as JSON; and on stderr how to go on."""
    if as_json:
        click.echo(
            json.dumps({"plan": address, "units": left.units, "failed": left.final, "jobs": jobs}, indent=1)
        )
    else:
        for job in jobs:
            click.echo(job["id"])
    if not jobs:
        click.echo("all units are done: nothing is submitted", err=True)
        return
    slices, units = counted(len(left.slices), "slice"), counted(left.units, "unit")
    click.echo(f"{slices} with {units} in {counted(len(jobs), 'job')} of AWS Batch", err=True)
    click.echo(f"how far they are: bams3 status {address} --watch", err=True)
    if left.final:
        warn(f"{counted(left.final, 'unit')} failed for good and left out: bams3 status {address} --missing")
    if left.runners:
        warn(f"{counted(left.runners, 'job')} of this plan run already; what two run at once is done twice")
