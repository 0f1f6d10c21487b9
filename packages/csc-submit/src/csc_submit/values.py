"""What stored predictions mean: decided once, checked on every block that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.volumes import Volume
from csc_data.volumes.stored_values import Kind, StoredValues


class MeaningUnknownError(UnreadableDataError, InvalidArgumentError):
    """A prediction does not say what its numbers are, and they do not fit the default for their type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What the numbers of one prediction are.

    Attributes
    ----------
    values : StoredValues
    assumed : bool
        Whether this is the default for the type, because the file does not say; the numbers are then checked.
    """

    values: StoredValues
    assumed: bool

    @property
    def is_label(self) -> bool:
        """Whether they are masks or ids, which have no threshold."""
        return self.values.kind == "label"


def find_meaning(volume: Volume, stored_as: Kind | None = None) -> Meaning:
    """Tell what the numbers of a prediction are.

    Parameters
    ----------
    volume : Volume
        The attribute ``csc_values`` of the group or of its finest array decides.
    stored_as : str, optional
        What holds for files without it. By default integers are labels, and floats probabilities if they lie in
        [0, 1].

    Examples
    --------
    >>> from csc_data import Grid, Volume
    >>> from csc_data.volumes import Level
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> level = Level(name="s0", grid=grid, array=np.zeros((4, 4, 4), np.uint8))
    >>> stored = {"csc_values": {"kind": "probability", "one": 255}}
    >>> find_meaning(Volume(path="mito", levels=(level,), attributes=stored)).values
    StoredValues(kind='probability', one=255.0)
    """
    level = volume.levels[0]
    stored = StoredValues.from_attributes(volume.attributes) or StoredValues.from_attributes(dict(level.array.attrs))
    if stored is not None:
        return Meaning(values=stored, assumed=False)
    whole = np.issubdtype(level.dtype, np.integer) or level.dtype == bool
    kind: Kind = stored_as or ("label" if whole else "probability")
    one = float(np.iinfo(level.dtype).max) if whole and kind == "probability" and level.dtype != bool else 1.0
    return Meaning(values=StoredValues(kind=kind, one=one), assumed=stored_as is None)


def check_block(stored: npt.NDArray[Any], meaning: Meaning, *, instances: bool) -> None:
    """Check that the numbers of a block can be what they are taken for.

    Raises
    ------
    MeaningUnknownError
        With what to do.

    Examples
    --------
    >>> meaning = Meaning(values=StoredValues(kind="probability"), assumed=True)
    >>> check_block(np.array([0.1, 0.9]), meaning, instances=False)
    >>> try:
    ...     check_block(np.array([-3.0, 5.0]), meaning, instances=False)
    ... except MeaningUnknownError as error:
    ...     print(str(error).partition(";")[0])
    values from -3 to 5 are not probabilities
    """
    if not stored.size:
        return
    if not meaning.is_label:
        if meaning.values.kind == "probability" and (meaning.assumed or meaning.values.one == 1):
            low, high = _range(stored)
            if low < 0 or high > 1:
                raise MeaningUnknownError(
                    f"values from {low:g} to {high:g} are not probabilities; say what they are, with "
                    "stored_as = 'logit', 'distance' or 'label' in the experiment, or the attribute csc_values"
                )
        return
    if np.issubdtype(stored.dtype, np.floating) and not np.all(stored == np.rint(stored)):
        raise MeaningUnknownError("labels must be whole numbers; these have fractions")
    if stored.dtype.kind not in "bu" and stored.min() < 0:
        raise MeaningUnknownError(f"labels must be 0 or more, got {stored.min()}")
    if meaning.assumed and not instances and stored.max() > 1 and not _is_binary(stored):
        raise MeaningUnknownError(
            f"whole numbers up to {stored.max()} may be labels or packed probabilities; say which, with stored_as = "
            "'label' or 'probability' in the experiment, or the attribute csc_values"
        )


def _range(stored: npt.NDArray[Any]) -> tuple[float, float]:
    known = stored[~np.isnan(stored)] if np.issubdtype(stored.dtype, np.floating) else stored
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _is_binary(stored: npt.NDArray[Any]) -> bool:
    """Tell whether only 0 and one other value occur, as in masks of 0 and 255."""
    top = stored.max()
    return bool(np.all((stored == 0) | (stored == top))) and int(top) == 255


def decode(stored: npt.NDArray[Any], values: StoredValues) -> npt.NDArray[np.float32]:
    """Return probabilities for probabilities and logits, distances in units of ``one``; unknown (NaN) is 0.

    Parameters
    ----------
    stored : ndarray
        As in the file.

    Returns
    -------
    ndarray of float32

    Examples
    --------
    >>> decode(np.array([0, 255], dtype="u1"), StoredValues(kind="probability", one=255)).tolist()
    [0.0, 1.0]
    >>> decode(np.array([0.0], dtype="f4"), StoredValues(kind="logit")).tolist()
    [0.5]
    """
    if values.kind == "label":
        raise InvalidArgumentError("labels are not probabilities and need no decoding")
    decoded = stored.astype(np.float32) / np.float32(values.one)
    if values.kind == "logit":
        from scipy.special import expit  # takes half as long to import as all else that packing needs

        decoded = expit(decoded)
    decoded[np.isnan(decoded)] = 0.0
    return decoded


def as_probabilities(stored: npt.NDArray[Any], values: StoredValues) -> npt.NDArray[np.float32]:
    """Return probabilities, also for distances, for which 0.5 is the outline and 0 far outside.

    >>> as_probabilities(np.array([-2.0, 0.0], dtype="f4"), StoredValues(kind="distance", one=2.0)).tolist()
    [0.0, 0.5]
    """
    decoded = decode(stored, values)
    return (decoded + np.float32(1)) / np.float32(2) if values.kind == "distance" else decoded


def decoded_threshold(values: StoredValues, probability: float) -> float:
    """Return where a probability lies in what `decode` returns.

    Examples
    --------
    >>> [decoded_threshold(StoredValues(kind=kind), 0.75) for kind in ("probability", "distance")]
    [0.75, 0.5]
    """
    return 2 * probability - 1 if values.kind == "distance" else probability


def above_threshold(stored: npt.NDArray[Any], values: StoredValues, probability: float) -> npt.NDArray[np.bool_]:
    """Tell which stored values lie above a probability; unknown (NaN) does not.

    >>> above_threshold(np.array([127, 128], dtype="u1"), StoredValues(kind="probability", one=255), 0.5).tolist()
    [False, True]
    """
    # A numpy scalar of float64 keeps numpy from rounding the threshold to the array's type.
    mask: npt.NDArray[np.bool_] = stored > np.float64(values.stored_threshold(probability))
    return mask


def unsigned_dtype(largest: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds a number.

    >>> unsigned_dtype(1024)
    dtype('uint16')
    """
    return np.dtype(np.min_scalar_type(largest))
