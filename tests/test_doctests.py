"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ["csc_data", "csc_models", "csc_eval", "csc_submit", "csc_train", "csc_cli"]


@pytest.mark.parametrize("package", PACKAGES)
def test_examples_in_docstrings_give_what_they_say(package):
    names = [package]
    for entry in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not entry.name.endswith(("__main__", "._kernels")):
            names.append(entry.name)
    attempted = 0
    for name in names:
        module = importlib.import_module(name)
        finder = doctest.DocTestFinder(exclude_empty=True)
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        for test in finder.find(module, name):
            if "np" not in test.globs:
                import numpy as np

                test.globs["np"] = np
            runner.run(test)
        result = runner.summarize(verbose=False)
        assert result.failed == 0, name
        attempted += result.attempted
    if package != "csc_train":  # all of it reads files
        assert attempted > 0
