import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from csc_data.errors import MissingDataError, ProblemsError
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.splits.split_file import write_datasplit
from csc_data.volumes import create_multiscale, grid_attributes

torch = pytest.importorskip("torch")  # the base of csc-data brings none

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}
TURNS = {"mirror": {"axes": ["x", "y", "z"]}, "transpose": {"axes": ["x", "y", "z"]}}


@pytest.fixture
def rows(world):
    world.write_raw(GRID)
    world.write_labels("mito", GRID.window((0, 0, 0), (16, 32, 32)))
    world.write_labels("mito", GRID.window((16, 0, 0), (16, 20, 20)), crop="crop2")
    return [world.row(["mito"]), world.row(["mito"], crop="crop2", usage="validate")]


def load(rows, **options):
    given = {"batch_size": 3, "input_array_info": PATCH, "iterations_per_epoch": 4, "spatial_transforms": TURNS}
    return get_dataloader(rows, ["mito", "er"], **{**given, **options})


def collect(loader):
    return [{name: values.clone() for name, values in batch.items()} for batch in loader]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a["input"], b["input"]) and torch.equal(a["output"].nan_to_num(9), b["output"].nan_to_num(9))
        for a, b in zip(one, other, strict=True)
    )


def test_batches_have_the_shapes_and_types_that_were_promised(rows, tmp_path):
    write_datasplit(tmp_path / "datasplit.csv", rows)
    train, validation = load(tmp_path / "datasplit.csv")
    batches = collect(train)
    assert len(batches) == len(train) == 4
    for batch in batches:
        assert batch["input"].shape == (3, 1, 8, 8, 8)
        assert batch["output"].shape == (3, 2, 8, 8, 8)
        assert batch["input"].dtype == batch["output"].dtype == torch.float32
        assert torch.isnan(batch["output"][:, 1]).all()
    assert sum(len(batch["input"]) for batch in collect(validation)) == 2 * 3 * 3


@pytest.mark.slow
def test_samples_depend_on_the_seed_and_not_on_the_workers(rows):
    plain = load(rows, random_seed=5).train
    first, second = collect(plain), collect(plain)
    assert not same(first, second)  # epochs differ
    for workers in (1, 2):
        spread = load(rows, random_seed=5, num_workers=workers).train
        assert same(collect(spread), first)
        assert same(collect(spread), second)
    assert not same(collect(load(rows, random_seed=6).train), first)
    plain.set_epoch(1)
    assert same(collect(plain), second)


def test_ranks_get_samples_of_their_own_and_share_the_validation(rows):
    loaders = [load(rows, rank=rank, world_size=2) for rank in range(2)]
    samples = [s.numpy().tobytes() for loader in loaders for batch in loader.train for s in batch["input"]]
    assert len(set(samples)) == len(samples) == 2 * 4 * 3
    whole = [s.numpy().tobytes() for batch in load(rows).validation for s in batch["output"]]
    parts = [s.numpy().tobytes() for loader in loaders for batch in loader.validation for s in batch["output"]]
    assert sorted(parts) == sorted(whole)


def test_validation_is_the_same_each_epoch_and_a_limit_takes_a_fixed_part(rows):
    validation = load(rows, batch_size=2).validation
    whole = collect(validation)
    assert same(collect(validation), whole)
    limited = load(rows, batch_size=2, validation_batch_limit=3).validation
    part = collect(limited)
    assert len(part) == len(limited) == 3
    assert same(collect(limited), part)
    tiles = {s.numpy().tobytes() for batch in whole for s in batch["input"]}
    assert all(s.numpy().tobytes() in tiles for batch in part for s in batch["input"])
    assert not same(part, whole[:3])  # spread over the crops, not their first corner


def test_annotations_and_raw_are_never_written_to(rows, world, digest):
    before = digest(world.folder)
    loaders = load(rows, use_mutual_exclusion=True)
    collect(loaders.train)
    collect(loaders.validation)
    loaders.train.patches.draws.class_counts()
    assert digest(world.folder) == before


def test_sampling_needs_no_memory_for_positions(world):
    """A crop of 10^9 voxels without any chunks on disk."""
    huge = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(1000, 1000, 1000))
    create_multiscale(world.folder / "x.zarr" / "raw", huge, dtype=np.uint8, chunks=(64, 64, 64))
    create_multiscale(world.folder / "x.zarr" / "labels" / "crop1" / "mito", huge, dtype=np.uint8, chunks=(64, 64, 64))
    loader = load([world.row(["mito"])], weighted_sampler=False).train
    tracemalloc.start()
    try:
        collect(loader)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_the_global_random_state_is_left_alone(rows):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    collect(load(rows).train)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"batch_size": 0}, ProblemsError, "batch_size"),
        ({"input_array_info": {"shape": (8, 8), "scale": (8, 8, 8)}}, ProblemsError, "shape: expected 3 values"),
        ({"input_array_info": {"shap": (8, 8, 8), "scale": (8, 8, 0)}}, ProblemsError, "did you mean shape"),
        ({"spatial_transforms": {"rotat": {"axes": {"x": [-180, 180]}}}}, ProblemsError, "did you mean rotate"),
    ],
)
def test_mistakes_are_told(rows, options, error, words):
    with pytest.raises(error, match=words):
        load(rows, **options)


def test_a_datasplit_without_the_classes_is_an_error_and_one_without_validation_is_not(rows, world):
    with pytest.raises(MissingDataError, match="usage train"):
        get_dataloader(rows, ["er"], batch_size=1, input_array_info=PATCH)
    assert load(rows[:1]).validation is None


def test_plain_arrays_with_attributes_work_too(world):
    world.write_raw(GRID)
    folder = world.folder / "x.zarr" / "labels" / "crop1"
    array = create_array(
        folder / "mito", shape=GRID.shape, dtype=np.uint8, chunks=(8, 8, 8), attributes=grid_attributes(GRID)
    )
    array[...] = 1
    (batch, *_) = collect(load([world.row(["mito"])]).train)
    assert (batch["output"][:, 0] == 1).all()


def test_importing_the_loader_does_not_import_torch():
    code = "import sys, csc_data.loader; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
