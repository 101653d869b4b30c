"""AWS Batch for tests, on 127.0.0.1: its jobs are processes of this machine, and can meet what jobs meet.

    with moto_server() as s3, BatchServer(environment(s3.url)) as batch:       # in 0.1 s
        batch.add_queue("spot")
        batch.add_definition("bams3", vcpus=1, memory_mb=2048)
        client = boto3.client("batch", ...)             # AWS_ENDPOINT_URL_BATCH = batch.url
        job = batch.wait(client.submit_job(...)["jobId"])
        assert [attempt["container"]["exitCode"] for attempt in job.children[0].attempts] == [137, 0]

As AWS documents it, and no more than this pack needs: arrays, attempts and what is tried again
(evaluateOnExit), time limits, termination, and the limits of requests, which are checked against botocore's
model first. A job gets the environment that the server was made with, as its role, and finds the programs of
this Python first. S3 is another server's. It is a thread of the tests' process, so that tests see its jobs.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from batch_jobs import ARN, ENDED, EXITED, GONE, LATE, Job, RefusalError, check_limits, is_tried_again


class BatchServer:
    """AWS Batch, running within ``with``.

    Parameters
    ----------
    environment
        What jobs find in theirs: where S3 is, and who they are.
    slots
        Jobs that run at a time; none: jobs are taken and never run.
    second_s
        How long a second of a job's time limit is: AWS takes no limit below 60.
    """

    def __init__(self, environment: Mapping[str, str], slots: int = 2, second_s: float = 1.0) -> None:
        self._environment, self._second_s = dict(environment), second_s
        self._pool = ThreadPoolExecutor(slots) if slots else None
        self._lock, self._changed = threading.RLock(), threading.Condition()
        self.queues: dict[str, dict[str, Any]] = {}
        self.definitions: list[dict[str, Any]] = []
        self.jobs: dict[str, Job] = {}
        self.refusals: list[RefusalError] = []  # answers to the next requests
        self.log: list[str] = []  # operations that were asked for

    def __enter__(self) -> "BatchServer":
        self.folder = Path(tempfile.mkdtemp(prefix="bams3-batch-"))
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, answer = server._answer(self.path, body)
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(answer))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        for job in self.all_jobs():
            self._strike(job, "the server ends")
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- for tests ----

    def add_queue(self, name: str, state: str = "ENABLED", status: str = "VALID") -> None:
        self.queues[name] = {
            "jobQueueName": name,
            "jobQueueArn": f"{ARN}job-queue/{name}",
            "state": state,
            "status": status,
            "priority": 1,
            "computeEnvironmentOrder": [],
        }

    def add_definition(self, name: str, vcpus: float = 1, memory_mb: int = 2048, **more: Any) -> str:
        """Register a definition of a container; ``more`` is what RegisterJobDefinition takes."""
        needs = [{"type": "VCPU", "value": str(vcpus)}, {"type": "MEMORY", "value": str(memory_mb)}]
        container = {"image": "bams3", "resourceRequirements": needs, "command": ["true"]}
        asked = {"jobDefinitionName": name, "type": "container", "containerProperties": container, **more}
        return str(self.register_job_definition(asked)["jobDefinitionArn"])

    def all_jobs(self) -> list[Job]:
        """Jobs that can run: single ones, and those of arrays."""
        with self._lock:
            return [one for job in self.jobs.values() for one in job.children or [job]]

    def wait(self, job_id: str, timeout_s: float = 180.0) -> Job:
        """A job, once it has ended."""
        job = self.jobs[job_id]
        self.until(lambda: job.status in ENDED, timeout_s)
        return job

    def until(self, is_so: Callable[[], bool], timeout_s: float = 180.0) -> None:
        """Wait for something; what jobs said is in the error if it does not come."""
        end_s = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > end_s:
                logs = "\n".join(f"== {job.id} {job.own_status}\n{job.log[-800:]}" for job in self.all_jobs())
                raise TimeoutError(f"not within {timeout_s:g} s\n{logs}")
            with self._changed:
                self._changed.wait(0.05)

    def interrupt(self, job: Job) -> None:
        """The spot instance that a job runs on is taken away."""
        self._strike(job, GONE)

    def kill(self, job: Job) -> None:
        """``kill -9`` of all that a job runs, as when it has too little memory."""
        assert job.process is not None
        os.killpg(job.process.pid, signal.SIGKILL)

    # ---- what AWS Batch does: one method an operation ----

    def describe_job_queues(self, asked: dict[str, Any]) -> dict[str, Any]:
        names = [name.rpartition("/")[2] for name in asked.get("jobQueues", self.queues)]
        return {"jobQueues": [self.queues[name] for name in names if name in self.queues]}

    def register_job_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["jobDefinitionName"]
        revision = 1 + sum(one["jobDefinitionName"] == name for one in self.definitions)
        arn = f"{ARN}job-definition/{name}:{revision}"
        made = {**asked, "jobDefinitionArn": arn, "revision": revision, "status": "ACTIVE"}
        self.definitions.append(made)
        return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}

    def deregister_job_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        for one in self._named(asked["jobDefinition"]):
            one["status"] = "INACTIVE"
        return {}

    def describe_job_definitions(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [
            one
            for one in self.definitions
            if asked.get("status", one["status"]) == one["status"]
            and asked.get("jobDefinitionName", one["jobDefinitionName"]) == one["jobDefinitionName"]
            and all(one in self._named(name) for name in asked.get("jobDefinitions", ()))
        ]
        at = int(asked.get("nextToken", 0))
        more = {"nextToken": str(at + 100)} if len(found) > at + 100 else {}
        return {"jobDefinitions": found[at : at + 100], **more}

    def submit_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        queue = self.queues.get(asked["jobQueue"].rpartition("/")[2])
        active = [one for one in self._named(asked["jobDefinition"]) if one["status"] == "ACTIVE"]
        if queue is None or queue["state"] != "ENABLED":
            raise RefusalError(f"JobQueue {asked['jobQueue']} not found or disabled")
        if not active:
            raise RefusalError(f"JobDefinition {asked['jobDefinition']} is not there or inactive")
        check_limits(asked)
        job = Job(str(uuid.uuid4()), asked, active[-1])
        size = asked.get("arrayProperties", {}).get("size", 0)
        if self._pool:
            job.children = [Job(f"{job.id}:{i}", asked, active[-1], index=i) for i in range(size)]
        with self._lock:
            self.jobs[job.id] = job
        for one in job.children or [job]:
            one.own_status = "RUNNABLE"
            if self._pool:
                self._pool.submit(self._run, one)
        return {"jobId": job.id, "jobName": asked["jobName"], "jobArn": f"{ARN}job/{job.id}"}

    def describe_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = {one.id: one for one in (*self.jobs.values(), *self.all_jobs())}
        return {"jobs": [found[job_id].told() for job_id in asked["jobs"] if job_id in found]}

    def list_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "arrayJobId" in asked:
            found = self.jobs[asked["arrayJobId"]].children
        else:
            found = [job for job in self.jobs.values() if job.request["jobQueue"] == asked["jobQueue"]]
        status = asked.get("jobStatus", "RUNNING")
        keys = ("jobId", "jobArn", "jobName", "status", "statusReason", "createdAt", "arrayProperties")
        told = [job.told() for job in found if job.status == status]
        return {"jobSummaryList": [{key: one[key] for key in keys if key in one} for one in told]}

    def terminate_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        for one in (*self.jobs.values(), *self.all_jobs()):
            if one.id == asked["jobId"]:
                for each in one.children or [one]:
                    self._strike(each, asked["reason"])
        return {}

    def _named(self, name: str) -> list[dict[str, Any]]:
        """Revisions of a definition, or the one that a name or an ARN says."""
        name = name.rpartition("/")[2]
        return [
            one
            for one in self.definitions
            if name in (one["jobDefinitionName"], f"{one['jobDefinitionName']}:{one['revision']}")
        ]

    # ---- a job, run ----

    def _run(self, job: Job) -> None:
        strategy = job.setting("retryStrategy")
        for number in range(1, strategy.get("attempts", 1) + 1):
            attempt = self._attempt(job, number)
            job.attempts.append(attempt)
            job.reason = attempt["statusReason"]
            is_done = attempt["container"].get("exitCode") == 0
            if is_done or job.reason not in (EXITED, GONE) or not is_tried_again(strategy, attempt):
                break
            job.own_status = "RUNNABLE"
        self._set(job, "SUCCEEDED" if is_done else "FAILED")

    def _attempt(self, job: Job, number: int) -> dict[str, Any]:
        """Run a job's command once, to its end, or until something ends it."""
        start_ms = int(time.time() * 1000)
        path = Path(self.folder, job.id.replace(":", "_"), str(number))
        path.mkdir(parents=True)
        limit_s = job.setting("timeout").get("attemptDurationSeconds")
        code: int | None = None
        if not job.struck:
            with (path / "log").open("wb") as log:
                self._start(job, number, path, log)
            try:
                code = job.process.wait(None if limit_s is None else limit_s * self._second_s)
            except subprocess.TimeoutExpired:
                self._strike(job, LATE)
                code = job.process.wait()
            job.log += (path / "log").read_text(errors="replace")
        reason, job.struck = job.struck or EXITED, "" if job.struck == GONE else job.struck
        container = {"logStreamName": f"bams3/default/{job.id}"}
        if code is not None and reason != GONE:  # nobody is left who could tell how a container ended
            container |= {"exitCode": code if code >= 0 else 128 - code}
        stop_ms = int(time.time() * 1000)
        return {"container": container, "startedAt": start_ms, "stoppedAt": stop_ms, "statusReason": reason}

    def _start(self, job: Job, number: int, path: Path, log: Any) -> None:
        here = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        own = {"AWS_BATCH_JOB_ID": job.id, "AWS_BATCH_JOB_ATTEMPT": str(number)}
        own["AWS_BATCH_JQ_NAME"] = job.request["jobQueue"].rpartition("/")[2]
        if job.index is not None:
            own["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
        given = {one["name"]: one["value"] for one in job.container["environment"]}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**here, "PATH": programs, **self._environment, **given, **own}
        with self._lock:
            job.process = subprocess.Popen(
                job.container["command"],
                cwd=path,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            if job.struck:
                self._strike(job, job.struck)
        self._set(job, "RUNNING")

    def _strike(self, job: Job, reason: str) -> None:
        """End a job that has not ended: its process, with all that it started."""
        with self._lock:
            if job.own_status in ENDED:
                return
            job.struck = reason
            if job.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job.process.pid, signal.SIGKILL)

    def _set(self, job: Job, status: str) -> None:
        job.own_status = status
        with self._changed:
            self._changed.notify_all()

    # ---- the way there ----

    def _answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to a request."""
        try:
            operation = _operations()[path]
            self.log.append(operation.name)
            if self.refusals:
                raise self.refusals.pop(0)
            asked = json.loads(body or b"{}")
            _check_shape(operation, asked)
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation.name).lower()
            return 200, {"Content-Type": "application/json"}, json.dumps(getattr(self, name)(asked)).encode()
        except RefusalError as err:
            headers = {"Content-Type": "application/json", "x-amzn-ErrorType": err.code}
            return err.status, headers, json.dumps({"message": str(err)}).encode()


def _check_shape(operation: Any, asked: dict[str, Any]) -> None:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(asked, operation.input_shape)
    if report.has_errors():
        raise RefusalError(report.generate_report())


@cache
def _operations() -> dict[str, Any]:
    """AWS Batch's operations by the paths of their requests."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")
    operations = [model.operation_model(name) for name in model.operation_names]
    return {operation.http["requestUri"]: operation for operation in operations}
