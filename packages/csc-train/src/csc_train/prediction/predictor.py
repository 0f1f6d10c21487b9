"""The network that predicts, and what is known about it: from an experiment or from a checkpoint alone."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torch import nn

from csc_data.challenge.classes.settings import defaults_of
from csc_data.config.experiment import Experiment, build_settings, read_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.geometry import as_triple
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.volumes.stored_values import StoredValues
from csc_models import list_pretrained, load_pretrained
from csc_models.checkpoint import CheckpointDescription, OutputDescription, load_checkpoint
from csc_models.export import is_exported, load_exported
from csc_models.pretrained import fetch_pretrained, pretrained_description
from csc_train.checkpoints import find_checkpoint
from csc_train.description import describe_network
from csc_train.network import build_network, patch_shape
from csc_train.prediction.window.batches import choose_batch_size
from csc_train.prediction.window.tiling import Windows
from csc_train.randomness import seed_generators
from csc_train.settings import PredictSettings, TrainSettings, read_train_settings

Blended = Literal["probability", "logit", "distance"]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A network, or several of one task, and what prediction must know of it.

    Attributes
    ----------
    networks : tuple of torch.nn.Module
        In evaluation mode. What several give is averaged.
    checkpoint : Path or None
        The first one's; None for an untrained network.
    identity : str
        Changes with the weights.
    classes : tuple of str
        What it was trained for.
    patch : PatchShape
        Input and target as in training.
    raw_range : pair of float
        What raw is scaled to.
    settings : PredictSettings
    datasplit : Path or None
        The one that the experiment names.
    experiment : Path or None
        The experiment's own folder, if it has one.
    channels : int or None
        Channels that the network gives in all, as far as that is known.
    outputs : tuple of OutputDescription
        What it gives, in the order of its channels; empty where it is not known what they are.
    elsewhere : frozenset of str
        The outputs that lie on other voxels than the first.
    """

    networks: tuple[nn.Module, ...]
    checkpoint: Path | None
    identity: str
    classes: tuple[str, ...]
    patch: PatchShape
    raw_range: tuple[float, float]
    settings: PredictSettings
    datasplit: Path | None = None
    experiment: Path | None = None
    channels: int | None = None
    outputs: tuple[OutputDescription, ...] = ()
    elsewhere: frozenset[str] = frozenset()

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of all arrays that can be predicted: of classes, and of what lies beside them."""
        return tuple(name for each in self.outputs if each.name not in self.elsewhere for name in each.channels)

    @property
    def meanings(self) -> dict[str, StoredValues]:
        """What the values of each array mean as they are stored."""
        if self.settings.output == "mask":
            return dict.fromkeys(self.arrays, StoredValues(kind="label"))
        one = 255.0 if self.settings.stored_dtype == "uint8" else 1.0
        return {name: StoredValues(kind=self.blended(each), one=one) for each in self.outputs for name in each.channels}

    def blended(self, output: OutputDescription) -> Blended:
        """Return what is blended, and stored but for masks, of an output: probabilities, or what the network gives."""
        if self.settings.output in ("probability", "mask"):
            return "probability"
        return "distance" if output.values == "distance" else "logit"

    def batch_size(self, windows: Windows) -> int:
        """Return how many patches go through it together.

        Examples
        --------
        >>> import torch
        >>> from csc_train.prediction.window.tiling import windows_of
        >>> predictor = predictor_of(torch.nn.Conv3d(1, 2, 1), None, {"patch_shape": (4, 4, 4), "batch_size": 3})
        >>> predictor.batch_size(windows_of(predictor.patch, predictor.settings))
        3
        """
        return choose_batch_size(self.settings.batch_size, windows, self.channels or len(self.classes) or 1)


def load_predictor(
    source: str | PathLike[str] | TrainSettings, config: Config | None = None, **overrides: Any
) -> Predictor:
    """Load the network of an experiment (.py, .toml, settings), of published weights (a name), or of a file (the rest).

    Parameters
    ----------
    source : path-like, str or TrainSettings
    config : Config, optional
        Whose data folder may bring classes of its own, and which may name an experiment; the user's by default.
    **overrides : object
        Settings of `PredictSettings`; None leaves those of the experiment.

    Raises
    ------
    ProblemsError
        With everything that is wrong in the settings.
    NoCheckpointError
        If the experiment has no checkpoint.
    InvalidArgumentError
        If a checkpoint does not say what is needed.
    csc_models.ModelError
        If the checkpoint is damaged, or does not fit the network.
    """
    config = config or load_config()
    folder = {"base_experiment_path": config.experiment or None}
    if isinstance(source, TrainSettings):
        experiment: Experiment | None = None
        training: TrainSettings | None = read_train_settings(source, config)
    elif Path(source).suffix in (".py", ".toml"):
        experiment = read_experiment(Path(source))
        training = build_settings(experiment, TrainSettings, defaults=defaults_of(config), **folder)
    elif str(source) in list_pretrained() and not Path(source).exists():
        return _published(str(source), _predict_settings(None, overrides))
    else:
        experiment, training = None, None
        if not Path(source).is_file():
            raise MissingDataError(f"there is no checkpoint or experiment file {source}")
        overrides["checkpoint"] = Path(source)
    settings = _predict_settings(experiment, overrides)
    if training is not None and settings.checkpoint == "untrained":
        return _untrained(training, settings)
    paths = settings.checkpoints or (_checkpoint_path(training, settings),)
    path = paths[0]
    loaded = [_load(each, training, settings) for each in paths]
    description = loaded[0][1]
    for other, (_, said) in zip(paths, loaded, strict=True):
        _check_same_task((path, description), (other, said))
    check_output(settings, description)
    return Predictor(
        networks=tuple(network for network, _ in loaded),
        checkpoint=path,
        identity=" ".join(_digest(each) for each in paths),
        classes=description.classes,
        patch=_patch_shape(description, path),
        raw_range=_raw_range(description, path),
        settings=settings,
        datasplit=training.datasplit_path if training is not None else None,
        experiment=training.base_experiment_path if training is not None else None,
        **_given_by(description),
    )


def predictor_of(network: nn.Module, voxel_size: Sequence[float] | None, overrides: Mapping[str, Any]) -> Predictor:
    """Return the predictor of somebody's own network, which gives as much as it takes.

    Raises
    ------
    ProblemsError
        With everything that is wrong in the settings.
    InvalidArgumentError
        If there is no patch shape.

    Examples
    --------
    >>> import torch
    >>> predictor = predictor_of(torch.nn.Conv3d(1, 2, 1), None, {"patch_shape": (4, 4, 4)})
    >>> predictor.patch.input.shape, predictor.raw_range
    ((4, 4, 4), (0.0, 1.0))
    """
    own = next(network.parameters(), None)
    device = None if own is None else str(own.device)
    settings = _predict_settings(None, {"device": device, **overrides})
    if settings.patch_shape is None:
        raise InvalidArgumentError("a network of your own needs patch_shape, the voxels (z, y, x) that it takes")
    info = ArrayInfo(shape=settings.patch_shape, scale=as_triple(voxel_size or (1, 1, 1), "voxel_size"))
    return Predictor(
        networks=(network.eval(),),
        checkpoint=None,
        identity=type(network).__name__,
        classes=(),
        patch=PatchShape(input=info, target=info),
        raw_range=settings.raw_range or (0.0, 1.0),
        settings=settings,
    )


def _load(
    path: Path, training: TrainSettings | None, settings: PredictSettings
) -> tuple[nn.Module, CheckpointDescription]:
    """Load a checkpoint, or an exported file; return its network, and what it and the experiment say of it."""
    if is_exported(path):
        exported = load_exported(path)
        return exported.model, _completed(exported.description, training, path)
    model = None
    if training is not None:
        seed_generators(training.random_seed)  # the weights of the file replace those that are drawn
        model = build_network(training)
    loaded = load_checkpoint(path, model=model, raw_range=settings.raw_range)
    return loaded.model.eval(), _completed(loaded.description, training, path)


def _check_same_task(first: tuple[Path, CheckpointDescription], other: tuple[Path, CheckpointDescription]) -> None:
    for name in ("classes", "input_arrays", "target_arrays", "raw_range", "values", "outputs"):
        one, two = first[1].to_plain().get(name), other[1].to_plain().get(name)
        if one != two:
            raise InvalidArgumentError(
                f"{first[0]} and {other[0]} cannot be averaged: {name} is {one} and {two}; give checkpoints of one task"
            )


def check_output(settings: PredictSettings, description: CheckpointDescription) -> None:
    """Check that the output to store can be computed from what the network gives.

    Raises
    ------
    InvalidArgumentError
        If logits are asked of a network that gives distances, or the other way round, or of one whose classes exclude
        each other: the sigmoid of such a logit is not its probability.

    Examples
    --------
    >>> check_output(PredictSettings(output="logit"), CheckpointDescription(values="logit"))
    >>> try:
    ...     check_output(PredictSettings(output="logit"), CheckpointDescription(values="distance"))
    ... except InvalidArgumentError as error:
    ...     print(error)
    output is 'logit', but the network gives distances; ask for 'probability' or 'distance'
    """
    values = description.values
    if settings.output in ("probability", "mask"):
        return
    if "exclusive" in (values, *(output.values for output in description.outputs)):
        raise InvalidArgumentError(
            f"output is {settings.output!r}, but the network's classes exclude each other; ask for 'probability'"
        )
    if settings.output != values:
        raise InvalidArgumentError(
            f"output is {settings.output!r}, but the network gives {values}s; ask for 'probability' or {values!r}"
        )


def check_channels(predictor: Predictor) -> None:
    """Check that it is known what the network's channels are.

    Raises
    ------
    InvalidArgumentError
        If the network gives other channels than one for each class, and nobody said which.
    """
    if not predictor.outputs:
        raise InvalidArgumentError(
            f"the network gives {predictor.channels} channels for {len(predictor.classes)} classes, and it is not "
            "known which belongs to which: predict with the experiment file that trained it, or all channels by "
            "predict_array"
        )


def _published(name: str, settings: PredictSettings) -> Predictor:
    """Return the predictor of published weights, which say all that is needed."""
    description = pretrained_description(name)
    check_output(settings, description)
    path = fetch_pretrained(name)
    return Predictor(
        networks=(load_pretrained(name).eval(),),
        checkpoint=path,
        identity=_digest(path),
        classes=description.classes,
        patch=_patch_shape(description, path),
        raw_range=_raw_range(description, path),
        settings=settings,
        **_given_by(description),
    )


def _predict_settings(experiment: Experiment | None, overrides: Mapping[str, Any]) -> PredictSettings:
    given = {name: value for name, value in overrides.items() if value is not None}
    # Settings without a file are read as if they stood in one, so that they are checked and converted alike.
    base = experiment or Experiment(path=Path("settings"), names={}, exact=True)
    known = {field.name for field in dataclasses.fields(PredictSettings)}
    unknown = {name: value for name, value in given.items() if name not in known}
    if unknown:
        base = dataclasses.replace(base, names=unknown, exact=True)  # reported with the nearest names
    return build_settings(base, PredictSettings, **{name: v for name, v in given.items() if name in known})


def _untrained(training: TrainSettings, settings: PredictSettings) -> Predictor:
    seed_generators(training.random_seed)
    network = build_network(training).eval()
    description = describe_network(training)
    check_output(settings, description)
    return Predictor(
        networks=(network,),
        checkpoint=None,
        identity=f"untrained, seed {training.random_seed}",
        classes=training.classes,
        patch=patch_shape(training),
        raw_range=training.raw_range,
        settings=settings,
        datasplit=training.datasplit_path,
        experiment=training.base_experiment_path,
        **_given_by(description),
    )


def _given_by(description: CheckpointDescription) -> dict[str, Any]:
    """Return the fields of a `Predictor` that say what a network gives."""
    classes, outputs = description.classes, description.outputs
    channels = len(description.channels) if outputs else description.model_arguments.get("n_classes")
    if not outputs and channels in (None, len(classes)):
        outputs = (OutputDescription(name="output", channels=classes, values=description.values),)
    first, *_ = description.target_arrays.values() or ({},)
    elsewhere = {name for name, info in description.target_arrays.items() if info != first}
    return {"channels": channels, "outputs": outputs, "elsewhere": frozenset(elsewhere)}


def _checkpoint_path(training: TrainSettings | None, settings: PredictSettings) -> Path:
    if isinstance(settings.checkpoint, Path):
        return settings.checkpoint
    if training is None or settings.checkpoint == "untrained":
        raise InvalidArgumentError("an untrained network needs an experiment that says which")
    return find_checkpoint(training.model_save_path, training.model_name, settings.checkpoint, training.logs_save_path)


def _completed(stored: CheckpointDescription, training: TrainSettings | None, path: Path) -> CheckpointDescription:
    """Complete what a checkpoint says by what the experiment says; where both say something, they must agree."""
    if training is None:
        return stored
    own = describe_network(training)
    if stored.classes and stored.classes != own.classes:
        raise InvalidArgumentError(
            f"{path} was trained for {', '.join(stored.classes)}; the experiment names {', '.join(own.classes)}"
        )
    said = stored if stored.classes else own  # weights alone mean what the experiment trains them for
    return dataclasses.replace(
        stored,
        classes=said.classes,
        input_arrays=stored.input_arrays or own.input_arrays,
        target_arrays=stored.target_arrays or own.target_arrays,
        values=said.values,
        outputs=stored.outputs or own.outputs,
    )


def _patch_shape(description: CheckpointDescription, path: Path) -> PatchShape:
    if not description.classes or not description.input_arrays:
        raise InvalidArgumentError(
            f"{path} does not say its classes and arrays; predict with the experiment file that trained it"
        )
    (_, given), *further = ((name, ArrayInfo(**info)) for name, info in description.input_arrays.items())
    targets = description.target_arrays or description.input_arrays
    return PatchShape(input=given, target=ArrayInfo(**next(iter(targets.values()))), further_inputs=dict(further))


def _raw_range(description: CheckpointDescription, path: Path) -> tuple[float, float]:
    if description.raw_range is None:
        raise InvalidArgumentError(
            f"{path} does not say what raw was scaled to; set raw_range, (0, 1) or (0, 255) for unscaled uint8"
        )
    return description.raw_range


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
