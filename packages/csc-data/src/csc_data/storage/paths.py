"""Text that names a place: a local path, also a Windows one, or a URL."""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath

# One letter before the colon is a drive, `C:/data`, not a scheme.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def is_remote(path: str | os.PathLike[str]) -> bool:
    r"""Tell whether the path is a URL that needs fsspec.

    >>> is_remote("s3://bucket/x.zarr"), is_remote("C://data/x.zarr"), is_remote(r"C:\data\x.zarr")
    (True, False, False)
    """
    return _URL.match(os.fspath(path)) is not None


def join(path: str | os.PathLike[str], *parts: str) -> str:
    r"""Join parts to a local path or to a URL.

    Of a URL that names a file within another (``zip://x.zarr::s3://bucket/x.zip``) the inner path grows. A path with a
    drive letter is one of Windows wherever this runs.

    >>> join("zip://x.zarr::s3://bucket/x.zip", "s0")
    'zip://x.zarr/s0::s3://bucket/x.zip'
    >>> join(r"C:\data\x.zarr", "recon-1/em")
    'C:\\data\\x.zarr\\recon-1\\em'
    """
    base = os.fspath(path)
    if is_remote(base):
        inner, chained, outer = base.partition("::")
        if "://" not in inner:  # zip::s3://...: the whole of the archive
            inner += "://"
        stem = inner if inner.endswith("://") else inner.rstrip("/")
        words = [part.strip("/") for part in parts if part.strip("/")]
        joined = "/".join([stem, *words]) if not stem.endswith("://") else stem + "/".join(words)
        return joined + chained + outer
    if _WINDOWS.match(base):
        return str(PureWindowsPath(base, *parts))
    return str(Path(base, *parts))
