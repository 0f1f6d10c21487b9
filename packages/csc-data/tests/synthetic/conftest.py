from pathlib import Path

import pytest

from csc_data.geometry import Grid
from csc_data.synthetic import (
    ChallengePlan,
    SyntheticChallenge,
    SyntheticCrop,
    SyntheticDataset,
    Tissue,
    generate_tissue,
    write_challenge,
)

TINY_DATASETS = (
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
        crops=(
            SyntheticCrop(id=11, begin=(2, 2, 2), shape=(40, 48, 40)),
            SyntheticCrop(id=502, begin=(4, 8, 50), shape=(40, 48, 40), tested=True),
        ),
    ),
)


@pytest.fixture(scope="session")
def tissue() -> Tissue:
    return generate_tissue((112, 128, 136), (8, 8, 8), seed=11)


@pytest.fixture(scope="session")
def datasets() -> tuple[SyntheticDataset, ...]:
    return TINY_DATASETS


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> SyntheticChallenge:
    root: Path = tmp_path_factory.mktemp("challenge")
    return write_challenge(root, seed=1, plan=ChallengePlan(datasets=TINY_DATASETS, masks=True))
