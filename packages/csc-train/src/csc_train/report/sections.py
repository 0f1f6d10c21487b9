"""The parts of a run's page: facts, tables of scores, of stages, of settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from csc_data.challenge.colours import as_hex, class_colour
from csc_data.wording import format_seconds, listed, plural
from csc_eval.report import Cell, Table
from csc_train.report.reading import RunFiles

_CLASS_METRICS = ("challenge", "iou", "dice")


def facts(run: RunFiles) -> list[tuple[str, str]]:
    """Return what stands at the top: what it is, when and where it ran, on what."""
    record, settings = run.record, run.settings
    found: list[tuple[str, str]] = [("logs", str(run.folder))]
    if record.get("experiment"):
        found.append(("experiment", str(record["experiment"])))
    starts = record.get("starts") or []
    if starts:
        found += [("started", str(starts[0].get("time", "-"))), ("ended", _ending(starts[-1]))]
    if record.get("device"):
        device = record["device"]
        found.append(("device", f"{device.get('type')} ({device.get('name')}), {device.get('system')}"))
    split = record.get("split")
    if split:
        crops = f"{plural(split.get('train', 0), 'crop')} to train, {split.get('validate', 0)} to validate"
        found.append(("split", f"{crops}; SHA-256 of which {split.get('sha256')}"))
    git = record.get("git")
    if git:
        found.append(("commit", f"{git.get('commit')}{', with changes since' if git.get('dirty') else ''}"))
    if settings:
        shape = settings.get("input_array_info") or {}
        sizes = " x ".join(map(str, shape.get("shape", ())))
        scales = " x ".join(f"{scale:g}" for scale in shape.get("scale", ()))
        found += [
            ("classes", ", ".join(settings.get("classes") or ())),
            (
                "network",
                f"{settings.get('architecture') or settings.get('model')}, input {sizes} voxels of {scales} nm",
            ),
        ]
    if run.best is not None:
        metric = settings.get("best_metric") or "iou"
        value = run.best.get({"loss": "validation_loss"}.get(metric, metric), math.nan)
        found.append(("best epoch", f"{run.best['epoch']:.0f} of {len(run.epochs)}, {metric} {value:.4f}"))
    return found


def _ending(start: Mapping[str, Any]) -> str:
    end = start.get("end")
    if end is None:
        return "it did not end by itself: it was killed, or still runs"
    why = f" ({end['why']})" if end.get("why") else ""
    return f"{end.get('time')}, {end.get('how')}{why}"


def class_scores(run: RunFiles) -> dict[str, float]:
    """Return the score of each class: by csc-eval's rules where there is a result, else of the best epoch."""
    for result in run.results.values():
        return {name: score.score for name, score in result.combined.classes.items()}
    best = run.best or {}
    for metric in _CLASS_METRICS:
        start = f"{metric}/"
        found = {name.removeprefix(start): value for name, value in best.items() if name.startswith(start)}
        if found:
            return found
    return {}


def validation_table(run: RunFiles) -> Table | None:
    """Return the scores of the classes in the best epoch; None where nothing was validated."""
    best = run.best
    if best is None:
        return None
    metrics = [metric for metric in _CLASS_METRICS if any(name.startswith(f"{metric}/") for name in best)]
    classes = dict.fromkeys(
        name.partition("/")[2] for name in best for metric in metrics if name.startswith(f"{metric}/")
    )
    rows: list[list[str | Cell]] = [
        [
            Cell(text=name, colour=as_hex(class_colour(name))),
            *(_number(best.get(f"{metric}/{name}", math.nan)) for metric in metrics),
        ]
        for name in classes
        if name not in ("semantic", "instance")  # means over classes
    ]
    return Table(header=["class", *metrics], rows=rows) if rows else None


def stage_table(run: RunFiles) -> Table:
    """Return time and memory of each stage, as far as they were recorded."""
    rows: list[list[str | Cell]] = []
    trained = sum(value for _, value in run.column("seconds"))
    waited = sum(value for _, value in run.column("loading_seconds"))
    memory = [
        f"{max(value for _, value in points):.2f} GB {words}"
        for tag, words in (("memory/process_gb", "in the process"), ("memory/device_gb", "on the device"))
        if (points := run.points.get(tag))
    ]
    if trained:
        share = f", {waited / trained:.0%} of it waiting for data"
        rows.append(
            [f"training, {plural(len(run.epochs), 'epoch')}", format_seconds(trained) + share, listed(memory) or "-"]
        )
    for number, start in enumerate(run.record.get("starts") or (), start=1):
        rows.append([f"start {number} on {start.get('host', '-')}", _duration(start), "-"])
    for path, result in run.results.items():
        seconds = None if result.scored is None else result.scored.seconds
        rows.append([f"scoring, {path.name}", "not recorded" if not seconds else format_seconds(seconds), "-"])
    rows += [[stage, "not recorded", "-"] for stage in ("predicting", "processing")]
    return Table(header=["stage", "time", "most memory"], rows=rows, words=(1, 2))


def _duration(start: Mapping[str, Any]) -> str:
    end = start.get("end")
    try:
        begun, ended = (datetime.fromisoformat(each["time"]) for each in (start, end or {}))
    except (KeyError, ValueError, TypeError):
        return "no end is recorded"
    return format_seconds((ended - begun).total_seconds())


def settings_table(run: RunFiles) -> Table:
    """Return all settings.

    Examples
    --------
    >>> from pathlib import Path
    >>> record = {"settings": {"batch_size": 8}}
    >>> settings_table(RunFiles(folder=Path("mine"), record=record, epochs=[], points={}, results={}, missing=[])).rows
    [['batch_size', '8']]
    """
    rows = [[name, as_text(value)] for name, value in run.settings.items()]
    return Table(header=["setting", "value"], rows=rows, words=(1,))


def versions_table(run: RunFiles) -> Table:
    """Return what it ran with.

    Examples
    --------
    >>> from pathlib import Path
    >>> record = {"versions": {"torch": "2.6"}}
    >>> versions_table(RunFiles(folder=Path("mine"), record=record, epochs=[], points={}, results={}, missing=[])).rows
    [['torch', '2.6']]
    """
    rows = [[name, str(version)] for name, version in (run.record.get("versions") or {}).items()]
    return Table(header=["package", "version"], rows=rows, words=(1,))


def as_text(value: Any) -> str:
    """Write a setting as JSON does; "-" for one that is not there.

    Examples
    --------
    >>> as_text({"shape": [8, 8]}), as_text("bce"), as_text(None)
    ('{"shape": [8, 8]}', 'bce', '-')
    """
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
