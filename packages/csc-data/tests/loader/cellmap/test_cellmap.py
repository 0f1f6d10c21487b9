import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.volumes import create_multiscale

torch = pytest.importorskip("torch")
pytest.importorskip("cellmap_data")

from cellmap_data import (  # noqa: E402
    CellMapDataLoader,
    CellMapDataset,
    CellMapDataSplit,
    CellMapMultiDataset,
)
from cellmap_data.transforms.augment import Binarize, NaNtoNum  # noqa: E402

from csc_data.loader.cellmap import (  # noqa: E402
    as_cellmap_dataset,
    as_cellmap_loader,
    as_cellmap_loaders,
    as_cellmap_split,
)

CLASSES = ["mito", "er"]
GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 40, 40))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}
FLAT = {"shape": (1, 8, 8), "scale": (8, 8, 8)}


@pytest.fixture
def rows(world):
    """Two training crops, of which the second lacks er, and a validation crop that is not a multiple of the patch."""
    world.write_raw(GRID)
    world.write_labels("mito", GRID.window((0, 0, 0), (20, 40, 40)))
    world.write_labels("er", GRID.window((0, 0, 0), (20, 40, 40)))
    world.write_labels("mito", GRID.window((20, 0, 0), (20, 20, 20)), crop="crop2")
    world.write_labels("mito", GRID.window((20, 20, 20), (12, 16, 16)), crop="crop3")
    return [
        world.row(CLASSES),
        world.row(["mito"], crop="crop2"),
        world.row(["mito"], crop="crop3", usage="validate"),
    ]


def load(rows, patch=PATCH, **options):
    given = {"batch_size": 2, "iterations_per_epoch": 4, **options}
    return get_dataloader(rows, CLASSES, input_array_info=patch, **given)


def test_everything_is_what_code_for_cellmap_data_asks_for(rows):
    loaders = load(rows)
    split = as_cellmap_split(loaders)
    assert isinstance(split, CellMapDataSplit)
    assert isinstance(split.train_datasets_combined, CellMapMultiDataset)
    assert isinstance(split.validation_datasets_combined, CellMapMultiDataset)
    datasets = [*split.train_datasets, *split.validation_datasets]
    assert len(datasets) == 3
    assert all(isinstance(dataset, CellMapDataset) and dataset.verify() for dataset in datasets)
    assert all(isinstance(loader, CellMapDataLoader) for loader in as_cellmap_loaders(loaders))
    for thing in (split, *datasets, *as_cellmap_loaders(loaders)):
        assert list(thing.classes) == CLASSES
        assert thing.to("cpu") is thing
    assert split.input_arrays == {"input": {"shape": (8, 8, 8), "scale": (8.0, 8.0, 8.0)}}
    assert list(split.target_arrays) == ["output"]
    assert split.train_datasets[1].target_path == f"{rows[1].labels}/[mito]"
    assert "crop2" in repr(split.train_datasets[1])


@pytest.mark.parametrize("patch", [PATCH, FLAT], ids=["3D", "flat"])
def test_batches_of_their_loader_look_as_they_do_on_their_own_dataset(rows, patch):
    def first_batch(dataset):
        return next(iter(CellMapDataLoader(dataset, classes=CLASSES, batch_size=3, weighted_sampler=True)))

    theirs = CellMapDataSplit(
        input_arrays={"input": patch},
        target_arrays={"output": patch},
        classes=CLASSES,
        pad=True,
        dataset_dict={"train": [{"raw": r.raw, "gt": f"{r.labels}/[{','.join(r.classes)}]"} for r in rows[:2]]},
    )
    expected = first_batch(theirs.train_datasets_combined)
    batch = first_batch(as_cellmap_split(load(rows, patch)).train_datasets_combined)
    assert {name: (values.shape, values.dtype) for name, values in batch.items()} == {
        name: (values.shape, values.dtype) for name, values in expected.items()
    }


def test_their_balanced_sampler_draws_from_the_crops_that_it_chose(rows):
    combined = as_cellmap_split(load(rows)).train_datasets_combined
    np.testing.assert_array_equal(combined.get_crop_class_matrix(), [[True, True], [True, False]])
    loader = CellMapDataLoader(combined, batch_size=1, weighted_sampler=True, iterations_per_epoch=60)
    assert len(loader) == 60
    numbers = Counter()
    for batch in loader:
        known = ~torch.isnan(batch["output"][0])
        numbers[bool(known[1].any())] += 1
        assert known[0].all()
    assert numbers[True] > numbers[False] > 0  # the first crop has both classes, er is found nowhere else


def test_their_seed_decides_and_each_epoch_is_new(rows):
    split = as_cellmap_split(load(rows, spatial_transforms={"mirror": True, "transpose": True}))

    def epochs(seed):
        torch.manual_seed(seed)
        combined = split.train_datasets_combined
        loader = CellMapDataLoader(combined, batch_size=4, weighted_sampler=True, iterations_per_epoch=12)
        return [torch.cat([batch["input"] for batch in loader]) for _ in range(2)]

    first, again, other = epochs(1), epochs(1), epochs(2)
    assert torch.equal(torch.cat(first), torch.cat(again))
    assert not torch.equal(first[0], other[0])
    samples = {sample.numpy().tobytes() for epoch in first for sample in epoch}
    assert len(samples) == 24


@pytest.mark.slow
def test_workers_of_their_loader_draw_samples_of_their_own(rows):
    torch.manual_seed(0)  # two draws may fall on one place by chance
    combined = as_cellmap_split(load(rows)).train_datasets_combined
    loader = CellMapDataLoader(combined, batch_size=2, num_workers=2, weighted_sampler=True, iterations_per_epoch=16)
    samples = [sample.numpy().tobytes() for batch in loader for sample in batch["input"]]
    assert len(set(samples)) == len(samples) == 16


def test_their_loader_tiles_the_validation_crops_once(rows):
    split = as_cellmap_split(load(rows, validation_batch_limit=1))
    blocks = split.validation_blocks.to("cpu")
    batches = list(CellMapDataLoader(blocks, classes=CLASSES, batch_size=3, is_train=False))
    outputs = torch.cat([batch["output"] for batch in batches])
    assert len(outputs) == len(blocks) == 2 * 2 * 2
    counts = split.class_counts["validate"]
    assert counts["totals_total"] == {"mito": 12 * 16 * 16, "er": 0}
    assert int((~torch.isnan(outputs[:, 0])).sum()) == counts["totals_total"]["mito"]
    assert int((outputs[:, 0] == 1).sum()) == counts["totals"]["mito"] > 0
    assert torch.isnan(outputs[:, 1]).all()
    again = [batch["input"] for batch in CellMapDataLoader(blocks, classes=CLASSES, batch_size=3, is_train=False)]
    assert torch.equal(torch.cat(again), torch.cat([batch["input"] for batch in batches]))
    assert list(blocks.classes) == CLASSES


def test_their_own_split_and_combination_take_our_crops(rows):
    ours = as_cellmap_split(load(rows))
    theirs = CellMapDataSplit(
        input_arrays=ours.input_arrays,
        target_arrays=ours.target_arrays,
        classes=CLASSES,
        datasets={"train": ours.train_datasets, "validate": ours.validation_datasets},
    )
    assert type(theirs.train_datasets_combined) is CellMapMultiDataset
    assert theirs.train_datasets_combined.class_weights == ours.train_datasets_combined.class_weights
    blocks = theirs.validation_blocks
    assert len(blocks) == 8
    assert blocks[0]["input"].shape == (1, 8, 8, 8)
    box = ours.train_datasets[1].bounding_box
    assert box == {"z": (160.0, 320.0), "y": (0.0, 160.0), "x": (0.0, 160.0)}
    assert ours.train_datasets[1].sampling_box["z"] == (192.0, 288.0)


def test_counts_are_those_of_the_annotation_which_stays_as_it_is(rows, world, digest):
    before = digest(world.folder / "x.zarr")
    split = as_cellmap_split(load(rows))
    combined = split.train_datasets_combined
    present = [int((world.raw(GRID.window(*box)) > 0.5).sum()) for box in
               [((0, 0, 0), (20, 40, 40)), ((20, 0, 0), (20, 20, 20))]]  # fmt: skip
    counts = combined.class_counts
    assert counts["totals"] == {"mito": sum(present), "er": present[0]}
    assert counts["totals_total"] == {"mito": 20 * 40 * 40 + 20**3, "er": 20 * 40 * 40}
    assert combined.class_weights["er"] == pytest.approx((20 * 40 * 40 - present[0]) / present[0])
    source = split.train_datasets[0].target_sources["er"]
    assert (source.class_counts, source.total_voxels) == ({"er": present[0]}, 20 * 40 * 40)
    assert split.class_counts["train"] == counts
    assert digest(world.folder / "x.zarr") == before


def official_epochs(train_loader, val_loader, epochs, iterations):
    """The loop of the official toolbox, less network and files: what it asks of its loaders, in its order."""
    pos_weight = torch.tensor(list(train_loader.dataset.class_weights.values()), dtype=torch.float32).flatten()
    (input_key,) = train_loader.dataset.input_arrays
    (target_key,) = train_loader.dataset.target_arrays
    model = torch.nn.Conv3d(1, 2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = torch.nn.BCEWithLogitsLoss(reduction="none", pos_weight=pos_weight[:, None, None, None])
    seen, scores = [], []

    def loss_of(batch):
        inputs, targets = batch[input_key].to("cpu"), batch[target_key].to("cpu")
        known = ~torch.isnan(targets)
        return criterion(model(inputs), targets.nan_to_num())[known].mean()

    for _ in range(epochs):
        train_loader.refresh()
        loader = iter(train_loader.loader)
        seen.append([])
        for _ in range(iterations):
            batch = next(loader)
            seen[-1].append(batch[input_key].clone())
            optimizer.zero_grad()
            loss_of(batch).backward()
            optimizer.step()
        del loader
        assert len(val_loader.loader) > 0
        val_loader.refresh()
        with torch.no_grad():
            losses = []
            for i, batch in enumerate(val_loader.loader):
                losses.append(float(loss_of(batch)))
                if i == 1:
                    break  # validation_batch_limit
        scores.append(np.mean(losses))
    return [torch.cat(epoch) for epoch in seen], scores


def test_the_official_training_loop_runs_and_each_of_its_epochs_is_new(rows):
    loaders = load(rows, random_seed=3)
    seen, scores = official_epochs(*as_cellmap_loaders(loaders), epochs=3, iterations=4)
    samples = {sample.numpy().tobytes() for epoch in seen for sample in epoch}
    assert len(samples) == 3 * 4 * 2
    assert np.isfinite(scores).all()
    again, _ = official_epochs(*as_cellmap_loaders(load(rows, random_seed=3)), epochs=3, iterations=4)
    assert all(torch.equal(a, b) for a, b in zip(seen, again, strict=True))


def test_our_loader_gives_the_batches_of_the_loader_that_it_was_made_of(rows):
    plain = [batch["input"].clone() for batch in load(rows).train]
    loader = as_cellmap_loader(load(rows).train)
    assert len(loader) == loader.iterations_per_epoch == len(plain) == 4
    assert loader.is_train
    assert loader.batch_size == 2
    assert not as_cellmap_loader(load(rows).validation).is_train
    assert all(torch.equal(batch["input"], other) for batch, other in zip(loader, plain, strict=True))


def test_several_arrays_keep_their_names(rows):
    coarse = {"shape": (4, 4, 4), "scale": (16, 16, 16)}
    loaders = load(rows, {"input": PATCH, "around": coarse}, target_array_info={"output": PATCH})
    combined = as_cellmap_split(loaders).train_datasets_combined
    assert combined.input_arrays["around"] == {"shape": (4, 4, 4), "scale": (16.0, 16.0, 16.0)}
    for loader in (CellMapDataLoader(combined, batch_size=2), as_cellmap_loader(loaders.train)):
        batch = next(iter(loader))
        assert [batch[name].shape[2:] for name in combined.input_arrays] == [(8, 8, 8), (4, 4, 4)]
        assert all(batch[name].shape[:2] == (2, 2) for name in combined.target_arrays)


def test_batches_go_where_the_loader_is_sent(rows):
    loader = as_cellmap_loader(load(rows).train)
    assert loader.device == "cpu"
    batch = next(iter(loader.to("meta")))
    assert {tensor.device.type for tensor in batch.values()} == {"meta"}


def test_batches_can_be_kept(rows):
    kept = list(as_cellmap_loader(load(rows).train))
    assert len({batch["input"].numpy().tobytes() for batch in kept}) == 4


def test_transforms_are_set_for_a_crop_or_for_all(rows):
    split = as_cellmap_split(load(rows))
    first, second = split.train_datasets
    first.set_raw_value_transforms(lambda values: values * 0 + 7)
    second.set_target_value_transforms({"mito": lambda values: values + 10})
    assert (first[0]["input"] == 7).all()
    assert (second[0]["input"] < 2).all()
    known = second[0]["output"][0]
    assert set(known.unique().tolist()) <= {10.0, 11.0}
    split.set_raw_value_transforms(NaNtoNum({"nan": 0}), lambda values: values * 0 - 1)
    split.set_target_value_transforms(Binarize())
    assert (first[0]["input"] < 2).all()
    assert (split.validation_blocks[0]["input"] == -1).all()
    with pytest.raises(ProblemsError, match="did you mean mito"):
        first.set_target_value_transforms({"mit": Binarize()})


def test_spatial_transforms_are_set_for_training_and_refused_for_validation(rows, world):
    def slopes(sample):
        raw = sample["input"][0].double().numpy()
        return [float(np.mean(np.diff(raw, axis=axis))) > 0 for axis in range(3)]

    split = as_cellmap_split(load(rows))
    assert all(slopes(split.train_datasets[0][0]))
    split.set_spatial_transforms({"mirror": {"axes": {"y": 1.0}}})
    assert slopes(split.train_datasets_combined[0]) == [True, False, True]
    (tiled,) = split.validation_datasets
    tiled.set_spatial_transforms(None)
    with pytest.raises(InvalidArgumentError, match="never transformed"):
        tiled.set_spatial_transforms({"mirror": {"axes": {"y": 1.0}}})
    with pytest.raises(InvalidArgumentError, match="make another split"):
        split.set_arrays({"output": FLAT})
    with pytest.raises(InvalidArgumentError, match="tiles are"):
        tiled.get_indices({"z": 32.0, "y": 32.0, "x": 32.0})


def test_a_datasplit_without_validation_trains_all_the_same(rows):
    loaders = load(rows[:2])
    split = as_cellmap_split(loaders)
    assert split.validation_datasets == []
    with pytest.raises(MissingDataError, match="no validation crops"):
        _ = split.validation_blocks
    train_loader, val_loader = as_cellmap_loaders(loaders)
    assert val_loader is None
    assert len(list(train_loader)) == 4


def test_their_loader_can_shuffle_a_crop_of_a_billion_voxels(world):
    huge = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(1000, 1000, 1000))
    create_multiscale(world.folder / "x.zarr" / "raw", huge, dtype=np.uint8, chunks=(64, 64, 64))
    create_multiscale(world.folder / "x.zarr" / "labels" / "crop1" / "mito", huge, dtype=np.uint8, chunks=(64, 64, 64))
    combined = as_cellmap_dataset(load([world.row(["mito"])], weighted_sampler=False).train.patches)
    assert 1 << 19 < len(combined) <= 1 << 20
    batch = next(iter(CellMapDataLoader(combined, batch_size=2)))
    assert batch["input"].shape == (2, 1, 8, 8, 8)


def test_indices_beyond_the_end_and_pickling(rows):
    split = as_cellmap_split(load(rows))
    for dataset in (split.train_datasets[0], split.validation_datasets[0]):
        with pytest.raises(IndexError):
            dataset[len(dataset)]
        copy = pickle.loads(pickle.dumps(dataset))
        assert copy[0]["output"].shape == (2, 8, 8, 8)
        assert len(dataset.get_indices({"z": 64.0, "y": 64.0, "x": 64.0})) > 0
    tiles = list(split.validation_datasets[0])
    assert len(tiles) == 8


def test_the_loader_itself_does_not_import_cellmap_data():
    code = "import sys, csc_data.loader; sys.exit(bool({'cellmap_data', 'torch', 'torchvision'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
