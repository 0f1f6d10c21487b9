"""The organisers' manifests, read again: what changed in the challenge since this package was released.

The facts in the package hold without a network. `refresh_manifests` reads the organisers' lists over https into the
user's cache folder, and from then on they are used instead; deleting the folder (`cache_folder`) goes back. The
addresses can be changed by environment variables, as in the official tools.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csc_data.challenge.annotated_crops import read_crop_places
from csc_data.challenge.current_lists import (
    MANIFEST_FILES,
    CachedManifest,
    ManifestName,
    cache_folder,
    cached_manifest,
    origin_file,
)
from csc_data.challenge.facts import get_storage
from csc_data.challenge.test_crops import read_test_crops
from csc_data.challenge.zip_places import read_zip_places
from csc_data.errors import CscError, InvalidArgumentError, ProblemsError
from csc_data.storage.atomic import replace_text

_LARGEST_BYTES = 20_000_000  # the list of 289 crops has 60 kB
_SECONDS = 30
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}

_VARIABLES: Mapping[ManifestName, str] = {
    "crops": "CSC_FETCH_DATA_MANIFEST_URL",
    "test_crops": "CSC_TEST_CROP_MANIFEST_URL",
    "zips": "CSC_FETCH_ZIP_DATA_MANIFEST_URL",
}
"""What the official tools call the addresses of the lists."""

_READERS: Mapping[ManifestName, Callable[[Path], Sized]] = {
    "crops": read_crop_places,
    "test_crops": read_test_crops,
    "zips": read_zip_places,
}


class RefreshError(CscError, ConnectionError):
    """A manifest could not be read from the network; what was cached before stays."""


def manifest_url(name: ManifestName, environ: Mapping[str, str] | None = None) -> str:
    """Return the address of a manifest: that of the environment, else the organisers'.

    Examples
    --------
    >>> manifest_url("crops", environ={}).rpartition("/")[2]
    'manifest.csv'
    """
    given = (os.environ if environ is None else environ).get(_VARIABLES[name])
    return given or get_storage()["manifest_base"] + MANIFEST_FILES[name]


def refresh_manifests(
    *, environ: Mapping[str, str] | None = None, context: ssl.SSLContext | None = None
) -> tuple[CachedManifest, ...]:
    """Read the organisers' manifests from the network into the user's cache.

    Parameters
    ----------
    environ : mapping, optional
        Where CSC_FETCH_DATA_MANIFEST_URL, CSC_TEST_CROP_MANIFEST_URL and CSC_FETCH_ZIP_DATA_MANIFEST_URL are looked
        up; the environment of the process by default.
    context : ssl.SSLContext, optional
        Trust other certificates than those of the system.

    Returns
    -------
    tuple of CachedManifest

    Raises
    ------
    RefreshError
        If one cannot be read.
    ProblemsError
        If one is damaged. In both cases all that was cached before stays.
    InvalidArgumentError
        If an address is not https.
    """
    urls = {name: manifest_url(name, environ) for name in MANIFEST_FILES}
    texts = {name: _download(url, context) for name, url in urls.items()}
    counts = {name: _count_entries(name, urls[name], text) for name, text in texts.items()}
    # Only now that all are read and understood does any replace another.
    for name, file_name in MANIFEST_FILES.items():
        replace_text(cache_folder() / file_name, texts[name])
        origin = {"url": urls[name], "read_at": time.time(), "entries": counts[name]}
        replace_text(origin_file(cache_folder() / file_name), json.dumps(origin))
    found = (cached_manifest(name) for name in MANIFEST_FILES)
    return tuple(manifest for manifest in found if manifest is not None)


def _count_entries(name: ManifestName, url: str, text: str) -> int:
    """Return how many entries a manifest has, as it will be read later."""
    trial = cache_folder() / f"{MANIFEST_FILES[name]}.{os.getpid()}.trial"
    replace_text(trial, text)
    try:
        return len(_READERS[name](trial))
    except ProblemsError as error:
        raise ProblemsError(url, error.problems) from error
    finally:
        trial.unlink(missing_ok=True)


class _OnlySafe(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow a redirection, but not away from https."""
        try:
            _check_address(newurl)
        except InvalidArgumentError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if host is None or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise InvalidArgumentError(f"the address of a manifest must begin with https://, got {url!r}")


def _download(url: str, context: ssl.SSLContext | None) -> str:
    _check_address(url)
    tls = urllib.request.HTTPSHandler(context=context or ssl.create_default_context())
    handlers: list[Any] = [tls, _OnlySafe()]
    if urlsplit(url).hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"User-Agent": "csc-data"})  # noqa: S310 (checked above)
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_SECONDS) as answer:
            body: bytes = answer.read(_LARGEST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise RefreshError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # urllib's own are OSErrors
        reason = getattr(error, "reason", error)
        raise RefreshError(f"{url} cannot be read: {reason}; the facts known before hold") from error
    if len(body) > _LARGEST_BYTES:
        raise RefreshError(f"{url} is larger than {_LARGEST_BYTES // 10**6} MB, so it is not a manifest")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefreshError(f"{url} is not text in UTF-8: {error}") from error
