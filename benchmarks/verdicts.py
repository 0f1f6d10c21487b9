r"""Odd submissions, scored by the official scorer and by csc-eval: is what we say of them what happens there?

``python benchmarks/verdicts.py --official PYTHON --source SRC [--write]``: PYTHON is that of an environment with the
official scorer's dependencies, SRC the folder ``src`` of its repository (2026-06-30, commit 6b9ad68). Prints what of
our words is silent or false, and a table of outcomes. ``--write`` keeps the official outcomes for csc-eval's tests.
Such an environment is made by::

    uv venv official && uv pip install --python official/bin/python "zarr<3" "numcodecs<0.16" cellmap-data torch tqdm \
        structlog psutil yarl toolz scipy scikit-image universal-pathlib fastremap connected-components-3d ortools \
        gitpython python-dotenv requests scikit-learn tensorstore pykdtree
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz_eval import load_cases

KEPT = Path(__file__).parents[1] / "packages/csc-eval/tests/data/verdicts.json"


def ask_official(python: str, source: str, root: Path) -> dict[str, Any]:
    """Write all cases below a folder, and run the official scorer over them; returns its outcomes by case."""
    for number, case in enumerate(load_cases("cases").all_cases()):
        folder = root / f"{number:04}"
        submission, truth = (path.relative_to(folder).as_posix() for path in case.write(folder))
        (folder / "case.json").write_text(json.dumps({"name": case.name, "submission": submission, "truth": truth}))
    script = Path(__file__).with_name("verdicts_official.py")
    out = root / "outcomes.json"
    subprocess.run([python, str(script), str(root), str(out)], check=True, env={**os.environ, "PYTHONPATH": source})
    return json.loads(out.read_text())


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", metavar="PYTHON", help="without it, the outcomes that were kept are compared")
    parser.add_argument("--source", metavar="SRC")
    parser.add_argument("--write", action="store_true", help="keep the official outcomes")
    parser.add_argument("--folder", help="where cases are written; a disk in memory is fastest")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="verdicts-", dir=options.folder))
    warnings.filterwarnings("ignore", "Duplicate name")
    judging = load_cases("judging")
    try:
        asked = options.official is not None
        official = ask_official(options.official, options.source, root) if asked else json.loads(KEPT.read_text())
        seen, wrong = Counter[tuple[str, str]](), 0
        for case in load_cases("cases").all_cases():
            said = judging.remake(case, root / "ours")
            found = judging.faults(case, official[case.name], said)
            seen[official[case.name]["kind"], said["kind"]] += 1
            wrong += bool(found)
            if found:
                print(case.name, *found, sep="\n    ")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("official   csc-eval   cases")
    for (theirs, ours), count in sorted(seen.items()):
        print(f"{theirs:10} {ours:10} {count:5}")
    print(f"silent or false: {wrong} of {sum(seen.values())}")
    if options.write:
        KEPT.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in official.items()) + "\n}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
