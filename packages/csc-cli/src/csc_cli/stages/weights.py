"""Published weights: fetched with a progress bar, and kept."""

from __future__ import annotations

from pathlib import Path

from csc_cli.console import progress_bar, say
from csc_data.wording import format_bytes


def fetch_weights(name: str, *, mirror: str | None = None) -> Path:
    """Fetch published weights unless they are there, and tell where they are."""
    from csc_models.pretrained import fetch_pretrained, pretrained_path

    path = pretrained_path(name)
    there = path.is_file()
    with progress_bar(f"MB of {name}") as bar:

        def report(done: int, total: int | None) -> None:
            bar(done >> 20, (total or 0) >> 20)

        fetch_pretrained(name, mirror=mirror, progress=report)
    say(f"{'found' if there else 'fetched'} {name}: {format_bytes(path.stat().st_size)}, {path}")
    return path


def is_published(name: str) -> bool:
    """Whether a name stands for published weights, and not for a file.

    Examples
    --------
    >>> is_published("mine.pth")
    False
    """
    from csc_models import list_pretrained

    return name in list_pretrained() and not Path(name).exists()
