"""The SLURM of the tests: it spreads jobs, tells how they ended, outlives a node, leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import LINK

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("slurm")]


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def test_an_array_of_eight_fills_both_nodes(slurm, tmp_path):
    # each task waits for all the others, so that the array ends only if eight run at once
    script = (
        f"touch {tmp_path}/$SLURM_ARRAY_TASK_ID; until [ $(ls {tmp_path} | wc -l) = 8 ]; do sleep 0.1; done"
    )
    job_id = slurm.sbatch("--array=0-7", "--output=/dev/null", "--wrap", script)
    tasks = slurm.wait(job_id)
    assert sorted(tasks) == list(range(8))
    assert {task.state for task in tasks.values()} == {"COMPLETED"}
    assert sorted(task.node for task in tasks.values()) == ["n1"] * 4 + ["n2"] * 4


def test_how_and_where_a_job_ended_is_told(slurm, tmp_path):
    output = f"--output={tmp_path}/said"
    job_id = slurm.sbatch("-w", "n2", "--job-name=seven", output, "--wrap", "echo $SLURMD_NODENAME; exit 7")
    task = slurm.wait(job_id)[0]
    assert (task.name, task.state, task.exit_code, task.node) == ("seven", "FAILED", 7, "n2")
    assert (tmp_path / "said").read_text() == "n2\n"
    assert task in slurm.jobs()


def test_a_job_can_be_cancelled(slurm):
    job_id = slurm.sbatch("--output=/dev/null", "--wrap", "sleep 600")
    slurm.wait_to_run(job_id)
    slurm.cancel(job_id)
    assert slurm.wait(job_id)[0].state == "CANCELLED"


def test_a_job_whose_node_dies_starts_again_on_the_other(slurm, tmp_path):
    pid = tmp_path / "pid"
    script = f"[ $SLURM_RESTART_COUNT ] || (echo $$ > {pid}; sleep 600)"
    job_id = slurm.sbatch("--output=/dev/null", "--wrap", script)
    first = slurm.wait_to_run(job_id)
    slurm.until(lambda: pid.exists() and pid.read_text().endswith("\n"), 30, "the job did not start")
    try:
        slurm.kill_node(first.node)
        assert not alive(int(pid.read_text()))
        last = slurm.wait(job_id)[0]
    finally:
        slurm.revive_node(first.node)
    assert (last.state, last.restarts) == ("COMPLETED", 1)
    assert {first.node, last.node} == {"n1", "n2"}


HOLD = """
import sys, slurm_cluster
slurm_cluster.LINK = slurm_cluster.Path(sys.argv[1], "slurm.conf")
slurm_cluster.LOCK = slurm_cluster.Path(sys.argv[1], "lock")
with slurm_cluster.SlurmCluster() as slurm:
    print(slurm.folder, flush=True)
    sys.stdin.read()
"""


def test_a_killed_test_leaves_no_process(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))  # a second cluster, beside the tests' own
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(slurm_cluster, "LINK", tmp_path / "slurm.conf")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        folder = Path(holder.stdout.readline().strip())
        assert len(slurm_cluster._processes_of(folder)) >= 8  # four daemons and their keepers
        os.kill(holder.pid, signal.SIGKILL)
    end_s = time.monotonic() + 20
    while slurm_cluster._processes_of(folder) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not slurm_cluster._processes_of(folder)
    slurm_cluster._bury(folder)
    assert not folder.exists()
    assert not os.path.lexists(tmp_path / "slurm.conf")


def test_a_configuration_of_somebody_else_is_left_alone(tmp_path, monkeypatch):
    mine = tmp_path / "slurm.conf"
    mine.write_text("ClusterName=mine\n")
    monkeypatch.setattr(slurm_cluster, "LINK", mine)
    monkeypatch.setattr(slurm_cluster, "LOCK", tmp_path / "lock")
    with pytest.raises(RuntimeError, match="no test put it there"), slurm_cluster.SlurmCluster():
        pass
    assert mine.read_text() == "ClusterName=mine\n"


def test_while_it_runs_the_commands_find_it_without_being_told(slurm):
    assert LINK.resolve() == slurm.folder / "slurm.conf"
    clean = {"PATH": os.environ["PATH"]}
    nodes = subprocess.run(["sinfo", "-hN", "-o", "%N"], env=clean, capture_output=True, text=True)
    assert nodes.stdout.split() == ["n1", "n2"]
