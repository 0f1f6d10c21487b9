"""Post-processing, a row a crop and class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import click

from csc_cli.console import plural, progress_bar, say, table

if TYPE_CHECKING:
    from csc_data.blocks import Existing
    from csc_data.config.user_config import Config
    from csc_submit import ProcessResult


def process_crops(
    config: Config, experiment: str, *, crops: Sequence[str] | None = None, existing: str | None = None
) -> ProcessResult:
    """Post-process predictions and tell what was found.

    Raises
    ------
    click.ClickException
        If a class of a crop failed; the others are done.
    """
    from csc_submit import process

    with progress_bar("blocks") as bar:
        result = process(experiment, config=config, crops=crops, existing=cast("Existing", existing), progress=bar)
    rows = [
        (
            f"{row.dataset}/{row.crop}",
            row.class_name,
            "-" if row.instances is None else row.instances,
            f"{row.voxels:,}",
        )
        for row in result.rows
        if row.status in ("done", "there")
    ]
    say(table(["crop", "class", "objects", "voxels"], rows))
    for row in result.rows:
        if row.status in ("missing", "failed"):
            say(f"  {row.status}: {row.dataset}/{row.crop}/{row.class_name}: {row.reason}")
    there = sum(row.status == "there" for row in result.rows)
    done = sum(row.status == "done" for row in result.rows)
    before = f", {there} were there already (--overwrite does them anew)" if there else ""
    say(f"processed {plural(done, 'volume')}{before}: in {config.root / 'processed'}")
    if result.failed:
        raise click.ClickException(
            f"{plural(len(result.failed), 'volume')} failed, see above; run again to do the rest"
        )
    return result
