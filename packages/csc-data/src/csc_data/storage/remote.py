"""URLs: the file system behind one, its options, retries, errors in our words; all that is remote goes through here.

- ``storage_options(url, endpoint=None)`` gives what fsspec needs: ``s3://`` is anonymous, unless fsspec's own
  configuration (``FSSPEC_S3='{"key": ..., "secret": ...}'``, ``FSSPEC_S3_ENDPOINT_URL=...``, files in
  ``~/.config/fsspec``) has credentials. The endpoint is that of the argument, else of fsspec's configuration, else
  Amazon's; who knows the user's configuration passes its own (`csc_data.config.user_config.choose_endpoint`).
- ``open_filesystem(url)`` gives ``(filesystem, path)``. Ask for it again in each process and do not keep it in what is
  pickled: fsspec's are not for use after a fork, but asking is cheap, it keeps one per process and options.
- ``attempt(url, call)`` calls what may fail: waits and retries where that can help, then raises ours.
- ``read_file(url)``, ``read_files(urls)``, ``stream_files(urls)`` and ``list_names(url)`` do all of it; many files are
  read concurrently.

Raised are `MissingDataError` (no such bucket, key or file: sure not to be there) and `UnreadableDataError` (access
denied, no connection, time-outs, a server that fails: nobody knows what is there).
"""

from __future__ import annotations

import errno
import functools
import os
import queue
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from csc_data.errors import CscError, MissingBucketError, MissingDataError, UnreadableDataError

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

CONNECTIONS = 64
"""Most requests that are under way at once; botocore's own default of 10 connections leaves a fast line idle."""

_SECRETS = {"anon", "key", "secret", "token", "username", "password", "profile", "session"}
_CONNECT_SECONDS, _READ_SECONDS = 10, 30
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_PERMANENT_ERRNO = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a request is made, and how long is waited in between: twice as long each time, with jitter.

    Attributes
    ----------
    attempts : int
        At least 1.
    first_wait : float
        Seconds, about, before the second attempt.

    Examples
    --------
    >>> len(list(Retries(attempts=3).waits()))
    2
    """

    attempts: int = 5
    first_wait: float = 0.2

    def waits(self) -> Iterator[float]:
        """Give the seconds to wait before each further attempt."""
        for number in range(self.attempts - 1):
            # Jitter keeps those who failed together from coming back together.
            yield self.first_wait * 2**number * random.uniform(0.5, 1.5)  # noqa: S311


DEFAULT_RETRIES = Retries()


def storage_options(url: str, *, endpoint: str | None = None) -> dict[str, Any]:
    """Return the options with which fsspec opens a URL.

    Parameters
    ----------
    url : str
        Of chained URLs (``zip://x.zarr::s3://...``) the last part says where the data lies.
    endpoint : str, optional
        Address of the S3 service.

    Returns
    -------
    dict
        For chained URLs by protocol, as `fsspec.core.url_to_fs` takes them. They switch the client's own retries off,
        as `attempt` and `read_files` have theirs.
    """
    protocol = url.rpartition("::")[2].partition("://")[0]
    if protocol not in {"s3", "s3a"}:
        return {}
    given = {**fsspec_config("s3"), **fsspec_config("s3a")}
    client = dict(given.get("client_kwargs", {}))
    options: dict[str, Any] = {}
    if not _SECRETS & given.keys() and not any(name.startswith("aws_") for name in client):
        options["anon"] = True
    if endpoint:
        options["endpoint_url"] = endpoint
        if client.pop("endpoint_url", None):
            options["client_kwargs"] = client
    options["max_concurrency"] = 1  # of parts of one file: with more, s3fs asks for the size before each read
    options["config_kwargs"] = {
        "max_pool_connections": CONNECTIONS,
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "retries": {"mode": "standard", "total_max_attempts": 1},
        **given.get("config_kwargs", {}),
    }
    return {protocol: options} if "::" in url else options


def fsspec_config(protocol: str) -> dict[str, Any]:
    """Return what fsspec's configuration says of a protocol; fsspec is imported only where there is one."""
    folder = os.path.expanduser("~/.config/fsspec")  # noqa: PTH111 (Path.home can fail)
    given = "fsspec" in sys.modules or any(name.startswith("FSSPEC_") for name in os.environ)
    if not given and not os.path.isdir(folder):  # noqa: PTH112
        return {}
    from fsspec.config import conf

    return dict(conf.get(protocol, {}))


def open_filesystem(url: str, *, endpoint: str | None = None) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, for this process, and the path within it.

    Raises
    ------
    UnreadableDataError
        If there is no such protocol, or what it needs is not installed, or an archive cannot be opened.

    Examples
    --------
    >>> files, path = open_filesystem("memory://example/a")
    >>> path
    '/example/a'
    """
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(url, **storage_options(url, endpoint=endpoint))
    except ImportError as error:
        raise UnreadableDataError(f"{url}: its protocol needs a package that is not installed: {error}") from error
    except (ValueError, OSError) as error:
        raise _translated(url, error) from error
    if hasattr(files, "retries"):  # s3fs; see storage_options
        files.retries = 1
    return files, str(path)


def attempt(url: str, call: Callable[[], T], *, retries: Retries | None = None) -> T:
    """Call what asks a file system, again after errors that may pass.

    Parameters
    ----------
    url : str
        What is asked for; for messages.
    call : callable
        Without arguments.
    retries : Retries, optional
        `DEFAULT_RETRIES` by default.

    Raises
    ------
    MissingDataError
        If it is not there.
    UnreadableDataError
        If nobody can tell, after all attempts.

    Examples
    --------
    >>> answers = iter([ConnectionResetError("reset"), None])
    >>> def ask():
    ...     answer = next(answers)
    ...     if answer is not None:
    ...         raise answer
    ...     return "content"
    >>> attempt("s3://bucket/a", ask, retries=Retries(attempts=2, first_wait=0.0))
    'content'
    """
    retries = retries or DEFAULT_RETRIES
    waits = retries.waits()
    while True:
        try:
            return call()
        except _failures() as error:
            wait = next(waits, None) if _may_pass(error) else None
            if wait is None:
                raise _translated(url, error, retries.attempts) from error
        time.sleep(wait)


def read_file(url: str, *, endpoint: str | None = None, retries: Retries | None = None) -> bytes:
    """Return the content of the file at a URL.

    Raises
    ------
    MissingDataError
        If it is not there.
    UnreadableDataError
        If it cannot be read.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/example/a", b"1234")
    >>> read_file("memory://example/a")
    b'1234'
    """
    (content,) = read_files([url], endpoint=endpoint, retries=retries)
    if content is None:
        raise MissingDataError(f"{url} does not exist")
    return content


def read_files(
    urls: Sequence[str], *, endpoint: str | None = None, retries: Retries | None = None
) -> list[bytes | None]:
    """Return the content of files on one file system, read concurrently where it can be.

    Returns
    -------
    list
        In the order of the URLs; None for those that are not there.

    Raises
    ------
    UnreadableDataError
        If one cannot be read.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/example/a", b"1234")
    >>> read_files(["memory://example/a", "memory://example/b"])
    [b'1234', None]
    """
    contents: list[bytes | None] = [None] * len(urls)
    for number, content in stream_files(urls, endpoint=endpoint, retries=retries):
        contents[number] = content
    return contents


def stream_files(
    urls: Sequence[str],
    *,
    endpoint: str | None = None,
    retries: Retries | None = None,
    parts: Sequence[tuple[int, int | None]] | None = None,
) -> Iterator[tuple[int, bytes | None]]:
    """Give the content of files on one file system as it arrives: its number among the URLs, and the bytes or None.

    At most `CONNECTIONS` files are under way or waiting to be taken, so that a slow taker does not fill the memory.
    Where ``parts`` are given, only the bytes from the first to before the last are asked for; a first one below 0
    counts from the end.

    Raises
    ------
    UnreadableDataError
        If one cannot be read.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/example/a", b"1234")
    >>> list(stream_files(["memory://example/a"], parts=[(1, 3)]))
    [(0, b'23')]
    """
    if not urls:
        return
    retries = retries or DEFAULT_RETRIES
    files, first = open_filesystem(urls[0], endpoint=endpoint)
    paths = [first, *(str(files._strip_protocol(url.partition("::")[0])) for url in urls[1:])]
    wanted: Sequence[tuple[int | None, int | None]] = parts or [(None, None)] * len(urls)
    places = list(zip(urls, paths, wanted, strict=True))
    if getattr(files, "async_impl", False):
        yield from _stream_concurrently(files, places, retries)
        return
    for number, place in enumerate(places):
        yield number, _read_one(files, place, retries)


_Place = tuple[str, str, tuple[int | None, int | None]]
"""URL, path in its file system, and the part that is asked for."""


def _read_one(files: Any, place: _Place, retries: Retries) -> bytes | None:
    url, path, part = place
    try:
        return attempt(url, lambda: bytes(files.cat_file(path, *part)), retries=retries)
    except (MissingDataError, KeyError):  # what older archives of fsspec raise
        return None


def _stream_concurrently(files: Any, places: list[_Place], retries: Retries) -> Iterator[tuple[int, bytes | None]]:
    """Read on the event loop of the file system, in its thread, and hand over to this one."""
    import asyncio

    arrived: queue.SimpleQueue[tuple[int, asyncio.Task[bytes | None]] | None] = queue.SimpleQueue()
    free = asyncio.Semaphore(CONNECTIONS)

    def hand_over(number: int, task: asyncio.Task[bytes | None]) -> None:
        if not task.cancelled():
            task.exception()  # after a first error nobody may look at the second, and asyncio would complain
        arrived.put((number, task))

    async def read_all() -> None:
        tasks: set[asyncio.Task[bytes | None]] = set()
        try:
            for number, place in enumerate(places):
                await free.acquire()  # given back when the content is taken
                task = asyncio.create_task(_read_soon(files, place, retries))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                task.add_done_callback(functools.partial(hand_over, number))
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()

    running = asyncio.run_coroutine_threadsafe(read_all(), files.loop)
    running.add_done_callback(lambda _: arrived.put(None))
    try:
        for _ in places:
            item = arrived.get()
            if item is None:  # it ended before every file was there
                running.result()
                raise UnreadableDataError(f"{places[0][0]} and others: reading was broken off")
            number, task = item
            content = task.result()
            files.loop.call_soon_threadsafe(free.release)
            yield number, content
    finally:
        running.cancel()


async def _read_soon(files: Any, place: _Place, retries: Retries) -> bytes | None:
    import asyncio

    url, path, (begin, end) = place
    waits = retries.waits()
    while True:
        try:
            return bytes(await files._cat_file(path, start=begin, end=end))
        except FileNotFoundError as error:
            if _is_missing_bucket(error):
                raise _translated(url, error) from error
            return None
        except _failures() as error:
            wait = next(waits, None) if _may_pass(error) else None
            if wait is None:
                raise _translated(url, error, retries.attempts) from error
        await asyncio.sleep(wait)


def list_names(url: str, *, endpoint: str | None = None, retries: Retries | None = None) -> tuple[str, ...]:
    """Return the names of the files and folders right below a URL, sorted.

    Raises
    ------
    MissingDataError
        If there is nothing.
    UnreadableDataError
        If the place cannot be listed, as many servers of files over https cannot.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/names/a/0", b"1234")
    >>> list_names("memory://names")
    ('a',)
    """
    files, path = open_filesystem(url, endpoint=endpoint)

    def names() -> tuple[str, ...]:
        # Listings are cached by fsspec; who asks again wants to know how it is now.
        entries = files.ls(path, detail=False, refresh=True) if hasattr(files, "s3") else files.ls(path, detail=False)
        found = {
            str(entry).rstrip("/").rpartition("/")[2] for entry in entries if str(entry).strip("/") != path.strip("/")
        }
        return tuple(sorted(found))

    return attempt(url, names, retries=retries)


def _failures() -> tuple[type[Exception], ...]:
    """Return what file systems raise; classes of packages that are not imported cannot have been raised."""
    found: list[type[Exception]] = [OSError]  # TimeoutError, also asyncio's, is one
    for module, names in (
        ("aiohttp", ("ClientError",)),
        ("botocore.exceptions", ("BotoCoreError", "ClientError", "HTTPClientError")),
    ):
        found += [getattr(sys.modules[module], name) for name in names if module in sys.modules]
    return tuple(found)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, CscError | FileNotFoundError | PermissionError):
        return False
    status = getattr(error, "status", None)  # aiohttp's answers of servers have one
    if isinstance(status, int) and status:
        return status in _TRANSIENT_STATUS
    if type(error).__name__ in {"NoCredentialsError", "ParamValidationError", "InvalidURL", "ProfileNotFound"}:
        return False
    return getattr(error, "errno", None) not in _PERMANENT_ERRNO


def _is_missing_bucket(error: Exception) -> bool:
    """Tell whether s3fs found no bucket: botocore's error, with the code of the answer, is the cause of its own."""
    response = getattr(error.__cause__, "response", {})
    return bool(response.get("Error", {}).get("Code") == "NoSuchBucket")


def _translated(url: str, error: Exception, attempts: int = 1) -> CscError:
    """Return our error for one of a file system."""
    if isinstance(error, CscError):
        return error
    if isinstance(error, FileNotFoundError):
        if _is_missing_bucket(error):
            return MissingBucketError(f"{url} does not exist: there is no such bucket")
        return MissingDataError(f"{url} does not exist")
    status = getattr(error, "status", None)
    if isinstance(error, PermissionError) or status in {401, 403}:
        return UnreadableDataError(
            f"{url}: access denied ({error}); credentials come from fsspec's configuration, "
            'for example FSSPEC_S3=\'{"key": "...", "secret": "..."}\''
        )
    tried = f" after {attempts} attempts" if _may_pass(error) and attempts > 1 else ""
    if isinstance(error, ConnectionError) or "Connect" in type(error).__name__:
        return UnreadableDataError(f"{url}: no connection{tried}: {error}")
    words = str(error) or type(error).__name__
    return UnreadableDataError(f"{url} cannot be read{tried}: {words}")


def _after_fork() -> None:
    """Let fsspec start a new event loop: the thread of the parent's does not run here. Newer ones do it themselves."""
    asyn = sys.modules.get("fsspec.asyn")
    if asyn is not None:
        asyn.reset_lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
