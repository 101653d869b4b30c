"""The SLURM of the tests: it spreads jobs, tells how they ended, outlives a node, leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import LINK

pytestmark = pytest.mark.engine


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
    slurm.kill_node(first.node)
    assert not alive(int(pid.read_text()))
    last = slurm.wait(job_id)[0]
    assert (last.state, last.restarts) == ("COMPLETED", 1)
    assert {first.node, last.node} == {"n1", "n2"}


def test_a_revived_node_takes_jobs_again(slurm):
    slurm.kill_node("n2")
    job_id = slurm.sbatch("-w", "n2", "--output=/dev/null", "--wrap", "true")
    assert slurm.jobs(job_id)[0].state == "PENDING"
    slurm.revive_node("n2")
    assert slurm.wait(job_id)[0].node == "n2"


HOLD = """
import sys, slurm_cluster
slurm_cluster.LINK = slurm_cluster.Path(sys.argv[1], "slurm.conf")
slurm_cluster.LOCK = slurm_cluster.Path(sys.argv[1], "lock")
with slurm_cluster.SlurmCluster() as slurm:
    slurm.sbatch("--output=/dev/null", "--wrap", "sleep 600")
    # four daemons, their keepers, the job and its shepherd
    slurm.until(lambda: len(slurm_cluster._processes_of(slurm.folder)) >= 4 + 4 + 2, 60, "no job")
    print(slurm.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A place for clusters beside the tests' own."""
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(slurm_cluster, "LINK", tmp_path / "slurm.conf")
    monkeypatch.setattr(slurm_cluster, "LOCK", tmp_path / "lock")
    return tmp_path


@pytest.mark.parametrize("keepers_die_too", [False, True])
def test_what_a_killed_run_left_is_gone_before_the_next_starts(elsewhere, keepers_die_too):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, elsewhere], **pipes) as holder:
        folder = Path(holder.stdout.readline().strip())
        processes = slurm_cluster._processes_of(folder)
        keepers = [
            pid for pid in processes if b"slurm_cluster.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(keepers) == 4
        for pid in [*(keepers if keepers_die_too else []), holder.pid]:
            os.kill(pid, signal.SIGKILL)
    with slurm_cluster.SlurmCluster():
        assert not slurm_cluster._processes_of(folder)
        assert not folder.exists()
    assert list(elsewhere.iterdir()) == [elsewhere / "lock"]


def test_a_configuration_of_somebody_else_is_left_alone(elsewhere):
    mine = elsewhere / "slurm.conf"
    mine.write_text("ClusterName=mine\n")
    assert "no test put it there" in slurm_cluster.why_not()
    with pytest.raises(RuntimeError, match="no test put it there"), slurm_cluster.SlurmCluster():
        pass
    assert mine.read_text() == "ClusterName=mine\n"


def test_while_it_runs_the_commands_find_it_without_being_told(slurm):
    assert LINK.resolve() == slurm.folder / "slurm.conf"
    clean = {"PATH": os.environ["PATH"]}
    nodes = subprocess.run(["sinfo", "-hN", "-o", "%N"], env=clean, capture_output=True, text=True)
    assert nodes.stdout.split() == ["n1", "n2"]
