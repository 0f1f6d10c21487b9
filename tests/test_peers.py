"""What both sides of `benchmarks/peers.py` are given, where it is not simply the demo's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csc_data.challenge import get_class
from csc_data.splits.split_file import SplitRow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# Four voxels: of a mitochondrion's membrane, of its lumen, of the reticulum's membrane, and of nothing of these.
MASKS = {
    "mito_mem": np.array([[[1, 0, 0, 0]]]),
    "mito_lum": np.array([[[0, 1, 0, 0]]]),
    "mito": np.array([[[7, 7, 0, 0]]]),
    "er_mem": np.array([[[0, 0, 1, 0]]]),
}
ATOMS = frozenset(get_class(name).id for name in ("mito_mem", "mito_lum", "er_mem", "cyto"))


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def joined(unannotated: str, **without: str):
    """Return the maps of a crop where all is annotated and of one where a class is not."""
    from peers.label_maps import make_region_maps

    lacking = {name: mask for name, mask in MASKS.items() if name not in without.values()}
    return make_region_maps([MASKS, lacking], tuple(MASKS), unannotated, ATOMS)


def there(found, crop: int, name: str) -> list[bool]:
    return np.isin(found.maps[crop], found.regions[name]).ravel().tolist()


def test_regions_are_the_classes_again():
    found = joined("background", without="er_mem")
    assert found.ignore is None
    for name, mask in MASKS.items():
        assert there(found, 0, name) == (mask > 0).ravel().tolist()
    assert there(found, 1, "er_mem") == [False] * 4


def test_where_a_class_may_or_may_not_be_all_are_ignored():
    found = joined("ignore", without="er_mem")
    assert (found.maps[1] == found.ignore).ravel().tolist() == [False, False, True, True]
    assert not np.any(found.maps[0] == found.ignore)
    assert there(found, 1, "mito") == [True, True, False, False]
    assert found.ignore == 1 + max(label for labels in found.regions.values() for label in labels)


def test_what_follows_from_other_classes_is_not_ignored():
    found = joined("ignore", without="mito")
    assert not np.any(found.maps[1] == found.ignore)
    assert there(found, 1, "mito") == [True, True, False, False]


def test_gaps_are_as_many_as_asked_for_and_leave_each_class_a_crop_that_trains_it():
    from peers.challenge import UNANNOTATED, with_gaps

    classes = tuple("abcdefgh")
    rows = [
        SplitRow(usage="validate" if n == 5 else "train", raw="r", labels=f"crop{n}", classes=classes[n == 4 :])
        for n in range(6)
    ]
    present = [set(row.classes) - ({"b"} if row.crop != "crop2" else set()) for row in rows]
    drawn = set()
    for seed in range(20):
        gaps = with_gaps(rows, present, classes, np.random.default_rng(seed))
        assert sum(len(row.classes) for row in gaps) == round((1 - UNANNOTATED) * len(rows) * len(classes))
        for name in classes:
            assert any(name in row.classes and name in held for row, held in zip(gaps[:5], present[:5], strict=True))
        assert [(row.usage, row.labels) for row in gaps] == [(row.usage, row.labels) for row in rows]
        drawn.add(tuple(row.classes for row in gaps))
    assert len(drawn) > 10
