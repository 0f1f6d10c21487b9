import ctypes
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import csc_data
from csc_data.loader import code_cache
from csc_data.loader.code_cache import CodeFolder
from csc_data.loader.compilation import compiled

SCRIPT = """
import logging, os, sys, tempfile
tempfile.tempdir = os.environ["TMPDIR"]  # and no other, such as /tmp
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
import numpy as np
from csc_data.loader.compilation import compiled

@compiled()
def double(values):
    for i in range(values.size):
        values[i] *= 2

for kind in sys.argv[1:] or ["f8"]:
    values = np.arange(4, dtype=kind)
    double(values)
    assert values.tolist() == [0, 2, 4, 6]
print(double._cache.cache_path)
"""


def feel_permissions() -> None:
    """Make root obey the permissions of files, as everybody else does: drop CAP_DAC_OVERRIDE at the next exec."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


class Machine:
    """A copy of the package, a home and a temporary folder, each of which can be made read-only."""

    def __init__(self, folder: Path) -> None:
        self.package, self.home, self.temporary = folder / "site", folder / "home", folder / "tmp"
        for place in (self.home, self.temporary):
            place.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(csc_data.__file__).parent, self.package / "csc_data", ignore=ignored)

    @property
    def code(self) -> Path:
        return self.package / "csc_data/loader/__pycache__"

    def lock(self, place: Path, mode: int = 0o555) -> None:
        for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
            folder.chmod(mode)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
        places = {"PYTHONPATH": str(self.package), "HOME": str(self.home), "TMPDIR": str(self.temporary)}
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **places, **environment},
            cwd=self.package,  # where a relative home would be made
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=feel_permissions,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[list[str], str]:
        """Return what was logged, and where code is kept."""
        return self.result(self.start(*arguments, **environment))

    def result(self, process: subprocess.Popen[str]) -> tuple[list[str], str]:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        *lines, kept = output.splitlines()
        return lines, kept


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    yield machine
    machine.lock(tmp_path, 0o755)


needs_permissions = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permissions as Linux has them")


@needs_permissions
@pytest.mark.slow
def test_what_an_image_was_built_with_is_used_where_the_package_cannot_be_written(machine):
    said, kept = machine.run()
    assert kept == str(machine.code)
    assert len(said) == 1
    assert "compiling the loader's loops, once" in said[0]
    machine.lock(machine.package)
    said, kept = machine.run()
    assert said == []
    # What was not compiled then goes to the user's cache, privately.
    said, kept = machine.run("f8", "f4")
    assert len(said) == 1
    assert kept == str(machine.home / ".cache/csc/compiled")
    assert stat.S_IMODE(Path(kept).stat().st_mode) == 0o700
    assert len(list(Path(kept).iterdir())) == 1
    assert machine.run("f4", "f8")[0] == []


@needs_permissions
@pytest.mark.slow
def test_without_a_home_a_private_temporary_folder_serves(machine):
    machine.lock(machine.package)
    machine.lock(machine.home)
    said, kept = machine.run()
    assert len(said) == 1
    assert kept == str(machine.temporary / f"csc-compiled-{os.geteuid()}")
    assert stat.S_IMODE(Path(kept).stat().st_mode) == 0o700
    assert machine.run() == ([], kept)
    # What others may have put there is not loaded.
    machine.lock(machine.temporary, 0o777)
    said, kept = machine.run()
    assert kept == "None"


@needs_permissions
@pytest.mark.thorough
def test_where_nothing_can_be_written_loops_are_compiled_all_the_same(machine):
    for place in (machine.package, machine.home, machine.temporary):
        machine.lock(place)
    said, kept = machine.run(HOME=str(machine.home / "gone"))
    assert kept == "None"
    assert len(said) == 1
    assert said[0].startswith("csc_data.loader.code_cache WARNING compiling the loader's loops")
    assert "NUMBA_CACHE_DIR" in said[0]


@pytest.mark.thorough
def test_numba_cache_dir_comes_first(machine):
    folder = machine.home / "chosen"
    said, kept = machine.run(NUMBA_CACHE_DIR=str(folder))
    assert Path(kept).parent == folder
    assert len(said) == 1
    assert machine.run(NUMBA_CACHE_DIR=str(folder)) == ([], kept)
    assert not list(machine.code.glob("*.code"))


@pytest.mark.slow
def test_two_processes_that_compile_at_once_leave_what_both_made(machine):
    both = [machine.start("f8", "i4"), machine.start("f4", "i4")]
    for process in both:
        machine.result(process)
    names = {path.name for path in machine.code.iterdir() if path.suffix != ".pyc"}
    assert len(names) == 3
    assert machine.run("f8", "f4", "i4")[0] == []


@needs_permissions
def test_private_folders_and_files_that_others_can_write_are_not_trusted(tmp_path):
    folder = CodeFolder(path=tmp_path / "code", private=True)
    assert not folder.is_trusted()
    assert folder.can_be_written()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.write("x", b"content")
    assert folder.read("x") == b"content"
    (folder.path / "x").chmod(0o666)
    assert folder.read("x") is None
    assert CodeFolder(path=folder.path, private=False).read("x") == b"content"
    folder.path.chmod(0o777)
    assert not folder.is_trusted()
    assert not folder.can_be_written()
    folder.path.chmod(0o700)
    link = CodeFolder(path=tmp_path / "link", private=True)
    link.path.symlink_to(folder.path)
    assert not link.can_be_written()
    if os.geteuid() == 0:
        os.chown(folder.path, 65534, 65534)
        assert not folder.can_be_written()


def test_a_file_is_whole_or_not_there(tmp_path):
    folder = CodeFolder(path=tmp_path, private=False)
    folder.write("x", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    whole = (tmp_path / "x").read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", whole[:-1] + b"!"):
        (tmp_path / "x").write_bytes(damaged)
        assert folder.read("x") is None
    assert folder.read("y") is None


LOOPS = """
from csc_data.loader.compilation import compiled
FACTOR = 2

@compiled()
def times(value):
    return value * FACTOR

@compiled(fastmath=frozenset({"nsz", "arcp", "contract"}))
def total(values):
    result = 0.0
    for value in values:
        result += times(value)
    return result
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    folder = CodeFolder(path=tmp_path, private=False)
    monkeypatch.setattr(code_cache, "code_folders", lambda: ((folder,), folder))
    return lambda name: {path.name for path in tmp_path.glob(f"{name}-*")}


def make(text):
    # With the name of a module, as all code has it: of what has none, numba keeps the built-in names as well.
    names = {"__name__": __name__}
    exec(text, names)
    return names["total"]


def test_code_is_found_again_until_something_that_it_is_made_of_changes(kept):
    values = np.arange(4.0)
    assert make(LOOPS)(values) == 12
    first = kept("total")
    assert len(first) == 1
    again = make(LOOPS)
    assert again(values) == 12
    assert again.stats.cache_hits
    assert not again.stats.cache_misses
    changes = {"FACTOR = 2": "FACTOR = 3", "value * FACTOR": "value + FACTOR", '"nsz", ': "", "0.0": "1.0"}
    expected = [18, 14, 12, 13]
    for (old, new), result in zip(changes.items(), expected, strict=True):
        before = kept("total")
        assert make(LOOPS.replace(old, new))(values) == result
        assert len(kept("total") - before) == 1
    assert first <= kept("total")


def test_damaged_code_is_compiled_anew(kept, tmp_path):
    assert make(LOOPS)(np.arange(3.0)) == 6
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    again = make(LOOPS)
    assert again(np.arange(3.0)) == 6
    assert again.stats.cache_misses
    assert make(LOOPS)(np.arange(3.0)) == 6


def test_loaded_code_works_beside_what_is_compiled(kept):
    make(LOOPS)(np.arange(3.0))
    loaded = make(LOOPS)
    assert loaded(np.arange(3.0)) == 6
    assert loaded(np.arange(3, dtype=np.float32)) == 6  # compiled now

    @compiled()
    def twice(values):
        return loaded(values) + loaded(values)

    assert twice(np.arange(3.0)) == 12
