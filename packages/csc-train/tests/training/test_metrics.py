import math

import pytest
import torch

from csc_train.training.metrics import OverlapCounts


def test_scores_are_those_of_all_batches_together_over_known_voxels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, 5, 5, 5, generator=generator)
    target = (torch.rand(6, 4, 5, 5, 5, generator=generator) > 0.5).float()
    target[torch.rand(target.shape, generator=generator) < 0.3] = torch.nan
    target[:, 2] = torch.nan  # never known
    target[:, 3], logits[:, 3] = 0, -1  # known to be absent, and not predicted
    counts = OverlapCounts(4)
    for start in range(0, 6, 2):
        counts.add(logits[start : start + 2], target[start : start + 2], loss=float(start), known=10 * (start + 1))
    scores = counts.scores(["a", "b", "c", "d"])
    iou, dice = [], []
    for channel in (0, 1):
        known = ~torch.isnan(target[:, channel])
        truth, found = target[:, channel][known] == 1, torch.sigmoid(logits[:, channel][known]) > 0.5
        both, either = (truth & found).sum(), (truth | found).sum()
        iou.append(float(both / either))
        dice.append(float(2 * both / (truth.sum() + found.sum())))
    assert scores.iou == pytest.approx(sum(iou) / 2)
    assert scores.dice == pytest.approx(sum(dice) / 2)
    assert scores.class_iou["a"] == pytest.approx(iou[0])
    assert math.isnan(scores.class_iou["c"])
    assert math.isnan(scores.class_iou["d"])
    assert scores.loss == pytest.approx((0 * 10 + 2 * 30 + 4 * 50) / 90)


def test_a_class_that_is_predicted_where_it_is_not_counts_as_zero():
    counts = OverlapCounts(1)
    counts.add(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), 0.0, 4)
    assert counts.scores(["a"]).iou == 0
