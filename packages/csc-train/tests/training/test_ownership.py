import json
import re
from dataclasses import replace

import pytest

from csc_data.errors import ExistingOutputError
from csc_train.settings import TrainSettings
from csc_train.training.resume import check_own


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "one.py").touch()
    checkpoint = tmp_path / "checkpoints" / "net_3.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    record = tmp_path / "logs" / "net" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"experiment": str(tmp_path / "one.py")}), "utf-8")
    return TrainSettings(
        classes=["mito"], model_name="net", base_experiment_path=tmp_path, logs_save_path="logs/{model_name}"
    )


def test_checkpoints_of_another_experiment_file_are_not_gone_on_with(settings, tmp_path):
    with pytest.raises(ExistingOutputError, match=re.escape(f"those of {tmp_path}/one.py") + ".*-e NAME"):
        check_own(settings, tmp_path / "two.py")


def test_nor_where_both_begin_with_the_same_file_but_where_one_is_named(settings, tmp_path):
    weights, checkpoint = tmp_path / "weights.pth", tmp_path / "checkpoints" / "net_3.pth"
    with pytest.raises(ExistingOutputError, match=re.escape(f"those of {tmp_path}/one.py")):
        check_own(replace(settings, load_model=weights), tmp_path / "two.py")
    check_own(replace(settings, load_model=checkpoint), tmp_path / "two.py")


def test_its_own_are_and_those_of_a_file_that_was_moved(settings, tmp_path):
    check_own(settings, tmp_path / "one.py")
    check_own(settings, None)
    (tmp_path / "one.py").rename(tmp_path / "renamed.py")
    check_own(settings, tmp_path / "renamed.py")


def test_without_checkpoints_there_is_nothing_to_go_on_with(settings, tmp_path):
    (tmp_path / "checkpoints" / "net_3.pth").unlink()
    check_own(settings, tmp_path / "two.py")
