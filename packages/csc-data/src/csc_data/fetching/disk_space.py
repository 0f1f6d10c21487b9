"""Whether what is to be written fits on a disk, as soon as that can be said."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from csc_data.fetching.staging import FETCH_LESS
from csc_data.storage.room import DiskFullError, free_bytes

_BLOCK = 4096  # what a file takes on most disks is a multiple of it
_RESERVE_BYTES = 50_000_000


class DiskSpace:
    """What is needed of a disk by what is known so far, in bytes, and what is free.

    Attributes
    ----------
    needed, free : int
    enough : bool
        Whether it is sure that all fits.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     space = DiskSpace(Path(folder))
    ...     space.add(str(Path(folder, "0.0.0")), 5000)
    ...     space.bound(10_000)
    ...     space.check()
    ...     print(space.needed, space.enough)
    8192 True
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.free = free_bytes(root)
        self.needed = 0
        self.enough = False

    def add(self, path: str, size: int) -> None:
        """Add a file that is to be written, perhaps over one that is there."""
        self.needed += -(-size // _BLOCK) * _BLOCK
        with contextlib.suppress(OSError):
            self.needed -= os.stat(path).st_size  # noqa: PTH116 (called for each of a million files)

    def bound(self, most_bytes: int) -> None:
        """See whether all fits, given the most that what was not added yet can take."""
        self.enough = self.enough or self._fits(self.needed + most_bytes)

    def check(self) -> None:
        """Check that what was added fits.

        Raises
        ------
        DiskFullError
            With both sizes.
        """
        if not self._fits(self.needed):
            raise DiskFullError.before("what is to be fetched takes", self.needed, self._root, FETCH_LESS)
        self.enough = True

    def _fits(self, needed: int) -> bool:
        return needed + min(_RESERVE_BYTES, needed) <= self.free
