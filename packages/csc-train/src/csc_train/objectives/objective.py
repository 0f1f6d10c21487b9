"""The objective of an experiment: its losses with their weights, and how validation is measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError
from csc_data.loader import ClassCounts
from csc_data.loader.targets import BinaryTarget, SignedDistanceTarget, TargetKind, parse_targets
from csc_train.network import fit_output, named_outputs
from csc_train.objectives.criteria import CriterionReader, Term
from csc_train.objectives.losses.exclusive import ExclusiveCrossEntropy
from csc_train.objectives.losses.loss import exact_dtype
from csc_train.objectives.metrics import Measured, Metrics, Named
from csc_train.objectives.positive_weights import positive_weights
from csc_train.objectives.supervision import level_shares, nearest_voxels
from csc_train.settings import TrainSettings

_log = logging.getLogger(__name__)


class Objective(nn.Module):
    """What a network is trained for: a sum of terms, each the mean of a loss over what is known.

    A mean is a sum over a weight, and both are given apart: weights follow from targets alone, so whoever knows those
    of all batches of a step, on all processes, divides each batch's sums by them, and gets the gradient of one large
    batch. Terms stand in the order of `terms`; T is their number.

    Parameters
    ----------
    terms : sequence of Term
    measured : sequence of Measured
        What validation compares; names each output once.

    Examples
    --------
    >>> import torch
    >>> from csc_train import TrainSettings
    >>> settings = TrainSettings(
    ...     classes=["nuc"], criterion="bce", input_array_info={"shape": (1, 64, 64), "scale": (8, 8, 8)}
    ... )
    >>> objective = build_objective(settings)
    >>> target = torch.tensor([[[[1.0, float("nan")]]]])
    >>> batch, output = {"output": target}, torch.zeros(1, 1, 1, 2)
    >>> objective.weights(batch).tolist(), list(objective.named(output))  # one voxel is known
    ([1.0], ['output'])
    >>> loss = objective.total(objective.losses(output, batch), objective.weights(batch))
    >>> round(loss.item(), 4), objective.no_sums().tolist()
    (0.6931, [0.0])
    >>> metrics = objective.metrics()
    >>> metrics.add(output, batch)
    """

    def __init__(self, terms: Sequence[Term], measured: Sequence[Measured]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.measured = tuple(measured)
        self.channels = {entry.output: len(entry.channels) for entry in measured}
        self._losses = nn.ModuleList([term.loss for term in terms])
        self.register_buffer("_place", torch.empty(0), persistent=False)

    _place: Tensor

    @property
    def device(self) -> torch.device:
        """Where it was moved to."""
        return self._place.device

    def no_sums(self) -> Tensor:
        """Return zeros, shape (T,), to add sums or weights to; float64, but where the device has none."""
        return torch.zeros(len(self.terms), dtype=exact_dtype(self.device), device=self.device)

    def named(self, outputs: object) -> Named:
        """Return what a network gives by the names of outputs; see `named_outputs`.

        Raises
        ------
        InvalidArgumentError
            If outputs are missing, or channels do not add up.
        """
        return named_outputs(outputs, self.channels)

    @torch.no_grad()
    def weights(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return by how much the sums of each term are to be divided in the end, from targets alone; shape (T,)."""
        return torch.stack([term.loss.weight(_target(batch, term.target)) for term in self.terms])

    def losses(self, outputs: object, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of each term, with its gradient; shape (T,).

        Raises
        ------
        InvalidArgumentError
            If what the network gives does not fit the targets.
        """
        named = self.named(outputs)
        return torch.stack([self._sum(term, named[term.output], _target(batch, term.target)) for term in self.terms])

    def _sum(self, term: Term, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
        levels = [output] if isinstance(output, Tensor) else output
        total: Tensor = term.loss(_at_least_single(fit_output(levels[0], target)), target)
        if len(levels) == 1:
            return total
        if levels[0].shape != target.shape:
            raise InvalidArgumentError(
                f"the network gives a list whose first has {tuple(levels[0].shape)} where targets are "
                f"{tuple(target.shape)}; deep supervision needs the same"
            )
        shares = level_shares(len(levels))
        total = shares[0] * total
        for share, level in zip(shares[1:], levels[1:], strict=True):
            coarse = nearest_voxels(target, level.shape[2:])
            # A fixed number and not the counts of this batch, so that sums of batches are that of all.
            voxels = target[0, 0].numel() / coarse[0, 0].numel() if term.loss.per_voxel else 1.0
            total = total + share * voxels * term.loss(_at_least_single(fit_output(level, coarse)), coarse)
        return total

    def total(self, sums: Tensor, weights: Tensor) -> Tensor:
        """Return the total of all terms: the sum of factor * sum / weight; 0 of terms whose weight is 0."""
        known = weights > 0
        means = torch.where(known, sums, 0.0) / torch.where(known, weights, 1.0)
        factors = torch.tensor([term.factor for term in self.terms], dtype=means.dtype)
        return (means * factors.to(means.device, non_blocking=True)).sum()

    def metrics(self) -> Metrics:
        """Return a fresh accumulator for validation."""
        return Metrics(self.measured, self.named, self.device)


def _target(batch: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in batch:
        raise InvalidArgumentError(f"the criterion needs a target {name!r}; batches hold {', '.join(batch)}")
    return batch[name]


def _at_least_single(values: Tensor) -> Tensor:
    """Return float32 of half precision: sums over a patch are too large for it."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def build_objective(
    settings: TrainSettings, counts: ClassCounts | None = None, targets: Mapping[str, TargetKind] | None = None
) -> Objective:
    """Return the objective of an experiment.

    Parameters
    ----------
    settings : TrainSettings
    counts : ClassCounts, optional
        Voxels of the classes; without them all voxels count alike.
    targets : mapping, optional
        What each target of a batch says; by default ``output`` says where classes are present.

    Raises
    ------
    ProblemsError
        With everything that is wrong with the criterion.

    Examples
    --------
    >>> import torch
    >>> from csc_train import TrainSettings
    >>> settings = TrainSettings(
    ...     classes=["nuc"], criterion="bce", input_array_info={"shape": (1, 64, 64), "scale": (8, 8, 8)}
    ... )
    >>> objective = build_objective(settings)
    >>> [term.name for term in objective.terms]
    ['bce']
    """
    kinds = dict(targets or parse_targets(None))
    weight = None
    if counts is not None and settings.weight_loss:
        weight = positive_weights(counts, settings.classes, settings.max_positive_weight)
    reader = CriterionReader(kinds=kinds, positive_weight=weight, ndim=2 if settings.input_array_info.flat else 3)
    terms = reader.read(settings.criterion, settings.criterion_kwargs)
    for name in kinds.keys() - {term.target for term in terms}:
        _log.warning("the criterion does not use the target %s", name)
    return Objective(terms, _measure(terms, kinds, settings.classes))


def measured_outputs(settings: TrainSettings) -> list[Measured]:
    """Return what validation of an experiment compares, in the order of the network's channels.

    Raises
    ------
    ProblemsError
        With everything that is wrong with the criterion.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> settings = TrainSettings(classes=["nuc"], input_array_info={"shape": (1, 64, 64), "scale": (8, 8, 8)})
    >>> [entry.channels for entry in measured_outputs(settings)]
    [('nuc',)]
    """
    reader = CriterionReader(kinds=settings.kinds, ndim=2 if settings.input_array_info.flat else 3)
    return _measure(reader.read(settings.criterion, settings.criterion_kwargs), settings.kinds, settings.classes)


def _measure(terms: Sequence[Term], kinds: Mapping[str, TargetKind], classes: Sequence[str]) -> list[Measured]:
    """Return what validation compares: each output with the target of its first term.

    Scores of the first output that says where classes are have plain names, those of others the output's before them.
    """
    targets: dict[str, str] = {}
    for term in terms:
        targets.setdefault(term.output, term.target)
    main = next((name for name, target in targets.items() if isinstance(kinds[target], BinaryTarget)), None)
    main = next(iter(targets)) if main is None else main
    return [
        Measured(
            output=output,
            target=target,
            channels=kinds[target].channel_names(classes),
            distances=isinstance(kinds[target], SignedDistanceTarget),
            exclusive=any(term.output == output and isinstance(term.loss, ExclusiveCrossEntropy) for term in terms),
            prefix="" if output == main else f"{output}/",
        )
        for output, target in targets.items()
    ]
