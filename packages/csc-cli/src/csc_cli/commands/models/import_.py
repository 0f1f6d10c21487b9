"""``csc models import``: weights from elsewhere as a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csc_cli.completing import network_names, one_of
from csc_cli.console import say
from csc_cli.options import class_names_option, parse_scale, parse_settings, parse_shape
from csc_data.wording import format_bytes

_OPTIONS = {"classes": "--classes", "patch": "--patch", "voxel_size": "--voxel-size", "raw_range": "--raw-range"}


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="The checkpoint to write.")
@click.option("--overwrite", is_flag=True, help="Replace it if it exists.")
@click.option(
    "--model",
    metavar="NAME",
    shell_complete=one_of(network_names),
    help="The network, one of `csc models list`, where FILE does not tell.",
)
@click.option(
    "--set",
    "arguments",
    metavar="NAME=VALUE",
    multiple=True,
    callback=parse_settings,
    help="An argument of the network, such as width=32; may be repeated.",
)
@class_names_option("--classes", text="What its channels are, in their order.")
@click.option("--values", type=click.Choice(["logit", "distance", "exclusive"]), help="What it gives [default: logit].")
@click.option("--voxel-size", metavar="NM", callback=parse_scale, help="8, or 4,8,8 for z,y,x.")
@click.option("--patch", metavar="VOXELS", callback=parse_shape, help="64, or 1,256,256 for z,y,x.")
@click.option("--raw-range", type=(float, float), help="What 0 and 255 of raw became: 0 1, or 0 255 for raw as it is.")
@click.option("--part", metavar="NAME", help="Which weights, where FILE holds several: ema, or state_dict.net.")
@click.option("--plans", type=click.Path(), help="nnU-Net's plans.json [default: in FILE, beside it, or above].")
@click.option("--dataset", type=click.Path(), help="nnU-Net's dataset.json [default: in FILE, beside it, or above].")
@click.option("--configuration", metavar="NAME", help="nnU-Net's, such as 3d_fullres.")
def import_(file: Path, target: Path, overwrite: bool, **hints: Any) -> None:
    """Make a checkpoint of FILE, weights that another program saved, for `csc predict` and for fine-tuning.

    \b
    nnU-Net v2         all is told by its plans
    MedNeXt            the authors' networks, and checkpoints of their trainers
    Lightning, torch   of networks that csc has: --model, and --set for its arguments

    Of a softmax, `--values exclusive` with the channel `background` among --classes. Nothing in FILE is run.
    """  # noqa: D301 - \b, the character, keeps click from joining lines
    from csc_models.checkpoint import save_checkpoint
    from csc_models.foreign import ForeignHints, load_foreign

    if target.exists() and (not overwrite or target.resolve() == file.resolve()):
        raise click.ClickException(f"{target} exists; choose another name, or replace it by --overwrite")
    hints |= {name: tuple(hints[name]) for name in ("classes", "patch") if hints[name]}
    loaded = load_foreign(file, ForeignHints(**hints))
    for note in loaded.notes:
        say(f"note: {note}")
    if loaded.lacking:
        wanted = ", ".join(_OPTIONS[name] for name in loaded.lacking)
        raise click.ClickException(f"{file} ({loaded.kind}) does not tell all that prediction needs; give {wanted}")
    save_checkpoint(target, loaded.model, description=loaded.description)
    network = loaded.description.model_name
    say(f"wrote {target} ({format_bytes(target.stat().st_size)}): {network} of {file}, {loaded.kind}")
    say(f"next: csc predict {target}, or csc models check {target}")
