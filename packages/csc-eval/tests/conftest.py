"""Builders of zarr trees, the golden cases, and a naive reference of the scoring."""

from __future__ import annotations

import itertools
import json
import lzma
import os
from pathlib import Path

import numcodecs
import numpy as np
import pytest
from scipy import ndimage

os.environ.pop("COLUMNS", None)  # readline tells it to the processes that tests run in, and tables would be folded

DATA = Path(__file__).parent / "data"


def _write_array(
    path,
    values,
    *,
    chunks=None,
    order="C",
    attributes=None,
    compressor="zlib",
    separator=".",
    fill_value=0,
    skip_empty=True,
    filters=(),
):
    """Write a zarr v2 array file by file, independent of any zarr library."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    chunks = tuple(chunks or values.shape)
    metadata = {
        "zarr_format": 2,
        "shape": list(values.shape),
        "chunks": list(chunks),
        "dtype": values.dtype.str,
        "compressor": {"id": compressor} if compressor else None,
        "fill_value": fill_value,
        "order": order,
        "filters": list(filters) or None,
        "dimension_separator": separator,
    }
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / ".zattrs").write_text(json.dumps(attributes or {}))
    for index in itertools.product(*(range(-(-n // c)) for n, c in zip(values.shape, chunks, strict=True))):
        chunk = np.full(chunks, fill_value, values.dtype)
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        chunk[tuple(map(slice, part.shape))] = part
        if skip_empty and fill_value == 0 and not part.any():
            continue
        data = chunk.tobytes(order=order)
        for step in filters:
            codec = numcodecs.get_codec(dict(step))
            encoded = codec.encode(np.frombuffer(data, values.dtype) if codec.codec_id != "shuffle" else data)
            data = bytes(np.ascontiguousarray(encoded))
        if compressor:
            data = bytes(numcodecs.get_codec({"id": compressor}).encode(data))
        target = path / separator.join(map(str, index))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


@pytest.fixture(scope="session")
def write_array():
    return _write_array


class Golden:
    """The golden cases: inputs to be written anywhere, and the official numbers."""

    def __init__(self) -> None:
        document = json.loads((DATA / "golden.json").read_text())
        self.cases = document["cases"]
        self._kinds = document["arrays"]
        self._blobs = np.load(DATA / "golden_arrays.npz")

    def array(self, key):
        kind = self._kinds[key]
        raw = lzma.decompress(self._blobs[key].tobytes())
        if kind["kind"] == "raw":
            return np.frombuffer(raw, kind["dtype"]).reshape(kind["shape"])
        delta = np.frombuffer(raw, np.int32).reshape(kind["shape"])
        return np.cumsum(delta, axis=-1, dtype=np.int64).astype(kind["dtype"])

    def write(self, name, folder, **options):
        """Write a case's truth and submission below a folder; returns both paths."""
        for node in self.cases[name]["nodes"]:
            path = Path(folder, node["path"])
            if "array" not in node:
                path.mkdir(parents=True, exist_ok=True)
                (path / ".zgroup").write_text('{"zarr_format": 2}')
                if node["attrs"]:
                    (path / ".zattrs").write_text(json.dumps(node["attrs"]))
                continue
            values = self.array(node["array"])
            how = {"chunks": [min(c, n) for c, n in zip(node["chunks"], values.shape, strict=True)], **options}
            if values.ndim != 3:
                how.pop("chunks", None)
            _write_array(path, values, order=node["order"], attributes=node["attrs"], **how)
        return Path(folder, "submission.zarr"), Path(folder, "ground_truth.zarr")


@pytest.fixture(scope="session")
def golden():
    return Golden()


def pytest_generate_tests(metafunc):
    if "golden_name" in metafunc.fixturenames:
        metafunc.parametrize("golden_name", sorted(json.loads((DATA / "golden.json").read_text())["cases"]))


def _naive_components(volume, order="C"):
    """26-connected components of equal values, numbered by their first voxel; one ndimage.label per value."""
    pieces = []
    flat = np.arange(volume.size).reshape(volume.shape, order=order)
    for value in np.unique(volume[(volume != 0) & (volume == volume)]):
        labels, count = ndimage.label(volume == value, np.ones((3, 3, 3)))
        pieces += [labels == i for i in range(1, count + 1)]
    for place in np.argwhere(volume != volume):
        single = np.zeros(volume.shape, bool)
        single[tuple(place)] = True
        pieces.append(single)
    return sorted(pieces, key=lambda piece: flat[piece].min())


def _naive_hausdorff(a, b, voxel_size, cap):
    if not a.any() or not b.any():
        return cap
    to_b, to_a = (ndimage.distance_transform_edt(~mask, sampling=voxel_size) for mask in (b, a))
    return min(cap, max(to_b[a].max(), to_a[b].max()))


def _naive_score(truth, prediction, voxel_size, matching, *, collide, order="C"):
    """Counts and distance sum, given the matching {component number: truth id}."""
    pieces = _naive_components(prediction, order)
    ids = [int(i) for i in np.unique(truth) if i != 0]
    cap = min(v * n / 2 for v, n in zip(voxel_size, truth.shape, strict=True))
    distances = []
    for i in ids:
        bearers = [k for k, t in matching.items() if t == i]
        if collide and 1 <= i <= len(pieces) and i not in matching:
            bearers.append(i)
        union = np.zeros(truth.shape, bool).__ior__(sum((pieces[k - 1] for k in bearers), np.zeros(truth.shape, bool)))
        distances.append(_naive_hausdorff(truth == i, union, voxel_size, cap))
    distances += [cap] * (len(pieces) - len(matching))
    norms = 1.01 ** (-np.array(distances, np.float32).astype(float) / np.linalg.norm(voxel_size))
    tp = len(matching)
    return tp, len(pieces) - tp, len(ids) - tp, float(norms.sum()), len(distances)


@pytest.fixture(scope="session")
def naive_components():
    return _naive_components


@pytest.fixture(scope="session")
def naive_score():
    return _naive_score


def _random_pair(rng):
    """A small truth and a prediction that is a disturbed copy of it, of random shape and dtypes."""
    shape = tuple(rng.integers(1, 11, 3))
    n_ids = int(rng.integers(1, 6))
    truth = rng.integers(0, n_ids + 1, shape) * (rng.random(shape) < rng.choice([0.15, 0.5, 0.9]))
    if rng.random() < 0.5:  # smoother objects
        seeds = rng.random((n_ids + 2, 3)) * shape
        grid = np.moveaxis(np.indices(shape), 0, -1)[..., None, :]
        truth = np.linalg.norm(grid - seeds, axis=-1).argmin(-1) % (n_ids + 1)
    prediction = truth.copy()
    noise = rng.random(shape) < rng.choice([0.0, 0.05, 0.3])
    prediction[noise] = rng.integers(0, n_ids + 2, int(noise.sum()))
    prediction = np.roll(prediction, rng.integers(-1, 2, 3), (0, 1, 2))
    truth_type = rng.choice(["u1", "u2", "u4", "u8", "i2", "i4", "i8", ">u2", ">i4"])
    dtype = rng.choice(["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4", ">i8"])
    prediction = prediction.astype(dtype)
    if prediction.dtype.kind == "f" and rng.random() < 0.5:
        prediction[rng.random(shape) < 0.05] = np.nan
        prediction[rng.random(shape) < 0.05] = -0.0
    voxel_size = tuple(float(v) for v in rng.choice([1.0, 1.74, 2.0, 4.0, 5.24, 8.0], 3))
    return truth.astype(truth_type), prediction, voxel_size


@pytest.fixture(scope="session")
def random_pair():
    return _random_pair
