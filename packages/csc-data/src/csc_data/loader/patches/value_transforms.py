"""Value transforms that people bring along: callables on tensors, such as those of cellmap-data and torchvision.

They are given what cellmap-data gives them. Of raw that is a float32 tensor of shape (z, y, x), flat patches (1, y, x),
scaled to ``raw_range`` already, after all other augmentation; of targets one such tensor for each class, 1 present,
0 absent, NaN unknown. Classes that are unknown throughout a patch are left out, and an unknown voxel stays unknown
whatever a transform makes of it: a threshold would make it absent.

**Prediction scales raw by the stored ``raw_range`` and does nothing else to it,** unless it is given transforms of its
own. So those of raw are for training, and must be augmentation around what prediction gives: `find_unstored_change`
finds those that are not.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import Earlier, Names, OfNames, setting, settings
from csc_data.errors import InvalidArgumentError, Problem, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

Values = npt.NDArray[np.float32]
ValueTransform = Callable[["Tensor"], "Tensor"]

_LEVELS = 256
_TOLERANCE = 1e-4  # of the width of raw_range; a grey value is 40 times as wide


def _loaded(name: str, earlier: Earlier) -> Iterator[Problem]:
    if name not in earlier.get("classes", [name]):
        yield Problem(where="", what=f"there is no class {name!r}", remedy=did_you_mean(name, earlier["classes"]))


LOADED_CLASSES = OfNames(_loaded)


@settings
class ValueTransforms:
    """What is applied to the values of each sample, last of all."""

    classes: Names = setting("the channels of the targets", default=())
    raw: ValueTransform | None = setting("what is applied to raw", default=None)
    target: ValueTransform | Mapping[str, ValueTransform] | None = setting(
        "one callable for all classes, or class name to callable; the others stay as they are",
        LOADED_CLASSES,
        default=None,
    )

    def __bool__(self) -> bool:
        return self.raw is not None or bool(self.target)

    def apply(
        self, inputs: Iterable[Values], targets: Iterable[Values], classes: Sequence[str], rng: np.random.Generator
    ) -> None:
        """Apply them to one sample, in place.

        The random states of torch (of the CPU), numpy and Python are set from `rng` meanwhile, and restored: a sample
        depends on its seed and not on who loads it, and the model's own random numbers do not depend on the loader.

        Parameters
        ----------
        inputs : iterable of ndarray
            Each (1, z, y, x), flat ones (1, y, x).
        targets : iterable of ndarray
            Each (C, z, y, x) or (C, y, x).
        classes : sequence of str
            The channels of the targets.
        rng : Generator
            One number is drawn from it.

        Raises
        ------
        InvalidArgumentError
            If a transform gives something else than a tensor of real numbers of the shape that it was given.
        """
        if not self:
            return
        import torch

        with _seeded(int(rng.integers(2**63))), torch.no_grad():
            if self.raw is not None:
                for values in inputs:
                    _transform(values[0] if values.ndim == 4 else values, self.raw, "raw_value_transforms")
            for values in targets if self.target is not None else ():
                for channel, name in enumerate(classes):
                    self._apply_to_class(values[channel], name)

    def _apply_to_class(self, values: Values, name: str) -> None:
        transform = self.target.get(name) if isinstance(self.target, Mapping) else self.target
        if transform is None:
            return
        unknown = np.isnan(values)
        if unknown.all():
            return
        _transform(values if values.ndim == 3 else values[np.newaxis], transform, f"target_value_transforms of {name}")
        values[unknown] = np.nan


def find_unstored_change(
    transform: ValueTransform, raw_range: Sequence[float], *, where: str, may_be_random: bool
) -> Problem | None:
    """Find out whether a transform changes raw in a way that prediction would have to repeat, and cannot.

    Parameters
    ----------
    transform : callable
        Of raw.
    raw_range : pair of float
        The stored rule.
    where : str
        The setting that it comes from.
    may_be_random : bool
        Whether a random change, augmentation, is what it is for: so in training, not in validation.

    Returns
    -------
    Problem or None
        None if it leaves raw as it is, or is random and may be.

    Examples
    --------
    >>> problem = find_unstored_change(lambda raw: 2 * raw - 1, (0, 1), where="raw", may_be_random=False)
    >>> str(problem)
    'raw: maps 0 to -1 and 1 to 1; prediction applies raw_range alone (leave it out and set raw_range = (-1, 1))'
    >>> find_unstored_change(lambda raw: raw, (0, 1), where="raw", may_be_random=False) is None
    True
    """
    low, high = map(float, raw_range)
    (wide, _, narrow), results = _probe(transform, raw_range, where)
    scale = max(high - low, float(np.abs(results[0]).max()))
    if not np.allclose(results[0], results[1], rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
        if may_be_random:
            return None
        return Problem(where=where, what="changes raw at random", remedy="validate on what prediction will give")
    given, result = np.stack([wide, narrow]).ravel(), np.stack([results[0], results[2]]).ravel()
    if np.allclose(result, given, rtol=0, atol=_TOLERANCE * scale):
        return None
    first, last = float(results[0].flat[0]), float(results[0].flat[-1])
    linear = first + (given - low) * ((last - first) / (high - low))
    if last > first and np.allclose(result, linear, rtol=0, atol=_TOLERANCE * scale):
        what = f"maps {low:g} to {first:g} and {high:g} to {last:g}; prediction applies raw_range alone"
        return Problem(where=where, what=what, remedy=f"leave it out and set raw_range = ({first:g}, {last:g})")
    what = "changes raw, in the same way each time; prediction applies raw_range alone"
    return Problem(where=where, what=what, remedy="make it a layer of the model")


def transform_digest(transform: ValueTransform, raw_range: Sequence[float], *, where: str) -> str:
    """Return a text that tells transforms of raw apart by what they do, for the record of a prediction.

    Raises
    ------
    InvalidArgumentError
        If it changes raw at random: what is predicted must not depend on when.

    Examples
    --------
    >>> one = transform_digest(lambda raw: raw + 1, (0, 1), where="raw")
    >>> one == transform_digest(lambda raw: 1 + raw, (0, 1), where="raw")
    True
    >>> one == transform_digest(lambda raw: raw - 1, (0, 1), where="raw")
    False
    """
    _, results = _probe(transform, raw_range, where)
    low, high = map(float, raw_range)
    scale = max(high - low, float(np.abs(results[0]).max()))
    if not np.allclose(results[0], results[1], rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
        raise InvalidArgumentError(f"{where}: {_name(transform)} changes raw at random; leave it out")
    rounded = np.round(np.stack(results) / scale / _TOLERANCE)
    return f"{_name(transform)} {hashlib.sha256(rounded.astype(np.int64).tobytes()).hexdigest()[:16]}"


def _probe(transform: ValueTransform, raw_range: Sequence[float], where: str) -> tuple[list[Values], list[Values]]:
    """Return two equal patches and a darker one, and what a transform makes of each with other random numbers."""
    import torch

    low, high = map(float, raw_range)
    wide = np.linspace(low, high, _LEVELS, dtype=np.float32).reshape(4, 8, 8)
    given = [wide, wide, ((wide + np.float32(low)) / 2).astype(np.float32)]
    results = []
    with torch.no_grad():
        for seed, patch in enumerate(given):
            values = patch.copy()
            with _seeded(seed):
                _transform(values, transform, where)
            results.append(values)
    return given, results


def _transform(values: Values, transform: ValueTransform, where: str) -> None:
    """Apply a transform to an array of three axes, in place."""
    import torch

    given = torch.from_numpy(values)
    shape = tuple(given.shape)
    result: Any = transform(given)
    if not isinstance(result, torch.Tensor):
        raise InvalidArgumentError(f"{where}: {_name(transform)} must return a tensor, got {type(result).__name__}")
    if tuple(result.shape) != shape or result.is_complex():
        raise InvalidArgumentError(
            f"{where}: {_name(transform)} made {tuple(result.shape)} of {result.dtype} from {shape}; value transforms "
            f"keep the shape and give real numbers"
        )
    if result is not given:
        # A view of what it was given, such as a transposed one, cannot be copied over itself.
        shared = result.untyped_storage().data_ptr() == given.untyped_storage().data_ptr()
        given.copy_(result.clone() if shared else result)


def _name(transform: Any) -> str:
    return getattr(transform, "__name__", None) or type(transform).__name__


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set the global random states that transforms draw from, and restore them."""
    import torch

    generator = torch.default_generator
    before = generator.get_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  # transforms draw from it
    generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        generator.set_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
