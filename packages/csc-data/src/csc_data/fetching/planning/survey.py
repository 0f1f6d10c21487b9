"""What is in the buckets, and what of it is there already: questions asked side by side, which planning shares."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.fetching.plan import FetchOptions, FetchProgress, FileGroup, Progress
from csc_data.storage.bucket import Bucket, FetchStopped, RemoteFile
from csc_data.storage.concurrency import Pool, Stream

T = TypeVar("T")
R = TypeVar("R")

GROUP_METADATA = (".zgroup", ".zattrs")

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class Survey:
    """The buckets of one run, what was read of them, and how far planning is.

    Attributes
    ----------
    contents : dict of str to bytes
        Metadata that was read from a bucket, by the file that it goes to.
    md5_matches, md5_differs : int
        How many of these had the MD5 sum that their ETag names, and how many had not.
    """

    def __init__(self, config: Config, options: FetchOptions, pool: Pool, progress: Progress | None = None) -> None:
        self.config, self.options, self.pool = config, options, pool
        self.contents: dict[str, bytes] = {}
        self.md5_matches = self.md5_differs = 0
        self._progress = progress
        self._asked = self._answered = 0
        self._buckets: dict[str, Bucket] = {}

    @property
    def md5_etags(self) -> bool:
        """Whether ETags are MD5 sums. Nobody says so; where some are, those that differ show damage."""
        return self.md5_matches > self.md5_differs

    def bucket(self, name: str) -> Bucket:
        """Return a bucket by its name."""
        if name not in self._buckets:
            self._buckets[name] = Bucket(
                name, endpoint=self.config.endpoint, retries=self.options.retries, stop=self.pool.stop
            )
        return self._buckets[name]

    def start(self, work: Callable[[T], R], questions: Iterable[T]) -> Stream[T, R]:
        """Begin to ask: call ``work`` for each question, before anything is transferred; `answers` gives the rest."""
        items = list(dict.fromkeys(questions))
        self._asked += len(items)
        stream: Stream[T, R] = Stream(self.pool, work)
        stream.put(items, urgent=True)
        return stream

    def answers(self, asked: Stream[T, R]) -> Iterator[tuple[T, R]]:
        """Give each question and its answer as they come.

        Raises
        ------
        FetchStopped
            If the run was stopped meanwhile.
        """
        for question, answer in asked:
            self._answered += 1
            if self._progress:
                self._progress(FetchProgress(phase="listing", done=self._answered, total=self._asked))
            yield question, answer
        if asked.waiting:
            raise FetchStopped("stopped")

    def compare(self, group: FileGroup) -> None:
        """Set what of a group is to be fetched; to overwrite, that is all, and what the bucket has not is stale."""
        overwrite = self.options.access_mode == "overwrite"
        if overwrite or not os.path.isdir(group.folder):  # noqa: PTH112
            group.todo = group.files
        elif self.options.checksums:
            group.todo = [file for file in group.files if not _is_same(group, file)]
        else:
            group.todo = [file for file in group.files if not is_present(group.path(file), file)]
        if overwrite and group.whole:
            known = {os.path.normpath(group.path(file)) for file in group.files}
            group.stale = [path for path in files_in(group.folder) if path not in known]

    def read_json(self, group: FileGroup, name: str) -> Any:
        """Return what a JSON file of a group holds; None where the bucket has no such file.

        It is read from disk where that is the file of the bucket, else from the bucket, and kept for writing.

        Raises
        ------
        UnreadableDataError
            If it cannot be read, or is not a JSON object.
        """
        file = next((file for file in group.files if file.name == name), None)
        if file is None:
            return None
        url = group.bucket.url(group.key(file))
        try:
            value = json.loads(self._read(group, file))
        except MissingDataError:
            return None
        except ValueError as error:
            raise UnreadableDataError(f"{url} is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise UnreadableDataError(f"{url} holds {type(value).__name__} where a JSON object was expected")
        return value

    def _read(self, group: FileGroup, file: RemoteFile) -> bytes:
        path, expected = group.path(file), md5_of_etag(file.etag)
        if path in self.contents:
            return self.contents[path]
        body = None
        if self.options.access_mode == "append" and is_present(path, file):
            body = Path(path).read_bytes()
        if body is None or (expected and md5_of(body) != expected):
            body = _read_twice(group, file) if expected else bytes(group.bucket.read(group.key(file), listed=True))
            self.contents[path] = body
        if expected:
            matches = md5_of(body) == expected
            self.md5_matches += matches
            self.md5_differs += not matches
        return body


def _read_twice(group: FileGroup, file: RemoteFile) -> bytes:
    """Read a file until it has the MD5 sum of its ETag, or comes the same twice: then the ETag is something else."""
    before = b""
    while True:
        body = bytes(group.bucket.read(group.key(file), listed=True))
        if md5_of(body) == md5_of_etag(file.etag) or body == before:
            return body
        before = body


def is_present(path: str, file: RemoteFile) -> bool:
    """Tell whether a local file is that of the bucket: of its size, and not older than the last change there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "0.0.0")
    ...     _ = path.write_bytes(b"1234")
    ...     [is_present(str(path), RemoteFile("0.0.0", size, 0.0, "")) for size in (4, 9)]
    [True, False]
    """
    try:
        state = os.stat(path)  # noqa: PTH116 (called for each of a million files)
    except (FileNotFoundError, NotADirectoryError):
        return False
    # A second of grace: dates of the bucket have whole seconds, and clocks differ.
    return state.st_size == file.size and state.st_mtime >= file.modified - 1


def _is_same(group: FileGroup, file: RemoteFile) -> bool:
    """Tell whether a local file has the bytes of the bucket's, as far as the ETag is their MD5 sum; note its digest."""
    path, expected = group.path(file), md5_of_etag(file.etag)
    if not is_present(path, file):
        return False
    if not expected:
        return True
    body = Path(path).read_bytes()
    if md5_of(body) != expected:
        return False
    group.checked.append((path, len(body), zlib.crc32(body)))
    return True


def md5_of_etag(etag: str) -> str:
    """Return the MD5 sum that an ETag may be; "" for what was uploaded in parts, where it is none.

    >>> md5_of_etag('"9e107d9d372bb6826bd81d3542a419d6"')
    '9e107d9d372bb6826bd81d3542a419d6'
    >>> md5_of_etag('"9e107d9d372bb6826bd81d3542a419d6-12"')
    ''
    """
    match = _MD5.fullmatch(etag)
    return match[1] if match else ""


def md5_of(body: memoryview | bytes) -> str:
    """Return the MD5 sum of bytes.

    Examples
    --------
    >>> md5_of(b"chunk")
    '5a8f4fa2aeab5431888ee8a18ce3bcea'
    """
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files anywhere below a folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "s0").mkdir()
    ...     Path(folder, "s0", "0.0.0").touch()
    ...     [Path(path).name for path in files_in(Path(folder))]
    ['0.0.0']
    """
    return [os.path.join(above, name) for above, _, names in os.walk(folder) for name in names]  # noqa: PTH118
