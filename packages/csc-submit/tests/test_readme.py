from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs(tmp_path, config, write_prediction, write_test_crop, make_blobs):
    probabilities = make_blobs((40, 40, 40), sigma=4.0)
    write_prediction((probabilities * 255).astype("u1"), kind="probability", one=255)
    write_test_crop(probabilities.shape)
    text = README.read_text(encoding="utf-8")
    first, experiment, arguments, _ = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "readme.py").write_text(first, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "readme.py")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("crop7 mito done")
    assert lines[1:] == ["data/submission.zip 0 missing 0 failed", "accepted"]

    (tmp_path / "process.py").write_text(f"{experiment}\n{arguments}", encoding="utf-8")
    code = (
        "from csc_data.config.user_config import Config; from csc_submit import process; "
        "print(process('process.py', config=Config(data='data'), existing='overwrite').rows[-1].status)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "done", run.stderr
    assert np.any(probabilities > 0.6)
