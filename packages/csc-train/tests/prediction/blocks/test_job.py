"""Blocks of a region: each voxel once and right, whatever the block, its order and its process."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from csc_data.blocks import Block, BlockGrid
from csc_data.errors import MissingDataError
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid, Roi
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.volumes import Level, Volume, open_volume, write_multiscale
from csc_train.prediction.blocks import BlockJob, plan_block_shape, region_grid
from csc_train.prediction.predictor import Predictor
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.tiling import plan_windows
from csc_train.prediction.window.weights import MONAI_LEAST
from csc_train.settings import PredictSettings

RAW = Grid(voxel_size=(8, 8, 8), translation=(100.0, 204.0, 308.0), shape=(23, 27, 31))
VALUES = np.random.default_rng(0).integers(0, 256, RAW.shape).astype(np.uint8)
CLASSES = ("mito", "ld")


class Valid(nn.Module):
    """Gives the centre of its input back, and twice it; each voxel ``finer`` times along each axis."""

    def __init__(self, margin=0, finer=1):
        super().__init__()
        self.margin, self.finer = margin, finer

    def forward(self, x):
        for axis in range(2, x.ndim):
            x = x.narrow(axis, self.margin, x.shape[axis] - 2 * self.margin)
            x = x.repeat_interleave(self.finer, axis)
        return torch.cat([x, 2 * x], dim=1)


class Uneven(nn.Module):
    """Says something else of a voxel in each window, and the same of each sample of a batch."""

    def forward(self, x):
        z = torch.linspace(-2, 2, x.shape[2]).view(1, 1, -1, 1, 1)
        corner = x[:, :, :1, :1, :1]
        return torch.cat([x - 128 + z * corner, torch.sin(x) * z], dim=1)


def volume(values=VALUES, grid=RAW):
    return Volume(path="raw", levels=(Level(name="s0", grid=grid, array=values),), attributes={})


def make_job(network, roi, windows, *, raw=None, **settings):
    options = {"output": "logit", "output_dtype": "float32", "device": "cpu", **settings}
    predictor = Predictor(
        networks=(network,),
        checkpoint=None,
        identity="",
        classes=CLASSES,
        patch=windows.patch,
        raw_range=(0.0, 255.0),
        settings=PredictSettings(**options),
    )
    raw = raw or volume()
    grid = region_grid(roi, windows.patch, raw)
    return BlockJob(
        source=NetworkSource(given=predictor),
        name="crop7",
        raw=raw,
        stored=roi,
        windows=replace(windows, blending=options.get("blending", "gaussian")).within(raw.levels[0].grid.bounds, grid),
        grid=grid,
        output=grid,
        classes=CLASSES,
    )


def computed(job, block_shape, order=1):
    """Put together what blocks give; voxels that none gives are NaN."""
    blocks = list(BlockGrid(shape=job.output.shape, block_shape=block_shape))
    out = np.full((len(job.classes), *job.output.shape), np.nan, dtype=np.float32)
    for block in blocks[::order]:
        place = (slice(None), *block.write)
        assert np.isnan(out[place]).all()
        out[place] = job.compute(block)
    return out


def random_case(seed):
    rng = np.random.default_rng(seed)
    finer = int(rng.choice([1, 1, 2]))
    margin = int(rng.choice([0, 0, 1, 2]))
    given = rng.integers(2 * margin + 3, 2 * margin + 10, 3)
    target = (given - 2 * margin) * finer
    halo = [int(rng.integers(0, (n - 3) // 2 + 1)) if rng.random() < 0.5 else 0 for n in target]
    halo = [h // finer * finer for h in halo]
    patch = PatchShape(
        input=ArrayInfo(shape=tuple(map(int, given)), scale=(8, 8, 8)),
        target=ArrayInfo(shape=tuple(map(int, target)), scale=(8 / finer,) * 3),
    )
    overlap = float(rng.choice([0, 0.1, 0.25, 0.5, 0.6]))
    begin = rng.integers(-3, 12, 3)
    begin = [max(0, int(b)) for b in begin] if rng.random() < 0.7 else [int(b) for b in begin]
    shape = [int(n) + max(0, -b) for n, b in zip(rng.integers(1, 12, 3), begin, strict=True)]
    half = rng.choice([0, 0.5], 3)
    bounds = RAW.window(begin, shape).bounds
    roi = Roi(*([p + 8 * h for p, h in zip(end, half, strict=True)] for end in (bounds.begin, bounds.end)))
    block = tuple(int(n) for n in rng.integers(5, 16, 3))
    windows = plan_windows(patch, overlap=overlap, halo=tuple(halo) if seed % 2 else None)
    return finer, margin, windows, roi, block


def mirrored(index, count):
    folded = index % (2 * count)
    return np.where(folded < count, folded, 2 * count - 1 - folded)


@pytest.mark.parametrize("part", range(4))
def test_an_identity_network_gives_back_raw_whatever_the_combination(part):
    """Shape, offset, half voxels, beyond raw, block, overlap, halo, valid convolutions, output at half the voxel size.

    Bit for bit, each voxel once.
    """
    for seed in range(part * 75, part * 75 + 75):
        finer, margin, windows, roi, block_shape = random_case(seed)
        job = make_job(Valid(margin, finer), roi, windows, batch_size=1 + seed % 5)
        grid = job.grid
        assert grid.bounds.contains(roi, 1e-6), seed
        assert all(o - r < 8 + 1e-6 for r, o in zip(grid.bounds.begin, roi.begin, strict=True)), seed
        index = []
        for axis in range(3):
            at = (grid.centres(axis) - RAW.bounds.begin[axis]) / 8
            index.append(mirrored(np.floor(at + 1e-6).astype(int), RAW.shape[axis]))
        expected = VALUES[np.ix_(*index)].astype(np.float32)
        found = computed(job, block_shape)
        np.testing.assert_array_equal(found, np.stack([expected, 2 * expected]), err_msg=f"case {seed}")
        job.source.release()


@pytest.mark.parametrize("settings", [{}, {"tta": "mirror"}, {"blending": "constant"}, {"output": "probability"}])
def test_every_block_shape_gives_the_same_bits(settings):
    windows = plan_windows(patch_shape(7, 6, 9), overlap=0.5)
    job = make_job(Uneven(), RAW.window((2, 3, 4), (11, 12, 13)).bounds, windows, batch_size=1, **settings)
    whole = computed(job, (11, 12, 13))
    for shape in [(5, 12, 13), (11, 5, 7)]:
        np.testing.assert_array_equal(computed(job, shape, order=-1), whole)
    copy = pickle.loads(pickle.dumps(job))
    np.testing.assert_array_equal(computed(copy, (6, 7, 6)), whole)


def patch_shape(*voxels):
    info = ArrayInfo(shape=voxels, scale=(8, 8, 8))
    return PatchShape(input=info, target=info)


def test_a_block_is_written_as_it_is_computed(tmp_path):
    windows = plan_windows(patch_shape(7, 6, 9), overlap=0.25)
    job = make_job(Uneven(), RAW.window((2, 3, 4), (17, 18, 19)).bounds, windows)
    paths = tuple(tmp_path / "p.zarr" / name for name in CLASSES)
    arrays = [create_array(path, shape=job.grid.shape, dtype="f4", chunks=(4, 5, 6)) for path in paths]
    job = replace(job, arrays=paths)
    for block in BlockGrid(shape=job.grid.shape, block_shape=(12, 10, 12)):
        job(block)
    np.testing.assert_array_equal(np.stack([array[...] for array in arrays]), computed(job, (12, 10, 12)))


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_with_its_least_weight_equal_to_monai(overlap):
    windows = replace(plan_windows(patch_shape(9, 8, 10), overlap=overlap), least=MONAI_LEAST)
    job = make_job(Uneven(), RAW.bounds, windows, output="probability")
    job = replace(job, windows=windows)
    with torch.no_grad():
        theirs = sliding_window_inference(
            torch.from_numpy(VALUES.astype(np.float32))[None, None], (9, 8, 10), 2,
            lambda x: torch.sigmoid(Uneven()(x)), overlap, mode="gaussian",
        )[0].numpy()  # fmt: skip
    np.testing.assert_allclose(computed(job, (12, 14, 16)), theirs, atol=1e-4)


def test_means_over_the_grid_of_a_crop():
    """As of all of it at once, averaged."""
    windows = plan_windows(patch_shape(7, 6, 9), overlap=0.25)
    roi = RAW.window((2, 3, 4), (16, 18, 20)).bounds
    job = make_job(Uneven(), roi, windows, output="probability")
    fine = computed(job, (16, 18, 20))
    coarse = replace(job, output=Grid.covering(roi, (16, 16, 16)))
    expected = fine.reshape(2, 8, 2, 9, 2, 10, 2).mean((2, 4, 6))
    np.testing.assert_allclose(computed(coarse, (8, 9, 10)), expected, atol=1e-6)
    np.testing.assert_array_equal(computed(coarse, (3, 4, 5)), computed(coarse, (8, 9, 10)))


def test_a_broken_network_is_named_with_block_and_crop():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.cat([x, x / (x - x)], dim=1)

    windows = plan_windows(patch_shape(8, 8, 8))
    job = make_job(Broken(), RAW.bounds, windows, output="probability")
    with pytest.raises(ArithmeticError, match="NaN or infinity in block 3 of crop7"):
        job.compute(BlockGrid(shape=job.grid.shape, block_shape=(12, 12, 12))[3])


def test_a_voxel_at_the_face_of_a_crop_is_seen_with_what_is_around_it():
    class Before(nn.Module):
        def forward(self, x):
            shifted = nn.functional.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1]  # 0 before a patch
            return torch.cat([shifted, x], dim=1)

    for begin, expected in ((3, VALUES[2, :8, :8]), (0, np.zeros((8, 8)))):
        roi = RAW.window((begin, 0, 0), (14, 8, 8)).bounds
        found = computed(make_job(Before(), roi, plan_windows(patch_shape(8, 8, 8))), (14, 8, 8))
        np.testing.assert_array_equal(found[0, 0], expected)


def test_a_region_beside_raw_is_an_error():
    windows = plan_windows(patch_shape(8, 8, 8))
    job = make_job(Valid(), RAW.window((40, 0, 0), (9, 9, 9)).bounds, windows)
    with pytest.raises(MissingDataError, match="no raw"):
        job.compute(Block(index=0, begin=(0, 0, 0), shape=(4, 4, 4), read_begin=(0, 0, 0), read_shape=(4, 4, 4)))


def test_flips_and_transpositions_cancel_what_depends_on_direction():
    """The mean over all turns of a shift by a voxel is that of its neighbours."""

    class Shifted(nn.Module):
        def forward(self, x):
            return torch.cat([torch.roll(x, 1, 2), x], dim=1)

    windows = plan_windows(patch_shape(8, 8, 8), overlap=0, halo=(1, 1, 1))
    roi = RAW.window((5, 5, 5), (6, 6, 6)).bounds
    around = VALUES[4:12, 4:12, 4:12].astype(np.float32)
    z = (around[:-2] + around[2:])[:, 1:-1, 1:-1] / 2
    y = (around[:, :-2] + around[:, 2:])[1:-1, :, 1:-1] / 2
    x = (around[:, :, :-2] + around[:, :, 2:])[1:-1, 1:-1] / 2
    for tta, expected in (("mirror", z), ("all", (z + y + x) / 3)):
        found = make_job(Shifted(), roi, windows, tta=tta).compute(BlockGrid(shape=(6, 6, 6), block_shape=(6, 6, 6))[0])
        np.testing.assert_allclose(found[0], expected, rtol=1e-5)
        np.testing.assert_allclose(found[1], around[1:-1, 1:-1, 1:-1], rtol=1e-5)


def test_several_inputs_and_named_outputs():
    """A network that takes its surroundings, coarser, beside its patch, and gives a mapping."""

    class Two(nn.Module):
        def forward(self, arrays):
            fine, coarse = arrays["input"], arrays["context"]
            assert tuple(coarse.shape[2:]) == (6, 6, 6)
            middle = coarse[:, :, 1:-1, 1:-1, 1:-1]
            spread = middle.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
            return {"other": fine, "output": torch.cat([fine, spread], dim=1)}

    info = ArrayInfo(shape=(8, 8, 8), scale=(8, 8, 8))
    patch = PatchShape(
        input=info, target=info, further_inputs={"context": ArrayInfo(shape=(6, 6, 6), scale=(16, 16, 16))}
    )
    raw = np.repeat(np.repeat(np.repeat(VALUES[:12, :12, :12], 2, 0), 2, 1), 2, 2)
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=raw.shape)
    windows = plan_windows(patch, overlap=0.25, halo=(0, 0, 0))
    job = make_job(Two(), grid.window((4, 6, 8), (14, 14, 14)).bounds, windows, raw=volume(raw, grid))
    found = computed(job, (14, 14, 14))
    np.testing.assert_array_equal(found[0], raw[4:18, 6:20, 8:22])
    np.testing.assert_array_equal(found[1], raw[4:18, 6:20, 8:22])


def test_blocks_are_long_and_fit_into_memory():
    windows = plan_windows(patch_shape(128, 128, 128))
    assert windows.step == (96, 96, 96)
    assert plan_block_shape(windows, classes=5, itemsize=1, chunks=(96, 96, 96)) == (576, 288, 288)
    for classes in (1, 5, 14, 35, 48):
        shape = plan_block_shape(windows, classes=classes, itemsize=1, chunks=(64, 64, 64))
        assert all(n % 64 == 0 for n in shape)
        assert shape[1] * shape[2] * 128 * 4 * (classes + 1) < 420 << 20, classes
    # A crop of 1000^3 takes at most 2.1 times the windows that it has.
    (placement,) = windows.place((1000, 1000, 1000))
    once = len(list(placement.positions((0, 0, 0), (1000, 1000, 1000))))
    blocks = BlockGrid(shape=(1000, 1000, 1000), block_shape=(576, 288, 288))
    ends = (tuple(b + n for b, n in zip(block.begin, block.shape, strict=True)) for block in blocks)
    every = sum(len(list(placement.positions(block.begin, end))) for block, end in zip(blocks, ends, strict=True))
    assert once < every <= 2.1 * once


@pytest.mark.parametrize(("given", "target"), [(9, 4), (8, 5), (8, 4), (9, 9)])
def test_patches_lie_on_raws_own_voxels_whatever_a_network_cuts_off(given, target):
    """A window of 4 voxels in the middle of 9 begins within one of them."""
    info = ArrayInfo(shape=(given,) * 3, scale=(8, 8, 8)), ArrayInfo(shape=(target,) * 3, scale=(8, 8, 8))
    windows = plan_windows(PatchShape(input=info[0], target=info[1]))
    roi = RAW.window((5, 6, 7), (8, 9, 10)).bounds
    grid = region_grid(roi, windows.patch, volume())
    assert grid.bounds.contains(roi)
    (placement,) = windows.place(grid.shape)
    for position in placement.positions((0, 0, 0), grid.shape):
        patch = windows.inputs(grid, placement.orientation, position)["input"]
        assert [(p - r) % 8 for p, r in zip(patch.bounds.begin, RAW.bounds.begin, strict=True)] == [0, 0, 0]


def test_raw_from_disk_is_opened_where_the_work_is_done(tmp_path):
    write_multiscale(tmp_path / "raw.zarr", [VALUES], [RAW], chunks=(8, 8, 8))
    windows = plan_windows(patch_shape(8, 8, 8))
    job = make_job(Valid(), RAW.window((3, 3, 3), (9, 9, 9)).bounds, windows, raw=open_volume(tmp_path / "raw.zarr"))
    copy = pickle.loads(pickle.dumps(job))
    np.testing.assert_array_equal(computed(copy, (9, 9, 9))[0], VALUES[3:12, 3:12, 3:12])
