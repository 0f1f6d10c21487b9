"""``csc verify-data``: whether what was fetched is still what came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from csc_cli.completing import crop_names, several_of
from csc_cli.options import data_option, json_option, split_names

MOST_LINES = 20


@click.command("verify-data")
@data_option
@click.option(
    "-c",
    "--crops",
    default="all",
    show_default=True,
    metavar="WHICH",
    shell_complete=several_of(crop_names("all", "train", "test")),
    help="As for fetch-data; of some crops their labels are compared, and all raw of their data sets.",
)
@click.option(
    "-w",
    "--num-workers",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Files that are read at a time.",
)
@json_option
def verify_data(data: str | None, crops: str, num_workers: int) -> None:
    """Compare every fetched file with the digest that was kept beside it when it came.

    Nothing is deleted. Damaged files are dated back, so that the next `csc fetch-data` replaces them; it fetches what
    is missing, too. Files without a digest are of another tool: `csc fetch-data --checksum` compares them with the
    bucket and keeps their digests. The exit code is 1 if a file is damaged, missing or unknown.
    """
    import time

    from csc_cli.console import answer, say
    from csc_cli.stages.experiments import next_command
    from csc_cli.transfer_bar import transfer_bar
    from csc_data.config.user_config import load_config
    from csc_data.fetching import verify_data as compare
    from csc_data.wording import format_bytes, plural

    config = load_config(data=data)
    began = time.monotonic()
    with transfer_bar() as progress:
        result = compare(config, crops=split_names(crops) or [], workers=num_workers, progress=progress)
    seconds = time.monotonic() - began
    answer({"whole": result.whole, "result": result, "seconds": seconds})
    say(f"compared {plural(result.n_files, 'file')}, {format_bytes(result.n_bytes)}, in {seconds:.1f} s")
    _name("damaged", result.damaged, config.root)
    _name("missing", result.missing, config.root)
    _name("unknown", result.unknown, config.root)
    if result.damaged or result.missing:
        say(f"next: {next_command('fetch-data')}, with the options of before, replaces what is damaged or missing")
    if result.unknown:
        say(f"next: {next_command('fetch-data', '--checksum')} compares what is unknown with the bucket")
    if not result.whole:
        counts = ((result.damaged, "damaged"), (result.missing, "missing"), (result.unknown, "unknown"))
        words = ", ".join(f"{len(paths):,} {word}" for paths, word in counts if paths)
        raise click.ClickException(f"not every file is what was fetched: {words}")
    say(f"verified: all {plural(result.n_files, 'file')} as they came, in {config.root}")


def _name(word: str, paths: Sequence[Path], root: Path) -> None:
    """Name the first files, and count the others."""
    from csc_cli.console import say

    for path in paths[:MOST_LINES]:
        say(f"  {word}: {path.relative_to(root).as_posix()}")
    if len(paths) > MOST_LINES:
        say(f"  {word}: {len(paths) - MOST_LINES:,} more")
