"""Raw without annotations: all that is stored is drawn from, and what is mirrored is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csc_data.errors import MissingDataError
from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchLoader, PatchShape, SpatialTransforms
from csc_data.loader.patches import unannotated
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import Augmentation
from csc_data.loader.patches.unannotated import KNOWN, RawPatches, raw_regions, stored_boxes
from csc_data.volumes import open_volume, write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(100.0, 200.0, 300.0), shape=(40, 32, 24))
CHUNK = 8


@pytest.fixture
def volume(tmp_path):
    """A volume whose voxels say where they are."""
    z, y, x = np.indices(GRID.shape)
    write_multiscale(tmp_path / "raw", [(z * 4 + y % 2 + x % 2).astype(np.uint8)], [GRID], chunks=(CHUNK,) * 3)
    return open_volume(tmp_path / "raw")


def remove(volume, *chunks):
    for z, y, x in chunks:
        Path(volume.path, "s0", f"{z}/{y}/{x}").unlink()
    return open_volume(volume.path)


def patches_of(volume, shape=(8, 8, 8), **transforms):
    array = ArrayInfo(shape=shape, scale=(8, 8, 8))
    spatial = SpatialTransforms.parse(transforms)
    reader = PatchReader(
        crops=tuple(raw_regions(volume, array.scale, name="x")),
        classes=(),
        patch=PatchShape(input=array, target=array),
        raw_range=(0.0, 255.0),
        spatial=spatial,
        kinds={},
    )
    return RawPatches(reader, Augmentation(spatial=spatial), foreground_share=0.0)


def test_regions_hold_each_stored_chunk_once_and_no_other(volume):
    whole = raw_regions(volume, (8, 8, 8), name="x")
    assert [crop.bounds for crop in whole] == [GRID.bounds]
    holes = {(0, 0, 0), (2, 1, 1), (4, 3, 2)}
    level = remove(volume, *holes).levels[0]
    for most in [(99, 99, 99), (2, 2, 2), (1, 3, 2)]:
        seen = np.zeros((5, 4, 3), dtype=int)
        for begin, end in stored_boxes(level, most):
            assert all(e - b <= m for b, e, m in zip(begin, end, most, strict=True))
            seen[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))] += 1
        assert {tuple(map(int, place)) for place in np.argwhere(seen == 0)} == holes
        assert seen.max() == 1


def test_a_volume_of_which_nothing_was_fetched_is_refused(volume):
    everything = [(z, y, x) for z in range(5) for y in range(4) for x in range(3)]
    with pytest.raises(MissingDataError, match=r"nothing is stored of .*raw/s0"):
        raw_regions(remove(volume, *everything), (8, 8, 8), name="x")


def test_patches_are_never_filled_from_what_is_not_stored(volume):
    # Half of the volume was not fetched: as zeros it would be learnt.
    gone = [(z, y, x) for z in (0, 1) for y in range(4) for x in range(3)]
    patches = patches_of(remove(volume, *gone), shape=(12, 12, 12), rotate={"x": 45})
    for index in range(40):
        sample = patches[index]
        assert sample["input"].min() >= 16 * 4 - 4
        assert sample[KNOWN].shape == sample["input"].shape


def test_known_is_what_is_not_mirrored(volume):
    # A patch larger than the volume hangs over its ends; values say how far a voxel is from the first plane.
    patches = patches_of(volume, shape=(56, 8, 8))
    sample = patches[3]
    known = sample[KNOWN][0, :, 0, 0] > 0
    assert known.sum() == GRID.shape[0]
    begin = int(known.argmax())
    planes = sample["input"][0, :, 0, 0]
    assert np.all(np.diff(planes[known]) > 0)
    assert planes[begin - 1] == pytest.approx(planes[begin], abs=2)  # the mirror image
    inner = patches_of(volume)[0]
    assert inner[KNOWN].all()


def test_of_bent_patches_what_may_lie_beyond_is_not_known(volume):
    patches = patches_of(volume, shape=(24, 24, 16), elastic={"spacing_nm": 64, "amplitude_nm": 16, "probability": 1.0})
    assert any(not patches[index][KNOWN].all() for index in range(8))


@pytest.mark.parametrize("shape", [(8, 8, 8), (1, 8, 8)])
def test_batches_are_those_of_single_samples_with_many_regions(volume, shape, monkeypatch):
    monkeypatch.setattr(unannotated, "REGION_VOXELS", CHUNK)  # 60 regions: visited a few at a time, and read ahead
    patches = patches_of(volume, shape=shape, mirror={"axes": {"x": 0.5}})
    assert len(patches.reader.crops) == 60
    batch = next(iter(PatchLoader(patches, batch_size=3, batches=1)))
    flat = shape[0] == 1
    assert batch[KNOWN].shape == ((3, 1, 8, 8) if flat else (3, 1, 8, 8, 8))
    for number in range(3):
        sample = patches[number]
        for name in ("input", KNOWN):
            assert np.array_equal(batch[name][number].numpy(), sample[name])
