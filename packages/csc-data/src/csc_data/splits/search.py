"""Finding annotated crops by path templates, below a data folder or in a bucket."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from csc_data.config.templates import anchor, fill, match, placeholder_names
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError
from csc_data.splits.split_file import dataset_of
from csc_data.storage.paths import is_remote
from csc_data.storage.trees import FileTree

RAW_NAME = "em/fibsem-uint8"
CROP_NAME = "labels/groundtruth/{crop}/{label}"
SEARCH_PATH = "{dataset}/{dataset}.zarr/recon-1/{name}"
"""As the official tools have it, below the data folder or in the bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropTemplates:
    """Where crops and their raw lie, as whole paths or URLs with placeholders.

    Attributes
    ----------
    raw : str
        With ``{dataset}``.
    labels : str
        With ``{dataset}``, ``{crop}`` and, as its last part, ``{class_name}``.
    endpoint : str
        Where the S3 server answers, for URLs; "" is what the configuration of fsspec says, else Amazon's.

    Examples
    --------
    >>> from csc_data import load_config
    >>> config = load_config(data="data", environ={})
    >>> CropTemplates.in_bucket(config).raw
    's3://janelia-cosem-datasets/{dataset}/{dataset}.zarr/recon-1/em/fibsem-uint8'
    >>> CropTemplates.below(config).place.endswith("data")
    True
    >>> CropTemplates.choose(config, in_bucket=True) == CropTemplates.in_bucket(config)
    True
    """

    raw: str
    labels: str
    endpoint: str = ""

    def __post_init__(self) -> None:
        for name, template, wanted in (
            ("raw", self.raw, {"dataset"}),
            ("labels", self.labels, {"dataset", "crop", "class_name"}),
        ):
            if placeholder_names(template) != wanted:
                words = " ".join(f"{{{field}}}" for field in sorted(wanted))
                raise InvalidArgumentError(f"the template of {name}, {template!r}, must hold {words} and no other")
        if not self.labels.endswith("/{class_name}"):
            raise InvalidArgumentError(f"the template of labels, {self.labels!r}, must end in /{{class_name}}")

    def volume(self, named: str) -> tuple[str, str]:
        """Return the data set and the raw of what is named by its data set, or by the path or URL of a volume.

        Examples
        --------
        >>> from csc_data import load_config
        >>> CropTemplates.below(load_config(environ={})).volume("data/a.zarr/raw")
        ('a', 'data/a.zarr/raw')
        """
        if is_remote(named) or "/" in named or "\\" in named or Path(named).is_dir():
            return dataset_of(named), named
        return named, fill(self.raw, {"dataset": named})

    @property
    def place(self) -> str:
        """The folder or bucket above the first placeholder, for messages."""
        return self.labels.partition("{")[0].rstrip("/")

    @classmethod
    def below(cls, config: Config) -> CropTemplates:
        """Return the templates of the configuration, below the data folder."""
        root = config.root.absolute().as_posix()
        return cls(raw=anchor(root, config.raw), labels=anchor(root, config.labels))

    @classmethod
    def in_bucket(cls, config: Config) -> CropTemplates:
        """Return the templates of the configuration, in the bucket of the challenge."""
        root = f"s3://{config.bucket}"
        return cls(raw=anchor(root, config.raw), labels=anchor(root, config.labels), endpoint=config.endpoint)

    @classmethod
    def choose(
        cls,
        config: Config,
        search_path: str | None = None,
        raw_name: str | None = None,
        crop_name: str | None = None,
        *,
        in_bucket: bool = False,
    ) -> CropTemplates:
        """Return what `from_names` makes of the names that are given; the templates of the configuration without any.

        A search path below the bucket is relative, or a URL.
        """
        if search_path is None and raw_name is None and crop_name is None:
            return cls.in_bucket(config) if in_bucket else cls.below(config)
        root = f"s3://{config.bucket}" if in_bucket else config.root.absolute().as_posix()
        if search_path is None or in_bucket:
            search_path = anchor(root, search_path or SEARCH_PATH)
        return cls.from_names(search_path, raw_name or RAW_NAME, crop_name or CROP_NAME, config.endpoint)

    @classmethod
    def from_names(cls, search_path: str, raw_name: str, crop_name: str, endpoint: str = "") -> CropTemplates:
        """Return the templates that participants know from the official tools.

        Parameters
        ----------
        search_path : str
            With ``{dataset}`` and ``{name}``; relative to the working folder.
        raw_name, crop_name : str
            What stands for ``{name}``; that of a crop holds ``{crop}`` and ``{label}``.
        endpoint : str
            As in `CropTemplates`.

        Raises
        ------
        InvalidArgumentError
            If a placeholder is missing, or is none of these.

        Examples
        --------
        >>> CropTemplates.from_names("/d/{dataset}.zarr/{name}", "em", "gt/{crop}/{label}").labels
        '/d/{dataset}.zarr/gt/{crop}/{class_name}'
        """
        if "{name}" not in search_path:
            raise InvalidArgumentError(f"search_path must hold {{dataset}} and {{name}}, got {search_path!r}")
        if search_path.startswith("~"):
            search_path = str(Path(search_path).expanduser())
        whole = anchor(Path.cwd().as_posix(), search_path)
        labels = fill(crop_name, {"label": "{class_name}"}).strip("/")
        return cls(
            raw=fill(whole, {"name": fill(raw_name, {}).strip("/")}),
            labels=fill(whole, {"name": labels}),
            endpoint=endpoint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCrop:
    """The folder of an annotated crop, and the names of what is in it."""

    dataset: str
    crop: str
    path: str
    raw: str
    names: tuple[str, ...]


def search_crops(
    tree: FileTree, templates: CropTemplates, datasets: Sequence[str] = ("*",), crops: Sequence[str] = ("*",)
) -> list[FoundCrop]:
    """Return the crops that follow the templates, by data set and crop.

    Parameters
    ----------
    tree : FileTree
        What is looked through.
    templates : CropTemplates
    datasets : sequence of str
        Names or patterns like ``jrc_mus*``.
    crops : sequence of str
        Ids (``234`` or ``crop234``) or patterns like ``crop2*``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data.storage.trees import open_tree
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a", "crop1", "mito").mkdir(parents=True)
    ...     data = folder + "/{dataset}"
    ...     templates = CropTemplates(raw=f"{data}/raw", labels=data + "/{crop}/{class_name}")
    ...     [(crop.dataset, crop.crop, crop.names) for crop in search_crops(open_tree(folder), templates)]
    [('a', 'crop1', ('mito',))]
    """
    pattern = templates.labels.removesuffix("/{class_name}")
    places: list[tuple[str, dict[str, str]]] = [("", {})]
    for part in _parts(pattern):
        if not placeholder_names(part):
            places = [(path + part, values) for path, values in places]
            continue
        filled = [(path, fill(part, values), values) for path, values in places]
        known = [(path + text, values) for path, text, values in filled if not placeholder_names(text)]
        open_ones = [(path, text, values) for path, text, values in filled if placeholder_names(text)]
        listed = tree.children([path for path, _, _ in open_ones])
        places = known + [
            (path + name, {**values, **found})
            for (path, text, values), names in zip(open_ones, listed, strict=True)
            for name in names
            if (found := match(text, name)) is not None
            and is_wanted(found.get("dataset"), found.get("crop"), datasets, crops)
        ]
    contents = tree.children([path for path, _ in places])
    found_crops = [
        FoundCrop(
            dataset=values["dataset"],
            crop=values["crop"],
            path=path,
            raw=templates.raw.format_map(values),
            names=tuple(sorted(names)),
        )
        for (path, values), names in zip(places, contents, strict=True)
    ]
    return sorted(found_crops, key=lambda crop: (natural_key(crop.dataset), natural_key(crop.crop)))


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts crop9 before crop10.

    Examples
    --------
    >>> sorted(["crop10", "crop9", "crop100"], key=natural_key)
    ['crop9', 'crop10', 'crop100']
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _parts(pattern: str) -> list[str]:
    """Split a template at the slashes around parts with placeholders; the slashes stay with the other parts."""
    return [part for part in re.split(r"([^/]*\{\w+\}[^/]*)", pattern) if part]


def is_wanted(dataset: str | None, crop: str | None, datasets: Sequence[str], crops: Sequence[str]) -> bool:
    """Tell whether a crop is asked for by name or pattern; None stands for a name that is not known yet.

    Examples
    --------
    >>> is_wanted("jrc_hela-2", "crop4", ["jrc_*"], ["4"]), is_wanted("jrc_hela-2", "crop4", ["*"], ["crop1*"])
    (True, False)
    """
    if dataset is not None and not any(fnmatchcase(dataset, pattern) for pattern in datasets):
        return False
    return crop is None or any(fnmatchcase(crop, p) or fnmatchcase(crop, f"crop{p}") for p in crops)
