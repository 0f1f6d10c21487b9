"""``csc data-preview``: what a network will see."""

from __future__ import annotations

import click

from csc_cli.options import data_option


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@click.option("-o", "--output", metavar="FILE", default="preview.png", show_default=True, help="The PNG to write.")
@click.option("-n", "--count", type=click.IntRange(min=1), default=16, show_default=True, help="Samples to draw.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Draw other samples [default: the file's random_seed, as training does]."
)
@click.option("--validation", is_flag=True, help="Draw tiles of the validation crops instead.")
@data_option
def data_preview(
    experiment: str, output: str, count: int, seed: int | None, validation: bool, data: str | None
) -> None:
    """Draw samples of the experiment file CONFIG (.py or .toml), as training gets them.

    A PNG shows raw, turned and changed as CONFIG says, with the outlines of its classes; a table tells where each
    sample lies in nm. Data of a bucket or a web server comes with a link that opens the place in Neuroglancer.
    """
    from csc_cli.stages.previewing import preview_samples
    from csc_data.config.user_config import load_config

    preview_samples(experiment, load_config(data=data), output=output, count=count, seed=seed, validation=validation)
