"""What a run begins with: a state to go on from, weights of another run, published ones, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csc_data.challenge import ClassTable
from csc_data.errors import CscError, ExistingOutputError, InvalidArgumentError
from csc_data.formats.writing import read_json
from csc_data.wording import listed
from csc_models.checkpoint import CheckpointDescription, load_checkpoint, load_weights, read_checkpoint
from csc_models.errors import CheckpointMismatchError
from csc_models.pretrained import load_pretrained, pretrained_card
from csc_train.checkpoints import TRAINING, find_checkpoint, list_checkpoints, resume_path
from csc_train.description import describe_network
from csc_train.logs.run_files import RUN_RECORD
from csc_train.processes import is_first_process
from csc_train.settings import TrainSettings
from csc_train.settings.data import LOADERS
from csc_train.settings.network import weights_file
from csc_train.starting_weights import StartingWeights, begin_with_weights, put_in_encoder
from csc_train.training.hooks.logs_folder import logs_folder
from csc_train.training.run_state import RunState

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

SETTINGS = "settings"
"""Key of the trainer's state under which a checkpoint says what its run was asked for."""

# What may differ without a word: where and how fast, not what.
_PLACES = frozenset(
    {
        *("base_experiment_path", "datasplit_path", "model_save_path", "logs_save_path", "load_model"),
        *("device", "devices", "num_nodes", "num_workers", "start_method", "gather_on", "cache_bytes"),
        *(
            "with_positions",
            "epochs",
            "save_top_k",
            "checkpoint_minutes",
            "images",
            "early_stopping_patience",
            "instance_score_every",
        ),
    }
)


def check_same_data(path: Path, stored: CheckpointDescription, wanted: CheckpointDescription) -> None:
    """Check that a checkpoint was trained on the same classes and patches.

    Raises
    ------
    InvalidArgumentError
        With everything that differs.

    Examples
    --------
    >>> from pathlib import Path
    >>> stored, wanted = (CheckpointDescription(classes=names) for names in (("nuc",), ("nuc", "er")))
    >>> check_same_data(Path("mine_3.pth"), stored, stored)
    >>> try:
    ...     check_same_data(Path("mine_3.pth"), stored, wanted)
    ... except InvalidArgumentError as error:
    ...     print(str(error).partition(";")[0])
    mine_3.pth belongs to another experiment: classes was nuc, is nuc, er
    """
    names = {"classes": "classes", "input_arrays": "input_array_info", "target_arrays": "target_array_info"}
    names["raw_range"] = "raw_range"
    stored, wanted = (CheckpointDescription.from_plain(entry.to_plain()) for entry in (stored, wanted))
    different = [
        f"{name} was {_words(getattr(stored, entry))}, is {_words(getattr(wanted, entry))}"
        for entry, name in names.items()
        if getattr(stored, entry) != getattr(wanted, entry)
    ]
    if different:
        raise InvalidArgumentError(
            f"{path} belongs to another experiment: {'; '.join(different)}; choose another model_name to start anew, "
            "or a folder of its own, -e NAME"
        )


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, Sequence) and all(isinstance(v, str) for v in value) else str(value)


def check_own(settings: TrainSettings, experiment: Path | None) -> None:
    """Check that the checkpoints that a run would go on from are not those of another experiment file.

    A file that was renamed or moved is not another one: the other must still be there, under another name.

    Raises
    ------
    ExistingOutputError
        If they are.
    """
    template, name = settings.model_save_path, settings.model_name
    wanted, own = settings.load_model, [*list_checkpoints(template, name).values(), resume_path(template, name)]
    if experiment is None or not any(path.is_file() for path in own):
        return
    if isinstance(wanted, Path) and _is_among(wanted, own):
        return
    try:
        recorded = read_json(logs_folder(settings) / RUN_RECORD).get("experiment")
    except CscError:  # of a disk that was full, or a copy that was broken off
        return
    if recorded and Path(recorded).name != experiment.name and Path(recorded).is_file():
        raise ExistingOutputError(
            f"the checkpoints of {name} are those of {recorded}, another experiment: choose another model_name, or a "
            "folder of its own for this one, -e NAME; to go on with them say --resume PATH of one"
        )


def _is_among(file: Path, others: Iterable[Path]) -> bool:
    return file.resolve() in {path.resolve() for path in others}


def take_up(state: RunState, settings: TrainSettings, fabric: Fabric) -> Path | None:
    """Load what a run begins with, and return the checkpoint that it resumes from, if any.

    Raises
    ------
    ExistingOutputError
        If a fresh run was asked for, or one that begins with a file, and there are checkpoints of its name that are not
        of such a run.
    NoCheckpointError
        If another run's weights were asked for and there are none.
    InvalidArgumentError
        If the checkpoint is of another experiment, or of another network.
    csc_models.CheckpointError
        If a file is damaged, or weights to begin with do not fit the network.
    """
    template, name, wanted = settings.model_save_path, settings.model_name, settings.load_model
    own, whole = list_checkpoints(template, name), resume_path(template, name)
    there = whole.is_file()
    if wanted == "fresh":
        if own or there:
            latest = own[max(own)] if own else whole
            raise ExistingOutputError(
                f"there are checkpoints of {name} ({latest} is the latest); "
                "choose another model_name, remove them, or set load_model to 'latest' to go on"
            )
        wanted = "latest"
    if isinstance(wanted, Path):
        if _is_among(wanted, (whole, *own.values())):
            path = wanted
        elif own or there:
            path = _begun_with(wanted, name, whole if there else own[max(own)])
        else:
            begin_with(state, wanted, settings)
            return None
    elif wanted == "latest" and there:
        path = whole
    elif own:
        path = find_checkpoint(template, name, wanted, settings.logs_save_path)
    elif settings.model_to_load and settings.model_to_load != name:
        path = find_checkpoint(template, settings.model_to_load, wanted, settings.logs_save_path)
        begin_with(state, path, settings)
        return None
    else:
        file = weights_file(settings.pretrained)
        if file is not None:
            begin_with_encoder(state, file, settings)
        elif settings.pretrained:
            begin_with_published(state, settings)
        return None
    epoch = next((epoch for epoch, file in own.items() if file == path), None)
    if epoch is not None and read_checkpoint(path).origin != "csc-models":
        # As the official toolbox does: its files are weights alone, and the epoch is in the name.
        begin_with(state, path, settings)
        state.epoch, state.batches = epoch, epoch * settings.iterations_per_epoch
        _warn(f"{path} holds weights alone: going on from epoch {epoch}, the optimizer starts anew")
        return path
    _restore(state, path, settings, fabric)
    where = f"epoch {state.epoch}" + (f", batch {state.iteration} of the next" if state.iteration else "")
    logger.info("going on from %s, %s", path, where)
    return path


def _begun_with(file: Path, name: str, latest: Path) -> Path:
    """Return the latest checkpoint of a run that was to begin with a file, if it did: it was stopped, and goes on.

    Raises
    ------
    ExistingOutputError
        If the run of this name began otherwise: its checkpoints would be lost.
    """
    before = read_checkpoint(latest).extra.get(TRAINING, {}).get(SETTINGS, {}).get("load_model")
    if before is not None and Path(before).resolve() == file.resolve():
        return latest
    raise ExistingOutputError(
        f"there are checkpoints of {name} ({latest} is the latest) that did not begin with {file}: choose another "
        "model_name to begin with it, or say --resume auto (load_model = 'latest') to go on with them"
    )


def _restore(state: RunState, path: Path, settings: TrainSettings, fabric: Fabric) -> None:
    """Go on from a checkpoint of this run; from one of weights alone, with an optimizer that starts anew."""
    try:
        loaded = load_checkpoint(path, model=state.evaluated)
    except CheckpointMismatchError as error:
        raise InvalidArgumentError(
            f"{error}; choose another model_name to start anew, or the network that this run began with"
        ) from error
    state.scatter()
    check_same_data(path, loaded.description, describe_network(settings))
    stored = loaded.extra.get(TRAINING)
    if not stored:
        raise InvalidArgumentError(f"{path} holds weights only; use load_model = {str(path)!r} to begin with them")
    before, now = stored.get(SETTINGS, {}), settings_as_text(settings)
    if state.average:
        load_weights(state.network, stored.get("weights") or loaded.model.state_dict(), source=str(path))
        state.average.steps = stored.get("average_steps", 0)
    if "optimizer" not in stored:
        state.load_summary(stored, settings.iterations_per_epoch)
        logger.warning("%s holds weights alone: the optimizer starts anew", path)
        return
    if before and before["optimizer"] != now["optimizer"]:
        raise InvalidArgumentError(
            f"{path} was trained with the optimizer {before['optimizer']}, and cannot go on with {now['optimizer']}; "
            f"to begin with its weights choose another model_name, with model_to_load = {settings.model_name!r}"
        )
    try:
        state.load_state_dict(stored, fabric, settings.iterations_per_epoch)
    except (ValueError, KeyError) as error:
        raise InvalidArgumentError(f"{path} was trained with another optimizer or scheduler: {error}") from error
    changed = list(changed_settings(before, now))
    if changed:
        logger.warning("going on from %s with other settings: %s", path, "; ".join(changed))


def settings_as_text(settings: TrainSettings) -> dict[str, str]:
    """Return settings as texts that can be compared with those of another run, also objects and classes.

    Loaders are left out: what they give cannot be told from them.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (1, 64, 64), "scale": (8, 8, 8)}
    >>> settings_as_text(TrainSettings(classes=["nuc"], input_array_info=patch, epochs=7))["epochs"]
    '7'
    """
    return {f.name: _as_text(getattr(settings, f.name)) for f in fields(settings) if f.name not in LOADERS}


def _as_text(value: Any) -> str:
    value = value.to_plain() if isinstance(value, ClassTable) else value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_as_text(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_text, value)) + "]"
    if value is None or isinstance(value, str | int | float | Path):
        return str(value)
    named = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    text = f"{named.__module__}.{named.__qualname__}"
    # Settings of ours say what they hold; what others print may be an address.
    return f"{text} {value}" if text.startswith("csc_") and not isinstance(value, type) else text


def changed_settings(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Yield what changed between two runs, in words.

    Examples
    --------
    >>> list(changed_settings({"batch_size": "8", "epochs": "10"}, {"batch_size": "4", "epochs": "10"}))
    ['batch_size was 8, is 4']
    """
    for name in now:
        if name in before and name not in _PLACES and before[name] != now[name]:
            yield f"{name} was {before[name]}, is {now[name]}"


def begin_with(state: RunState, path: Path, settings: TrainSettings) -> None:
    """Load the weights of a file, and nothing else of it; of its head what fits.

    Raises
    ------
    csc_models.ModelError
        If it cannot be read, or is not for this network.
    """
    stored = read_checkpoint(path)
    weights = StartingWeights(source=str(path), state=stored.state, channels=stored.description.channels)
    _begin(state, weights.source, begin_with_weights(state.plain, weights, settings))
    _warn_of_range(path, stored.description, settings)


def begin_with_encoder(state: RunState, path: Path, settings: TrainSettings) -> None:
    """Load the weights of a file for the encoder, and nothing else of it.

    Raises
    ------
    InvalidArgumentError
        If the network is not known to have an encoder.
    csc_models.ModelError
        If it cannot be read, or its encoder is not that of this network.
    """
    stored = read_checkpoint(path)
    parts = put_in_encoder(state.plain, stored.state, str(path))
    _begin(state, f"the encoder of {path}", f"which are {listed(parts)}")
    _warn_of_range(path, stored.description, settings)


def _warn_of_range(path: Path, described: CheckpointDescription, settings: TrainSettings) -> None:
    if described.raw_range not in (None, settings.raw_range):
        _warn(f"{path} was trained with raw in {described.raw_range}, and this run has raw_range {settings.raw_range}")


def begin_with_published(state: RunState, settings: TrainSettings) -> None:
    """Load published weights; of the head the channels of classes that both have.

    Raises
    ------
    csc_models.ModelError
        If they cannot be fetched, or are not for this network.
    """
    assert settings.pretrained is not None
    card = pretrained_card(settings.pretrained)
    relu = bool(getattr(state.network, "upsampling_relu", True))
    weights = load_pretrained(card.name, upsampling_relu=relu).state_dict()
    starting = StartingWeights(source=card.name, state=weights, channels=card.classes)
    _begin(state, card.name, begin_with_weights(state.plain, starting, settings))


def _begin(state: RunState, source: str, kept: str) -> None:
    state.scatter()
    if state.average:
        state.average.module.load_state_dict(state.network.state_dict())
    _warn(f"beginning with the weights of {source}{', ' if kept else ''}{kept}")


def _warn(line: str) -> None:
    if is_first_process():
        logger.warning("%s", line)


def set_aside_later(resumed_from: Path, state: RunState, settings: TrainSettings, fabric: Fabric) -> None:
    """Rename the checkpoints of epochs after that which a run resumes from, so that none counts as the latest."""
    template, name = settings.model_save_path, settings.model_name
    later = [path for epoch, path in list_checkpoints(template, name).items() if epoch > state.epoch]
    whole = resume_path(template, name)
    if whole.is_file() and whole.resolve() != resumed_from.resolve():
        later.append(whole)
    if fabric.is_global_zero:
        for path in later:
            path.replace(path.with_name(f"{path.name}.left_behind"))
            logger.warning("%s is of a later epoch; renamed to %s.left_behind", path, path.name)
    fabric.barrier()
