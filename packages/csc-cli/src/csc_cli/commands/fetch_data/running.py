"""Fetching crops or an archive, and what is printed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csc_cli.commands.fetch_data.words import (
    describe_plan,
    describe_result,
    fail_if_missing,
    plan_document,
    report,
    result_document,
)
from csc_cli.console import INTERRUPTED, answer, say
from csc_cli.stages.experiments import next_command
from csc_cli.transfer_bar import transfer_bar
from csc_data.wording import format_bytes, plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.fetching import FetchOptions, FetchPlan, FetchProgress


def show_crops(config: Config, options: FetchOptions) -> None:
    """Plan, and tell what would be fetched, crop by crop.

    Raises
    ------
    click.ClickException
        If something that was asked for is not in the bucket.
    """
    from csc_data.fetching import plan_fetch

    with transfer_bar() as progress:
        plan = plan_fetch(config, options, progress=progress)
    answer(plan_document(plan))
    describe_plan(plan, every_crop=True)
    say("nothing was fetched (--dry-run)")
    fail_if_missing(plan.missing)


def fetch_crops(config: Config, options: FetchOptions) -> None:
    """Fetch, and tell what stands.

    Raises
    ------
    click.ClickException
        If something that was asked for is not there now.
    SystemExit
        With 130, on Ctrl-C.
    """
    from csc_data.fetching import FetchInterrupted, fetch_data

    described: list[FetchPlan] = []
    try:
        with transfer_bar() as show:

            def progress(state: FetchProgress) -> None:
                if state.plan is not None and not described:
                    described.append(state.plan)
                    describe_plan(state.plan)
                show(state)

            result = fetch_data(config, options, progress=progress)
    except FetchInterrupted as interrupted:
        describe_result(interrupted.result)
        left = interrupted.result.plan.todo_files - interrupted.result.fetched_files
        say(f"stopped: {plural(left, 'file')} not fetched; all that is there is whole. Run the same again to go on")
        raise SystemExit(INTERRUPTED) from None
    except KeyboardInterrupt:
        say("stopped while listing; all that is there is whole. Run the same again to go on")
        raise SystemExit(INTERRUPTED) from None
    answer(result_document(result))
    describe_result(result)
    report(result)


def fetch_zip(config: Config, options: FetchOptions, *, remove: bool, dry_run: bool) -> None:
    """Fetch an archive, unpack it, and tell what was done."""
    from csc_data.fetching import fetch_archive, plan_archive

    plan = plan_archive(config, options)
    say(
        f"{plan.url}: {format_bytes(plan.n_bytes)}, {format_bytes(plan.there_bytes)} of it there; "
        f"about as much again when it is unpacked, in {config.root}"
    )
    if dry_run:
        answer({"url": plan.url, "bytes": plan.n_bytes, "there_bytes": plan.there_bytes, "root": config.root})
        say("nothing was fetched (--dry-run)")
        return
    try:
        with transfer_bar() as progress:
            result = fetch_archive(config, options, plan=plan, remove=remove, progress=progress)
    except KeyboardInterrupt:
        say("stopped; run the same again to go on")
        raise SystemExit(INTERRUPTED) from None
    answer(result)
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
    say(f"next: {next_command('make-datasplit')}")
