"""Finding predictions below a data folder."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_data.blocks import unfinished_work
from csc_data.config.templates import anchor
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError

_ZARR_METADATA = (".zgroup", ".zarray", "zarr.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrediction:
    """One class of one crop, as found on disk; ``path`` is its group or array."""

    dataset: str
    crop: str
    class_name: str
    path: Path


def find_predictions(config: Config, crops: Sequence[str] | None = None) -> tuple[StoredPrediction, ...]:
    """Look for predictions where the path template says.

    Parameters
    ----------
    config : Config
        Their ``predictions`` template tells where.
    crops : sequence of str, optional
        Names, ids or patterns of the crops wanted: ``crop234``, ``234``, ``crop2*``; all by default.

    Returns
    -------
    tuple of StoredPrediction
        By data set, crop and class; hidden folders and those without zarr metadata are left out.

    Raises
    ------
    MissingDataError
        If there are no predictions, or a crop that was asked for was not predicted.
    """
    pattern = config.predictions.format(dataset="*", crop="*", class_name="*")
    found = []
    # The template may be absolute, which Path.glob does not take.
    for path in map(Path, glob.glob(anchor(glob.escape(config.root.as_posix()), pattern))):  # noqa: PTH207
        match = config.placeholders("predictions", path)
        if match and not path.name.startswith(".") and any((path / name).exists() for name in _ZARR_METADATA):
            found.append(
                StoredPrediction(
                    dataset=match["dataset"], crop=match["crop"], class_name=match["class_name"], path=path
                )
            )
    if not found:
        raise MissingDataError(
            f"{config.root} holds no predictions (looked for {pattern}); `csc predict` makes them, --data names "
            "another folder"
        )
    found.sort(key=lambda p: (p.dataset, _natural(p.crop), p.class_name))
    if crops is None:
        return tuple(found)
    wanted = [f"crop{crop}" if str(crop).isdigit() else str(crop) for crop in crops]
    for name in wanted:
        if not any(fnmatch.fnmatchcase(prediction.crop, name) for prediction in found):
            known = ", ".join(dict.fromkeys(prediction.crop for prediction in found))
            raise MissingDataError(f"there are no predictions of {name}; there are some of {known}")
    return tuple(p for p in found if any(fnmatch.fnmatchcase(p.crop, name) for name in wanted))


def _natural(name: str) -> tuple[str, int]:
    match = re.search(r"\d+$", name)
    return (name[: match.start()], int(match[0])) if match else (name, -1)


def check_finished(folder: Path, class_name: str) -> None:
    """Check that a prediction is complete.

    Parameters
    ----------
    folder : Path
        Of the prediction; a run that writes it block by block keeps a record beside it.
    class_name : str
        Its class.

    Raises
    ------
    MissingDataError
        If blocks are missing.
    """
    for work in unfinished_work(folder.parent):
        if class_name in work.get("classes", [class_name]):
            raise MissingDataError(f"{folder} is not finished; run `csc predict` again to do the rest")
