"""What the commands do: options in, one call, words out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from csc_data.errors import InvalidArgumentError
from csc_eval.results import SubmissionScore
from csc_eval.rules import get_rules, rules_from_environment


def run_evaluate(*, result_file: str | None, **options: Any) -> int:
    """Score one submission; returns the exit code."""
    from csc_eval.submission import score_submission, write_results

    began = time.monotonic()
    submission, truth = resolve_paths(options["submission"], options["truth"], options["data"])
    rules = [
        rules_from_environment(get_rules(name), os.environ) for name in options["rules"] or ("leaderboard-2026-06",)
    ]
    classes = _split(options["instance_classes"])
    result = score_submission(
        submission, truth, rules=rules, instance_classes=classes, workers=options["workers"], resume=options["resume"]
    )
    click.echo(render_table(result))
    if result_file is not None:
        for path in write_results(result, result_file):
            click.echo(f"Wrote {path}")
    click.echo(f"Scored {result.num_evals_done} labels in {time.monotonic() - began:.1f} s")
    return 1 if result.failures else 0


def run_batch(**options: Any) -> int:
    """Score the submissions of a CSV; returns the exit code."""
    raise InvalidArgumentError("not written yet")


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def resolve_paths(submission: str | None, truth: str | None, data: str | None) -> tuple[Path, Path]:
    """Fill in the paths that were not given from the user's settings."""
    from csc_data.settings import load_settings

    settings = load_settings(data=data)
    if submission is None:
        folder = settings.path("submission")
        archive = folder.with_suffix(".zip")
        submission_path = archive if archive.exists() or not folder.exists() else folder
    else:
        submission_path = Path(submission)
    return submission_path, Path(truth) if truth is not None else settings.path("ground_truth")


def render_table(result: SubmissionScore) -> str:
    """Return the scores per class as text."""
    lines = [f"Rules: {result.rules}"]
    for name, score in result.combined.classes.items():
        values = "  ".join(f"{key} {value:.4f}" for key, value in score.metrics.items())
        lines.append(f"{name:16s} {values}  tp {score.tp} fp {score.fp} fn {score.fn}")
    for key, value in result.combined.overall().items():
        lines.append(f"{key}: {value:.4f}")
    for (crop, name), problem in result.failures.items():
        lines.append(f"FAILED {crop}/{name}: {problem}")
    return "\n".join(lines)
