"""Download one large file: over verified TLS, resumed where it was cut, and whole before it has its name."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from csc_models.errors import DownloadError

logger = logging.getLogger(__name__)

ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes that are there, and how many there will be (None if the server does not say)."""

_PIECE = 1 << 20
_TIMEOUT_S = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)


class _InterruptedError(Exception):
    """The connection failed in a way that may pass."""


class _RefusedError(Exception):
    """Trying again will not help."""


@dataclass(kw_only=True)
class Download:
    """A file that is being fetched.

    Attributes
    ----------
    url : str
        Its address: https, or http of this machine.
    target : Path
        Where it goes; the folder exists.
    size, sha256
        What it must have, where that is known.
    progress : callable, optional
        Called after each megabyte.
    attempts : int
        How often in a row nothing may arrive before it is given up.
    pause_s : float
        Seconds before the second attempt; doubled for each next one.
    """

    url: str
    target: Path
    size: int | None = None
    sha256: str | None = None
    progress: ProgressCallback | None = None
    attempts: int = 5
    pause_s: float = 1.0
    _md5: str | None = field(default=None, init=False)

    @property
    def part(self) -> Path:
        """What has arrived so far."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def validator(self) -> Path:
        """The server's mark of the version that `part` is of."""
        return self.target.with_name(f"{self.target.name}.part.etag")

    def run(self) -> None:
        """Fetch the file, going on with what an earlier run left.

        Raises
        ------
        DownloadError
            It cannot be fetched, or is not what it should be; what arrived is kept for the next run.
        OSError
            The disk is full, or not writable.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise DownloadError(f"{self.url} is not an https address; weights are not fetched without encryption")
        try:
            self._fetch()
        except _RefusedError as error:
            raise DownloadError(self._advice(str(error))) from error
        self._check()
        self.part.replace(self.target)
        self.validator.unlink(missing_ok=True)

    def _fetch(self) -> None:
        """Try until everything is there, or nothing more comes."""
        failures = 0
        while True:
            before = self._arrived()
            try:
                self._continue(before)
            except _InterruptedError as error:
                failures = 1 if self._arrived() > before else failures + 1
                if failures >= self.attempts:
                    raise _RefusedError(str(error)) from error
                logger.info("%s: %s; trying again", self.url, error)
                time.sleep(self.pause_s * 2 ** (failures - 1))
            else:
                return

    def _continue(self, begin: int) -> None:
        """Ask for the bytes from `begin` on, and append what comes."""
        headers = {"User-Agent": "csc-models", "Accept-Encoding": "identity"}
        mark = self.validator.read_text(encoding="ascii") if begin and self.validator.is_file() else ""
        if mark:
            headers |= {"Range": f"bytes={begin}-", "If-Range": mark}
        try:
            response = _opener(self.url).open(urllib.request.Request(self.url, headers=headers), timeout=_TIMEOUT_S)  # noqa: S310 - the scheme was checked
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
            return
        except (OSError, http.client.HTTPException) as error:
            raise _classify(error) from error
        with response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            if resumed and not str(response.headers.get("Content-Range")).startswith(f"bytes {begin}-"):
                self._forget()
                raise _InterruptedError("the server sent another part than was asked for")
            self._md5 = _md5_of(response.headers)
            done = begin if resumed else 0
            length = response.headers.get("Content-Length")
            total = None if length is None else done + int(length)
            if not resumed:
                mark = response.headers.get("ETag", "")
                self.part.write_bytes(b"")
                self.validator.write_text("" if mark.startswith("W/") else mark, encoding="ascii")
            with self.part.open("ab") as file:
                done = self._receive(response, file, done, total)
                file.flush()
                os.fsync(file.fileno())
        if total is not None and done < total:
            raise _InterruptedError(f"the connection was cut after {done:,} of {total:,} bytes")

    def _receive(self, response: Any, file: IO[bytes], done: int, total: int | None) -> int:
        while True:
            try:
                piece = response.read(_PIECE)
            except (OSError, http.client.HTTPException) as error:
                raise _classify(error) from error
            if not piece:
                return done
            file.write(piece)
            done += len(piece)
            if self.progress:
                self.progress(done, total)

    def _refused(self, error: urllib.error.HTTPError) -> None:
        """Decide what an answer other than the file means."""
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            arrived = self._arrived()
            if str(error.headers.get("Content-Range")) == f"bytes */{arrived}":
                self._md5 = _md5_of(error.headers)
                return  # everything is there
            self._forget()
            raise _InterruptedError(f"the server's file has no byte {arrived:,}")
        kind = _InterruptedError if error.code in _TEMPORARY else _RefusedError
        raise kind(f"the server says {error.code} {error.reason}")

    def _check(self) -> None:
        """Compare what arrived with what is known about it."""
        size = self._arrived()
        if self.size is not None and size != self.size:
            self._forget()
            raise DownloadError(self._advice(f"it has {size:,} bytes instead of {self.size:,}"))
        for algorithm, expected in (("sha256", self.sha256), ("md5", self._md5)):
            if expected is None:
                continue
            with self.part.open("rb") as file:
                found = hashlib.file_digest(file, algorithm).hexdigest()
            if found != expected:
                self._forget()
                raise DownloadError(self._advice(f"its {algorithm} is {found} instead of {expected}"))

    def _arrived(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)

    def _advice(self, reason: str) -> str:
        arrived = self._arrived()
        kept = f" ({arrived:,} bytes are kept; the next try goes on from there)" if arrived else ""
        return (
            f"cannot download {self.url}: {reason}{kept}; without a connection, fetch it elsewhere and put it at "
            f"{self.target}"
        )


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not to addresses without encryption."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise _RefusedError(f"the server redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        _NoDowngrade(),
    ]
    if urlsplit(url).hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))  # no proxy stands between this machine and itself
    return urllib.request.build_opener(*handlers)


def _classify(error: Exception) -> _InterruptedError | _RefusedError:
    """Tell failures that may pass from those that stay: no network, no such host, a certificate that is not trusted."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _RefusedError(f"the server's certificate cannot be verified ({reason.verify_message})")
    if isinstance(reason, socket.gaierror):
        return _RefusedError(f"its host is not found, or there is no connection ({reason.strerror})")
    if isinstance(reason, (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)):
        return _InterruptedError(f"{type(reason).__name__}: {reason}")
    return _RefusedError(f"{type(reason).__name__}: {reason}")


def _md5_of(headers: Any) -> str | None:
    """Return the MD5 that S3 gives as ETag, for files that were put there in one piece and without KMS keys."""
    mark = str(headers.get("ETag", "")).strip('"')
    is_md5 = headers.get("Server") == "AmazonS3" and re.fullmatch(r"[0-9a-f]{32}", mark)
    encrypted = str(headers.get("x-amz-server-side-encryption", "AES256")) != "AES256"
    return mark if is_md5 and not encrypted else None
