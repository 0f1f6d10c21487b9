"""A figure of samples: raw, the outlines of the classes, and what is unknown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple
from csc_data.loader.patches.training import PatchPlace, TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.targets import BinaryTarget

if TYPE_CHECKING:
    from csc_data.loader.patches.reader import Sample
    from csc_data.loader.preview.figure import Panel


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSample:
    """One sample of a preview.

    Attributes
    ----------
    number : int
        Its index: ``patches[number]`` is this sample.
    crop : str
        Data set and crop.
    crop_index : int
        The crop's number in ``patches.reader.crops``.
    centre_nm : tuple of float
        Position of the patch's centre, z, y, x.
    shown_nm : tuple of float
        Position of the centre of the plane that is drawn, before any elastic displacement.
    class_name : str or None
        The class of which the sample must hold a voxel; None for any place.
    known, present : mapping
        Class name to the share of the sample's voxels where it is known, and where it is present.
    """

    number: int
    crop: str
    crop_index: int
    centre_nm: Triple
    shown_nm: Triple
    class_name: str | None
    known: Mapping[str, float]
    present: Mapping[str, float]


def draw_preview(
    patches: TrainingPatches | ValidationPatches,
    path: str | os.PathLike[str],
    *,
    count: int = 16,
    first: int = 0,
    columns: int = 4,
) -> tuple[PreviewSample, ...]:
    """Draw samples as a network gets them, with the outline of each class, and write them as a PNG.

    One plane of each sample is drawn: the one with the most voxels of the class that the sample was drawn for, else the
    one of which most is known; of several the one nearest to the middle.
    Outlines run along the inner side of the voxels that are present; where those of two classes meet, that of the later
    class lies further in. What is unknown in all classes is dark and hatched; what is unknown in some is hatched in
    their colours. All raw is shown at one contrast, so that samples can be compared. The same samples give the same
    bytes.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
        ``get_dataloader(...).train.patches``, for instance.
    path : path-like
        The PNG; an existing one is replaced. Folders above it are made.
    count : int
        Samples to draw; fewer where validation has fewer tiles.
    first : int
        The first one's index.
    columns : int
        Samples side by side.

    Returns
    -------
    tuple of PreviewSample
        What was drawn, row by row.

    Raises
    ------
    InvalidArgumentError
        If there is nothing to draw, or a number is out of range.
    UnreadableDataError
        If a chunk cannot be read.
    """
    from csc_data.loader.preview.figure import choose_styles, compose_figure

    if count < 1 or first < 0 or columns < 1:
        raise InvalidArgumentError(
            f"count and columns must be at least 1, and first at least 0, got {count}, {columns} and {first}"
        )
    end = first + count
    if isinstance(patches, ValidationPatches):
        end = min(end, len(patches))
        if first >= end:
            raise InvalidArgumentError(f"there are {len(patches)} tiles, and none has the number {first}")
    drawn = [_take(patches, number) for number in range(first, end)]
    usage = "training" if isinstance(patches, TrainingPatches) else "validation"
    given = patches.reader.patch.input
    title = f"{usage} samples, {_join(given.shape)} voxels of {_join(given.scale)} nm, a plane of each"
    styles = choose_styles(patches.reader.classes, patches.reader.table)
    image = compose_figure(title, styles, [panel for _, panel in drawn], columns=columns)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when it is complete: a viewer that is open on the file never sees half a picture.
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    image.save(temporary, format="PNG", optimize=True)
    temporary.replace(file)
    return tuple(sample for sample, _ in drawn)


def _join(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _take(patches: TrainingPatches | ValidationPatches, number: int) -> tuple[PreviewSample, Panel]:
    """Return the record of a sample, and what is drawn of it."""
    from csc_data.loader.preview.figure import Panel

    reader = patches.reader
    placed, sample = patches.place(number), patches[number]
    array, targets = _find_targets(patches, placed, sample)
    present = targets > 0
    known = ~np.isnan(targets)
    plane = _choose_plane(present, known, placed, reader.classes)
    offset_nm = (plane - (array.shape[0] - 1) / 2) * array.scale[0]
    given = reader.patch.input
    raw = sample["input"].reshape(given.shape)
    raw_plane = int(np.clip(np.floor(offset_nm / given.scale[0] + given.shape[0] / 2), 0, given.shape[0] - 1))
    name = reader.crops[placed.crop].name
    record = PreviewSample(
        number=number,
        crop=name,
        crop_index=placed.crop,
        centre_nm=_as_triple(placed.patch_map.centre),
        shown_nm=_as_triple(placed.patch_map.centre + placed.patch_map.linear @ np.array([offset_nm, 0.0, 0.0])),
        class_name=placed.class_name,
        known=_shares(known, reader.classes),
        present=_shares(present, reader.classes),
    )
    panel = Panel(
        raw=raw[raw_plane],
        raw_scale=given.scale[1:],
        targets=targets[:, plane],
        target_scale=array.scale[1:],
        caption=(f"{number}: {name}", _position(record.shown_nm), _purpose(record)),
    )
    return record, panel


def _find_targets(
    patches: TrainingPatches | ValidationPatches, placed: PatchPlace, sample: Sample
) -> tuple[ArrayInfo, npt.NDArray[np.float32]]:
    """Return a sample's first binary targets, shape (C, z, y, x); read separately if it has other kinds only."""
    reader = patches.reader
    for name, kind in reader.kinds.items():
        if isinstance(kind, BinaryTarget):
            return reader.targets[name], sample[name].reshape(patches.shapes()[name])
    array = reader.patch.target
    targets = np.empty((len(reader.classes), *array.shape), dtype=np.float32)
    reader.sources(placed.crop)[1].gather(placed.patch_map, array, targets)
    return array, targets


def _choose_plane(present: Mask, known: Mask, placed: PatchPlace, classes: tuple[str, ...]) -> int:
    """Return the plane with the most of the class, or the most that is known; of several that nearest to the middle."""
    wanted = known.any(axis=0) if placed.class_name is None else present[classes.index(placed.class_name)]
    counts = np.count_nonzero(wanted, axis=(1, 2))
    fullest = np.flatnonzero(counts == counts.max())
    nearest: int = fullest[np.argmin(np.abs(fullest - len(counts) // 2))].item()
    return nearest


def _as_triple(position: npt.NDArray[np.float64]) -> Triple:
    z, y, x = position.tolist()
    return z, y, x


def _shares(mask: Mask, classes: tuple[str, ...]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in zip(classes, mask, strict=True)}


def _position(position: Triple) -> str:
    return "z {:.0f}  y {:.0f}  x {:.0f} nm".format(*position)


def _purpose(sample: PreviewSample) -> str:
    """Say what a sample was drawn for, and which classes are unknown in it."""
    words = [f"for {sample.class_name}" if sample.class_name else "for no class"]
    unknown = [name for name, share in sample.known.items() if share == 0]
    if len(unknown) == len(sample.known):
        words.append("all unknown")
    elif unknown:
        words.append(f"unknown: {', '.join(unknown)}")
    return "; ".join(words)
