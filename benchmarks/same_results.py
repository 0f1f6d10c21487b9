"""Whether a change of the code changes a result: what one checkout computes, compared with what another does.

python benchmarks/same_results.py record before.json   in the environment of one checkout (--root names its folder)
python benchmarks/same_results.py record after.json    in that of the other
python benchmarks/same_results.py compare before.json after.json

Recorded are, as numbers or as digests of bytes: the golden cases of csc-eval under both rules, the files of a
synthetic challenge, what a fetch of it brings, a datasplit, counts of classes, volumes read at other grids, batches by
seed, and every stage of `csc demo --quick` up to the score. The comparison lists each difference and exits with 1 if
there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
BUCKET = "janelia-cosem-datasets"
CLASSES = "mito_mem,mito_lum,ves_mem,ves_lum,ld_lum,er_mem,ves,mito"
RULES = ("leaderboard-2026-06", "definition-2026-06")
PATCH = {"shape": [32, 32, 32], "scale": [8, 8, 8]}
TURNED = {"mirror": {"axes": {"x": 0.5, "y": 0.5}}, "rotate": {"axes": {"x": [-180, 180], "z": [-30, 30]}}}


def digest(value: Any) -> str:
    """Return a short digest of bytes, of an array with its shape and type, or of anything that JSON can hold."""
    if isinstance(value, np.ndarray):
        value = repr((value.shape, str(value.dtype))).encode() + value.tobytes()
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(value, digest_size=12).hexdigest()


def digest_files(folder: Path, *, below: str = "**/*") -> str:
    """Return a digest of the names and bytes of all files below a folder, hidden work of ours left out."""
    files = (path for path in folder.glob(below) if path.is_file())
    shown = (p for p in files if not any(part.startswith(".csc") for part in p.relative_to(folder).parts))
    return digest({path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in sorted(shown)})


def load(path: Path, name: str) -> Any:
    """Import a file of a checkout's tests."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def csc(folder: Path, *arguments: str, **variables: str) -> str:
    """Run a `csc` command of this environment in a folder and return what it prints."""
    home = {"XDG_CONFIG_HOME": str(folder / ".home"), "XDG_CACHE_HOME": str(folder / ".home")}
    environment = {**os.environ, **home, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **variables}
    command = [str(Path(sys.executable).with_name("csc")), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exits with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def golden_cases(root: Path, folder: Path) -> Iterator[tuple[str, Any]]:
    """Score the golden cases; what dies must die of the same kind of error."""
    import csc_eval

    golden = load(root / "packages/csc-eval/tests/conftest.py", "golden_conftest").Golden()
    for name in sorted(golden.cases):
        submission, truth = golden.write(name, folder / name)
        for rules in RULES:
            try:
                result = csc_eval.score_submission(submission, truth, rules=rules).to_extended_dict()
                # The version of the package is recorded where the portal records that of its repository.
                text = json.dumps({k: v for k, v in result.items() if k != "git_version"}, sort_keys=True)
                yield f"golden {name} {rules}", digest(text.replace(str(folder), ""))
            except csc_eval_errors() as error:
                yield f"golden {name} {rules}", type(error).__name__


def csc_eval_errors() -> type[Exception]:
    """Return the root of our errors."""
    from csc_data.errors import CscError

    return CscError


def challenge(folder: Path) -> Iterator[tuple[str, Any]]:
    """Write a synthetic challenge, split it, count it, read it, and draw batches from it."""
    from csc_data import Grid, open_volume
    from csc_data.loader import get_dataloader
    from csc_data.synthetic import write_challenge

    data = folder / "challenge"
    made = write_challenge(data, seed=3, quick=True)
    yield "synthetic files", digest_files(data)
    csc(folder, "make-datasplit", "--data", str(data), "--classes", CLASSES)
    split = data / "datasplit.csv"
    yield "datasplit", digest(split.read_text(encoding="utf-8").replace(str(folder), ""))
    yield (
        "counts",
        digest(csc(folder, "get-counts", "--data", str(data), "--classes", CLASSES).replace(str(folder), "")),
    )
    dataset = made.datasets[0]
    volume = open_volume(data / dataset.name / f"{dataset.name}.zarr/recon-1/em/fibsem-uint8")
    finest = volume.levels[0].grid
    for size in ((8, 8, 8), (7, 9, 11.3), (16, 16, 16)):
        grid = Grid(voxel_size=size, translation=[t + 13.7 for t in finest.translation], shape=(40, 40, 40))
        for order in (0, 1):
            yield f"volume at {size} order {order}", digest(volume.read(grid, order=order))
    for name, transforms in (("upright", None), ("turned", TURNED)):
        loaders = get_dataloader(
            split,
            CLASSES.split(","),
            batch_size=3,
            input_array_info=PATCH,
            target_array_info=PATCH,
            spatial_transforms=transforms,
            iterations_per_epoch=6,
            random_seed=5,
            num_workers=0,
        )
        yield f"training batches {name}", digest([digest_batch(batch) for batch in loaders.train])
    yield (
        "validation batches",
        digest([digest_batch(batch) for _, batch in zip(range(4), loaders.validation, strict=False)]),
    )


def digest_batch(batch: Any) -> Any:
    """Return the digests of a batch's tensors."""
    return {name: digest(value.numpy()) for name, value in batch.items() if hasattr(value, "numpy")}


def fetched(root: Path, folder: Path) -> Iterator[tuple[str, Any]]:
    """Fetch the challenge from a server on loopback and compare the bytes that came."""
    bucket = folder / "s3" / BUCKET
    bucket.parent.mkdir()
    (folder / "challenge").rename(bucket)
    server = subprocess.Popen(
        [sys.executable, str(root / "packages/csc-data/tests/s3_server.py"), str(bucket.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    try:
        endpoint = json.loads(server.stdout.readline())["endpoint"]
        for name, options in (("plain", ()), ("padded", ("--raw-padding", "5", "--fetch-all-em-resolutions"))):
            place = folder / name
            place.mkdir()
            manifest(bucket, place)
            csc(folder, "fetch-data", "--data", str(place), "--endpoint", endpoint, *options)
            yield f"fetched {name}", digest_files(place)
    finally:
        server.kill()
        server.wait()


def manifest(bucket: Path, place: Path) -> None:
    """Write the list of annotated crops, as the organisers' is."""
    rows = ["crop_name, dataset, alignment, crop_url, em_url"]
    for crop in sorted(bucket.glob("*/*.zarr/recon-1/labels/groundtruth/crop*")):
        dataset = crop.relative_to(bucket).parts[0]
        raw = f"s3://{BUCKET}/{dataset}/{dataset}.zarr/recon-1/em/fibsem-uint8"
        url = f"s3://{BUCKET}/{crop.relative_to(bucket).as_posix()}"
        rows.append(f"{crop.name.removeprefix('crop')}, {dataset}, recon-1, {url}, {raw}")
    (place / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (place / "test_crop_manifest.csv").write_bytes((bucket / "test_crop_manifest.csv").read_bytes())


def demo(folder: Path) -> Iterator[tuple[str, Any]]:
    """Run the demo and record what each stage leaves."""
    import torch

    csc(folder, "demo", "--quick", "--out", "demo", "--seed", "2")
    data = folder / "demo"
    newest = max((data / "checkpoints").glob("*.pth"), key=lambda path: path.stat().st_mtime)
    state = torch.load(newest, map_location="cpu", weights_only=True)
    weights = next(value for value in state.values() if is_weights(value))
    yield "demo weights", digest({name: digest(value.numpy()) for name, value in weights.items()})
    for stage in ("predictions", "processed"):
        yield f"demo {stage}", digest_files(data / stage, below="**/s0/**/[0-9]*")
    yield "demo submission", digest_files(data / "submission.zarr", below="**/[0-9]*")
    result = json.loads((data / "result.json").read_text(encoding="utf-8"))
    yield "demo overall score", result["overall_score"]
    yield "demo scores", digest(result["label_scores"])


def is_weights(value: Any) -> bool:
    """Tell whether this is a state dict."""
    return isinstance(value, dict) and bool(value) and all(hasattr(one, "numpy") for one in value.values())


def record(root: Path, file: Path) -> None:
    """Compute everything and write it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts = (golden_cases(root, folder / "golden"), challenge(folder), fetched(root, folder), demo(folder))
        for part in parts:
            for name, value in part:
                found[name] = value
                print(f"{name:60} {value}", flush=True)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def compare(before: Path, after: Path) -> int:
    """Print what differs and return how many results do."""
    old, new = (json.loads(file.read_text(encoding="utf-8")) for file in (before, after))
    different = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    for name in different:
        print(f"{name}: {old.get(name)} before, {new.get(name)} after")
    print(f"{len(old.keys() & new.keys()) - len(different)} of {len(old)} results are equal, {len(different)} differ")
    return len(different)


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose tests hold the golden cases")
    options = parser.parse_args()
    if options.what == "compare":
        return min(1, compare(*options.files))
    record(options.root, options.files[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
