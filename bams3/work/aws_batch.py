"""A plan as jobs of AWS Batch: which slices are left, and the requests that submit them as arrays.

A job of an array is told its place in it and nothing else, so each array carries the list of its slices.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..errors import InputError, PartialError
from ..slices import Slice, format_slice_list
from ..store import Store, is_s3
from .journal import LOGS, State, read_attempts
from .plan import Plan

#: AWS takes no larger array.
MOST_JOBS = 10_000
#: AWS takes no shorter time limit (s).
LEAST_TIMEOUT_S = 60
#: Of the 8,192 characters of a job's overrides, those that its list of slices may take.
_MOST_LIST = 6_000
#: A job stops by itself this long before its time limit (s), or after this share of it.
_BEFORE_S, _SHARE = 300, 0.8

#: What is tried again: all but what ends the same way. So a job that was killed (137, 143), whose store did
#: not answer (4), of which units failed (5: only those run that may heal), that stopped before its time limit
#: (6), or that never started. The first condition that fits counts. AWS takes five.
_EVALUATE = (
    {"onStatusReason": "Host EC2*", "action": "RETRY"},  # a spot instance was taken away
    {"onExitCode": "1", "action": "EXIT"},  # our bug
    {"onExitCode": "2", "action": "EXIT"},  # the input
    {"onExitCode": "3", "action": "EXIT"},  # the bytes
    {"onReason": "*", "action": "RETRY"},
)


@dataclass(frozen=True)
class Left:
    """What is left of a plan.

    Attributes
    ----------
    slices
        Numbers of slices that have units to run.
    units, final
        How many those are, and how many units are left out that failed for good or were set aside.
    runners
        Attempts that seem to run now.
    """

    slices: list[int]
    units: int
    final: int
    runners: int


@dataclass(frozen=True)
class Definition:
    """What a job definition gives a job.

    Attributes
    ----------
    arn
        Its address, with the revision.
    vcpus, memory_mb, timeout_s
        Whole CPUs; memory in 2**20 bytes; and seconds after which AWS ends an attempt, None: never.
    """

    arn: str
    vcpus: int
    memory_mb: int
    timeout_s: int | None


@dataclass(frozen=True)
class Submission:
    """How the slices of a plan are submitted.

    Attributes
    ----------
    plan, queue, definition
        Address of the plan, the job queue, and the job definition with its revision.
    workers
        Units that run at a time in each job.
    overrides
        CPUs (``VCPU``) and MB (``MEMORY``) that jobs get instead of the definition's.
    options
        More options of ``bams3 run``.
    timeout_s
        Seconds after which AWS ends an attempt; None: never.
    """

    plan: str
    queue: str
    definition: str
    workers: int
    overrides: dict[str, int]
    options: tuple[str, ...]
    attempts: int
    timeout_s: int | None

    def requests(self, numbers: Sequence[int], n_slices: int) -> list[dict[str, Any]]:
        """Requests (SubmitJob) that run these slices of a plan of ``n_slices``, one an array."""
        arrays = list(_arrays(numbers, n_slices))
        names = [self.name] if len(arrays) == 1 else [f"{self.name}-{i + 1}" for i in range(len(arrays))]
        return [self._request(name, mine, n_slices) for name, mine in zip(names, arrays, strict=True)]

    @property
    def name(self) -> str:
        """What jobs are called, after the plan, in what AWS takes for a name."""
        return "bams3-" + re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(self.plan).stem)[:100]

    def _request(self, name: str, numbers: Sequence[int], n_slices: int) -> dict[str, Any]:
        overrides: dict[str, Any] = {"command": self._command(numbers, n_slices)}
        if self.overrides:
            needs = [{"type": what, "value": str(value)} for what, value in self.overrides.items()]
            overrides["resourceRequirements"] = needs
        request = {
            "jobName": name,
            "jobQueue": self.queue,
            "jobDefinition": self.definition,
            "containerOverrides": overrides,
            "retryStrategy": {"attempts": self.attempts, "evaluateOnExit": list(_EVALUATE)},
        }
        if len(numbers) > 1:
            request["arrayProperties"] = {"size": len(numbers)}
        if self.timeout_s is not None:
            request["timeout"] = {"attemptDurationSeconds": self.timeout_s}
        return request

    def _command(self, numbers: Sequence[int], n_slices: int) -> list[str]:
        """What a job runs; an array has two jobs at least, so that a single slice is a job without one."""
        which = ["--slice-from-env", "--among", format_slice_list(numbers, n_slices)]
        if len(numbers) == 1:
            which = ["--slice", str(Slice(numbers[0], n_slices))]
        command = ["bams3", "run", self.plan, *which, "--workers", str(self.workers), *self.options]
        if self.timeout_s is not None:
            command += ["--stop-after", f"{stop_after_s(self.timeout_s)}s"]
        return command


def stop_after_s(timeout_s: int) -> int:
    """When a job stops by itself: AWS does not try again what it ended at its time limit."""
    return int(max(timeout_s - _BEFORE_S, _SHARE * timeout_s))


def _arrays(numbers: Sequence[int], n_slices: int) -> Iterator[Sequence[int]]:
    """The slices of each array: as many as it can have and as can be told it."""
    while numbers:
        size = min(len(numbers), MOST_JOBS)
        while len(format_slice_list(numbers[:size], n_slices)) > _MOST_LIST:
            size = size * 2 // 3
        yield numbers[:size]
        numbers = numbers[size:]


def slices_left(plan: Plan, work: Store, *, retry_failed: bool) -> Left:
    """The slices that have units to run, from the logs in the work folder.

    Parameters
    ----------
    retry_failed
        Whether units are among them that failed for good, or that were set aside.
    """
    now_s = time.time()
    attempts = list(read_attempts(work, f"{LOGS}{plan.id}/"))
    state = State.of(attempts, now_s)
    is_left = ~plan.done
    is_left[list(state.done)] = False
    final = {unit for unit, failure in state.failed.items() if failure.is_final} | state.set_aside
    if retry_failed:
        final = set()
    is_left[list(final)] = False
    before = np.append(0, np.cumsum(is_left))[np.array(plan.bounds)]
    slices = (np.flatnonzero(np.diff(before)) + 1).tolist()
    runners = sum(attempt.is_running(now_s) for attempt in attempts)
    return Left(slices, int(is_left.sum()), len(final), runners)


# ---- what cannot work ----


def check_addresses(address: str, plan: Plan) -> None:
    """InputError ``not-in-s3`` where a job, which shares no disk with this machine, would find nothing."""
    hint = "plan with -o s3://BUCKET/PLAN.json, --work s3://... and stores in S3"
    places = {"the plan": address, "its work folder": plan.work}
    places |= {f"the input of {sample.name}": sample.store for sample in plan.samples}
    for what, place in places.items():
        if not is_s3(place):
            message = f"{place}: {what} is on this machine, and jobs of AWS Batch share no disk with it"
            raise InputError(message, kind="not-in-s3", hint=hint)


def check_left(left: Left, address: str) -> None:
    """PartialError ``units-failed`` where no more than that is left."""
    if left.final and not left.slices:
        words = f"{left.final} unit{'s' * (left.final != 1)} failed for good, and all others are done"
        hint = f"bams3 status {address} --missing says why; mend the cause, then add --retry-failed"
        raise PartialError(words, kind="units-failed", hint=hint)
