"""``csc process``: from predictions to masks and instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import progress_bar, say
from csc_cli.options import config_option, crops_option, existing_option
from csc_data.wording import plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_submit.processing.process import ProcessedArray


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@crops_option
@existing_option
@config_option
def process(experiment: str, config: Config, **options: Any) -> None:
    """Post-process predictions as the experiment file CONFIG says: thresholds, small objects, instances."""
    import csc_submit

    with progress_bar("blocks") as bar:
        result = csc_submit.process(experiment, config=config, progress=bar, **options)
    done = [row for row in result.rows if row.status in ("done", "there")]
    say(table(("crop", "class", "objects", "voxels"), [_row(row) for row in done], indent="  "))
    for row in result.rows:
        if row.status in ("missing", "failed"):
            say(f"  {row.status}: {row.dataset}/{row.crop}/{row.class_name}: {row.reason}")
    there = sum(row.status == "there" for row in done)
    before = f", {there} were there already (--overwrite does them anew)" if there else ""
    say(f"processed {plural(len(done) - there, 'volume')}{before}: in {config.root / 'processed'}")
    if result.failed:
        raise click.ClickException(
            f"{plural(len(result.failed), 'volume')} failed, see above; run again to do the rest"
        )


def _row(row: ProcessedArray) -> Sequence[object]:
    instances = "-" if row.instances is None else row.instances
    return f"{row.dataset}/{row.crop}", row.class_name, instances, f"{row.voxels:,}"
