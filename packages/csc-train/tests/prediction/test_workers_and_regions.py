"""Several regions and workers: the same bytes, and what is wrong is said before anything starts."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from torch import nn

from csc_data.blocks import Execution, MissingBlocksError, unfinished_work
from csc_data.errors import ExistingOutputError, InvalidArgumentError, UnreadableDataError
from csc_train import IncompletePredictionError, plan_prediction, predict
from csc_train.prediction import session
from csc_train.prediction.blocks import BlockJob

AS_IS = {"checkpoint": "untrained", "output": "logit", "output_dtype": "float32", "device": "cpu"}


@pytest.fixture
def on_threads(monkeypatch):
    @contextmanager
    def threads(options):
        with ThreadPoolExecutor(2) as executor:
            yield Execution(executor=executor, max_pending=3)

    monkeypatch.setattr(session, "open_execution", threads)


def digest(world):
    root = world.config.root / "predictions"
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and ".ledger" not in path.name)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_regions_side_by_side_give_the_same_bytes(world, multiples, request):
    predict(multiples, config=world.config, scales=2, **AS_IS)
    alone = digest(world)
    request.getfixturevalue("on_threads")
    events = []
    result = predict(multiples, config=world.config, scales=2, existing="overwrite", progress=events.append, **AS_IS)
    assert digest(world) == alone
    assert [crop.crop for crop in result.crops] == ["crop1", "crop2"]
    assert events[-1].done_in_all == events[-1].blocks_in_all == sum(crop.blocks for crop in result.crops)
    counts = [event.done_in_all for event in events]
    assert counts == sorted(counts)


@pytest.mark.parametrize("threads", [True, False])
def test_a_region_that_fails_leaves_the_others_alone(world, multiples, monkeypatch, request, threads):
    if threads:
        request.getfixturevalue("on_threads")
    call = BlockJob.__call__

    def fails(self, block):
        if self.name == "a/crop1":
            raise UnreadableDataError("gone")
        call(self, block)

    monkeypatch.setattr(BlockJob, "__call__", fails)
    with pytest.raises(IncompletePredictionError, match=r"a/crop1: .*blocks are not finished: gone") as caught:
        predict(multiples, config=world.config, **AS_IS)
    assert [crop.crop for crop in caught.value.result.crops] == ["crop2"]
    assert MissingBlocksError.__name__ not in str(caught.value)


def test_who_goes_on_takes_the_blocks_of_who_began(world, multiples):
    world.add(3, (0, 0, 0), (30, 30, 30), ("mito",))
    (work,) = plan_prediction(multiples, ["3"], config=world.config, workers=1, **AS_IS).works
    predict(multiples, ["3"], config=world.config, workers=1, **AS_IS)
    (again,) = plan_prediction(multiples, ["3"], config=world.config, workers=9, **AS_IS).works
    assert again.groups[0].block_shape == work.groups[0].block_shape
    assert again.estimate.done_blocks == again.estimate.blocks
    anew = plan_prediction(multiples, ["3"], config=world.config, workers=9, existing="overwrite", **AS_IS)
    assert anew.works[0].estimate.blocks > work.estimate.blocks
    assert "divided among 9 processes" in anew.lines


def test_a_record_of_an_earlier_version_is_told_and_goes_when_it_is_overwritten(world, multiples):
    folder = world.config.path("predictions", dataset="a", crop="crop1", class_name="mito").parent
    (folder / "mito").mkdir(parents=True)
    earlier = folder / ".a-crop1.ledger"
    earlier.write_text(json.dumps({"classes": ["mito", "ld", "er"], "halo": 1}) + "\nready\n0\n")
    with pytest.raises(IncompletePredictionError, match="output of an earlier version"):
        predict(multiples, ["1"], config=world.config, **AS_IS)
    # What else it holds is not finished, and nothing else would tell.
    with pytest.raises(IncompletePredictionError, match="ld, er were begun together with what is to be overwritten"):
        predict(multiples, ["1"], config=world.config, existing="overwrite", **AS_IS)
    predict(multiples, ["1"], config=world.config, existing="overwrite", all_classes=True, **AS_IS)
    assert not earlier.exists()
    assert unfinished_work(folder) == ()
    np.testing.assert_array_equal(world.read("crop1").levels[0].array[...], world.part((2, 3, 4), (12, 12, 12)))


def test_what_cannot_be_sent_to_workers_is_told_before_they_start(world, multiples, monkeypatch):
    monkeypatch.setattr(session, "open_execution", lambda options: pytest.fail("workers are started"))
    multiples.model.local = lambda: nn.Identity()
    with pytest.raises(InvalidArgumentError, match=r"cannot be sent to other processes.*experiment file") as caught:
        predict(multiples, config=world.config, workers=2, **AS_IS)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidArgumentError, match="workers are processes on the CPU"):
        predict(multiples, config=world.config, workers=2, **{**AS_IS, "device": "cuda"})


def test_output_there_is_an_error_of_its_region(world, multiples):
    world.config.path("predictions", dataset="a", crop="crop2", class_name="ld").mkdir(parents=True)
    with pytest.raises(IncompletePredictionError, match=r"a/crop2: .*another program") as caught:
        predict(multiples, config=world.config, **AS_IS)
    assert [crop.crop for crop in caught.value.result.crops] == ["crop1"]
    assert not isinstance(caught.value, ExistingOutputError)
