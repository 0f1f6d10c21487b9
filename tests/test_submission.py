"""`csc submit` by the command itself: killed while it predicts, it goes on, and makes what the demo's stages made."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.slow
def test_a_killed_submission_goes_on_with_the_same_bytes(quick_demo, csc_environment, run_csc, tmp_path):
    data = quick_demo[0] / "csc-demo"
    command = ["submit", str(data / "train_3D.py"), "--data", str(data), "--output-path", str(tmp_path / "mine.zarr")]
    work = tmp_path / "mine.work"
    with subprocess.Popen(
        [sys.executable, "-m", "csc_cli", *command], env=csc_environment, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 300
        while not any((work / "predictions").rglob("s0/0/0/0")):
            assert process.poll() is None, "it has ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    record = json.loads((work / "record.json").read_text("utf-8"))
    assert set(record["crops"]["crop501"].values()) == {"begun"}
    result = run_csc(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine.zip").read_bytes() == (data / "submission.zip").read_bytes()
    assert [path.name for path in work.iterdir()] == ["record.json"]
    score = json.loads((data / "result.json").read_text("utf-8"))["overall_score"]
    assert f"{score:.4f}" in result.stdout
