"""``csc make-synthetic``: tissue to pretrain on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import progress_bar, say
from csc_cli.options import class_names_option, existing_option, parse_scale, parse_shape
from csc_data.wording import format_bytes, plural

if TYPE_CHECKING:
    from csc_data.synthetic.streaming import SpecimenVolume


@click.command()
@click.argument("out", metavar="DIR", type=click.Path(file_okay=False))
@click.option(
    "--size",
    metavar="VOXELS",
    default="256",
    show_default=True,
    callback=parse_shape,
    help="256, or 128,256,256 (z,y,x).",
)
@click.option(
    "--voxel-size", metavar="NM", default="8", show_default=True, callback=parse_scale, help="8, or 40,4,4 (z,y,x)."
)
@class_names_option(
    "-c", "--classes", default="all", show_default=True, text="What is annotated; all are the 48 that are tested."
)
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
def make_synthetic(out: str, size: list[int], workers: int, dry_run: bool, **options: Any) -> None:
    """Write synthetic tissue to DIR, to pretrain and to try things on: raw, and labels of all of it in crops.

    It has whole cells with their nuclei, reticulum, ribosomes and what else the challenge scores. A volume that is
    smaller than a nucleus shows a part of one. A run that was killed goes on where it stopped.
    """
    from csc_data.challenge import get_tested_classes
    from csc_data.synthetic.streaming import SpecimenVolume, write_volume

    names, existing = options.pop("classes"), options.pop("existing")
    z, y, x = size
    classes = get_tested_classes() if names == ["all"] else tuple(dict.fromkeys(names))
    volume = SpecimenVolume(root=Path(out), shape=(z, y, x), classes=classes, **options)
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
