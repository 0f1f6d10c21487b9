"""What is scored in memory, from tables or not, is what processing, packing and scoring the files gives."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from csc_data.challenge import get_instance_classes
from csc_data.splits.split_file import read_datasplit
from csc_data.volumes import open_volume
from csc_eval import DEFINITION, score_submission
from csc_eval.scoring.validation_truth import build_validation_truth
from csc_submit import ProcessSettings, pack_results, process
from csc_submit.steps.declared import MutexWatershed
from csc_submit.tuning.crops import find_validation_crops
from csc_submit.tuning.one_class import predictions_read
from csc_submit.tuning.scores import scoring, tables
from csc_submit.tuning.scores.dividing import whole
from csc_submit.tuning.scores.held import hold_crop, read_truth
from csc_submit.tuning.scores.scoring import ClassScorer

LEVELS = (0.02, 0.3, 0.5, 0.64)


def annotated_blobs(make_blobs, shape, seed, *, ids):
    values = make_blobs(shape, seed=seed, sigma=1.8)
    mask = values > np.quantile(values, 0.9)
    return ndimage.label(mask)[0].astype(np.uint8) if ids else mask.astype(np.uint8)


@pytest.fixture
def scored(world, write_prediction, make_blobs, network):
    """Two crops of a class: one predicted on its own grid, moved and cut short, one at another voxel size."""

    def make(class_name, *, kind="probability", dtype="u1", ids=False):
        for number, (fine, shape) in enumerate([(1, (20, 22, 24)), (2, (28, 30, 32))]):
            truth = annotated_blobs(make_blobs, shape, number, ids=ids)
            truth[:, :4] = 255  # nobody looked there
            size = 8.0 / fine
            world.annotate(7 + number, {class_name: truth}, voxel_size=(size,) * 3)
            known = np.where(truth == 255, 0, truth)
            values = network(known[::fine, ::fine, ::fine], number, noise=1.5)
            values = values[:-3] if fine == 1 else values
            place = {"crop": f"crop{7 + number}", "translation": (112.0, 196.0, 304.0 + size / 4)}
            if dtype == "u1":
                write_prediction(values, class_name, kind=kind, one=255.0, **place)
            else:
                scaled = values / 255 if kind == "probability" else values / 40 - 3
                stored = scaled.astype(dtype)
                stored[2, 3, 4:9] = np.nan
                write_prediction(stored, class_name, kind=kind, **place)
        return world.config

    return make


def in_memory(config, class_name, settings):
    crops = find_validation_crops(read_datasplit(config.path("datasplit")), config)
    others = predictions_read(settings, class_name, crops)
    truths = [read_truth(crop, class_name, instance=class_name in get_instance_classes()) for crop in crops]
    held = [
        hold_crop(crop, class_name, others, settings, (truth, whole(truth.target.shape)))
        for crop, truth in zip(crops, truths, strict=True)
    ]
    return ClassScorer(class_name, held, settings, LEVELS)


def on_disk(config, class_name, settings):
    process(settings, config=config, existing="overwrite")
    packed = pack_results(config=config, existing="overwrite")
    truth = config.path("ground_truth")
    if not truth.exists():
        build_validation_truth(config.path("datasplit"), truth)
    score = score_submission(packed.archive, truth, rules=DEFINITION)
    return {crop: labels[class_name] for crop, labels in score.crops.items()}


def assert_same(config, class_name, scorer, settings):
    expected = on_disk(config, class_name, settings)
    for part, found in scorer.score(settings).items():
        wanted = expected[part.removeprefix("x/").removesuffix("#0")]
        for name in ("tp", "fp", "fn", "hausdorff_norm_sum", "n_hausdorff", "score"):
            assert getattr(found, name) == getattr(wanted, name), (part, name, settings)
    return expected


@pytest.mark.parametrize(
    ("kind", "dtype"), [("probability", "u1"), ("probability", "f4"), ("logit", "f2"), ("distance", "f4")]
)
def test_thresholds_of_a_mask_from_one_count_are_those_of_files(scored, kind, dtype, monkeypatch):
    config = scored("er", kind=kind, dtype=dtype)
    scorer = in_memory(config, "er", ProcessSettings())
    seen = set()
    for threshold, smoothing in itertools.product(LEVELS, (0.0, 8.0)):
        settings = ProcessSettings(threshold=threshold, smoothing_nm=smoothing)
        seen |= {score.tp for score in assert_same(config, "er", scorer, settings).values()}
    assert len(seen) > 8  # not all alike
    # A threshold more costs no reading, filtering or placing.
    monkeypatch.setattr(tables, "_placed", None)
    monkeypatch.setattr(scoring, "process_arrays", None)
    assert all(score.tp for score in scorer.score(ProcessSettings(threshold={"er": LEVELS[1]})).values())


def test_objects_by_affinities_are_those_of_files(scored, write_prediction):
    config = scored("mito", ids=True)
    for number in (7, 8):
        folder = config.path("predictions", dataset="x", crop=f"crop{number}", class_name="mito")
        level = open_volume(folder).levels[0]
        stored = level.array[...]
        for axis, name in enumerate(MutexWatershed().channels("mito")):
            both = np.minimum(stored, np.roll(stored, 1, axis))
            place = {"crop": f"crop{number}", "translation": level.grid.translation}
            write_prediction(both, name, kind="probability", one=255.0, **place)
    found = []
    for level in (0.2, 0.5):
        steps = {"mito": ["threshold", {"name": "mutex_watershed", "level": level}]}
        settings = ProcessSettings(classes=("mito",), threshold=0.3, steps=steps)
        scorer = in_memory(config, "mito", settings)
        found.append({(score.tp, score.fp) for score in assert_same(config, "mito", scorer, settings).values()})
    assert found[0] != found[1]


def test_sizes_and_thresholds_of_objects_are_those_of_files(scored, monkeypatch):
    config = scored("mito", ids=True)
    scorer = in_memory(config, "mito", ProcessSettings())
    counts = set()
    for threshold, size in itertools.product((0.3, 0.5), (0.0, 5e3, 3e4)):
        settings = ProcessSettings(threshold=threshold, min_size_nm3=size, fill_holes=True)
        counts |= {(score.tp, score.fp) for score in assert_same(config, "mito", scorer, settings).values()}
    assert len(counts) > 6
    # A size more costs no labelling.
    monkeypatch.setattr(scoring, "process_arrays", None)
    assert scorer.score(ProcessSettings(threshold=0.3, min_size_nm3=1e4, fill_holes=True))


@pytest.mark.parametrize(
    ("class_name", "settings"),
    [
        ("er", ProcessSettings(min_voxels=30, threshold=0.3)),
        ("er", ProcessSettings(opening_nm=8.0, fill_holes=True)),
        ("er", ProcessSettings(instance_classes=["er"])),
        ("mito", ProcessSettings(instance_classes=[], min_voxels=20)),
        ("mito", ProcessSettings(connectivity=6, min_voxels=20)),
        ("mito", ProcessSettings(steps=["threshold", {"name": "size_filter", "min_nm3": 1e4, "max_nm3": 1e6}])),
        (
            "mito",
            ProcessSettings(
                steps=["threshold", {"name": "remove_small", "voxels": 9}, {"name": "closing", "radius_nm": 8}]
            ),
        ),
    ],
)
def test_what_no_table_has_is_really_done(scored, class_name, settings):
    config = scored(class_name, ids=class_name == "mito")
    assert_same(config, class_name, in_memory(config, class_name, settings), settings)


def test_steps_that_read_another_class(scored, world, write_prediction, network, make_blobs):
    config = scored("mito", ids=True)
    for crop in (7, 8):
        folder = config.path("predictions", dataset="x", crop=f"crop{crop}", class_name="mito")
        level = open_volume(folder).levels[0]
        values = network(np.asarray(level.array[...]) > 140, 5)
        write_prediction(
            values, "mito_lum", crop=f"crop{crop}", kind="probability", one=255.0, translation=level.grid.translation
        )
    steps = {"mito": ["threshold", {"name": "inside", "of": ["mito_lum"]}, {"name": "remove_small", "voxels": 4}]}
    settings = ProcessSettings(steps=steps, threshold={"mito_lum": 0.3})
    assert_same(config, "mito", in_memory(config, "mito", settings), settings)
