from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, ProblemsError
from csc_data.formats.writing import create_array, ensure_groups
from csc_data.geometry import Grid
from csc_data.splits.crops import annotated_crops, find_crops, validation_crops
from csc_data.splits.search import CropTemplates
from csc_data.splits.split_file import SplitRow, read_datasplit, write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.volumes import write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(6, 6, 6))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    return Config(data=str(tmp_path / "data"))


@pytest.fixture
def add(config: Config) -> Callable[..., None]:
    """Add an annotated crop: voxels present by class."""

    def add_crop(dataset: str, crop: str, raw: bool = True, **voxels: int) -> None:
        if raw:
            ensure_groups(config.path("raw", dataset=dataset))
        for name, count in voxels.items():
            data = np.zeros(GRID.shape, "u1")
            data.ravel()[:count] = 3
            folder = config.path("labels", dataset=dataset, crop=crop, class_name=name)
            write_multiscale(folder, [data], [GRID], chunks=(4, 4, 4))

    return add_crop


def test_crops_are_found_with_what_they_hold_in_natural_order(config, add):
    add("jrc_b", "crop10", er=3)
    add("jrc_b", "crop9", er=0, mito=216)
    add("jrc_a", "crop100", nuc=1)
    crops, left_out = find_crops(CropTemplates.below(config))
    assert [(crop.dataset, crop.crop) for crop in crops] == [
        ("jrc_a", "crop100"),
        ("jrc_b", "crop9"),
        ("jrc_b", "crop10"),
    ]
    assert [dict(crop.voxels) for crop in crops] == [{"nuc": 1}, {"er": 0, "mito": 216}, {"er": 3}]
    assert Path(crops[0].raw) == config.path("raw", dataset="jrc_a").absolute()
    assert left_out == []


def test_crops_that_cannot_be_used_are_left_out_with_the_reason(config, add):
    add("jrc_a", "crop1", er=3)
    add("jrc_a", "crop2", nuc=3)
    add("jrc_noraw", "crop3", raw=False, er=3)
    add("jrc_a", "crop4", er=3)
    damaged = config.path("labels", dataset="jrc_a", crop="crop4", class_name="er") / "s0" / "0" / "0" / "0"
    damaged.write_bytes(b"damaged")
    crops, left_out = find_crops(CropTemplates.below(config), ["er"])
    assert [crop.crop for crop in crops] == ["crop1"]
    said = {problem.where: problem.what for problem in left_out}
    assert "has none of the classes (annotated are nuc)" in said["jrc_a/crop2"]
    assert "has no raw data" in said["jrc_noraw/crop3"]
    assert "chunk" in said["jrc_a/crop4/er"]


def test_the_array_of_all_classes_is_no_class(config, add):
    add("jrc_a", "crop1", er=3, all=9)
    assert set(find_crops(CropTemplates.below(config))[0][0].voxels) == {"er"}


def test_counting_does_not_write(config, add):
    add("jrc_a", "crop1", er=3)
    before = {p: p.stat().st_mtime_ns for p in config.root.rglob("*")}
    find_crops(CropTemplates.below(config))
    assert {p: p.stat().st_mtime_ns for p in config.root.rglob("*")} == before


def test_other_layouts_are_found_by_their_template(tmp_path):
    config = Config(data=str(tmp_path), raw="em/{dataset}", labels="truth/{dataset}/{crop}/{class_name}")
    ensure_groups(tmp_path / "em" / "x")
    array = create_array(
        tmp_path / "truth" / "x" / "crop1" / "er",
        shape=(2, 2, 2),
        dtype="u1",
        chunks=(2, 2, 2),
        attributes={"voxel_size": [8, 8, 8]},
    )
    array[...] = 1
    (crop,), _ = find_crops(CropTemplates.below(config))
    assert (crop.dataset, crop.crop, dict(crop.voxels)) == ("x", "crop1", {"er": 8})


def test_no_folder_and_no_crops_are_different_words(config):
    with pytest.raises(MissingDataError, match="holds no annotated crop"):
        find_crops(CropTemplates.below(config))
    with pytest.raises(MissingDataError, match="no data folder"):
        make_datasplit(Config(data=str(config.root / "none")))


def test_a_split_comes_back_from_its_file_and_counts_its_sides(config, add, tmp_path):
    for number in range(6):
        add("jrc_a", f"crop{number}", er=10 + number, mito=number % 2 * 5)
    split = make_datasplit(config, SplitOptions(validation_share=0.34, seed=1))
    write_datasplit(tmp_path / "split.csv", split.rows)
    assert read_datasplit(tmp_path / "split.csv") == split.rows
    assert len({row.crop for row in split.rows}) == len(split.rows) == 6
    assert split.crops["er"] == {"train": 4, "validate": 2}
    assert min(split.crops["mito"].values()) >= 1
    assert sum(split.voxels["er"].values()) == 75
    assert sum(split.voxels["mito"].values()) == 15
    assert make_datasplit(config, SplitOptions(validation_share=0.34, seed=1)) == split
    assert split.left_out == ()


def test_too_few_voxels_do_not_count_as_having_a_class(config, add):
    for number, count in enumerate((1, 100, 100)):
        add("jrc_a", f"crop{number}", mito=count)
    split = make_datasplit(config, SplitOptions(min_voxels=50))
    assert split.crops["mito"] == {"train": 1, "validate": 1}
    assert split.voxels["mito"]["train"] + split.voxels["mito"]["validate"] == 201


def test_only_the_classes_asked_for_are_in_the_rows(config, add):
    add("jrc_a", "crop1", er=1, mito=1)
    add("jrc_a", "crop2", nuc=1)
    split = make_datasplit(config, SplitOptions(classes=["mito", "pm"]))
    assert [(row.crop, row.classes) for row in split.rows] == [("crop1", ("mito",))]
    assert split.crops["pm"] == {"train": 0, "validate": 0}
    assert [problem.where for problem in split.left_out] == ["jrc_a/crop2"]


def test_splits_that_cannot_be_made_are_refused(config, add):
    add("jrc_a", "crop1", er=1)
    with pytest.raises(
        MissingDataError, match=r"no crop of .* can be used: .* has none of the classes \(annotated are er\)"
    ):
        make_datasplit(config, SplitOptions(classes=["pm"]))
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(ProblemsError, match="validation_share"):
            SplitOptions(validation_share=share)


def test_validation_crops_lie_where_their_annotations_do(config, add):
    add("jrc_a", "crop7", er=3, mito=2)
    add("jrc_a", "crop8", er=3)

    def row(usage, crop, *classes):
        labels = config.path("labels", dataset="jrc_a", crop=crop, class_name="x").parent
        raw = config.path("raw", dataset="jrc_a")
        return SplitRow(usage=usage, raw=str(raw), labels=str(labels), classes=classes)

    [crop] = validation_crops([row("train", "crop8", "er"), row("validate", "crop7", "er", "mito")])
    assert (crop.crop, crop.dataset, crop.classes, crop.grid) == ("crop7", "jrc_a", ("er", "mito"), GRID)
    with pytest.raises(MissingDataError, match="no validation crop"):
        validation_crops([row("train", "crop8", "er")])


def test_annotated_crops_are_found_by_patterns_with_their_grids(config, add):
    add("jrc_a", "crop7", er=3, mito=2)
    add("jrc_b", "crop8", er=3)
    templates = CropTemplates.below(config)
    assert [crop.crop for crop in annotated_crops(templates)] == ["crop7", "crop8"]
    [crop] = annotated_crops(templates, datasets=["jrc_a"])
    assert (crop.grid, crop.classes) == (GRID, ("er", "mito"))
    assert Path(crop.raw) == config.path("raw", dataset="jrc_a").absolute()
    assert annotated_crops(templates, crops=["9"]) == ()
