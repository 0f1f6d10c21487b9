"""Digests of files, kept beside them: one file ``.csc-digests`` in a folder for all that is in it.

It has a line ``CRC-32 size path`` for each file, so a folder that is copied takes them along. A line is written before
the file gets its name, so a killed process leaves no file without one; of two lines for a path the later one holds.
CRC-32 finds what disks and copies damage (any 32 bits in a row; of anything else all but one in 4 * 10^9) at a fraction
of what MD5 costs, and members of zips bring theirs along.
"""

from __future__ import annotations

import os
from pathlib import Path

FILE_NAME = ".csc-digests"

Digest = tuple[int, int]
"""CRC-32 and size."""


class DigestFile:
    """The digests of one data set, open for adding to them, from any number of threads and processes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digests = DigestFile(Path(folder))
    ...     digests.add("s0/0.0.0", 1024, 0xCAFE)
    ...     digests.add("s0/0.0.1", 1024, 0xBEEF)
    ...     digests.forget("s0/0.0.1")
    ...     digests.close()
    ...     read_digests(Path(folder))
    {'s0/0.0.0': (51966, 1024)}
    """

    def __init__(self, root: Path) -> None:
        self._prefix = os.path.join(root, "")  # noqa: PTH118
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(root / FILE_NAME, flags, 0o666)
        size = os.fstat(self._descriptor).st_size
        if size:
            os.lseek(self._descriptor, size - 1, os.SEEK_SET)
            if os.read(self._descriptor, 1) != b"\n":  # a kill or a full disk cut the last line off
                os.write(self._descriptor, b"\n")

    def add(self, path: str, size: int, crc: int) -> None:
        """Add the digest of a file."""
        self._write(f"{crc:08x} {size}", path)

    def forget(self, path: str) -> None:
        """Note that a file is no longer to be there."""
        self._write("- 0", path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, words: str, path: str) -> None:
        # One call, so that lines of several threads and processes stay whole.
        name = path.removeprefix(self._prefix).replace(os.sep, "/")
        os.write(self._descriptor, f"{words} {name}\n".encode())


def read_digests(root: Path) -> dict[str, Digest]:
    r"""Return the digests of a data set by path below it; lines that are damaged are passed over.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, FILE_NAME).write_text("0000cafe 1024 s0/0.0.0\nnot a digest\n")
    ...     read_digests(Path(folder))
    {'s0/0.0.0': (51966, 1024)}
    """
    try:
        lines = (root / FILE_NAME).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return {}
    digests: dict[str, Digest] = {}
    for line in lines:
        crc, _, rest = line.partition(" ")
        size, _, name = rest.partition(" ")
        if crc == "-":
            digests.pop(name, None)
            continue
        try:
            digests[name] = int(crc, 16), int(size)
        except ValueError:
            continue
    return digests
