"""Loaders of one's own: what they may give, what is told of mistakes, and that a run with them goes on exactly."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import random
import signal

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.loader import get_dataloader
from csc_train import rehearse_training, train
from csc_train.training.given_loaders import BatchArray, BatchForm, GivenLoader, spread
from csc_train.training.steps import DivergedError

SIZES = (16, 16, 16)


def batch(seed=0, count=2, channels=2, sizes=SIZES):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.rand(count, 1, *sizes, generator=generator)
    return {"raw": raw, "output": (raw > 0.5).repeat(1, channels, *[1] * len(sizes)), "name": ["a", "b"]}


class Samples(Dataset):
    """Samples that are changed at random, by the global generators."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        raw = torch.full((1, *SIZES), index / 12) + 0.1 * torch.rand(1, *SIZES)
        raw += random.random() / 10 + np.random.rand() / 10  # noqa: NPY002  # as loaders of others do
        return raw, (raw > 0.5).repeat(2, 1, 1, 1)


class Stream(IterableDataset):
    """Samples without a number of them."""

    def __iter__(self):
        return iter([Samples()[index] for index in range(8)])


def loader(**options):
    return DataLoader(Samples(), batch_size=2, shuffle=True, **options)


def form(setting="train_loader", channels=2):
    return BatchForm(
        setting=setting,
        inputs={"input": BatchArray(sizes=SIZES)},
        targets={"output": BatchArray(sizes=SIZES, channels=channels)},
    )


@pytest.fixture
def given(settings):
    """Return settings with loaders and without any data on a disk."""
    return dataclasses.replace(
        settings, datasplit_path=None, validation_batch_limit=None, train_loader=loader(), validation_loader=[batch()]
    )


def pairs(one):
    return one["raw"], one["output"]


@pytest.mark.parametrize(
    "batches",
    [
        [batch(n) for n in range(3)],
        [pairs(batch(n)) for n in range(3)],
        [{"raw": one["raw"].double().numpy(), "output": one["output"].double().numpy()} for one in [batch(1)] * 3],
        [{"image": one["raw"].numpy(), "label": one["output"].to(torch.uint8)} for one in [batch(1)] * 3],
        [({"input": one["raw"]}, {"output": one["output"]}) for one in [batch(1)] * 3],
        DataLoader(Stream(), batch_size=2),
        (batch(n) for n in range(100)),
    ],
    ids=["mappings", "pairs", "float64", "other names and types", "pairs of mappings", "no len", "a generator"],
)
def test_batches_of_all_kinds_train(given, batches):
    result = train(given, train_loader=batches, epochs=2)
    assert [record.epoch for record in result.records] == [1, 2]
    assert all(math.isfinite(record.validation.dice) for record in result.records)


def test_an_epoch_is_the_loader_and_at_most_what_is_asked_for(given, caplog):
    events = []
    train(given, train_loader=[batch()] * 2, epochs=1, progress=events.append)
    assert [(event.stage, event.iteration, event.iterations) for event in events[:3]] == [
        ("train", 1, 2),
        ("train", 2, 2),
        ("validate", 1, 1),
    ]
    events.clear()
    with caplog.at_level(logging.WARNING):
        train(given, model_name="other", epochs=1, progress=events.append)
    assert sum(event.stage == "train" for event in events) == 3
    assert "train_loader has 6 batches, of which an epoch takes the first: iterations_per_epoch = 3" in caplog.text


def test_a_run_that_goes_on_within_an_epoch_ends_as_an_unbroken_one(given, in_folder, assert_same_end, caplog):
    """Also where the loader shuffles, and samples draw from the global generators, as the network's dropout does."""
    own = {"train_loader": loader(), "validation_loader": [batch()], "validation_batch_limit": None}
    own |= {"iterations_per_epoch": 6, "epochs": 2}
    whole, parts = in_folder("whole", **own), in_folder("parts", **own)
    train(whole)

    def end(event):
        if (event.stage, event.epoch, event.iteration) == ("train", 2, 4):
            signal.raise_signal(signal.SIGTERM)

    assert train(parts, progress=end).stopped == "signal SIGTERM"
    torch.rand(5)
    with caplog.at_level(logging.WARNING):
        train(parts)
    assert "its first 4 batches are read and left out" in caplog.text
    assert "other settings" not in caplog.text
    assert_same_end(whole, parts)


def test_a_loader_is_told_its_epoch_and_where_to_begin():
    class Told(list):
        def set_epoch(self, epoch, first_batch=0):
            self.told = epoch, first_batch

    own = Told([batch()] * 4)
    made = GivenLoader(own, form(), most=10, seed=0)
    made.set_epoch(3, first_batch=3)
    assert len(list(made)) == 1  # of as many as an epoch still has
    assert own.told == (3, 3)


def test_what_a_loader_draws_disturbs_nobody():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    made = GivenLoader(loader(), form(), most=10, seed=0)
    first = list(made)
    assert torch.equal(torch.rand(2), expected)
    made.set_epoch(0)
    assert all(torch.equal(one["input"], other["input"]) for one, other in zip(first, made, strict=True))
    assert not torch.equal(next(iter(made))["input"], first[0]["input"])  # the next epoch


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([{"raw": torch.rand(2, 1, *SIZES)}], "there is no 'output' among raw"),
        ([{"x": torch.rand(2, 1, *SIZES), "output": torch.rand(2, 2, *SIZES)}], "there is no 'input' among x, output"),
        ([batch(channels=3)], r"'output' has the shape \(2, 3, 16, 16, 16\) where \(batch, 2, 16, 16, 16\)"),
        ([batch(sizes=(8, 8, 8))], r"'raw' has the shape .*input_array_info"),
        ([{"raw": batch()["raw"][0], "output": batch()["output"]}], r"\(batch, channels, 16, 16, 16\) is expected"),
        ([torch.rand(2, 1, *SIZES)], "is a Tensor; give mappings"),
        ([{"raw": ["a"], "output": batch()["output"]}], "'raw' is a list and not an array"),
        ([{**batch(), "output": batch()["output"] * 255}], "'output' holds values from 255 to 255 where 0, 1, and NaN"),
        ([{**batch(), "output": -batch()["output"].float()}], "'output' holds values from -1 to -1"),
        ([{**batch(), "raw": batch()["raw"] * 1j}], "'raw' holds complex numbers"),
        ([], "train_loader has no batches"),
        (3, "train_loader is a int, which gives no batches"),
    ],
)
def test_mistakes_are_one_line_before_the_first_step(given, batches, words, tmp_path):
    for start in (rehearse_training, train):
        with pytest.raises(InvalidArgumentError, match=words) as error:
            start(given, train_loader=batches)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.pth"))


def test_mistakes_of_the_validation_loader_are_told_before_the_first_step(given):
    events = []
    for batches, words in [
        ([batch(channels=1)], "a batch of validation_loader: 'output' has the shape"),
        (iter([batch()]), "validation_loader can be iterated over only once"),
        (DataLoader(Stream()), "say by validation_batch_limit"),
    ]:
        with pytest.raises(InvalidArgumentError, match=words):
            train(given, validation_loader=batches, progress=events.append)
    assert not events
    train(given, validation_loader=DataLoader(Stream()), validation_batch_limit=2, epochs=1, progress=events.append)
    assert sum(event.stage == "validate" for event in events) == 2


def test_an_iterator_that_ends_is_told(given):
    with pytest.raises(InvalidArgumentError, match="is at its end, and can be iterated over only once"):
        train(given, train_loader=iter([batch()] * 4), epochs=2)


def test_a_loss_that_is_not_a_number_names_no_crop(given):
    broken = batch()
    broken["raw"][:] = math.nan
    with pytest.raises(DivergedError, match="epoch 1, batch 1; try"):
        train(given, train_loader=[broken])


def test_raw_that_prediction_would_scale_otherwise_is_said_once(caplog):
    one = batch() | {"raw": batch()["raw"].mul(200).byte()}
    with caplog.at_level(logging.WARNING):
        list(GivenLoader([one] * 2, form(), most=2, seed=0))
    assert len(caplog.messages) == 1
    assert "goes from 0 to 199, but prediction scales raw to 0 to 1" in caplog.text
    caplog.clear()
    wide = dataclasses.replace(form(), raw_range=(0.0, 255.0))
    list(GivenLoader([one] * 2, wide, most=2, seed=0))
    list(GivenLoader([batch()], form(), most=2, seed=0))
    assert not caplog.messages


def test_a_loader_with_fewer_batches_than_its_len_is_said(caplog):
    class Longer(list):
        def __len__(self):
            return 3

    with caplog.at_level(logging.WARNING):
        assert len(list(GivenLoader(Longer([batch()]), form(), most=9, seed=0))) == 1
    assert caplog.messages == ["train_loader ended after 1 of 3 batches"]


def test_what_has_no_effect_is_said_and_the_run_is_recorded(given, tmp_path, caplog):
    changed = dataclasses.replace(given, foreground_share=0.5, validation_loader=None)
    with caplog.at_level(logging.WARNING):
        train(changed, epochs=1)
    assert "foreground_share is left out: train_loader gives batches as they are" in caplog.text
    assert "there is no validation: train_loader is given, and no validation_loader" in caplog.text
    assert "weight_loss has no effect" in caplog.text
    record = json.loads((tmp_path / "tensorboard" / "small" / "run.json").read_text())
    assert record["settings"]["train_loader"] == "torch.utils.data.dataloader.DataLoader"
    assert record["split"] is None


def test_our_own_loaders_keep_what_they_know(settings, data_folder):
    ours = get_dataloader(
        data_folder.config.path("datasplit"),
        classes=settings.classes,
        batch_size=2,
        input_array_info=settings.input_array_info,
        iterations_per_epoch=2,
        with_positions=True,
        random_seed=settings.random_seed,
        spatial_transforms=settings.spatial_transforms,
        intensity_transforms=settings.intensity_transforms,
        validation_batch_limit=2,
    )
    given = dataclasses.replace(settings, train_loader=ours.train, validation_loader=ours.validation, epochs=1)
    expected = train(settings, model_name="expected", iterations_per_epoch=2, epochs=1)
    found = train(given)
    assert (found.records[0].loss, found.records[0].validation) == (
        expected.records[0].loss,
        expected.records[0].validation,
    )
    with pytest.raises(InvalidArgumentError, match="train_loader gives the classes mito, ld; the experiment names ld"):
        train(given, model_name="third", classes=["ld"])
    with pytest.raises(InvalidArgumentError, match="train_loader gives input"):
        train(given, model_name="third", input_array_info={"shape": (24, 24, 24), "scale": (8, 8, 8)})


def test_an_experiment_file_gives_them(given, tmp_path):
    file = tmp_path / "experiment.py"
    file.write_text(
        "import torch\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "classes, model_name = ['mito', 'ld'], '3d_unet_s'\n"
        "model_kwargs = {'width': 2, 'depth': 2}\n"
        "input_array_info = {'shape': (16, 16, 16), 'scale': (8, 8, 8)}\n"
        "raw = torch.rand(4, 1, 16, 16, 16)\n"
        "train_loader = DataLoader(TensorDataset(raw, (raw > 0.5).repeat(1, 2, 1, 1, 1)), batch_size=2)\n"
        f"base_experiment_path, epochs, device = {str(tmp_path)!r}, 1, 'cpu'\n"
    )
    assert len(train(file).checkpoints) == 1
    file.write_text(file.read_text().replace("train_loader", "trains_loader"))
    with pytest.raises(ProblemsError, match="did you mean train_loader"):
        train(file)


def test_processes_share_batches():
    shares = [spread(loader(), rank, 2, seed=0) for rank in (0, 1)]
    seen = []
    for own, share in shares:
        assert share == (0, 1)
        made = GivenLoader(own, form(), most=10, seed=0, share=share)
        made.set_epoch(1)
        seen += [round(float(raw.min()) * 12 - 0.5) for each in made for raw in each["input"]]
        own.sampler.set_epoch(1)
        seen[-6:] = list(own.sampler)
    assert sorted(seen) == list(range(12))
    batches = [batch(n) for n in range(5)]
    found = [GivenLoader(batches, form(), most=10, seed=0, share=(rank, 2)) for rank in (0, 1)]
    assert [len(each) for each in found] == [2, 2]  # as many for each, or one would wait for the other
    assert [one["input"].flatten()[0] for one in found[1]] == [batches[n]["raw"].flatten()[0] for n in (1, 3)]
    validation = [GivenLoader(batches, form("validation_loader"), most=None, seed=0, share=(r, 2)) for r in (0, 1)]
    assert [len(list(each)) for each in validation] == [3, 2]
