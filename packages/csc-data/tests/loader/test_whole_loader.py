"""What the parts of the loader make together: several arrays and targets, augmentation, memory, epochs, words."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.volumes import write_multiscale

torch = pytest.importorskip("torch")

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 40, 40))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}
ROTATE = {"mirror": True, "transpose": True, "rotate": True, "elastic": {"amplitude_nm": 6, "spacing_nm": 60}}


@pytest.fixture
def rows(world):
    """A ball of mito with ids 1 and 2 in its halves, in a training and a validation crop."""
    world.write_raw(GRID)
    z, y, x = np.indices(GRID.shape)
    ball = ((z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 100).astype(np.uint8)
    ids = ball * (1 + (x >= 20).astype(np.uint8))
    for crop in ("crop1", "crop2"):
        world.write_labels("mito", GRID, crop=crop, values=ids)
        world.write_labels("er", GRID, crop=crop, values=1 - ball)
    return [world.row(["mito", "er"]), world.row(["mito", "er"], crop="crop2", usage="validate")]


def load(rows, **options):
    given = {"batch_size": 2, "input_array_info": PATCH, "iterations_per_epoch": 3, "spatial_transforms": ROTATE}
    return get_dataloader(rows, ["mito", "er"], **{**given, **options})


def collect(loader):
    return [{name: values.clone() for name, values in batch.items()} for batch in loader]


def test_several_arrays_lie_around_one_centre(rows):
    arrays = {"raw": PATCH, "context": {"shape": (8, 8, 8), "scale": (16, 16, 16)}}
    targets = {"labels": PATCH, "coarse": {"shape": (4, 4, 4), "scale": (16, 16, 16)}}
    loaders = load(rows, input_array_info=arrays, target_array_info=targets)
    for loader in loaders:
        batch = collect(loader)[0]
        assert {name: tuple(values.shape[1:]) for name, values in batch.items()} == {
            "input": (1, 8, 8, 8),
            "context": (1, 8, 8, 8),
            "output": (2, 8, 8, 8),
            "coarse": (2, 4, 4, 4),
        }
    # Raw is linear in nm, so the mean of a patch inside the volume is the value at its centre, at any scale.
    upright = load(
        rows,
        input_array_info={"raw": PATCH, "wide": {"shape": (4, 4, 4), "scale": (24, 24, 24)}},
        spatial_transforms={"rotate": True},
        foreground_share=1.0,
    )
    checked = 0
    for batch in collect(upright.train):
        for one, other in zip(batch["input"], batch["wide"], strict=True):
            if 0.1 < one.mean() < 0.9:
                assert abs(float(one.mean() - other.mean())) < 0.02
                checked += 1
    assert checked


@pytest.mark.parametrize("where", ["train", "validation"])
def test_kinds_of_targets_agree_with_the_binary_one(rows, where):
    kinds = {
        "output": "binary",
        "distance": {"kind": "signed_distance", "scale_nm": 20},
        "edges": {"kind": "boundaries", "width_nm": 16},
        "links": {"kind": "affinities", "offsets": [[0, 0, 1], [2, 0, 0]]},
    }
    seen = 0
    for batch in collect(getattr(load(rows, targets=kinds, foreground_share=1.0), where)):
        output, distance, edges, links = (batch[name] for name in kinds)
        assert distance.shape == edges.shape == output.shape
        assert links.shape[1] == 4
        known = ~torch.isnan(distance)
        assert torch.equal(output[known] == 1, distance[known] > 0)
        near = known & ~torch.isnan(edges) & (distance.abs() < 0.3)
        assert (edges[near] == 1).all()
        inside = output[:, 0] == 0
        assert not (links[:, 0][inside] == 1).any()
        seen += int(near.sum())
    assert seen > 0


def test_ids_tell_objects_apart(rows):
    """Between the halves of the ball there is a boundary of mito, which a class alone would not have."""
    upright = load(rows, targets={"edges": {"kind": "boundaries", "width_nm": 8}}, spatial_transforms=None)
    tiles = upright.validation.patches
    values = {}
    for index in range(len(tiles)):
        z, y, x = np.unravel_index(index, (5, 5, 5))
        values[z, y, x] = tiles[index]["edges"][0]
    middle = values[2, 2, 2]  # voxels 16 to 23 of every axis, all inside the ball
    assert (middle[:, :, 3:5] == 1).all()
    assert (middle[:, :, :2] == 0).all()


def test_intensity_is_changed_in_training_alone_and_the_same_by_any_worker(rows):
    changes = {"gamma": {"probability": 1.0, "range": (1.5, 1.5)}, "gaussian_noise": {"probability": 1.0}}
    plain, changed = load(rows), load(rows, intensity_transforms=changes)
    for one, other in zip(collect(plain.train), collect(changed.train), strict=True):
        assert not torch.equal(one["input"], other["input"])
        assert torch.equal(one["output"].nan_to_num(9), other["output"].nan_to_num(9))
        assert other["input"].min() >= 0
        assert other["input"].max() <= 1
    for one, other in zip(collect(plain.validation), collect(changed.validation), strict=True):
        assert torch.equal(one["input"], other["input"])
    ranged = load(rows, intensity_transforms={"gamma": {"probability": 1.0, "range": (1.5, 1.5)}}, raw_range=(-1, 1))
    scaled = load(rows, intensity_transforms={"gamma": {"probability": 1.0, "range": (1.5, 1.5)}})
    for one, other in zip(collect(scaled.train), collect(ranged.train), strict=True):
        torch.testing.assert_close(one["input"] * 2 - 1, other["input"], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_all_of_it_is_the_same_by_any_number_of_workers(rows):
    options = {
        "intensity_transforms": {"poisson_noise": {"probability": 1.0}, "blur": {"probability": 0.5}},
        "targets": {"output": "binary", "distance": {"kind": "signed_distance"}},
    }
    alone = collect(load(rows, **options).train)
    together = collect(load(rows, num_workers=2, **options).train)
    for one, other in zip(alone, together, strict=True):
        for name in one:
            assert torch.equal(one[name].nan_to_num(9), other[name].nan_to_num(9))


def test_batches_that_somebody_holds_are_not_written_over(rows):
    loader = load(rows, iterations_per_epoch=8).train
    held = [batch["input"] for batch in loader]  # no copies
    loader.set_epoch(0)
    for kept, again in zip(held, collect(loader), strict=True):
        assert torch.equal(kept, again["input"])
    assert len({tensor.data_ptr() for tensor in held}) == len(held)
    views = [batch["input"][0, 0, :2].numpy() for batch in loader]
    assert len({view.ctypes.data for view in views}) == len(views)


def test_an_iteration_that_is_dropped_counts_as_an_epoch(rows):
    loader = load(rows).train
    firsts = [next(iter(loader))["input"].clone() for _ in range(3)]
    assert not torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[1], firsts[2])
    assert loader.epoch == 3
    loader.set_epoch(1)
    assert torch.equal(next(iter(loader))["input"], firsts[1])


def test_the_first_batch_is_described_once(rows, caplog):
    loader = load(rows, foreground_share=1.0).train
    with caplog.at_level(logging.INFO, logger="csc_data.loader"):
        collect(loader)
        collect(loader)
    text = caplog.text
    assert text.count("first batch of training: input (2, 1, 8, 8, 8)") == 1
    for words in ("output mito:", "output er:", "% known", "% above 0", "% unknown"):
        assert words in text


def test_a_device_is_where_batches_end(rows):
    batch = next(iter(load(rows, device="cpu").train))
    assert batch["input"].device.type == "cpu"
    batch = next(iter(load(rows, device="meta").train))
    assert batch["output"].device.type == "meta"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_foreground_is_shown_as_often_as_asked(rows, share):
    patches = load(rows, foreground_share=share).train.patches
    placed = [patches.place(index) for index in range(200)]
    drawn_for = [one.class_name for one in placed]
    assert abs(sum(name is not None for name in drawn_for) / 200 - share) < 0.12
    if share:
        assert abs(drawn_for.count("mito") - drawn_for.count("er")) < 40
    for index in range(20):
        if drawn_for[index] is not None:  # the patch holds a voxel of what it was drawn for, however it is turned
            channel = ["mito", "er"].index(drawn_for[index])
            assert np.nansum(patches[index]["output"][channel]) > 0
    with pytest.raises(ProblemsError, match="foreground_share"):
        load(rows, foreground_share=1.5)


def test_classes_that_no_crop_has_take_nothing_from_the_share(rows):
    patches = get_dataloader(
        rows, ["mito", "ld", "nuc"], batch_size=1, input_array_info=PATCH, foreground_share=1.0
    ).train.patches
    assert {patches.place(index).class_name for index in range(30)} == {"mito"}


def test_value_transforms_that_prediction_would_miss_are_warned_of(rows, caplog):
    load(rows, train_raw_value_transforms=lambda raw: raw * 2 - 1)
    assert "raw_range = (-1, 1)" in caplog.text
    doubled = collect(load(rows, val_raw_value_transforms=lambda raw: raw * 2).validation)
    plain = collect(load(rows).validation)
    assert torch.equal(doubled[0]["input"], plain[0]["input"] * 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": {"output": "binry"}}, "did you mean binary"),
        ({"intensity_transforms": {"gama": {}}}, "did you mean gamma"),
        ({"target_value_transforms": {"mitto": abs}}, "did you mean mito"),
        ({"input_array_info": {"raw": PATCH, "output": PATCH}}, "cannot name a further array"),
    ],
)
def test_mistakes_are_told(rows, options, words):
    with pytest.raises(ProblemsError, match=words):
        load(rows, **options)


@pytest.mark.parametrize("voxel", [0.008, 8e-9])
def test_a_voxel_size_in_another_unit_is_suspected(rows, voxel):
    with pytest.raises(InvalidArgumentError, match=r"scale of .* voxels of \(8.*\) nm.*in micrometres"):
        load(rows, input_array_info={"shape": (8, 8, 8), "scale": (voxel,) * 3})


def test_a_batch_that_no_memory_holds_is_told(rows):
    loaders = load(rows, batch_size=2**20, input_array_info={"shape": (512, 512, 512), "scale": (8, 8, 8)})
    with pytest.raises(MemoryError, match=r"1048576 patches of .* takes .* TB, .* smaller batch_size"):
        next(iter(loaders.train))


@pytest.mark.parametrize(
    ("dtype", "factor", "words"),
    [
        ("f4", 255, "float32, of which floats are taken to lie in 0 to 1"),
        ("u2", 900, "uint16, and input of the first batch uses"),
        ("f4", 1, None),
        ("u2", 65535, None),
        ("u1", 12, None),  # of dark crops nothing is suspected
    ],
)
def test_raw_that_is_not_as_its_type_says_is_told(world, rows, caplog, dtype, factor, words):
    values = np.clip(world.raw(GRID), 0, 1) * factor
    shutil.rmtree(world.folder / "x.zarr" / "raw")
    write_multiscale(world.folder / "x.zarr" / "raw", [values.astype(dtype)], [GRID])
    with caplog.at_level(logging.WARNING):
        next(iter(load(rows).train))
    told = [line for line in caplog.messages if line.startswith("raw is stored")]
    assert [words in line and "csc convert --range" in line for line in told] == ([True] if words else [])
