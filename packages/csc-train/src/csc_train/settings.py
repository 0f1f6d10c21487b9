"""What an experiment file may say about training and predicting.

Every default stands here, once. Nothing here needs torch: commands read these for their ``--help``. Where a setting may
be a name or an object of torch, a Python experiment file gives the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Unpack

from csc_data.challenge import class_problems
from csc_data.config.experiment import adjust_settings, build_settings, read_experiment
from csc_data.config.settings import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    Choices,
    Earlier,
    Given,
    Limits,
    Names,
    OfNames,
    not_empty,
    setting,
    settings,
)
from csc_data.errors import Problem
from csc_data.geometry import Shape
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.settings import SampleSettings, different, rising
from csc_train.overrides import Metric, Precision, TrainOverrides

OPTIMIZERS = ("adamw", "adam", "radam", "sgd")
SCHEDULERS = ("constant", "cosine")
CRITERIA = ("bce", "bce_dice", "dice")


Place = str | PathLike[str]


def _as_flat_as_input(target: ArrayInfo | None, earlier: Earlier) -> Iterator[Problem]:
    given = earlier.get("input_array_info")
    if given and target and given.flat != target.flat:
        yield Problem(where="", what="one of input and target is flat (1, y, x), the other is not")


def _fitting_weights(name: str | None, earlier: Earlier) -> Iterator[Problem]:
    """Check what published weights need; torch is imported for it, so only where some are asked for."""
    if name is None:
        return
    from csc_models.errors import UnknownWeightsError
    from csc_models.pretrained import pretrained_card

    try:
        card = pretrained_card(name)
    except UnknownWeightsError as error:
        yield Problem(where="", what=str(error))
        return
    if earlier.get("model") is not None:
        yield Problem(where="", what="does not go with a model of your own", remedy="leave one of them out")
    if earlier.get("architecture") not in (None, card.model):
        remedy = "name that one as architecture, or leave it out"
        yield Problem(where="", what=f"{card.name} is for {card.model}", remedy=remedy)
    given = earlier.get("raw_range", card.raw_range)
    if given != card.raw_range:
        wanted = list(card.raw_range)
        what = f"{card.name} was trained with raw in {wanted}, not {list(given)}"
        yield Problem(where="", what=what, remedy=f"raw_range = {wanted}")


def _with_placeholders(template: str, _: Earlier) -> Iterator[Problem]:
    for name in ("{model_name}", "{epoch}"):
        if name not in template:
            yield Problem(where="", what=f"{template!r} must hold {name}")


@settings
class TrainSettings(SampleSettings):
    """The settings of `csc_train.train`."""

    classes: Names = setting(
        "classes to learn, in the order of the output channels",
        not_empty,
        different,
        OfNames(lambda name, _: class_problems([name])),
    )
    datasplit_path: Given[Path | None, Place | None] = setting(
        "the datasplit; that of the data folder by default (datasplit.csv)", default=None
    )
    input_array_info: Given[ArrayInfo, ArrayInfo | Mapping[str, Any]] = setting(
        "voxels (z, y, x) and voxel size in nm of what the network takes; (1, y, x) for networks with two axes",
        default=ArrayInfo(shape=(128, 128, 128), scale=(8, 8, 8)),
    )
    target_array_info: Given[ArrayInfo | None, ArrayInfo | Mapping[str, Any] | None] = setting(
        "the same of what it gives; by default what the network makes of the input", _as_flat_as_input, default=None
    )

    model_name: str = setting("names the checkpoints and logs, and the network if nothing else does", default="3d_unet")
    architecture: str | None = setting("name of the network in `csc models`; model_name by default", default=None)
    model_kwargs: Mapping[str, Any] = setting("further arguments of the network", factory=dict)
    model: Any = setting("a torch module to train instead of one from the catalogue", default=None)
    load_model: Given[Literal["latest", "best", "fresh"] | Path, Place] = setting(
        "go on from the latest or best checkpoint of this name, or a file; fresh refuses if there is one",
        default="latest",
    )
    model_to_load: str | None = setting(
        "name of another run whose weights to begin with (its latest or best, as load_model says)", default=None
    )
    pretrained: str | None = setting(
        "published weights to begin with (`csc models pretrained` lists them); their network is trained unless "
        "architecture names it, with a new head where classes differ",
        _fitting_weights,
        default=None,
    )

    epochs: int = setting("epochs in all, those of earlier runs included", COUNT, default=1000)
    learning_rate: float = setting("step size of the optimizer", POSITIVE, default=3e-4)
    optimizer: Any = setting(
        f"{', '.join(OPTIMIZERS)}, or a torch optimizer or its class", Choices(OPTIMIZERS, "step"), default="adamw"
    )
    optimizer_kwargs: Mapping[str, Any] = setting("further arguments of the optimizer", factory=dict)
    scheduler: Any = setting(
        "constant, cosine (to 0 at the last step), or a torch scheduler's class (stepped by epochs)",
        Choices(SCHEDULERS),
        default="constant",
    )
    scheduler_kwargs: Mapping[str, Any] = setting("arguments of the scheduler's class", factory=dict)
    warmup_iterations: int = setting("optimizer steps over which the step size grows from 0", NOT_NEGATIVE, default=0)
    max_grad_norm: float | None = setting("clip gradients to this norm, once a step", POSITIVE, default=None)
    gradient_accumulation_steps: int = setting("batches per optimizer step", COUNT, default=1)
    ema: float | None = setting(
        "validate and save a running mean of the weights, with this decay", Limits(gt=0, le=1), default=None
    )
    criterion: Any = setting(
        f"{', '.join(CRITERIA)}, or the class of a torch loss that has `reduction`", Choices(CRITERIA), default="bce"
    )
    criterion_kwargs: Mapping[str, Any] = setting("arguments of the criterion's class", factory=dict)
    weight_loss: bool = setting("weigh the present voxels of a class by how rare they are", default=True)
    max_positive_weight: float = setting("the largest such weight", COUNT, default=10.0)

    validation_time_limit: float | None = setting(
        "seconds the first validation may take; later ones take the same batches", POSITIVE, default=None
    )
    best_metric: Metric = setting("what decides which epoch is best: validation iou, dice or loss", default="iou")

    device: str | None = setting("cuda, cuda:1, mps or cpu; by default the first there is", default=None)
    devices: int = setting("devices of this machine to train on", COUNT, default=1)
    num_nodes: int = setting("machines to train on", COUNT, default=1)
    strategy: str = setting("how several devices work together, in Lightning Fabric's words", default="auto")
    precision: Precision = setting("number format, in Lightning Fabric's words", default="32-true")

    model_save_path: str = setting(
        "where checkpoints go; holds {model_name} and {epoch}",
        _with_placeholders,
        default="checkpoints/{model_name}_{epoch}.pth",
    )
    logs_save_path: str = setting("TensorBoard's folder; may hold {model_name}", default="tensorboard/{model_name}")


def read_train_settings(
    experiment: str | PathLike[str] | TrainSettings, **overrides: Unpack[TrainOverrides]
) -> TrainSettings:
    """Return the training settings of an experiment, checked.

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    if not isinstance(experiment, TrainSettings):
        return build_settings(read_experiment(Path(experiment)), TrainSettings, **overrides)
    return adjust_settings(experiment, **overrides)


def _within_patch(halo: Shape | None, earlier: Earlier) -> Iterator[Problem]:
    patch = earlier.get("patch_shape")
    for axis, size, margin in zip("zyx", patch, halo, strict=True) if patch and halo else ():
        if 2 * margin >= size:
            yield Problem(where="", what=f"leaves nothing of the patch along {axis} ({size} voxels)")


def _wide_enough(dtype: str | None, earlier: Earlier) -> Iterator[Problem]:
    output = earlier.get("output", "probability")
    if output != "probability" and dtype == "uint8":
        remedy = "store float16 or float32, or probabilities"
        yield Problem(where="", what=f"{output}s do not fit into uint8", remedy=remedy)


@settings
class PredictSettings:
    """The settings of `csc_train.predict`."""

    checkpoint: Given[Literal["best", "latest", "untrained"] | Path, Place] = setting(
        "the best or latest checkpoint, or a file; untrained predicts with random weights", default="best"
    )
    batch_size: int = setting("patches that go through the network together", COUNT, default=8)
    patch_shape: Given[Shape | None, Sequence[int] | None] = setting(
        "voxels (z, y, x) of what the network takes; as in training by default", COUNT, default=None
    )
    halo: Given[Shape | None, Sequence[int] | None] = setting(
        "voxels of context on each side; an eighth of the patch by default", NOT_NEGATIVE, _within_patch, default=None
    )
    output_chunks: Given[Shape | None, Sequence[int] | None] = setting(
        "chunk shape of the output in voxels; what is kept of a patch by default", COUNT, default=None
    )
    output: Literal["probability", "logit", "distance"] = setting(
        "what is stored; distance, and not logit, for networks that give distances", default="probability"
    )
    output_dtype: Literal["uint8", "float16", "float32"] | None = setting(
        "type it is stored in; by default uint8 (255 is 1) for probabilities, else float16", _wide_enough, default=None
    )
    crops: Given[tuple[str, ...] | None, Sequence[str] | None] = setting(
        """test crops to predict, or ["validation"] for those of the datasplit; all test crops by default""",
        default=None,
    )
    raw_range: Given[tuple[float, float] | None, Sequence[float] | None] = setting(
        "for checkpoints that do not store what raw is scaled to; else it must agree", rising, default=None
    )
    device: str | None = setting("cuda, cuda:1, mps or cpu; by default the first there is", default=None)
    precision: Precision = setting("number format, in Lightning Fabric's words", default="32-true")

    @property
    def stored_dtype(self) -> str:
        """The type that is stored."""
        return self.output_dtype or ("uint8" if self.output == "probability" else "float16")
