"""The examples in docstrings are true, and there are enough of them."""

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest

PACKAGES = ["csc_data", "csc_models", "csc_eval", "csc_submit", "csc_train", "csc_cli"]
IN_ALL = 0.40
IN_A_PACKAGE = 0.30


def modules(package: str) -> Iterator[ModuleType]:
    """Yield all modules of a package, by name."""
    top = importlib.import_module(package)
    yield top
    for entry in pkgutil.walk_packages(top.__path__, f"{package}."):
        if not entry.name.endswith(("__main__", "._kernels")):
            yield importlib.import_module(entry.name)


def examples(module: ModuleType) -> list[doctest.DocTest]:
    """Return the examples of a module as they are run."""
    found = [test for test in doctest.DocTestFinder().find(module, module.__name__) if test.examples]
    for test in found:
        test.globs.setdefault("np", np)
    return found


def public_functions(module: ModuleType) -> Iterator[str]:
    """Yield the dotted names of what a module offers to be called, and that could have an example.

    Those are functions, and methods of classes, that are defined in it and whose names begin with no ``_``. Not counted
    are commands (``--help`` tells of them), loops that numba compiles, tests that are offered to others, methods of
    protocols (there is nothing to run), and methods that override: they are told of where they are declared.
    """
    if any(part.startswith("_") for part in module.__name__.split(".")):
        return
    for name, value in vars(module).items():
        if name.startswith(("_", "test_")) or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield from (f"{module.__name__}.{name}.{method}" for method in public_methods(value))
        elif inspect.isfunction(inspect.unwrap(value)) and not isinstance(value, click.Command) and not compiled(value):
            yield f"{module.__name__}.{name}"


def public_methods(cls: type) -> Iterator[str]:
    if getattr(cls, "_is_protocol", False):
        return
    for name, value in vars(cls).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if name.startswith(("_", "test_")) or not inspect.isfunction(function):
            continue
        if not any(name in vars(base) for base in cls.__mro__[1:]):
            yield name


def compiled(value: Any) -> bool:
    return hasattr(value, "py_func")


def has_example(name: str, tests: dict[str, doctest.DocTest]) -> bool:
    """Tell whether an example with a result is run for a function: its own, or one of its class that calls it."""
    owner, _, method = name.rpartition(".")
    shown = re.compile(rf"\.{method}\(")
    return any(is_checked(tests[name]) for name in [name] if name in tests) or (
        owner in tests and is_checked(tests[owner]) and any(shown.search(e.source) for e in tests[owner].examples)
    )


def is_checked(test: doctest.DocTest) -> bool:
    return any(example.want and not example.options.get(doctest.SKIP) for example in test.examples)


def count(package: str) -> tuple[int, int]:
    """Return how many public functions of a package have an example, and how many there are."""
    there = shown = 0
    for module in modules(package):
        tests = {test.name: test for test in examples(module)}
        names = list(public_functions(module))
        there += len(names)
        shown += sum(has_example(name, tests) for name in names)
    return shown, there


@pytest.mark.parametrize("package", PACKAGES)
def test_examples_in_docstrings_give_what_they_say(package):
    for module in modules(package):
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        for test in examples(module):
            runner.run(test)
        assert runner.summarize(verbose=False).failed == 0, module.__name__


def test_public_functions_have_examples():
    counts = {package: count(package) for package in PACKAGES}
    few = {package: f"{shown} of {there}" for package, (shown, there) in counts.items() if shown < IN_A_PACKAGE * there}
    assert not few
    shown, there = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    assert shown >= IN_ALL * there, f"{shown} of {there}"


def test_examples_are_counted_as_promised():
    module = ModuleType("shop")
    text = '''
from typing import Protocol

def shown():
    """>>> 1 + 1
    2
    """

def skipped():
    """>>> 1 + 1  # doctest: +SKIP
    2
    """

def unchecked():
    """>>> a = 1"""

def _private(): pass

def test_offered(): pass

class Base(Protocol):
    def declared(self): ...

class Till(Base):
    """>>> Till().open(2)
    2
    """
    def open(self, a): return a
    def close(self): pass
    def declared(self): pass
'''
    exec(compile(text, "shop", "exec"), vars(module))
    tests = {test.name: test for test in examples(module)}
    assert {name: has_example(name, tests) for name in public_functions(module)} == {
        "shop.shown": True,
        "shop.skipped": False,
        "shop.unchecked": False,
        "shop.Till.open": True,
        "shop.Till.close": False,
    }
