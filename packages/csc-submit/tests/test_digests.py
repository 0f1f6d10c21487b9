from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from csc_submit.digests import digest_of_files, digest_of_function, files_below


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a" / "0").mkdir(parents=True)
    (tmp_path / "a" / ".zarray").write_text("{}")
    (tmp_path / "a" / "0" / "1").write_bytes(b"abc")
    return tmp_path / "a"


def test_a_copy_has_the_same_digest_whatever_its_name_and_dates(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "b", copy_function=shutil.copyfile)
    assert digest_of_files(folder) == digest_of_files(tmp_path / "b")


@pytest.mark.parametrize("change", ["content", "name", "added", "removed", "moved border"])
def test_any_change_of_the_files_changes_it(folder, change):
    before = digest_of_files(folder)
    if change == "content":
        (folder / "0" / "1").write_bytes(b"abd")
    elif change == "name":
        (folder / "0" / "1").rename(folder / "0" / "2")
    elif change == "added":
        (folder / "0" / "2").write_bytes(b"")
    elif change == "removed":
        (folder / "0" / "1").unlink()
    else:
        (folder / "0" / "1").write_bytes(b"ab")
        (folder / "0" / "2").write_bytes(b"c")
    assert digest_of_files(folder) != before


def test_files_come_in_the_order_of_the_parts_of_their_names(tmp_path):
    for name in ("b/10/1", "b/9", "b.c", "a", "b/10/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    expected = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name, _ in files_below(tmp_path)] == [path.as_posix() for path in expected]


def function_from(text):
    names = {}
    exec(text, names)
    return names["f"]


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return x > 0.6",
        "def f(x, y=0.5):\n    return x > y",
        "def f(x):\n    return x < 0.5",
        "limit = 0.5\ndef f(x):\n    return x > limit",
        "limit = 0.6\ndef f(x):\n    return x > limit",
        "def f(x):\n    return [v > 0.5 for v in x]",
    ],
)
def test_code_defaults_and_plain_values_of_the_module_count(other):
    plain = "def f(x):\n    return x > 0.5"
    assert digest_of_function(function_from(plain)) == digest_of_function(function_from("# a comment\n" + plain))
    assert digest_of_function(function_from(plain)) != digest_of_function(function_from(other))


def test_values_of_the_module_tell_functions_apart():
    text = "limit = {}\ndef f(x):\n    return x > limit"
    assert digest_of_function(function_from(text.format(1))) != digest_of_function(function_from(text.format(2)))


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        ("def f(x, *, size={}):\n    return x > size", 1, 2),
        ("def cut(x):\n    return x > {}\ndef f(x):\n    return cut(x)", 1, 2),
        ("def a(x):\n    return x > {}\ndef b(x):\n    return a(x)\ndef f(x):\n    return [b(v) for v in x]", 1, 2),
        ("sizes = {}\ndef f(x):\n    return x > sizes['a']", {"a": 1}, {"a": 2}),
        ("limit = {}\ndef f(x):\n    return (lambda v: v > limit)(x)", 1, 2),
        ("import numpy\nkernel = numpy.full(3, {})\ndef f(x):\n    return x * kernel", 1, 2),
        ("def make(limit):\n    return lambda x: x > limit\nf = make({})", 1, 2),
        ("import functools\ndef g(x, size):\n    return x > size\nf = functools.partial(g, size={})", 1, 2),
    ],
)
def test_all_that_a_function_depends_on_in_its_file_counts(text, one, other):
    def digest(value):
        return digest_of_function(function_from(text.replace("{}", repr(value))))

    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


def test_a_function_has_the_same_digest_in_another_process():
    code = (
        "from csc_submit.digests import digest_of_function\n"
        "names = {'er', 'mito', 'nuc', 'ves'}\n"
        "def f(x):\n    return x in {'a', 'b', 'c', 'd'} or x in names\n"
        "print(digest_of_function(f))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_functions_that_call_each_other_have_a_digest():
    text = "def g(x):\n    return f(x)\ndef f(x):\n    return g(x)"
    assert digest_of_function(function_from(text)) == digest_of_function(function_from(text))


def test_no_function_and_things_to_call_have_a_digest_too():
    assert digest_of_function(None) is None
    assert digest_of_function(len) == digest_of_function(len)
