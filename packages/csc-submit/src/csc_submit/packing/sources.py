"""Where the arrays to pack lie: where a configuration says, in a folder, or at a path with placeholders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from csc_data.config.templates import anchor, fill, placeholder_names
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError

LAYOUTS = (
    "{dataset}.zarr/{crop}/{class_name}",
    "{dataset}/{crop}/{class_name}",
    "{crop}/{class_name}",
)
"""Where a class of a crop is looked for below a folder, in this order."""

_SYNONYMS = {"label": "class_name", "class": "class_name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the arrays to pack lie.

    Attributes
    ----------
    config : Config
    source : str or Path
        ``"processed"``, ``"predictions"``, a folder of one of `LAYOUTS`, or a path with placeholders: ``{dataset}``,
        ``{crop}`` (``crop557``), and ``{class_name}`` or ``{label}``. A path that names no class gets it appended, as
        the official search paths have it.

    Raises
    ------
    InvalidArgumentError
        If a placeholder stands for nothing, or the path has none for the crop.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import load_config
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "crop557", "er").mkdir(parents=True)
    ...     sources = Sources(config=load_config(environ={}), source=f"{folder}/{{crop}}/{{label}}")
    ...     sources.check()
    ...     print(sources.find("jrc_ctl-id8-1", "crop557", "er").name, sources.find("jrc_ctl-id8-1", "crop557", "nuc"))
    ...     print(sources.find_prediction("jrc_ctl-id8-1", "crop557", "er"))
    er None
    None
    """

    config: Config
    source: str | Path

    def __post_init__(self) -> None:
        names = placeholder_names(os.fspath(self.source))
        unknown = names - {"dataset", "crop", "class_name", *_SYNONYMS}
        if unknown:
            raise InvalidArgumentError(
                f"{self.source} has the placeholder {{{min(unknown)}}}; there are {{dataset}}, {{crop}} and {{label}}"
            )
        if names and "crop" not in names:
            raise InvalidArgumentError(f"{self.source} has no {{crop}}: all crops would be packed from one array")

    def __str__(self) -> str:
        return str(self.config.folder(str(self.source))) if self.is_configured else os.fspath(self.source)

    @property
    def is_configured(self) -> bool:
        """Whether the configuration says where."""
        return self.source in ("processed", "predictions")

    def check(self) -> None:
        """Check that a folder that was named is there.

        Raises
        ------
        MissingDataError
            If it is not.
        """
        if not self.is_configured and not placeholder_names(os.fspath(self.source)) and not Path(self.source).is_dir():
            raise MissingDataError(f"there is no folder {self.source} to pack from")

    def find(self, dataset: str, crop: str, class_name: str) -> Path | None:
        """Return the folder of an array or group, or None if it does not exist.

        Raises
        ------
        MissingDataError
            If the work on this one is unfinished.
        """
        values = {"dataset": dataset, "crop": crop, "class_name": class_name, "label": class_name, "class": class_name}
        for template in self._templates():
            place = Path(fill(template, values))
            if place.is_dir():
                return place
            if place.with_name(f".{place.name}.part").is_dir():
                raise MissingDataError(f"{place} is not finished; `csc process` goes on with it")
        return None

    def find_prediction(self, dataset: str, crop: str, class_name: str) -> Path | None:
        """Return where the prediction lies that a processed array was made from; None where it was not kept."""
        if self.source != "processed":
            return None
        place = self.config.path("predictions", dataset=dataset, crop=crop, class_name=class_name)
        return place if place.is_dir() else None

    def _templates(self) -> list[str]:
        if self.is_configured:
            kind = str(self.source)
            return [anchor(self.config.folder(kind).as_posix(), getattr(self.config, kind))]
        text = os.fspath(self.source).rstrip("/\\")
        names = placeholder_names(text)
        if not names:
            return [f"{text}/{layout}" for layout in LAYOUTS]
        return [text if names & {"class_name", *_SYNONYMS} else f"{text}/{{class_name}}"]
