"""What a network says of a batch of patches: passes over mirrored and transposed ones, and over several networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from csc_data.errors import CscError, InvalidArgumentError
from csc_data.geometry import Shape
from csc_data.loader import ArrayInfo
from csc_models.checkpoint.contents import Values
from csc_train.network import crop_centre, named_outputs
from csc_train.objectives.losses.exclusive import exclusive_probability
from csc_train.prediction.window.tiling import INPUT, Windows

Tta = Literal[False, "mirror", "all"]


class NonFiniteOutputError(CscError, ArithmeticError):
    """The network gave NaN or infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One way to turn a patch: axes that change places, then axes that are mirrored.

    Attributes
    ----------
    order : tuple of int
        Of the patch's axes, the one that each axis of the turned patch was before.
    mirrored : tuple of int
        Axes of the turned patch that run backwards.

    Examples
    --------
    >>> import torch
    >>> turn = Turn(order=(0, 2, 1), mirrored=(2,))
    >>> patch = torch.arange(4).reshape(1, 2, 2)
    >>> turn.apply(patch).tolist(), turn.undo(turn.apply(patch)).tolist() == patch.tolist()
    ([[[2, 0], [3, 1]]], True)
    """

    order: Shape = (0, 1, 2)
    mirrored: tuple[int, ...] = ()

    def apply(self, patches: Tensor) -> Tensor:
        """Turn the last three axes."""
        lead = patches.ndim - 3
        turned = patches.permute(*range(lead), *(lead + axis for axis in self.order))
        return turned.flip([lead + axis for axis in self.mirrored]) if self.mirrored else turned

    def undo(self, patches: Tensor) -> Tensor:
        """Turn the last three axes back."""
        lead = patches.ndim - 3
        back = patches.flip([lead + axis for axis in self.mirrored]) if self.mirrored else patches
        return back.permute(*range(lead), *(lead + self.order.index(axis) for axis in range(3)))


def plan_turns(windows: Windows, tta: Tta) -> tuple[Turn, ...]:
    """Return how each patch is turned, the upright one first.

    A patch lies in the same window whichever way it is turned: axes change places only where sides and voxel sizes are
    the same, and weights are symmetric. So the mean over turns is taken before windows are blended. A flat patch stays
    in its plane.

    Examples
    --------
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> from csc_data.loader.poses.placement import PatchShape
    >>> from csc_train.prediction.window.tiling import plan_windows
    >>> array = ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8))
    >>> windows = plan_windows(PatchShape(input=array, target=array))
    >>> [len(plan_turns(windows, tta)) for tta in (None, "mirror", "all")]
    [1, 8, 48]
    """
    if not tta:
        return (Turn(),)
    arrays = [windows.patch.input, windows.patch.target, *windows.patch.further_inputs.values()]
    free = [axis for axis in range(3) if not (windows.patch.target.flat and axis == 0)]
    orders: list[tuple[int, ...]] = [(0, 1, 2)]
    if tta == "all":
        orders = [
            order
            for order in itertools.permutations(range(3))
            if all(_same_axes(arrays, windows.halo, a, b) for a, b in enumerate(order))
        ]
    flips = [axes for count in range(len(free) + 1) for axes in itertools.combinations(free, count)]
    return tuple(Turn(order=(o[0], o[1], o[2]), mirrored=axes) for o in orders for axes in flips)


def _same_axes(arrays: Sequence[ArrayInfo], halo: Shape, a: int, b: int) -> bool:
    same = all(each.shape[a] == each.shape[b] and each.scale[a] == each.scale[b] for each in arrays)
    return same and halo[a] == halo[b]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """What the numbers of a network become before windows are blended.

    Attributes
    ----------
    given : {"logit", "distance", "exclusive"}
        What the network gives.
    wanted : {"probability", "logit", "distance"}
        What is blended.
    channels : tuple of int, optional
        Those that are wanted, of the network's; all by default.
    """

    given: Values
    wanted: Literal["probability", "logit", "distance"]
    channels: tuple[int, ...] | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """Turn values (K, z, y, x) into float32 (channels, z, y, x)."""
        if self.given == "exclusive" and self.wanted == "probability":
            return self._chosen(exclusive_probability(values.float().unsqueeze(0))[0])
        values = self._chosen(values).float()
        if self.wanted != "probability":
            return values
        if self.given == "distance":
            # Distances from -1 to 1 are read as `csc_data.volumes.stored_values` does: 0, the surface, is a half.
            return ((values + 1) / 2).clamp_(0, 1)
        return torch.sigmoid(values)

    def _chosen(self, values: Tensor) -> Tensor:
        if self.channels is None or self.channels == tuple(range(len(values))):
            return values
        return values[list(self.channels)]


@dataclass(frozen=True, kw_only=True)
class Activations:
    """What the numbers of several outputs become, whose channels lie one behind the other.

    Attributes
    ----------
    parts : tuple of Activation
        One for each output.
    counts : tuple of int
        How many channels each output has.
    order : tuple of int
        For each channel that is wanted its place in what the parts give.
    """

    parts: tuple[Activation, ...]
    counts: tuple[int, ...]
    order: tuple[int, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Turn values (K, z, y, x) into float32 (channels, z, y, x)."""
        given = torch.split(values, list(self.counts))
        joined = torch.cat([part(each) for part, each in zip(self.parts, given, strict=True)])
        return joined if self.order == tuple(range(len(joined))) else joined[list(self.order)]


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Networks that predict patches together, on one device.

    Attributes
    ----------
    networks : tuple of callable
        Each takes an array, or a mapping of several by name. Their results are averaged, after activation.
    windows : Windows
    turns : tuple of Turn
    activation : Activation or Activations
    device : torch.device
    channels : mapping of str to int
        How many channels each output of the network has, in their order; empty where nobody said, and one array is
        taken as it is.
    wanted : tuple of str
        The outputs that are predicted.
    """

    networks: tuple[Callable[[Any], Any], ...]
    windows: Windows
    turns: tuple[Turn, ...]
    activation: Activation | Activations
    device: torch.device
    channels: Mapping[str, int]
    wanted: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether a patch goes through networks more than once."""
        return len(self.networks) * len(self.turns) > 1

    @property
    def last(self) -> Callable[[Tensor], Tensor]:
        """What is still to be done to what `predict` gives before it is blended."""
        return _as_they_are if self.several else self.activation

    @torch.inference_mode()
    def predict(self, patches: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Predict a batch.

        Parameters
        ----------
        patches : mapping
            By name, shape (B, 1, z, y, x) along the patch's axes.

        Returns
        -------
        values : Tensor
            Shape (B, K, z, y, x), without the halo. `last` is still to be done to them.
        sums : Tensor
            Shape (n,): sums over all values, not finite if one is not.

        Raises
        ------
        InvalidArgumentError
            If the network's output does not fit its classes or the target.
        """
        given = {name: values.to(self.device, non_blocking=True) for name, values in patches.items()}
        sums = []
        mean: Tensor | None = None
        for network, turn in itertools.product(self.networks, self.turns):
            values = turn.undo(self._output(network, {name: turn.apply(each) for name, each in given.items()}))
            values = self._without_halo(values)
            sums.append(values.sum(dtype=torch.float32))
            if not self.several:
                return values, torch.stack(sums)
            one = torch.stack([self.activation(each) for each in values])
            mean = one if mean is None else mean.add_(one)
        assert mean is not None
        return mean.div_(len(sums)), torch.stack(sums)

    def _output(self, network: Callable[[Any], Any], given: Mapping[str, Tensor]) -> Tensor:
        """Return what a network gives for turned patches, flat ones with their z axis; cut to the target."""
        target = self.windows.patch.target
        flat = self.windows.patch.input.flat
        inputs = {name: (values.squeeze(2) if flat else values).contiguous() for name, values in given.items()}
        outputs = network(inputs if len(inputs) > 1 else inputs[INPUT])
        output = self._wanted(outputs)
        found = tuple(output.shape)
        count = sum(self.channels[name] for name in self.wanted) if self.channels else found[1]
        ndim = 4 if flat else 5
        if len(found) != ndim or found[:2] != (len(inputs[INPUT]), count):
            raise InvalidArgumentError(
                f"the network gives {found} for {count} channels"
                + (f" of {', '.join(self.wanted)}; all that it gives has no names: use predict_array" if count else "")
            )
        if any(output.untyped_storage().data_ptr() == each.untyped_storage().data_ptr() for each in given.values()):
            output = output.clone()  # a view of patches, whose memory is used again
        if flat:
            output = output.unsqueeze(2)
        return crop_centre(output, target.shape)

    def _wanted(self, outputs: Any) -> Tensor:
        """Return the channels of the outputs that are predicted, as one array."""
        if len(self.channels) < 2:
            return _one_output(outputs)
        named = named_outputs(outputs, self.channels)
        levels = [named[name] for name in self.wanted]
        largest = [level if isinstance(level, Tensor) else level[0] for level in levels]
        if len(largest) == 1:
            return largest[0]
        sizes = self.windows.patch.target.shape[5 - largest[0].ndim :]  # one may be larger, and is cut as in training
        return torch.cat([crop_centre(each, sizes) for each in largest], 1)

    def _without_halo(self, values: Tensor) -> Tensor:
        for axis, (margin, n) in enumerate(zip(self.windows.halo, self.windows.kept, strict=True), start=2):
            values = values.narrow(axis, margin, n) if margin else values
        return values


def check_finite(sums: Sequence[Tensor], where: str) -> None:
    """Check sums that `Passes.predict` gave.

    Raises
    ------
    NonFiniteOutputError
        If a value was NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> check_finite([torch.tensor([1.0])], "block 3")
    >>> try:
    ...     check_finite([torch.tensor([1.0, float("nan")])], "block 3")
    ... except NonFiniteOutputError as error:
    ...     print(str(error).partition(";")[0])
    the network gives NaN or infinity in block 3
    """
    if sums and not bool(torch.isfinite(torch.cat(list(sums))).all()):
        raise NonFiniteOutputError(
            f"the network gives NaN or infinity in {where}; look at its weights, at raw_range, or use precision 32-true"
        )


def _one_output(outputs: Any) -> Tensor:
    """Return the output that is predicted: the largest of deep supervision, ``output`` of named ones."""
    if isinstance(outputs, Mapping):
        if "output" not in outputs and len(outputs) != 1:
            raise InvalidArgumentError(
                f"the network gives {', '.join(map(str, outputs))}; the one to predict must be called output"
            )
        outputs = outputs["output"] if "output" in outputs else next(iter(outputs.values()))
    if isinstance(outputs, list | tuple):
        outputs = outputs[0]  # of deep supervision: the largest comes first
    if not isinstance(outputs, Tensor):
        raise InvalidArgumentError(f"a network must give tensors, a list or a mapping of them, got {outputs!r}")
    return outputs


def _as_they_are(values: Tensor) -> Tensor:
    return values
