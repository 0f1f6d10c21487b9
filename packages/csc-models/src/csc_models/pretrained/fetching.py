"""Keep published weights in the user's cache."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from csc_models.pretrained.published import pretrained_card


def pretrained_path(name: str, *, folder: str | PathLike[str] | None = None) -> Path:
    """Where the file of published weights is kept, whether it is there or not.

    Parameters
    ----------
    name : str
        A name from `list_pretrained`.
    folder : path, optional
        Where weights are kept; the user's cache by default.

    Raises
    ------
    UnknownWeightsError
        There are none of this name.

    Examples
    --------
    >>> from csc_models import list_pretrained
    >>> pretrained_path(list_pretrained()[0], folder="weights").parts[0]
    'weights'
    """
    if folder is None:
        import platformdirs

        folder = platformdirs.user_cache_path("csc", appauthor=False) / "pretrained"
    return Path(folder).expanduser() / pretrained_card(name).relative_path


def fetch_pretrained(
    name: str,
    *,
    folder: str | PathLike[str] | None = None,
    mirror: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Return the file of published weights, which is downloaded unless it is there.

    A download that was cut goes on where it stopped, now or in the next call; the file has its name when it is whole.
    Two processes that want the same file fetch it once.

    Parameters
    ----------
    name : str
        A name from `list_pretrained`.
    folder : path, optional
        Where weights are kept; the user's cache by default.
    mirror : str, optional
        Address of a copy of the published folder, below which files lie as ``setup04/1820500``.
    progress : callable, optional
        Called with the number of bytes that are there, and how many there will be (None if the server does not say).

    Raises
    ------
    UnknownWeightsError
        There are none of this name.
    DownloadError
        They cannot be fetched; the text has the address, and where to put the file by hand.
    OSError
        The disk is full, or not writable.
    """
    card = pretrained_card(name)
    path = pretrained_path(name, folder=folder)
    if path.is_file():
        return path
    from filelock import FileLock

    from csc_models.pretrained.download import Download

    url = card.url if mirror is None else f"{mirror.rstrip('/')}/{'/'.join(card.url.split('/')[-2:])}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not path.is_file():  # another process may have been faster
            Download(url=url, target=path, size=card.size, sha256=card.sha256, progress=progress).run()
    return path
