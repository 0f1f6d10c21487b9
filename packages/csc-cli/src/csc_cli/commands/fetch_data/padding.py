"""How much raw around each crop: a number of voxels, or what the patches of an experiment need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from csc_cli.console import say

if TYPE_CHECKING:
    from csc_data.loader.poses.reach import PatchReach


def parse_padding(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Read a number of voxels; None for ``auto``.

    Examples
    --------
    >>> parse_padding(None, None, "64"), parse_padding(None, None, "auto")
    (64, None)
    """
    if value == "auto":
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number of voxels nor auto", ctx, param)
    return int(value)


def find_reach(experiment: str) -> PatchReach:
    """Work out what raw the patches of an experiment file need around crops, and tell it.

    Raises
    ------
    ProblemsError, MissingDataError
        If the file has mistakes, or there is none.
    """
    from csc_data.loader.poses.reach import PatchReach
    from csc_train.network import patch_shape
    from csc_train.settings import read_train_settings

    settings = read_train_settings(experiment)
    reach = PatchReach(patch=patch_shape(settings), transforms=settings.spatial_transforms)
    z, y, x = (f"{nm:.0f}" for nm in reach(reach.patch.target.extent))
    say(f"raw around crops as the patches of {experiment} need it: {z} x {y} x {x} nm around one of their size")
    return reach
