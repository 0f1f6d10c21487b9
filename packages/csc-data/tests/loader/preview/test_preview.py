"""The figure of samples: what it draws is where it should be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from csc_data.challenge import label_classes
from csc_data.challenge.colours import class_colour
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.loader.preview.drawing import draw_preview
from csc_data.loader.preview.figure import Panel, choose_styles, paint_panel

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 40, 40))
SIZE = 17
TURNS = {"mirror": True, "rotate": {"axes": {"z": [-180, 180], "y": [-180, 180], "x": [-180, 180]}}}
THRESHOLD = 0.5
NAMES = ("mito", "er", "nuc")
COLOURS = tuple(class_colour(name) for name in NAMES)
GRADIENT = np.array([0.0011, 0.0017, 0.0023])  # of the world's raw, per nm


@pytest.fixture
def rows(world):
    world.write_raw(GRID)
    inner = GRID.window((6, 6, 6), (28, 28, 28))
    world.write_labels("mito", inner)
    world.write_labels("mito", inner, crop="crop2")
    return [world.row(["mito"]), world.row(["mito"], crop="crop2", usage="validate")]


def load(rows, *, flat=False, **options):
    shape = (1 if flat else SIZE, SIZE, SIZE)
    given = {"input_array_info": {"shape": shape, "scale": (8, 8, 8)}, "spatial_transforms": TURNS, "random_seed": 4}
    return get_dataloader(rows, ["mito", "er"], **{"batch_size": 2, **given, **options})


def draw_one(patches, number, path):
    """Return a sample's record and its panel, which ends 12 pixels from the lower edge of the figure."""
    (sample,) = draw_preview(patches, path, first=number, count=1)
    edge = 384 // SIZE * SIZE
    return sample, np.asarray(Image.open(path))[-12 - edge : -12, 12 : 12 + edge]


def is_coloured(picture, colour):
    return (picture == colour).all(axis=-1)


@pytest.mark.parametrize("flat", [False, True])
def test_outlines_lie_where_the_structures_end(world, rows, tmp_path, flat):
    patches = load(rows, flat=flat).train.patches
    outlined = 0
    for number in range(6):
        sample, picture = draw_one(patches, number, tmp_path / "figures" / "preview.png")
        y, x = np.nonzero(is_coloured(picture, COLOURS[0]))
        factor = len(picture) // SIZE
        patch_map = patches.place(sample.number).patch_map
        offset = np.stack([np.zeros(len(y)), (y // factor - SIZE // 2) * 8.0, (x // factor - SIZE // 2) * 8.0])
        at = np.array(sample.shown_nm)[:, None] + patch_map.linear @ offset
        raw = GRADIENT @ (at - world.origin[:, None])
        # Present voxels whose neighbour is absent: at most one step across the border, and half a stored voxel off.
        step = 8 * (np.abs(GRADIENT @ patch_map.linear[:, 1:]).sum() + np.abs(GRADIENT).sum() / 2)
        assert (raw > THRESHOLD - 4 * np.abs(GRADIENT).sum() - 1e-6).all()
        assert (raw < THRESHOLD + step).all()
        outlined += len(y) > 0
    assert outlined >= 4


def test_records_tell_what_the_samples_are(world, rows, tmp_path):
    patches = load(rows).train.patches
    samples = draw_preview(patches, tmp_path / "preview.png", count=12, first=3)
    assert [sample.number for sample in samples] == list(range(3, 15))
    drawn_for = {sample.class_name for sample in samples}
    assert drawn_for == {"mito", None}
    for sample in samples:
        target = patches[sample.number]["output"]
        assert sample.crop == patches.reader.crops[sample.crop_index].name == "x/crop1"
        assert sample.known["mito"] == pytest.approx(1 - np.isnan(target[0]).mean())
        assert sample.present["mito"] == pytest.approx((target[0] == 1).mean())
        assert (sample.known["er"], sample.present["er"]) == (0, 0)
        assert sample.class_name is None or sample.present[sample.class_name] > 0
        middle = patches[sample.number]["input"][0, :, SIZE // 2, SIZE // 2]
        values = GRADIENT @ (np.array([sample.centre_nm, sample.shown_nm]).T - world.origin[:, None])
        assert middle[SIZE // 2] == pytest.approx(values[0], abs=1e-3)
        shown = int(np.abs(middle - values[1]).argmin())
        assert middle[shown] == pytest.approx(values[1], abs=1e-3)
        here = target[0] == 1 if sample.class_name else ~np.isnan(target[0])
        counts = here.sum(axis=(1, 2))
        assert counts[shown] == counts.max()


def test_the_same_samples_give_the_same_bytes(rows, tmp_path):
    loaders = [load(rows), load(rows)]
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for loader, file in zip(loaders, files[:2], strict=True):
        draw_preview(loader.train.patches, file, count=3)
    assert files[0].read_bytes() == files[1].read_bytes()
    draw_preview(loaders[0].train.patches, files[2], count=3, first=1)
    assert files[0].read_bytes() != files[2].read_bytes()
    draw_preview(loaders[0].train.patches, files[2], count=3)  # in place of the one before
    assert files[0].read_bytes() == files[2].read_bytes()
    assert sorted(tmp_path.glob("*.p*")) == files


def test_tiles_of_validation_are_drawn_where_they_lie(rows, tmp_path):
    patches = load(rows, random_validation=True).validation.patches
    samples = draw_preview(patches, tmp_path / "preview.png", count=100)
    assert len(samples) == len(patches) == 8
    assert {sample.class_name for sample in samples} == {None}
    begins = {tuple(np.round(np.array(s.centre_nm) - SIZE * 4).astype(int).tolist()) for s in samples}
    assert begins == {(z, y, x) for z in (48, 184) for y in (48, 184) for x in (48, 184)}
    for sample in samples:
        assert sample.known["mito"] == pytest.approx(1 - np.isnan(patches[sample.number]["output"][0]).mean())
        assert all(48 < p < 272 for p in sample.shown_nm[:1])  # a plane that is known
    with pytest.raises(InvalidArgumentError, match="8 tiles"):
        draw_preview(patches, tmp_path / "none.png", first=8)


@pytest.mark.parametrize("options", [{"count": 0}, {"first": -1}, {"columns": 0}])
def test_numbers_out_of_range_are_refused(rows, tmp_path, options):
    with pytest.raises(InvalidArgumentError, match="at least"):
        draw_preview(load(rows).train.patches, tmp_path / "preview.png", **options)
    assert not (tmp_path / "preview.png").exists()


def test_classes_are_outlined_whatever_the_targets_say(rows, tmp_path):
    plain = draw_preview(load(rows).train.patches, tmp_path / "binary.png", count=3)
    distances = load(rows, targets="signed_distance").train.patches
    assert draw_preview(distances, tmp_path / "distances.png", count=3) == plain
    assert (tmp_path / "distances.png").read_bytes() == (tmp_path / "binary.png").read_bytes()


def panel(targets, *, raw_shape=(16, 16), raw_scale=(8.0, 8.0), target_scale=(8.0, 8.0)):
    raw = np.full(raw_shape, 0.5, dtype=np.float32)
    return Panel(raw=raw, raw_scale=raw_scale, targets=targets, target_scale=target_scale, caption=())


def paint(given, classes=NAMES):
    classes = classes[: len(given.targets)]
    return paint_panel(given, classes, choose_styles(classes), (0.0, 1.0))


def test_an_outline_is_the_innermost_rim_of_what_is_present():
    targets = np.zeros((1, 16, 16), dtype=np.float32)
    targets[0, 4:10, 5:13] = 1
    picture = paint(panel(targets))
    factor = len(picture) // 16
    rim = np.zeros(picture.shape[:2], dtype=bool)
    rim[4 * factor : 10 * factor, 5 * factor : 13 * factor] = True
    rim[4 * factor + 3 : 10 * factor - 3, 5 * factor + 3 : 13 * factor - 3] = False
    np.testing.assert_array_equal(is_coloured(picture, COLOURS[0]), rim)
    assert (picture[~rim] == 128).all()


def test_outlines_of_classes_with_one_border_lie_side_by_side():
    targets = np.zeros((2, 16, 16), dtype=np.float32)
    targets[:, 4:10, 5:13] = 1
    targets[1, 4:10, 5:8] = 0
    picture = paint(panel(targets))
    factor = len(picture) // 16
    middle = picture[7 * factor]
    row = [index for colour in COLOURS[:2] for index in np.flatnonzero(is_coloured(middle, colour)).tolist()]
    first = [5 * factor, 5 * factor + 1, 5 * factor + 2, 13 * factor - 3, 13 * factor - 2, 13 * factor - 1]
    second = [8 * factor, 8 * factor + 1, 8 * factor + 2, 13 * factor - 6, 13 * factor - 5, 13 * factor - 4]
    assert row == first + second


def test_what_is_unknown_is_hatched_and_has_no_outline():
    targets = np.ones((2, 16, 16), dtype=np.float32)
    targets[:, :, 8:] = np.nan
    targets[1, 8:] = np.nan
    picture = paint(panel(targets))
    half = len(picture) // 2
    assert set(np.unique(picture[:, half:])) == {64, 200}
    for colour in COLOURS[:1]:
        assert not is_coloured(picture, colour).any()
    partly = is_coloured(picture, COLOURS[1])
    assert partly[half:, :half].any()
    partly[half:, :half] = False
    assert not partly.any()


def test_targets_of_another_size_lie_at_their_nm_and_are_framed():
    targets = np.zeros((1, 8, 16), dtype=np.float32)  # 32 by 64 nm in the middle of 128
    targets[0, 2:6, 4:12] = 1
    picture = paint(panel(targets, target_scale=(4.0, 4.0)))
    pixel = len(picture) / 128  # pixels per nm
    y, x = np.nonzero(is_coloured(picture, COLOURS[0]))
    np.testing.assert_allclose([y.min(), y.max() + 1, x.min(), x.max() + 1], np.array([56, 72, 48, 80]) * pixel)
    y, x = np.nonzero(is_coloured(picture, (255, 255, 255)))
    np.testing.assert_allclose([y.min(), y.max() + 1, x.min(), x.max() + 1], np.array([48, 80, 32, 96]) * pixel)


def test_panels_have_the_proportions_of_the_sample_in_nm():
    picture = paint(panel(np.zeros((1, 16, 32), dtype=np.float32), raw_shape=(16, 32), raw_scale=(16.0, 4.0)))
    assert picture.shape[0] == 2 * picture.shape[1]
    large = paint(panel(np.zeros((1, 3000, 10), dtype=np.float32), raw_shape=(3000, 10)))
    assert large.shape[0] <= 800


def test_classes_are_told_apart_as_far_as_styles_reach():
    few = [f"c{number}" for number in range(21)]
    assert len(set(choose_styles(few).values())) == 21
    known = list(label_classes())
    assert len(set(choose_styles(known).values())) == len(known)
    targets = np.zeros((9, 16, 16), dtype=np.float32)
    targets[8, 4:10, 5:13] = 1
    picture = paint(panel(targets), tuple(few[:9]))
    outline = is_coloured(picture, class_colour(few[8]))
    factor = len(picture) // 16
    assert 0.4 < outline[4 * factor, 5 * factor : 13 * factor].mean() < 0.6  # dashes
