from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import zarr

from csc_data.config.user_config import Config
from csc_data.fetching import FetchOptions
from csc_data.geometry import Grid
from csc_data.storage.remote import Retries
from csc_data.synthetic import ChallengePlan, SyntheticCrop, SyntheticDataset, write_challenge

BUCKET = "janelia-cosem-datasets"
PLANS = (
    SyntheticDataset(
        name="jrc_tiny-1",
        grid=Grid(voxel_size=(8, 8, 8), translation=(404, 1204, 804), shape=(40, 64, 72)),
        crops=(
            SyntheticCrop(id=1, begin=(4, 4, 4), shape=(32, 32, 32), omitted=("ecs", "pm")),
            SyntheticCrop(id=2, begin=(5, 30, 3), shape=(21, 33, 30)),
            SyntheticCrop(id=501, begin=(4, 8, 38), shape=(32, 40, 32), tested=True),
        ),
    ),
    SyntheticDataset(
        name="jrc_tiny-2",
        grid=Grid(voxel_size=(5.24, 4, 4), translation=(1572, 640, 320), shape=(48, 64, 96)),
        crops=(SyntheticCrop(id=11, begin=(2, 2, 26), shape=(40, 48, 48)),),
    ),
)
RECORDS = {".csc-digests", ".csc-listings"}
QUICK = Retries(attempts=8, first_wait=0.002)


@pytest.fixture(scope="session")
def bucket_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the server, whose one bucket holds a synthetic challenge."""
    root = tmp_path_factory.mktemp("s3")
    write_challenge(root / BUCKET, seed=1, plan=ChallengePlan(datasets=PLANS))
    return root


@pytest.fixture(scope="session")
def bucket(bucket_root):
    """The folder of the bucket itself."""
    return bucket_root / BUCKET


@pytest.fixture(scope="session")
def server(bucket_root, s3_server_class):
    """A server without faults that many tests share."""
    with s3_server_class(bucket_root) as running:
        yield running


@pytest.fixture
def write_manifest(bucket):
    """Write the lists of the synthetic challenge into a data folder, in the organisers' form."""

    def write(folder: Path, source: Path = bucket) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "test_crop_manifest.csv", folder)
        lines = ["crop_number,collection,alignment,crop_url,em_url"]
        for plan in PLANS:
            zarr = f"s3://{BUCKET}/{plan.name}/{plan.name}.zarr/recon-1"
            lines += [
                f"{crop.id},{plan.name},recon-1,{zarr}/labels/groundtruth/{crop.name},{zarr}/em/fibsem-uint8"
                for crop in plan.crops
                if not crop.tested
            ]
        (folder / "manifest.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")

    return write


@pytest.fixture
def config(tmp_path, server, write_manifest) -> Config:
    """A data folder that knows the crops, and the server without faults."""
    write_manifest(tmp_path / "data")
    return Config(data=str(tmp_path / "data"), endpoint=server.endpoint)


@pytest.fixture
def options():
    """Options that retry without waiting long."""

    def make(**changes) -> FetchOptions:
        return FetchOptions(**{"workers": 8, "retries": QUICK, **changes})

    return make


@pytest.fixture(scope="session")
def files_in():
    """A function that returns the content of all files below a folder, by their paths; no manifests, no records."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".csv" and not RECORDS & {path.name, path.parent.name}
        }

    return read


@pytest.fixture(scope="session")
def expected(bucket, files_in):
    """What fetching everything brings: labels, and the raw, which in this challenge every crop needs whole."""
    return {name: body for name, body in files_in(bucket).items() if not name.startswith("ground_truth")}


@pytest.fixture(scope="session")
def rechunk():
    """A function that stores a raw volume in chunks of 8 voxels."""

    def store(raw: Path, separator: str) -> None:
        for level in ("s0", "s1", "s2"):
            array = zarr.open_array(str(raw / level), mode="r")
            values, metadata = array[...], json.loads((raw / level / ".zarray").read_text("utf-8"))
            shutil.rmtree(raw / level)
            metadata |= {"chunks": [8, 8, 8], "dimension_separator": separator}
            (raw / level).mkdir()
            (raw / level / ".zarray").write_text(json.dumps(metadata), "utf-8")
            zarr.open_array(str(raw / level), mode="r+")[...] = values

    return store
