"""A loader's samples one by one, for torch's own loader."""

from __future__ import annotations

import pytest

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader

torch = pytest.importorskip("torch")

from csc_data.loader.dataset import SampleDataset  # noqa: E402

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}


@pytest.fixture
def loaders(world):
    world.write_raw(GRID)
    world.write_labels("mito", GRID)
    rows = [world.row(["mito"]), world.row(["mito"], usage="validate")]
    return get_dataloader(rows, ["mito"], batch_size=4, input_array_info=PATCH, iterations_per_epoch=3)


def load(dataset, **options):
    return [batch["input"] for batch in torch.utils.data.DataLoader(dataset, batch_size=4, **options)]


def test_torchs_own_loader_gives_the_same_batches(loaders):
    for loader in loaders:
        ours = [batch["input"] for batch in loader]
        theirs = load(loader.dataset)
        assert len(theirs) == len(ours)
        assert all(map(torch.equal, theirs, ours))


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_an_epoch_is_chosen_for_workers_that_live_already(loaders, options):
    dataset = loaders.train.dataset
    torch_loader = torch.utils.data.DataLoader(dataset, batch_size=4, **options)
    epochs = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        epochs.append(torch.cat([batch["input"] for batch in torch_loader]))
    for epoch in epochs:
        assert torch.equal(epoch, torch.cat([batch["input"] for batch in loaders.train]))


def test_samples_end(loaders):
    tiles = loaders.validation.dataset
    assert len(tiles) == 64
    for index in (64, -1):
        with pytest.raises(IndexError, match=f"sample {index} of 64"):
            tiles[index]
    assert len(SampleDataset(loaders.train.patches, length=10)) == 10
    with pytest.raises(InvalidArgumentError, match="length"):
        SampleDataset(loaders.train.patches)
    with pytest.raises(InvalidArgumentError, match="64"):
        SampleDataset(loaders.validation.patches, length=65)
