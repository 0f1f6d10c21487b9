from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    first, in_memory, experiment, arguments, _ = blocks
    shown = "\nprint(_.tolist())".replace("_", in_memory.splitlines()[-1].split("#")[0].strip())
    lines = run(first + in_memory + shown, tmp_path).splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["crop501", "mito", "done"], ["crop502", "mito", "done"]]
    assert lines[2:] == ["data/submission.zip 14 missing 0 failed", "accepted", "[[[1, 0, 2]]]"]

    (tmp_path / "process.py").write_text(f"{experiment}\n{arguments}", encoding="utf-8")
    code = (
        "from csc_data.config.user_config import Config; from csc_submit import process; "
        "print(process('process.py', config=Config(data='data'), existing='overwrite').rows[-1].status)"
    )
    assert run(code, tmp_path).strip() == "done"
