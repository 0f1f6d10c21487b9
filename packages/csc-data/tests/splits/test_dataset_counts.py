from __future__ import annotations

import numpy as np
import pytest

from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.dataset_counts import CountOptions, count_by_dataset
from csc_data.splits.search import CropTemplates
from csc_data.volumes import downsampled_grid, write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
COARSE = downsampled_grid(GRID, (2, 2, 2))


@pytest.fixture
def templates(tmp_path):
    config = Config(data=str(tmp_path))
    for dataset, crop, name, count in (
        ("jrc_a", "crop1", "mito", 8),
        ("jrc_a", "crop2", "mito", 0),
        ("jrc_a", "crop1", "er", 64),
        ("jrc_b", "crop3", "mine", 1),
    ):
        values = np.zeros(GRID.shape, "u1")
        values.ravel()[:count] = 1
        folder = config.path("labels", dataset=dataset, crop=crop, class_name=name)
        write_multiscale(folder, [values, values[::2, ::2, ::2]], [GRID, COARSE])
        write_multiscale(config.path("raw", dataset=dataset), [values], [GRID], overwrite=True)
    return CropTemplates.below(config)


def test_classes_are_counted_by_data_set_and_scale(templates):
    counts, left_out = count_by_dataset(templates)
    table = [(c.dataset, c.class_name, c.voxel_size[0], c.crops, c.crops_present, c.size, c.present) for c in counts]
    assert table == [  # classes in the order of their ids: mito is 50, er 51; others follow
        ("jrc_a", "mito", 8, 2, 1, 128, 8),
        ("jrc_a", "mito", 16, 2, 1, 16, 2),
        ("jrc_a", "er", 8, 1, 1, 64, 64),
        ("jrc_a", "er", 16, 1, 1, 8, 8),
        ("jrc_b", "mine", 8, 1, 1, 64, 1),
        ("jrc_b", "mine", 16, 1, 1, 8, 1),
    ]
    assert left_out == []


def test_the_finest_scale_alone_and_some_classes(templates):
    counts, left_out = count_by_dataset(templates, CountOptions(classes=["er"], all_levels=False))
    assert [(c.dataset, c.class_name, c.present) for c in counts] == [("jrc_a", "er", 64)]
    assert {problem.where for problem in left_out} == {"jrc_a/crop2", "jrc_b/crop3"}
