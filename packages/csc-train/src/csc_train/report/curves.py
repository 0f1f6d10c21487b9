"""Curves of runs: loss, validation, learning rate, and the share of time that is waited for data."""

from __future__ import annotations

from collections.abc import Sequence

from csc_eval.report import LineChart, Series
from csc_train.report.reading import Points, RunFiles

COLOURS = ("#3b8fd1", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#8778ff", "#a5682a", "#7f8a94")
"""Of curves and of runs; each is seen on white and on black."""

_METRICS = {"challenge": "the challenge's score", "iou": "IoU", "dice": "Dice"}


def run_charts(run: RunFiles) -> list[LineChart]:
    """Return the charts of one run that there are points for."""
    loss = [("training", run.column("loss")), ("validation", run.column("validation_loss"))]
    metrics = [(words, run.column(name)) for name, words in _METRICS.items()]
    charts = [
        _chart("Loss of each epoch", "epoch", loss),
        _chart("Loss of each step", "step", [("training", run.points.get("loss", []))]),
        _chart("Scores of validation", "epoch", metrics, from_zero=True),
        _chart("Learning rate", "step", [("learning rate", run.points.get("lr", []))], from_zero=True)
        or _chart("Learning rate", "epoch", [("learning rate", run.column("learning_rate"))], from_zero=True),
        _chart("Share of the time that data was waited for", "epoch", [("waiting", waiting(run))], from_zero=True),
        _chart("Memory, GB", "step", _memory(run), from_zero=True),
    ]
    return [chart for chart in charts if chart is not None]


def compared_charts(runs: Sequence[tuple[str, RunFiles]]) -> list[LineChart]:
    """Return the charts of several runs, each run in a colour of its own."""
    columns = {"loss": "Loss of training", "validation_loss": "Loss of validation"}
    columns |= {name: f"Validation: {words}" for name, words in _METRICS.items()}
    charts = [
        _chart(title, "epoch", [(name, run.column(column)) for name, run in runs], from_zero=column in _METRICS)
        for column, title in columns.items()
    ]
    waits = [(name, waiting(run)) for name, run in runs]
    charts.append(_chart("Share of the time that data was waited for", "epoch", waits, from_zero=True))
    return [chart for chart in charts if chart is not None]


def waiting(run: RunFiles) -> Points:
    """Return the share of each epoch that data was waited for.

    Examples
    --------
    >>> from pathlib import Path
    >>> epochs = [{"epoch": 1, "seconds": 10.0, "loading_seconds": 2.5}]
    >>> waiting(RunFiles(folder=Path("mine"), record={}, epochs=epochs, points={}, results={}, missing=[]))
    [(1, 0.25)]
    """
    seconds, loading = dict(run.column("seconds")), run.column("loading_seconds")
    return [(epoch, waited / seconds[epoch]) for epoch, waited in loading if seconds.get(epoch, 0) > 0]


def _memory(run: RunFiles) -> list[tuple[str, Points]]:
    names = {"memory/process_gb": "process", "memory/device_gb": "device"}
    return [(words, run.points.get(tag, [])) for tag, words in names.items()]


def _chart(
    title: str, x_label: str, series: Sequence[tuple[str, Points]], *, from_zero: bool = False
) -> LineChart | None:
    drawn = [
        Series(name=name, points=points, colour=COLOURS[number % len(COLOURS)])
        for number, (name, points) in enumerate(series)
        if points
    ]
    return LineChart(title=title, x_label=x_label, series=drawn, from_zero=from_zero) if drawn else None
