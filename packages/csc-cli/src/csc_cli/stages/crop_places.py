"""Where annotated crops are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from csc_data.crop_search import CropTemplates
    from csc_data.settings import Settings


def choose_templates(
    settings: Settings, search_path: str | None, raw_name: str | None, crop_name: str | None, *, use_s3: bool
) -> CropTemplates:
    """Return where crops are looked for, as options say it."""
    from csc_data.crop_search import CropTemplates
    from csc_data.datasplit_csv import CROP_NAME, RAW_NAME, SEARCH_PATH
    from csc_data.errors import MissingDataError

    if use_s3 and search_path:
        raise click.UsageError("give --use-s3 or --search-path, not both")
    if not use_s3 and not search_path and not settings.root.is_dir():
        raise MissingDataError(
            f"there is no data folder {settings.root}; `csc fetch-data` makes one, --data names another"
        )
    if not search_path and raw_name is None and crop_name is None:
        return CropTemplates.in_bucket(settings) if use_s3 else CropTemplates.below(settings)
    root = f"s3://{settings.bucket}" if use_s3 else settings.root.absolute().as_posix()
    return CropTemplates.from_names(
        search_path or f"{root}/{SEARCH_PATH}", raw_name or RAW_NAME, crop_name or CROP_NAME, settings.endpoint
    )
