"""``csc convert``: people's own files to volumes, and volumes to files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import progress_bar, say
from csc_cli.options import GroupedCommand, config_option, existing_option, parse_scale
from csc_data.wording import format_bytes, plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.converting import VolumePlan
    from csc_data.geometry import Grid

HEADINGS = {
    "What": ("kind", "array", "voxel_size", "translation", "value_range", "close_gaps"),
    "Labels": ("labels", "labels_translation", "class_name", "class_values", "unknown"),
    "Where": ("data", "dataset", "crop", "existing", "overwrite"),
}

_NOT_OF_FILES = (*HEADINGS["Labels"], "dataset", "value_range")


def _parse_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    count = 2 if param.name == "value_range" else 3
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise click.BadParameter(f"{value!r} is not {count} numbers, separated by commas", ctx, param)
    return numbers


def _parse_classes(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for part in (value or "").split(",") if value else ():
        name, _, number = (word.strip() for word in part.partition("="))
        if name.isdigit():  # 1=mito, as tables of values have it
            name, number = number, name
        if not name or not number.isdigit():
            raise click.BadParameter(f"{part!r} is not CLASS=VALUE, such as mito=1", ctx, param)
        found[name] = (*found.get(name, ()), int(number))
    return found


@click.command(cls=GroupedCommand, headings=HEADINGS)
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", metavar="[OUT]", required=False, type=click.Path())
@click.option("--kind", type=click.Choice(["raw", "labels"]), default="raw", show_default=True, help="What IN is.")
@click.option("--array", metavar="NAME", help="Which array of IN, where it holds several.")
@click.option("--voxel-size", metavar="NM", callback=parse_scale, help="8, or 4,8,8 (z,y,x) [default: what IN says].")
@click.option("--translation", metavar="NM", callback=_parse_numbers, help="Centre of voxel 0, z,y,x [default: 0,0,0].")
@click.option(
    "--range", "value_range", metavar="LOW,HIGH", callback=_parse_numbers,
    help="What becomes 0 and 255 of raw that is not uint8 [default: percentiles 0.1 and 99.9].",
)  # fmt: skip
@click.option("--close-gaps", is_flag=True, help="Let slices close up where numbers are missing.")
@click.option("--labels", metavar="FILE", help="Labels of IN, which is raw, or of a part of it.")
@click.option(
    "--labels-translation", metavar="NM", callback=_parse_numbers, help="Centre of their voxel 0 [default: as IN]."
)
@click.option("--class", "class_name", metavar="NAME", help="The class of the labels; ids of objects are kept.")
@click.option(
    "--class-values", "--classes", metavar="NAME=VALUE,...", callback=_parse_classes,
    help="Which values are which class: mito=1,er=2, or 1=mito,2=er.",
)  # fmt: skip
@click.option("--unknown", type=int, metavar="VALUE", help="The value of voxels that nobody annotated.")
@click.option("--dataset", metavar="NAME", help="Instead of OUT: a data set of the data folder, for training.")
@click.option(
    "--crop", type=click.IntRange(min=0), metavar="NUMBER",
    help="Of its annotated crop [default: its first, else one that no data set has].",
)  # fmt: skip
@existing_option
@config_option
def convert(source: str, out: str | None, config: Config, existing: Any, **options: Any) -> None:
    """Make a volume of IN for all other commands: a TIFF, a folder of numbered TIFF slices, .h5, .npy, .npz, zarr or
    N5. Or write a volume to OUT.tif, OUT.h5 or OUT.npy.

    Nothing is written where something is wrong with IN. A run that was killed goes on where it stopped.
    """
    if out is not None and Path(out).suffix.lower() in _file_suffixes():
        _export(source, Path(out), existing, options)
        return
    from csc_data.converting import Conversion, plan_conversion, write_volumes

    if options["kind"] == "raw" and not options["labels"] and (options["class_name"] or options["class_values"]):
        options["kind"] = "labels"
    wanted = Conversion(source=source, out=out, **options)
    with progress_bar("blocks to look at") as bar:
        plans = plan_conversion(wanted, config, progress=bar)
    for plan in plans:
        _describe(plan)
    with progress_bar("blocks") as bar:
        written = write_volumes(plans, existing, progress=bar)
    say(f"wrote {plural(written, 'volume')}" if written else "all of it was written before")
    _say_next(wanted.dataset, plans, config)


def _file_suffixes() -> tuple[str, ...]:
    from csc_data.converting import EXPORT_SUFFIXES

    return EXPORT_SUFFIXES


def _export(source: str, out: Path, existing: Any, options: dict[str, Any]) -> None:
    from csc_data.converting import export_volume, open_source
    from csc_data.converting.planning import choose_grid

    size = options["voxel_size"]
    stray = [name for name in _NOT_OF_FILES if options[name]]
    if stray:
        raise click.UsageError(f"{', '.join(stray)}: not for {out}, which gets the values as they are")
    opened = open_source(source, options["array"], gaps=options["close_gaps"], known=size is not None)
    grid, _ = choose_grid(opened, size, options["translation"])
    with progress_bar("blocks") as bar:
        export = export_volume(opened, grid, out, existing, progress=bar)
    for line in export.said:
        say(f"  {line}")
    meaning = opened.meaning
    if meaning is not None and meaning.kind != "label":
        say(f"  values are a {meaning.kind}, {meaning.one:g} stands for 1")
    say(f"wrote {out}: {_voxels(grid)}, {export.dtype}, {format_bytes(export.path.stat().st_size)}")


def _describe(plan: VolumePlan) -> None:
    say(f"{plan.source.name}: {_voxels(plan.grid)}")
    for line in plan.said:
        say(f"  {line}")
    for folder in plan.folders:
        say(f"  to {folder}, {plural(len(plan.levels), 'level')}, {plan.encode.dtype}")


def _voxels(grid: Grid) -> str:
    shape, size = "x".join(map(str, grid.shape)), "x".join(f"{value:g}" for value in grid.voxel_size)
    return f"{shape} voxels of {size} nm"


def _say_next(dataset: str | None, plans: list[VolumePlan], config: Config) -> None:
    if dataset is None:
        return
    if any(plan.merging != "mean" for plan in plans):
        say(f"next: csc train CONFIG --data {config.root}, or csc make-datasplit --data {config.root} to choose crops")
    else:
        say(f"next: csc convert LABELS --kind labels --dataset {dataset} --class-values mito=1 --data {config.root}")
