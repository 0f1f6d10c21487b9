"""``csc make-datasplit``: which crops train and which validate."""

from __future__ import annotations

import click

from csc_cli.options import data_option, parse_scale, search_options, split_names


@click.command()
@click.option(
    "-c", "--classes", metavar="NAMES", help="Classes, separated by commas [default: all that are annotated]."
)
@click.option(
    "-s",
    "--scale",
    callback=parse_scale,
    metavar="NM",
    help="Leave out crops without data as fine as this: 8, or 4,8,8 (z,y,x) [default: leave none out].",
)
@click.option("-fa", "--force-all-classes", is_flag=True, help="Leave out crops that lack one of the classes.")
@click.option("-ft", "--force-all-classes-train", is_flag=True, help="Let crops that lack a class only validate.")
@click.option("-fv", "--force-all-classes-validate", is_flag=True, help="Let crops that lack a class only train.")
@click.option(
    "-vr",
    "--validation-prob",
    "--validate-ratio",
    type=float,
    default=0.2,
    show_default=True,
    help="Share of the crops of each class that validate.",
)
@search_options
@click.option("-cp", "--csv-path", metavar="FILE", help="Where to write [default: datasplit.csv in the data folder].")
@click.option("-dr", "--dry-run", is_flag=True, help="Show the split, write nothing.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which of the equally good splits.")
@click.option(
    "--group-by",
    type=click.Choice(["crop", "dataset"]),
    default="crop",
    show_default=True,
    help="What stays together on one side.",
)
@click.option(
    "--min-voxels",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Voxels from which on a crop counts as having a class.",
)
@data_option
def make_datasplit(
    classes: str | None,
    scale: tuple[float, float, float] | None,
    force_all_classes: bool,
    force_all_classes_train: bool,
    force_all_classes_validate: bool,
    validation_prob: float,
    search_path: str | None,
    raw_name: str | None,
    crop_name: str | None,
    use_s3: bool,
    datasets: str,
    crops: str,
    csv_path: str | None,
    dry_run: bool,
    seed: int,
    group_by: str,
    min_voxels: int,
    data: str | None,
) -> None:
    """Split the annotated crops into training and validation, every class on both sides where it can be."""
    from csc_cli.stages import split_crops
    from csc_cli.stages.crop_places import choose_templates
    from csc_data.config.user_config import load_config
    from csc_data.splits.splitting import SplitOptions

    config = load_config(data=data)
    force: bool | str = force_all_classes or (force_all_classes_train and force_all_classes_validate)
    if not force:
        force = "train" if force_all_classes_train else "validate" if force_all_classes_validate else False
    options = SplitOptions(
        classes=split_names(classes),
        validation_share=validation_prob,
        seed=seed,
        group_by=group_by,  # type: ignore[arg-type]  # one of the choices
        min_voxels=min_voxels,
        scale=scale,
        force_all_classes=force,  # type: ignore[arg-type]  # one of the four
        datasets=split_names(datasets) or ("*",),
        crops=split_names(crops) or ("*",),
    )
    where = choose_templates(config, search_path, raw_name, crop_name, use_s3=use_s3)
    split_crops(config, options, where=where, csv_path=csv_path, dry_run=dry_run)
