"""Where a submission lies, and all that is only there while it is made."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from csc_cli.submission.disk import used_bytes
from csc_data.challenge import TestCrop
from csc_data.config.user_config import Config

_LAYOUT = "{dataset}.zarr/{crop}/{class_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitFolders:
    """The places of a submission.

    Attributes
    ----------
    config : Config
        The user's.
    destination : Path
        The zarr folder.
    keep : bool
        Whether predictions and processed volumes lie where the configuration says, and stay.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import get_test_crops, load_config
    >>> crop = get_test_crops()[557]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     places = SubmitFolders(
    ...         config=load_config(data=folder, environ={}), destination=Path(folder, "submission.zarr"), keep=False
    ...     )
    ...     predictions, _ = places.stage_folders(crop)
    ...     predictions.mkdir(parents=True)
    ...     places.remove_stages(crop)
    ...     print(predictions.name, predictions.exists(), places.used([crop]) >= 0)
    crop557 False True
    """

    config: Config
    destination: Path
    keep: bool

    @property
    def archive(self) -> Path:
        """The file to upload."""
        return self.destination.with_suffix(".zip")

    @property
    def work(self) -> Path:
        """What is beside it while it is made; its record stays."""
        return self.destination.with_suffix(".work")

    @property
    def record(self) -> Path:
        """Which crop is at which stage."""
        return self.work / "record.json"

    @property
    def running(self) -> Path:
        """What tells others that somebody is at it."""
        return self.work / "running"

    @property
    def of_stages(self) -> Config:
        """The configuration for predicting, processing and packing."""
        if self.keep:
            return self.config
        place = self.work.absolute().as_posix()
        return dataclasses.replace(
            self.config, predictions=f"{place}/predictions/{_LAYOUT}", processed=f"{place}/processed/{_LAYOUT}"
        )

    def stage_folders(self, crop: TestCrop) -> tuple[Path, Path]:
        """Return where the predictions and the processed volumes of a crop lie."""
        predictions, processed = (
            self.of_stages.path(name, dataset=crop.dataset, crop=crop.name, class_name="x").parent
            for name in ("predictions", "processed")
        )
        return predictions, processed

    def remove_stages(self, crop: TestCrop) -> None:
        """Remove predictions and processed volumes of a crop, if they are not to stay."""
        if not self.keep:
            for folder in self.stage_folders(crop):
                shutil.rmtree(folder, ignore_errors=True)

    def tidy(self, crops: Mapping[str, Mapping[str, str]]) -> None:
        """Remove the folders of stages that nothing is left in, where the stages of all crops say so."""
        if not self.keep and all(stage == "packed" for stages in crops.values() for stage in stages.values()):
            for name in ("predictions", "processed"):
                shutil.rmtree(self.work / name, ignore_errors=True)

    def remove_processed(self, crop: TestCrop, classes: Iterable[str]) -> None:
        """Remove what was processed of classes, whole or in part, if it is not to stay."""
        if not self.keep:
            _, processed = self.stage_folders(crop)
            for name in classes:
                for folder in (processed / name, processed / f".{name}.part"):
                    shutil.rmtree(folder, ignore_errors=True)

    def used(self, crops: Iterable[TestCrop]) -> int:
        """Return the bytes on the disk of all of it, with what is kept of crops."""
        kept = [folder for crop in crops for folder in self.stage_folders(crop)] if self.keep else []
        return used_bytes([self.destination, self.archive, self.work, *kept])
