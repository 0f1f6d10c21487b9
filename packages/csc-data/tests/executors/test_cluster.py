"""Dask's workers, and what is said where there are none."""

import importlib
import os
import sys
import time

import pytest

from csc_data.blocks import BlockGrid, Execution, Ledger, run_blocks
from csc_data.errors import InvalidArgumentError, MissingPackageError
from csc_data.executors import cluster

# A module of its own, so that other processes can import it.
TASKS = """
import os
import signal
import time

class Job:
    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__.update(state)
        with (self.folder / "unpacked").open("a") as log:
            log.write(f"{os.getpid()}\\n")

    def __call__(self, block):
        with (self.folder / str(block.index)).open("a") as log:
            log.write(f"{os.getpid()}\\n")
        if block.index == 7 and len((self.folder / "7").read_text().split()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.005)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_blocks_of_a_killed_dask_worker_are_done_by_the_other(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "cluster_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # where workers find the module
    job = importlib.import_module("cluster_tasks").Job(tmp_path / "log")
    (tmp_path / "log").mkdir()
    grid = BlockGrid(shape=(40, 4, 4), block_shape=(1, 4, 4))
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers,
        cluster.connect(workers.scheduler_address) as executor,
    ):
        run_blocks(job, grid, ledger=ledger, execution=Execution(executor=executor, max_pending=4))
    del sys.modules["cluster_tasks"]
    attempts = [(tmp_path / "log" / str(index)).read_text().split() for index in range(40)]
    assert ledger.finished == set(range(40))
    assert len(attempts[7]) == 2
    assert sum(map(len, attempts)) <= 40 + 4  # what else the dead one had been given
    assert len({pid for pids in attempts for pid in pids}) >= 2
    unpacked = (tmp_path / "log" / "unpacked").read_text().split()
    assert str(os.getpid()) not in unpacked
    assert len(unpacked) == len(set(unpacked))  # once in each worker


@pytest.mark.slow
def test_an_address_without_scheduler_is_one_clear_error():
    pytest.importorskip("distributed")
    with (
        pytest.raises(cluster.ClusterError, match="no Dask scheduler answers"),
        cluster.connect("tcp://127.0.0.1:9", timeout="1s"),
    ):
        pass


def test_what_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingPackageError, match=r'dask_jobqueue.*pip install "csc-data\[dask\]"'):
        cluster.start_jobs("slurm", jobs=1).__enter__()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match=r'distributed.*pip install "csc-data\[dask\]"'):
        cluster.connect("tcp://127.0.0.1:9").__enter__()


def test_jobs_that_nobody_described_are_an_error_that_names_the_file():
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(cluster.ClusterError, match=r"cores and memory; .* jobqueue\.slurm of .*jobqueue\.yaml"):
        cluster.start_jobs("slurm", jobs=1).__enter__()
    with pytest.raises(InvalidArgumentError, match="known are lsf, slurm"):
        cluster.start_jobs("pbs", jobs=1).__enter__()


@pytest.mark.slow
def test_a_job_is_one_worker_that_does_one_thing_at_a_time_as_the_users_configuration_says(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(cluster, "_PATIENCE_S", 0.05)
    dask = pytest.importorskip("dask")
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    commands = {"sbatch": f'cat "$1" >> {tmp_path}/submitted; echo Submitted batch job 7', "scancel": "true"}
    for name, command in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{command}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    configuration = {
        "jobqueue.slurm.cores": 8,
        "jobqueue.slurm.memory": "32GB",
        "jobqueue.slurm.queue": "gpu",
        "jobqueue.slurm.walltime": "02:00:00",
        "jobqueue.slurm.job-extra-directives": ["--gres=gpu:1"],
        "jobqueue.slurm.interface": "lo",
    }
    with dask.config.set(configuration), cluster.start_jobs("slurm", jobs=1, options={"queue": None}) as executor:
        assert executor is not None
        deadline = time.monotonic() + 20
        while not ((tmp_path / "submitted").exists() and caplog.records) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "no job of slurm has run for" in caplog.text  # ours never begins
    assert "squeue --me" in caplog.text
    script = (tmp_path / "submitted").read_text()
    for line in ("-p gpu", "--gres=gpu:1", "-t 02:00:00", "--cpus-per-task=8"):
        assert line in script
    assert script.rstrip().split("--nthreads")[-1].split()[0] == "1"
