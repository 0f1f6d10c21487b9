"""Submissions in memory, as files by name, to be spoiled before they are written as a folder or a zip.

Written file by file, without any zarr library, so that metadata can be whatever a case wants. Arrays are cheap: a
dozen voxels along each edge.
"""

from __future__ import annotations

import itertools
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

Array = np.ndarray
SHAPE = (10, 12, 14)
VOXEL_SIZE = (8.0, 8.0, 8.0)
TRANSLATION = (16.0, 24.0, 32.0)
PLACE = {"voxel_size": list(VOXEL_SIZE), "translation": list(TRANSLATION)}
LABELS = {"crop557": ("mito", "er"), "crop558": ("mito", "er", "ves")}
INSTANCES = ("mito", "ves")


def blobs(rng: np.random.Generator, shape: tuple[int, ...] = SHAPE, count: int = 4) -> Array:
    """Paint ellipsoids that may touch, numbered from 1 without a gap."""
    volume = np.zeros(shape, np.uint8)
    grid = np.indices(shape).reshape(3, -1).T
    for number in range(1, count + 1):
        centre, radii = rng.random(3) * shape, rng.uniform(1.5, 4, 3)
        inside = ((grid - centre) ** 2 / radii**2).sum(1).reshape(shape) <= 1
        volume[inside & (volume == 0)] = number
    numbers = np.unique(volume[volume > 0])
    return np.searchsorted(numbers, volume).astype(np.uint8) + (volume > 0).astype(np.uint8)


@dataclass(kw_only=True)
class Stored:
    """An array as it is to be stored.

    ``metadata`` and ``attributes`` are written as they stand, over what the values would ask for; a value of `GONE`
    removes a key.
    """

    values: Array
    chunks: tuple[int, ...] = (8, 8, 8)
    order: str = "C"
    compressor: Mapping[str, Any] | None = field(default_factory=lambda: {"id": "zlib", "level": 1})
    filters: list[dict[str, Any]] = field(default_factory=list)
    fill: Any = 0
    separator: str = "."
    skip_empty: bool = True
    attributes: dict[str, Any] = field(default_factory=lambda: dict(PLACE))
    metadata: dict[str, Any] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Return its files by name."""
        described = {
            "zarr_format": 2,
            "shape": list(self.values.shape),
            "chunks": list(self.chunks),
            "dtype": self.values.dtype.str,
            "compressor": self.compressor,
            "fill_value": self.fill,
            "order": self.order,
            "filters": self.filters or None,
            "dimension_separator": self.separator,
            **self.metadata,
        }
        files = {
            ".zarray": json.dumps({key: value for key, value in described.items() if value is not GONE}).encode(),
            ".zattrs": json.dumps(self.attributes).encode(),
        }
        counts = [range(math.ceil(n / c)) for n, c in zip(self.values.shape, self.chunks, strict=True)]
        for index in itertools.product(*counts):
            part = self.values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, self.chunks, strict=True))]
            if self.skip_empty and self.fill == 0 and part.dtype.kind not in "SU" and not part.any():
                continue
            chunk = np.zeros(self.chunks, self.values.dtype)
            chunk[tuple(map(slice, part.shape))] = part
            files[self.separator.join(map(str, index)) or "0"] = self._encode(chunk)
        return files

    def _encode(self, chunk: Array) -> bytes:
        data: Any = chunk.tobytes(order=self.order)
        if self.filters:
            data = np.frombuffer(data, chunk.dtype).copy()  # some write to what they are given
        for step in self.filters:
            data = numcodecs.get_codec(dict(step)).encode(data)
        data = bytes(np.ascontiguousarray(data)) if isinstance(data, np.ndarray) else bytes(data)
        return bytes(numcodecs.get_codec(dict(self.compressor)).encode(data)) if self.compressor else data


class _Gone:
    """Stands for a key that is left out."""


GONE = _Gone()


@dataclass(kw_only=True)
class Draft:
    """A truth and a submission to be spoiled.

    Attributes
    ----------
    truth, arrays : dict
        Of arrays by crop and class.
    edits : list of callable
        What is done to the submission's files, name to content, before they are written.
    wrap : callable
        What is done with the files: a folder by default.
    grids : dict
        Crop and class to voxel size, translation and shape, where they are not those of all.
    """

    rng: np.random.Generator
    truth: dict[tuple[str, str], Stored] = field(default_factory=dict)
    arrays: dict[tuple[str, str], Stored] = field(default_factory=dict)
    edits: list[Callable[[dict[str, bytes]], None]] = field(default_factory=list)
    wrap: Callable[[dict[str, bytes], Path], Path] | None = None

    @classmethod
    def good(cls, seed: int) -> Draft:
        """Return a good submission that is right but for a few voxels."""
        draft = cls(rng=np.random.default_rng(seed))
        for crop, names in LABELS.items():
            for name in names:
                truth = blobs(draft.rng)
                prediction = np.roll(truth, draft.rng.integers(-1, 2, 3), (0, 1, 2))
                if name not in INSTANCES:
                    truth, prediction = truth > 0, prediction > 0
                draft.truth[crop, name] = Stored(values=truth.astype(np.uint8))
                draft.arrays[crop, name] = Stored(values=prediction.astype(np.uint8))
        return draft

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both, and the list of crops; returns the submission's and the truth's path."""
        write_files(self._files(self.truth), folder / "ground_truth.zarr")
        files = self._files(self.arrays)
        for edit in self.edits:
            edit(files)
        submission = (self.wrap or as_folder)(files, folder)
        rows = [
            f"{crop.removeprefix('crop')},made,{name},{_listed(VOXEL_SIZE)},{_listed(TRANSLATION)},"
            f"{_listed(stored.values.shape)}"
            for (crop, name), stored in self.truth.items()
            if not name.endswith("_mask")
        ]
        header = "crop_name,dataset,class_label,voxel_size,translation,shape"
        (folder / "test_crop_manifest.csv").write_text("\n".join([header, *rows]) + "\n")
        return submission, folder / "ground_truth.zarr"

    @staticmethod
    def _files(arrays: Mapping[tuple[str, str], Stored]) -> dict[str, bytes]:
        group = b'{"zarr_format": 2}'
        files = {".zgroup": group}
        for (crop, name), stored in arrays.items():
            files.setdefault(f"{crop}/.zgroup", group)
            files |= {f"{crop}/{name}/{file}": content for file, content in stored.files().items()}
        return files


def _listed(values: tuple[float, ...]) -> str:
    return "[" + ";".join(map(str, values)) + "]"


def write_files(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write files by name; those that end in a slash are empty folders."""
    folder.mkdir(parents=True, exist_ok=True)
    made = set()
    for name, content in files.items():
        path = folder / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    return folder


def as_folder(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files as a zarr folder."""
    return write_files(files, folder / "submission.zarr")


def as_zip(
    files: Mapping[str, bytes],
    folder: Path,
    *,
    name: str = "submission.zip",
    above: str = "",
    method: int = zipfile.ZIP_DEFLATED,
    more: tuple[tuple[str | zipfile.ZipInfo, bytes], ...] = (),
) -> Path:
    """Write the files as a zip; ``more`` are members that are added as they stand."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for file, content in files.items():
            archive.writestr(_member(above + file, method), content)
        for file, content in more:
            archive.writestr(file if isinstance(file, zipfile.ZipInfo) else _member(file, method), content)
    return path


def _member(name: str, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    info.compress_type = method
    info.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
    return info
