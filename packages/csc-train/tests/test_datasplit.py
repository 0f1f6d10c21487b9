import logging
import shutil
from dataclasses import replace

import pytest

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.splits.split_file import read_datasplit, write_datasplit
from csc_train import TrainSettings
from csc_train.datasplit import experiment_rows


def test_a_split_is_made_once_and_said_so(data_folder, tmp_path, caplog):
    settings = TrainSettings(classes=["mito"], datasplit_path=tmp_path / "deep" / "new.csv", validation_prob=0.3)
    with caplog.at_level(logging.WARNING):
        rows = experiment_rows(settings, data_folder.config)
        assert [row.usage for row in rows].count("validate") == 1
        assert all(set(row.classes) == {"mito", "ld"} for row in rows)  # other experiments can use it, too
        assert caplog.messages == [f"made {settings.datasplit_path}: 2 crops to train, 1 to validate"]
        assert experiment_rows(replace(settings, random_seed=1, validation_prob=0.15), data_folder.config) == rows
        assert len(caplog.messages) == 1
        experiment_rows(replace(settings, validation_prob=0.5), data_folder.config)
        assert "validation_prob is left out" in caplog.messages[-1]
        experiment_rows(replace(settings, validation_prob=0.5), data_folder.config, speaks=False)
        assert len(caplog.messages) == 2


def test_without_data_it_is_said_what_to_do(tmp_path):
    settings = TrainSettings(classes=["mito"], datasplit_path=tmp_path / "new.csv")
    with pytest.raises(MissingDataError, match=r"make-datasplit.*there is no data folder"):
        experiment_rows(settings, Config(data=str(tmp_path / "nowhere")))
    assert not (tmp_path / "new.csv").exists()


def test_a_place_that_cannot_be_written_is_told(data_folder, tmp_path):
    (tmp_path / "folder").mkdir()
    settings = TrainSettings(classes=["mito"], datasplit_path=tmp_path / "folder")
    words = r"folder cannot be written \(Is a directory\): choose another place, by datasplit_path"
    with pytest.raises(InvalidArgumentError, match=words):
        experiment_rows(settings, data_folder.config)
    assert not list(tmp_path.glob("*.part"))


def test_data_sets_and_voxel_sizes_are_chosen_from_a_split_that_is_there(data_folder, tmp_path, caplog):
    path = tmp_path / "split.csv"
    write_datasplit(path, read_datasplit(data_folder.config.path("datasplit")))
    settings = TrainSettings(classes=["mito"], datasplit_path=path)
    assert len(experiment_rows(replace(settings, datasets=["jrc_t*"]), data_folder.config)) == 3
    with pytest.raises(MissingDataError, match="no row of"):
        experiment_rows(replace(settings, datasets=["jrc_cos7*"]), data_folder.config)
    with pytest.raises(MissingDataError, match="filter_by_scale"):
        experiment_rows(replace(settings, filter_by_scale=4), data_folder.config)
    assert "is coarser than asked for: mito, ld" in caplog.messages[-1]


def test_where_classes_of_others_leave_nothing_to_validate_the_experiments_own_decide(data_folder, tmp_path, caplog):
    config = replace(data_folder.config, data=str(tmp_path / "data"))
    shutil.copytree(data_folder.config.root, config.root)
    rows = read_datasplit(data_folder.config.path("datasplit"))
    for row, name in zip(rows, ("er", "nuc", "ves"), strict=True):  # each in one crop alone, which has to train
        labels = config.path("labels", dataset=row.dataset, crop=row.crop, class_name="mito")
        shutil.copytree(labels, labels.parent / name)
    settings = TrainSettings(classes=["mito"], datasplit_path=tmp_path / "new.csv")
    found = experiment_rows(settings, config)
    assert [row.usage for row in found].count("validate") == 1
    assert sorted(name for row in found for name in row.classes if name not in ("mito", "ld")) == ["er", "nuc", "ves"]
    write_datasplit(settings.datasplit_path, [replace(row, usage="train") for row in found])
    with caplog.at_level(logging.WARNING):
        experiment_rows(settings, config)
    assert "validates: the best epoch is that of the lowest training loss" in caplog.messages[-1]
