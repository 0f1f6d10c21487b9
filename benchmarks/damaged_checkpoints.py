"""What becomes of damaged checkpoints: refused, read as before, or loaded with something else in them, unseen.

    python benchmarks/damaged_checkpoints.py [--files 1000] [--seed 0] [--width 16]

Files of a network like the demo's are damaged at random, as `.pth` and as `.safetensors`: one to three bits flipped
(half of them where the structure of the file is), cut off, a range set to zero, two weights of one shape exchanged, the
description of another checkpoint put in its place. The same for `.pth` files without digests, as older versions wrote
them: of those bytes are damaged, and the zip's own CRC tells. A load must end in a `ModelError`, or in exactly the
weights, description and `extra` of before; anything else is counted as WRONG, and the script exits with 1. So does a
load that takes 1 MiB more memory at its peak than loads of the whole file do. Rows: what was damaged, files, refused,
unchanged, WRONG, MiB beyond a clean load. Then the CPU time of a load with verification and without.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import safetensors
import torch
from safetensors.torch import save_file

from csc_models import ModelError, create_model
from csc_models.checkpoint import CheckpointDescription, LoadedCheckpoint, load_checkpoint, save_checkpoint

CLASSES = ("ecs", "pm", "mito_mem", "mito_lum", "er", "nuc", "ves", "lyso")
OTHER = CheckpointDescription(classes=CLASSES[::-1], raw_range=(0.0, 255.0))
MIB = 2**20
ALLOWED_MIB = 1.0
STRUCTURE_BYTES = 20_000


def flipped(data: bytearray, rng: random.Random) -> None:
    """Flip one to three bits."""
    for _ in range(rng.randint(1, 3)):
        near = min(STRUCTURE_BYTES, len(data))
        place = rng.choice((rng.randrange(len(data)), rng.randrange(near), len(data) - 1 - rng.randrange(near)))
        data[place] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    """Leave out the end."""
    del data[rng.randrange(len(data)) :]


def zeroed(data: bytearray, rng: random.Random) -> None:
    """Set a range to zero, as a disk does that lost a block."""
    length = rng.choice((1, 16, 512, 4096))
    start = rng.randrange(max(1, len(data) - length))
    data[start : start + length] = bytes(len(data[start : start + length]))


def exchanged(contents: dict[str, Any], rng: random.Random) -> None:
    """Exchange two weights of one shape."""
    model = contents["model"]
    pairs = [
        (one, other)
        for one in model
        for other in model
        if one < other and model[one].shape == model[other].shape and not torch.equal(model[one], model[other])
    ]
    one, other = rng.choice(pairs)
    model[one], model[other] = model[other], model[one]


def described_otherwise(contents: dict[str, Any], rng: random.Random) -> None:
    """Give it fields of the description of another checkpoint."""
    other = {**OTHER.to_plain(), "values": "distance"}
    names = ("classes", "raw_range", "values")
    for name in rng.sample(names, rng.randint(1, len(names))):
        contents["description"][name] = other[name]


BYTES = (flipped, cut, zeroed)
CONTENTS = (exchanged, described_otherwise)


def read_contents(path: Path) -> dict[str, Any]:
    """Return what lies in a file, without a check of it."""
    if path.suffix == ".pth":
        contents: dict[str, Any] = torch.load(path, weights_only=True)
        return contents
    with safetensors.safe_open(path, framework="pt") as stored:
        state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        return {**json.loads(stored.metadata()["csc-models"]), "model": state}


def write_contents(path: Path, contents: dict[str, Any]) -> None:
    """Write a whole file of contents that do not belong together."""
    if path.suffix == ".pth":
        torch.save(contents, path)
        return
    described = {name: value for name, value in contents.items() if name != "model"}
    save_file(contents["model"], path, metadata={"format": "pt", "csc-models": json.dumps(described)})


def same(one: LoadedCheckpoint, other: LoadedCheckpoint) -> bool:
    """Whether two loads gave the same in everything."""
    a, b = one.model.state_dict(), other.model.state_dict()
    return (
        one.description == other.description
        and one.extra == other.extra
        and one.origin == other.origin
        and list(a) == list(b)
        and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)
    )


def peak_mib(load: Callable[[], object]) -> float:
    """Return by how much a call raised the peak of the memory in use; 0 where the system does not say."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        load()
        return 0.0
    reset.write_text("5")
    before = int(re.search(r"VmRSS:\s*(\d+)", status.read_text())[1])  # type: ignore[index]
    load()
    peak = int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1])  # type: ignore[index]
    return (peak - before) / 1024


def make_files(folder: Path, width: int) -> list[Path]:
    """Write the checkpoints that are to be damaged."""
    torch.manual_seed(0)
    model = create_model("3d_unet_s", n_channels=1, n_classes=len(CLASSES), width=width, depth=4, norm="batch")
    with torch.no_grad():  # no two weights alike, so that an exchange changes something
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape))
    description = CheckpointDescription(classes=CLASSES, raw_range=(0.0, 1.0))
    files = [folder / "whole.pth", folder / "whole.safetensors"]
    for file in files:
        save_checkpoint(file, model, description=description, extra={"epoch": 3, "scores": [0.25, 0.5, 0.75]})
    older = folder / "without_digests.pth"
    contents = read_contents(files[0])
    del contents["digests"]
    torch.save(contents, older)
    return [*files, older]


def try_damage(file: Path, count: int, rng: random.Random) -> dict[str, list[float]]:
    """Damage copies of a file, load them, and count by kind: files, refused, unchanged, wrong, most MiB."""
    whole, data, damaged = load_checkpoint(file), file.read_bytes(), file.with_name(f"damaged{file.suffix}")
    clean = max(peak_mib(lambda: load_checkpoint(file)) for _ in range(5))
    kinds = BYTES if "without" in file.name else (*BYTES, *CONTENTS)
    rows: dict[str, list[float]] = {}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        if kind in BYTES:
            content = bytearray(data)
            kind(content, rng)
            damaged.write_bytes(content)
        else:
            contents = read_contents(file)
            kind(contents, rng)
            write_contents(damaged, contents)
            del contents
        outcome: list[object] = []

        def load(outcome: list[object] = outcome) -> None:
            try:
                outcome.append(load_checkpoint(damaged))
            except ModelError as error:
                outcome.append(error)

        beyond = peak_mib(load) - clean
        row = rows.setdefault(f"{file.name}: {kind.__name__}", [0, 0, 0, 0, -clean])
        refused = isinstance(outcome[0], ModelError)
        index = 1 if refused else 2 if same(whole, outcome[0]) else 3  # type: ignore[arg-type]
        row[0], row[index], row[4] = row[0] + 1, row[index] + 1, max(row[4], beyond)
    return rows


def time_loads(file: Path, repeats: int = 25) -> tuple[float, float]:
    """Return the median CPU seconds of a load with verification, and of one without; taken in turns."""

    def timed() -> float:
        start = time.process_time()
        load_checkpoint(file)
        return time.process_time() - start

    checked, unchecked = [], []
    for _ in range(repeats):
        checked.append(timed())
        with (
            patch("csc_models.checkpoint.files.check_records"),
            patch("csc_models.checkpoint.reading.check_digests"),
        ):
            unchecked.append(timed())
    return statistics.median(checked[3:]), statistics.median(unchecked[3:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="how many damaged files, of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=16, help="channels of the network; 16 as the demo's")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), asked.width)
        print(f"{'what was damaged':44}{'files':>7}{'refused':>9}{'unchanged':>11}{'WRONG':>7}{'MiB more':>10}")
        for file in files:
            rows = try_damage(file, -(-asked.files // len(files)), random.Random(asked.seed))
            for name, (count, refused, unchanged, wrong, beyond) in rows.items():
                print(f"{name:44}{count:7.0f}{refused:9.0f}{unchanged:11.0f}{wrong:7.0f}{beyond:10.1f}")
                failed |= wrong > 0 or beyond > ALLOWED_MIB
        for file in files:
            checked, unchecked = time_loads(file)
            print(
                f"{file.name}, {file.stat().st_size / MIB:.1f} MiB: {checked * 1e3:.1f} ms of CPU time, without "
                f"verification {unchecked * 1e3:.1f} ms ({checked / unchecked - 1:+.0%})"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
