"""Batches in their small form are the very batches that they are unpacked to."""

from __future__ import annotations

import numpy as np
import pytest

from csc_data.challenge import get_tested_classes
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader, unpack_batch
from csc_data.splits.split_file import SplitRow
from csc_data.volumes import write_multiscale

torch = pytest.importorskip("torch")

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
CUBE, PLANE = {"shape": (8, 8, 8), "scale": (8, 8, 8)}, {"shape": (1, 8, 8), "scale": (8, 8, 8)}
TURNED = {"rotate": True, "scale": {"x": [0.8, 1.25]}, "mirror": True}


def rows_of(folder, classes, *, raw="u1", noise=False):
    """Two crops for training, one for validation; neighbouring classes overlap, and each crop lacks some."""
    rng = np.random.default_rng(0)
    ends = (0, 255) if raw == "u1" else (0, 60_000) if raw == "u2" else (0, 1)
    write_multiscale(folder / "raw", [rng.uniform(*ends, GRID.shape).astype(raw)], [GRID])
    rows = []
    for number, usage in enumerate(("train", "train", "validate")):
        place, known = folder / f"crop{number}", [name for n, name in enumerate(classes) if n % 3 != number]
        field = rng.integers(0, 2 if noise else len(classes), (len(classes), *GRID.shape))
        for n, name in enumerate(known):
            mask = field[n] if noise else np.isin(field[0] // 2, (n // 2, n // 2 + 1))
            write_multiscale(place / name, [mask.astype(np.uint8)], [GRID])
        rows.append(SplitRow(usage=usage, raw=str(folder / "raw"), labels=str(place), classes=tuple(known)))
    return rows


def batches(loader):
    return [{name: values.clone() for name, values in batch.items()} for batch in loader]


def assert_same(one, other):
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())  # NaN is NaN


PAIRED = {"output": "binary", "distance": {"kind": "signed_distance", "scale_nm": 20, "in_plane": True}}


@pytest.mark.parametrize(
    ("patch", "raw", "options"),
    [
        (CUBE, "u1", {}),
        (PLANE, "u2", {}),
        (CUBE, "f4", {}),
        (PLANE, "u1", {"raw_range": (-1.0, 1.0), "use_mutual_exclusion": True}),
        (CUBE, "u2", {"raw_range": (0.0, 255.0)}),
        (CUBE, "u1", {"intensity_transforms": {"gamma": {"probability": 1.0}}}),
        (CUBE, "u1", {"targets": PAIRED}),
        (PLANE, "f4", {"targets": PAIRED}),
        (CUBE, "u2", {"interpolation": "cubic"}),
    ],
)
def test_unpacked_they_are_the_batches_that_were_never_packed(tmp_path, patch, raw, options):
    classes = ["mito", "er", "nuc", "ves", "ld"]
    rows = rows_of(tmp_path, classes, raw=raw)
    given = {"batch_size": 3, "iterations_per_epoch": 3, "input_array_info": patch, "spatial_transforms": TURNED}
    plain = get_dataloader(rows, classes, **given, **options)
    packed = get_dataloader(rows, classes, **given, **options, packed=True)
    for one, other in zip(plain, packed, strict=True):
        for dense, small in zip(batches(one), batches(other), strict=True):
            assert small["output"].dtype == torch.uint8
            as_stored = raw != "f4" and not ("intensity_transforms" in options and one is plain.train)
            assert small["input"].dtype == (
                {"u1": torch.uint8, "u2": torch.uint16}[raw] if as_stored else torch.float32
            )
            assert_same(dense, unpack_batch(small))


def test_48_classes_take_a_fortieth_of_the_bytes(tmp_path):
    classes = list(get_tested_classes())
    assert len(classes) == 48
    rows = rows_of(tmp_path, classes)
    patch = {"shape": (24, 24, 24), "scale": (8, 8, 8)}
    given = {"batch_size": 2, "iterations_per_epoch": 2, "input_array_info": patch, "spatial_transforms": TURNED}
    small = batches(get_dataloader(rows, classes, **given, packed=True).train)
    dense = batches(get_dataloader(rows, classes, **given).train)
    for one, other in zip(dense, small, strict=True):
        assert sum(t.nbytes for t in other.values()) * 40 <= sum(t.nbytes for t in one.values())
        assert_same(one, unpack_batch(other))


def test_what_cannot_be_packed_comes_as_it_is(tmp_path, monkeypatch):
    classes = ["mito", "er", "nuc", "ves", "ld"]
    given = {"batch_size": 2, "iterations_per_epoch": 2, "input_array_info": CUBE}
    rows = rows_of(tmp_path / "a", classes)
    own = {"target_value_transforms": lambda values: values * 2}
    dense = batches(get_dataloader(rows, classes, **given, **own).train)
    for one, other in zip(
        dense, batches(get_dataloader(rows, classes, **given, **own, packed=True).train), strict=True
    ):
        assert_same(one, other)
    noise = rows_of(tmp_path / "b", classes, noise=True)
    monkeypatch.setattr("csc_data.loader.sources.label_source.pack_labels", lambda *_: None)
    for batch in get_dataloader(noise, classes, **given, packed=True).train:
        assert batch["output"].dtype == torch.float32


def test_more_numbers_than_a_byte_has_take_two(tmp_path):
    classes = list(get_tested_classes())[:18]
    rows = rows_of(tmp_path, classes, noise=True)
    given = {"batch_size": 2, "iterations_per_epoch": 2, "input_array_info": CUBE}
    dense = batches(get_dataloader(rows, classes, **given).train)
    small = batches(get_dataloader(rows, classes, **given, packed=True).train)
    assert small[0]["output"].dtype == torch.uint16
    for one, other in zip(dense, small, strict=True):
        assert_same(one, unpack_batch(other))


@pytest.mark.slow
def test_workers_pack_as_this_process_does(tmp_path):
    classes = ["mito", "er", "nuc", "ves", "ld"]
    rows = rows_of(tmp_path, classes)
    given = {"batch_size": 2, "iterations_per_epoch": 4, "input_array_info": CUBE, "packed": True}
    alone = batches(get_dataloader(rows, classes, **given).train)
    for one, other in zip(alone, batches(get_dataloader(rows, classes, **given, num_workers=2).train), strict=True):
        assert_same(unpack_batch(one), unpack_batch(other))  # the same classes may have other numbers


def test_a_device_with_memory_of_its_own_is_sent_the_small_form(tmp_path, monkeypatch):
    classes = ["mito", "er", "nuc", "ves", "ld"]
    rows = rows_of(tmp_path, classes)
    given = {"batch_size": 2, "iterations_per_epoch": 2, "input_array_info": CUBE}
    sent = []
    monkeypatch.setattr("csc_data.loader.batches.on_accelerator", lambda device: device is not None)
    monkeypatch.setattr(
        "csc_data.loader.batches.unpack_batch", lambda batch: sent.append(batch["output"].dtype) or unpack_batch(batch)
    )
    dense = batches(get_dataloader(rows, classes, **given).train)
    loader = get_dataloader(rows, classes, **given, device="cpu").train
    sent.clear()
    for one, other in zip(dense, batches(loader), strict=True):
        assert_same(one, other)
    assert set(sent) == {torch.uint8}
