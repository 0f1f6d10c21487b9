"""Splits of crops as they are found: what options leave out, hold together, or put on one side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from csc_data.challenge import UnknownClassError
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, ProblemsError
from csc_data.geometry import Grid
from csc_data.splits.search import CropTemplates
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.volumes import write_multiscale


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    return Config(data=str(tmp_path / "data"))


@pytest.fixture
def add(config: Config) -> Callable[..., None]:
    """Add an annotated crop: voxels present by class, and voxel sizes of raw and labels."""

    def add_crop(dataset: str, crop: str, *, raw: float = 4, labels: float = 4, **voxels: int) -> None:
        grid = Grid(voxel_size=(raw,) * 3, translation=(0, 0, 0), shape=(2, 2, 2))
        write_multiscale(config.path("raw", dataset=dataset), [np.zeros(grid.shape, "u1")], [grid], overwrite=True)
        grid = Grid(voxel_size=(labels,) * 3, translation=(0, 0, 0), shape=(4, 4, 4))
        for name, count in voxels.items():
            data = np.zeros(grid.shape, "u1")
            data.ravel()[:count] = 1
            write_multiscale(config.path("labels", dataset=dataset, crop=crop, class_name=name), [data], [grid])

    return add_crop


def sides(split):
    return {row.crop: row.usage for row in split.rows}


def test_crops_coarser_than_the_scale_are_left_out_and_named(config, add):
    add("jrc_a", "crop1", er=3)
    add("jrc_a", "crop2", labels=8, er=3)
    add("jrc_b", "crop3", raw=16, labels=8, er=3)
    split = make_datasplit(config, SplitOptions(scale=(4, 4, 4)))
    assert list(sides(split)) == ["crop1"]
    said = {problem.where: problem.what for problem in split.left_out}
    assert said == {
        "jrc_a/crop2": "has no level as fine as 4 x 4 x 4 nm of er",
        "jrc_b/crop3": "has no raw as fine as 4 x 4 x 4 nm",
    }
    assert list(sides(make_datasplit(config, SplitOptions(scale=(8, 8, 8))))) == ["crop1", "crop2"]
    # As fine on every axis, not on one.
    with pytest.raises(MissingDataError, match="no raw as fine as 2 x 16 x 16"):
        make_datasplit(config, SplitOptions(scale=(2, 16, 16)))


def test_a_class_coarser_than_the_scale_leaves_its_crop_the_others(config, add):
    add("jrc_a", "crop1", er=3)
    add("jrc_a", "crop1", labels=8, mito=3)
    (row,) = make_datasplit(config, SplitOptions(scale=(4, 4, 4))).rows
    assert row.classes == ("er",)


@pytest.fixture
def partly(add):
    """Four crops with both classes, four with one; one of those has too few voxels of the other."""
    for number in range(4):
        add("jrc_a", f"crop{number}", er=9, mito=9)
    for number in range(4, 8):
        add("jrc_a", f"crop{number}", er=9, **({"mito": 2} if number == 7 else {}))


@pytest.mark.usefixtures("partly")
@pytest.mark.parametrize("seed", range(4))
def test_crops_that_lack_a_class_go_where_they_may(config, seed):
    def split(force):
        options = {"classes": ["er", "mito"], "min_voxels": 5, "validation_share": 0.25, "seed": seed}
        return sides(make_datasplit(config, SplitOptions(force_all_classes=force, **options)))

    lacking = {f"crop{number}" for number in range(4, 8)}
    everywhere, training, validating = split(True), split("train"), split("validate")
    assert set(everywhere) == {f"crop{number}" for number in range(4)}
    assert set(everywhere.values()) == {"train", "validate"}
    assert {training[crop] for crop in lacking} == {"validate"}
    assert "train" in training.values()
    assert {validating[crop] for crop in lacking} == {"train"}
    assert "validate" in validating.values()


@pytest.mark.usefixtures("partly")
def test_crops_left_out_for_a_class_name_it(config):
    split = make_datasplit(config, SplitOptions(classes=["er", "mito"], force_all_classes=True, min_voxels=5))
    assert {problem.where for problem in split.left_out} == {f"jrc_a/crop{number}" for number in range(4, 8)}
    assert all("lacks mito" in problem.what for problem in split.left_out)


@pytest.mark.parametrize("seed", range(5))
def test_data_sets_stay_together(config, add, seed):
    for dataset in range(5):
        for crop in range(3):
            add(f"jrc_{dataset}", f"crop{dataset}{crop}", er=5)
    split = make_datasplit(config, SplitOptions(group_by="dataset", validation_share=0.2, seed=seed))
    by_dataset = {row.dataset: set() for row in split.rows}
    for row in split.rows:
        by_dataset[row.dataset].add(row.usage)
    assert all(len(usages) == 1 for usages in by_dataset.values())
    assert sorted(usage for usages in by_dataset.values() for usage in usages) == ["train"] * 4 + ["validate"]


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_that_stands_in_two_places_is_on_one_side(config, add, seed):
    for dataset in ("jrc_a", "jrc_copy"):
        for crop in range(4):
            add(dataset, f"crop{crop}", er=5)
    usages = {}
    for row in make_datasplit(config, SplitOptions(validation_share=0.5, seed=seed)).rows:
        usages.setdefault(row.crop, set()).add(row.usage)
    assert all(len(both) == 1 for both in usages.values())
    assert {usage for both in usages.values() for usage in both} == {"train", "validate"}


def test_only_the_crops_and_data_sets_asked_for_are_split(config, add):
    for dataset in ("jrc_a", "jrc_b"):
        for crop in (1, 2):
            add(dataset, f"crop{dataset[-1]}{crop}", er=5)
    split = make_datasplit(config, SplitOptions(datasets=["*_a"], crops=["a1", "b1"]))
    assert list(sides(split)) == ["cropa1"]


def test_raw_in_an_n5_is_found_beside_the_zarr(config, add):
    add("jrc_a", "crop1", er=3)
    raw = config.path("raw", dataset="jrc_a")
    n5 = Path(str(raw).replace(".zarr", ".n5"))
    n5.mkdir(parents=True)
    (n5 / "attributes.json").write_text("{}")
    for file in [path for path in raw.rglob("*") if path.is_file()]:
        file.unlink()
    (row,) = make_datasplit(config).rows
    assert Path(row.raw) == n5


def test_a_misspelt_class_is_named_and_one_of_ones_own_is_not_refused(config, add):
    add("jrc_a", "crop1", my_class=3)
    assert make_datasplit(config, SplitOptions(classes=["my_class"])).rows[0].classes == ("my_class",)
    with pytest.raises(UnknownClassError, match="did you mean mito"):
        make_datasplit(config, SplitOptions(classes=["my_class", "mitto"]))


def test_all_options_that_are_wrong_are_named_together():
    with pytest.raises(ProblemsError) as caught:
        SplitOptions(validation_share=2, group_by="cell", force_all_classes="both", scale=(0, 8, 8))
    for name in ("validation_share", "group_by", "force_all_classes", "scale", "classes"):
        assert name in str(caught.value)


def test_templates_are_split_as_settings_are(config, add):
    for crop in range(4):
        add("jrc_a", f"crop{crop}", er=5)
    assert make_datasplit(CropTemplates.below(config)) == make_datasplit(config)
