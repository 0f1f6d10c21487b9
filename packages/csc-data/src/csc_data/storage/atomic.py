"""Writing small files so that no reader, and no killed process, leaves half of one behind."""

from __future__ import annotations

import os
from pathlib import Path

from csc_data.errors import CscError


class UnwritableFileError(CscError, OSError):
    """A file cannot be written where it is to be."""


def replace_text(path: Path, text: str) -> None:
    """Write text (UTF-8) under a temporary name, then rename it; folders above it are made.

    Raises
    ------
    UnwritableFileError
        If that cannot be done: with what the system says.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_text(Path(folder, "new", "notes.txt"), "all of it or nothing")
    ...     Path(folder, "new", "notes.txt").read_text()
    'all of it or nothing'
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # who may do all would replace /dev/null by a file
            raise UnwritableFileError(f"{path} cannot be written (it is a pipe or a device): choose another place")  # noqa: TRY301
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except UnwritableFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnwritableFileError(f"{path} cannot be written ({reason}): choose another place") from error
