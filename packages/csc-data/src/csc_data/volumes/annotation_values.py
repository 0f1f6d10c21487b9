"""What the stored values of an annotation mean: absent, present or unknown.

An annotation says it in its own metadata (``cellmap/annotation/annotation_type/encoding``,
https://github.com/janelia-cellmap/cellmap-schemas); without any, 0 is absent and everything else present.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ABSENT, PRESENT, UNKNOWN = 0, 1, 255

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Which stored values of an annotation say absent and unknown; all others say present.

    Examples
    --------
    >>> Encoding(absent=0, unknown=255).encode(np.array([0, 7, 255], np.uint8)).tolist()
    [0, 1, 255]
    """

    absent: int | None = 0
    unknown: int | None = None

    def encode(self, values: npt.NDArray[Any]) -> Codes:
        """Return the codes of stored values, uint8 of the same shape."""
        codes: Codes
        if self.absent is None:
            codes = np.ones(values.shape, dtype=np.uint8)
        else:
            codes = (values != self.absent).view(np.uint8)
        if self.unknown is not None:
            codes[values == self.unknown] = UNKNOWN
        return codes

    def count_present(self, values: npt.NDArray[Any]) -> int:
        """Return how many stored values say present.

        >>> Encoding(absent=0, unknown=255).count_present(np.array([0, 1, 7, 255]))
        2
        """
        named = {value for value in (self.absent, self.unknown) if value is not None}
        if named == {0}:
            return int(np.count_nonzero(values))
        return int(values.size - sum(int(np.count_nonzero(values == value)) for value in named))


def read_encoding(attributes: Mapping[str, Any]) -> Encoding | None:
    """Find the encoding in the attributes of an annotation; None where they say nothing.

    >>> read_encoding({"cellmap": {"annotation": {"annotation_type": {"encoding": {"unknown": 0, "present": 1}}}}})
    Encoding(absent=None, unknown=0)
    """
    annotation_type = read_annotation(attributes).get("annotation_type")
    stored = annotation_type.get("encoding") if isinstance(annotation_type, Mapping) else None
    if not isinstance(stored, Mapping):
        return None
    unknown = stored.get("unknown")
    absent = stored.get("absent", None if unknown == 0 else 0)
    return Encoding(absent=absent, unknown=unknown)


def read_annotation(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the attributes of an array or group say of it as an annotation; empty where they say nothing.

    Examples
    --------
    >>> read_annotation({"cellmap": {"annotation": {"class_name": "nuc"}}})
    {'class_name': 'nuc'}
    >>> read_annotation({"scale": [8, 8, 8]})
    {}
    """
    found: Any = attributes
    for key in ("cellmap", "annotation"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
