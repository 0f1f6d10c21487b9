"""Batches gathered on a device are those of workers: the same samples, raw but for rounding, and the same targets."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from csc_data.errors import ProblemsError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.loader.intensity.transforms import ORDER
from csc_data.splits.split_file import SplitRow
from csc_data.volumes import write_multiscale

torch = pytest.importorskip("torch")

from csc_data.loader.device import gathering  # noqa: E402
from csc_data.loader.device.regions import DeviceRegion, regions_on  # noqa: E402

CLASSES = ["mito", "er", "nuc", "ves", "ld"]
RAW = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 44, 48))
BOX = (6, 8, 4), (28, 28, 32)
CUBE, PLANE = {"shape": (10, 12, 14), "scale": (8, 8, 8)}, {"shape": (1, 12, 14), "scale": (8, 8, 8)}
BENT = {"rotate": True, "scale": {"x": [0.8, 1.25]}, "mirror": True, "elastic": {"spacing_nm": 40, "amplitude_nm": 8}}
GREY = 1 / 255


def rows_of(folder, *, raw="u1", crops=2, noise=False):
    """Crops for training, one for validation; neighbouring classes overlap, and each crop lacks some."""
    rng = np.random.default_rng(0)
    ends = (0, 256) if raw == "u1" else (0, 60_000) if raw == "u2" else (0, 1)
    write_multiscale(folder / "raw", [rng.uniform(*ends, RAW.shape).astype(raw)], [RAW])
    grid, rows = RAW.window(*BOX), []
    for number in range(crops + 1):
        place, known = folder / f"crop{number}", [name for n, name in enumerate(CLASSES) if n % 3 != number]
        field = rng.integers(0, 2 if noise else len(CLASSES), (len(CLASSES), *grid.shape))
        for n, name in enumerate(known):
            mask = field[n] if noise else np.isin(field[0] // 2, (n // 2, n // 2 + 1))
            write_multiscale(place / name, [mask.astype(np.uint8)], [grid])
        usage = "validate" if number == crops else "train"
        rows.append(SplitRow(usage=usage, raw=str(folder / "raw"), labels=str(place), classes=tuple(known)))
    return rows


def batches(loader):
    return [{name: values.clone() for name, values in batch.items()} for batch in loader]


def assert_close(one, other, step=GREY):
    """Raw may differ by a grey level in a voxel of a thousand; a label at the border of two voxels but for rounding."""
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert one[name].shape == other[name].shape
        a, b = one[name].numpy(), other[name].numpy()
        if name == "input":
            assert np.abs(a - b).max() <= step * 1.001
            assert (np.abs(a - b) > step / 100).mean() <= 0.001
        else:
            assert (~((a == b) | (np.isnan(a) & np.isnan(b)))).mean() <= 1e-4


def loaders(rows, gather_on, **options):
    given = {"batch_size": 3, "iterations_per_epoch": 4, "input_array_info": CUBE, "spatial_transforms": BENT}
    return get_dataloader(rows, CLASSES, gather_on=gather_on, **{**given, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"input_array_info": PLANE},
        {"raw_range": (-1.0, 1.0), "use_mutual_exclusion": True},
        {"spatial_transforms": None},
        {"spatial_transforms": {"mirror": True, "transpose": True}, "with_positions": True},
        {
            "input_array_info": {"a": CUBE, "around": {"shape": (6, 6, 6), "scale": (16, 16, 16)}},
            "target_array_info": {"shape": (4, 6, 8), "scale": (8, 8, 8)},
        },
        {"rank": 1, "world_size": 2, "random_seed": 3, "foreground_share": 0.5},
    ],
)
def test_batches_are_those_of_the_cpu(tmp_path, options):
    rows = rows_of(tmp_path)
    step = GREY * (2 if "raw_range" in options else 1)
    of_cpu, of_device = loaders(rows, "cpu", **options), loaders(rows, "device", **options)
    for one, other in zip(of_cpu, of_device, strict=True):
        assert len(one) == len(other)
        for _ in range(2):  # epochs
            for expected, found in zip(batches(one), batches(other), strict=True):
                assert_close(expected, found, step)


def test_two_iterations_at_a_time_and_a_certain_epoch(tmp_path):
    rows = rows_of(tmp_path)
    of_cpu, of_device = (loaders(rows, place).train for place in ("cpu", "device"))
    expected = [batches(of_cpu) for _ in range(2)]
    first, second = iter(of_device), iter(of_device)
    for number in range(len(of_device)):
        assert_close(expected[0][number], next(first))
        assert_close(expected[1][number], next(second))
    for ended in (first, second):
        with pytest.raises(StopIteration):
            next(ended)
    next(iter(of_device))  # dropped before its end
    of_device.set_epoch(1)
    assert_close(expected[1][0], next(iter(of_device)))


@pytest.mark.parametrize("name", [*(kind.name for kind in ORDER), "all"])
def test_intensities_are_changed_as_on_the_cpu(tmp_path, name):
    rows = rows_of(tmp_path)
    changes = {kind.name: {"probability": 1} for kind in ORDER if name in (kind.name, "all")}
    plain = {"spatial_transforms": {"mirror": True}, "raw_range": (-2, 3), "iterations_per_epoch": 2}
    expected, found = (
        batches(loaders(rows, place, intensity_transforms=changes, **plain).train) for place in ("cpu", "device")
    )
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one["input"].numpy(), other["input"].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "raw", "why"),
    [
        ({"target_value_transforms": lambda values: values * 2}, "u1", "value transforms"),
        ({"interpolation": "cubic"}, "u1", "cubic"),
        ({"targets": {"output": "binary", "edge": "boundaries"}}, "u1", "binary"),
        ({}, "f4", "uint8 or uint16"),
    ],
)
def test_what_only_the_cpu_can_do_it_does(tmp_path, caplog, options, raw, why):
    rows = rows_of(tmp_path, raw=raw)
    caplog.set_level(logging.INFO)
    expected = batches(loaders(rows, "cpu", **options).train)
    assert "gathered on the CPU" not in caplog.text
    found = batches(loaders(rows, "device", **options).train)
    assert why in next(line for line in caplog.messages if "gathered on the CPU" in line)
    for one, other in zip(expected, found, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())


@pytest.mark.parametrize("lacking", ["labels that do not pack", "a cache for nothing", "one for labels alone"])
def test_what_cannot_be_held_is_gathered_here_and_sent(tmp_path, monkeypatch, lacking):
    rows = rows_of(tmp_path, noise=True)
    expected = batches(loaders(rows, "cpu").train)
    if lacking == "labels that do not pack":
        monkeypatch.setattr("csc_data.loader.sources.label_source.pack_labels", lambda *_: None)
    size = 1 << 30 if lacking.startswith("labels") else 0 if lacking == "a cache for nothing" else 140_000
    for one, other in zip(expected, batches(loaders(rows, "device", cache_bytes=size).train), strict=True):
        assert_close(one, other)


def test_uint16_keeps_its_levels(tmp_path):
    rows = rows_of(tmp_path, raw="u2")
    for one, other in zip(batches(loaders(rows, "cpu").train), batches(loaders(rows, "device").train), strict=True):
        assert np.abs(one["input"].numpy() - other["input"].numpy()).max() <= 1.001 / 65535


def test_a_region_is_sent_once_and_leaves_for_others(tmp_path, monkeypatch):
    rows = rows_of(tmp_path, crops=8)
    given = {"iterations_per_epoch": 20, "spatial_transforms": {"mirror": True}}
    sent = []
    make = DeviceRegion.__init__
    monkeypatch.setattr(DeviceRegion, "__init__", lambda self, **given: sent.append(given) or make(self, **given))
    loader = loaders(rows, "device", **given).train
    expected = batches(loader)
    assert len(sent) == 9  # labels of eight crops, and their raw, which is the same
    held = regions_on("cpu", loader.patches.reader.regions)
    most = held.held_bytes
    assert most == sum(each["flat"].nbytes + (0 if each["values"] is None else each["values"].nbytes) for each in sent)
    small = loaders(rows, "device", **given, cache_bytes=140_000).train
    sent.clear()
    for one, other in zip(expected, batches(small), strict=True):
        assert_close(one, other)
    held = regions_on("cpu", small.patches.reader.regions)
    assert 0 < held.held_bytes <= 140_000 < most
    assert len(sent) > 9


def test_a_few_planes_at_a_time_give_the_same(tmp_path, monkeypatch):
    rows = rows_of(tmp_path)
    whole = batches(loaders(rows, "device").train)
    monkeypatch.setattr(gathering, "_VOXELS_AT_ONCE", 3 * 12 * 14 + 1)
    for one, other in zip(whole, batches(loaders(rows, "device").train), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())


def test_a_wrong_place_is_refused(tmp_path):
    with pytest.raises(ProblemsError, match="gather_on"):
        loaders(rows_of(tmp_path), "gpu")
