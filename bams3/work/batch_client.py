"""AWS Batch, asked: is there such a queue and job definition; and jobs, submitted."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import botocore.session
from botocore import exceptions as boto
from botocore.client import Config

from .. import __version__
from ..errors import Bams3Error, InputError, StoreError
from ..store import S3Options
from ..store.s3_client import SENDS
from ..store.s3_errors import code_of, error_of
from .aws_batch import Definition

_CREDENTIALS = "log in (aws sso login, aws configure) or set AWS_PROFILE"
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_UNKNOWN = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}


class BatchClient:
    """AWS Batch of one account and region.

    Raises
    ------
    InputError
        What a retry cannot heal: ``no-credentials``, ``bad-credentials``, ``no-permission``,
        ``bad-configuration`` (no region, for one), ``batch-refused``.
    StoreError
        What it may: ``batch-unavailable``, ``no-connection``, ``expired-token``.

    Notes
    -----
    botocore sends again, with growing and random pauses, what throttling, 5xx and the network spoil. So a
    submission whose answer was lost may be there twice, which costs units run twice and does no harm.
    """

    def __init__(self, options: S3Options) -> None:
        with _errors("sign in"):
            session = botocore.session.Session(profile=options.profile)
            retries = {} if session.get_config_variable("max_attempts") else {"total_max_attempts": SENDS}
            config = Config(retries={"mode": "standard", **retries}, user_agent_extra=f"bams3/{__version__}")
            region = boto3.Session(botocore_session=session, region_name=options.region)
            self._client = region.client("batch", config=config)

    def check_queue(self, name: str) -> None:
        """InputError ``no-such-queue`` or ``queue-disabled`` where jobs cannot be submitted."""
        with _errors("describe job queues"):
            found = self._client.describe_job_queues(jobQueues=[name])["jobQueues"]
        hint = "aws batch describe-job-queues lists those of this account and region"
        if not found:
            raise InputError(f"there is no job queue {name}", kind="no-such-queue", hint=hint)
        state, status = found[0]["state"], found[0].get("status", "VALID")
        if state != "ENABLED" or status not in ("VALID", "UPDATING", "CREATING"):
            hint = f"aws batch update-job-queue --job-queue {name} --state ENABLED"
            message = f"the job queue {name} takes no jobs: it is {state}, {status}"
            raise InputError(message, kind="queue-disabled", hint=hint)

    def definition(self, name: str) -> Definition:
        """A job definition; its newest revision where none is given.

        Raises
        ------
        InputError
            ``no-such-job-definition``; ``inactive-job-definition``; ``bad-job-definition``: not of one
            container.
        """
        found = self._definitions(name)
        if not found:
            hint = "envs/batch-job-definition.json is one, for aws batch register-job-definition"
            raise InputError(f"there is no job definition {name}", kind="no-such-job-definition", hint=hint)
        active = [one for one in found if one["status"] == "ACTIVE"]
        if not active:
            hint = "register it anew, or name a revision that is active"
            message = f"the job definition {name} is inactive"
            raise InputError(message, kind="inactive-job-definition", hint=hint)
        newest = max(active, key=lambda one: int(one["revision"]))
        if newest["type"] != "container" or "containerProperties" not in newest:
            message = f"the job definition {name} is not of one container"
            raise InputError(
                message, kind="bad-job-definition", hint="--job-definition wants type: container"
            )
        return _definition(newest)

    def _definitions(self, name: str) -> list[Mapping[str, Any]]:
        """Revisions of a definition, or the one that is named; inactive ones where there are no others."""
        with _errors("describe job definitions"):
            if re.search(r":[0-9]+$", name):
                one: list[Mapping[str, Any]]
                one = self._client.describe_job_definitions(jobDefinitions=[name])["jobDefinitions"]
                return one
            pages = self._client.get_paginator("describe_job_definitions")
            family = {"jobDefinitionName": name.rpartition("/")[2]}
            for how in ({"status": "ACTIVE"}, {}):
                found = [one for page in pages.paginate(**family, **how) for one in page["jobDefinitions"]]
                if found:
                    break
            return found

    def submit(self, request: Mapping[str, Any]) -> str:
        """Submit a job, or an array of jobs; its id."""
        with _errors("submit jobs"):
            return str(self._client.submit_job(**request)["jobId"])


def _definition(told: Mapping[str, Any]) -> Definition:
    """What a definition gives: of Fargate a fraction of a CPU counts as one; older ones say it apart."""
    container, limit_s = told["containerProperties"], told.get("timeout", {}).get("attemptDurationSeconds")
    needs = {one["type"]: one["value"] for one in container.get("resourceRequirements", ())}
    vcpus = float(needs.get("VCPU", container.get("vcpus", 1)))
    memory_mb = int(needs.get("MEMORY", container.get("memory", 0)))
    return Definition(str(told["jobDefinitionArn"]), max(1, int(vcpus)), memory_mb, limit_s)


@contextlib.contextmanager
def _errors(doing: str) -> Iterator[None]:
    """What boto3 raises as ours, in one line."""
    try:
        yield
    except boto.ClientError as err:
        raise _answered(err, doing) from err
    except (boto.BotoCoreError, ValueError, OSError) as err:
        raise error_of(err, "AWS Batch", "") from err


def _answered(err: boto.ClientError, doing: str) -> Bams3Error:
    """What an answer of AWS Batch means."""
    code, meta = code_of(err), err.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    if code in _EXPIRED:
        hint = "renew it (aws sso login), then submit again"
        return StoreError("AWS Batch: the session token has expired", kind="expired-token", hint=hint)
    if code in _UNKNOWN:
        words = f"AWS Batch does not know these credentials ({code})"
        return InputError(words, kind="bad-credentials", hint=_CREDENTIALS)
    if code in _FORBIDDEN:
        hint = "needed: batch:SubmitJob, batch:DescribeJobQueues, batch:DescribeJobDefinitions"
        return InputError(f"AWS Batch: you may not {doing}", kind="no-permission", hint=hint)
    if status >= 500 or status == 429 or code in _THROTTLED:
        tries = meta.get("RetryAttempts", 0) + 1
        words = f"AWS Batch answers {status} {code} after {tries} tries to {doing}"
        return StoreError(
            words, kind="batch-unavailable", hint="submit again later: what is done is left out"
        )
    said = " ".join(str(err.response.get("Error", {}).get("Message") or code).split())[:300]
    hint = "is this the address of AWS Batch? look at --dry-run"
    return InputError(f"AWS Batch refuses to {doing}: {said}", kind="batch-refused", hint=hint)
