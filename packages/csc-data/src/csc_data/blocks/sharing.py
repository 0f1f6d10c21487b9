"""One run of blocks among all processes that work on the same output, whether they know of each other or not."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import ExitStack
from typing import Protocol

from csc_data.blocks.claims import TURN, Claims, arrive
from csc_data.blocks.groups import Groups
from csc_data.blocks.ledger import Ledger, append_line, finished_file
from csc_data.blocks.output import remove_folder, remove_partial_files
from csc_data.errors import MissingDataError

LOOK_SECONDS = 1.0
"""How often one looks what others have finished, or left."""

_SHARE = 20  # looking takes at most this part of the time: there may be hundreds of thousands of blocks
_LONGEST_PAUSE = 10.0  # but nobody waits longer, as where a machine is so busy that a look takes seconds

_SHORTEST_WAIT = 0.01

_log = logging.getLogger(__name__)


class Supply(Protocol):
    """Where the blocks to do come from."""

    @property
    def finished(self) -> int:
        """The number of blocks that are finished."""
        ...

    def take(self) -> int | None:
        """Return a block to do; None where there is none now."""
        ...

    def mark(self, index: int) -> None:
        """Record a finished block."""
        ...

    def wait(self) -> None:
        """Let others go on for a moment, when there is nothing else to do."""
        ...


class AllBlocks:
    """All blocks of a run that keeps no record, and so has no others.

    Examples
    --------
    >>> blocks = AllBlocks(2)
    >>> blocks.take(), blocks.take(), blocks.take()
    (0, 1, None)
    >>> blocks.mark(0)
    >>> blocks.finished
    1
    """

    def __init__(self, count: int) -> None:
        self.finished = 0
        self._todo = iter(range(count))

    def take(self) -> int | None:
        """Return a block to do; None where there is none left."""
        return next(self._todo, None)

    def mark(self, index: int) -> None:
        """Count a finished block."""
        self.finished += 1

    def wait(self) -> None:
        """There is nobody to wait for."""


class SharedBlocks:
    """The blocks of an output that this process does; a context, within which others leave them to it.

    Parameters
    ----------
    ledger : Ledger
        The record of finished blocks.
    groups : Groups
        In which blocks are taken.

    Raises
    ------
    MissingDataError
        On entering it, if there is no record.
    """

    def __init__(self, ledger: Ledger, groups: Groups) -> None:
        self._ledger = ledger
        self._count = len(groups.grid)
        self._groups = groups.all()
        self._new: deque[int] = deque()  # groups that nobody was seen to hold
        self._left: list[int] = []  # groups that others hold
        self._mine: deque[tuple[int, int]] = deque()  # group and block
        self._looked = self._tried = self._pause = 0.0
        self._awaited: set[str] = set()
        self._context = ExitStack()

    def __enter__(self) -> SharedBlocks:
        with ExitStack() as context:
            self._claims: Claims = context.enter_context(arrive(self._ledger.folder))
            self._presence = self._claims.presence
            self._look()
            self._record = finished_file(self._ledger.folder, self._presence.name)
            self._record.touch(exist_ok=False)
            self._claims.give_back(TURN)
            self._context = context.pop_all()
        self._new.extend(number for number in range(len(self._groups)) if self._unfinished(number))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._context:
            if kind is None and self.finished == self._count:
                self._finish()

    @property
    def finished(self) -> int:
        """The number of blocks that are finished, by whomever."""
        return len(self._ledger.finished)

    def take(self) -> int | None:
        """Return a block to do; None while others hold all that are left."""
        while True:
            while self._mine:
                group, index = self._mine.popleft()
                # A process that stood still for a minute counts as dead, and may have lost what it had.
                if not self._claims.is_mine(str(group)):
                    self._mine = deque(pair for pair in self._mine if pair[0] != group)
                    self._left.append(group)
                elif index not in self._ledger.finished:
                    return index
            if not self._take_group():
                return None

    def _take_group(self) -> bool:
        while self._new:
            group = self._new.popleft()
            if self._hold(group):
                return True
            self._left.append(group)
        if time.monotonic() - self._tried < self._pause:
            return False
        self._look()
        self._tried = self._looked
        for group in self._left:
            if self._hold(group):
                self._left.remove(group)
                return True
        return False

    def _hold(self, group: int) -> bool:
        """Take a group for this process; return whether there is something to do in it."""
        try:
            if not self._claims.take(str(group)):
                return False
            if self._claims.was_taken_over(str(group)):
                self._look()
        except FileNotFoundError:
            self._look()
            return False
        unfinished = self._unfinished(group)
        self._mine.extend((group, index) for index in unfinished)
        return bool(unfinished)

    def _unfinished(self, group: int) -> list[int]:
        return [index for index in self._groups[group] if index not in self._ledger.finished]

    def _look(self) -> None:
        """See what others have finished."""
        started = time.monotonic()
        if not self._ledger.read():
            raise MissingDataError(
                f"{self._ledger.path} is not there any more: another process has begun to overwrite the output; "
                "wait for that, or start again"
            )
        self._left = [group for group in self._left if self._unfinished(group)]
        self._looked = time.monotonic()
        self._pause = max(LOOK_SECONDS, min(_LONGEST_PAUSE, _SHARE * (self._looked - started)))

    def mark(self, index: int) -> None:
        """Record a finished block."""
        try:
            append_line(self._record, str(index))
        except FileNotFoundError:  # others held this process for dead, did its blocks, and have finished all
            self._look()
        self._ledger.finished.add(index)
        if time.monotonic() - self._looked > self._pause:
            self._look()

    def wait(self) -> None:
        """Let others go on for a moment; say who they are."""
        names = {name for group in self._left if (name := self._claims.holder(str(group)))}
        if names - self._awaited:
            self._awaited |= names
            processes = [str(self._presence.find(name) or "another process") for name in sorted(names)]
            _log.info(
                "%d of %d blocks are left, and in the hands of %s: waiting for that",
                self._count - self.finished,
                self._count,
                ", ".join(processes),
            )
        time.sleep(max(_SHORTEST_WAIT, self._tried + self._pause - time.monotonic()))  # until `take` looks again

    def _finish(self) -> None:
        """Close the record, and remove what only those needed who worked on it."""
        try:
            self._claims.wait_for(TURN)
        except FileNotFoundError:  # another has done so
            return
        remove_partial_files(self._ledger.outputs)
        self._ledger.complete()
        remove_folder(self._ledger.folder, self._presence)
