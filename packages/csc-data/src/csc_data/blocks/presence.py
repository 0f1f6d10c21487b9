"""Who works on an output: each process shows that it lives by a file that it touches.

A process is dead when its file is older than a minute by the clock of the file system, which all nodes of a cluster
share, or, on its own machine, as soon as there is no such process. One that ends in order removes its file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from csc_data.storage.atomic import replace_text

TOUCH_SECONDS = 5.0
DEAD_SECONDS = 60.0

_SUFFIX = ".alive"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """One process among those of all machines.

    Attributes
    ----------
    host : str
        Name of its machine, for people.
    machine : str
        What only processes share that can see each other: the same boot, the same container.
    pid : int
    started : str
        When it was started, as its system counts; "" where the system does not say. Numbers of processes come again.
    """

    host: str
    machine: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; only on its own machine."""
        if self.machine != _machine():
            return False
        if sys.platform == "win32":  # where signal 0 would end it
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            pass
        return bool(self.started) and _started(self.pid) != self.started


def this_process() -> ProcessId:
    """Return the process that asks.

    Examples
    --------
    >>> import os
    >>> this_process().pid == os.getpid()
    True
    """
    return ProcessId(host=socket.gethostname(), machine=_machine(), pid=os.getpid(), started=_started(os.getpid()))


@cache
def _machine() -> str:
    # Containers may share the name of a machine, and number their processes anew.
    known = [socket.gethostname()]
    with suppress(OSError):
        known += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return " ".join(known)


def _started(pid: int) -> str:
    """Return when a process was started, "" where that is not said, "ended" for one that waits for its parent only."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


class Presence:
    """A process as others see it in a folder: from `start` to `leave` its file is touched.

    Parameters
    ----------
    folder : Path
        It is made where there is none.

    Attributes
    ----------
    name : str
        What it is called in that folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, other = Presence(Path(folder)), Presence(Path(folder))
    ...     one.start()
    ...     other.start()
    ...     print(one.is_alive(other.name), list(one.others()) == [other.name], one.find(other.name) == this_process())
    ...     other.leave()
    ...     print(one.is_alive(other.name), one.others(), one.dead())
    ...     one.leave()
    True True True
    False {} []
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = this_process()
        host = re.sub(r"[^A-Za-z0-9-]", "-", self.process.host)
        self.name = f"{host}-{self.process.pid}-{secrets.token_hex(4)}"
        self._path = folder / f"{self.name}{_SUFFIX}"
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._keep_touching, name="presence", daemon=True)

    def start(self) -> None:
        """Be there.

        Raises
        ------
        FileNotFoundError
            If another process removes the folder in this moment.
        """
        replace_text(self._path, json.dumps(asdict(self.process)))
        self._thread.start()

    def leave(self) -> None:
        """Be there no longer: what this process held is free at once."""
        self._left.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._path.unlink(missing_ok=True)

    def _keep_touching(self) -> None:
        while not self._left.wait(TOUCH_SECONDS):
            try:
                self._now()
            except FileNotFoundError:  # all is finished, and another has removed the folder
                return
            except OSError as error:  # a server that does not answer for a moment
                _log.warning("%s cannot be touched: %s", self._path, error)

    def _now(self) -> float:
        """Return the time by the clock of the file system, in seconds."""
        os.utime(self._path)
        return self._path.stat().st_mtime

    def others(self) -> dict[str, ProcessId | None]:
        """Return the others that live, by name, and which processes they are, where they have said it already."""
        names = [path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"*{_SUFFIX}")]
        return {name: self.find(name) for name in names if name != self.name and self.is_alive(name)}

    def dead(self) -> list[Path]:
        """Return the files of those that were killed."""
        paths = [path for path in self.folder.glob(f"*{_SUFFIX}") if path != self._path]
        return [path for path in paths if not self.is_alive(path.name.removesuffix(_SUFFIX))]

    def is_alive(self, name: str) -> bool:
        """Return whether the process of a name works here still."""
        if name == self.name:
            return True
        try:
            # Not by stat, which a client of NFS answers from what it knew a minute ago: opening a file asks the server.
            with (self.folder / f"{name}{_SUFFIX}").open("rb") as file:
                touched = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return False
        process = self.find(name)
        if process is not None and process.is_gone:
            return False
        return self._now() - touched < DEAD_SECONDS

    def is_fresh(self, path: Path) -> bool:
        """Return whether a file was written within the time after which a process counts as dead."""
        return self._now() - path.stat().st_mtime < DEAD_SECONDS

    def find(self, name: str) -> ProcessId | None:
        """Return which process a name belongs to; None where it has not said it, or is gone."""
        try:
            return ProcessId(**json.loads((self.folder / f"{name}{_SUFFIX}").read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
