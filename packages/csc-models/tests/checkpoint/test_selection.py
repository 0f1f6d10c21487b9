import math
import os
import sys

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, CheckpointMismatchError, CheckpointNotFoundError
from csc_models.checkpoint import best_index, load_best_val, load_latest, save_checkpoint
from csc_models.errors import MissingExtraError


def saved(path, value):
    """A checkpoint whose only weight says which it is."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, float(value))
    save_checkpoint(path, model)
    return path


@pytest.fixture
def model():
    return nn.Linear(1, 1, bias=False)


class TestLatest:
    def test_highest_number_wins_whatever_the_times(self, tmp_path, model):
        for epoch in (2, 10, 9):
            saved(tmp_path / f"unet_{epoch}.pth", epoch)
        os.utime(tmp_path / "unet_2.pth", (2e9, 2e9))
        loaded = load_latest(str(tmp_path / "unet_*.pth"), model)
        assert loaded.path == tmp_path / "unet_10.pth"
        assert model.weight.item() == 10

    def test_files_of_several_runs_go_by_time(self, tmp_path, model):
        saved(tmp_path / "a_7.pth", 7)
        saved(tmp_path / "b_3.pth", 3)
        os.utime(tmp_path / "a_7.pth", (1e9, 1e9))
        assert load_latest(tmp_path, model).path.name == "b_3.pth"

    def test_epoch_stands_for_a_number(self, tmp_path, model):
        for name, value in (("unet_2", 2), ("unet_10", 10), ("unet_best", 99), ("unet_s_11", 11)):
            saved(tmp_path / f"{name}.pth", value)
        assert load_latest(tmp_path / "unet_{epoch}.pth", model).path.name == "unet_10.pth"
        with pytest.raises(CheckpointNotFoundError, match="vit_"):
            load_latest(tmp_path / "vit_{epoch}.pth", model)

    def test_nothing_there_is_an_error(self, tmp_path, model):
        with pytest.raises(CheckpointNotFoundError, match="unet"):
            load_latest(tmp_path / "unet_*.pth", model)

    def test_partly_fitting_file_is_an_error(self, tmp_path, model):
        torch.save({"weight": torch.zeros(1, 1), "bias": torch.zeros(1)}, tmp_path / "unet_1.pth")
        with pytest.raises(CheckpointMismatchError, match="1 surplus: bias"):
            load_latest(tmp_path, model)
        assert load_latest(tmp_path, model, strict=False).left_out.surplus == ("bias",)


class TestBestIndex:
    def test_not_the_one_before_it(self):
        assert best_index([3.0, 1.0, 2.0]) == 1
        assert best_index([3.0, 1.0, 2.0], low_is_best=False) == 0

    def test_nan_is_never_best(self):
        assert best_index([math.nan, 2.0, 1.0, math.nan]) == 2
        assert best_index([math.nan, 2.0, 1.0, math.nan], low_is_best=False) == 1
        with pytest.raises(CheckpointError, match="no validation score that is a number"):
            best_index([math.nan])

    @pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 7])
    def test_smoothing_is_a_moving_average_with_the_ends_repeated(self, window):
        """As the challenge's toolbox smooths; its window reaches further back than ahead if it is even."""
        generator = torch.Generator().manual_seed(window)
        for _ in range(50):
            scores = torch.rand(9, generator=generator, dtype=torch.float64)
            padded = torch.cat([scores[:1].repeat(window // 2), scores, scores[-1:].repeat(window // 2)])
            smoothed = padded.unfold(0, window, 1).mean(dim=1)[: len(scores)]
            assert best_index(scores.tolist(), smoothing_window=window) == int(smoothed.argmin())
            assert best_index(scores.tolist(), False, window) == int(smoothed.argmax())

    def test_smoothing_passes_over_a_lucky_dip(self):
        scores = [1.0, 0.1, 1.0, 0.3, 0.3, 0.3, 0.9]
        assert best_index(scores) == 1
        assert best_index(scores, smoothing_window=3) == 4
        assert best_index([-score for score in scores], low_is_best=False, smoothing_window=3) == 4
        with pytest.raises(CheckpointError, match="at least 1"):
            best_index(scores, smoothing_window=0)


class TestBestValidation:
    @pytest.fixture
    def write_log(self, tmp_path):
        tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="needs csc-models[tensorboard]")

        def write(scores, tag="validation"):
            with tensorboard.SummaryWriter(tmp_path / "logs") as writer:
                for step, score in scores:
                    writer.add_scalar(tag, score, step)
            return tmp_path / "logs"

        return write

    @pytest.fixture
    def template(self, tmp_path):
        for epoch in range(1, 6):
            saved(tmp_path / f"unet_{epoch}.pth", epoch)
        return str(tmp_path / "unet_{epoch}.pth")

    def test_steps_that_are_epochs(self, write_log, template, model):
        logs = write_log([(1, 0.9), (2, 0.5), (3, 0.2), (4, 0.4), (5, 0.6)])
        assert load_best_val(logs, template, model).path.name == "unet_3.pth"
        assert model.weight.item() == 3
        load_best_val(logs, template, model, low_is_best=False)
        assert model.weight.item() == 1

    def test_steps_that_are_iterations(self, write_log, template, model):
        logs = write_log([(1000, 0.9), (2000, 0.1), (4000, 0.4), (5000, 0.6)])
        load_best_val(logs, template, model)
        assert model.weight.item() == 2

    def test_repeated_epochs_count_as_last_logged(self, write_log, template, model):
        write_log([(1, 0.9), (2, 0.1), (3, 0.2)])
        logs = write_log([(2, 0.7), (3, 0.3)])
        load_best_val(logs, template, model)
        assert model.weight.item() == 3

    def test_more_events_than_tensorboard_keeps_by_default(self, write_log, tmp_path, model):
        saved(tmp_path / "long_7.pth", 7)
        # By default TensorBoard's reader keeps 10,000 of them, and step 7 is not among those.
        logs = write_log([(epoch, 0.0 if epoch == 7 else 1.0) for epoch in range(1, 12_000)])
        load_best_val(logs, tmp_path / "long_{epoch}.pth", model)
        assert model.weight.item() == 7

    def test_without_tensorboard_says_what_to_install(self, template, tmp_path, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
        with pytest.raises(MissingExtraError, match=r"the extra csc-models\[tensorboard\]"):
            load_best_val(tmp_path, template, model)

    def test_missing_pieces_are_named(self, write_log, template, tmp_path, model):
        with pytest.raises(CheckpointNotFoundError, match="no folder"):
            load_best_val(tmp_path / "nowhere", template, model)
        logs = write_log([(1, 0.5)], tag="loss")
        with pytest.raises(CheckpointNotFoundError, match=r"no scalars 'validation'.*there are: loss"):
            load_best_val(logs, template, model)
        logs = write_log([(1, 0.5), (6, 0.1)])
        with pytest.raises(CheckpointNotFoundError, match=r"epoch 6 validated best.*epochs \[1, 2, 3, 4, 5\]"):
            load_best_val(logs, template, model)
        logs = write_log([(0, 0.01), (1000, 0.5), (2000, 0.4)], tag="validation")
        with pytest.raises(CheckpointNotFoundError, match="the network before training validated best"):
            load_best_val(logs, template, model)
        with pytest.raises(CheckpointError, match=r"no \{epoch\}"):
            load_best_val(logs, "unet.pth", model)
