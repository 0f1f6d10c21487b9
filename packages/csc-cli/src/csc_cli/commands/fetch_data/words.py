"""What is told of a fetch: its size, what came, and what did not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from csc_cli.console import say
from csc_cli.stages.experiments import next_command
from csc_data.wording import format_bytes, format_seconds, plural, table

if TYPE_CHECKING:
    from csc_data.errors import Problem
    from csc_data.fetching import FetchPlan, FetchResult
    from csc_data.fetching.plan import CropPlan

MOST_LINES = 20
"""Files that are named one by one when they could not be had; all of them stand in a file then."""

LIST_NAME = "not-fetched.txt"

_JUST_NOW_SECONDS = 60


def describe_plan(plan: FetchPlan, *, every_crop: bool = False) -> None:
    """Tell what a plan would fetch, and how large it is."""
    age = time.time() - plan.listed
    since = f"; the bucket as listed {format_seconds(age)} ago (--relist)" if age > _JUST_NOW_SECONDS else ""
    say(f"crops by {plan.origin}{since}")
    if every_crop:
        rows = [
            (
                crop.source.name,
                crop.source.dataset,
                " ".join(crop.levels) or "-",
                len(crop.classes) or ("test" if crop.source.test else "-"),
                f"{crop.n_files:,}",
                format_bytes(crop.n_bytes),
                f"{crop.todo_files:,}",
                format_bytes(crop.todo_bytes),
            )
            for crop in plan.crops
        ]
        headers = ["crop", "data set", "raw levels", "labels", "files", "size", "to fetch", "size"]
        say(table(headers, rows, indent="  "))
    for problem in plan.left_out[:MOST_LINES]:
        say(f"  left out: {problem}")
    if len(plan.left_out) > MOST_LINES:
        say(f"  left out: {len(plan.left_out) - MOST_LINES} more")
    for problem in plan.missing:
        say(f"  missing: {problem}")
    there = plan.n_files - plan.todo_files
    say(
        f"{plural(len(plan.crops), 'crop')}: {plural(plan.n_files, 'file')}, {format_bytes(plan.n_bytes)}; "
        f"{there:,} there, {plan.todo_files:,} to fetch ({format_bytes(plan.todo_bytes)}) into {plan.root}"
    )


def plan_document(plan: FetchPlan) -> dict[str, object]:
    """Return what a plan would fetch, crop by crop, for programs."""
    crops = [
        {
            "crop": crop.source.name,
            "dataset": crop.source.dataset,
            "test": crop.source.test is not None,
            "levels": crop.levels,
            "classes": crop.classes,
            **_sizes(crop),
        }
        for crop in plan.crops
    ]
    return {"root": plan.root, **_sizes(plan), "crops": crops, "missing": plan.missing, "left_out": plan.left_out}


def result_document(result: FetchResult) -> dict[str, object]:
    """Return what came, for programs."""
    names = ("fetched_files", "fetched_bytes", "removed", "failed", "withheld", "stopped", "seconds", "complete")
    return {**{name: getattr(result, name) for name in names}, "plan": plan_document(result.plan)}


def _sizes(part: FetchPlan | CropPlan) -> dict[str, int]:
    return {
        "files": part.n_files,
        "bytes": part.n_bytes,
        "files_to_fetch": part.todo_files,
        "bytes_to_fetch": part.todo_bytes,
    }


def describe_result(result: FetchResult) -> None:
    """Tell what came."""
    rate = result.fetched_bytes / max(result.seconds, 1e-3)
    if result.plan.todo_files:
        say(
            f"fetched {plural(result.fetched_files, 'file')}, {format_bytes(result.fetched_bytes)}, in "
            f"{result.seconds:.1f} s ({format_bytes(int(rate))}/s)"
        )
    if result.removed:
        say(f"  {plural(result.removed, 'file')} removed that the bucket does not have")


def report(result: FetchResult) -> None:
    """Name what could not be had, and end with an error if there is such."""
    plan = result.plan
    if result.stopped:
        raise click.ClickException(f"stopped: {result.stopped}")
    for problem in result.failed[:MOST_LINES]:
        say(f"  failed: {problem}")
    if len(result.failed) > MOST_LINES:
        file = plan.root / LIST_NAME
        file.write_text("".join(f"{problem}\n" for problem in result.failed), encoding="utf-8")
        say(f"  failed: {len(result.failed) - MOST_LINES:,} more, all of them in {file}")
    if result.withheld:
        say(f"  labels left unreadable until all of it is there: {', '.join(result.withheld)}")
    if result.failed:
        raise click.ClickException(
            f"{plural(len(result.failed), 'file')} could not be had; run the same again to fetch the rest"
        )
    fail_if_missing(plan.missing)
    say(f"verified: all {plural(plan.n_files, 'file')} in place, in {plan.root}")
    say(f"next: {next_command('make-datasplit')}")


def fail_if_missing(missing: Sequence[Problem]) -> None:
    """End with an error if something is not in the bucket.

    Examples
    --------
    >>> fail_if_missing([])
    >>> try:
    ...     fail_if_missing(["a crop"])
    ... except click.ClickException as error:
    ...     print(error.message)
    1 part of what was asked for missing in the bucket, see above
    """
    if missing:
        raise click.ClickException(
            f"{plural(len(missing), 'part')} of what was asked for missing in the bucket, see above"
        )
