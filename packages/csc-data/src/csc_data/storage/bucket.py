"""One bucket: what is in it, and the bytes of an object; waits and tries again where that can help.

Requests go through obstore (object_store in Rust): a file costs a third of the processor time that it costs through
s3fs (``benchmarks/fetch.py``). Options and credentials are those of `csc_data.storage.remote`.
"""

from __future__ import annotations

import os
import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import obstore
import obstore.exceptions
import obstore.store

from csc_data.errors import CscError, InvalidArgumentError, MissingBucketError, MissingDataError, UnreadableDataError
from csc_data.storage.remote import Retries, fsspec_config, storage_options

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RETRIES = Retries(attempts=8)
"""About 25 s of waiting in all: long enough for a server that says "slow down", short enough for a broken line."""

_FIRST_CONTACT = 3  # attempts while nothing was ever answered: a misspelt address is told soon
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_LONGEST_REQUEST = timedelta(hours=6)  # a large body on a slow line; what stands still is caught by the read time-out
_LISTED_ATTEMPTS = 3  # for an object that was listed and is not there: listings of S3 services can be ahead
_TRANSIENT_4XX = {"408", "425", "429"}
_PAGE = 1000


class FetchStopped(CscError):  # noqa: N818 (nothing went wrong)
    """The work was stopped, by the user or because it cannot go on."""


class RemoteFile(NamedTuple):
    """An object below a prefix: its name there, size in bytes, time of change (seconds since 1970), and ETag."""

    name: str
    size: int
    modified: float
    etag: str


class Bucket:
    """A bucket of an S3 service, for reading, from any number of threads.

    Parameters
    ----------
    name : str
        Of the bucket.
    endpoint : str
        Address of the service; "" is what fsspec's configuration says, else Amazon's.
    retries : Retries
        How often a request is made.
    stop : threading.Event, optional
        When it is set, nobody waits for a further attempt.

    Raises
    ------
    InvalidArgumentError
        If the endpoint is not an address, or the name is not a name.
    """

    def __init__(
        self, name: str, *, endpoint: str = "", retries: Retries = RETRIES, stop: threading.Event | None = None
    ) -> None:
        self.name = name
        self.retries = retries
        self.stop = stop or threading.Event()
        self._answered = False
        config = _store_config(name, endpoint)
        self.address = config.get("endpoint") or "https://s3.amazonaws.com"
        try:
            self._store: Any = obstore.store.S3Store(
                name,
                client_options={
                    "allow_http": self.address.startswith("http://"),
                    "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                    "read_timeout": timedelta(seconds=_READ_SECONDS),
                    "timeout": _LONGEST_REQUEST,
                },
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=_READ_SECONDS)},
                **config,
            )
        except obstore.exceptions.BaseError as error:
            raise InvalidArgumentError(f"the bucket {name!r} cannot be used: {_first_line(error)}") from error

    def url(self, key: str = "") -> str:
        """Return the address of a key, for people.

        Examples
        --------
        >>> Bucket("janelia-cosem-datasets").url("jrc_hela-2")
        's3://janelia-cosem-datasets/jrc_hela-2'
        """
        return f"s3://{self.name}/{key}"

    def children(self, folder: str) -> tuple[list[str], list[RemoteFile]]:
        """Return the names of the folders and the files right below a folder."""

        def ask() -> tuple[list[str], list[RemoteFile]]:
            found = obstore.list_with_delimiter(self._store, folder or None)
            start = len(folder) + 1 if folder else 0
            names = [prefix[start:].strip("/") for prefix in found["common_prefixes"]]
            return names, [_remote_file(entry, start) for entry in found["objects"]]

        return self._attempt(folder, ask)

    def files_below(self, folder: str, *, begin: str = "") -> list[RemoteFile]:
        """Return the files anywhere below a folder, in the order of their names.

        Parameters
        ----------
        folder : str
            Without a slash at its end.
        begin : str
            Only those whose names below the folder begin so; S3 starts there, what lies before is not listed.
        """

        def ask() -> list[RemoteFile]:
            start = len(folder) + 1
            offset = f"{folder}/{begin}" if begin else None
            files: list[RemoteFile] = []
            for page in obstore.list(self._store, folder, offset=offset, chunk_size=_PAGE):
                for entry in page:
                    file = _remote_file(entry, start)
                    if not file.name.startswith(begin):
                        return files
                    files.append(file)
                if self.stop.is_set():
                    raise FetchStopped("stopped")
            return files

        return self._attempt(folder, ask)

    def head(self, key: str) -> RemoteFile:
        """Return size and ETag of an object.

        Raises
        ------
        MissingDataError
            If it is not there.
        """
        return self._attempt(key, lambda: _remote_file(obstore.head(self._store, key), 0))

    def read(self, key: str, *, check: Callable[[memoryview], None] | None = None, listed: bool = False) -> memoryview:
        """Return the bytes of an object.

        Parameters
        ----------
        key : str
        check : callable, optional
            Takes the bytes; an `OSError` of it counts as a failed attempt.
        listed : bool
            Whether a listing named it: then it is asked for again where it is not there.

        Raises
        ------
        MissingDataError
            If it is not there.
        UnreadableDataError
            If it cannot be had.
        """

        def ask() -> memoryview:
            body = memoryview(obstore.get(self._store, key).bytes())
            if check is not None:
                check(body)
            return body

        return self._attempt(key, ask, listed=listed)

    def read_range(self, key: str, begin: int, end: int, *, etag: str = "") -> memoryview:
        """Return the bytes from begin to before end; with an ETag, only if the object still has it."""

        def ask() -> memoryview:
            options: dict[str, Any] = {"range": (begin, end)}
            if etag:
                options["if_match"] = etag
            body = memoryview(obstore.get(self._store, key, options=options).bytes())  # type: ignore[arg-type]
            if len(body) != end - begin:
                raise ConnectionError(f"{len(body)} bytes came instead of {end - begin}")
            return body

        return self._attempt(key, ask)

    def _attempt(self, key: str, ask: Callable[[], T], *, listed: bool = False) -> T:
        waits = self.retries.waits()
        tried = 0
        while True:
            if self.stop.is_set():
                raise FetchStopped("stopped")
            tried += 1
            try:
                answer = ask()
            except FileNotFoundError as error:  # what obstore raises for an object that is not there
                if "NoSuchBucket" in str(error):
                    raise self._translated(key, error, tried) from error
                self._answered = True
                wait = next(waits, None)
                if wait is None or not listed or tried >= _LISTED_ATTEMPTS:
                    found = " any more, though the bucket lists it" if listed else ""
                    raise MissingDataError(f"{self.url(key)} does not exist{found}") from error
            except (obstore.exceptions.BaseError, OSError) as error:
                wait = next(waits, None) if _may_pass(error) else None
                hopeless = _is_no_s3(error) or (not self._answered and _is_unreachable(error))
                if wait is None or (hopeless and tried >= _FIRST_CONTACT):
                    raise self._translated(key, error, tried) from error
            else:
                self._answered = True
                return answer
            if self.stop.wait(wait):
                raise FetchStopped("stopped")

    def _translated(self, key: str, error: Exception, tried: int) -> CscError:
        text = str(error)
        if isinstance(error, obstore.exceptions.PreconditionError):
            return UnreadableDataError(f"{self.url(key)} was changed in the bucket meanwhile; start again")
        if "NoSuchBucket" in text:
            return MissingBucketError(
                f"{self.address} has no bucket {self.name!r}; choose with --bucket, --endpoint or `csc config set`"
            )
        if isinstance(error, obstore.exceptions.PermissionDeniedError | obstore.exceptions.UnauthenticatedError):
            return UnreadableDataError(f"{self.url(key)}: access denied by {self.address}")
        times = f" after {tried} attempts" if tried > 1 else ""
        if _is_unreachable(error):
            return UnreadableDataError(
                f"no connection to {self.address}{times}: {_cause(text)}; is the network up, and are the endpoint "
                "and the proxy (HTTPS_PROXY, NO_PROXY) right?"
            )
        if _is_no_s3(error):
            return UnreadableDataError(
                f"{self.address} does not answer as S3 does; is the endpoint right, and does no proxy ask to sign in?"
            )
        if "status code: 301" in text or "PermanentRedirect" in text:
            return UnreadableDataError(f"{self.url()} lies in another region; name it with AWS_REGION")
        return UnreadableDataError(f"{self.url(key)} cannot be read{times}: {_cause(text)}")


def _store_config(name: str, endpoint: str) -> dict[str, Any]:
    """Return the arguments of obstore for what fsspec would use."""
    options = {**fsspec_config("s3"), **storage_options(f"s3://{name}", endpoint=endpoint or None)}
    config: dict[str, Any] = {"skip_signature": bool(options.get("anon"))}
    for ours, theirs in (("key", "access_key_id"), ("secret", "secret_access_key"), ("token", "session_token")):
        if options.get(ours):
            config[theirs] = options[ours]
    address = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
    if address:
        config["endpoint"] = check_endpoint(str(address))
    config["region"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return config


def check_endpoint(address: str) -> str:
    """Return the address of an S3 service without a slash at its end.

    Raises
    ------
    InvalidArgumentError
        If it is not an http(s) address.

    Examples
    --------
    >>> check_endpoint("http://127.0.0.1:9000/")
    'http://127.0.0.1:9000'
    """
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or any(character.isspace() for character in address):
        raise InvalidArgumentError(f"endpoint must be an address like https://s3.example.org:9000, got {address!r}")
    return address.rstrip("/")


def _remote_file(entry: Any, start: int) -> RemoteFile:
    return RemoteFile(entry["path"][start:], entry["size"], entry["last_modified"].timestamp(), entry["e_tag"] or "")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, obstore.exceptions.BaseError) and not isinstance(error, obstore.exceptions.GenericError):
        return False
    status = re.search(r"status code: (\d{3})", str(error))
    return status is None or status[1].startswith("5") or status[1] in _TRANSIENT_4XX


def _is_unreachable(error: Exception) -> bool:
    return "kind: Connect" in str(error)


def _is_no_s3(error: Exception) -> bool:
    return "InvalidListResponse" in str(error)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _cause(text: str) -> str:
    """Return what people understand of obstore's errors, which show all of Rust's layers."""
    status = re.search(r"status code: (\d{3} [A-Za-z ]+)", text)
    if status:
        code = re.search(r"<Code>(\w+)</Code>", text)
        return f"the server says {status[1].strip()}" + (f" ({code[1]})" if code else "")
    for pattern in (r'message: "([^"]+)"', r'error: "([^"]+)"', r"error: (\w+)"):
        found = re.findall(pattern, text)
        if found:
            return str(found[-1])
    if "TimedOut" in text or "kind: Timeout" in text:
        return f"nothing came for {_READ_SECONDS} s"
    return text.splitlines()[0] if text else "no reason given"
