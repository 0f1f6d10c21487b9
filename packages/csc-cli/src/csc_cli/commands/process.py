"""``csc process``: from predictions to masks and instances."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli import completing
from csc_cli.console import answer, progress_bar, say
from csc_cli.options import existing_option, json_option, parse_names
from csc_cli.stages.execution import work_options
from csc_cli.stages.experiments import PROCESSING, TRAINING, experiment_options, next_command
from csc_data.wording import plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_submit.processing.process import ProcessedArray


@click.command()
@click.option(
    "-c",
    "--crops",
    metavar="IDS",
    callback=parse_names,
    shell_complete=completing.several_of(completing.crop_names("test")),
    help="Crops, separated by commas (557 or crop557), or test [default: all that were predicted].",
)
@click.option("-i", "--input-path", metavar="PATH", help="Where predictions lie, with {dataset} and {crop}.")
@click.option("-o", "--output-path", metavar="PATH", help="Where results go, with {dataset} and {crop}.")
@click.option("-d", "--device", help="Where the tensors of a process_func lie that takes some.")
@work_options("1")
@existing_option
@json_option
@experiment_options(PROCESSING, TRAINING)
def process(experiment: str, config: Config, **options: Any) -> None:
    """Post-process predictions as the experiment file CONFIG says: thresholds, small objects, instances."""
    import csc_submit

    with progress_bar("blocks") as bar:
        result = csc_submit.process(experiment, config=config, progress=bar, **options)
    answer(result)
    done = [row for row in result.rows if row.status in ("done", "there")]
    say(table(("crop", "class", "objects", "voxels"), [_row(row) for row in done], indent="  "))
    for row in result.rows:
        if row.status in ("missing", "failed"):
            say(f"  {row.status}: {row.dataset}/{row.crop}/{row.class_name}: {row.reason}")
    there = sum(row.status == "there" for row in done)
    before = f", {there} were there already (--overwrite does them anew)" if there else ""
    places = dict.fromkeys(str(Path(row.path).parents[2]) for row in done)
    where = f": in {', '.join(places)}" if places else ""
    say(f"processed {plural(len(done) - there, 'volume')}{before}{where}")
    if result.failed:
        raise click.ClickException(f"{plural(len(result.failed), 'volume')} failed, see above")
    if options["output_path"] is None:
        _say_next({row.crop for row in done}, config)


def _say_next(crops: Collection[str], config: Config) -> None:
    """Say what comes next: test crops are packed, others scored where a datasplit says which of them validate."""
    from csc_data.challenge.current_lists import load_test_crops

    own = [Path(config.experiment, "datasplit.csv")] if config.experiment else []
    split = next((file for file in (*own, config.path("datasplit")) if file.is_file()), None)
    if any(crop.name in crops for crop in load_test_crops(config).values()):
        say(f"next: {next_command('pack-results')}")
    elif crops and split is not None:
        say(f"next: {next_command('evaluate', '--datasplit', str(split))}")


def _row(row: ProcessedArray) -> Sequence[object]:
    instances = "-" if row.instances is None else row.instances
    return f"{row.dataset}/{row.crop}", row.class_name, instances, f"{row.voxels:,}"
