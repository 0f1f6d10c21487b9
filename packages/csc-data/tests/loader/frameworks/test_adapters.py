"""Batches as PyTorch Connectomics and nnU-Net take them.

Neither is installed here: what stands for them follows their sources (a trainer's step, its data module's loader, the
region-based loss with an ignore label).
"""

from __future__ import annotations

import pytest

from csc_data.geometry import Grid
from csc_data.loader import get_dataloader

torch = pytest.importorskip("torch")

from csc_data.loader.frameworks.connectomics import ConnectomicsDataset  # noqa: E402
from csc_data.loader.frameworks.nnunet import NnunetBatches  # noqa: E402

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}
FLAT = {"shape": (1, 8, 8), "scale": (8, 8, 8)}


@pytest.fixture
def rows(world):
    """A crop with both classes, one with mito alone."""
    world.write_raw(GRID)
    world.write_labels("mito", GRID.window((0, 0, 0), (20, 32, 32)))
    world.write_labels("er", GRID.window((0, 0, 0), (20, 32, 32)))
    world.write_labels("mito", GRID.window((20, 0, 0), (12, 20, 20)), crop="crop2")
    return [
        world.row(["mito", "er"]),
        world.row(["mito"], crop="crop2"),
        world.row(["mito"], crop="crop2", usage="validate"),
    ]


def load(rows, patch=PATCH, **options):
    given = {"batch_size": 3, "input_array_info": patch, "iterations_per_epoch": 4, **options}
    return get_dataloader(rows, ["mito", "er"], **given)


def test_connectomics_gets_image_label_and_mask(rows):
    for loader in load(rows):
        dataset = ConnectomicsDataset(loader)
        # As its data module makes it; its training step reads image and label.
        theirs = torch.utils.data.DataLoader(dataset, batch_size=3, shuffle=False, num_workers=1)
        for batch, ours in zip(theirs, loader, strict=True):
            assert torch.equal(batch["image"], ours["input"])
            known = batch["mask"] == 1
            assert torch.equal(known, ~torch.isnan(ours["output"]))
            assert torch.equal(batch["label"][known], ours["output"][known])
            assert (batch["label"][~known] == 0).all()
    training = load(rows).train
    marked = ConnectomicsDataset(training, unknown=-1.0)
    marked.set_epoch(1)
    training.set_epoch(1)
    assert torch.equal(marked[0]["image"], next(iter(training))["input"][0])
    assert (marked[0]["label"][marked[0]["mask"] == 0] == -1).all()


def region_loss(output, target):
    """nnU-Net's loss of regions with an ignore label, less its Dice term."""
    mask = ~target[:, -1:]
    each = torch.nn.functional.binary_cross_entropy_with_logits(output, target[:, :-1].float(), reduction="none")
    return (each * mask).sum() / torch.clip(mask.sum(), min=1e-8)


@pytest.mark.parametrize("patch", [PATCH, FLAT], ids=["3D", "flat"])
def test_nnunet_trains_on_regions_and_ignores_what_is_unknown(rows, patch):
    loaders = load(rows, patch)
    training = NnunetBatches(loaders.train)
    expected = load(rows, patch).train
    network = torch.nn.Conv2d(1, 2, 1) if patch is FLAT else torch.nn.Conv3d(1, 2, 1)
    kept = 0
    for ours in [*expected, *expected]:  # it counts its iterations itself, over our epochs
        batch = next(training)
        data, target = batch["data"], batch["target"]
        assert torch.equal(data, ours["input"])
        assert target.dtype == torch.bool
        unknown = torch.isnan(ours["output"]).any(dim=1)
        assert torch.equal(target[:, -1], unknown)
        for channel in range(2):
            assert torch.equal(target[:, channel][~unknown], ours["output"][:, channel][~unknown] == 1)
        assert len(batch["keys"]) == 3
        assert set(batch["keys"]) <= {"x/crop1", "x/crop2"}
        loss = region_loss(network(data), target)
        loss.backward()
        assert torch.isfinite(loss)
        kept += int((~unknown).sum())
    assert kept


def test_deep_supervision_shrinks_targets(rows):
    scales = [[1, 1, 1], [0.5, 0.5, 0.5], [0.5, 0.25, 0.25]]
    batch = NnunetBatches(load(rows).train, scales).generate_train_batch()
    whole = NnunetBatches(load(rows).train).generate_train_batch()["target"]
    assert [tuple(each.shape) for each in batch["target"]] == [(3, 3, 8, 8, 8), (3, 3, 4, 4, 4), (3, 3, 4, 2, 2)]
    assert torch.equal(batch["target"][0], whole)
    assert torch.equal(batch["target"][1], whole[:, :, 1::2, 1::2, 1::2])


def test_dropping_it_leaves_no_worker(rows):
    import multiprocessing

    before = len(multiprocessing.active_children())
    training = NnunetBatches(load(rows, num_workers=1).train)
    next(training)
    assert len(multiprocessing.active_children()) == before + 1
    del training
    assert len(multiprocessing.active_children()) == before
