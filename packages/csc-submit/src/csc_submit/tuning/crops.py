"""The crops that settings are tuned on: those of the datasplit that validate, with their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_data.blocks import check_finished
from csc_data.challenge import ClassTable
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError, did_you_mean
from csc_data.splits.split_file import SplitRow
from csc_data.wording import listed
from csc_submit.predictions import find_predictions
from csc_submit.settings import ProcessSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationCrop:
    """A crop that validates.

    Attributes
    ----------
    name, dataset : str
    classes : tuple of str
        Those that somebody annotated.
    labels : str
        The group of the annotation, path or URL.
    predictions : mapping of str to Path
        The predicted volumes, by class.

    Examples
    --------
    >>> from pathlib import Path
    >>> from csc_submit import ProcessSettings
    >>> crop = ValidationCrop(
    ...     name="crop1", dataset="mine", classes=("er",), labels="mine/crop1/", predictions={"er": Path("er")}
    ... )
    >>> crop.annotation("er"), crop.known(ProcessSettings(classes=["nuc", "er"]))
    ('mine/crop1/er', ('er',))
    """

    name: str
    dataset: str
    classes: tuple[str, ...]
    labels: str
    predictions: Mapping[str, Path]

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.dataset}/{self.name}"

    def annotation(self, class_name: str) -> str:
        """Return the annotated volume of a class."""
        return f"{self.labels.rstrip('/')}/{class_name}"

    def known(self, settings: ProcessSettings) -> tuple[str, ...]:
        """Return the classes that post-processing has there, the more important ones first."""
        return tuple(name for name in settings.classes or settings.class_table if name in self.predictions)


def find_validation_crops(rows: Sequence[SplitRow], config: Config) -> tuple[ValidationCrop, ...]:
    """Return the crops of a datasplit that validate, with what is predicted of them.

    Raises
    ------
    MissingDataError
        If none validates.
    """
    try:
        stored = find_predictions(config)
    except MissingDataError:  # who needs them says which
        stored = ()
    found = [
        ValidationCrop(
            name=row.crop,
            dataset=row.dataset,
            classes=row.classes,
            labels=row.labels,
            predictions={p.class_name: p.path for p in stored if (p.dataset, p.crop) == (row.dataset, row.crop)},
        )
        for row in rows
        if row.usage == "validate"
    ]
    if not found:
        raise MissingDataError("the datasplit names no validation crops; `csc make-datasplit` chooses some")
    return tuple(found)


def choose_classes(
    crops: Sequence[ValidationCrop], wanted: Sequence[str] | None, known: Sequence[str], table: ClassTable
) -> tuple[str, ...]:
    """Return the classes to tune, in the order of the experiment, or of the challenge.

    Parameters
    ----------
    crops : sequence of ValidationCrop
    wanted : sequence of str or None
        Those that were asked for; all that are annotated and known by default.
    known : sequence of str
        The classes of the experiment; empty if it names none, which are then those that were predicted.
    table : ClassTable
        Which classes there are.

    Raises
    ------
    InvalidArgumentError
        If the experiment lacks a class.
    MissingDataError
        If nobody annotated a class in a crop that validates, or nothing is left.

    Examples
    --------
    >>> from pathlib import Path
    >>> from csc_data.challenge.classes.table import label_classes
    >>> crop = ValidationCrop(
    ...     name="crop1", dataset="mine", classes=("er", "nuc"), labels="mine/crop1", predictions={"er": Path("er")}
    ... )
    >>> choose_classes([crop], None, (), label_classes())
    ('er',)
    """
    annotated = {name for crop in crops for name in crop.classes}
    predicted = {name for crop in crops for name in crop.predictions}
    there = tuple(known) or tuple(name for name in table if name in predicted)
    if wanted is None:
        chosen = tuple(name for name in there if name in annotated)
        if there and not chosen:
            raise MissingDataError(f"no validation crop has a truth of {listed(there)}; choose others for validation")
        return chosen or tuple(name for name in table if name in annotated)
    for name in wanted:
        if there and name not in there:
            raise InvalidArgumentError(
                f"{name} is not predicted; {did_you_mean(name, there, f'there are {listed(there)}')}"
            )
        if name not in annotated:
            raise MissingDataError(f"no validation crop has a truth of {name}; leave it out, or choose other crops")
    return tuple(dict.fromkeys(wanted))


def check_predicted(crops: Sequence[ValidationCrop], classes: Sequence[str], experiment: str) -> None:
    """Check that all classes are predicted in all crops in which somebody annotated them.

    Raises
    ------
    MissingDataError
        If predictions are missing, with the command that makes them.
    UnreadableDataError
        If one is half written.

    Examples
    --------
    >>> crop = ValidationCrop(name="crop1", dataset="mine", classes=("er",), labels="mine/crop1", predictions={})
    >>> check_predicted([crop], ["nuc"], "mine.toml")
    >>> try:
    ...     check_predicted([crop], ["er"], "mine.toml")
    ... except MissingDataError as error:
    ...     print(str(error).partition(";")[0])
    validation crops are not predicted: mine/crop1 (er)
    """
    missing = []
    for crop in crops:
        names = [name for name in classes if name in crop.classes]
        lacking = [name for name in names if name not in crop.predictions]
        if lacking:
            missing.append(f"{crop.key} ({listed(lacking)})")
        for name in names:
            if name in crop.predictions:
                check_finished(crop.predictions[name], class_name=name)
    if missing:
        raise MissingDataError(
            f"validation crops are not predicted: {listed(missing)}; `csc predict {experiment} -c validation` does it"
        )
