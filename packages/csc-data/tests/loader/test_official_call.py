"""The official toolbox's call of `get_dataloader`, and what its loaders are asked for."""

from __future__ import annotations

import logging
import subprocess
import sys
import types

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.splits.split_file import write_datasplit

torch = pytest.importorskip("torch")

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}


class Config:
    """As the official toolbox's own, which reads an experiment file."""

    def __init__(self, **names):
        self.names = names

    def get(self, key, default=None):
        return self.names.get(key, default)


@pytest.fixture
def names(world, tmp_path):
    """What an experiment file of the official toolbox holds."""
    world.write_raw(GRID)
    world.write_labels("mito", GRID.window((0, 0, 0), (16, 32, 32)))
    world.write_labels("er", GRID.window((0, 0, 0), (16, 32, 32)), values=np.zeros((16, 32, 32), np.uint8))
    world.write_labels("mito", GRID.window((16, 0, 0), (16, 16, 16)), crop="crop2")
    rows = [world.row(["mito", "er"]), world.row(["mito"], crop="crop2", usage="validate")]
    write_datasplit(tmp_path / "datasplit.csv", rows)
    return {
        "datasplit_path": str(tmp_path / "datasplit.csv"),
        "classes": ["mito", "er"],
        "batch_size": 3,
        "input_array_info": PATCH,
        "target_array_info": PATCH,
        "spatial_transforms": {"mirror": {"axes": {"x": 0.5, "y": 0.5}}},
        "iterations_per_epoch": 2,
        "learning_rate": 1e-4,
        "model_name": "2d_unet",
        "epochs": 3,
        "use_s3": False,
    }


def as_module(names):
    module = types.ModuleType("train_3d")
    vars(module).update(names)
    return module


@pytest.mark.parametrize("form", [dict, lambda names: Config(**names), as_module], ids=["dict", "Config", "module"])
@pytest.mark.parametrize("keyword", [False, True])
def test_a_configuration_is_enough(names, form, keyword):
    config = form(names)
    train_loader, val_loader = get_dataloader(config=config) if keyword else get_dataloader(config)
    batches = list(train_loader)
    assert [tuple(batch["output"].shape) for batch in batches] == [(3, 2, 8, 8, 8)] * 2
    assert sum(len(batch["input"]) for batch in val_loader) == 8
    keywords = {
        name: value
        for name, value in names.items()
        if name not in ("datasplit_path", "learning_rate", "model_name", "epochs", "use_s3")
    }
    same = get_dataloader(names["datasplit_path"], **keywords).train
    for one, other in zip(batches, same, strict=True):
        assert torch.equal(one["input"], other["input"])


def test_a_configuration_overrides_keywords_as_it_does_there(names):
    config = {**names, "train_micro_batch_size_per_gpu": 2, "kwargs": {"num_workers": 0}}
    train, _ = get_dataloader(config, batch_size=5, classes=["er"], random_seed=4)
    assert train.batch_size == 2
    assert train.patches.reader.classes == ("mito", "er")
    assert train.patches.seed == 4  # the configuration does not say


def test_the_keywords_of_the_official_training_are_taken(names, caplog):
    """As its `train` calls it: everything by keyword, and what its file leaves open as None."""
    with caplog.at_level(logging.WARNING):
        loaders = get_dataloader(
            datasplit_path=names["datasplit_path"],
            classes=["mito"],
            batch_size=2,
            input_array_info=PATCH,
            target_array_info=PATCH,
            spatial_transforms=None,
            iterations_per_epoch=2,
            random_validation=3,  # its validation_time_limit or validation_batch_limit
            device=torch.device("cpu"),
            weighted_sampler=True,
            use_mutual_exclusion=False,
            train_raw_value_transforms=None,
            val_raw_value_transforms=None,
            target_value_transforms=None,
            num_workers=0,
        )
    assert not caplog.text
    assert loaders.validation.patches.shuffle_seed is not None
    assert next(iter(loaders.train))["input"].device.type == "cpu"


def test_what_our_loader_does_in_another_way_is_told(names, caplog):
    with caplog.at_level(logging.WARNING):
        get_dataloader(
            {**names, "dataloader_kwargs": {"prefetch_factor": 4}}, pin_memory=True, is_train=False, rng=None
        )
    for words in ("prefetch_factor", "pin_memory", "is_train", "random_validation", "rng", "random_seed"):
        assert words in caplog.text
    with pytest.raises(ProblemsError, match="did you mean num_workers"):
        get_dataloader(names, num_worker=2)
    with pytest.raises(ProblemsError, match="did you mean num_workers"):
        get_dataloader({**names, "kwargs": {"num_worker": 2}})


def test_what_is_missing_is_told(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "x.zarr")
    with pytest.raises(MissingDataError, match=r"datasplit\.csv"):
        get_dataloader(classes=["mito"], input_array_info=PATCH)
    monkeypatch.chdir(tmp_path)
    assert len(get_dataloader(classes=["mito"], input_array_info=PATCH).train) == 1000
    with pytest.raises(ProblemsError, match="classes") as caught:
        get_dataloader(names["datasplit_path"])
    assert "input_array_info" in str(caught.value)
    with pytest.raises(ProblemsError, match="learning_rat"):
        get_dataloader(names["datasplit_path"], learning_rat=1)
    with pytest.raises(InvalidArgumentError, match=r"a configuration .*got 5"):
        get_dataloader(5, classes=["mito"], input_array_info=PATCH)


def test_loaders_have_what_the_official_loop_asks_for(names):
    train, validation = get_dataloader(names)
    assert len(list(train.loader)) == 2
    train.refresh()
    dataset = train.dataset
    assert dataset.classes == ["mito", "er"]
    assert list(dataset.input_arrays) == ["input"]
    assert list(dataset.target_arrays) == ["output"]
    assert dataset.target_arrays["output"] == {"shape": (8, 8, 8), "scale": (8.0, 8.0, 8.0)}
    counts = dataset.class_counts
    assert counts["totals_total"] == {"mito": 16 * 32 * 32, "er": 16 * 32 * 32}
    assert counts["totals"]["er"] == 0
    mito = counts["totals"]["mito"]
    assert 0 < mito < 16 * 32 * 32
    assert dataset.class_weights == {"mito": (16 * 32 * 32 - mito) / mito, "er": 16 * 32 * 32}
    assert validation.dataset.class_counts["totals_total"] == {"mito": 16**3, "er": 0}
    assert len(dataset) == 2 * 3
    assert len(validation.dataset) == 8


def test_none_of_it_needs_cellmap_data(names, tmp_path):
    code = (
        "import sys; sys.modules['cellmap_data'] = None\n"
        "from csc_data.loader import get_dataloader\n"
        f"loader, _ = get_dataloader({names!r})\n"
        "loader.refresh(); print(loader.dataset.class_weights, len(loader.loader))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
