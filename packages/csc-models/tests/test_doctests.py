import doctest
import importlib
import pkgutil

import pytest

import csc_models

MODULES = [module.name for module in pkgutil.walk_packages(csc_models.__path__, "csc_models.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
