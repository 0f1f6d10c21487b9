"""Claims in a folder that processes share: of all that live, one holds each, without a server or locks of the system.

A claim is a file that only one process can create, exclusively, which NFS and Lustre do as local disks do. It has its
owner's name from its first moment on, where the file system knows hard links. It is never removed while work goes on:
who takes over from a dead process creates the file of the next number, and only one can.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csc_data.blocks.presence import Presence

_OVER = "over"

_TURN_SECONDS = 0.1

TURN = "turn"
"""The claim of who prepares an output, joins those who work on it, or ends the work: one at a time."""


@contextmanager
def arrive(folder: Path) -> Iterator[Claims]:
    """Yield the claims of this process, present in a folder and first holding `TURN`; it leaves in the end.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder, arrive(Path(folder)) as claims:
    ...     claims.is_mine(TURN)
    True
    """
    while True:
        claims = Claims(Presence(folder))
        try:
            claims.presence.start()
            claims.wait_for(TURN)
        except FileNotFoundError:  # another process has finished all, and removed the folder: it is made again
            claims.presence.leave()
            continue
        except BaseException:
            claims.presence.leave()
            raise
        break
    try:
        yield claims
    finally:
        claims.presence.leave()


class Claims:
    """Claims of one process.

    Parameters
    ----------
    presence : Presence
        The process, and the folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder, arrive(Path(folder)) as claims:
    ...     print(claims.take("group 3"), claims.is_mine("group 3"), claims.was_taken_over("group 3"))
    ...     claims.give_back("group 3")
    ...     print(claims.take("group 3"), claims.was_taken_over("group 3"))
    True True False
    True True
    """

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        self._numbers: dict[str, int] = {}  # the highest that was seen

    def take(self, name: str) -> bool:
        """Claim something that nobody who lives holds; return whether that was so.

        Raises
        ------
        FileNotFoundError
            If the folder is gone, as when another process has finished all.
        """
        number = self._numbers.get(name, -1)
        while number < 0 or not self._is_held(self._path(name, number)):
            number += 1
            made = self._make(self._path(name, number))
            self._numbers[name] = number
            if made:
                return True
        return False

    def _make(self, path: Path) -> bool:
        """Create a claim; return False where another was faster, or this process has not looked for long.

        It is written under a name of this process's own first, so that a kill leaves all of it or nothing.
        """
        own = self.presence.folder / f"{self.presence.name}.claim"
        own.write_text(f"{self.presence.name}\n", encoding="utf-8")
        try:
            os.link(own, path)
        except FileExistsError:
            # A server of NFS whose answer was lost is asked again, and then says so of what it did itself.
            return own.stat().st_nlink > 1
        except FileNotFoundError:
            raise
        except OSError:  # there are no hard links
            return self._make_by_itself(path)
        finally:
            own.unlink(missing_ok=True)
        return True

    def _make_by_itself(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(f"{self.presence.name}\n")
        except FileExistsError:
            return False
        return True

    def is_mine(self, name: str) -> bool:
        """Return whether a claim that was taken is this process's still: one that stood still for long may lose it."""
        return not self._path(name, self._numbers[name] + 1).exists()

    def was_taken_over(self, name: str) -> bool:
        """Return whether others had a claim before."""
        return self._numbers[name] > 0

    def holder(self, name: str) -> str | None:
        """Return who was last seen to hold a claim; None, too, where all is finished and the folder is gone."""
        number = self._numbers.get(name, -1)
        try:
            return None if number < 0 else _read(self._path(name, number))[0]
        except FileNotFoundError:
            return None

    def wait_for(self, name: str) -> None:
        """Take a claim as soon as nobody else holds it."""
        while not self.take(name):
            time.sleep(_TURN_SECONDS)

    def give_back(self, name: str) -> None:
        """Let others take a claim, which this process can take again."""
        with self._path(name, self._numbers[name]).open("a", encoding="utf-8") as file:
            file.write(f"{_OVER}\n")

    def _is_held(self, path: Path) -> bool:
        owner, over = _read(path)
        if over:
            return False
        if owner is not None:
            return self.presence.is_alive(owner)
        # Without hard links its owner stands between creating it and writing its name into it, or was killed there, as
        # many are: creating a file takes long. Whoever claims something is present, so where nobody else is, it was
        # killed.
        return bool(self.presence.others()) and self.presence.is_fresh(path)

    def _path(self, name: str, number: int) -> Path:
        return self.presence.folder / f"{name}.{number}"


def _read(path: Path) -> tuple[str | None, bool]:
    """Return who made a claim, and whether it was given back."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return (lines[0] if len(lines) > 1 else None), _OVER in lines
