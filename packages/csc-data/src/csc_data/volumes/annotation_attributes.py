"""Metadata of annotated crops, as the challenge's own have it.

The form is that of cellmap-schemas (https://github.com/janelia-cellmap/cellmap-schemas, ``annotation``, version 0.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_class


def _annotation_type(class_name: str) -> dict[str, Any]:
    if get_class(class_name).instance:
        return annotation_type(instances=True)
    return annotation_type(instances=False)


def annotation_type(*, instances: bool, unknown: int | None = None) -> dict[str, Any]:
    """Return what stored values mean: 0 absent, 1 or an object's id present, and the one for unknown voxels, if any.

    >>> annotation_type(instances=False, unknown=255)["encoding"]
    {'absent': 0, 'present': 1, 'unknown': 255}
    """
    encoding = {"absent": 0, **({} if instances else {"present": 1})}
    if unknown is not None:
        encoding["unknown"] = unknown
    return {"type": f"{'instance' if instances else 'semantic'}_segmentation", "encoding": encoding}


def crop_attributes(name: str, class_names: Sequence[str], description: str, created_with: str) -> dict[str, Any]:
    """Return the attributes of a crop's group: its name, the classes annotated in it, and what made it.

    Examples
    --------
    >>> crop_attributes("crop1", ["nuc"], "mine", "csc")["cellmap"]["annotation"]["class_names"]
    ['nuc']
    """
    return _wrap(
        {
            "version": "0.1.1",
            "name": name,
            "description": description,
            "created_by": [],
            "created_with": [created_with],
            "start_date": None,
            "end_date": None,
            "duration_days": None,
            "protocol_uri": None,
            "class_names": list(class_names),
        }
    )


def class_attributes(class_name: str, kind: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the attributes of the multiscale group of one class in a crop.

    Parameters
    ----------
    class_name : str
    kind : mapping, optional
        An `annotation_type`; by default that of a class of the challenge without unknown voxels.

    Examples
    --------
    >>> class_attributes("nuc")["cellmap"]["annotation"]["annotation_type"]["type"]
    'instance_segmentation'
    """
    return _wrap({"class_name": class_name, "annotation_type": kind or _annotation_type(class_name)})


def array_attributes(class_name: str, labels: npt.NDArray[Any]) -> dict[str, Any]:
    """Return the attributes of one level: the type of the annotation, and how many voxels are absent.

    Examples
    --------
    >>> array_attributes("nuc", np.array([0, 0, 1]))["cellmap"]["annotation"]["complement_counts"]
    {'absent': 2}
    """
    return _wrap(
        {
            "class_name": class_name,
            "complement_counts": {"absent": int(np.count_nonzero(labels == 0))},
            "annotation_type": _annotation_type(class_name),
        }
    )


def _wrap(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"cellmap": {"annotation": dict(values)}}
