"""Submissions spoiled at random, run through the command, and what must not come of them.

No traceback, no hang, nothing written but what was asked for, no more memory than was granted.
"""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import click
import numpy as np

from csc_eval.command.group import csc_eval

from .drafts import Draft, as_zip
from .odd_arrays import ODD_ARRAYS
from .odd_layouts import ODD_LAYOUTS

SECONDS = 60
"""After so many a case counts as hanging: a thousand times what it takes."""

# fmt: off
NASTY = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "\0",
    "../..", "a" * 5000, [], [1], [8, 8, 8], [0, 0, 0], [-1, 8, 8], [2**40, 1, 1], [2**20] * 3, [1, 1, 1], [[1], [2]],
    [2**62, 2**62, 2**62], [1] * 1000, {}, {"id": "blosc"}, {"id": "zstd", "level": "x"}, {"a": {"a": {"a": [[[]]]}}},
    "|O", "<u8", ">i4", "<f2", "|b1", "<i8", "F", "/", "NaN", "<f16", "<M8[ns]", "|V8", "\ud800",
)
# fmt: on
DEEP = b'{"shape": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
WIDE = b'{"shape": [' + b"1," * 2_000_000 + b"1]}"

Spoil = Callable[[np.random.Generator, Path], None]


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:  # which may have grown before
        return opened.read(2**20)


def _flip(rng: np.random.Generator, file: Path) -> None:
    data = bytearray(_content(file))
    for _ in range(int(rng.integers(1, 12))):
        if data:
            data[rng.integers(len(data))] = rng.integers(256)
    file.write_bytes(data)


def _cut(rng: np.random.Generator, file: Path) -> None:
    data = _content(file)
    file.write_bytes(data[: int(rng.integers(0, len(data) + 1))])


def _noise(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(rng.bytes(int(rng.integers(0, 5000))))


def _repeat(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(_content(file) * int(rng.integers(2, 5)))


def _grow(rng: np.random.Generator, file: Path) -> None:
    with file.open("r+b") as opened:  # gigabytes that take no room on the disk
        opened.truncate(int(rng.choice([2**22, 2**31, 2**36])))


def _metadata(rng: np.random.Generator, file: Path) -> None:
    files = [path for path in _files(file.parent) if path.name in (".zarray", ".zattrs", ".zgroup")] or [file]
    chosen = files[rng.integers(len(files))]
    try:
        document = json.loads(_content(chosen))
        names = ["voxel_size", "translation", "multiscales", "scale", *document]
        document[str(rng.choice(names))] = NASTY[rng.integers(len(NASTY))]
    except (ValueError, TypeError, AttributeError, RecursionError):
        document = NASTY[rng.integers(len(NASTY))]
    chosen.write_text(json.dumps(document))


def _huge_json(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(DEEP if rng.random() < 0.5 else WIDE)


def _instead(make: Callable[[Path], None]) -> Spoil:
    def spoil(rng: np.random.Generator, file: Path) -> None:
        file.unlink()
        make(file)

    return spoil


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            opened.bind(path.name)
        finally:
            os.chdir(here)


SPOILS: dict[str, Spoil] = {
    "bytes": _flip,
    "cut": _cut,
    "noise": _noise,
    "repeated": _repeat,
    "grown": _grow,
    "metadata": _metadata,
    "huge JSON": _huge_json,
    "gone": _instead(lambda path: None),
    "pipe": _instead(os.mkfifo),
    "socket": _instead(_socket),
    "zero": _instead(lambda path: path.symlink_to("/dev/zero")),
    "random": _instead(lambda path: path.symlink_to("/dev/urandom")),
    "terminal": _instead(lambda path: path.symlink_to("/dev/tty")),
    "folder": _instead(Path.mkdir),
    "loop": _instead(lambda path: path.symlink_to(path.name)),
    "parent": _instead(lambda path: path.symlink_to("..")),
    "nowhere": _instead(lambda path: path.symlink_to("/nowhere/at/all")),
    "unreadable": lambda rng, file: file.chmod(0),
}
USUAL = ("bytes", "cut", "noise", "metadata", "metadata", "metadata")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _break_zip(rng: np.random.Generator, archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    kind = rng.integers(4)
    begin = data.rfind(b"PK\x05\x06") if kind == 0 else data.find(b"PK\x01\x02") if kind == 1 else 0
    for _ in range(int(rng.integers(1, 20))):
        if len(data) > max(begin, 0):
            data[rng.integers(max(begin, 0), len(data))] = rng.integers(256)
    if kind == 2:  # sizes, offsets and counts
        mark = (b"PK\x01\x02", 20, 24, 42)
        places = [at for at in range(len(data) - 46) if data[at : at + 4] == mark[0]]
        at = places[rng.integers(len(places))] + int(rng.choice(mark[1:])) if places else 0
        data[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 2**16, 2**31, 2**32 - 1])))
    if rng.random() < 0.2:
        data = data[: int(rng.integers(0, len(data) + 1))]
    archive.write_bytes(data)


def spoiled(rng: np.random.Generator, folder: Path) -> tuple[Path, Path]:
    """Write a truth and a spoiled submission; returns the submission's and the truth's path."""
    draft = Draft.good(int(rng.integers(20)))
    places = list(draft.arrays)
    for number in rng.permutation(len(places))[: rng.integers(0, 3)]:
        at = places[number]
        odd = str(rng.choice(sorted(ODD_ARRAYS)))
        if odd != "too many voxels":
            ODD_ARRAYS[odd](draft, at)
    if rng.random() < 0.3:
        ODD_LAYOUTS[str(rng.choice(sorted(ODD_LAYOUTS)))](draft)
    elif rng.random() < 0.3:
        draft.wrap = as_zip
    submission, truth = draft.write(folder)
    if submission.is_file():
        if rng.random() < 0.7:
            _break_zip(rng, submission)
        elif rng.random() < 0.2:
            SPOILS[str(rng.choice(sorted(SPOILS)))](rng, submission)
        return submission, truth
    root = truth if rng.random() < 0.03 else submission
    for _ in range(int(rng.integers(1, 4))):
        files = _files(root)
        # The metadata of a label are few among its chunks, and more goes by them.
        first = [file for file in files if file.name.startswith(".")]
        files = first if first and rng.random() < 0.5 else files
        if files:
            kind = str(rng.choice(USUAL)) if rng.random() < 0.5 else str(rng.choice(sorted(SPOILS)))
            SPOILS[kind](rng, files[rng.integers(len(files))])
    return submission, truth


def _unwritable(rng: np.random.Generator, folder: Path) -> str:
    """Return a place that results go to, which most often they cannot."""
    (folder / "out").mkdir()
    (folder / "out/file").touch()
    (folder / "out/folder.json").mkdir()
    (folder / "out/dead.json").symlink_to("/nowhere/at/all")
    (folder / "out/loop.json").symlink_to("loop.json")
    os.mkfifo(folder / "out/pipe.json")
    places = ["out", "out/file/r.json", "out/folder.json", "out/dead.json", "out/loop.json", "out/pipe.json"]
    places += ["out/" + "a" * 300 + ".json", "out/new/new/r.json", "out/r", "out/.json"]
    chosen = [str(folder / place) for place in places]
    # Devices by links of the case: who runs this may be allowed to replace them.
    for name in ("full", "null", "zero"):
        (folder / f"out/{name}.json").symlink_to(f"/dev/{name}")
        chosen.append(str(folder / f"out/{name}.json"))
    chosen += ["/proc/r.json", "/proc/self/r.json", "/dev/null/r.json", "\0", ""]
    return chosen[rng.integers(len(chosen))]


def arguments(rng: np.random.Generator, submission: Path, truth: Path) -> list[str]:
    """Return a call of the command on what was spoiled."""
    if rng.random() < 0.25:
        return ["validate", str(submission), "--data", str(truth.parent), "--labels"]
    place = truth.parent / "out/r.json"
    target = _unwritable(rng, truth.parent) if rng.random() < 0.15 else str(place)
    call = ["score", "-s", str(submission), "-t", str(truth), "-r", target, "--memory", "256MB"]
    if rng.random() < 0.3:
        call += ["--rules", "leaderboard-2026-06,definition-2026-06,pq", "--metrics", "all"]
    if rng.random() < 0.1:
        call += ["--resume", str(truth.parent / "out/ledger")]
    return call


class _Hangs(BaseException):
    """The time is over."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        raise _Hangs

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            status = path.lstat()
            found[str(path)] = (
                status.st_mode,
                0 if stat.S_ISDIR(status.st_mode) else status.st_size,
                status.st_mtime_ns,
            )
    return found


def run_case(seed: int, folder: Path) -> tuple[str, list[str]]:
    """Run one case in an empty folder; returns what came of it in a word, and what is wrong with that."""
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names that a case has twice
        submission, truth = spoiled(rng, folder)
    call = arguments(rng, submission, truth)
    before = _state(folder)
    said, complaints, faults = io.StringIO(), io.StringIO(), []
    try:
        with (
            _limited(SECONDS),
            redirect_stdout(said),
            redirect_stderr(complaints),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            code = csc_eval.main(call, prog_name="csc-eval", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    except click.ClickException as error:
        code = error.exit_code
    except _Hangs:
        code, faults = 99, [f"it hangs: {''.join(traceback.format_exception(*sys.exc_info())[-3:])}"]
    except Exception:
        code, faults = 98, ["".join(traceback.format_exception(*sys.exc_info())[-4:])]
    else:
        faults += [f"it warns: {one.message}" for one in warned]
    text = said.getvalue() + complaints.getvalue()
    if "Traceback" in text:
        faults.append("a traceback is printed")
    if code not in (0, 1, 2, None, 98, 99):
        faults.append(f"it ends with {code}")
    out = str(folder / "out")
    changed = {name for name, state in _state(folder).items() if before.get(name) != state and not name.startswith(out)}
    changed |= {name for name in before if not os.path.lexists(name)}
    faults += [f"{name} was changed" for name in sorted(changed)[:3] if name != str(folder)]
    parts = [path.name for path in Path(folder, "out").glob("*.part")]
    faults += [f"{name} was left" for name in parts]
    kind = "validated" if call[0] == "validate" else "refused" if "Error" in complaints.getvalue() else "scored"
    return f"{kind} {code}", [f"{fault} [{' '.join(call)}]" for fault in faults]
