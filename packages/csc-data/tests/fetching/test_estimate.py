"""How large a fetch can become: never less than what it then is."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.challenge import TrainingCrop
from csc_data.config.user_config import Config
from csc_data.fetching import FetchOptions, estimate_fetch, plan_fetch
from csc_data.fetching.listing import ChunkLayout
from csc_data.fetching.plan import FileGroup
from csc_data.fetching.raw import RawLevel, RawVolume, open_raw
from csc_data.fetching.sources import CropSource, known_crops, select_sources
from csc_data.fetching.survey import Survey
from csc_data.geometry import Grid
from csc_data.storage.bucket import Bucket
from csc_data.volumes import downsampled_grid

CROPS = {
    1: TrainingCrop(
        id=1,
        dataset="jrc_tiny-1",
        voxel_size=(8, 8, 8),
        translation=(436, 1236, 836),
        shape=(32, 32, 32),
        classes=("mito", "er"),
    ),
    2: TrainingCrop(
        id=2,
        dataset="jrc_tiny-1",
        voxel_size=(8, 8, 8),
        translation=(444, 1444, 828),
        shape=(21, 33, 30),
        classes=("mito", "er"),
    ),
    11: TrainingCrop(
        id=11,
        dataset="jrc_tiny-2",
        voxel_size=(5.24, 4, 4),
        translation=(1582.48, 648, 424),
        shape=(40, 48, 48),
        classes=("mito", "er"),
    ),
}
"""The crops of the synthetic challenge, as a list would describe them."""


@pytest.fixture
def facts(monkeypatch):
    monkeypatch.setattr("csc_data.fetching.estimate.training_crops_by_id", lambda: CROPS)


@pytest.mark.parametrize("changes", [{}, {"classes": ("mito",)}, {"raw_padding": 3, "all_resolutions": True}])
def test_what_a_fetch_brings_is_never_more(config, options, facts, changes):
    chosen = options(**changes)
    plan = plan_fetch(config, chosen)
    sources = select_sources(known_crops(config).crops, ["all"])
    blind = estimate_fetch(sources, chosen)
    survey = Survey(config, chosen, None, threading.Event())
    volumes = {source.dataset: open_raw(survey, source.bucket, source.raw, source.dataset) for source in sources}
    informed = estimate_fetch(sources, chosen, volumes)
    assert plan.n_bytes <= informed.n_bytes <= blind.n_bytes
    assert informed.label_bytes == blind.label_bytes


def test_the_whole_challenge_is_estimated_from_the_facts_alone(tmp_path):
    crops = known_crops(Config(data=str(tmp_path), endpoint="http://127.0.0.1:9")).crops
    whole = estimate_fetch(crops, FetchOptions())
    mito = estimate_fetch(crops, FetchOptions(classes=("mito",)))
    one = estimate_fetch(select_sources(crops, ["234"]), FetchOptions(classes=("mito",)))
    assert one.n_bytes < mito.n_bytes < whole.n_bytes
    assert mito.raw_bytes == whole.raw_bytes
    assert 400**3 < one.label_bytes < 1.2 * 400**3  # one class, and its levels
    assert one.raw_bytes < 1e9
    assert estimate_fetch(select_sources(crops, ["test"]), FetchOptions()).label_bytes == 0


def test_nothing_is_said_of_crops_whose_place_is_not_known():
    source = CropSource(id=234, dataset="jrc_other", bucket="b", raw="r", labels_bucket="b", labels="l")
    assert estimate_fetch([source], FetchOptions()) is None


raws = [(8, 8, 8), (5.24, 4, 4), (3.24, 4, 4), (3.48, 4, 4), (4, 4, 4), (2, 2, 2)]


@given(
    raw=st.sampled_from(raws),
    times=st.sampled_from([0.5, 1, 2, 4, 8]),
    isotropic=st.booleans(),
    begin=st.tuples(*[st.integers(0, 900)] * 3),
    shape=st.tuples(*[st.integers(1, 400)] * 3),
    chunk=st.sampled_from([32, 64, 128]),
    changes=st.fixed_dictionaries({"raw_padding": st.integers(0, 200), "all_resolutions": st.booleans()}),
)
def test_assuming_is_never_less_than_knowing(raw, times, isotropic, begin, shape, chunk, changes):
    voxel_size = (raw[1] * times,) * 3 if isotropic and times >= 1 else tuple(size * times for size in raw)
    crop = TrainingCrop(id=1, dataset="x", voxel_size=voxel_size, translation=begin, shape=shape, classes=("mito",))
    grids = [Grid(voxel_size=raw, translation=(0, 0, 0), shape=(2000, 1999, 2001))]
    while len(grids) < 9:
        grids.append(downsampled_grid(grids[-1], (2, 2, 2)))
    levels = tuple(
        RawLevel(grid=grid, array=ChunkLayout(name=f"s{n}", shape=grid.shape, chunks=(chunk,) * 3, separator="/"))
        for n, grid in enumerate(grids)
    )
    bucket = Bucket("b", endpoint="http://127.0.0.1:9")
    volume = RawVolume(group=FileGroup(bucket=bucket, prefix="", folder=None, files=[]), levels=levels)
    source = CropSource(id=1, dataset="x", bucket="b", raw="r", labels_bucket="b", labels="l")
    options = FetchOptions(**changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csc_data.fetching.estimate.training_crops_by_id", lambda: {1: crop})
        knowing = estimate_fetch([source], options, {"x": volume})
        assert knowing.n_bytes <= estimate_fetch([source], options).n_bytes
