"""Where annotated crops are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.search import CropTemplates


def choose_templates(
    config: Config, search_path: str | None, raw_name: str | None, crop_name: str | None, *, use_s3: bool
) -> CropTemplates:
    """Return where crops are looked for, as options say it."""
    from csc_data.errors import MissingDataError
    from csc_data.splits.official_names import CROP_NAME, RAW_NAME, SEARCH_PATH
    from csc_data.splits.search import CropTemplates

    if use_s3 and search_path:
        raise click.UsageError("give --use-s3 or --search-path, not both")
    if not use_s3 and not search_path and not config.root.is_dir():
        raise MissingDataError(
            f"there is no data folder {config.root}; `csc fetch-data` makes one, --data names another"
        )
    if not search_path and raw_name is None and crop_name is None:
        return CropTemplates.in_bucket(config) if use_s3 else CropTemplates.below(config)
    root = f"s3://{config.bucket}" if use_s3 else config.root.absolute().as_posix()
    return CropTemplates.from_names(
        search_path or f"{root}/{SEARCH_PATH}", raw_name or RAW_NAME, crop_name or CROP_NAME, config.endpoint
    )
