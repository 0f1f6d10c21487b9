"""Fetching the challenge's data, and what came and what did not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from csc_cli.console import say
from csc_data.wording import format_bytes, format_seconds, plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.errors import Problem
    from csc_data.fetching import FetchOptions, FetchPlan, FetchProgress, FetchResult

MOST_LINES = 20
"""Files that are named one by one when they could not be had; all of them stand in a file then."""

LIST_NAME = "not-fetched.txt"
INTERRUPTED = 130  # the exit code of shells for Ctrl-C

_LINE_SECONDS = 30


def refresh_lists() -> None:
    """Read the organisers' manifests again and tell what changed."""
    from csc_data.challenge import get_test_crops, get_training_crops
    from csc_data.challenge.crop_places import read_crop_places
    from csc_data.challenge.refreshing import refresh_manifests
    from csc_data.challenge.test_crops import read_test_crops

    manifests = {manifest.name: manifest for manifest in refresh_manifests()}
    for name, noun in (("crops", "annotated crop"), ("test_crops", "test crop"), ("zips", "archive")):
        manifest = manifests[name]
        say(f"  {plural(manifest.entries, noun)} listed by {manifest.url}")
    known = {number for ids in get_training_crops().values() for number in ids} | set(get_test_crops())
    listed = set(read_crop_places(manifests["crops"].path)) | set(read_test_crops(manifests["test_crops"].path))
    for words, ids in (("new since this package", listed - known), ("no longer listed", known - listed)):
        if ids:
            shown = [str(number) for number in sorted(ids)]
            more = f" and {len(shown) - MOST_LINES} more" if len(shown) > MOST_LINES else ""
            say(f"  {words}: {', '.join(shown[:MOST_LINES])}{more}")
    say(f"lists are now in {manifests['crops'].path.parent}; delete that folder to go back to those of this package")


def fetch_crops(config: Config, options: FetchOptions, *, dry_run: bool = False) -> None:
    """Plan, fetch, and tell what stands.

    Raises
    ------
    click.ClickException
        If something that was asked for is not there now.
    SystemExit
        With 130, on Ctrl-C.
    """
    from csc_data.fetching.staging import check_writable

    from csc_data.fetching import FetchInterrupted, fetch_data, plan_fetch

    if not dry_run:
        check_writable(config.root)
    try:
        with transfer_bar() as progress:
            plan = plan_fetch(config, options, progress=progress)
    except KeyboardInterrupt:
        say("stopped while listing; nothing was fetched")
        raise SystemExit(INTERRUPTED) from None
    describe_plan(plan, every_crop=dry_run)
    if dry_run:
        say("nothing was fetched (--dry-run)")
        _fail_if_missing(plan.missing)
        return
    try:
        with transfer_bar() as progress:
            result = fetch_data(config, options, plan=plan, progress=progress)
    except FetchInterrupted as interrupted:
        _describe_result(interrupted.result)
        left = plan.todo_files - interrupted.result.fetched_files
        say(f"stopped: {plural(left, 'file')} not fetched; all that is there is whole. Run the same again to go on")
        raise SystemExit(INTERRUPTED) from None
    _describe_result(result)
    _report(result)


def describe_plan(plan: FetchPlan, *, every_crop: bool) -> None:
    """Tell what a plan would fetch, and how large it is."""
    say(f"crops by {plan.origin}")
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


def fetch_zip(config: Config, options: FetchOptions, *, remove: bool, dry_run: bool) -> None:
    """Fetch an archive, unpack it, and tell what was done."""
    from csc_data.fetching import fetch_archive, plan_archive

    plan = plan_archive(config, options)
    say(
        f"{plan.url}: {format_bytes(plan.n_bytes)}, {format_bytes(plan.there_bytes)} of it there; "
        f"about as much again when it is unpacked, in {config.root}"
    )
    if dry_run:
        say("nothing was fetched (--dry-run)")
        return
    try:
        with transfer_bar() as progress:
            result = fetch_archive(config, options, plan=plan, remove=remove, progress=progress)
    except KeyboardInterrupt:
        say("stopped; run the same again to go on")
        raise SystemExit(INTERRUPTED) from None
    done = result.unpacked
    say(f"fetched {format_bytes(result.fetched_bytes)} of {plan.url}")
    say(
        f"unpacked {plural(done.unpacked, 'file')} ({format_bytes(done.unpacked_bytes)}) into {config.root}; "
        f"{done.there:,} were there"
    )
    if done.kept:
        say(
            f"  {plural(done.kept, 'file')} there newer than the archive, left as they are (-m overwrite replaces them)"
        )
    if done.skipped:
        say(f"  {plural(done.skipped, 'file')} in it of no data set, not unpacked")
    say(f"removed {plan.path}" if result.removed else f"{plan.path} can be deleted now")
    say("next: csc make-datasplit")


def _describe_result(result: FetchResult) -> None:
    rate = result.fetched_bytes / max(result.seconds, 1e-3)
    if result.plan.todo_files:
        say(
            f"fetched {plural(result.fetched_files, 'file')}, {format_bytes(result.fetched_bytes)}, in "
            f"{result.seconds:.1f} s ({format_bytes(int(rate))}/s)"
        )
    if result.absent:
        say(f"  {plural(result.absent, 'chunk')} not in the bucket: they read as the fill value")
    if result.removed:
        say(f"  {plural(result.removed, 'file')} removed that the bucket does not have")


def _report(result: FetchResult) -> None:
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
    _fail_if_missing(plan.missing)
    say(f"verified: all {plural(plan.n_files - result.absent, 'file')} in place, in {plan.root}")
    say("next: csc make-datasplit")


def _fail_if_missing(missing: Sequence[Problem]) -> None:
    if missing:
        raise click.ClickException(
            f"{plural(len(missing), 'part')} of what was asked for missing in the bucket, see above"
        )


@contextmanager
def transfer_bar() -> Iterator[Callable[[FetchProgress], None]]:
    """Show how much came, how fast, and how long the rest takes: a bar on a terminal, else a line now and then."""
    if sys.stdout.isatty():
        with _bar() as update:
            yield update
    else:
        yield _Lines().update


@contextmanager
def _bar() -> Iterator[Callable[[FetchProgress], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("listing", total=None, words="")
        speed = _Speed()

        def update(state: FetchProgress) -> None:
            total = state.total_bytes or state.total
            done = state.done_bytes if state.total_bytes else state.done
            if speed.begins(state):
                bar.reset(task, description=state.phase, total=total, words="")
            bar.update(task, completed=done, total=total, words=speed.words(state))

        yield update


class _Speed:
    """Words about how far a phase is and how fast."""

    def __init__(self) -> None:
        self.phase = ""
        self.began = 0.0
        self.first = 0

    def begins(self, state: FetchProgress) -> bool:
        """Tell whether a phase begins with this state."""
        if state.phase == self.phase:
            return False
        self.phase, self.began, self.first = state.phase, time.monotonic(), state.done_bytes
        return True

    def words(self, state: FetchProgress) -> str:
        """Say how much is done, and the rate."""
        if not state.total_bytes:
            return f"{state.done:,}/{state.total:,} requests"
        rate = (state.done_bytes - self.first) / max(time.monotonic() - self.began, 1e-3)
        files = f"{state.done:,}/{state.total:,} files, " if state.total > 1 else ""
        sizes = f"{format_bytes(state.done_bytes)} of {format_bytes(state.total_bytes)}"
        return f"{files}{sizes}, {format_bytes(int(rate))}/s"


class _Lines:
    """A line every half minute, for logs."""

    def __init__(self) -> None:
        self.speed = _Speed()
        self.last = time.monotonic()

    def update(self, state: FetchProgress) -> None:
        """Print a line if it is time."""
        self.speed.begins(state)
        now = time.monotonic()
        if now - self.last < _LINE_SECONDS:
            return
        self.last = now
        left = ""
        if state.done_bytes > self.speed.first:
            per_byte = (now - self.speed.began) / (state.done_bytes - self.speed.first)
            left = f", {format_seconds(per_byte * (state.total_bytes - state.done_bytes))} left"
        say(f"  {state.phase}: {self.speed.words(state)}{left}")
