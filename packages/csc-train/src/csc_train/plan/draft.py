"""Network, patch and batch: what fits into memory, and leaves time for enough steps."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from csc_data.errors import InvalidArgumentError
from csc_data.fingerprint import Fingerprint
from csc_data.geometry import Shape, as_shape
from csc_data.wording import format_bytes
from csc_train.plan.machine import Machine
from csc_train.plan.networks import NETWORKS, Network, NetworkCost, network_cost
from csc_train.plan.resolution import Group

LEAST_STEPS = 800
"""Steps below which patches are made smaller: the synthetic challenge's classes need about so many."""
VOXELS_OF_LEAST_STEPS = 2 * 40**3
"""Of a batch, up to which so few steps do; twice the voxels want twice the steps, so that more time becomes both."""
LEAST_BATCH, MOST_BATCH = 2, 8
"""Samples of a batch: one says little of a mean; more than eight gave nothing in nnU-Net's experience."""

MOST_STEPS = 250_000
"""Steps beyond which training brings little, as many as nnU-Net's."""

_STEPS_FOR_LARGER_BATCHES = 10_000
_STEPS_FOR_LARGER_NETWORKS = 4_000
_CONTEXT_KEPT = 0.75  # of the edge of the smallest network's patch, that a larger one must not cost
_LONGEST_EDGE = 192  # voxels
_SHORTEST_EDGE = 32
_ROOM = 1.5  # times the object's diameter: patches are drawn around any of its voxels
_STEPS_NOT_TIME = 0.85  # of the time goes into steps; the rest into validation, loading and checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is trained, and on what.

    Attributes
    ----------
    network : Network
    cost : NetworkCost
    patch : tuple of int
        Voxels, z, y, x.
    batch : int
    steps : int
        That the time is enough for, unless more would bring little.
    patch_reason, network_reason, batch_reason : str
    """

    network: Network
    cost: NetworkCost
    patch: Shape
    batch: int
    steps: int
    patch_reason: str
    network_reason: str
    batch_reason: str

    @property
    def voxels(self) -> int:
        """Voxels of a batch."""
        return self.batch * math.prod(self.patch)

    @property
    def flops(self) -> float:
        """Operations of a step."""
        return self.voxels * self.cost.flops

    def seconds(self, steps: int, machine: Machine) -> float:
        """Return how long so many steps take, with all that is done between them."""
        return steps * self.flops / machine.flops / _STEPS_NOT_TIME

    @property
    def memory_bytes(self) -> int:
        """Memory of a step."""
        return self.cost.memory_bytes(self.voxels)


@dataclass(frozen=True, slots=True)
class _Fit:
    """How much of a network fits into a machine."""

    cost: NetworkCost
    machine: Machine

    def fits(self, voxels: int) -> bool:
        return self.cost.memory_bytes(voxels) <= self.machine.memory_bytes

    def is_quick(self, voxels: int) -> bool:
        return self.steps(voxels) >= LEAST_STEPS * max(1.0, voxels / VOXELS_OF_LEAST_STEPS)

    def steps(self, voxels: int) -> int:
        return int(_STEPS_NOT_TIME * self.machine.seconds * self.machine.flops / (self.cost.flops * voxels))


def draft(group: Group, fingerprint: Fingerprint, machine: Machine) -> Draft:
    """Choose network, patch and batch for a group of classes.

    Parameters
    ----------
    group : Group
    fingerprint : Fingerprint
    machine : Machine
        Its time is that of this group alone.

    Raises
    ------
    InvalidArgumentError
        If not even the smallest patch fits into memory.
    """
    fitting = []
    for network in NETWORKS:
        fit = _Fit(network_cost(network, len(group.classes)), machine)
        is_narrow = network is NETWORKS[0] or (
            _edges(fit.cost)[0] * min(group.voxel_size) <= fingerprint.crop_extent_nm.p75
        )
        fits = fit.fits(LEAST_BATCH * _volume(group, fit.cost))
        if is_narrow and fits and network.least_crops <= fingerprint.crops:
            fitting.append((network, fit))
    if not fitting:
        smallest = network_cost(NETWORKS[0], len(group.classes))
        needed = smallest.memory_bytes(LEAST_BATCH * _volume(group, smallest))
        raise InvalidArgumentError(
            f"no patch fits into {format_bytes(machine.memory_bytes)} of memory on {machine.device}: the smallest "
            f"network needs {format_bytes(needed)} for {LEAST_BATCH} patches of {_SHORTEST_EDGE} voxels along each "
            "axis; free some, or choose another device"
        )
    drafts = [_draft_with(network, fit, group, fingerprint) for network, fit in fitting]
    # The largest network that the time does justice to, without taking context away from it.
    chosen = max((number for number, made in enumerate(drafts) if made.steps >= _STEPS_FOR_LARGER_NETWORKS), default=0)
    return drafts[chosen]


def _draft_with(network: Network, fit: _Fit, group: Group, fingerprint: Fingerprint) -> Draft:
    patch, patch_reason = _choose_patch(fit, group, fingerprint)
    batch, batch_reason = _choose_batch(fit, math.prod(patch))
    steps = min(MOST_STEPS, fit.steps(batch * math.prod(patch)))
    few = f"{fingerprint.crops} crops would be learnt by heart by larger ones"
    larger = [other for other in NETWORKS if other.least_crops > fingerprint.crops]
    reason = f"the largest for which {steps:,} steps fit into the time" + (f"; {few}" if larger else "")
    return Draft(
        network=network,
        cost=fit.cost,
        patch=patch,
        batch=batch,
        steps=steps,
        patch_reason=patch_reason,
        network_reason=f"{fit.cost.parameters / 1e6:.1f} million weights: {reason}",
        batch_reason=batch_reason,
    )


def _choose_patch(fit: _Fit, group: Group, fingerprint: Fingerprint) -> tuple[Shape, str]:
    """Return the patch that holds three quarters of the objects where memory, time and crops allow it, and why."""
    finest, crop = min(group.voxel_size), fingerprint.crop_extent_nm.p75
    held = max((facts.diameter_nm.p75 for facts in group.classes if facts.diameter_nm is not None), default=crop)
    limit = f"three quarters of the objects of each class fit (below {held:.0f} nm), with room"
    if _ROOM * held > crop:
        limit = f"crops are {crop:.0f} nm wide"
    wanted, edges = min(_ROOM * held, crop), _edges(fit.cost)
    if wanted > edges[-1] * finest:
        limit = f"{edges[-1]} voxels along an axis are enough context"
    shape = _shape(edges[0], group, fit.cost)
    for smaller, edge in itertools.pairwise(edges):
        if smaller * finest >= wanted:
            break
        larger = _shape(edge, group, fit.cost)
        voxels = LEAST_BATCH * math.prod(larger)
        if not fit.fits(voxels):
            limit = "more does not fit into memory"
            break
        if not fit.is_quick(voxels):
            limit = f"larger ones would leave time for {fit.steps(voxels):,} steps, which is few"
            break
        shape = larger
    nm = " x ".join(f"{n * v:.0f}" for n, v in zip(shape, group.voxel_size, strict=True))
    return shape, f"{nm} nm: {limit}"


def _edges(cost: NetworkCost) -> list[int]:
    """Return the edges that patches may have, in voxels, rising."""
    start = math.ceil(max(_SHORTEST_EDGE, cost.least) / cost.multiple) * cost.multiple
    return list(range(start, max(start, _LONGEST_EDGE) + 1, cost.multiple))


def _shape(edge: int, group: Group, cost: NetworkCost) -> Shape:
    """Return the patch that is about a cube in nm; fewer voxels along axes of longer ones."""
    finest = min(group.voxel_size)
    least = math.ceil(cost.least / cost.multiple) * cost.multiple
    sizes = [round(edge * finest / v / cost.multiple) * cost.multiple for v in group.voxel_size]
    return as_shape([max(least, size) for size in sizes])


def _volume(group: Group, cost: NetworkCost) -> int:
    """Return the voxels of the smallest patch."""
    return math.prod(_shape(_edges(cost)[0], group, cost))


def _choose_batch(fit: _Fit, voxels: int) -> tuple[int, str]:
    batch = LEAST_BATCH
    while batch < MOST_BATCH:
        if not fit.fits(2 * batch * voxels):
            return batch, "more does not fit into memory"
        if fit.steps(2 * batch * voxels) < _STEPS_FOR_LARGER_BATCHES:
            return batch, "steps matter more than samples in this time"
        batch *= 2
    return batch, "steps are many enough"
