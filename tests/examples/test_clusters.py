"""Dask, and the job scripts of SLURM and LSF with what stands for the commands of a cluster."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from csc_cli.main import csc
from csc_train import train

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "clusters").glob("*/*.sh"))
NAMES = [f"{script.parent.name}/{script.stem}" for script in SCRIPTS]

# What a job finds in its environment: of the system, not of the script.
SLURM = {
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "node[1-2]",
}
LSF = {"LSB_DJOB_NUMPROC": "32", "LSB_MCPU_HOSTS": "node1 32 node2 32", "LSB_JOBID": "7"}
# Each command writes down how it was called; those that start others start them here.
COMMANDS = {
    "csc": "",
    "scontrol": "printf 'node1\\nnode2\\n'",
    "srun": 'while [[ $1 == -* ]]; do shift; done; exec "$@"',
    "blaunch": 'shift 2; exec "$@"',
    "torchrun": 'while [[ $1 != -m ]]; do shift; done; shift 2; exec csc "$@"',
}

needs_bash = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="there is no bash")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of a cluster that write their arguments, one call a line, into `calls`; return where."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in COMMANDS.items():
        file = folder / name
        file.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> {tmp_path}/calls\n{body}\n', "utf-8")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "calls"


def run(script, **environment):
    """Run a script as a batch system would: by bash, with the environment of a job."""
    cores = re.search(r"--cpus-per-task=(\d+)", script.read_text("utf-8"))
    system = {**SLURM, "SLURM_CPUS_PER_TASK": cores[1]} if cores else LSF
    command = ["bash", str(script)]
    return subprocess.run(
        command, env={**os.environ, **system, **environment}, capture_output=True, text=True, check=False
    )


@needs_bash
@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_job_calls_csc_with_options_that_it_has(script, cluster):
    done = run(script, EXPERIMENT="mine.py", SUBMISSIONS="all.csv")
    assert done.returncode == 0, done.stderr
    calls = cluster.read_text("utf-8").splitlines()
    _, name, *arguments = next(call for call in calls if call.startswith("csc ")).split()
    command = csc.get_command(click.Context(csc), name)
    # Options that do not exist, or values that are not theirs, end here; nothing is run.
    with command.make_context(name, arguments) as context:
        given = context.params
    assert (given.get("experiment") or given.get("csv_file")) in ("mine.py", "all.csv")
    if name == "train":
        nodes = 2 if "nodes" in script.name or script.parent.name == "slurm" else 1
        processes = {"devices": 4, "num_workers": 8} | ({"num_nodes": 2} if nodes == 2 else {})
        assert given["given"] == processes
    if "nodes" in script.name:
        (started,) = [call for call in calls if call.startswith("torchrun")]
        assert "--nnodes=2 --nproc_per_node=4" in started
        assert "--rdzv_endpoint=node1:29500" in started


@needs_bash
@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_job_fails_when_its_command_does(script, cluster):
    (cluster.parent / "bin" / "csc").write_text("#!/usr/bin/env bash\nexit 3\n", "utf-8")
    assert run(script).returncode == 3


@needs_bash
@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_job_script_is_sound(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text("utf-8")
    assert "not on a cluster" in " ".join(text.split())
    directive = "#SBATCH --" if script.parent.name == "slurm" else "#BSUB -"
    lines = text.splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith(directive))
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert last < first  # behind the first command SLURM reads none
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=Path(sys.executable).parent)
    if shellcheck is None:
        pytest.skip("there is no shellcheck")
    checked = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_slurm_and_lsf_have_the_same_scripts():
    assert len(NAMES) == 8
    assert {name.split("/")[1] for name in NAMES if "slurm" in name} == {
        name.split("/")[1] for name in NAMES if "lsf" in name
    }


SMALL = """
classes = ("mito", "nuc")
input_array_info = {"shape": (16, 16, 16), "scale": (4, 4, 4)}
architecture, model_kwargs = "3d_unet_s", {"width": 2, "depth": 2}
epochs, iterations_per_epoch, batch_size, validation_batch_limit, device = 1, 2, 1, 1, "cpu"
"""


@pytest.mark.slow
def test_dask_makes_a_submission_and_scores_it(examples, submittable, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SMALL, "utf-8")
    train("mine.py", config=submittable)
    names = runpy.run_path(str(examples / "clusters" / "on_dask.py"))
    # In this process, which has imported torch already; the example starts processes.
    with names["local_cluster"](workers=1, processes=False) as workers:
        address = workers.scheduler_address
        archive = names["submit"]("mine.py", address, submittable)
        found = names["score"](archive, address, submittable)
    assert set(found.combined.classes) == {"mito", "nuc"}
    assert re.fullmatch(r"submission\.zip", archive.name)
