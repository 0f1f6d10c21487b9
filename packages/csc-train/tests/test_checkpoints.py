import math

import pytest
import torch

from csc_models.checkpoint import save_checkpoint
from csc_train.checkpoints import TRAINING, NoCheckpointError, checkpoint_path, find_checkpoint, list_checkpoints


@pytest.fixture
def template(tmp_path):
    return str(tmp_path / "checkpoints" / "{model_name}_{epoch}.pth")


def write(template, name, epoch, best=None):
    path = checkpoint_path(template, name, epoch)
    path.parent.mkdir(exist_ok=True)
    extra = {} if best is None else {TRAINING: {"best": {"epoch": best, "score": 0.5}}}
    save_checkpoint(path, torch.nn.Linear(1, 1), extra=extra)
    return path


def test_checkpoints_are_found_by_name_and_epoch(template):
    for name, epoch in [("3d_unet", 2), ("3d_unet", 10), ("3d_unet", 9), ("my_3d_unet", 11), ("3d_unet_s", 12)]:
        write(template, name, epoch)
    (checkpoint_path(template, "3d_unet", 13)).with_suffix(".pth.tmp").write_text("x")
    assert list(list_checkpoints(template, "3d_unet")) == [2, 9, 10]
    assert find_checkpoint(template, "3d_unet", "latest").name == "3d_unet_10.pth"


def test_a_folder_per_epoch_works_too(tmp_path):
    template = str(tmp_path / "{model_name}" / "{epoch}" / "{model_name}.pth")
    path = checkpoint_path(template, "net", 7)
    path.parent.mkdir(parents=True)
    save_checkpoint(path, torch.nn.Linear(1, 1))
    assert list_checkpoints(template, "net") == {7: path}


def test_best_is_the_very_epoch_that_was_recorded(template):
    paths = {epoch: write(template, "net", epoch, best=min(epoch, 2)) for epoch in (1, 2, 3)}
    assert find_checkpoint(template, "net", "best") == paths[2]
    paths[2].unlink()
    with pytest.raises(NoCheckpointError, match="2, but its checkpoint is gone"):
        find_checkpoint(template, "net", "best")


def test_the_latest_stands_for_the_best_until_an_epoch_has_a_score(template, caplog):
    path = checkpoint_path(template, "net", 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, torch.nn.Linear(1, 1), extra={TRAINING: {"best": {"epoch": None, "score": -math.inf}}})
    assert find_checkpoint(template, "net", "best") == path
    assert "no epoch of net has a score yet" in caplog.text


def test_no_checkpoint_is_an_error_that_says_where_it_looked(template):
    with pytest.raises(NoCheckpointError, match=r"net_\*\.pth"):
        find_checkpoint(template, "net", "latest")
