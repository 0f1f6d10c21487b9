"""``csc make-datasplit``: which crops train and which validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import answer, say
from csc_cli.options import CropSearch, classes_option, config_option, json_option, parse_scale, search_options
from csc_cli.stages.experiments import next_command
from csc_data.wording import plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.splitting import Datasplit, ForceAllClasses


@click.command()
@classes_option
@click.option(
    "-s",
    "--scale",
    callback=parse_scale,
    metavar="NM",
    help="Leave out crops without data as fine as this: 8, or 4,8,8 (z,y,x) [default: leave none out].",
)
@click.option(
    "-fa", "--force-all-classes", "force_all", is_flag=True, help="Leave out crops that lack one of the classes."
)
@click.option(
    "-ft", "--force-all-classes-train", "force_train", is_flag=True, help="Let crops that lack a class only validate."
)
@click.option(
    "-fv",
    "--force-all-classes-validate",
    "force_validate",
    is_flag=True,
    help="Let crops that lack a class only train.",
)
@click.option(
    "-vr",
    "--validation-prob",
    "--validate-ratio",
    "validation_share",
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
@click.option(
    "--by-list",
    is_flag=True,
    help="With --use-s3: go by the challenge's list in this package. No network, but no voxels are counted.",
)
@json_option
@config_option
def make_datasplit(search: CropSearch, csv_path: str | None, dry_run: bool, config: Config, **options: Any) -> None:
    """Split the annotated crops into training and validation, every class on both sides where it can be."""
    from csc_data.challenge import load_classes
    from csc_data.splits.splitting import SplitOptions, make_datasplit

    force = _where_forced(*(options.pop(name) for name in ("force_all", "force_train", "force_validate")))
    chosen = SplitOptions(force_all_classes=force, datasets=search.datasets, crops=search.crops, **options)
    split = make_datasplit(search.templates(config), chosen, table=load_classes(config))
    _tell(split)
    if chosen.by_list:
        say("  by the list in this package: voxels are those annotated, raw was not looked at")
    usages = [row.usage for row in split.rows]
    summary = f"{plural(usages.count('train'), 'crop')} to train, {usages.count('validate')} to validate"
    file = Path(csv_path) if csv_path else config.path("datasplit")
    if dry_run:
        say(f"{summary}; nothing was written (--dry-run)")
    else:
        _write(split, file, summary)
        say(f"next: {next_command('train', 'CONFIG')}, or {next_command('plan')} to have CONFIG written")
    answer({"written": None if dry_run else file, "split": split})


def _where_forced(everywhere: bool, train: bool, validate: bool) -> ForceAllClasses:
    """Return the side on which a crop must have all classes, True for both."""
    if everywhere or (train and validate):
        return True
    return "train" if train else "validate" if validate else False


def _tell(split: Datasplit) -> None:
    rows = [
        (name, counts["train"], counts["validate"], f"{voxels['train']:,}", f"{voxels['validate']:,}")
        for name, counts, voxels in ((name, split.crops[name], split.voxels[name]) for name in split.crops)
    ]
    say(table(["class", "train crops", "validate crops", "train voxels", "validate voxels"], rows, indent="  "))
    for problem in split.left_out:
        say(f"  left out: {problem}")
    usages = {row.usage for row in split.rows}
    if "validate" not in usages and len(split.rows) > 1:
        say("  no crop validates: each is the only one with some class, or none was wanted; name fewer classes with -c")
    for text, names in (
        ("present nowhere", [n for n, c in split.crops.items() if not c["train"] and not c["validate"]]),
        ("without a training crop", [n for n, c in split.crops.items() if not c["train"] and c["validate"]]),
        ("without a validation crop", [n for n, c in split.crops.items() if c["train"] and not c["validate"]]),
    ):
        if names:
            say(f"  {text}: {', '.join(names)}")


def _write(split: Datasplit, file: Path, summary: str) -> None:
    from csc_data.splits.split_file import write_datasplit

    before = file.read_bytes() if file.exists() else None
    write_datasplit(file, split.rows)
    if before is not None and before != file.read_bytes():
        backup = file.with_name(f"{file.name}.bak")  # somebody may have edited it
        backup.write_bytes(before)
        say(f"  the former {file.name} is now {backup}")
    say(f"{summary}: wrote {file}")
