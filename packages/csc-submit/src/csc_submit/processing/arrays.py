"""Post-processing of an array in memory: what `csc_submit.process` writes for a prediction, in one piece."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple, as_triple
from csc_data.volumes.channels import class_of_channel
from csc_data.volumes.stored_values import StoredValues
from csc_submit.processing.components import ids_around, label_components
from csc_submit.processing.fragments import divide
from csc_submit.processing.local.local_steps import LocalSteps, Surroundings
from csc_submit.processing.own_function import own_step
from csc_submit.processing.passes import Pass, is_numbered, kept_objects, passes_of, steps_for
from csc_submit.processing.planning import check_options
from csc_submit.settings import Connectivity, ProcessSettings
from csc_submit.values import Meaning, as_probabilities, unsigned_dtype

Volume = npt.NDArray[Any]


def process_array(
    values: Volume,
    class_name: str,
    settings: ProcessSettings,
    *,
    voxel_size: Sequence[float],
    stored: StoredValues | None = None,
) -> Volume:
    """Post-process one class of one volume.

    The result is, voxel for voxel, what `csc_submit.process` writes for a file of these values, if it works on it as
    one block; only a ``process_func`` can tell that from several. Memory is about 60 bytes per voxel.

    Parameters
    ----------
    values : ndarray
        Shape (z, y, x).
    class_name : str
        Decides which of the settings hold.
    settings : ProcessSettings
    voxel_size : sequence of float
        nm, z, y, x.
    stored : StoredValues, optional
        What the values are; probabilities from 0 to 1 by default.

    Returns
    -------
    ndarray
        A mask of 0 and 1, uint8; for instance classes ids from 1 on, in the smallest unsigned type that holds them.

    Raises
    ------
    InvalidArgumentError
        If there are not three axes, or what is asked makes no sense for such values.
    MeaningUnknownError
        If the values cannot be what they are taken for.

    Examples
    --------
    >>> values = np.array([[[0.9, 0.2, 0.7]]], dtype="f4")
    >>> process_array(values, "mito", ProcessSettings(), voxel_size=(8, 8, 8)).tolist()
    [[[1, 0, 2]]]
    """
    return process_arrays({class_name: values}, settings, voxel_size=voxel_size, stored=stored)[class_name]


def process_arrays(
    values: Mapping[str, Volume],
    settings: ProcessSettings,
    *,
    voxel_size: Sequence[float],
    stored: StoredValues | None = None,
) -> dict[str, Volume]:
    """Post-process several classes of one volume, of which some may read the results of others.

    Parameters
    ----------
    values : mapping of str to ndarray
        Arrays of one shape (z, y, x) by the names of their classes; affinities by theirs, ``mito_affinity_-1_0_0``.
    settings : ProcessSettings
    voxel_size : sequence of float
        nm, z, y, x.
    stored : StoredValues, optional
        What the values are; probabilities from 0 to 1 by default.

    Returns
    -------
    dict of str to ndarray
        The results, as `process_array` has them.

    Raises
    ------
    InvalidArgumentError
        If there are not three axes, what is asked makes no sense for such values, or classes that are read are
        missing or wait for each other.
    MeaningUnknownError
        If the values cannot be what they are taken for.

    Examples
    --------
    >>> from csc_submit import ProcessSettings, process_arrays
    >>> values = {"mito": np.array([[[0.9, 0.2, 0.7]]], "f4"), "er": np.array([[[0.8, 0.9, 0.1]]], "f4")}
    >>> settings = ProcessSettings(steps={"er": ["threshold", {"name": "outside", "of": ["mito"]}]})
    >>> process_arrays(values, settings, voxel_size=(8, 8, 8))["er"].tolist()
    [[[0, 1, 0]]]
    """
    meaning = Meaning(values=stored or StoredValues(kind="probability"), assumed=False)
    nm, own = as_triple(voxel_size, "voxel_size"), own_step(settings)
    known = [name for name in settings.classes or settings.class_table if name in values]
    steps, reads = {}, {}
    classes = [name for name in values if class_of_channel(name) is None]
    for volume in values.values():
        if volume.ndim != 3:
            raise InvalidArgumentError(f"values must have the axes z, y, x, got an array of shape {volume.shape}")
    for name in classes:
        check_options(settings.for_class(name), meaning)
        steps[name] = steps_for(settings, name, nm, own, known)
        reads[name] = {other for step in steps[name] for other in step.reads}
        if missing := sorted(reads[name] - values.keys()):
            raise InvalidArgumentError(f"the steps of {name} need results of {', '.join(missing)}")
        channels = {channel for step in steps[name] for channel in step.channels(name)}
        if missing := sorted(channels - values.keys()):
            raise InvalidArgumentError(f"the steps of {name} need the predictions {', '.join(missing)}")
    results: dict[str, Volume] = {}
    try:
        for name in graphlib.TopologicalSorter(reads).static_order():
            work = _Work(
                class_name=name, given=values, settings=settings, meaning=meaning, voxel_size=nm, results=results
            )
            results[name] = work.run(passes_of(steps[name]))
    except graphlib.CycleError as error:
        raise InvalidArgumentError(f"{' and '.join(error.args[1][1:])} wait for each other's results") from error
    return {name: results[name] for name in classes}


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The passes over one class of a volume in memory."""

    class_name: str
    given: Mapping[str, Volume]
    settings: ProcessSettings
    meaning: Meaning
    voxel_size: Triple
    results: Mapping[str, Volume]

    def run(self, passes: Sequence[Pass]) -> Volume:
        connectivity = self.settings.connectivity
        arrays: list[Volume] = []
        for one in passes:
            source = self.given[self.class_name] if one.source < 0 else arrays[one.source]
            if one.scope == "local":
                arrays.append(self._local(one, source, None if one.side is None else arrays[one.side]))
            elif one.scope == "holes":
                arrays.append(_fill(source, connectivity))
            else:
                arrays.append(_objects(source, self._label(source, one), one, self.voxel_size))
        return arrays[-1]

    def _label(self, mask: Volume, one: Pass) -> Volume:
        if one.mutex is None:
            return label_components(mask, self.settings.connectivity)
        names = one.mutex.channels(self.class_name)
        return divide(mask, one.mutex, [as_probabilities(self.given[name], self.meaning.values) for name in names])

    def _local(self, one: Pass, source: Volume, side: Volume | None) -> Volume:
        local = LocalSteps(
            steps=one.steps,
            meaning=self.meaning,
            class_name=self.class_name,
            instances=self.settings.for_class(self.class_name).instances,
            voxel_size=self.voxel_size,
            connectivity=self.settings.connectivity,
            own=own_step(self.settings),
            alone=True,
            first=one.source < 0,
        )
        around = Surroundings(
            begin=(0, 0, 0),
            result_of=lambda name: self.results[name],
            prediction=lambda: self.given[self.class_name],
            prediction_of=lambda name: self.given[name],
            side=side,
        )
        return local.apply(source, around).astype(local.stored_dtype(source.dtype))


def _fill(mask: Volume, connectivity: Connectivity) -> Volume:
    """Make background that does not reach the border part of the class."""
    labels = label_components(mask, connectivity, background=True)
    outer = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    outer[0] = True
    for axis in range(3):
        outer[np.take(labels, [0, -1], axis)] = True
    lowest, highest = ids_around(labels, mask, len(outer) - 1)
    around = np.zeros(len(outer), dtype=mask.dtype)
    around[1:] = np.where(outer[1:] | (lowest != highest), 0, highest)
    return np.where(labels > 0, around[labels], mask)


def _objects(mask: Volume, labels: Volume, one: Pass, voxel_size: Triple) -> Volume:
    """Remove objects, and number the others by their first voxels in the order z, y, x."""
    count = int(labels.max(initial=0))
    first = np.full(count + 1, labels.size, dtype=np.int64)
    places = np.flatnonzero(labels)[::-1]
    first[labels.ravel()[places]] = places  # the last one written, the first voxel, stays
    order = np.argsort(first[1:]) + 1
    stays = kept_objects(one.steps, np.bincount(labels.ravel(), minlength=count + 1)[order], voxel_size)
    if not is_numbered(one.steps):
        kept = np.zeros(count + 1, dtype=bool)
        kept[order] = stays
        return np.where(kept[labels], mask, 0)
    ids = np.zeros(count + 1, dtype=unsigned_dtype(int(stays.sum())))
    ids[order[stays]] = np.arange(1, stays.sum() + 1)
    return ids[labels]
