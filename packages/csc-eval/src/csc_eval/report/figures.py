"""Figures of the report, drawn with matplotlib and embedded as PNG."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from csc_data.errors import CscError
from csc_data.geometry import Grid
from csc_data.storage.stores.places import Store
from csc_data.storage.stores.submissions import open_store
from csc_data.volumes import open_volume
from csc_eval.placing.align import align
from csc_eval.placing.predictions import CropGrid, open_prediction
from csc_eval.rules import LEADERBOARD, RULE_SETS
from csc_eval.running.submission import match_crops
from csc_eval.scoring.labels import CACHE_BYTES, open_truth_array
from csc_eval.scoring.results import SubmissionScore
from csc_eval.voxels.arrays import Array

HIT, MISS, FALSE_ALARM = (0.17, 0.5, 0.72), (0.95, 0.6, 0.1), (0.71, 0.09, 0.62)
PLANES = 9
"""How many planes of a crop are looked at to find the one with the most wrong voxels."""


def _embed(figure: Figure, alt: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80, bbox_inches="tight")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"<img alt='{html.escape(alt, quote=True)}' src='data:image/png;base64,{data}'>"


def draw_distribution(result: SubmissionScore) -> str:
    """Draw the scores of all crops, one row per class."""
    names = sorted(result.combined.classes, key=lambda name: result.combined.classes[name].score)
    figure = Figure(figsize=(9, 0.8 + 0.28 * len(names)))
    axes: Any = figure.subplots()
    for row, name in enumerate(names):
        scores = [labels[name].score for labels in result.crops.values() if name in labels]
        axes.plot(scores, [row] * len(scores), "o", alpha=0.5, color=HIT, markersize=5)
        axes.plot(result.combined.classes[name].score, row, "|", color="black", markersize=12, markeredgewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("score: dots are crops, bars the pooled class")
    axes.grid(axis="x", alpha=0.3)
    return _embed(figure, "scores of crops by class")


def draw_comparisons(
    result: SubmissionScore,
    labels: Iterable[tuple[str, str]],
    *,
    submission: str | os.PathLike[str] | Store,
    truth: str | os.PathLike[str] | Store,
    raw: Mapping[str, str],
) -> list[str]:
    """Draw a slice of raw, truth, prediction and their comparison for each label, as HTML figures."""
    truth_store, submission_store = open_store(truth), open_store(submission)
    places = match_crops(submission_store, truth_store, result.crops)
    rules = RULE_SETS.get(result.rules, LEADERBOARD)
    figures = []
    for crop, name in labels:
        score = result.crops[crop][name]
        title = f"{crop} / {name}: {score.score:.3f} (tp {score.tp}, fp {score.fp}, fn {score.fn})"
        try:
            source, grid = open_truth_array(truth_store, f"{crop}/{name}")
            prediction = open_prediction(
                submission_store, f"{places[crop]}/{name}", grid, geometry=rules.geometry, cache_bytes=CACHE_BYTES
            )
            view = align(prediction, grid, instance=score.instance, rules=rules)
            z = _worst_plane(source, view)
            planes = [np.asarray(volume.read((z, 0, 0), (z + 1, *grid.shape[1:]))[0]) for volume in (source, view)]
            image = _read_raw(raw.get(crop), grid, z)
        except (CscError, KeyError) as error:
            figures.append(f"<p>{html.escape(title)}: {html.escape(str(error))}</p>")
            continue
        caption = f"<figcaption>{html.escape(title)}, slice z = {z}</figcaption>"
        figures.append(f"<figure>{_draw_planes(planes[0], planes[1], image, title)}{caption}</figure>")
    return figures


def _worst_plane(truth: Any, prediction: Any) -> int:
    depth, *plane = truth.shape
    candidates = sorted(set(np.linspace(0, depth - 1, min(depth, PLANES)).astype(int).tolist()))

    def wrong(z: int) -> int:
        t, p = (volume.read((z, 0, 0), (z + 1, *plane)) > 0 for volume in (truth, prediction))
        return int(np.count_nonzero(t != p))

    worst: int = max(candidates, key=wrong)
    return worst


def _read_raw(path: str | None, grid: CropGrid, z: int) -> Array | None:
    if path is None:
        return None
    whole = Grid(voxel_size=grid.voxel_size, translation=grid.translation, shape=grid.shape)
    window = whole.window((z, 0, 0), (1, *grid.shape[1:]))
    values: Array = open_volume(path).read(window, order=1)[0]
    return values


def _draw_planes(truth: Array, prediction: Array, raw: Array | None, title: str) -> str:
    panels = [
        ("truth", _coloured(truth)),
        ("prediction", _coloured(prediction)),
        ("compared", _compared(truth, prediction, raw)),
    ]
    if raw is not None:
        panels.insert(0, ("raw", raw))
    figure = Figure(figsize=(3.4 * len(panels), 3.6))
    all_axes: Any = figure.subplots(1, len(panels), squeeze=False)
    for axes, (name, image) in zip(all_axes[0], panels, strict=True):
        axes.imshow(image, cmap="gray", interpolation="nearest")
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
    return _embed(figure, title)


def _coloured(labels: Array) -> npt.NDArray[np.float64]:
    """Give each id a colour of its own that does not depend on the others; background is black."""
    values, index = np.unique(np.nan_to_num(labels.astype(np.float64)), return_inverse=True)
    hue = (np.arange(len(values)) * 0.61803398875) % 1
    colours = 0.25 + 0.7 * np.abs(np.mod(hue[:, None] * 6 + np.array([0.0, 4.0, 2.0]), 6) / 3 - 1)
    colours[values == 0] = 0
    picture: npt.NDArray[np.float64] = colours[index.reshape(labels.shape)]
    return picture


def _compared(truth: Array, prediction: Array, raw: Array | None) -> npt.NDArray[np.float64]:
    """Hits, misses and false alarms in colour over the raw plane, with the borders of the instances."""
    t, p = truth > 0, prediction > 0
    picture = np.full((*truth.shape, 3), 0.12)
    if raw is not None:
        low, high = np.percentile(raw, [1, 99])
        picture = np.repeat((np.clip((raw - low) / max(high - low, 1e-9), 0, 1) * 0.9)[..., None], 3, axis=2)
    share = 1.0 if raw is None else 0.5
    for mask, colour in ((t & p, HIT), (t & ~p, MISS), (p & ~t, FALSE_ALARM)):
        picture[mask] = (1 - share) * picture[mask] + share * np.array(colour)
    picture[_borders(truth)] = (1.0, 1.0, 1.0)
    picture[_borders(prediction)] *= 0.45
    return picture


def _borders(labels: Array) -> npt.NDArray[np.bool_]:
    """Voxels of an id with another id, not background, beside them."""
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        one, two = (
            np.take(labels, range(1, labels.shape[axis]), axis),
            np.take(labels, range(labels.shape[axis] - 1), axis),
        )
        differs = (one != two) & (one > 0) & (two > 0)
        target = border[1:] if axis == 0 else border[:, 1:]
        target |= differs
    return border
