"""``csc make-synthetic``: tissue to pretrain on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import progress_bar, say
from csc_cli.options import existing_option, parse_names, parse_scale
from csc_data.wording import format_bytes, plural

if TYPE_CHECKING:
    from csc_data.synthetic.streaming import SpecimenVolume


def _parse_size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int, int]:
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or min(numbers) < 1:
        raise click.BadParameter(f"{value!r} is not a size in voxels; give 256, or 128,256,256 for z,y,x", ctx, param)
    return numbers[0], numbers[1], numbers[2]


@click.command()
@click.argument("out", metavar="DIR", type=click.Path(file_okay=False))
@click.option(
    "--size",
    metavar="VOXELS",
    default="256",
    show_default=True,
    callback=_parse_size,
    help="256, or 128,256,256 (z,y,x).",
)
@click.option(
    "--voxel-size", metavar="NM", default="8", show_default=True, callback=parse_scale, help="8, or 40,4,4 (z,y,x)."
)
@click.option(
    "-c", "--classes", metavar="NAMES", default="all", show_default=True, callback=parse_names,
    help="What is annotated; all are the 48 that are tested.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed is another tissue."
)
@click.option(
    "--microscope", metavar="NAME", default="enhanced-fibsem", show_default=True, help="Or fibsem, sbfsem, sstem."
)
@click.option(
    "--dataset", metavar="NAME", default="jrc_synth-pretraining", show_default=True, help="The data set's name."
)
@click.option("-w", "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and how large it is.")
@existing_option
def make_synthetic(out: str, size: tuple[int, int, int], workers: int, dry_run: bool, **options: Any) -> None:
    """Write synthetic tissue to DIR, to pretrain and to try things on: raw, and labels of all of it in crops.

    It has whole cells with their nuclei, reticulum, ribosomes and what else the challenge scores. A volume that is
    smaller than a nucleus shows a part of one. A run that was killed goes on where it stopped.
    """
    from csc_data.challenge import get_tested_classes
    from csc_data.synthetic.streaming import SpecimenVolume, write_volume

    names, existing = options.pop("classes"), options.pop("existing")
    classes = get_tested_classes() if names == ["all"] else tuple(dict.fromkeys(names))
    volume = SpecimenVolume(root=Path(out), shape=size, classes=classes, **options)
    _describe(volume)
    if dry_run:
        return
    with progress_bar("blocks") as bar:
        if workers == 1:
            written = write_volume(volume, existing=existing, progress=bar)
        else:
            from csc_data.blocks import on_processes

            with on_processes(workers) as execution:
                written = write_volume(volume, existing=existing, execution=execution, progress=bar)
    say(f"wrote {volume.raw}" if written else "all of it was written before")
    say(f"next: csc make-datasplit --data {out}, or csc visualize --data {out}")


def _describe(volume: SpecimenVolume) -> None:
    shape, size = "x".join(map(str, volume.shape)), "x".join(f"{value:g}" for value in volume.voxel_size)
    say(f"{volume.dataset}: {shape} voxels of {size} nm, seed {volume.seed}, as by {volume.microscope}")
    say(
        f"  {plural(len(volume.crops), 'annotated crop')}, {plural(len(volume.classes), 'class')}, "
        f"{plural(len(volume.blocks), 'block')}, at most about {format_bytes(volume.bytes)}"
    )
