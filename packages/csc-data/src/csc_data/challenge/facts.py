"""The facts that the organisers published, as they lie in this package: classes, and where the data is.

They stand in ``challenge.toml``; crops and archives have tables of their own. Nothing here needs a network.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


@functools.cache
def facts() -> Mapping[str, Any]:
    """Return the tables of the facts by name.

    Examples
    --------
    >>> sorted(facts())
    ['classes', 'storage']
    """
    text = Path(__file__).with_name("challenge.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


@functools.cache
def get_storage() -> Mapping[str, str]:
    """Return where the organisers keep the data.

    Returns
    -------
    mapping
        ``bucket`` (public, on S3), in it ``raw`` with ``{dataset}``, ``groundtruth`` with ``{dataset}``, ``{id}`` and
        ``{label}``; and ``manifest_base``, the address that names of manifests are appended to.

    Examples
    --------
    >>> get_storage()["bucket"]
    'janelia-cosem-datasets'
    """
    return MappingProxyType(dict(facts()["storage"]))
