from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs_from_the_top_to_the_end(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    if importlib.util.find_spec("torch") is None:
        blocks = [block for block in blocks if "csc_data.loader" not in block and "get_dataloader" not in block]
    for guest, name in (
        ("accelerate",) * 2,
        ("pytorch_lightning",) * 2,
        ("neuroglancer", "csc_data.view"),
        ("dask", "napari_layers"),
    ):
        if importlib.util.find_spec(guest) is None:
            blocks = [block for block in blocks if name not in block]
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    run = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "smooth.zarr" / "em" / "s0" / "0" / "0" / "0").is_file()
