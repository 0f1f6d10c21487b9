from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from csc_data.blocks import Ledger
from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError, ProblemsError
from csc_data.volumes import open_volume
from csc_data.volumes.stored_values import StoredValues
from csc_submit import ProcessSettings, process


def result_of(config, class_name="mito", crop="crop7"):
    return open_volume(config.path("processed", dataset="x", crop=crop, class_name=class_name)).levels[0]


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def whole(probabilities: np.ndarray, *, smoothing=0.0, opening=0.0, holes=False, smallest=0) -> np.ndarray:
    """What process must give, written with whole-volume functions of scipy and cc3d; nm are voxels of 8 nm."""
    values = probabilities.astype(np.float32)
    if smoothing:
        values = ndimage.gaussian_filter(values, smoothing / 8, mode="nearest", truncate=3.0)
    mask = values > 0.5
    if opening:
        z, y, x = np.mgrid[-8:9, -8:9, -8:9]
        ball = 64 * (z**2 + y**2 + x**2) <= opening**2
        core = ndimage.binary_erosion(mask, ball, border_value=1)
        mask = ndimage.binary_dilation(core, ball)
    if holes:
        mask = ndimage.binary_fill_holes(mask)
    labels = cc3d.connected_components(mask.view(np.uint8), connectivity=26)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = np.isin(labels, np.flatnonzero(sizes >= smallest)) & (labels > 0)
    return cc3d.connected_components(kept.view(np.uint8), connectivity=26)


@pytest.mark.parametrize(
    "steps",
    [
        {},
        {"smallest": 30},
        {"holes": True},
        {"smoothing": 10.0},
        {"smoothing": 8.0, "opening": 9.0, "holes": True, "smallest": 10},
    ],
)
@pytest.mark.parametrize("block_shape", [(16, 16, 16), (7, 50, 13), (128, 128, 128)])
def test_every_block_shape_gives_what_the_whole_volume_gives(config, write_prediction, make_blobs, steps, block_shape):
    probabilities = make_blobs((40, 33, 50), sigma=1.5)
    write_prediction(probabilities.astype("f4"), kind="probability")
    result = process(
        ProcessSettings(
            block_shape=block_shape,
            smoothing_nm=steps.get("smoothing", 0.0),
            opening_nm=steps.get("opening", 0.0),
            fill_holes=steps.get("holes", False),
            min_voxels=steps.get("smallest", 0),
        ),
        config=config,
    )
    expected = whole(probabilities, **steps)
    stored = np.asarray(result_of(config).array[...])
    np.testing.assert_array_equal(stored > 0, expected > 0)
    # Ids are numbered by the first voxel in the order z, y, x; so are those of a whole-volume scan.
    first = {int(i): int(np.flatnonzero(expected == i)[0]) for i in range(1, int(expected.max()) + 1)}
    for number, (_, place) in enumerate(sorted(first.items(), key=lambda item: item[1]), start=1):
        assert stored.ravel()[place] == number
    pairs = np.unique(np.stack([stored.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == expected.max() + 1  # one to one, background included
    assert result.rows[0].instances == expected.max() > 0
    assert result.rows[0].voxels == (expected > 0).sum()


def test_a_semantic_class_is_a_mask_and_an_instance_class_has_the_smallest_type_for_its_ids(config, write_prediction):
    data = np.zeros((1, 60, 60), "u1")
    data[:, ::2, ::2] = 255  # 900 objects
    for name in ("mito", "er"):
        write_prediction(data, name, kind="probability", one=255)
    rows = {row.class_name: row for row in process(ProcessSettings(), config=config).rows}
    assert (rows["mito"].instances, rows["er"].instances) == (900, None)
    assert result_of(config, "mito").dtype == np.uint16
    assert int(result_of(config, "mito").array[...].max()) == 900
    assert result_of(config, "er").dtype == np.uint8
    assert int(result_of(config, "er").array[...].max()) == 1


def test_logits_and_probabilities_of_the_same_prediction_give_the_same_masks(config, write_prediction, make_blobs):
    probabilities = np.clip(make_blobs((20, 20, 20)), 1e-4, 1 - 1e-4)
    write_prediction(probabilities.astype("f4"), "er", kind="probability")
    write_prediction(np.log(probabilities / (1 - probabilities)).astype("f4"), "pm", kind="logit")
    process(ProcessSettings(threshold=0.6), config=config)
    er, pm = (result_of(config, name).array[...] for name in ("er", "pm"))
    np.testing.assert_array_equal(er, probabilities > 0.6)
    np.testing.assert_array_equal(er, pm)


def test_ids_that_are_there_stay_apart_where_they_touch(config, write_prediction):
    labels = np.zeros((10, 10, 20), "i8")
    labels[2:8, 2:8, 2:10], labels[2:8, 2:8, 10:18] = 2**40, 5
    labels[0, 0, 0] = 5  # a piece of its own
    write_prediction(labels, kind="label")
    result = process(ProcessSettings(block_shape=(16, 16, 4)), config=config)
    stored = np.asarray(result_of(config).array[...])
    assert result.rows[0].instances == 3
    assert [stored[0, 0, 0], stored[5, 5, 5], stored[5, 5, 15]] == [1, 2, 3]
    assert stored.dtype == np.uint8


def test_the_result_lies_on_the_grid_of_the_prediction_and_says_that_it_holds_labels(config, write_prediction):
    folder = write_prediction(np.full((9, 8, 7), 0.9, "f4"), "er", voxel_size=(4.0, 3.24, 3.24))
    process(ProcessSettings(), config=config)
    assert result_of(config, "er").grid == open_volume(folder).levels[0].grid
    attributes = open_volume(config.path("processed", dataset="x", crop="crop7", class_name="er")).attributes
    assert StoredValues.from_attributes(attributes) == StoredValues(kind="label")


def test_sizes_in_nm3_use_the_voxel_size(config, write_prediction):
    data = np.zeros((8, 8, 8), "u1")
    data[0, 0, :4], data[4, 4, :5] = 1, 1
    write_prediction(data, voxel_size=(10.0, 10.0, 2.0))
    result = process(ProcessSettings(min_size_nm3={"mito": 1000.0}), config=config)
    assert (result.rows[0].instances, result.rows[0].voxels) == (1, 5)


EXPERIMENT = """
from scipy import ndimage

classes = ["mito"]
block_shape = (16, 16, 16)
process_halo = (6, 6, 6)
radius = 2

def process_func(x):
    return ndimage.uniform_filter(x, 2 * radius + 1) > 0.5
"""


def test_an_experiment_file_with_a_process_func_sees_a_halo(tmp_path, config, write_prediction, make_blobs):
    probabilities = make_blobs((30, 30, 40)).astype("f4")
    write_prediction(probabilities, kind="probability")
    file = tmp_path / "process_3D.py"
    file.write_text(EXPERIMENT)
    process(file, config=config)
    expected = ndimage.uniform_filter(probabilities, 5) > 0.5
    np.testing.assert_array_equal(result_of(config).array[...] > 0, expected)


def test_resuming_with_another_process_func_or_value_in_it_is_refused(tmp_path, config, write_prediction):
    write_prediction(np.full((8, 8, 8), 0.9, "f4"), kind="probability")
    file = tmp_path / "process_3D.py"
    file.write_text(EXPERIMENT)
    process(file, config=config)
    assert process(file, config=config).rows[0].status == "there"
    file.write_text(EXPERIMENT.replace("radius = 2", "radius = 1"))
    with pytest.raises(ExistingOutputError, match="process_func"):
        process(file, config=config)
    assert process(file, config=config, existing="overwrite").rows[0].status == "done"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x[1:] > 0.5, "keep the shape"),
        (lambda x: x * 7, "beyond"),
        (lambda x: np.arange(x.size).reshape(x.shape), "ids"),
        (lambda x: -np.ones(x.shape, int), "must return"),
    ],
)
def test_a_process_func_that_returns_nonsense_fails_that_array_with_a_reason(config, write_prediction, function, words):
    write_prediction(np.full((20, 20, 20), 0.9, "f4"), kind="probability")
    result = process(ProcessSettings(process_func=function, block_shape=(16, 16, 16)), config=config)
    assert [row.status for row in result.failed] == ["failed"]
    assert words in result.failed[0].reason


def test_a_process_func_is_told_the_class_and_voxel_size_if_it_asks(config, write_prediction):
    write_prediction(np.full((4, 4, 4), 0.9, "f4"), "er", kind="probability")
    seen = []

    def process_func(x, class_name, *, voxel_size):
        seen.append((class_name, voxel_size, x.dtype))
        return x > 0.5

    process(ProcessSettings(process_func=process_func), config=config)
    assert seen == [("er", (8.0, 8.0, 8.0), np.float32)]


def test_ids_of_a_process_func_hold_when_one_block_is_the_whole_crop(config, write_prediction):
    write_prediction(np.full((4, 4, 8), 0.9, "f4"), kind="probability")

    def process_func(x):
        labels = np.ones(x.shape, int)
        labels[..., 4:] = 9
        return labels

    result = process(ProcessSettings(process_func=process_func), config=config)
    assert result.rows[0].instances == 2


def test_one_damaged_array_does_not_stop_the_others(config, write_prediction):
    for name in ("er", "mito"):
        write_prediction(np.full((8, 8, 8), 200, "u1"), name, kind="probability", one=255)
    chunk = config.path("predictions", dataset="x", crop="crop7", class_name="er") / "s0" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    result = process(ProcessSettings(classes=("er", "mito", "pm")), config=config)
    assert {row.class_name: row.status for row in result.rows} == {"er": "failed", "mito": "done", "pm": "missing"}
    assert "is damaged" in result.failed[0].reason
    assert not config.path("processed", dataset="x", crop="crop7", class_name="er").exists()


def test_predictions_that_are_half_written_are_not_processed(config, write_prediction):
    for name in ("er", "pm"):
        folder = write_prediction(np.full((8, 8, 8), 0.9, "f4"), name, kind="probability")
    ledger = Ledger(folder.parent / ".x-crop7.ledger", {"classes": ["er", "mito"]})
    ledger.start()
    result = process(ProcessSettings(), config=config)
    assert {row.class_name: row.status for row in result.rows} == {"er": "failed", "pm": "done"}
    assert "csc predict" in result.failed[0].reason
    ledger.complete()
    assert not process(ProcessSettings(), config=config).failed


def test_existing_results_are_kept_refused_or_replaced_as_asked(config, write_prediction):
    write_prediction(np.full((8, 8, 8), 0.9, "f4"), "er", kind="probability")
    process(ProcessSettings(), config=config)
    with pytest.raises(ExistingOutputError):
        process(ProcessSettings(), config=config, existing="refuse")
    write_prediction_again = config.path("predictions", dataset="x", crop="crop7", class_name="er")
    open_for_change = write_prediction_again / "s0" / "0" / "0" / "0"
    open_for_change.unlink()  # a missing chunk is zeros: the prediction is another one now
    with pytest.raises(ExistingOutputError, match="prediction"):
        process(ProcessSettings(), config=config)
    assert result_of(config, "er").array[...].all()
    process(ProcessSettings(), config=config, existing="overwrite")
    assert not result_of(config, "er").array[...].any()


def test_unfinished_work_of_another_kind_is_refused_before_anything_is_done(config, write_prediction):
    for name in ("er", "pm"):
        write_prediction(np.full((8, 8, 8), 0.9, "f4"), name, kind="probability")
    place = config.path("processed", dataset="x", crop="crop7", class_name="pm")
    Ledger(place.with_name(".pm.part") / "mask.ledger", {"version": 0}).start()
    with pytest.raises(ExistingOutputError, match="overwrite"):
        process(ProcessSettings(), config=config)
    assert not place.with_name("er").exists()
    assert not process(ProcessSettings(), config=config, existing="overwrite").failed


def test_crops_are_chosen_by_id_name_and_pattern(config, write_prediction):
    for crop in ("crop7", "crop12", "crop13"):
        write_prediction(np.full((4, 4, 4), 0.9, "f4"), "er", crop=crop, kind="probability")
    result = process(ProcessSettings(), config=config, crops=["7", "crop13"])
    assert [row.crop for row in result.rows] == ["crop7", "crop13"]
    with pytest.raises(MissingDataError, match=r"crop99.*crop7, crop12, crop13"):
        process(ProcessSettings(), config=config, crops=["99"])
    assert len(process(ProcessSettings(), config=config, crops=["crop1*"]).rows) == 2


def test_nothing_to_do_is_an_error(config, write_prediction):
    with pytest.raises(MissingDataError, match="no predictions"):
        process(ProcessSettings(), config=config)
    write_prediction(np.zeros((4, 4, 4), "u1"), "er")
    with pytest.raises(MissingDataError, match=r"mito was predicted; there are er"):
        process(ProcessSettings(classes=("mito",)), config=config)


def test_predictions_of_another_experiment_are_processed_only_where_that_is_said(config, write_prediction, tmp_path):
    folder = write_prediction(np.full((8, 8, 8), 255, np.uint8), kind="probability", one=255)
    attributes = json.loads((folder / ".zattrs").read_text("utf-8"))
    attributes["csc_prediction"] = {"checkpoints": [{"file": "one_3.pth", "model_name": "one"}]}
    (folder / ".zattrs").write_text(json.dumps(attributes), "utf-8")
    for name, text in (("one", ""), ("two", ""), ("third", "checkpoint = 'one_3.pth'\n")):
        (tmp_path / f"{name}.py").write_text(f"model_name = {name!r}\n{text}", "utf-8")
    with pytest.raises(ExistingOutputError, match=r"by the network one .* this one is two: .*\(-e\); -i PATH"):
        process(tmp_path / "two.py", config=config)
    for file, options in (
        ("one.py", {}),
        ("third.py", {}),
        ("two.py", {"input_path": config.root / "predictions" / "{dataset}.zarr" / "{crop}"}),
    ):
        result = process(tmp_path / file, config=config, existing="overwrite", **options)
        assert [row.status for row in result.rows] == ["done"]


def test_places_of_predictions_and_results_are_told_apart_by_data_set_and_crop(config):
    for option in ("input_path", "output_path"):
        with pytest.raises(InvalidArgumentError, match=rf"{option} must hold .*\{{dataset\}}"):
            process(ProcessSettings(), config=config, **{option: "elsewhere/{crop}"})


def test_settings_made_in_code_are_checked_too(config, write_prediction):
    write_prediction(np.zeros((4, 4, 4), "u1"), "er")
    with pytest.raises(ProblemsError) as caught:
        process(ProcessSettings(classes=("mitos",), threshold=1.5, min_voxels={"er": -1}), config=config)
    assert {problem.where for problem in caught.value.problems} == {"classes", "threshold", "min_voxels.er"}


def test_progress_ends_at_all_and_never_goes_back(config, write_prediction, make_blobs):
    for name in ("mito", "er"):
        write_prediction(make_blobs((40, 40, 40)).astype("f4"), name, kind="probability")
    calls = []
    process(
        ProcessSettings(block_shape=(16, 16, 16), fill_holes=True),
        config=config,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == sorted(calls)
    assert len({total for _, total in calls}) == 1
    assert calls[-1][0] == calls[-1][1]


def test_threads_give_the_same_bytes(config, write_prediction, make_blobs):
    write_prediction(make_blobs((60, 50, 40)).astype("f4"), kind="probability")
    options = ProcessSettings(block_shape=(16, 16, 16), smoothing_nm=8.0, fill_holes=True, min_voxels=5)
    place = config.path("processed", dataset="x", crop="crop7", class_name="mito")
    process(options, config=config)
    alone = files_of(place)
    with ThreadPoolExecutor(2) as executor:
        process(options, config=config, existing="overwrite", executor=executor)
    assert files_of(place) == alone


SCRIPT = """
import sys, time
import numpy as np
from csc_data.config.user_config import Config
from csc_submit import ProcessSettings, process

def process_func(x):
    with open(sys.argv[2], "a") as log:
        log.write("block\\n")
    time.sleep(0.02)
    return x > 0.5

def report(done, total):
    print(done, total, flush=True)

if __name__ == "__main__":
    options = ProcessSettings(
        process_func=process_func, block_shape=(16, 16, 16), process_halo=(2, 2, 2), fill_holes=True, min_voxels=4
    )
    process(options, config=Config(data=sys.argv[1]), progress=report)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_started_again_gives_the_same_bytes_and_repeats_no_block(
    tmp_path, config, write_prediction, make_blobs
):
    write_prediction(make_blobs((48, 48, 48), sigma=1.5).astype("f4"), kind="probability")
    script, log = tmp_path / "run.py", tmp_path / "log"
    script.write_text(textwrap.dedent(SCRIPT))
    place = config.path("processed", dataset="x", crop="crop7", class_name="mito")
    command = [sys.executable, str(script), str(config.root), str(log)]

    subprocess.run(command, check=True, capture_output=True)
    untouched = files_of(place)
    blocks = log.read_text().count("block")
    assert blocks == 27
    for file in sorted(place.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    place.rmdir()
    log.unlink()

    kills = 0
    for stop_at in (5, 60, 120):  # in the middle of each stage
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        for line in run.stdout:
            if int(line.split()[0]) >= stop_at:
                os.kill(run.pid, signal.SIGKILL)
                kills += 1
                break
        run.stdout.close()
        run.wait()
        assert not place.exists()
    subprocess.run(command, check=True, capture_output=True)
    assert kills == 3
    assert files_of(place) == untouched
    # At most the block under way at each kill is done twice.
    assert blocks <= log.read_text().count("block") <= blocks + kills
    assert sorted(p.name for p in place.parent.iterdir()) == [".zgroup", "mito"]
