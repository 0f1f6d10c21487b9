"""A submission in one go is that of the stages, whatever ends it on the way, and in as much room as it is given."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import json
import os
import pkgutil
import shutil
import threading

import numpy as np
import pytest

from csc_cli.submission import (
    AlreadyRunningError,
    DiskBudgetError,
    SubmitOptions,
    Watch,
    plan_submission,
)
from csc_cli.submission.disk import used_bytes
from csc_cli.submission.working import SubmitWorkers
from csc_data.challenge.test_crops import FILE_NAME, read_test_crops, write_test_crops
from csc_data.errors import ExistingOutputError, InvalidArgumentError, ProblemsError
from csc_data.executors import ProcessWorkers
from csc_data.formats.writing import create_array
from csc_data.storage.room import DiskFullError
from csc_data.volumes import open_volume
from csc_submit import pack_results, process
from csc_train import predict
from csc_train.prediction import predictor, session

predict_module = importlib.import_module("csc_train.prediction.predict")  # the package has a function of that name


class KilledError(BaseException):
    """Ends a run as nothing of ours would."""


class KilledAfter(Watch):
    """Ends a run after so many of its blocks."""

    def __init__(self, blocks):
        self.left = blocks

    def worked(self, state):
        self.left -= 1
        if not self.left:
            raise KilledError


def test_it_is_what_the_stages_make_and_nothing_else_stays(world, unbroken):
    predict(world.experiment, config=world.config)
    process(world.experiment, config=world.config)
    result = pack_results(config=world.config)
    assert {row.status for row in result.packed} == {"packed"}
    assert unbroken.packed() == world.packed()
    assert unbroken.archive.read_bytes() == world.archive.read_bytes()
    left = {path.name for path in unbroken.config.root.iterdir()}
    assert left == {"a", FILE_NAME, "submission.zarr", "submission.zip", "submission.work"}
    assert [path.name for path in unbroken.work.iterdir()] == ["record.json"]


def test_it_tells_what_is_lacking_and_the_score_where_there_is_a_truth(world, unbroken):
    for number, crop in read_test_crops(world.config.root / FILE_NAME).items():
        for name in crop.classes:
            values = np.ones(crop.shape, "u1")
            if name == "er":
                values = open_volume(unbroken.config.path("submission") / f"crop{number}" / name).levels[0].array[...]
            place = {"voxel_size": crop.voxel_size, "translation": crop.translation}
            folder = world.config.path("ground_truth") / f"crop{number}" / name
            create_array(folder, shape=crop.shape, dtype="u1", chunks=crop.shape, attributes=place)[...] = values
    result = world.submit()
    assert result.archive == world.archive
    assert [(f.cause.name, f.where) for f in result.validation.findings] == [("missing_label", "crop1/nuc")]
    assert result.score.combined.classes["er"].score == 1
    assert result.score.combined.classes["nuc"].score == 0
    assert result.ok
    shutil.rmtree(world.config.path("ground_truth"))
    world.config.path("ground_truth").mkdir()
    unscored = world.submit()
    assert unscored.score is None
    assert "no crops" in unscored.unscored
    assert unscored.ok


def test_it_goes_on_wherever_it_was_ended_with_the_same_bytes(world, unbroken):
    kills = 0
    while True:
        try:
            world.submit(watch=KilledAfter(3 + kills))
        except KilledError:
            kills += 1
        else:
            break
    assert kills > 8
    assert world.packed() == unbroken.packed()
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()
    assert [path.name for path in world.work.iterdir()] == ["record.json"]


PLACES = (
    ("after", "csc_cli.submission.record.SubmitRecord.begin", 1),
    ("before", "csc_cli.submission.record.SubmitRecord.set_stage", 2),
    ("after", "csc_cli.submission.record.SubmitRecord.set_stage", 3),
    ("before", "csc_cli.submission.folders.SubmitFolders.remove_stages", 1),
    ("after", "csc_submit.processing.pipeline.Pipeline._finish", 2),
    ("after", "csc_submit.packing.running.write_packed", 1),
    ("before", "csc_cli.submission.making.write_zip", 1),
    ("after", "csc_cli.submission.making.write_zip", 1),
)


@pytest.mark.parametrize(("when", "place", "number"), PLACES, ids=lambda given: str(given).rsplit(".", 1)[-1])
def test_it_goes_on_from_between_its_steps(world, unbroken, when, place, number, monkeypatch):
    monkeypatch.setattr(place, _killing(place, number, after=when == "after"))
    with pytest.raises(KilledError):
        world.submit()
    monkeypatch.undo()
    assert not world.archive.exists() or world.archive.read_bytes() == unbroken.archive.read_bytes()
    world.submit()
    assert world.packed() == unbroken.packed()
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()


def _killing(place, number, *, after):
    """Return what is to be called in place of a function: it ends the run at its call of that number."""
    function, calls = pkgutil.resolve_name(place), []

    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == number and not after:
            raise KilledError
        result = function(*arguments, **options)
        if len(calls) == number:
            raise KilledError
        return result

    return call


def test_run_again_it_computes_nothing(world, monkeypatch):
    first = world.submit()
    before = world.archive.stat().st_mtime_ns
    monkeypatch.setattr("csc_train.prediction.PredictSession.predict", lambda *_, **__: pytest.fail("predicts"))
    again = world.submit()
    assert world.archive.stat().st_mtime_ns == before
    assert again.validation == first.validation
    assert {crop.crop: crop.there for crop in again.crops} == {crop.crop: crop.packed for crop in first.crops}


def test_another_experiment_is_not_mixed_in_but_overwrites(world):
    world.submit(["1"])
    before = world.packed()
    world.edit('"mito": 20', '"mito": 5')
    with pytest.raises(ExistingOutputError, match=r"mito of crop1 was made with another min_voxels.*overwrite"):
        world.submit()
    world.edit('"mito": 5', '"mito": 20')
    world.edit("device =", "overlap = 0.5\ndevice =")
    with pytest.raises(ExistingOutputError, match=r"(mito|er) of crop1 was made with another .*overlap"):
        world.submit(["2"])
    assert world.packed() == before
    result = world.submit(existing="overwrite")
    assert [len(crop.packed) for crop in result.crops] == [2, 2]
    world.submit()


def test_what_was_only_predicted_is_processed_with_new_settings(world, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("csc_cli.submission.crop.process", _killing("csc_submit.process", 1, after=True))
        with pytest.raises(KilledError):
            world.submit()
    world.edit('"mito": 20', '"mito": 5')
    monkeypatch.setattr("csc_train.prediction.PredictSession.predict", lambda *_, **__: pytest.fail("predicts"))
    result = world.submit(["1"])
    assert result.ok
    monkeypatch.undo()
    world.submit()
    assert '"min_voxels": 5' in (world.work / "record.json").read_text("utf-8")


def test_all_crops_are_made_with_what_the_run_began_with(world, unbroken, monkeypatch):
    class Editing(Watch):
        def finished(self, outcome):
            if outcome.crop == "a/crop1":
                world.edit("device =", "overlap = 0.5\ndevice =")

    loaded = []
    load = predictor.load_predictor
    for module in (predict_module, session):
        monkeypatch.setattr(
            module, "load_predictor", lambda *given, **more: loaded.append(given) or load(*given, **more)
        )
    world.submit(watch=Editing())
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()
    assert len(loaded) == 1


def test_who_works_is_started_once_for_all_crops(world):
    from csc_train.prediction.running.workers import ExecutionOptions

    plan = plan_submission(world.experiment, config=world.config)
    with SubmitWorkers(str(world.experiment), plan, SubmitOptions(workers=2)) as workers:
        assert workers.session.start() is workers.session.start()
        pool = workers.for_processing()["executor"]
        assert workers.for_processing()["executor"] is workers.for_packing()["executor"] is pool
        assert pool is not workers.session.start()
        assert isinstance(pool.executor, ProcessWorkers)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.executor.submit(print)
    with SubmitWorkers(str(world.experiment), plan, SubmitOptions()) as workers:
        assert (workers.for_processing(), workers.for_packing()) == ({}, {"max_workers": os.cpu_count()})
    dask = SubmitOptions(execution=ExecutionOptions(scheduler="tcp://x:1"))
    with SubmitWorkers(str(world.experiment), plan, dask) as workers:
        workers.session.start = lambda: pool
        assert workers.for_processing() == workers.for_packing() == {"executor": pool}


def test_classes_of_several_runs_come_together(world, unbroken):
    world.submit(classes=["mito"])
    result = world.submit(classes=["er"])
    assert result.ok
    assert world.packed() == unbroken.packed()
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()


def test_what_was_packed_otherwise_is_left_alone(world):
    predict(world.experiment, config=world.config)
    process(world.experiment, config=world.config)
    pack_results(config=world.config)
    before = world.packed(), world.archive.read_bytes()
    with pytest.raises(ExistingOutputError, match=r"was not made by this command.*crop1/er"):
        world.submit()
    assert (world.packed(), world.archive.read_bytes()) == before
    assert not world.work.exists()
    world.submit(existing="overwrite")
    with pytest.raises(ExistingOutputError, match="holds crop1/er"):
        world.submit(existing="refuse")


def test_what_is_there_is_used_and_kept_if_asked(world, unbroken, monkeypatch):
    predict(world.experiment, config=world.config)
    kept = world.config.path("predictions", dataset="a", crop="crop1", class_name="mito") / "s0" / "0" / "0" / "0"
    before = kept.stat().st_mtime_ns
    result = world.submit(keep=True)
    assert result.ok
    assert kept.stat().st_mtime_ns == before
    assert world.config.path("processed", dataset="a", crop="crop2", class_name="er").is_dir()
    assert world.packed() == unbroken.packed()


def test_a_crop_that_fails_does_not_cost_the_others_and_is_done_when_it_can_be(world, unbroken):
    crops = read_test_crops(world.config.root / FILE_NAME)
    write_test_crops(world.config.root / FILE_NAME, [dataclasses.replace(crops[1], dataset="b"), crops[2]])
    result = world.submit()
    assert [problem.where for problem in result.problems] == ["b/crop1"]
    assert "no raw data" in result.problems[0].what
    assert not result.ok
    assert result.crops[1].packed == ("er", "mito")
    write_test_crops(world.config.root / FILE_NAME, crops.values())
    result = world.submit()
    assert result.ok
    assert result.crops[1].there == ("er", "mito")
    assert world.packed() == unbroken.packed()


def test_a_class_that_fails_keeps_what_it_was_made_of(world, monkeypatch):
    world.edit("device =", "def process_func(x, class_name):\n    return x if class_name == 'er' else bad\ndevice =")
    result = world.submit(["1"])
    assert [problem.where for problem in result.problems] == ["a/crop1/mito"]
    assert "name 'bad' is not defined" in result.problems[0].what
    assert result.crops[0].packed == ("er",)
    assert (world.work / "predictions" / "a.zarr" / "crop1" / "mito").is_dir()


# ---- room on the disk


class Looking(Watch):
    """Looks all the time how much room a submission takes."""

    def __init__(self, world):
        self.places = [world.config.root / name for name in ("submission.zarr", "submission.zip", "submission.work")]
        self.most, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._ended.wait(0.002):
            self.most = max(self.most, used_bytes(self.places))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def test_no_more_room_is_taken_than_was_given_and_a_crop_s_goes_with_it(world):
    plan = plan_submission(world.experiment, config=world.config)
    alone = [task.bytes for task in plan.tasks]
    with Looking(world) as looking:
        result = world.submit(disk=sum(alone) - 1, watch=looking)
    assert result.ok
    for crop, bound in zip(result.crops, alone, strict=True):
        assert bound / 10 < crop.disk < bound
    assert max(crop.disk for crop in result.crops) <= looking.most < max(alone)


def test_too_little_room_is_told_before_the_first_block_with_what_helps(world):
    plan = plan_submission(world.experiment, config=world.config)
    small = min(task.bytes for task in plan.tasks) - 1
    with pytest.raises(DiskBudgetError, match=r"a/crop1 .*a/crop2 .*take more than .*fewer classes at a time, 1 or so"):
        world.submit(disk=small)
    assert not world.work.exists()
    given = {"output_dtype": "float32", "scales": 2}
    with pytest.raises(DiskBudgetError, match=r"store uint8 .*write one level"):
        world.submit(disk=small, given=given)
    crops = [
        _coarse(crop) for crop in read_test_crops(world.config.root / FILE_NAME).values()
    ]  # predicted as 8 voxels for each
    write_test_crops(world.config.root / FILE_NAME, crops)
    with pytest.raises(DiskBudgetError, match=r"crops' own voxels \(output_grid = 'crop'\)"):
        world.submit(disk=small)


def _coarse(crop):
    return dataclasses.replace(crop, voxel_size=(16, 16, 16), shape=tuple(n // 2 for n in crop.shape))


def test_what_is_packed_leaves_no_room_for_more_and_more_room_goes_on(world, unbroken):
    plan = plan_submission(world.experiment, config=world.config)
    with pytest.raises(DiskBudgetError, match=r"a/crop1 takes up to .* are taken by what is done"):
        world.submit(["2", "1"], disk=plan.tasks[0].bytes)
    assert not world.archive.exists()
    world.submit()
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()


FULL_AT = {
    "predictions": ("zarr.storage.DirectoryStore._tofile", "predictions"),
    "processed": ("zarr.storage.DirectoryStore._tofile", "processed"),
    "packed": ("zarr.storage.DirectoryStore._tofile", "submission.zarr"),
    "folders": ("os.makedirs", "predictions"),
    "records": ("csc_data.storage.atomic.Path.write_text", "record.json"),
    "marks": ("csc_data.blocks.sharing.append_line", "processed"),
    "zip": ("zipfile.ZipFile.writestr", ""),
}


@pytest.mark.parametrize("at", FULL_AT)
def test_a_full_disk_is_told_in_a_line_and_the_same_goes_on_when_there_is_room(world, unbroken, at, monkeypatch):
    place, where = FULL_AT[at]
    function, calls = pkgutil.resolve_name(place), []

    def write(*arguments, **options):
        if where in " ".join(map(str, arguments)):
            calls.append(1)
            if len(calls) > 5 or at == "zip":
                raise OSError(errno.ENOSPC, "No space left on device")
        return function(*arguments, **options)

    monkeypatch.setattr(place, staticmethod(write) if at in ("predictions", "processed", "packed") else write)
    with pytest.raises(DiskFullError, match=r"no space is left on the disk.*it goes on where it stopped") as caught:
        world.submit()
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    world.submit()
    assert world.packed() == unbroken.packed()
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()
    assert [path.name for path in world.work.iterdir()] == ["record.json"]


# ---- others at the same time, and wrong use


def test_a_second_run_says_that_there_is_a_first_and_ends(world, unbroken):
    said = []

    class Again(Watch):
        def worked(self, state):
            if not said:
                with pytest.raises(AlreadyRunningError, match=r"process \d+ on .* makes this submission"):
                    world.submit()
                said.append(1)

    world.submit(watch=Again())
    assert said
    assert world.archive.read_bytes() == unbroken.archive.read_bytes()


def test_wrong_use_is_told(world, tmp_path):
    for options, words in (
        ({"disk": 0}, "disk must be 1 or more"),
        ({"destination": tmp_path / "x"}, "must end in .zarr"),
        ({"given": {"classes": ["er"]}}, "is not set here"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            SubmitOptions(**options)
    with pytest.raises(ProblemsError, match="min_voxels"):
        world.submit(given={"min_voxels": -1})
    with pytest.raises(ProblemsError, match="overlap"):
        world.submit(given={"overlapp": 0.5})
    with pytest.raises(InvalidArgumentError, match="nuc"):
        world.submit(classes=["nuc"])
    assert not world.work.exists()


def test_a_destination_outside_the_data_folder_is_made_alike(world, unbroken, tmp_path):
    result = world.submit(destination=tmp_path / "elsewhere" / "mine.zarr")
    assert result.archive == tmp_path / "elsewhere" / "mine.zip"
    assert result.archive.read_bytes() == unbroken.archive.read_bytes()
    assert not world.work.exists()


def test_stages_work_where_they_are_told_to():
    from csc_train.prediction.running.workers import ExecutionOptions

    scheduler = SubmitOptions(workers=3, execution=ExecutionOptions(scheduler="tcp://x:1"))
    assert scheduler.of_prediction == {"execution": scheduler.execution}
    assert scheduler.on_dask
    gpus = SubmitOptions(workers=3, execution=ExecutionOptions(devices=2), given={"min_voxels": 2, "threshold": 0.4})
    assert gpus.of_prediction == {"execution": gpus.execution, "threshold": 0.4}
    assert gpus.of_processing == {"min_voxels": 2, "threshold": 0.4}
    assert not gpus.on_dask
    assert SubmitOptions(workers=3).of_prediction == {"workers": 3}


def test_the_record_says_at_which_stage_each_class_is(unbroken):
    record = json.loads((unbroken.work / "record.json").read_text("utf-8"))
    assert record["crops"] == {name: {"er": "packed", "mito": "packed"} for name in ("crop1", "crop2")}
    assert record["classes"]["er"]["checkpoint"] == "untrained"
