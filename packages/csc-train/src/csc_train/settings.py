"""What an experiment file may say about training and predicting.

Every default stands here, once. Nothing here needs torch: commands read these for their ``--help``. Where a setting may
be a name or an object of torch, a Python experiment file gives the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from csc_data.challenge import label_classes, nearest_class
from csc_data.config.experiment import build_settings, read_experiment, setting
from csc_data.config.typed import build_dataclass
from csc_data.errors import Problem, ProblemsError
from csc_data.loader.intensity import IntensityTransforms
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.spatial import SpatialTransforms

OPTIMIZERS = ("adamw", "adam", "radam", "sgd")
SCHEDULERS = ("constant", "cosine")
CRITERIA = ("bce", "bce_dice", "dice")

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Metric = Literal["iou", "dice", "loss"]


def _default_transforms() -> dict[str, Any]:
    return {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}}, "transpose": {"axes": ["x", "y", "z"]}}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of `csc_train.train`."""

    classes: tuple[str, ...] = setting(doc="classes to learn, in the order of the output channels")
    datasplit_path: Path | None = setting(None, doc="the datasplit; that of the data folder by default (datasplit.csv)")
    input_array_info: ArrayInfo = setting(
        factory=lambda: ArrayInfo(shape=(128, 128, 128), scale=(8.0, 8.0, 8.0)),
        doc="voxels (z, y, x) and voxel size in nm of what the network takes; (1, y, x) for networks with two axes",
    )
    target_array_info: ArrayInfo | None = setting(
        None, doc="the same of what it gives; by default what the network of `architecture` makes of the input"
    )
    raw_range: tuple[float, float] = setting(
        (0.0, 1.0), doc="what the ends of the raw type's range become before the network sees them"
    )

    model_name: str = setting("3d_unet", doc="names the checkpoints and logs, and the network if nothing else does")
    architecture: str | None = setting(None, doc="name of the network in `csc models`; model_name by default")
    model_kwargs: Mapping[str, Any] = setting(factory=dict, doc="further arguments of the network")
    model: Any = setting(None, doc="a torch module to train instead of one from the catalogue (Python files only)")
    load_model: Literal["latest", "best", "fresh"] | Path = setting(
        "latest",
        doc="go on from the latest or best checkpoint of this name, or from a file; fresh refuses if there is one",
    )
    model_to_load: str | None = setting(
        None, doc="name of another run whose weights to begin with (its latest or best, as load_model says)"
    )
    pretrained: str | None = setting(
        None,
        doc="published weights to begin with (`csc models pretrained` lists them); their network is trained unless "
        "architecture names it, with a new head where classes differ",
    )

    epochs: int = setting(1000, doc="epochs in all, those of earlier runs included", minimum=1)
    iterations_per_epoch: int = setting(1000, doc="training batches of an epoch", minimum=1)
    batch_size: int = setting(8, doc="samples of a batch, on each device", minimum=1)
    learning_rate: float = setting(3e-4, doc="step size of the optimizer", above=0)
    optimizer: Any = setting("adamw", doc=f"{', '.join(OPTIMIZERS)}, or a torch optimizer or its class")
    optimizer_kwargs: Mapping[str, Any] = setting(factory=dict, doc="further arguments of the optimizer")
    scheduler: Any = setting(
        "constant",
        doc="constant, cosine (to 0 at the last step), or a torch scheduler's class, stepped once an epoch",
    )
    scheduler_kwargs: Mapping[str, Any] = setting(factory=dict, doc="arguments of the scheduler's class")
    warmup_iterations: int = setting(0, doc="optimizer steps over which the step size grows from 0", minimum=0)
    max_grad_norm: float | None = setting(None, doc="clip gradients to this norm, once per optimizer step", above=0)
    gradient_accumulation_steps: int = setting(1, doc="batches per optimizer step", minimum=1)
    ema: float | None = setting(
        None, doc="keep a running mean of the weights with this decay; it is what is validated and saved", above=0,
        maximum=1,
    )  # fmt: skip
    criterion: Any = setting("bce", doc=f"{', '.join(CRITERIA)}, or the class of a torch loss that has `reduction`")
    criterion_kwargs: Mapping[str, Any] = setting(factory=dict, doc="arguments of the criterion's class")
    weight_loss: bool = setting(True, doc="weigh the present voxels of a class by how rare they are")
    max_positive_weight: float = setting(10.0, doc="the largest such weight", minimum=1)

    spatial_transforms: Mapping[str, Any] | None = setting(
        factory=_default_transforms,
        doc="mirror, transpose, rotate, scale and elastic: how training patches are turned, scaled and bent",
    )
    intensity_transforms: Any = setting(
        None, doc="gamma, contrast, brightness, noise, blur, sections, low_resolution: how raw is changed in training"
    )
    train_raw_value_transforms: Any = setting(
        None, doc="your own random changes of raw in training: a callable on tensors (Python files only)"
    )
    val_raw_value_transforms: Any = setting(
        None, doc="a callable on raw in validation; it must leave raw what prediction gives"
    )
    target_value_transforms: Any = setting(
        None, doc="a callable on the targets, or class names to callables (Python files only)"
    )
    weighted_sampler: bool = setting(True, doc="draw every class equally often; otherwise every position")
    foreground_share: float | None = setting(
        None,
        doc="share of the samples that hold a class, each as often; overrides weighted_sampler",
        minimum=0,
        maximum=1,
    )
    use_mutual_exclusion: bool = setting(
        False, doc="an annotated voxel of a class is a known 0 of every class that excludes it"
    )
    random_validation: bool = setting(False, doc="validate in a random order, fixed by the seed")
    validation_batch_limit: int | None = setting(None, doc="validate on this many batches, always the same", minimum=1)
    validation_time_limit: float | None = setting(
        None, doc="seconds the first validation may take; later ones take the same batches", above=0
    )
    best_metric: Metric = setting("iou", doc="what decides which epoch is best: validation iou, dice or loss")
    random_seed: int = setting(0, doc="decides weights, samples and their order", minimum=0)

    device: str | None = setting(None, doc="cuda, cuda:1, mps or cpu; the first there is, in this order, by default")
    devices: int = setting(1, doc="devices of this machine to train on", minimum=1)
    num_nodes: int = setting(1, doc="machines to train on", minimum=1)
    strategy: str = setting("auto", doc="how several devices work together, in Lightning Fabric's words")
    precision: Precision = setting("32-true", doc="number format, in Lightning Fabric's words")
    num_workers: int = setting(0, doc="processes that load data; 0 loads in the training process", minimum=0)
    cache_bytes: int = setting(1 << 30, doc="bytes of decoded crops to hold, per process that loads", minimum=0)

    model_save_path: str = setting(
        "checkpoints/{model_name}_{epoch}.pth", doc="where checkpoints go; holds {model_name} and {epoch}"
    )
    logs_save_path: str = setting("tensorboard/{model_name}", doc="where TensorBoard logs go; may hold {model_name}")

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong across fields."""
        if not self.classes:
            yield Problem(where="classes", what="is empty", remedy="name at least one class")
        if len(set(self.classes)) != len(self.classes):
            yield Problem(where="classes", what="names a class twice")
        unknown = [name for name in self.classes if name not in label_classes()]
        for name in unknown:
            yield Problem(where="classes", what=f"the challenge has no class {name!r}", remedy=_class_hint(name))
        if not self.raw_range[0] < self.raw_range[1]:
            yield Problem(where="raw_range", what=f"the first must be smaller, got {self.raw_range}")
        if self.input_array_info.flat != (self.target_array_info or self.input_array_info).flat:
            yield Problem(where="target_array_info", what="one of input and target is flat (1, y, x), the other is not")
        yield from self._pretrained_problems()
        yield from _choice("optimizer", self.optimizer, OPTIMIZERS, instance="step")
        yield from _choice("scheduler", self.scheduler, SCHEDULERS)
        yield from _choice("criterion", self.criterion, CRITERIA)
        yield from _problems_of("spatial_transforms", lambda: SpatialTransforms.parse(self.spatial_transforms))
        yield from _problems_of("intensity_transforms", lambda: IntensityTransforms.parse(self.intensity_transforms))
        for name, raw in (
            ("train_raw_value_transforms", self.train_raw_value_transforms),
            ("val_raw_value_transforms", self.val_raw_value_transforms),
        ):
            yield from _problems_of("", partial(ValueTransforms.create, raw, None, self.classes, name=name))
        target = self.target_value_transforms
        yield from _problems_of("", partial(ValueTransforms.create, None, target, self.classes))
        for name in ("model_name", "epoch"):
            if f"{{{name}}}" not in self.model_save_path:
                yield Problem(where="model_save_path", what=f"{self.model_save_path!r} must hold {{{name}}}")

    def _pretrained_problems(self) -> Iterator[Problem]:
        """Check what published weights need; torch is imported for it, so only where some are asked for."""
        if self.pretrained is None:
            return
        from csc_models.errors import UnknownWeightsError
        from csc_models.pretrained import pretrained_card

        try:
            card = pretrained_card(self.pretrained)
        except UnknownWeightsError as error:
            yield Problem(where="pretrained", what=str(error))
            return
        if self.model is not None:
            yield Problem(
                where="pretrained", what="does not go with a model of your own", remedy="leave one of them out"
            )
        if self.architecture not in (None, card.model):
            yield Problem(
                where="architecture", what=f"{card.name} is for {card.model}", remedy="name that one, or leave it out"
            )
        if self.raw_range != card.raw_range:
            yield Problem(
                where="raw_range", what=f"{card.name} was trained with raw in {list(card.raw_range)}, not "
                f"{list(self.raw_range)}", remedy=f"raw_range = {list(card.raw_range)}",
            )  # fmt: skip


def _problems_of(where: str, parse: Callable[[], object]) -> Iterator[Problem]:
    """Yield what a parser of csc-data finds wrong, at the place of its setting."""
    try:
        parse()
    except ProblemsError as error:
        for problem in error.problems:
            place = f"{where}.{problem.where}" if where else problem.where
            yield Problem(where=place, what=problem.what, remedy=problem.remedy)


def _class_hint(name: str) -> str:
    near = nearest_class(name)
    return f"did you mean {near}?" if near else "`csc classes` lists them"


def _choice(name: str, value: Any, known: tuple[str, ...], instance: str | None = None) -> Iterator[Problem]:
    """Check a setting that is one of some names, something to call, or (where allowed) an object with a method."""
    if isinstance(value, str):
        if value not in known:
            yield Problem(where=name, what=f"there is no {value!r}", remedy=f"known are {', '.join(known)}")
    elif not callable(value) and not (instance and hasattr(value, instance)):
        yield Problem(where=name, what=f"must be a name or something to call, got {value!r}")


def read_train_settings(experiment: str | PathLike[str] | TrainSettings, **overrides: Any) -> TrainSettings:
    """Return the training settings of an experiment, checked.

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    if not isinstance(experiment, TrainSettings):
        return build_settings(read_experiment(Path(experiment)), TrainSettings, **overrides)
    values = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    values.update({name: value for name, value in overrides.items() if value is not None})
    options, found = build_dataclass(TrainSettings, values)
    if found:
        raise ProblemsError("settings", found)
    checked: TrainSettings = options
    return checked


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """The settings of `csc_train.predict`."""

    checkpoint: Literal["best", "latest", "untrained"] | Path = setting(
        "best", doc="which checkpoint predicts: the best, the latest, or a file; untrained predicts with random weights"
    )
    batch_size: int = setting(8, doc="patches that go through the network together", minimum=1)
    patch_shape: tuple[int, int, int] | None = setting(
        None, doc="voxels (z, y, x) of what the network takes; as in training by default", minimum=1
    )
    halo: tuple[int, int, int] | None = setting(
        None, doc="voxels on each side of a patch that are context and not kept; an eighth of the patch by default",
        minimum=0,
    )  # fmt: skip
    output_chunks: tuple[int, int, int] | None = setting(
        None, doc="chunk shape of the output in voxels; what is kept of a patch by default", minimum=1
    )
    output: Literal["probability", "logit", "distance"] = setting(
        "probability", doc="what is stored; distance, and not logit, for networks that give distances"
    )
    output_dtype: Literal["uint8", "float16", "float32"] | None = setting(
        None, doc="type it is stored in; uint8 (255 stands for 1) for probabilities, float16 for others by default"
    )
    crops: tuple[str, ...] | None = setting(
        None, doc="""test crops to predict, or ["validation"] for those of the datasplit; all test crops by default"""
    )
    raw_range: tuple[float, float] | None = setting(
        None, doc="for checkpoints that do not store what raw is scaled to; else it must agree"
    )
    device: str | None = setting(None, doc="cuda, cuda:1, mps or cpu; the first there is, in this order, by default")
    precision: Precision = setting("32-true", doc="number format, in Lightning Fabric's words")

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong across fields."""
        if self.output != "probability" and self.output_dtype == "uint8":
            remedy = "store float16 or float32, or probabilities"
            yield Problem(where="output_dtype", what=f"{self.output}s do not fit into uint8", remedy=remedy)
        if self.patch_shape and self.halo:
            for axis, size, margin in zip("zyx", self.patch_shape, self.halo, strict=True):
                if 2 * margin >= size:
                    yield Problem(where="halo", what=f"leaves nothing of the patch along {axis} ({size} voxels)")

    @property
    def stored_dtype(self) -> str:
        """The type that is stored."""
        return self.output_dtype or ("uint8" if self.output == "probability" else "float16")
