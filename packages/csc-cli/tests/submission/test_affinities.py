"""Objects that touch are divided by what the network says of their voxels, which is there only while it is needed."""

import numpy as np
import pytest

from csc_cli.submission import plan_submission
from csc_data.challenge.test_crops import read_test_crops, write_test_crops
from csc_data.errors import InvalidArgumentError
from csc_data.formats.writing import create_array, open_array_for_writing
from csc_data.volumes import open_volume
from csc_submit import ProcessSettings, pack_results, process
from csc_train import predict

LINKS = [f"mito_affinity_{offset}" for offset in ("-1_0_0", "0_-1_0", "0_0_-1")]
EXPERIMENT = """
import torch
from torch import nn

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]

class Shades(nn.Module):
    '''Takes each shade of grey for an object of its own.'''

    def forward(self, x):
        channels = [x > 0, x <= 0]
        for inside in channels[:2]:
            channels += [(x == x.roll([-n for n in o], (2, 3, 4))) & inside for o in OFFSETS]
        return torch.cat(channels, dim=1) * 20.0 - 10.0

classes = ["mito", "er"]
model = Shades()
input_array_info = {"shape": (16, 16, 16), "scale": (8, 8, 8)}
targets = {"output": "binary", "links": {"kind": "affinities", "offsets": OFFSETS}}
criterion = "bce"
checkpoint = "untrained"
device = "cpu"
halo = (1, 1, 1)
overlap = 0
block_shape = (16, 16, 16)
steps = {"mito": ["threshold", "mutex_watershed", {"name": "remove_small", "voxels": 2}]}
"""


@pytest.fixture
def touching(world):
    """Return a data folder whose raw shows objects that touch, and those of its first crop."""
    volume = open_volume(world.config.path("raw", dataset="a"))
    grid = volume.levels[0].grid
    z, y, x = np.indices(grid.shape)
    ids = 1 + z // 9 + 5 * (y // 11) + 20 * (x // 7)
    ids[:, 11:14] = 0
    open_array_for_writing(world.config.path("raw", dataset="a") / "s0")[...] = ids
    path = world.config.root / "test_crop_manifest.csv"
    write_test_crops(path, [read_test_crops(path)[1]])
    world.experiment.write_text(EXPERIMENT, "utf-8")
    return world, ids[2:26, 3:29, 4:32]


def same_up_to_names(one, other):
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).shape[1]
    return pairs == len(np.unique(one)) == len(np.unique(other))


def test_objects_that_touch_are_divided_on_the_way_from_raw_to_the_zip(touching):
    world, ids = touching
    grid = read_test_crops(world.config.root / "test_crop_manifest.csv")[1].grid
    for name in ("mito", "er", "nuc"):
        place = {"voxel_size": grid.voxel_size, "translation": grid.translation}
        truth = create_array(
            world.config.path("ground_truth") / "crop1" / name,
            shape=ids.shape, dtype="u1", chunks=ids.shape, attributes=place,
        )  # fmt: skip
        truth[...] = ids if name == "mito" else ids == 0
    plan = plan_submission(world.experiment, config=world.config)
    assert plan.tasks[0].classes == ("er", "mito")
    assert plan.tasks[0].bytes > 5 * ids.size  # two classes and three affinities of one of them
    result = world.submit()
    assert result.problems == ()
    assert result.score.combined.classes["mito"].score == 1
    found = open_volume(world.config.path("submission") / "crop1" / "mito").levels[0].array[...]
    assert same_up_to_names(found, ids)
    assert len(np.unique(found)) > 20
    assert [path.name for path in world.work.iterdir()] == ["record.json"]


def test_the_stages_by_themselves_make_the_same(touching):
    world, _ = touching
    world.submit()
    packed = world.packed()
    made = predict(world.experiment, config=world.config)
    assert set(made.crops[0].classes) == {"mito", "er", *LINKS, *(name.replace("mito", "er") for name in LINKS)}
    rows = process(world.experiment, config=world.config).rows
    assert {(row.class_name, row.status) for row in rows} == {("er", "done"), ("mito", "done")}
    pack_results(config=world.config, existing="overwrite")
    assert world.packed() == packed
    touching_are_one = process(ProcessSettings(classes=("mito",)), config=world.config, existing="overwrite")
    assert touching_are_one.rows[0].instances < 8


def test_what_processing_reads_is_predicted_though_it_was_not_before(touching, monkeypatch):
    world, ids = touching
    steps = EXPERIMENT[EXPERIMENT.index("steps = ") :]
    world.edit(steps, "")
    with monkeypatch.context() as patched:
        patched.setattr("csc_cli.submission.crop.process", None)
        with pytest.raises(TypeError):
            world.submit()
    assert not list(world.work.glob("predictions/*/*/mito_affinity*"))
    world.experiment.write_text(EXPERIMENT, "utf-8")
    assert world.submit().problems == ()
    found = open_volume(world.config.path("submission") / "crop1" / "mito").levels[0].array[...]
    assert same_up_to_names(found, ids)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '"mutex_watershed"',
            '{"name": "mutex_watershed", "offsets": [[2, 0, 0]]}',
            "reads predictions of mito_affinity_2",
        ),
        ("overlap = 0", 'overlap = 0\ntta = "mirror"', "turned patches mix"),
        ("overlap = 0", 'overlap = 0\noutput = "mask"', "masks say where a class is"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_predicted(touching, old, new, words):
    world, _ = touching
    world.edit(old, new)
    for classes in (None, ("mito",)):
        with pytest.raises(InvalidArgumentError, match=words):
            world.submit(classes=classes)
    assert not world.work.joinpath("predictions").exists()
