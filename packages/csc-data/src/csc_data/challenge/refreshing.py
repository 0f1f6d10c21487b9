"""The organisers' manifests, read again: what changed in the challenge since this package was released.

The facts in the package hold without a network. `refresh_manifests` reads the organisers' lists over https into the
user's cache folder, and from then on they are used instead; deleting the folder (`cache_folder`) goes back. The
addresses can be changed by environment variables, as in the official tools.
"""

from __future__ import annotations

import csv
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csc_data.challenge.cached_lists import (
    MANIFEST_FILES,
    CachedManifest,
    ManifestName,
    cache_folder,
    cached_manifest,
    origin_file,
)
from csc_data.challenge.facts import get_storage
from csc_data.challenge.test_crops import read_manifest
from csc_data.challenge.training_crops import read_crop_manifest, split_url
from csc_data.errors import CscError, InvalidArgumentError, Problem, ProblemsError
from csc_data.storage.atomic import replace_text

_LARGEST_BYTES = 20_000_000  # the list of 289 crops has 60 kB
_SECONDS = 30
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    file: str
    variable: str
    count: Callable[[Path], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipPlace:
    """An archive of the organisers: whether it holds all resolutions, the padding of the raw in voxels, its URL."""

    all_resolutions: bool
    padding: int
    url: str


class RefreshError(CscError, ConnectionError):
    """A manifest could not be read from the network; what was cached before stays."""


def manifest_url(name: ManifestName, environ: Mapping[str, str] | None = None) -> str:
    """Return the address of a manifest: that of the environment, else the organisers'."""
    kind = _KINDS[name]
    given = (os.environ if environ is None else environ).get(kind.variable)
    return given or get_storage()["manifest_base"] + kind.file


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
    folder = cache_folder()
    texts = {name: _download(manifest_url(name, environ), context) for name in _KINDS}
    counts = {name: _check(folder, kind, texts[name]) for name, kind in _KINDS.items()}
    # Only now that all are read and understood does any replace another.
    for name, kind in _KINDS.items():
        replace_text(folder / kind.file, texts[name])
        origin = {"url": manifest_url(name, environ), "read_at": time.time(), "entries": counts[name]}
        replace_text(origin_file(folder / kind.file), json.dumps(origin))
    found = (cached_manifest(name) for name in _KINDS)
    return tuple(manifest for manifest in found if manifest is not None)


def read_zip_manifest(path: Path) -> tuple[ZipPlace, ...]:
    """Read the list of archives: columns all_res, raw_padding, file, url.

    Raises
    ------
    ProblemsError
        If it is damaged.
    """
    places, problems = [], []
    with path.open(newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.DictReader(stream, skipinitialspace=True), start=2):
            try:
                split_url(row["url"])
                place = ZipPlace(
                    all_resolutions={"True": True, "False": False}[row["all_res"].strip()],
                    padding=int(row["raw_padding"]),
                    url=row["url"].strip(),
                )
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                problems.append(Problem(where=f"row {number}", what=str(error)))
            else:
                places.append(place)
    if not places and not problems:
        problems.append(Problem(where="file", what="lists no archives"))
    if problems:
        raise ProblemsError(str(path), problems)
    return tuple(places)


_KINDS: Mapping[ManifestName, _Kind] = {
    "crops": _Kind(
        file=MANIFEST_FILES["crops"],
        variable="CSC_FETCH_DATA_MANIFEST_URL",
        count=lambda path: len(read_crop_manifest(path)),
    ),
    "test_crops": _Kind(
        file=MANIFEST_FILES["test_crops"],
        variable="CSC_TEST_CROP_MANIFEST_URL",
        count=lambda path: len(read_manifest(path)),
    ),
    "zips": _Kind(
        file=MANIFEST_FILES["zips"],
        variable="CSC_FETCH_ZIP_DATA_MANIFEST_URL",
        count=lambda path: len(read_zip_manifest(path)),
    ),
}


def _check(folder: Path, kind: _Kind, text: str) -> int:
    """Return how many entries a manifest has, as it will be read later."""
    trial = folder / f"{kind.file}.{os.getpid()}.trial"
    replace_text(trial, text)
    try:
        return kind.count(trial)
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
        raise RefreshError(f"{url} is larger than {_LARGEST_BYTES // 10**6} MB, so it is no manifest")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefreshError(f"{url} is no text in UTF-8: {error}") from error
