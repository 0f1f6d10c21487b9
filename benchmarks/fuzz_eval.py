"""Ten thousand hostile inputs for ``csc-eval``: what is spoiled, and what came of it.

``python benchmarks/fuzz_eval.py [--cases 10000] [--seed 0] [--only N]``. Submissions and zips with bytes flipped, cut
or grown, metadata that lie, pipes, sockets, devices, folders and links in place of files, results that go where nothing
can be written. No case may end in a traceback, a hang, a dead process, a file that nobody asked for, or more memory
than was granted. Cases run in one process after another, so that one that dies costs itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import ModuleType

CASES = Path(__file__).parents[1] / "packages/csc-eval/tests/validating/verdicts"
AT_ONCE = 250
MOST_MB = 256 + 100
"""What was granted, and what a test needs beside it."""


def load_cases(name: str) -> ModuleType:
    """Import a module of the cases, which are not installed."""
    if "verdicts" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "verdicts", CASES / "__init__.py", submodule_search_locations=[str(CASES)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules["verdicts"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["verdicts"])
    return importlib.import_module(f"verdicts.{name}")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run_some(numbers: range, root: Path, report: int) -> None:
    """Run cases one after the other, and write a line of JSON for each; what it began is written before."""
    hostile = load_cases("hostile")
    os.setsid()  # no terminal: /dev/tty leads nowhere
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30,) * 2)  # what goes wrong here shall not end other programs
    quiet = Path("/proc/self/clear_refs")
    for number in numbers:
        os.write(report, json.dumps([number]).encode() + b"\n")
        quiet.write_text("5")
        before = _peak_mb()
        kind, faults = hostile.run_case(number, root / str(number))
        more = _peak_mb() - before
        if more > MOST_MB:
            faults.append(f"it took {more:.0f} MB")
        shutil.rmtree(root / str(number), ignore_errors=True)
        os.write(report, json.dumps([number, kind, faults, round(more)]).encode() + b"\n")


def _run_apart(numbers: range, root: Path) -> list[list[object]]:
    """Run cases in a child, and go on behind a case that ends it."""
    results: list[list[object]] = []
    while numbers:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            try:
                run_some(numbers, root, write)
            except BaseException:  # noqa: BLE001 - nothing of the parent may run on in a child
                traceback.print_exc()
                os._exit(70)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as lines:
            said = [json.loads(line) for line in lines]
        _, status = os.waitpid(child, 0)
        done = [line for line in said if len(line) > 1]
        results += done
        begun = said[-1][0] if said else numbers[0]
        if len(done) == len(numbers):
            break
        results.append([begun, "died", [f"its process ended with the status {status}"], 0])
        numbers = range(begun + 1, numbers.stop)
    return results


def main() -> int:
    """Run all cases; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others count on")
    parser.add_argument("--only", type=int, help="one case, which is kept")
    parser.add_argument("--folder", help="where cases are written; a disk in memory is fastest")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=options.folder))
    if options.only is not None:
        print(*load_cases("hostile").run_case(options.only, root / "case"), root, sep="\n")
        return 0
    seen, faults, most = Counter[str](), 0, 0
    began = time.monotonic()
    last = options.seed + options.cases
    for first in range(options.seed, last, AT_ONCE):
        for number, kind, found, megabytes in _run_apart(range(first, min(first + AT_ONCE, last)), root):
            seen[str(kind)] += 1
            most = max(most, int(str(megabytes)))
            if found:
                faults += 1
                print(f"case {number}, {kind}:", *found, sep="\n    ", flush=True)
        print(f"{sum(seen.values())} cases, {faults} with faults, {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(root, ignore_errors=True)
    print(f"{dict(sorted(seen.items()))}; at most {most} MB more in a case; faults: {faults}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
