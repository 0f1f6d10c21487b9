"""Samples that follow each other share crops, and each by itself is drawn as if it were alone."""

from __future__ import annotations

import pickle
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape, TrainingPatches, open_crop
from csc_data.loader.batches import PatchLoader, Workers
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.sampling.counts import CropCounts
from csc_data.loader.sampling.drawing import AnchorDraws
from csc_data.loader.sampling.visits import FEWEST_SAMPLES, MOST_SAMPLES, VISITS_AT_ONCE, Visits, samples_a_visit
from csc_data.loader.sources.holding.regions import RegionCache

CLASSES = ("mito", "er", "nuc", "vesicle")
SEEDS = 200


class CountedDraws(AnchorDraws):
    """Draws from crops of which only the counts exist."""

    def __init__(self, crops: int, share: float) -> None:
        rng = np.random.default_rng(0)
        # Each class is in every second crop or so that has an array of it; the last in none.
        self.present = rng.integers(0, 2, (crops, len(CLASSES))) * rng.integers(1, 1000, (crops, len(CLASSES)))
        self.present[:, 3] = 0
        annotated = rng.random((crops, len(CLASSES))) < 0.8
        self.present *= annotated
        self.sizes = rng.integers(2, 9, (crops, 3))
        labels = [{name: () for name, is_there in zip(CLASSES, row, strict=True) if is_there} for row in annotated]
        self.share, self.counted = share, set()
        reader = SimpleNamespace(
            crops=[SimpleNamespace(labels=own) for own in labels], classes=CLASSES, excludes={}, grid=self.grid_of
        )
        super().__init__(reader, share)

    def grid_of(self, crop):
        return Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=tuple(self.sizes[crop].tolist()))

    def counts(self, crop):
        self.counted.add(crop)
        present = self.present[crop][:, np.newaxis]
        return CropCounts(grid=self.grid_of(crop), present=present, known=present[:, 0])

    def chances(self) -> np.ndarray:
        """Return the chance of each class, the last for none, and crop, shape (C + 1, crops)."""
        has = (self.present > 0).astype(float)
        found = has.sum(axis=0) > 0
        chances = np.zeros((len(CLASSES) + 1, len(has)))
        chances[:-1][found] = self.share / found.sum() * (has / np.maximum(1, has.sum(axis=0))).T[found]
        volumes = self.sizes.prod(axis=1)
        chances[-1] = (1 - self.share) * volumes / volumes.sum()
        return chances


def drawn(draws: AnchorDraws, seed: int, index: int) -> tuple[int, int]:
    visit = Visits(draws, seed).draw(np.random.default_rng([seed, index]), index)
    return len(CLASSES) if visit.channel is None else visit.channel, visit.crop


def agrees(found: np.ndarray, chances: np.ndarray, inflation: float = 1.0) -> float:
    """Return the chance of frequencies at least as far off as these, by chi-square."""
    assert not found[chances == 0].any()
    found, expected = found[chances > 0], chances[chances > 0] * found.sum()
    return stats.chi2.sf(((found - expected) ** 2 / expected).sum() / inflation, len(found) - 1)


@pytest.mark.parametrize("index", [0, 7, FEWEST_SAMPLES - 1, FEWEST_SAMPLES, 1000, (3 << 40) + 12_345])
def test_over_seeds_each_sample_has_the_class_and_the_crop_of_an_independent_draw(index):
    draws = CountedDraws(crops=24, share=0.8)
    frequencies = np.zeros((len(CLASSES) + 1, 24))
    for seed in range(SEEDS):
        frequencies[drawn(draws, seed, index)] += 1
    chances = draws.chances()
    assert chances.sum() == pytest.approx(1)
    assert agrees(frequencies.sum(axis=1), chances.sum(axis=1)) > 0.001
    assert agrees(frequencies.sum(axis=0), chances.sum(axis=0)) > 0.001


def test_over_seeds_epochs_of_eight_samples_agree_too():
    draws = CountedDraws(crops=24, share=0.8)
    frequencies = np.zeros((len(CLASSES) + 1, 24))
    for seed in range(SEEDS):
        for index in range(8):
            frequencies[drawn(draws, seed, index)] += 1
    # Two samples of an epoch belong to one visit with a chance of 1 in K; that is how much more they scatter.
    inflation = 1 + 7 / VISITS_AT_ONCE
    chances = draws.chances()
    assert agrees(frequencies.sum(axis=1), chances.sum(axis=1), inflation) > 0.001
    assert agrees(frequencies.sum(axis=0), chances.sum(axis=0), inflation) > 0.001
    assert agrees(frequencies, chances, inflation) > 0.001


@pytest.mark.parametrize("first", [0, 17, 5000, (1 << 40) + 31])
def test_few_crops_are_visited_at_a_time_and_in_the_end_all(first):
    draws = CountedDraws(crops=289, share=0.8)
    visits = Visits(draws, 0)
    crops = [visits.draw(np.random.default_rng([0, index]), index).crop for index in range(first, first + 100 * 256)]
    for start in range(0, len(crops) - 256, 64):
        assert len(set(crops[start : start + 256])) <= VISITS_AT_ONCE + 256 // FEWEST_SAMPLES + 1
    # Many samples see as many crops as independent draws of that many visits do.
    chances = draws.chances().sum(axis=0)
    expected = (1 - (1 - chances) ** (len(crops) / FEWEST_SAMPLES + VISITS_AT_ONCE - 1)).sum()
    assert len(set(crops)) == pytest.approx(expected, abs=15)
    assert sum(a == b for a, b in pairwise(crops)) > len(crops) / VISITS_AT_ONCE / 2


@pytest.mark.parametrize("side", [8, 64, 128, 500])
def test_to_read_a_crop_stays_a_share_of_the_work_that_is_done_with_it(side):
    samples = samples_a_visit(200**3, side**3)
    assert FEWEST_SAMPLES <= samples <= MOST_SAMPLES
    assert samples == MOST_SAMPLES or samples * side**3 > 3.9 * 200**3


def test_only_crops_that_are_tried_are_counted():
    draws = CountedDraws(crops=289, share=1.0)
    draws.present[:, 3] = 1  # to find that a class is in no crop takes all crops that might hold it
    for index in range(8):
        drawn(draws, 0, index)
    assert 1 <= len(draws.counted) < 80


def test_visits_depend_on_the_seed_and_the_number_alone():
    draws = CountedDraws(crops=50, share=0.5)
    forwards, backwards = Visits(draws, 3), Visits(draws, 3)
    numbers = range(600)
    expected = [forwards.visit(number) for number in numbers]
    assert [backwards.visit(number) for number in reversed(numbers)] == expected[::-1]
    assert pickle.loads(pickle.dumps(forwards.visit(5))) == expected[5]
    assert [Visits(draws, 4).visit(number) for number in numbers] != expected


GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(24, 20, 16))
ARRAY = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))


def patches_of(world, count: int, cache_bytes: int = 1 << 24) -> TrainingPatches:
    names = CLASSES[:2]
    crops = [open_crop(world.row(names, crop=f"crop{number}"), names) for number in range(1, count + 1)]
    shape = PatchShape(input=ARRAY, target=ARRAY)
    return TrainingPatches(
        PatchReader(crops=tuple(crops), classes=names, patch=shape, regions=RegionCache(cache_bytes))
    )


def write(world, count: int) -> None:
    rng = np.random.default_rng(0)
    world.write_raw(GRID)
    for number in range(1, count + 1):
        for name in CLASSES[:2]:
            values = rng.integers(0, 2, GRID.shape, dtype=np.uint8)
            world.write_labels(name, GRID, crop=f"crop{number}", values=values)


def test_with_few_crops_samples_are_drawn_independently_and_stay_what_they_were(world):
    write(world, 3)
    patches = patches_of(world, 3)
    places = [patches.place(index) for index in range(8)]
    assert [(place.crop, place.class_name) for place in places] == [
        (1, "mito"), (0, None), (1, "mito"), (0, "er"), (2, "er"), (2, "mito"), (0, "mito"), (0, "mito"),
    ]  # fmt: skip
    np.testing.assert_array_equal(places[0].patch_map.centre, (168, 136, 24))
    np.testing.assert_array_equal(places[7].patch_map.centre, (168, 120, 64))


@pytest.mark.slow
def test_with_many_crops_samples_depend_on_neither_the_cache_nor_the_workers(world):
    write(world, VISITS_AT_ONCE + 2)
    patches = patches_of(world, VISITS_AT_ONCE + 2)
    indices = [*range(40), 1000, 999, (2 << 40) + 5]
    samples = {index: patches[index] for index in indices}
    crops = [patches.place(index).crop for index in indices]
    assert 5 < len(set(crops)) <= VISITS_AT_ONCE + 2
    small = patches_of(world, VISITS_AT_ONCE + 2, cache_bytes=1000)
    copy = pickle.loads(pickle.dumps(patches))
    for index in reversed(indices):
        for other in (small, copy):
            np.testing.assert_array_equal(other[index]["output"], samples[index]["output"])
            np.testing.assert_array_equal(other[index]["input"], samples[index]["input"])
    loader = PatchLoader(patches, batch_size=5, batches=8, workers=Workers(num_workers=2))
    outputs = np.concatenate([batch["output"].numpy() for batch in loader])
    np.testing.assert_array_equal(outputs, [samples[index]["output"] for index in range(40)])
    for index in indices:
        place, sample = patches.place(index), samples[index]
        if place.class_name is not None:
            assert (sample["output"][CLASSES.index(place.class_name)] == 1).any()
        assert patches.draw_from(place.crop, index)["output"].shape == (2, 4, 4, 4)


def test_each_process_goes_through_samples_of_its_own_from_epoch_to_epoch(world):
    write(world, 1)
    patches = patches_of(world, 1)
    seen = {}
    for rank in range(3):
        workers = Workers(rank=rank, world_size=3)
        loader = PatchLoader(patches, batch_size=2, batches=5, workers=workers)
        numbers = [n for epoch in range(4) for indices in loader.indices(epoch) for n in indices]
        assert numbers == list(range(numbers[0], numbers[0] + 40))
        seen[rank] = set(numbers)
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]
    assert min(seen[0]) == 0
