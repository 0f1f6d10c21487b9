"""The score in training is the one that csc-eval gives to the same predictions as files."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_eval import score_submission
from csc_eval.scoring.validation_truth import build_validation_truth, gather_predictions
from csc_train import TrainSettings, train
from csc_train.challenge_score.choosing import Validated, choose_crops, make_score_plan
from csc_train.challenge_score.scoring import RULES, cut_at_half
from csc_train.logs.run_files import read_rows
from csc_train.objectives.objective import build_objective
from csc_train.training.hooks.challenge import ChallengeScore
from csc_train.training.loaders import make_loaders

DATASET = "jrc_score"
RAW = Grid(voxel_size=(8, 8, 8), translation=(100.0, 204.0, 308.0), shape=(36, 40, 44))
CROPS = {"crop1": ((0, 0, 0), (20, 20, 20)), "crop2": ((2, 3, 5), (20, 17, 18)), "crop3": ((16, 18, 20), (16, 19, 23))}
UNKNOWN = {"cellmap": {"annotation": {"annotation_type": {"encoding": {"absent": 0, "present": 1, "unknown": 255}}}}}


@dataclass(frozen=True)
class Challenge:
    config: Config
    raw: np.ndarray

    def raw_of(self, crop):
        """Return the raw of a crop, from 0 to 1."""
        begin, shape = CROPS[crop]
        box = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
        return self.raw[box].astype(np.float32) / 255


@pytest.fixture(scope="session")
def challenge(tmp_path_factory) -> Challenge:
    config = Config(data=str(tmp_path_factory.mktemp("score")))
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.random(RAW.shape), 1.5)
    raw = np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).astype(np.uint8)
    labels = {"mito": ndimage.label(raw > 150)[0].astype(np.uint8), "er": (raw < 100).astype(np.uint8)}
    labels["pm"] = (raw > 128).astype(np.uint8)
    raw_path = config.path("raw", dataset=DATASET)
    write_multiscale(raw_path, [raw], [RAW], chunks=(16, 16, 16))
    rows = []
    for crop, (begin, shape) in CROPS.items():
        box = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
        folder = config.path("labels", dataset=DATASET, crop=crop, class_name="x").parent
        names = ("mito", "er", "pm") if crop != "crop3" else ("mito", "er")
        for name in names:
            data = labels[name][box].copy()
            data[:, :4, 3:9] = 255
            write_multiscale(folder / name, [data], [RAW.window(begin, shape)], chunks=(16, 16, 16), attributes=UNKNOWN)
        usage = "train" if crop == "crop1" else "validate"
        rows.append(SplitRow(usage=usage, raw=str(raw_path), labels=str(folder), classes=names))
    write_datasplit(config.path("datasplit"), rows)
    return Challenge(config=config, raw=raw)


class Pointwise(torch.nn.Module):
    """Looks at one voxel at a time, so that what tile a voxel lies in makes no difference."""

    slopes = (8.0, -9.0, 7.0)
    offsets = (-4.5, 4.0, -3.0)

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(self.slopes))
        self.offset = torch.nn.Parameter(torch.tensor(self.offsets))

    def forward(self, raw):
        shape = (1, 3, *[1] * (raw.ndim - 2))
        return raw * self.slope.view(shape) + self.offset.view(shape)


@pytest.fixture
def make_settings(challenge, tmp_path):
    """Return a function that gives settings of a run whose network does not change."""

    def make(**changes):
        given = {
            "classes": ("mito", "er", "pm"),
            "datasplit_path": challenge.config.path("datasplit"),
            "input_array_info": {"shape": (8, 8, 8), "scale": (8, 8, 8)},
            "model": Pointwise(),
            "model_name": "pointwise",
            "epochs": 1,
            "iterations_per_epoch": 1,
            "batch_size": 5,
            "learning_rate": 1e-30,
            "model_save_path": str(tmp_path / "checkpoints" / "{model_name}_{epoch}.pth"),
            "logs_save_path": str(tmp_path / "logs"),
            "device": "cpu",
            "images": 0,
        }
        return TrainSettings(**{**given, **changes})

    return make


class Recorder:
    """Post-processes, and keeps what it got and gave."""

    def __init__(self):
        self.got, self.gave = {}, {}

    def __call__(self, class_name, probabilities, voxel_size):
        assert probabilities.dtype == np.float32
        assert voxel_size == (8, 8, 8)
        mask = ndimage.gaussian_filter(probabilities, 0.7) > 0.55
        found = ndimage.label(mask)[0].astype(np.uint16) if class_name == "mito" else mask
        (crop,) = (name for name, (_, shape) in CROPS.items() if shape == probabilities.shape)
        self.got[crop, class_name], self.gave[crop, class_name] = probabilities, found
        return found


def test_the_number_is_that_of_the_commands(challenge, make_settings, tmp_path):
    recorder = Recorder()
    result = train(make_settings(), post_process=recorder, progress=lambda _: None)
    assert set(recorder.got) == {(c, n) for c in ("crop2", "crop3") for n in ("mito", "er", "pm")} - {("crop3", "pm")}
    for (crop, name), values in recorder.got.items():
        channel = ("mito", "er", "pm").index(name)
        logits = challenge.raw_of(crop) * Pointwise.slopes[channel] + Pointwise.offsets[channel]
        np.testing.assert_allclose(values, 1 / (1 + np.exp(-logits)), atol=0.6 / 255)
        np.testing.assert_array_equal(values * 255, np.rint(values * 255))

    config = Config(data=str(tmp_path / "data"))
    for (crop, name), found in recorder.gave.items():
        begin, shape = CROPS[crop]
        folder = config.path("processed", dataset=DATASET, crop=crop, class_name=name)
        label = StoredValues(kind="label").to_attributes()
        data = found.astype("u2" if name == "mito" else "u1")
        write_multiscale(folder, [data], [RAW.window(begin, shape)], chunks=(16, 16, 16), attributes=label)
    truth = build_validation_truth(challenge.config.path("datasplit"), tmp_path / "truth.zarr")
    assert not truth.skipped
    expected = score_submission(gather_predictions(truth, config), truth.path, rules=RULES).combined
    values = result.records[0].validation.values
    assert values["challenge"] == expected.overall_score
    assert values["challenge/semantic"] == expected.overall_semantic_score
    assert values["challenge/instance"] == expected.overall_instance_score
    assert {name: values[f"challenge/{name}"] for name in expected.classes} == {
        name: score.score for name, score in expected.classes.items()
    }
    assert 0.1 < values["challenge"] < 1
    known = sum(math.prod(CROPS[crop][1]) * (1 - 4 * 6 / math.prod(CROPS[crop][1][1:])) for crop in ("crop2", "crop3"))
    er = expected.classes["er"]
    assert er.tp + er.fp + er.fn < known  # what is unknown does not count


def test_instances_are_scored_every_so_many_epochs_and_in_the_last(make_settings, tmp_path):
    settings = make_settings(epochs=5, instance_score_every=2, best_metric="challenge", smoothing_window=2)
    result = train(settings, early_stopping_patience=4, progress=lambda _: None)
    rows = [record.validation.values for record in result.records]
    assert [row["challenge"] == row["challenge"] for row in rows] == [False, True, False, True, True]
    assert [row["challenge/mito"] == row["challenge/mito"] for row in rows] == [False, True, False, True, True]
    assert len({row["challenge/er"] for row in rows}) == 1  # of each epoch
    # The network stays as it is, and the first epoch that has the score is the best.
    assert (result.best_epoch, result.best_value) == (2, rows[1]["challenge"])
    table = read_rows(tmp_path / "logs" / "metrics.csv")
    assert [table[epoch]["challenge"] != "" for epoch in (1, 2)] == [False, True]
    assert float(table[1]["challenge/semantic"]) == rows[0]["challenge/semantic"]


def test_a_truth_of_other_voxels_is_met_as_the_portal_does(challenge, make_settings):
    settings = make_settings(
        input_array_info={"shape": (8, 8, 8), "scale": (16, 16, 16)}, classes=("mito", "er"), model=Two()
    )
    shapes = []

    def post_process(class_name, probabilities, voxel_size):
        shapes.append((probabilities.shape, voxel_size))
        return cut_at_half(class_name, probabilities, voxel_size)

    values = train(settings, post_process=post_process, progress=lambda _: None).records[0].validation.values
    assert set(shapes) == {((10, 9, 9), (16, 16, 16)), ((8, 10, 12), (16, 16, 16))}
    assert 0.1 < values["challenge/er"] < 1


class Two(Pointwise):
    def forward(self, raw):
        return super().forward(raw)[:, :2]


@pytest.mark.parametrize("kind", ["binary", "exclusive", "distance", "flat", "deep"])
def test_probabilities_are_what_the_outputs_mean(challenge, make_settings, kind):
    changes = {
        "binary": {},
        "exclusive": {"criterion": "cross_entropy"},
        "distance": {"criterion": "mse", "targets": "signed_distance"},
        "flat": {"input_array_info": {"shape": (1, 8, 8), "scale": (8, 8, 8)}, "batch_size": 64},
        "deep": {"model": Deep()},
    }[kind]
    recorder = Recorder()
    train(make_settings(ema=0.5, **changes), post_process=recorder, progress=lambda _: None)
    raw = torch.from_numpy(challenge.raw_of("crop3"))
    logits = torch.stack([raw * a + b for a, b in zip(Pointwise.slopes, Pointwise.offsets, strict=True)])
    expected = {
        "exclusive": lambda: torch.cat([torch.zeros_like(logits[:1]), logits]).softmax(0)[1:],
        "distance": lambda: ((logits + 1) / 2).clamp(0, 1),
    }.get(kind, logits.sigmoid)()
    for channel, name in enumerate(("mito", "er")):
        np.testing.assert_allclose(recorder.got["crop3", name], expected[channel], atol=0.6 / 255)


class Deep(Pointwise):
    def forward(self, raw):
        whole = super().forward(raw)
        return [whole, torch.nn.functional.avg_pool3d(whole, 2)]


def test_classes_of_one_kind_have_the_mean_of_that_kind(make_settings):
    class One(Pointwise):
        def forward(self, raw):
            return super().forward(raw)[:, 1:2]

    settings = make_settings(classes=("er",), model=One(), instance_score_every=0, best_metric="challenge")
    values = train(settings, progress=lambda _: None).records[0].validation.values
    assert values["challenge"] == values["challenge/er"] == values["challenge/semantic"]
    assert "challenge/instance" not in values


def test_a_wrong_post_process_is_told(make_settings):
    with pytest.raises(InvalidArgumentError, match="a mask or labels of the shape"):
        train(make_settings(), post_process=lambda name, values, nm: values, progress=lambda _: None)


class Together:
    """A fabric of processes that are threads."""

    def __init__(self, count):
        self.world_size, self._barrier, self._given = count, threading.Barrier(count, timeout=60), {}

    def of(self, rank):
        def all_reduce(values, reduce_op):
            assert reduce_op == "sum"
            self._given[rank] = values
            self._barrier.wait()
            total = sum(self._given[other] for other in range(self.world_size))
            self._barrier.wait()
            return total

        return SimpleNamespace(
            world_size=self.world_size, global_rank=rank, device=torch.device("cpu"), all_reduce=all_reduce
        )


def validate(settings, fabric):
    """Return the scores of the first epoch in one of several processes, and the classes that it post-processed."""
    loaders = make_loaders(settings, rank=fabric.global_rank, world_size=fabric.world_size)
    objective = build_objective(settings)
    plan = make_score_plan(settings, objective, loaders.validation, fabric.world_size)
    state = SimpleNamespace(epoch=0)
    run = SimpleNamespace(
        settings=settings, fabric=fabric, objective=objective, score_plan=plan, state=state, speaks=True
    )
    done = []

    def post_process(class_name, probabilities, voxel_size):
        done.append((probabilities.shape, class_name))
        return cut_at_half(class_name, probabilities, voxel_size)

    hook = ChallengeScore(post_process)
    hook.on_start(run)
    with torch.no_grad():
        for batch in loaders.validation:
            hook.on_validation_batch(run, batch, settings.model(batch["input"]))
    scores = hook.on_validated(run)
    hook.on_end(run, "done")
    return scores, done


def test_several_processes_share_the_crops_and_agree(make_settings):
    settings = make_settings()
    alone, done_alone = validate(settings, Together(1).of(0))
    together, found = Together(2), {}

    def work(rank):
        found[rank] = validate(settings, together.of(rank))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (first, done_first), (second, done_second) = found[0], found[1]
    assert first == second == alone
    assert sorted([*done_first, *done_second]) == sorted(done_alone)
    assert done_first
    assert done_second


def test_crops_that_are_cut_by_a_limit_are_left_out(make_settings, caplog):
    settings = make_settings(validation_batch_limit=3)
    values = train(settings, progress=lambda _: None).records[0].validation.values
    assert not [name for name in values if name.startswith("challenge")]
    with pytest.raises(ProblemsError, match="of 0 of 2 validation crops; validation_batch_limit leaves out"):
        train(make_settings(validation_batch_limit=3, best_metric="challenge", model_name="other"))
    caplog.clear()
    timed = make_settings(validation_time_limit=1e-6, batch_size=1, model_name="timed", best_metric="challenge")
    result = train(timed, epochs=2, progress=lambda _: None)
    assert math.isnan(result.records[0].validation.values["challenge"])
    assert result.best_epoch is None
    told = [record.message for record in caplog.records if "challenge score" in record.message]
    assert told == ["challenge score: of 0 of 2 validation crops; validation_time_limit leaves out parts of the others"]


def test_no_more_crops_are_put_together_than_memory_has_room_for(make_settings):
    patches = make_loaders(make_settings()).validation.patches
    sizes = [3 * 20 * 17 * 18, 2 * 16 * 19 * 23]
    everything = range(len(patches))

    def chosen(one_by_one, most, **changes):
        validated = Validated(samples=everything, one_by_one=one_by_one, **{"instances": True, **changes})
        crops, remarks = choose_crops(patches, ("mito", "er", "pm"), validated, most)
        return [crop.name for crop in crops], remarks

    assert chosen(True, max(sizes)) == (["jrc_score/crop2", "jrc_score/crop3"], ())
    names, remarks = chosen(False, max(sizes))
    assert names == ["jrc_score/crop2"]
    assert "of 1 of 2 validation crops; more would take above" in remarks[0]
    assert chosen(False, sum(sizes))[1] == ()
    assert chosen(True, max(sizes) // 2 + 1, instances=False)[0] == ["jrc_score/crop3"]


def test_the_metric_of_a_class_that_is_never_scored_is_refused(make_settings):
    with pytest.raises(ProblemsError, match="there is no metric 'challenge/mito'"):
        train(make_settings(best_metric="challenge/mito", instance_score_every=0))
    with pytest.raises(ProblemsError, match="the lowest challenge is the worst"):
        make_settings(best_metric="challenge", low_is_best=True)
