"""What the README shows first, an experiment and a run of it, works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_first_run_of_the_readme_trains_and_predicts(tmp_path, monkeypatch, capsys):
    experiment, run, *_ = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    name = experiment.splitlines()[0].removeprefix("# ")
    (tmp_path / name).write_text(experiment, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(run, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert "checkpoints/first_run_" in printed
    assert printed.splitlines()[-1].startswith("data/predictions/")
    assert list(tmp_path.glob("data/predictions/*/*/mito/s0"))
