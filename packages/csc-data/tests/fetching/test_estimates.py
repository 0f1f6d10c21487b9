"""How large a fetch can become: never less than what it then is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csc_data.challenge import TrainingCrop
from csc_data.config.user_config import Config
from csc_data.fetching import FetchOptions, plan_fetch
from csc_data.fetching.plan import FileGroup
from csc_data.fetching.planning.chunk_listing import ChunkLayout
from csc_data.fetching.planning.labels import Region
from csc_data.fetching.planning.raw import RawLevel, RawVolume, crop_boxes
from csc_data.fetching.sources import CropSource, estimate_fetch, known_crops, select_sources
from csc_data.geometry import Grid
from csc_data.volumes import downsampled_grid

CLASSES = ("mito", "er")
CROPS = {
    crop_id: TrainingCrop(id=crop_id, dataset=dataset, voxel_size=size, translation=place, shape=shape, classes=CLASSES)
    for crop_id, dataset, size, place, shape in (
        (1, "jrc_tiny-1", (8, 8, 8), (436, 1236, 836), (32, 32, 32)),
        (2, "jrc_tiny-1", (8, 8, 8), (444, 1444, 828), (21, 33, 30)),
        (11, "jrc_tiny-2", (5.24, 4, 4), (1582.48, 648, 424), (40, 48, 48)),
    )
}
"""The crops of the synthetic challenge, as a list would describe them."""

RAWS = [(8, 8, 8), (5.24, 4, 4), (3.24, 4, 4), (3.48, 4, 4), (4, 4, 4), (2, 2, 2)]


@dataclass(frozen=True)
class Reach:
    share: float

    def __call__(self, extent):
        return tuple(self.share * nm for nm in extent)


@pytest.mark.parametrize(
    "changes",
    [{}, {"classes": ("mito",)}, {"raw_padding": 3, "all_resolutions": True}, {"raw_reach": Reach(2)}],
)
def test_what_a_fetch_brings_is_never_more(config, options, monkeypatch, changes):
    monkeypatch.setattr("csc_data.fetching.sources.training_crops_by_id", lambda: CROPS)
    assert plan_fetch(config, options(**changes)).n_bytes <= estimate_fetch(known_crops(config).crops, **changes)


def test_the_whole_challenge_is_estimated_without_a_network(tmp_path):
    known = known_crops(Config(data=str(tmp_path), endpoint="http://127.0.0.1:9")).crops

    def estimate(crops=("all",), **options):
        return estimate_fetch(select_sources(known, crops), **options)

    one, two = estimate(crops=["234"], classes=["mito"]), estimate(crops=["234"], classes=["mito", "er"])
    assert 400**3 * 8 / 7 <= two - one < 400**3 * 1.2  # one class, and its levels
    assert one < 1e9
    assert estimate(crops=["234"], classes=["mito"], raw_padding=64) > one
    assert one < estimate(classes=["mito"]) < estimate() < estimate(all_resolutions=True)
    assert estimate(crops=["423"], classes=["nuc", "er"]) == estimate(crops=["423"], classes=["nuc"])  # er is not there


def test_nothing_is_said_of_crops_whose_place_is_not_known(config):
    known = known_crops(config).crops
    assert estimate_fetch(known) is None
    # crop 234 of the challenge is another one
    assert estimate_fetch([replace(known[0], id=234, dataset="jrc_cos7-1a")]) is not None
    assert estimate_fetch([replace(known[0], id=234)]) is None


@given(
    raw=st.sampled_from(RAWS),
    times=st.sampled_from([0.5, 1, 2, 4, 8]),
    isotropic=st.booleans(),
    begin=st.tuples(*[st.integers(0, 900)] * 3),
    shape=st.tuples(*[st.integers(1, 400)] * 3),
    chunk=st.sampled_from([32, 64, 128]),
    changes=st.fixed_dictionaries(
        {"all_resolutions": st.booleans()},
        optional={"raw_padding": st.integers(0, 200)},
    )
    | st.fixed_dictionaries({"raw_reach": st.builds(Reach, st.floats(0, 3)), "all_resolutions": st.booleans()}),
)
# At a corner of chunks at every level; and the finer level that reading takes under an annotation of 8 nm.
@example((2, 2, 2), 1, False, (524284,) * 3, (4, 4, 4), 128, {"raw_padding": 0, "all_resolutions": True})
@example((2, 2, 2), 1, False, (524284,) * 3, (4, 4, 4), 128, {"raw_padding": 200, "all_resolutions": True})
@example((5.24, 4, 4), 2, True, (900,) * 3, (400,) * 3, 128, {"raw_padding": 0, "all_resolutions": False})
def test_raw_is_never_less_than_the_chunks_that_are_fetched(raw, times, isotropic, begin, shape, chunk, changes):
    voxel_size = (raw[1] * times,) * 3 if isotropic and times >= 1 else tuple(size * times for size in raw)
    crop = TrainingCrop(
        id=234, dataset="jrc_cos7-1a", voxel_size=voxel_size, translation=begin, shape=shape, classes=()
    )
    grids = [Grid(voxel_size=raw, translation=(0, 0, 0), shape=(2**19, 2**19 - 1, 2**19 + 1))]
    while len(grids) < 12:
        grids.append(downsampled_grid(grids[-1], (2, 2, 2)))
    levels = [
        RawLevel(grid=grid, array=ChunkLayout(name=f"s{n}", shape=grid.shape, chunks=(chunk,) * 3, separator="/"))
        for n, grid in enumerate(grids)
    ]
    region = Region(bounds=crop.grid.bounds, voxel_size=voxel_size)
    volume = RawVolume(group=FileGroup(bucket=None, prefix="r", folder="r", files=[]), levels=tuple(levels))
    boxes = crop_boxes(volume, region, FetchOptions(**changes))
    needed = sum(math.prod(map(len, box)) * chunk**3 for _, box in boxes)
    source = CropSource(id=234, dataset=crop.dataset, bucket="b", raw="r")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csc_data.fetching.sources.training_crops_by_id", lambda: {234: crop})
        assert needed <= estimate_fetch([source], classes=["mito"], **changes)
