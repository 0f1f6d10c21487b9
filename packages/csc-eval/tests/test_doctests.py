"""The examples in docstrings are right."""

import doctest
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import csc_eval

MODULES = sorted(name for _, name, _ in pkgutil.iter_modules(csc_eval.__path__) if not name.startswith("_"))
if importlib.util.find_spec("matplotlib") is None:  # the extra csc-eval[report]
    MODULES.remove("report_figures")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"csc_eval.{name}")
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


def test_every_public_name_is_there_and_the_import_is_light():
    import subprocess
    import sys

    for name in csc_eval.__all__:
        assert getattr(csc_eval, name) is not None
    with pytest.raises(AttributeError, match="No csc_eval attribute nonsense"):
        _ = csc_eval.nonsense
    code = "import csc_eval, sys; assert not {'numpy', 'zarr', 'click'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    from csc_eval._version import VERSION

    assert version("csc-eval") == VERSION


def test_the_readmes_example_runs():
    readme = Path(__file__).parents[1] / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    [example] = [block for block in blocks if "import numpy" in block]
    names = {"csc_eval": csc_eval}
    exec(example, names)
    assert (names["score"].tp, names["count"]) == (1, 1)
