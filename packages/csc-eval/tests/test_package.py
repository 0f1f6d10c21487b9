"""What the package promises as a whole: its names, its version, its README."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import csc_eval
from csc_eval._version import VERSION


def test_every_public_name_is_there_and_the_import_is_light():
    for name in csc_eval.__all__:
        assert getattr(csc_eval, name) is not None
    with pytest.raises(AttributeError, match="No csc_eval attribute nonsense"):
        _ = csc_eval.nonsense
    code = "import csc_eval, sys; assert not {'numpy', 'zarr', 'click'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_that_of_the_package():
    assert version("csc-eval") == VERSION


def test_the_readmes_example_runs():
    readme = Path(__file__).parents[1] / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    [example] = [block for block in blocks if "import numpy" in block]
    names = {"csc_eval": csc_eval}
    exec(example, names)
    assert (names["score"].tp, names["count"]) == (1, 1)
