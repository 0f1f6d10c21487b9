"""What `predict` may be called with beside settings: ours, and the official toolbox's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from csc_data.blocks import Existing
from csc_data.config.arguments import place_template, said_once, split_names
from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError
from csc_data.splits.search import CropTemplates
from csc_train.overrides import PredictOverrides
from csc_train.prediction.running.workers import ExecutionOptions
from csc_train.settings import TrainSettings

Source = str | PathLike[str] | TrainSettings


class PredictOptions(PredictOverrides, total=False):
    """Keywords of `predict`.

    Attributes
    ----------
    volume : str
        Instead of crops, boxes of this: a data set of the data folder, or the path or URL of a raw volume.
    rois : sequence of str
        The boxes, ``z0:z1,y0:y1,x0:x1 nm`` or ``voxels``; all of the volume by default.
    execution : ExecutionOptions
        Where blocks are done; the settings ``devices`` and ``workers`` by default.
    config_path, output_path, do_orthoplanes, overwrite, search_path, raw_name, crop_name, filter_classes
        As in the official toolbox: the experiment; where predictions go, with {dataset} and {crop}; ``orthoplanes``;
        ``existing="overwrite"``; where data sets lie, with {dataset} and {name}; what {name} is for raw and for
        annotations; False for ``all_classes``.
    """

    volume: str | None
    rois: Sequence[str] | str | None
    execution: ExecutionOptions | None
    config_path: str | PathLike[str] | None
    output_path: str | PathLike[str] | None
    do_orthoplanes: bool | None
    overwrite: bool | None
    search_path: str | None
    raw_name: str | None
    crop_name: str | None
    filter_classes: bool | None


@dataclass(frozen=True, kw_only=True)
class PredictCall:
    """A call of `predict`, its two ways of saying things brought together.

    Attributes
    ----------
    source : path-like or TrainSettings
    config : Config
        With the place where predictions go.
    templates : CropTemplates
        Where raw and annotated crops lie.
    crops : sequence of str, or None
    volume : str or None
    rois : tuple of str
    existing : {"resume", "refuse", "overwrite"}
    execution : ExecutionOptions or None
    overrides : mapping
        What goes before the settings of the experiment.
    """

    source: Source
    config: Config
    templates: CropTemplates
    crops: Sequence[str] | None
    volume: str | None
    rois: tuple[str, ...]
    existing: Existing
    execution: ExecutionOptions | None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def of_experiment(self, folder: Path | None) -> PredictCall:
        """Return the call for an experiment that has a folder of its own for what it makes; None for others."""
        return replace(self, config=self.config.of_experiment(folder))


def read_call(
    source: Source | None,
    crops: Sequence[str] | str | None,
    config: Config | None,
    existing: Existing | None,
    options: Mapping[str, Any],
) -> PredictCall:
    """Bring the arguments of `predict` together.

    Raises
    ------
    InvalidArgumentError
        If two of them contradict each other, or none says what predicts.

    Examples
    --------
    >>> from csc_data import load_config
    >>> call = read_call("mine.toml", "557,558", load_config(environ={}), None, {"overwrite": True})
    >>> call.crops, call.existing
    (['557', '558'], 'overwrite')
    """
    given = {name: value for name, value in options.items() if value is not None}
    chosen = said_once("an experiment or checkpoint", source, given.pop("config_path", None))
    if chosen is None:
        raise InvalidArgumentError("name an experiment file, or a checkpoint")
    overwrite = given.pop("overwrite", None)
    how: Existing = said_once("existing", existing, "overwrite" if overwrite else None) or "resume"
    if "do_orthoplanes" in given:
        given["orthoplanes"] = said_once("orthoplanes", given.get("orthoplanes"), given.pop("do_orthoplanes"))
    if given.pop("filter_classes", True) is False:
        given["all_classes"] = True
    volume, rois = given.pop("volume", None), given.pop("rois", ())
    if rois and volume is None:
        raise InvalidArgumentError("a box is one of a volume: name a data set, or the path of a volume, by volume")
    if volume is not None and crops is not None:
        raise InvalidArgumentError("give crops, or a volume and its boxes, not both")
    base = config or load_config()
    names = [given.pop(name, None) for name in ("search_path", "raw_name", "crop_name")]
    return PredictCall(
        source=chosen,
        config=_with_output(base, given.pop("output_path", None)),
        templates=CropTemplates.choose(base, *names),
        crops=split_names(crops),
        volume=volume,
        rois=(rois,) if isinstance(rois, str) else tuple(rois),
        existing=how,
        execution=given.pop("execution", None),
        overrides=given,
    )


def _with_output(config: Config, output_path: str | PathLike[str] | None) -> Config:
    if output_path is None:
        return config
    place = place_template("output_path", output_path)
    return replace(config, predictions=f"{place.rstrip('/')}/{{class_name}}")
