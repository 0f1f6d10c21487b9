"""What a run leaves on disk: one state to go on from, and the weights of few epochs."""

from __future__ import annotations

import math

import pytest

from csc_data.errors import ProblemsError
from csc_models.checkpoint.reading import read_checkpoint
from csc_train import train
from csc_train.checkpoints import read_training_state
from csc_train.training.hooks.keeping import epochs_to_keep


def names(settings):
    from pathlib import Path

    folder = Path(settings.model_save_path).parent
    return sorted(path.name for path in folder.iterdir())


def test_the_latest_the_best_and_the_next_best_are_kept(settings):
    result = train(settings, epochs=6, save_top_k=2)
    history = read_training_state(result.latest_checkpoint)["history"]
    kept = epochs_to_keep(history, result.best_epoch, 2)
    assert {6, result.best_epoch} <= kept
    assert names(settings) == sorted([*(f"small_{epoch}.pth" for epoch in kept), "small_resume.pth"])
    assert sorted(path.name for path in result.checkpoints) == sorted(f"small_{epoch}.pth" for epoch in kept)
    assert "optimizer" not in read_checkpoint(result.latest_checkpoint).extra["training"]


def test_all_are_kept_where_that_is_asked_for(settings):
    train(settings, epochs=5, save_top_k=-1)
    assert names(settings) == [*(f"small_{epoch}.pth" for epoch in range(1, 6)), "small_resume.pth"]


def test_which_epochs_are_kept():
    rows = [[1, 0.1, math.nan], [2, 0.1, 0.4], [3, 0.1, 0.9], [4, 0.1, 0.3]]
    assert epochs_to_keep(rows, 3, 0) == {3, 4}
    assert epochs_to_keep(rows, 3, 2) == {2, 3, 4}
    assert epochs_to_keep([], None, 3) == set()


def test_what_a_killed_writer_left_is_removed_and_what_it_lacked_is_written(settings):
    first = train(settings, epochs=2)
    temporary = first.latest_checkpoint.with_name(".small_3.abcd.tmp.pth")
    temporary.write_bytes(b"half")
    other = first.latest_checkpoint.with_name(".other_3.abcd.tmp.pth")
    other.write_bytes(b"of another run")
    first.latest_checkpoint.unlink()  # killed between the state and the weights of its epoch
    train(settings, epochs=2)
    assert first.latest_checkpoint.is_file()
    assert not temporary.exists()
    assert other.exists()


def test_a_full_disk_loses_nothing(settings, monkeypatch):
    train(settings, epochs=1)
    before = read_checkpoint(settings.model_save_path.format(model_name="small", epoch="resume"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", full)
        with pytest.raises(OSError, match="No space left"):
            train(settings, epochs=2)
    after = read_checkpoint(settings.model_save_path.format(model_name="small", epoch="resume"))
    assert before.extra["training"]["epoch"] == after.extra["training"]["epoch"] == 1
    assert names(settings) == ["small_1.pth", "small_resume.pth"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.9, 0.2, 0.6, 0.7], [1, 2, 3, 3, 5]),  # means of two: 0.1, 0.5, 0.55, 0.4, 0.65
        # An epoch without a score is not the best, and takes no part in means: 0.8, 0.5, 0.55.
        ([math.nan, 0.8, math.nan, math.nan, 0.2, 0.9], [None, 2, 2, 2, 2, 2]),
    ],
)
def test_the_best_epoch_may_be_that_of_a_smooth_metric(scores, expected):
    from types import SimpleNamespace

    from csc_train.training.results import EpochRecord
    from csc_train.training.run_state import RunState

    state = RunState(network=None, optimizer=None, step_sizes=SimpleNamespace(), average=None)
    best = []
    for epoch, score in enumerate(scores, start=1):
        record = EpochRecord(epoch=epoch, loss=1.0, learning_rate=0, validation=None, seconds=0, loading_seconds=0)
        state.finish_epoch(record, score, 2)
        best.append(state.best_epoch)
    assert best == expected


def test_a_metric_that_does_not_exist_is_told(settings):
    with pytest.raises(ProblemsError, match="dice/mito"):
        train(settings, best_metric="dice/mitoo")
    train(settings, best_metric="dice/mito", epochs=1)
