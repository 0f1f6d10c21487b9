"""Pictures of validation for TensorBoard: raw, truth and prediction side by side."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.loader import ArrayInfo
from csc_data.loader.preview.figure import Panel, choose_styles, compose_figure
from csc_train.logs.event_files import image
from csc_train.network import fit_output
from csc_train.objectives.metrics import Measured
from csc_train.training.hooks.logbook import Logbook
from csc_train.training.hooks.logs_folder import batches_done
from csc_train.training.loaders import Batch, Batches
from csc_train.training.results import EpochRecord
from csc_train.training.run import Hook, Run

_MOST_EPOCHS = 99
"""Of so many epochs between the first and the last there are pictures, so that logs stay small."""

_SIZE = 192
"""Pixels of a panel; drawing 384 takes four times as long."""

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A plane of a sample; truth and prediction have the shape (C, y, x), and are above 0 where a class is."""

    rank: tuple[float, int]
    raw: Plane
    truth: Plane
    prediction: Plane
    dice: float
    place: str


class Images(Hook):
    """Shows the same samples each time, and the one with the lowest Dice of its epoch.

    The middle plane along z of each is drawn: raw, the outlines of what is there, and those of what the network found,
    each class in a colour of its own; what is unknown is hatched. Those shown each time are the ones whose plane has
    most classes. Only what may be drawn is kept, a plane of each.

    Parameters
    ----------
    logbook : Logbook
        Where pictures go.
    count : int
        How many samples are shown each time, beside the worst.
    """

    def __init__(self, logbook: Logbook, count: int) -> None:
        self.logbook = logbook
        self.count = count
        self._fixed: list[_Shown] = []
        self._worst: _Shown | None = None
        self._seen = 0

    def on_validation_batch(self, run: Run, batch: Batch, outputs: Any) -> None:
        """Keep what is to be drawn of a batch."""
        self._keep(run, batch, outputs, run.loaders.validation)

    def on_training_batch(self, run: Run, batch: Batch, outputs: Any) -> None:
        """Keep what is to be drawn where nothing is validated; these are other samples each time."""
        self._keep(run, batch, outputs, run.loaders.train)

    def _keep(self, run: Run, batch: Batch, outputs: Any, loader: Batches | None) -> None:
        if not run.speaks or not self.count or not is_drawn(run.state.epoch + 1, run.settings.epochs):
            return
        measured = _shown_output(run)
        given, target = run.objective.named(outputs)[measured.output], batch[measured.target]
        logits = fit_output(given if isinstance(given, Tensor) else given[0], target)
        present, found = measured.present(target), measured.found(logits)
        scores = sample_dice(found, present, ~torch.isnan(target)).tolist()
        classes = _middle(present).flatten(2).any(2).sum(1).tolist()
        for sample, (dice, number) in enumerate(zip(scores, classes, strict=True)):
            self._seen += 1
            # Of those with as many classes: in an order that jumps, or neighbours would be shown.
            rank = (float(number), self._seen * 2654435761 % 2**32)
            is_fixed = len(self._fixed) < self.count or rank > self._fixed[-1].rank
            is_worst = not math.isnan(dice) and (self._worst is None or dice < self._worst.dice)
            if is_fixed or is_worst:
                known = torch.where(torch.isnan(target[sample]), torch.nan, present[sample].float())
                shown = _Shown(
                    rank=rank,
                    raw=_as_array(_raw_plane(run, batch, sample)),
                    truth=_as_array(_middle(known[None])[0]),
                    prediction=_as_array(_middle(found[sample][None])[0]),
                    dice=dice,
                    place=_place(loader, batch, sample),
                )
                if is_fixed:
                    self._fixed = sorted([*self._fixed, shown], key=lambda one: one.rank, reverse=True)[: self.count]
                if is_worst:
                    self._worst = shown

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """Draw what was kept."""
        shown = {f"samples/{number}": one for number, one in enumerate(self._fixed, start=1)}
        if self._worst is not None:
            shown["samples/worst"] = self._worst
        self._fixed, self._worst, self._seen = [], None, 0
        for tag, one in shown.items():
            self.logbook.write(batches_done(run), [_draw(run, tag, one, record.epoch)])


def sample_dice(found: Tensor, present: Tensor, known: Tensor) -> Tensor:
    """Return the mean Dice of each sample over the classes that are there or found; NaN without any.

    Parameters
    ----------
    found, present, known : Tensor
        Bool, shape (B, C, [z,] y, x); ``present`` only where known.

    Returns
    -------
    Tensor
        Shape (B,).

    Examples
    --------
    >>> import torch
    >>> found = torch.tensor([[[[True, True, False]]]])
    >>> present = torch.tensor([[[[True, False, False]]]])
    >>> round(sample_dice(found, present, torch.ones_like(found)).item(), 3)
    0.667
    """
    both = (found & present).flatten(2).sum(2)
    total = (found & known).flatten(2).sum(2) + present.flatten(2).sum(2)
    return (2 * both / total).nanmean(1)


def is_drawn(epoch: int, epochs: int) -> bool:
    """Tell whether there are pictures of an epoch: of the first and the last, and of at most a hundred in all.

    Examples
    --------
    >>> [epoch for epoch in range(1, 301) if is_drawn(epoch, 300)][:4]
    [1, 4, 8, 12]
    """
    return epoch in (1, epochs) or epoch % math.ceil(epochs / _MOST_EPOCHS) == 0


def _as_array(values: Tensor) -> Plane:
    array: Plane = values.float().cpu().numpy()
    return array


def _middle(values: Tensor) -> Tensor:
    """Return the middle plane along z of (B, C, z, y, x); flat patches have one plane."""
    return values if values.ndim == 4 else values[:, :, values.shape[2] // 2]


def _raw_plane(run: Run, batch: Batch, sample: int) -> Tensor:
    """Return the plane of raw in which the middle plane of the targets lies."""
    name, given = _raw_array(run)
    raw = batch[name][sample, 0]
    if raw.ndim == 2:
        return raw
    target = _target_array(run)
    offset_nm = (target.shape[0] // 2 - (target.shape[0] - 1) / 2) * target.scale[0]
    plane = math.floor(offset_nm / given.scale[0] + given.shape[0] / 2)
    return raw[min(max(plane, 0), given.shape[0] - 1)]


def _raw_array(run: Run) -> tuple[str, ArrayInfo]:
    return next(iter(run.loaders.inputs.items()))


def _target_array(run: Run) -> ArrayInfo:
    return run.loaders.targets[_shown_output(run).target]


def _shown_output(run: Run) -> Measured:
    """Return the output that is drawn: that whose scores have plain names."""
    return next(one for one in run.objective.measured if not one.prefix)


def _place(loader: Batches | None, batch: Batch, sample: int) -> str:
    """Say where a sample lies, if its batch does."""
    if "place_crop" not in batch or loader is None or loader.patches is None:
        return ""
    crop = loader.patches.reader.crops[int(batch["place_crop"][sample])]
    z, y, x = batch["place_centre_nm"][sample].tolist()
    return f", {crop.name} at z {z:.0f}  y {y:.0f}  x {x:.0f} nm"


def _draw(run: Run, tag: str, shown: _Shown, epoch: int) -> Any:
    styles = choose_styles(_shown_output(run).channels, run.settings.class_table)
    nothing = np.zeros_like(shown.prediction)
    panels = [
        Panel(
            raw=shown.raw,
            raw_scale=_raw_array(run)[1].scale[1:],
            targets=targets,
            target_scale=_target_array(run).scale[1:],
            caption=(words,),
        )
        for words, targets in (("raw", nothing), ("truth", shown.truth), ("prediction", shown.prediction))
    ]
    title = f"epoch {epoch}{shown.place}: Dice {shown.dice:.3f}"
    picture = compose_figure(title, styles, panels, columns=len(panels), size=_SIZE)
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return image(tag, stream.getvalue(), picture.height, picture.width)
