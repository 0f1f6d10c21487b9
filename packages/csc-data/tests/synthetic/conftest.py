from pathlib import Path

import pytest

from csc_data.geometry import Grid
from csc_data.synthetic import CropPlan, DatasetPlan, SyntheticChallenge, Tissue, generate_tissue, write_challenge

TINY_PLANS = (
    DatasetPlan(
        name="jrc_tiny-1",
        grid=Grid(voxel_size=(8, 8, 8), translation=(404, 1204, 804), shape=(40, 64, 72)),
        crops=(
            CropPlan(id=1, begin=(4, 4, 4), shape=(32, 32, 32), omitted=("ecs", "pm")),
            CropPlan(id=2, begin=(5, 30, 3), shape=(21, 33, 30)),
            CropPlan(id=501, begin=(4, 8, 38), shape=(32, 40, 32), tested=True),
        ),
    ),
    DatasetPlan(
        name="jrc_tiny-2",
        grid=Grid(voxel_size=(5.24, 4, 4), translation=(1572, 640, 320), shape=(48, 64, 96)),
        crops=(
            CropPlan(id=11, begin=(2, 2, 2), shape=(40, 48, 40)),
            CropPlan(id=502, begin=(4, 8, 50), shape=(40, 48, 40), tested=True),
        ),
    ),
)


@pytest.fixture(scope="session")
def tissue() -> Tissue:
    return generate_tissue((112, 128, 136), (8, 8, 8), seed=11)


@pytest.fixture(scope="session")
def plans() -> tuple[DatasetPlan, ...]:
    return TINY_PLANS


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> SyntheticChallenge:
    root: Path = tmp_path_factory.mktemp("challenge")
    return write_challenge(root, seed=1, plans=TINY_PLANS, masks=True)
