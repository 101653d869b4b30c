"""A job of AWS Batch as tests keep it: what it was asked for, what became of it, and what AWS refuses."""

import json
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

ARN = "arn:aws:batch:us-east-1:123456789012:"
INSTANCE = "i-0123456789abcdef0"
EXITED, GONE = "Essential container in task exited", f"Host EC2 (instance {INSTANCE}) terminated."
LATE = "Job attempt duration exceeded timeout"
ENDED = ("SUCCEEDED", "FAILED")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PATTERN = re.compile(r"[A-Za-z0-9.:\s]*\*?")


class RefusalError(Exception):
    """An answer that is none: AWS's code, its words, and the status."""

    def __init__(self, message: str, code: str = "ClientException", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass
class Job:
    """A job, an array of jobs (``children``), or one of an array (``index``)."""

    id: str
    request: dict[str, Any]
    definition: dict[str, Any]
    index: int | None = None
    own_status: str = "SUBMITTED"
    reason: str = ""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    children: "list[Job]" = field(default_factory=list)
    process: "subprocess.Popen[bytes] | None" = None
    struck: str = ""  # why its process was ended: the status reason
    created_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    log: str = ""

    @property
    def status(self) -> str:
        """Its own, or what those of its children come to."""
        found = {child.own_status for child in self.children}
        if not self.children:
            return self.own_status
        return "PENDING" if found - set(ENDED) else "FAILED" if "FAILED" in found else "SUCCEEDED"

    def setting(self, name: str) -> Any:
        """What the request says, or else the definition."""
        return self.request.get(name) or self.definition.get(name) or {}

    @property
    def container(self) -> dict[str, Any]:
        """The definition's container with the request's overrides, parameters in the command."""
        overrides = self.request.get("containerOverrides", {})
        merged = {**self.definition["containerProperties"], **overrides}
        for name, key in (("environment", "name"), ("resourceRequirements", "type")):
            both = [*self.definition["containerProperties"].get(name, ()), *overrides.get(name, ())]
            merged[name] = list({one[key]: one for one in both}.values())
        given = {**self.definition.get("parameters", {}), **self.request.get("parameters", {})}
        merged["command"] = [
            re.sub(r"Ref::(\w+)", lambda found: given.get(found[1], found[0]), word)
            for word in merged.get("command", ())
        ]
        return merged

    def told(self) -> dict[str, Any]:
        """As DescribeJobs tells of it."""
        array: dict[str, Any] = {}
        if self.children:
            summary = Counter(child.own_status for child in self.children)
            array = {"arrayProperties": {"size": len(self.children), "statusSummary": summary}}
        elif self.index is not None:
            array = {"arrayProperties": {"index": self.index}}
        last = self.attempts[-1] if self.attempts else {}
        return {
            "jobId": self.id,
            "jobArn": f"{ARN}job/{self.id}",
            "jobName": self.request["jobName"],
            "jobQueue": self.request["jobQueue"],
            "status": self.status,
            "statusReason": self.reason,
            "attempts": self.attempts,
            "createdAt": self.created_ms,
            "startedAt": last.get("startedAt", self.created_ms),
            "jobDefinition": self.definition["jobDefinitionArn"],
            "container": {**self.container, **last.get("container", {})},
            "timeout": self.setting("timeout"),
            "retryStrategy": self.setting("retryStrategy"),
            **array,
        }


def is_tried_again(strategy: dict[str, Any], attempt: dict[str, Any]) -> bool:
    """Whether evaluateOnExit lets a job that failed run again: by the first condition of which all is so."""
    container = attempt["container"]
    seen = {"onStatusReason": attempt["statusReason"], "onReason": container.get("reason", "")}
    seen["onExitCode"] = str(container.get("exitCode", ""))
    for condition in strategy.get("evaluateOnExit", ()):
        wanted = {key: text for key, text in condition.items() if key != "action"}
        if all(
            seen[key].startswith(text[:-1]) if text.endswith("*") else seen[key] == text
            for key, text in wanted.items()
        ):
            return bool(condition["action"].upper() == "RETRY")
    return True


def check_limits(asked: dict[str, Any]) -> None:
    """What AWS refuses of requests whose form is right."""
    size = asked.get("arrayProperties", {}).get("size")
    strategy = asked.get("retryStrategy", {})
    patterns = [
        text
        for condition in strategy.get("evaluateOnExit", ())
        for key, text in condition.items()
        if key != "action"
    ]
    wrong = {
        "jobName": not _NAME.fullmatch(asked["jobName"]),
        "arrayProperties.size": size is not None and not 2 <= size <= 10_000,
        "containerOverrides": len(json.dumps(asked.get("containerOverrides", {}))) > 8192,
        "retryStrategy.attempts": not 1 <= strategy.get("attempts", 1) <= 10,
        "evaluateOnExit": len(strategy.get("evaluateOnExit", ())) > 5,
        "evaluateOnExit's patterns": not all(_PATTERN.fullmatch(text) for text in patterns),
        "timeout": asked.get("timeout", {}).get("attemptDurationSeconds", 60) < 60,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise RefusalError(f"Error executing request, Exception : {what} is not valid")
