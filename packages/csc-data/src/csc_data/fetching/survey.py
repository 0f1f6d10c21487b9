"""Asking buckets, many questions at a time: what planning shares."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.fetching.plan import FetchOptions, FetchProgress, FileGroup, Progress
from csc_data.fetching.presence import is_present, md5_of, md5_of_etag
from csc_data.storage.bucket import Bucket, FetchStopped, RemoteFile
from csc_data.storage.concurrency import map_unordered

T = TypeVar("T")
R = TypeVar("R")

GROUP_METADATA = (".zgroup", ".zattrs")


class Survey:
    """The buckets of one run, what was read of them, and how far planning is.

    Attributes
    ----------
    contents : dict of str to bytes
        Metadata that was read from a bucket, by the file that it goes to.
    md5_matches, md5_differs : int
        How many of these had the MD5 sum that their ETag names, and how many had not.
    """

    def __init__(self, config: Config, options: FetchOptions, progress: Progress | None, stop: threading.Event) -> None:
        self.config, self.options, self.stop = config, options, stop
        self.contents: dict[str, bytes] = {}
        self.md5_matches = self.md5_differs = 0
        self._progress = progress
        self._asked = self._answered = 0
        self._buckets: dict[str, Bucket] = {}

    def bucket(self, name: str) -> Bucket:
        """Return a bucket by its name."""
        if name not in self._buckets:
            self._buckets[name] = Bucket(
                name, endpoint=self.config.endpoint, retries=self.options.retries, stop=self.stop
            )
        return self._buckets[name]

    def ask(self, work: Callable[[T], R], questions: Iterable[T]) -> dict[T, R]:
        """Call ``work`` for each question, many at a time, and return the answers by question.

        Raises
        ------
        FetchStopped
            If the run was stopped meanwhile.
        """
        items = list(dict.fromkeys(questions))
        self._asked += len(items)
        answers: dict[T, R] = {}
        for question, answer in map_unordered(work, items, workers=self.options.workers, stop=self.stop):
            answers[question] = answer
            self._answered += 1
            if self._progress:
                self._progress(FetchProgress(phase="listing", done=self._answered, total=self._asked))
        if len(answers) < len(items):
            raise FetchStopped("stopped")
        return answers

    def read_json(self, group: FileGroup, name: str) -> Any:
        """Return what a JSON file of a group holds; None where the bucket has no such file.

        It is read from disk where that is the file of the bucket, else from the bucket, and kept for writing.

        Raises
        ------
        UnreadableDataError
            If it cannot be read, or is no JSON object.
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
        if self.options.access_mode == "append" and is_present(path, file, checksums=True):
            with open(path, "rb") as stream:  # noqa: PTH123
                body = stream.read()
        else:
            body = _read_twice(group, file) if expected else bytes(group.bucket.read(group.key(file)))
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
        body = bytes(group.bucket.read(group.key(file)))
        if md5_of(body) == md5_of_etag(file.etag) or body == before:
            return body
        before = body
