"""``csc unite-tensorboards``: logs of several runs in one folder."""

from __future__ import annotations

from pathlib import Path

import click

from csc_cli.console import progress_bar, say
from csc_data.wording import plural


@click.command("unite-tensorboards")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default="united_tensorboards", show_default=True, help="The new folder."
)
@click.option("--join", is_flag=True, help="All are parts of one run, which went on in another folder: make them one.")
def unite_tensorboards(folders: tuple[Path, ...], out: Path, join: bool) -> None:
    """Write the TensorBoard logs of the runs in DIR... into one folder.

    Every folder with logs, among DIR... and within them, becomes a run of the new folder, with each point once: where
    a run was stopped and started again, what it logged after the step from which it went on is left out. The runs'
    own logs stay as they are; run the command again to take in what is new.
    """
    from csc_train.logs.uniting import unite_tensorboards

    with progress_bar("runs") as bar:
        runs = unite_tensorboards(folders, out, join=join, progress=bar)
    for run in runs:
        left_out = f", {run.left_out:,} left out" if run.left_out else ""
        say(f"  {run.name}: {plural(run.points, 'point')}{left_out}")
    say(f"united {plural(len(runs), 'run')} in {out}")
    say(f"next: tensorboard --logdir {out}")
