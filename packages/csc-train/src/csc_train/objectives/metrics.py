"""Scores of validation: overlaps and errors over known voxels, added up batch by batch and over processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from csc_data.errors import InvalidArgumentError
from csc_train.network import fit_output
from csc_train.objectives.losses.exclusive import exclusive_probability
from csc_train.objectives.losses.loss import exact_dtype

Named = dict[str, Tensor | list[Tensor]]

_ROWS = 5  # of the sums: found and present, found and absent, missed, absolute differences, known voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An output that is compared with a target.

    Attributes
    ----------
    output, target : str
        Their names.
    channels : tuple of str
        Names of the channels.
    distances : bool
        Whether values are signed distances; they are present where above 0. Others are 1 and 0.
    exclusive : bool
        Whether the output is that of classes that exclude each other, see `ExclusiveCrossEntropy`.
    prefix : str
        What stands before the names of its scores.

    Examples
    --------
    >>> import torch
    >>> entry = Measured(output="output", target="output", channels=("mito",))
    >>> logits = torch.tensor([[[[2.0, -1.0]]]])
    >>> entry.found(logits).tolist(), entry.probability(torch.zeros(1)).tolist()
    ([[[[True, False]]]], [0.5])
    >>> entry.present(torch.tensor([1.0, 0.0, float("nan")])).tolist()
    [True, False, False]
    """

    output: str
    target: str
    channels: tuple[str, ...]
    distances: bool = False
    exclusive: bool = False
    prefix: str = ""

    def found(self, output: Tensor) -> Tensor:
        """Tell where a network finds something: a probability above 0.5, or a distance above 0."""
        return exclusive_probability(output) > 0.5 if self.exclusive else output > 0

    def probability(self, output: Tensor) -> Tensor:
        """Return how likely something is, from 0 to 1; a distance of 0, the surface, is a half."""
        if self.exclusive:
            return exclusive_probability(output)
        return ((output + 1) / 2).clamp(0, 1) if self.distances else output.sigmoid()

    def present(self, target: Tensor) -> Tensor:
        """Tell where something is; not where that is unknown."""
        return target > (0.0 if self.distances else 0.5)


class Metrics:
    """Sums over everything that was added, and the scores of it.

    Parameters
    ----------
    measured : sequence of Measured
    named : callable
        Gives a network's output by name.
    device : torch.device
        Where to add up.

    Examples
    --------
    >>> import torch
    >>> entry = Measured(output="output", target="output", channels=("mito",))
    >>> metrics = Metrics([entry], lambda outputs: {"output": outputs}, torch.device("cpu"))
    >>> metrics.add(torch.tensor([[[[2.0, 2.0, -1.0]]]]), {"output": torch.tensor([[[[1.0, 0.0, 0.0]]]])})
    >>> metrics.scores()["iou/mito"]
    0.5
    >>> both = Metrics([entry], lambda outputs: {"output": outputs}, torch.device("cpu"))
    >>> both.load(2 * metrics.state())
    >>> both.scores()["iou/mito"]
    0.5
    """

    def __init__(self, measured: Sequence[Measured], named: Callable[[object], Named], device: torch.device) -> None:
        self._measured = tuple(measured)
        self._named = named
        counts = [len(entry.channels) for entry in self._measured]
        self._sums = [torch.zeros(_ROWS, count, dtype=exact_dtype(device), device=device) for count in counts]

    @torch.no_grad()
    def add(self, outputs: object, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch.

        Raises
        ------
        InvalidArgumentError
            If what the network gives does not fit the targets.
        """
        named = self._named(outputs)
        for entry, sums in zip(self._measured, self._sums, strict=True):
            output, target = named[entry.output], batch[entry.target]
            whole = fit_output(output if isinstance(output, Tensor) else output[0], target)
            sums += torch.stack(_counts(whole, target, entry)).to(sums.dtype)

    def state(self) -> Tensor:
        """Return the sums, 1-dimensional: those of several processes may be added up."""
        return torch.cat([sums.flatten() for sums in self._sums])

    def load(self, state: Tensor) -> None:
        """Take sums in place of its own.

        Raises
        ------
        InvalidArgumentError
            If they are of other outputs.
        """
        sizes = [sums.numel() for sums in self._sums]
        if state.shape != (sum(sizes),):
            raise InvalidArgumentError(f"these metrics have {sum(sizes)} sums, got {tuple(state.shape)}")
        for sums, part in zip(self._sums, torch.split(state, sizes), strict=True):
            sums.copy_(part.view_as(sums))

    def scores(self) -> dict[str, float]:
        """Return the scores by name: ``iou``, ``dice`` (means), ``iou/mito``, ``dice/mito``.

        Distances have ``mae`` too, the mean absolute difference. NaN where a score is not defined, such as a class
        that is neither present nor found; means leave these out.
        """
        found: dict[str, float] = {}
        for entry, sums in zip(self._measured, self._sums, strict=True):
            both, surplus, missed, difference, known = sums.double().cpu()
            values = {
                "iou": both / (both + surplus + missed),  # 0/0 is NaN
                "dice": 2 * both / (2 * both + surplus + missed),
            }
            if entry.distances:
                values["mae"] = difference / known
            for name, value in values.items():
                found[f"{entry.prefix}{name}"] = float(value.nanmean())
                for channel, one in zip(entry.channels, value.tolist(), strict=True):
                    found[f"{entry.prefix}{name}/{channel}"] = one
        return found


def _counts(output: Tensor, target: Tensor, measured: Measured) -> list[Tensor]:
    """Return the sums of a batch, each of shape (C,)."""
    axes = [0, *range(2, target.ndim)]
    known = ~torch.isnan(target)
    present, found = measured.present(target), measured.found(output)
    absent = known & ~present
    counts = [(found & present).sum(axes), (found & absent).sum(axes), (~found & present).sum(axes)]
    differences = target.new_zeros(1, target.shape[1], 1)
    if measured.distances:
        differences = torch.where(known, (output - target).abs(), 0.0).flatten(2)
    return [*counts, differences.sum((0, 2)), known.sum(axes)]
