"""The challenge's own score on the validation crops of an epoch."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from torch import Tensor

from csc_data.wording import plural
from csc_eval import LabelScore
from csc_train.challenge_score.crops import GrowingCrop
from csc_train.challenge_score.plan import ScoredCrop
from csc_train.challenge_score.scoring import CropScorer, CropScores, PostProcess, pool
from csc_train.network import fit_output
from csc_train.training.loaders import Batch
from csc_train.training.run import End, Hook, Run

logger = logging.getLogger(__name__)

_NUMBERS = ("tp", "fp", "fn", "hausdorff_norm_sum", "n_hausdorff")


class ChallengeScore(Hook):
    """Puts validation tiles together into whole crops, post-processes these, and scores them by csc-eval.

    The number is that of ``csc predict --crops validation``, ``csc process`` and ``csc evaluate --datasplit`` with
    ``--rules definition-2026-06``, from the same 256 steps of probability, but for this: validation tiles have no halo,
    and flat ones lie in z planes only, where prediction keeps the inner part of larger patches, and takes the mean of
    planes across three axes; only classes that the network gives count, and only crops that are validated as a whole.

    In one process a crop is scored as soon as it is whole. Several processes have tiles of all crops: these are added
    up when validation is done, and each process scores some of them.

    Parameters
    ----------
    post_process : PostProcess, optional
        A threshold at a half, and components of instance classes, by default.
    """

    def __init__(self, post_process: PostProcess | None = None) -> None:
        self._scorer = CropScorer(post_process)
        self._growing: dict[int, GrowingCrop] = {}
        self._scores: CropScores = {}
        self._told = False

    def on_start(self, run: Run) -> None:
        """Say which crops are left out, if any are scored or were to decide."""
        plan = run.score_plan
        for remark in plan.remarks if run.speaks else ():
            logger.log(logging.WARNING if plan.crops else logging.INFO, "%s", remark)

    def on_validation_batch(self, run: Run, batch: Batch, outputs: Any) -> None:
        """Take in tiles, and score the crops that they complete."""
        plan = run.score_plan
        if plan.output is None:
            return
        crops = {crop.number: crop for crop in plan.crops}
        instances = plan.scores_instances(run.state.epoch + 1)
        given, target = run.objective.named(outputs)[plan.output.output], batch[plan.output.target]
        whole = fit_output(given if isinstance(given, Tensor) else given[0], target)
        places = zip(batch["place_crop"].tolist(), batch["place_centre_nm"].tolist(), strict=True)
        for sample, (number, centre) in enumerate(places):
            crop = crops.get(number)
            names = crop.classes(instances=instances) if crop else ()
            if crop is None or not names:
                continue
            probability = plan.output.probability(whole[sample : sample + 1])[0, [plan.channels[n] for n in names]]
            tile = (probability * 255).round_().to(torch.uint8).cpu().numpy()
            growing = self._growing.setdefault(number, GrowingCrop(crop, names))
            growing.add(tile if tile.ndim == 4 else tile[:, None], centre)
            if growing.is_whole and run.fabric.world_size == 1:
                self._score(self._growing.pop(number))

    def on_validated(self, run: Run) -> dict[str, float]:
        """Return the scores of the epoch."""
        plan = run.score_plan
        if run.fabric.world_size > 1 and plan.crops:
            self._share(run)
        scores, self._scores = self._scores, {}
        self._growing.clear()  # those that are not whole
        if len(scores) < len(plan.crops) and not self._told and run.settings.validation_time_limit is not None:
            self._told = True
            if run.speaks:
                words = f"{len(scores)} of {plural(len(plan.crops), 'validation crop')}"
                logger.warning("challenge score: of %s; validation_time_limit leaves out parts of the others", words)
        return pool(plan, scores)

    def on_end(self, run: Run, end: End) -> None:
        """Remove the truth."""
        self._scorer.close()

    def _score(self, growing: GrowingCrop) -> None:
        for name in list(growing.values):
            score = self._scorer.score(growing.crop, name, growing.values.pop(name))
            self._scores.setdefault(growing.crop.name, {})[name] = score

    def _share(self, run: Run) -> None:
        """Add up what the processes have, score a part of the crops in each, and exchange the scores."""
        instances = run.score_plan.scores_instances(run.state.epoch + 1)
        crops = [crop for crop in run.score_plan.crops if crop.classes(instances=instances)]
        have = [self._growing[crop.number].tiles if crop.number in self._growing else 0 for crop in crops]
        tiles = _added(run, torch.tensor(have)).tolist()
        whole = [crop for crop, count in zip(crops, tiles, strict=True) if count == crop.tiles]
        own = []
        for number, crop in enumerate(whole):
            names = crop.classes(instances=instances)
            # Each voxel is in the tile of one process, and 0 in the others.
            growing = self._growing.pop(crop.number, None) or GrowingCrop(crop, names)
            for name in names:
                values = _added(run, torch.from_numpy(growing.values[name])).cpu().numpy()
                if number % run.fabric.world_size == run.fabric.global_rank:
                    growing.values[name] = values
                else:
                    del growing.values[name]
            if growing.values:
                own.append(growing)
        for growing in own:
            self._score(growing)
        self._exchange(run, [(crop, name) for crop in whole for name in crop.classes(instances=instances)])

    def _exchange(self, run: Run, labels: list[tuple[ScoredCrop, str]]) -> None:
        """Give every process the scores of all labels: all must agree on which epoch was best."""
        rows = []
        for crop, name in labels:
            score = self._scores.get(crop.name, {}).get(name)
            rows.append([0.0 if score is None else float(getattr(score, number)) for number in _NUMBERS])
        found = _added(run, torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(_NUMBERS)))
        for (crop, name), (tp, fp, fn, norm_sum, count) in zip(labels, found.tolist(), strict=True):
            self._scores.setdefault(crop.name, {})[name] = LabelScore(
                instance=name in crop.instances,
                tp=int(tp),
                fp=int(fp),
                fn=int(fn),
                hausdorff_norm_sum=norm_sum,
                n_hausdorff=int(count),
            )


def _added(run: Run, values: Tensor) -> Tensor:
    """Return the sum over all processes."""
    return cast("Tensor", run.fabric.all_reduce(values.to(run.fabric.device), reduce_op="sum"))
