"""Overlap of prediction and truth over known voxels, added up batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from csc_train.training.results import ValidationScores


class OverlapCounts:
    """True positives, false positives and false negatives of each class.

    Parameters
    ----------
    classes : int
        Number of channels.
    device : torch.device
        Where to count.
    """

    def __init__(self, classes: int, device: torch.device | None = None) -> None:
        self.counts = torch.zeros(3, classes, dtype=torch.int64, device=device)
        self.loss = 0.0
        self.known = 0

    def add(self, logits: Tensor, target: Tensor, loss: float, known: int) -> None:
        """Count a batch; a voxel is predicted where its probability is above 0.5.

        Parameters
        ----------
        logits, target : Tensor
            Shape (B, C, ...); targets are 1, 0 and NaN.
        loss : float
            The mean loss over its known voxels.
        known : int
            Their number.
        """
        predicted = logits > 0
        present = target == 1
        absent = target == 0
        axes = [0, *range(2, logits.ndim)]
        self.counts += torch.stack(
            [(predicted & present).sum(axes), (predicted & absent).sum(axes), (~predicted & present).sum(axes)]
        )
        self.loss += loss * known
        self.known += known

    def scores(self, classes: Sequence[str]) -> ValidationScores:
        """Return the scores of everything that was added."""
        both, surplus, missed = self.counts.double().cpu()
        iou = both / (both + surplus + missed)  # 0/0 is NaN: a class that is neither present nor predicted
        dice = 2 * both / (2 * both + surplus + missed)
        return ValidationScores(
            loss=self.loss / self.known if self.known else math.nan,
            iou=float(iou.nanmean()),
            dice=float(dice.nanmean()),
            class_iou={name: float(value) for name, value in zip(classes, iou, strict=True)},
        )
