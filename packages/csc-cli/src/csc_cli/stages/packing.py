"""Packing a submission, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import click

from csc_cli.console import format_bytes, plural, progress_bar, say, table

if TYPE_CHECKING:
    from csc_data.blocks import Existing
    from csc_data.config.user_config import Config
    from csc_submit import PackResult
    from csc_submit.packing.fitting import AsProbabilities


def pack_crops(
    config: Config,
    *,
    source: str = "processed",
    destination: str | None = None,
    crops: Sequence[str] | None = None,
    as_probabilities: str = "refuse",
    make_zip: bool = True,
    existing: str = "resume",
) -> PackResult:
    """Pack results, check the submission, and tell what was found, missing and failed.

    Raises
    ------
    click.ClickException
        If a class of a crop failed, or the check found errors; the rest is packed.
    """
    from csc_submit import pack_results

    with progress_bar("blocks") as bar:
        result = pack_results(
            config=config,
            source=source,
            destination=destination,
            crops=crops,
            existing=cast("Existing", existing),
            as_probabilities=cast("AsProbabilities", as_probabilities),
            zip=make_zip,
            progress=bar,
        )
    rows = [
        (row.crop, row.class_name, "-" if row.instances is None else row.instances, f"{row.voxels:,}", row.status)
        for row in result.packed
    ]
    say(table(["crop", "class", "objects", "voxels", ""], rows))
    report_missing(result)
    for row in result.failed:
        say(f"  failed: {row.crop}/{row.class_name}: {row.reason}")
    for problem in result.report.errors:
        say(f"  wrong in the submission: {problem}")
    found = f"{len(result.packed)} found, {len(result.missing)} missing, {len(result.failed)} failed"
    where = f"{result.destination}"
    if result.archive:
        where = f"{result.archive} ({format_bytes(result.archive.stat().st_size)}) and {where}"
    say(f"packed {plural(len(result.packed), 'volume')} ({found}): {where}")
    if not result.packed:
        raise click.ClickException(
            f"nothing could be packed, see above; {result.destination} and its zip are as they were"
        )
    if result.failed or result.report.errors:
        raise click.ClickException("the submission is not whole, see above")
    say("next: csc evaluate, where there is a truth to score against; else upload the zip")
    return result


def report_missing(result: PackResult) -> None:
    """Name what a submission lacks, a line a crop."""
    lacking: dict[str, list[str]] = {}
    for row in result.missing:
        lacking.setdefault(row.crop, []).append(row.class_name)
    for crop, names in lacking.items():
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        say(f"  missing: {crop}: {shown}")
