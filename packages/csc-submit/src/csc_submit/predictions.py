"""Finding predictions, and what was made of them, below a data folder."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from csc_data.config.templates import anchor, fill
from csc_data.config.user_config import Config
from csc_data.errors import ExistingOutputError, MissingDataError
from csc_data.formats.writing import read_attributes
from csc_data.splits.crops import METADATA_FILES
from csc_data.splits.search import natural_key

_NAMES = ("dataset", "crop", "class_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrediction:
    """One class of one crop, as found on disk; ``path`` is its group or array."""

    dataset: str
    crop: str
    class_name: str
    path: Path


def find_stored(config: Config, kind: Literal["predictions", "processed"]) -> tuple[StoredPrediction, ...]:
    """Return all that lies where a path template says.

    Parameters
    ----------
    config : Config
    kind : {"predictions", "processed"}
        Its template.

    Returns
    -------
    tuple of StoredPrediction
        By data set, crop and class; hidden folders and those without metadata of an array or group are left out.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import load_config
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find_stored(load_config(data=folder, environ={}), "processed")
    ()
    """
    found = []
    # The template may be absolute, which Path.glob does not take.
    pattern = anchor(glob.escape(config.folder(kind).as_posix()), _pattern(config, kind))
    for path in map(Path, glob.glob(pattern)):  # noqa: PTH207
        names = config.placeholders(kind, path)
        if names and not path.name.startswith(".") and any((path / file).exists() for file in METADATA_FILES):
            found.append(StoredPrediction(**{name: names[name] for name in _NAMES}, path=path))
    return tuple(sorted(found, key=lambda one: (natural_key(one.dataset), natural_key(one.crop), one.class_name)))


def _pattern(config: Config, kind: str) -> str:
    return fill(getattr(config, kind), dict.fromkeys(_NAMES, "*"))


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
        As `find_stored` has them.

    Raises
    ------
    MissingDataError
        If there are no predictions, or a crop that was asked for was not predicted.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, load_config, write_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = load_config(data=folder, environ={})
    ...     place = config.path("predictions", dataset="mine", crop="crop1", class_name="er")
    ...     write_multiscale(place, [np.zeros((4, 4, 4), np.uint8)], [grid])
    ...     [(found.dataset, found.crop, found.class_name) for found in find_predictions(config)]
    [('mine', 'crop1', 'er')]
    """
    found = find_stored(config, "predictions")
    if not found:
        raise MissingDataError(
            f"{config.folder('predictions')} holds no predictions (looked for {_pattern(config, 'predictions')}); "
            "`csc predict` makes them, -e names an experiment and --data another folder"
        )
    if crops is None:
        return found
    wanted = [f"crop{crop}" if str(crop).isdigit() else str(crop) for crop in crops]
    for name in wanted:
        if not any(fnmatch.fnmatchcase(prediction.crop, name) for prediction in found):
            known = ", ".join(dict.fromkeys(prediction.crop for prediction in found))
            raise MissingDataError(f"there are no predictions of {name}; there are some of {known}")
    return tuple(p for p in found if any(fnmatch.fnmatchcase(p.crop, name) for name in wanted))


def check_network(found: Sequence[StoredPrediction], names: Mapping[str, Any]) -> None:
    """Check that predictions are those of the experiment that processes them, where both say of which network.

    Parameters
    ----------
    found : sequence of StoredPrediction
    names : mapping
        What the experiment's file says. One that names a checkpoint predicts with other networks on purpose.

    Raises
    ------
    ExistingOutputError
        If they are of another network.
    """
    own = names.get("model_name")
    if own is None or {"checkpoint", "checkpoints"} & names.keys():
        return
    for one in found:
        record = read_attributes(one.path).get("csc_prediction") or read_attributes(one.path / "s0").get(
            "csc_prediction"
        )
        made_by = (
            {each.get("model_name") for each in record.get("checkpoints", ())} if isinstance(record, dict) else set()
        )
        if made_by - {"", None, own}:
            raise ExistingOutputError(
                f"{one.path} was predicted by the network {', '.join(sorted(made_by - {'', None}))} of another "
                f"experiment, and this one is {own}: predict with it first, to a place of its own (-o), or in a folder "
                "of its own (-e); -i PATH takes what is there"
            )
