"""Break important lines one by one, and see whether the tests that stand next to them notice.

Run it by ``nox -s mutants``; ``--check`` only looks whether every line is still there, words after it choose what
to break: a list such as ``geometry``, or the name of a file or a folder. Each ``*.toml`` beside this file lists lines
of one subject: the file, the function in which the line stands, its text, what it becomes, why that would be wrong, and
the test file that mirrors the code. Nothing in the tree is touched: lines are broken in copies of the sources, which
go before the installed ones on Python's path.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
WORKERS = 2
WANTED = 0.95
# A mutant that makes a loop endless is found, too, but should not take long.
TIMEOUT_S = 120
PYTEST = ("-qx", "--no-header", "-pno:cacheprovider", "--hypothesis-profile=ci", f"--timeout={TIMEOUT_S}")
PASSED, FAILED = 0, 1  # exit codes of pytest; others mean that tests could not be run


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A line, and how it is broken.

    Attributes
    ----------
    subject : str
        The list that it stands in.
    file, test : str
        Paths from the root: what is broken, and the tests that must notice.
    function : str
        Dotted name of the function that holds the line, such as ``Grid.covering``; "" for one outside of all.
    line, becomes : str
        Text without the spaces in front; it stands once in the function.
    why : str
        What would be wrong.
    """

    subject: str
    file: str
    test: str
    function: str
    line: str
    becomes: str
    why: str

    def broken(self, text: str) -> str:
        """Return the text of the file with this line broken.

        Raises
        ------
        LookupError
            There is no such function, or the line does not stand in it once.
        """
        lines = text.splitlines()
        first, last = _find_function(ast.parse(text), self.function, len(lines))
        places = [number for number in range(first, last) if lines[number].strip() == self.line]
        if len(places) != 1:
            raise LookupError(f"{self.file}, {self.function}: {self.line!r} stands there {len(places)} times, not once")
        (place,) = places
        lines[place] = lines[place].replace(self.line, self.becomes)
        ast.parse("\n".join(lines))  # a broken line is still Python
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the tests said of a mutant: ``found``, ``passes``, or ``error``, and by which test or why."""

    mutant: Mutant
    word: str
    detail: str
    seconds: float


def _find_function(tree: ast.AST, name: str, length: int) -> tuple[int, int]:
    """Return the first line of a function, from 0, and the one after its last."""
    if not name:
        return 0, length
    node = tree
    for part in name.split("."):
        found = [child for child in ast.walk(node) if getattr(child, "name", None) == part]
        if not found:
            raise LookupError(f"there is no {name}")
        node = found[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node.lineno - 1, node.end_lineno or length


def read_mutants() -> list[Mutant]:
    """Return all mutants, list by list."""
    return [
        Mutant(subject=file.stem, **entry)
        for file in sorted(Path(__file__).parent.glob("*.toml"))
        for entry in tomllib.loads(file.read_text("utf-8"))["mutant"]
    ]


def check(mutants: list[Mutant]) -> list[str]:
    """Return what is wrong with the lists: lines, functions, files and tests that are gone."""
    problems = []
    for mutant in mutants:
        try:
            if mutant.broken((ROOT / mutant.file).read_text("utf-8")) == (ROOT / mutant.file).read_text("utf-8"):
                problems.append(f"{mutant.file}: {mutant.line!r} becomes what it is")
            if not (ROOT / mutant.test).is_file():
                problems.append(f"there is no {mutant.test}")
        except (LookupError, FileNotFoundError, SyntaxError) as error:
            problems.append(str(error))
    return problems


class Sources:
    """A copy of the sources of all packages, used instead of the installed ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for source in ROOT.glob("packages/*/src"):
            shutil.copytree(source, folder / source.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, test: str, *, cache: Path) -> tuple[int, str]:
        """Run a test file with these sources, and return the exit code and the output; `cache` is numba's."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(path) for path in sorted(self.folder.glob("packages/*/src"))),
            # A compiled file is told from its source by time and size alone; a broken line may have both the same.
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(cache),
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
        }
        command = [sys.executable, "-m", "pytest", *PYTEST, test]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr

    def where_is(self, package: str) -> Path:
        """Return where Python finds a package when it runs with these sources."""
        path = os.pathsep.join(str(path) for path in sorted(self.folder.glob("packages/*/src")))
        command = [sys.executable, "-B", "-c", f"import {package}; print({package}.__file__)"]
        return Path(subprocess.check_output(command, env={**os.environ, "PYTHONPATH": path}, text=True).strip())

    def judge(self, mutant: Mutant) -> Outcome:
        """Break a line, run its tests, and put it back."""
        file = self.folder / mutant.file
        text = file.read_text("utf-8")
        start = time.monotonic()
        file.write_text(mutant.broken(text), "utf-8")
        # Numba does not see that a function called by a compiled one, in another file, was broken.
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            try:
                code, output = self.run(mutant.test, cache=Path(cache))
            finally:
                file.write_text(text, "utf-8")
        seconds = time.monotonic() - start
        if code == PASSED:
            return Outcome(mutant=mutant, word="passes", detail="", seconds=seconds)
        test = re.search(r"^(?:FAILED|ERROR) \S*?::(\S+)", output, flags=re.MULTILINE)
        if code == FAILED:
            return Outcome(mutant=mutant, word="found", detail=test[1] if test else "stopped", seconds=seconds)
        return Outcome(mutant=mutant, word="error", detail=output.strip()[-300:], seconds=seconds)


def run(mutants: list[Mutant]) -> list[Outcome]:
    """Judge mutants, two at a time; first see that all tests pass where nothing is broken."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        idle: SimpleQueue[Sources] = SimpleQueue()
        for number in range(WORKERS):
            idle.put(Sources(Path(folder) / str(number)))
        where = idle.get()
        for package in sorted({mutant.file.split("/")[3] for mutant in mutants}):
            assert where.folder in where.where_is(package).parents, f"{package} is not taken from {where.folder}"
        idle.put(where)

        def passes(test: str) -> str:
            sources = idle.get()
            code, output = sources.run(test, cache=sources.folder / "numba")
            idle.put(sources)
            print(f"{test} {'passes' if code == PASSED else 'fails'}", flush=True)
            return "" if code == PASSED else output

        def judge(mutant: Mutant) -> Outcome:
            sources = idle.get()
            outcome = sources.judge(mutant)
            idle.put(sources)
            print(row(outcome), flush=True)
            return outcome

        with ThreadPoolExecutor(WORKERS) as pool:
            failures = list(filter(None, pool.map(passes, dict.fromkeys(mutant.test for mutant in mutants))))
            if failures:
                raise SystemExit("tests fail although nothing is broken:\n" + "\n".join(failures))
            return list(pool.map(judge, mutants))


def row(outcome: Outcome) -> str:
    """Return a line of the table."""
    mutant = outcome.mutant
    place = f"{mutant.file.split('/src/')[1]} {mutant.function}"
    return f"{outcome.word:7} {outcome.seconds:5.0f} s  {mutant.subject:9} {place}: {mutant.why}  {outcome.detail}"


def main() -> None:
    """Run what the command line asks for; exit with 1 if too few are found, or a list is out of date."""
    parser = argparse.ArgumentParser(description="Break important lines one by one, and see whether tests notice.")
    parser.add_argument("--check", action="store_true", help="only look whether every line is still there")
    parser.add_argument("words", nargs="*", help="lists, or names of files or folders, to choose by")
    options = parser.parse_args()
    mutants = read_mutants()
    problems = check(mutants)
    if problems:
        raise SystemExit("\n".join(problems))
    if options.check:
        return
    if options.words:
        words = set(options.words)
        mutants = [mutant for mutant in mutants if words & {mutant.subject, *mutant.file.split("/")}]
    start = time.monotonic()
    outcomes = run(mutants)
    print()
    for outcome in outcomes:
        print(row(outcome))
    found = sum(outcome.word == "found" for outcome in outcomes)
    minutes = (time.monotonic() - start) / 60
    print(f"\n{found} of {len(outcomes)} found ({found / len(outcomes):.0%}) in {minutes:.0f} minutes")
    if found < WANTED * len(outcomes) or any(outcome.word == "error" for outcome in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
