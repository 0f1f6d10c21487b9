"""Listings of the bucket, kept for a day, so that a run that starts again need not list anew.

They lie in the hidden folder ``.csc-listings`` of the data folder, a file for each thing that was asked for. What is on
disk is compared with them each time, so they say nothing of what is fetched, only of what there is to fetch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from csc_data.config.user_config import Config
from csc_data.errors import Problem
from csc_data.fetching.plan import CropPlan, FetchOptions, FetchPlan, FileGroup
from csc_data.fetching.planning.chunk_listing import ChunkLayout
from csc_data.fetching.planning.survey import Survey
from csc_data.fetching.sources import CropSource
from csc_data.storage.atomic import replace_text
from csc_data.storage.bucket import RemoteFile

FOLDER = ".csc-listings"
LONGEST_SECONDS = 24 * 3600
"""Age at which a listing is no longer used."""

_VERSION = 1


def listing_file(config: Config, options: FetchOptions, sources: Sequence[CropSource]) -> Path:
    """Return where the listing for these crops and options is kept."""
    padding = options.raw_reach or options.raw_padding
    asked = (config.endpoint, config.raw, config.labels, padding, options.all_resolutions)
    classes = None if options.classes is None else sorted(options.classes)
    words = repr((_VERSION, asked, classes, sources))
    return config.root / FOLDER / f"{hashlib.blake2b(words.encode(), digest_size=12).hexdigest()}.json"


def write_listing(file: Path, plan: FetchPlan) -> None:
    """Keep what a plan lists, unless something was missing in the bucket; listings that are too old are removed."""
    if plan.missing:
        return
    content = {
        "listed": plan.listed,
        "md5_etags": plan.md5_etags,
        "left_out": [[problem.where, problem.what, problem.remedy] for problem in plan.left_out],
        "crops": [_written(crop, plan.root) for crop in plan.crops],
    }
    with contextlib.suppress(OSError):  # it only saves time
        replace_text(file, json.dumps(content, separators=(",", ":")))
        for other in file.parent.iterdir():
            if time.time() - other.stat().st_mtime > LONGEST_SECONDS:
                other.unlink()


def drop_listing(file: Path) -> None:
    """Forget a listing that proved wrong."""
    with contextlib.suppress(OSError):
        file.unlink()


def read_listing(survey: Survey, sources: Sequence[CropSource], origin: str) -> FetchPlan | None:
    """Return the plan of a listing that is kept, not yet compared; None where there is none, or a new one is wanted."""
    options = survey.options
    if options.relist or options.checksums or options.access_mode == "overwrite":
        return None
    by_id = {source.id: source for source in sources}
    try:
        content = json.loads(listing_file(survey.config, options, sources).read_bytes())
        if not 0 <= time.time() - content["listed"] < LONGEST_SECONDS:
            return None
        return FetchPlan(
            root=survey.config.root,
            crops=tuple(_read(survey, by_id[crop["id"]], crop) for crop in content["crops"]),
            missing=(),
            left_out=tuple(
                Problem(where=where, what=what, remedy=remedy) for where, what, remedy in content["left_out"]
            ),
            contents={},
            origin=origin,
            md5_etags=content["md5_etags"],
            listed=content["listed"],
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        return None


def _written(crop: CropPlan, root: Path) -> dict[str, Any]:
    return {
        "id": crop.source.id,
        "classes": crop.classes,
        "boxes": [[asdict(array), [[along.start, along.stop] for along in box]] for array, box in crop.boxes],
        "groups": [
            {
                "bucket": group.bucket.name,
                "prefix": group.prefix,
                "folder": os.path.relpath(group.folder, root),
                "whole": group.whole,
                # By column: a tenth of the time that a list for each file takes.
                "files": [list(column) for column in zip(*group.files, strict=True)],
            }
            for group in crop.groups
        ],
    }


def _read(survey: Survey, source: CropSource, crop: dict[str, Any]) -> CropPlan:
    boxes = []
    for array, (z, y, x) in crop["boxes"]:
        layout = ChunkLayout(**{**array, "shape": tuple(array["shape"]), "chunks": tuple(array["chunks"])})
        boxes.append((layout, (range(*z), range(*y), range(*x))))
    groups = [
        FileGroup(
            bucket=survey.bucket(group["bucket"]),
            prefix=group["prefix"],
            folder=Path(os.path.normpath(survey.config.root / group["folder"])),
            files=list(map(RemoteFile, *group["files"])) if group["files"] else [],
            whole=group["whole"],
        )
        for group in crop["groups"]
    ]
    return CropPlan(source=source, boxes=tuple(boxes), classes=tuple(crop["classes"]), groups=tuple(groups))
