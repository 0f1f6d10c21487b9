"""Batches say where their samples come from, so that what is there can be read again."""

from __future__ import annotations

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.loader.places import PLACE_NAMES
from csc_data.loader.poses.patch_map import PatchMap

torch = pytest.importorskip("torch")

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(48, 48, 48))
SHAPE, SCALE = (6, 8, 10), (8.0, 8.0, 8.0)
TURNS = {"mirror": True, "transpose": True, "rotate": True, "scale": {"axes": {"x": [0.8, 1.25]}}}


@pytest.fixture
def rows(world):
    world.write_raw(GRID)
    world.write_labels("mito", GRID.window((8, 8, 8), (32, 32, 32)))
    world.write_labels("mito", GRID.window((16, 8, 8), (20, 32, 32)), crop="crop2")
    return [world.row(["mito"]), world.row(["mito"], crop="crop2"), world.row(["mito"], crop="crop2", usage="validate")]


def load(rows, **options):
    arrays = {"input_array_info": {"shape": SHAPE, "scale": SCALE}, "with_positions": True}
    return get_dataloader(rows, ["er", "mito"], **{"batch_size": 4, "iterations_per_epoch": 6, **arrays, **options})


def raw_at(world, centre, linear):
    """Return raw at the voxels of a patch, by its formula."""
    offsets = [(np.arange(n) - (n - 1) / 2) * v for n, v in zip(SHAPE, SCALE, strict=True)]
    patch = np.stack(np.meshgrid(*offsets, indexing="ij"))
    z, y, x = np.tensordot(linear, patch, axes=1) + centre.reshape(3, 1, 1, 1) - world.origin.reshape(3, 1, 1, 1)
    return 0.0011 * z + 0.0017 * y + 0.0023 * x


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("turns", [None, {"mirror": True, "transpose": True}, TURNS])
def test_raw_is_what_lies_at_the_positions(world, rows, turns, num_workers):
    seen = 0
    for loader in load(rows, spatial_transforms=turns, num_workers=num_workers):
        for batch in loader:
            assert batch["place_centre_nm"].dtype == batch["place_linear"].dtype == torch.float64
            assert not batch["place_elastic"].any()
            for raw, centre, linear in zip(
                batch["input"], batch["place_centre_nm"], batch["place_linear"], strict=True
            ):
                expected = raw_at(world, centre.numpy(), linear.numpy())
                inside = (expected > 0.02) & (expected < 0.98)  # raw is not scaled beyond its range
                np.testing.assert_allclose(raw[0].numpy()[inside], expected[inside], atol=2e-3)
                seen += inside.sum()
    assert seen > 10_000


def test_reading_again_at_a_place_gives_the_sample(rows):
    loader = load(rows, spatial_transforms={**TURNS, "elastic": {"amplitude_nm": 9, "spacing_nm": 60}}).train
    numbers = (number for numbers in loader.indices(0) for number in numbers)
    bent = 0
    for batch in loader:
        crops, centres, linears = (batch[name] for name in PLACE_NAMES[:3])
        for sample in range(4):
            whole = loader.patches.place(next(numbers))
            straight = PatchMap(centre=centres[sample].numpy(), linear=linears[sample].numpy())
            elastic = bool(batch["place_elastic"][sample])
            patch_map = whole.patch_map if elastic else straight
            again = loader.patches.reader.sample(int(crops[sample]), patch_map)
            np.testing.assert_array_equal(again["input"], batch["input"][sample].numpy())
            np.testing.assert_array_equal(again["output"], batch["output"][sample].numpy())
            bent += elastic
    assert bent


def test_crops_and_classes_are_named(rows):
    loaders = load(rows, foreground_share=0.5)
    batches = list(loaders.train)
    classes = torch.cat([batch["place_class"] for batch in batches])
    assert set(classes.tolist()) == {-1, 1}  # nobody annotated er
    crops = torch.cat([batch["place_crop"] for batch in batches])
    assert {loaders.train.patches.reader.crops[number].name for number in crops} >= {"x/crop1", "x/crop2"}
    for batch in batches:
        for target, number in zip(batch["output"], batch["place_class"], strict=True):
            assert number < 0 or (target[number] == 1).any()
    validation = next(iter(loaders.validation))
    assert (validation["place_class"] == -1).all()
    assert torch.equal(validation["place_linear"], torch.eye(3, dtype=torch.float64).expand(4, 3, 3))


def test_they_come_on_request_and_change_nothing_else(rows):
    plain = list(load(rows, with_positions=False).train)
    placed = list(load(rows).train)
    for one, other in zip(plain, placed, strict=True):
        assert set(one) == {"input", "output"}
        assert set(other) == {"input", "output", *PLACE_NAMES}
        assert torch.equal(one["input"], other["input"])
    batch = next(iter(load(rows, device="meta").train))
    assert batch["input"].device.type == "meta"
    assert batch["place_centre_nm"].device.type == "cpu"  # not every device knows float64
