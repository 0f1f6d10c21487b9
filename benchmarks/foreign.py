"""Outputs of networks imported from files of other packages, against those of the packages themselves.

``python benchmarks/foreign.py [--mednext CLONE]``; `uv` gets nnU-Net and Lightning, with the torch and numpy that are
installed here, into an environment of their own, where `peers/foreign_files.py` writes files and outputs. The authors'
MedNeXt is not on PyPI: CLONE is one of https://github.com/MIC-DKFZ/MedNeXt.

Differences are the largest of all voxels: of probabilities, and of logits relative to the largest logit. A softmax's
logits are compared less that of the background. Ends with 1 if a difference is above the bar.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.foreign import ForeignHints, load_foreign

BAR = 1e-5
WORKER = Path(__file__).parent / "peers" / "foreign_files.py"
MEDPY = "medpy"  # which the authors' trainers import


def write_files(folder: Path, mednext: Path | None) -> None:
    """Let the packages write their files."""
    wanted = ["nnunetv2==2.8.1", "lightning==2.6.6", *(f"{name}=={version(name)}" for name in ("torch", "numpy"))]
    wanted += [MEDPY] if mednext else []
    subprocess.run(
        [
            *("uv", "run", "--isolated", "--no-project", "--python", platform.python_version()),
            *(word for requirement in wanted for word in ("--with", requirement)),
            *("python", str(WORKER), str(folder)),
        ],
        env={**os.environ, "PYTHONPATH": str(mednext.resolve()) if mednext else ""},
        check=True,
        stdout=subprocess.DEVNULL,
    )


@torch.no_grad()
def differences(path: Path, hints: ForeignHints, expected: tuple[Tensor, Tensor]) -> tuple[str, float, float]:
    """Import a file, write ours and read it back; compare its network's output with the package's."""
    loaded = load_foreign(path, hints)
    ours = path.with_suffix(".imported.pth")
    save_checkpoint(ours, loaded.model, description=loaded.description)
    again = load_checkpoint(ours)
    batch, theirs = expected
    logits = again.model(batch)
    if again.description.values == "exclusive":
        probability = torch.cat([torch.zeros_like(logits[:, :1]), logits], 1).softmax(1)[:, 1:]
        difference = (probability - theirs.softmax(1)[:, 1:]).abs().max()
        theirs = theirs[:, 1:] - theirs[:, :1]
    else:
        difference = (logits.sigmoid() - theirs.sigmoid()).abs().max()
    return loaded.kind, float(difference), float((logits - theirs).abs().max() / theirs.abs().max())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mednext", type=Path, metavar="CLONE")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, arguments.mednext)
        print(f"{'case':26} {'probabilities':>14} {'logits':>10}  imported as")
        for case in json.loads((folder / "cases.json").read_text("utf-8")):
            hints = {**case["hints"], "classes": tuple(case["hints"].get("classes", ())) or None}
            expected = torch.load(folder / f"{case['name']}.outputs")
            kind, of_probabilities, of_logits = differences(folder / case["file"], ForeignHints(**hints), expected)
            failed += max(of_probabilities, of_logits) > BAR
            print(f"{case['name']:26} {of_probabilities:14.1e} {of_logits:10.1e}  {kind}")
    sys.exit(int(failed > 0))


if __name__ == "__main__":
    main()
