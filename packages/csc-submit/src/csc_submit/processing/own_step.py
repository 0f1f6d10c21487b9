"""The participant's own step, ``process_func``: what it is given, what it may return, and what its errors say."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from csc_data.config.experiment import read_experiment
from csc_data.errors import CscError, InvalidArgumentError
from csc_data.geometry import Shape, Triple
from csc_submit.digests import digest_of_function
from csc_submit.settings import ProcessForm, ProcessValues
from csc_submit.values import Meaning

Volume = npt.NDArray[Any]

_CLOSEST_TO_ONE = 1e-6  # how near probabilities in floats are taken to 0 and 1, whose logits are infinite


class ProcessFuncError(CscError, RuntimeError):
    """The participant's own step raised something; the text has its traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block lies, for the own step and for what is said of it.

    Attributes
    ----------
    class_name : str
    voxel_size : tuple of float
        nm, z, y, x.
    begin, shape : tuple of int
        The box that is looked at, halo included, in voxels of the prediction.
    """

    class_name: str
    voxel_size: Triple
    begin: Shape
    shape: Shape

    def __str__(self) -> str:
        box = ",".join(f"{b}:{b + n}" for b, n in zip(self.begin, self.shape, strict=True))
        return f"{self.class_name}, voxels {box} (z,y,x)"


@dataclass(frozen=True, kw_only=True)
class OwnStep:
    """A function of the participant's, and how it wants to be called.

    Attributes
    ----------
    function : callable
    form : {"block", "official"}
        ``block``: z, y, x. ``official``: with the axes of a batch, as in the official toolbox.
    values : {"logit", "probability"}
        What it gets of stored probabilities.
    flat : bool
        In the official form: whether it gets planes, (planes, 1, y, x), instead of (1, 1, z, y, x).
    tensor : bool
        In the official form: whether it gets tensors of torch.
    device : str or None
        Where these lie.
    file : Path or None
        The experiment file that defines it, from which other processes read it.
    parameters : mapping
        Its keyword arguments.
    """

    function: Callable[..., Any]
    form: ProcessForm
    values: ProcessValues
    flat: bool = False
    tensor: bool = False
    device: str | None = None
    file: Path | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is None:
            return replace_function, (self.function, self._how())
        return _load, (self.file, self._how())

    def _how(self) -> dict[str, Any]:
        names = ("form", "values", "flat", "tensor", "device", "file", "parameters")
        return {name: getattr(self, name) for name in names}

    @property
    def record(self) -> Any:
        """What a result depends on: the function's code, and how it is called."""
        code = digest_of_function(self.function)
        if self.form == "block" and self.values == "probability":
            return code
        return [code, self.form, self.values, self.flat, self.tensor]

    def __call__(
        self,
        given: Volume,
        meaning: Meaning,
        place: Place,
        *,
        are_logits: bool = False,
        others: Sequence[Volume | None] = (),
    ) -> Volume:
        """Return a mask, probabilities, or labels for a block.

        Parameters
        ----------
        given : ndarray, shape (z, y, x)
            Probabilities, distances, or labels.
        meaning : Meaning
            What the prediction holds.
        place : Place
        are_logits : bool
            Whether ``given``, and others, are logits already.
        others : sequence of ndarray or None
            Of a step that gets several classes at once: the same of each, None in place of ``given``.

        Raises
        ------
        ProcessFuncError
            If the function raises anything.
        InvalidArgumentError
            If it returns something of another shape, or what is neither of these.
        """
        as_logits = self.values == "logit" and meaning.values.kind in ("probability", "logit")
        everything = [given if other is None else other for other in others] or [given]
        if as_logits and not are_logits:
            everything = [to_logits(one, meaning.values.one) for one in everything]
        values = np.stack(everything) if others else everything[0]
        try:
            result = self._call(values, place)
        except Exception as error:
            raise ProcessFuncError(f"process_func failed on {place}:\n{_own_traceback(error)}") from error
        if np.issubdtype(result.dtype, np.floating) and as_logits:
            result = expit(result)
        result = _checked(result, values.shape, meaning)
        return result[next(n for n, other in enumerate(others) if other is None)] if others else result

    def _call(self, values: Volume, place: Place) -> Volume:
        extra = {"class_name": place.class_name, "voxel_size": place.voxel_size}
        named = inspect.signature(self.function).parameters
        extra = {**self.parameters, **{name: value for name, value in extra.items() if name in named}}
        if self.form == "block":
            return _as_array(self.function(values, **extra))
        # Planes are a batch, and so is a single volume; classes, where there are several, are its channels.
        channels = values if values.ndim == 4 else values[None]
        batch: Any = channels.swapaxes(0, 1) if self.flat else channels[None]
        if self.tensor:
            # Who asks for tensors has imported torch; this package does not.
            batch = sys.modules["torch"].from_numpy(np.ascontiguousarray(batch)).to(self.device or "cpu")
        result = _as_array(self.function(batch, **extra))
        if self.flat and result.shape == channels.swapaxes(0, 1).shape:
            result = result.swapaxes(0, 1)
        # The axes of batch and channel may be there or not.
        fits = [n for n in result.shape if n > 1] == [n for n in values.shape if n > 1]
        return result.reshape(values.shape) if fits else result


def to_logits(probabilities: Volume, one: float) -> npt.NDArray[np.float32]:
    """Return logits; 0 and 1 are taken for half a stored step less.

    >>> to_logits(np.array([0.5, 1.0], dtype="f4"), 255.0).round(2).tolist()
    [0.0, 6.230000019073486]
    """
    nearest = 0.5 / one if one > 1 else _CLOSEST_TO_ONE
    found: npt.NDArray[np.float32] = logit(np.clip(probabilities, nearest, 1 - nearest).astype(np.float32))
    return found


def replace_function(function: Callable[..., Any], how: dict[str, Any]) -> OwnStep:
    """Return a step as it was before it was sent to another process."""
    return OwnStep(function=function, **how)


@functools.cache
def function_of(file: Path) -> Callable[..., Any]:
    r"""Return the ``process_func`` of a Python file; the same one each time.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "steps.py")
    ...     _ = file.write_text("def process_func(values):\n    return values > 3\n")
    ...     function_of(file)(4)
    True
    """
    function: Callable[..., Any] = read_experiment(file).names["process_func"]
    return function


def _load(file: Path, how: dict[str, Any]) -> OwnStep:
    return OwnStep(function=function_of(file), **how)


def _as_array(result: Any) -> Volume:
    if hasattr(result, "detach"):  # a tensor, on whatever device
        result = result.detach().cpu().numpy()
    return np.asarray(result)


def _own_traceback(error: Exception) -> str:
    """Return the traceback from the participant's own lines on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _checked(result: Volume, shape: tuple[int, ...], meaning: Meaning) -> Volume:
    if result.shape != shape:
        raise InvalidArgumentError(
            f"process_func returned shape {result.shape} for a block of {shape}; it must keep the shape"
        )
    if np.issubdtype(result.dtype, np.floating):
        low = -1.0 if meaning.values.kind == "distance" else 0.0
        if meaning.is_label or not np.all((result >= low) & (result <= 1)):
            raise InvalidArgumentError(
                f"process_func returned numbers beyond [{low:g}, 1]; it must return a mask, probabilities or labels"
            )
    elif result.dtype != bool and (not np.issubdtype(result.dtype, np.integer) or result.min(initial=0) < 0):
        raise InvalidArgumentError(
            f"process_func returned {result.dtype}; it must return a mask, probabilities, or labels"
        )
    return result
