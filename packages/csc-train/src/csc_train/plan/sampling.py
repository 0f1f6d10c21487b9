"""Which places are drawn, and how they are varied."""

from __future__ import annotations

import math
from typing import Any

from csc_data.fingerprint import Choice, Fingerprint
from csc_train.plan.draft import Draft
from csc_train.plan.resolution import Group

FEW_CROPS = 8
"""Below this, varying samples begins after half as many passes over the data."""

_RARE = 0.05  # share of what is known
_MOST_WEIGHT = 3.0
_PASSES_FOR_INTENSITY = 50.0
_PASSES_FOR_TURNS = 100.0
_STEPS_TO_LEARN_BY_HEART = 2_000  # in fewer, a network does not get that far, and varied samples only slow it down
_CUBE = 1.3  # the longest edge of a voxel over its shortest, up to which axes may be swapped


def passes(made: Draft, group: Group, fingerprint: Fingerprint) -> float:
    """Return how often each annotated voxel is drawn in the whole training."""
    voxels = fingerprint.annotated_nm3 / math.prod(group.voxel_size)
    return made.steps * made.voxels / voxels


def sampling_choices(made: Draft, group: Group, fingerprint: Fingerprint) -> list[Choice]:
    """Return what is said about sampling, the weight of rare classes, and augmentation.

    Parameters
    ----------
    made : Draft
    group : Group
    fingerprint : Fingerprint
    """
    rarest = min(group.classes, key=lambda facts: facts.share)
    rare = rarest.share < _RARE
    shares = f"{rarest.name} fills {100 * rarest.share:.2g} % of what is known"
    choices = [
        Choice(name="weighted_sampler", value=True, reason=f"each class is drawn as often: {shares}"),
        Choice(
            name="weight_loss",
            value=rare,
            reason=f"{'so' if rare else 'no class is so rare that'} its voxels {'' if rare else 'have to '}weigh more",
        ),
    ]
    if rare:
        reason = "at most: beyond, thin classes grow too thick"
        choices.append(Choice(name="max_positive_weight", value=_MOST_WEIGHT, reason=reason))
    return [*choices, *_augmentation(made, group, fingerprint)]


def _augmentation(made: Draft, group: Group, fingerprint: Fingerprint) -> list[Choice]:
    often = passes(made, group, fingerprint) * (2 if fingerprint.crops < FEW_CROPS else 1)
    if made.steps < _STEPS_TO_LEARN_BY_HEART:
        often = 0.0
    said = f"{fingerprint.crops} crops, each voxel drawn {passes(made, group, fingerprint):.2g} times"
    swapped = _alike_axes(group)
    spatial: dict[str, Any] = {"mirror": {"axes": ["x", "y", "z"]}}
    if len(swapped) > 1:
        spatial["transpose"] = {"axes": swapped}
    turns = often >= _PASSES_FOR_TURNS
    if turns:
        spatial["rotate"] = {"axes": {"z": [-180.0, 180.0]}}
        spatial["scale"] = {"axes": {axis: [0.8, 1.25] for axis in swapped}}
    words = f"tissue has no up and down; {said}{', so also turned and scaled' if turns else ''}"
    choices = [Choice(name="spatial_transforms", value=spatial, reason=words)]
    if often >= _PASSES_FOR_INTENSITY:
        intensity = {
            "gamma": {"probability": 0.3},
            "contrast": {"probability": 0.2},
            "brightness": {"probability": 0.2},
            "gaussian_noise": {"probability": 0.2},
        }
        choices.append(Choice(name="intensity_transforms", value=intensity, reason=f"{said}: grey values must vary"))
    return choices


def _alike_axes(group: Group) -> list[str]:
    """Return the axes that may be swapped: those along which voxels are about as long as the shortest."""
    least = min(group.voxel_size)
    return [axis for axis, size in zip("xyz", reversed(group.voxel_size), strict=True) if size <= _CUBE * least]
