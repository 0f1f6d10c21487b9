"""Networks with weights from elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from csc_models.catalog import create_model, model_spec
from csc_models.checkpoint.contents import CheckpointDescription, check_raw_range, described
from csc_models.checkpoint.digests import FORMAT
from csc_models.checkpoint.official.recognition import OFFICIAL_RAW_RANGE, recognise
from csc_models.checkpoint.state_dicts import load_weights
from csc_models.errors import CheckpointError, ModelArgumentError
from csc_models.foreign.background import without_background
from csc_models.foreign.facts import Facts, ForeignHints
from csc_models.foreign.mednext import mednext_facts, mednext_names, trainer_facts
from csc_models.foreign.nnunet import nnunet_facts, nnunet_names
from csc_models.foreign.state_dicts import Candidate, candidates, fitting, permuted, without_numbers
from csc_models.foreign.torch_files import ForeignFile, read_foreign_file
from csc_models.specification import without_weights

logger = logging.getLogger(__name__)

_BACKGROUND = "background"
# Heads for deep supervision, which files hold whether the network uses them or not.
_FURTHER_HEADS = ("decoder.seg_layers.", "heads.")
_NO_HINTS = ForeignHints()


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignCheckpoint:
    """A network with weights from elsewhere.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        Who wrote it, for people.
    model : torch.nn.Module
        In evaluation mode.
    description : CheckpointDescription
        For `save_checkpoint`.
    notes : tuple of str
        What was assumed or left out, for people.
    """

    path: Path
    kind: str
    model: nn.Module
    description: CheckpointDescription
    notes: tuple[str, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The fields of `ForeignHints` without which prediction from the checkpoint alone is not possible."""
        described = self.description
        array = described.input_arrays.get("raw", {})
        known = {
            "classes": described.classes,
            "patch": array.get("shape"),
            "voxel_size": array.get("scale"),
            "raw_range": described.raw_range,
        }
        return tuple(name for name, value in known.items() if not value)


def load_foreign(path: str | PathLike[str], hints: ForeignHints = _NO_HINTS) -> ForeignCheckpoint:
    """Load weights that another program saved, into a network of the catalogue.

    Known are nnU-Net v2 (all from its plans), the authors' MedNeXt and its trainers, the challenge's toolbox; and state
    dicts of networks in the catalogue by Lightning, `torch.optim.swa_utils.AveragedModel`, ``torch.compile`` and others
    who put them under some name in a dict. Nothing that a file names is imported or called.

    Parameters
    ----------
    path : path
        A file of torch, old or new, or ``.safetensors``.
    hints : ForeignHints
        What the file does not tell.

    Returns
    -------
    ForeignCheckpoint
        `save_checkpoint` writes its model and description, and `load_checkpoint` reads them.

    Raises
    ------
    CheckpointNotFoundError
        There is no such file.
    CheckpointReadError
        It is damaged, or holds no weights.
    CheckpointMismatchError
        No weights in it fit the network; the text names keys.
    CheckpointError
        The file does not tell the network, or not all of it, classes do not fit it, or plans are missing.
    UnknownModelError, ModelArgumentError
        The catalogue does not have the network, or it does not take these arguments.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from csc_models import create_model, load_foreign
    >>> from csc_models.foreign import ForeignHints
    >>> arguments = {"n_channels": 1, "n_classes": 2, "width": 4, "depth": 2}
    >>> network = create_model("2d_unet_s", **arguments)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": network.state_dict()}, f"{folder}/theirs.ckpt")
    ...     found = load_foreign(f"{folder}/theirs.ckpt", ForeignHints(model="2d_unet_s", arguments=arguments))
    >>> found.description.model_name
    '2d_unet_s'
    """
    file = read_foreign_file(Path(path))
    if isinstance(file.contents, Mapping) and file.contents.get("format") == FORMAT:
        raise CheckpointError(f"{path} is a checkpoint of csc-models already; use it as it is")
    found = [
        Candidate(each.place, mednext_names(each.state) or nnunet_names(each.state))
        for each in candidates(file.contents, hints.part, str(path))
    ]
    facts = _with_hints(_facts(file, found, hints), hints, file)
    chosen, left_out = fitting(found, _shapes(facts), str(path), _FURTHER_HEADS)
    state = file.tensors(_along(chosen, facts.axes).state)
    facts = _with_classes(facts, hints)
    if facts.background is not None:
        state = without_background(state, facts.model, facts.arguments, facts.background)
        facts = replace(facts, arguments={**facts.arguments, _classes_word(facts): len(facts.classes)})
    model = create_model(facts.model, **facts.arguments)
    load_weights(model, state, source=str(path))
    notes = _notes(file, chosen, facts, left_out)
    for note in notes:
        logger.info("%s: %s", path, note)
    description = described(_description(facts), model)
    return ForeignCheckpoint(path=file.path, kind=facts.kind, model=model.eval(), description=description, notes=notes)


def _facts(file: ForeignFile, found: list[Candidate], hints: ForeignHints) -> Facts:
    """Return what the file says, or else its weights' shapes."""
    said = nnunet_facts(file.contents, file.path, hints) or trainer_facts(file.contents, file.path)
    if said is not None and said.model:
        return said
    said = said or Facts(kind=_kind(file.contents))
    if hints.model is not None:
        return said
    for candidate in found:
        if "heads.0.weight" in candidate.state and "bottleneck.0.conv1.weight" in candidate.state:
            shaped = mednext_facts(candidate.state)
            kind, notes = said.kind if said.background == 0 else shaped.kind, (*shaped.notes, *said.notes)
            return replace(said, kind=kind, model=shaped.model, arguments=shaped.arguments, notes=notes)
        official = recognise(without_numbers(candidate.state))
        if official is not None and official.open:
            known = {**official.arguments, **official.likely}
            options = " ".join(f"--set {name}={value}" for name, value in known.items())
            raise CheckpointError(
                f"{file.path} is a state dict of the challenge's toolbox for {official.name}, which does not tell "
                f"{', '.join(official.open)}; name them: --model {official.name} {options}"
            )
        if official is not None:
            return replace(
                said,
                kind="a state dict of the challenge's toolbox",
                model=official.name,
                arguments=official.arguments,
                raw_range=OFFICIAL_RAW_RANGE,
            )
    return said


def _kind(contents: Any) -> str:
    if isinstance(contents, Mapping) and "pytorch-lightning_version" in contents:
        return "a checkpoint of Lightning"
    return "a state dict"


def _with_hints(facts: Facts, hints: ForeignHints, file: ForeignFile) -> Facts:
    """Put what the user says before what the file says.

    Raises
    ------
    CheckpointError
        Nobody says which network it is.
    """
    model = hints.model or facts.model
    if not model:
        keys = [key for each in candidates(file.contents, hints.part, str(file.path)) for key in each.state][:4]
        raise CheckpointError(
            f"{file.path} does not tell which network its weights are for (keys such as {', '.join(keys)}); name one "
            "that `csc models list` has, with its arguments (--model NAME --set width=32)"
        )
    if model != facts.model:
        facts = replace(facts, model=model, arguments={"n_channels": 1})
    arguments = {**facts.arguments, **hints.arguments}
    facts = replace(facts, model=model, arguments=arguments)
    if hints.classes is not None:
        arguments.setdefault(_classes_word(facts), len(hints.classes))
    return replace(
        facts,
        values=hints.values or facts.values,
        patch=hints.patch or facts.patch,
        voxel_size=hints.voxel_size or facts.voxel_size,
        raw_range=check_raw_range(hints.raw_range) if hints.raw_range else facts.raw_range,
    )


def _classes_word(facts: Facts) -> str:
    """Return the word for the number of classes that the arguments have: the network's own, or everybody's."""
    own = model_spec(facts.model).classes
    return own if own in facts.arguments else "n_classes"


def _shapes(facts: Facts) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's weights, for which nothing is allocated, along the file's axes."""
    try:
        with without_weights():
            expected = create_model(facts.model, **facts.arguments).state_dict()
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise ModelArgumentError(f"{facts.model} cannot be built with {dict(facts.arguments)}: {error}") from error
    back = tuple(facts.axes.index(axis) for axis in range(len(facts.axes)))
    return {
        key: (*tensor.shape[:2], *(tensor.shape[2 + axis] for axis in back))
        if back and tensor.ndim == 5
        else tuple(tensor.shape)
        for key, tensor in expected.items()
    }


def _along(chosen: Candidate, axes: tuple[int, ...]) -> Candidate:
    """Turn kernels, so that their axes are z, y, x."""
    if not axes:
        return chosen
    order = (0, 1, *(2 + axis for axis in axes))
    state = {key: permuted(tensor, order) if tensor.ndim == 5 else tensor for key, tensor in chosen.state.items()}
    return replace(chosen, state=state)


def _with_classes(facts: Facts, hints: ForeignHints) -> Facts:
    """Say what the channels are, and which of them is the background.

    Raises
    ------
    CheckpointError
        There are more or fewer classes than channels.
    """
    channels = facts.arguments.get(_classes_word(facts), 1)
    names = facts.classes if hints.classes is None else hints.classes
    background = facts.background if facts.values == "exclusive" else None
    if facts.values == "exclusive" and _BACKGROUND in names:
        background = names.index(_BACKGROUND)
        names = tuple(name for name in names if name != _BACKGROUND)
    expected = channels - (background is not None)
    if names and len(names) != expected:
        gives = f"a background and {expected} classes" if background is not None else f"{channels} channels"
        raise CheckpointError(
            f"{len(names)} classes were given ({', '.join(names)}), and the network gives {gives}; name {expected} in "
            "their order (--classes NAMES)"
        )
    if background is not None and not names:
        raise CheckpointError(
            f"the network gives a softmax of a background and {expected} classes, which the file does not name; name "
            "them in their order (--classes NAMES)"
        )
    return replace(facts, classes=names, background=background)


def _description(facts: Facts) -> CheckpointDescription:
    """What our checkpoint says besides name and arguments of the model."""
    raw = {"shape": facts.patch, "scale": facts.voxel_size}
    known = {name: list(values) for name, values in raw.items() if values is not None}
    return CheckpointDescription(
        classes=facts.classes,
        input_arrays={"raw": known} if known else {},
        raw_range=facts.raw_range,
        values=facts.values,
    )


def _notes(file: ForeignFile, chosen: Candidate, facts: Facts, left_out: tuple[str, ...]) -> tuple[str, ...]:
    notes = list(facts.notes)
    if chosen.place:
        notes.append(f"the weights stand under {chosen.place!r}")
    if facts.background is not None:
        notes.append(
            "the softmax's background is taken out of the last layer: each class's logit is relative to it, and the "
            "probabilities are the same"
        )
    if left_out:
        notes.append(f"heads that are only trained were left out: {', '.join(_layers(left_out))}")
    given = file.contents.get("hyper_parameters") if isinstance(file.contents, Mapping) else None
    if isinstance(given, Mapping) and given:
        words = ", ".join(f"{name}={value}" for name, value in given.items() if isinstance(value, str | int | float))
        notes.append(f"its hyper_parameters, of which nothing was used: {words[:500] or ', '.join(map(str, given))}")
    if file.skipped:
        notes.append(f"not read, and not run: {', '.join(list(file.skipped)[:10])}")
    return tuple(notes)


def _layers(keys: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(key.rpartition(".")[0] for key in keys))
