"""``csc pack-results``: from processed volumes to a submission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import answer, progress_bar, say
from csc_cli.options import crops_option, existing_option, json_option
from csc_cli.stages.execution import work_options
from csc_cli.stages.experiments import experiment_option, next_command
from csc_data.wording import format_bytes, listed, plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_submit import PackResult


@click.command()
@click.option(
    "-i",
    "--input-search-path",
    "source",
    metavar="PATH",
    default="processed",
    help="What to pack: processed, predictions, a folder, or a path with {dataset}, {crop} and {label}"
    " [default: processed].",
)
@click.option(
    "-o",
    "--output-path",
    "destination",
    metavar="PATH",
    help="The zarr folder to write; the zip lies beside it [default: submission.zarr in the data folder].",
)
@crops_option
@work_options("as many as CPUs")
@click.option(
    "--as-probabilities",
    type=click.Choice(["refuse", "threshold"]),
    default="refuse",
    show_default=True,
    help="What to do with probabilities: refuse them, or cut them at 0.5.",
)
@click.option("--zip/--no-zip", default=True, show_default=True, help="Also write the zip to upload.")
@existing_option
@json_option
@experiment_option
def pack_results(config: Config, **options: Any) -> None:
    """Pack results on the grids of the test crops, as the score reads them, and zip them."""
    import os

    import csc_submit

    if not any(options[name] for name in ("max_workers", "scheduler", "cluster")):
        options["max_workers"] = os.cpu_count()
    with progress_bar("blocks") as bar:
        result = csc_submit.pack_results(config=config, progress=bar, **options)
    answer(result)
    _tell(result)
    if not result.packed:
        raise click.ClickException("nothing could be packed, see above; there is no new zip")
    if result.failed:
        raise click.ClickException("the submission is not whole, see above")
    upload = result.archive or result.destination
    scored = config.path("ground_truth").is_dir()
    after = next_command("evaluate") if scored else "then upload it"
    say(f"next: {next_command('validate', str(upload), takes_experiment=False)}; {after}")


def _tell(result: PackResult) -> None:
    """Say what was found, is missing, empty and failed."""
    rows = [
        (row.crop, row.class_name, "-" if row.instances is None else row.instances, f"{row.voxels:,}", row.status)
        for row in result.packed
    ]
    say(table(["crop", "class", "objects", "voxels", ""], rows, indent="  "))
    lacking: dict[str, list[str]] = {}
    for row in result.missing:
        lacking.setdefault(row.crop, []).append(row.class_name)
    for crop, names in lacking.items():
        say(f"  missing: {crop}: {listed(names)}")
    for row in result.failed:
        say(f"  failed: {row.crop}/{row.class_name}: {row.reason}")
    found = (
        f"{len(result.packed)} of {len(result.rows)}, {len(result.empty)} of them empty, "
        f"{len(result.missing)} missing, {len(result.failed)} failed"
    )
    places = f"{result.destination}"
    if result.archive:
        places = f"{result.archive} ({format_bytes(result.archive.stat().st_size)}) and {places}"
    say(f"packed {plural(len(result.packed), 'volume')} ({found}): {places}")
