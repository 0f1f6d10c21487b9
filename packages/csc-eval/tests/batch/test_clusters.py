"""Batches in jobs of a cluster: false commands of SLURM and LSF that start real workers, of which one is killed."""

import csv
import importlib
import json
import os
import signal
import sys
from contextlib import suppress

import pytest
from click.testing import CliRunner

from csc_eval.command.group import csc_eval as command

SUBMIT = """#!/bin/sh
cat $1 > "{folder}/job-$$.sh"
setsid sh "{folder}/job-$$.sh" > "{folder}/log-$$" 2>&1 < /dev/null &
echo $! >> "{folder}/started"
echo "Job <$!> is submitted"
"""
CANCEL = """#!/bin/sh
kill -9 -- "-$1"
"""

# A module of its own, so that workers can import it. The job of whoever comes to a certain label first is killed; the
# other one goes on when that is replaced, so that there is something left to do.
TASKS = """
import os
import signal
import time
from pathlib import Path

from csc_eval.batch.scoring import score_entry
from csc_eval.running import execution

FOLDER = Path(__file__).parent
score_label = execution.score_label

def noted(task):
    label = f"{Path(task.submission.name).stem}/{task.truth_key}"
    if label == os.environ["KILLED_AT"] and not (FOLDER / "killed").exists():
        (FOLDER / "killed").touch()
        os.killpg(0, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (FOLDER / "killed").exists() and len(list((FOLDER / "bin").glob("job-*.sh"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with (FOLDER / "scored").open("a") as file:
        file.write(f"{label}\\n")
    return score_label(task)

def score_noted(entry, how):
    execution.score_label = noted
    return score_entry(entry, how)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of both systems, on this machine alone."""
    dask = pytest.importorskip("dask")
    pytest.importorskip("dask_jobqueue")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SUBMIT), ("bsub", SUBMIT), ("scancel", CANCEL), ("bkill", CANCEL)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    soon = {"distributed.deploy.lost-worker-timeout": "100ms", "distributed.adaptive.interval": "200ms"}
    local = {f"jobqueue.{system}.interface": "lo" for system in ("slurm", "lsf")}
    with dask.config.set({**soon, **local, "distributed.worker.daemon": False}):
        yield folder
    for pid in (folder / "started").read_text().split():
        with suppress(ProcessLookupError):
            os.killpg(int(pid), signal.SIGKILL)


def scored_by_command(folder, *arguments):
    done = CliRunner().invoke(
        command,
        ["batch", "-c", str(folder / "batch.csv"), "-t", str(folder / "t.zarr"), *arguments],
        catch_exceptions=False,
    )
    assert done.exit_code == 1, done.output  # one is broken
    return done.output, {
        name: json.loads((folder / f"in/eval_{name}.results").read_text()) for name in ("7", "8", "=10")
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="setsid")
@pytest.mark.parametrize(
    ("system", "asked"),
    [
        ("slurm", ("#SBATCH -p short", "#SBATCH -A lab", "#SBATCH -t 02:00:00", "--mem=4G")),
        ("lsf", ("#BSUB -q short", '#BSUB -P "lab"', "#BSUB -W 02:00:00")),
    ],
)
def test_a_job_that_is_killed_costs_nothing_that_was_scored(folder, cluster, tmp_path, monkeypatch, system, asked):
    expected = scored_by_command(folder, "--table", str(tmp_path / "alone.csv"))[1]
    (tmp_path / "noting.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # where workers find the module
    monkeypatch.setenv("KILLED_AT", "a/crop3/er")
    monkeypatch.setattr("csc_eval.batch.scoring.score_entry", importlib.import_module("noting").score_noted)
    jobs = ["--cluster", system, "-n", "2", "--queue", "short", "--account", "lab", "--walltime", "02:00:00"]
    jobs += ["--job-memory", "4GB", "--log-folder", str(tmp_path / "logs"), "--resume"]
    output, results = scored_by_command(folder, *jobs, "--table", str(tmp_path / "cluster.csv"))
    del sys.modules["noting"]
    assert results == expected
    assert "3 of 4 scored without a problem" in output
    tables = [
        list(csv.DictReader((tmp_path / name).read_text("utf-8").splitlines())) for name in ("alone.csv", "cluster.csv")
    ]
    assert tables[0] == tables[1]
    scored = (tmp_path / "scored").read_text().split()
    assert sorted(scored) == sorted(f"{name}/crop{number}/er" for name in "abc" for number in range(1, 5))
    assert (tmp_path / "killed").exists()
    scripts = [path.read_text() for path in cluster.glob("job-*.sh")]
    assert len(scripts) == 3  # the one that was killed is replaced
    for line in (*asked, str(tmp_path / "logs")):
        assert all(line in script for script in scripts)
