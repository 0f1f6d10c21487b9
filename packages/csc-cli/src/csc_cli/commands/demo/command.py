"""``csc demo``: the whole path on a small synthetic challenge."""

from __future__ import annotations

import click


@click.command()
@click.option("--out", metavar="DIR", default="csc-demo", show_default=True, help="Where to write everything.")
@click.option(
    "--quick", is_flag=True, help="Smaller volumes and a few training steps: shows the path, not the quality."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed is another tissue."
)
def demo(out: str, quick: bool, seed: int) -> None:
    """Write a small synthetic challenge, train on it, and score the result, in about three minutes on two cores.

    Run again in the same folder, it goes on where it stopped.
    """
    from pathlib import Path

    from csc_cli.commands.demo.run import DemoOptions, run_demo

    run_demo(DemoOptions(out=Path(out), quick=quick, seed=seed))
