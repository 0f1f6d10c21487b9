"""What may be given to `train` and `predict` beside an experiment: every setting, None for none.

Type checkers find misspelt names and wrong types by these; a test holds them against the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from csc_data.loader.intensity import IntensityTransform, IntensityTransforms
from csc_data.loader.patches.value_transforms import ValueTransform
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.spatial import SpatialTransforms

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Metric = Literal["iou", "dice", "loss"]


class TrainOverrides(TypedDict, total=False):
    """Settings of `TrainSettings` that go before those of an experiment."""

    classes: Sequence[str] | None
    raw_range: Sequence[float] | None
    interpolation: Literal["linear", "cubic"] | None
    batch_size: int | None
    iterations_per_epoch: int | None
    spatial_transforms: SpatialTransforms | Mapping[str, Any] | None
    intensity_transforms: (
        IntensityTransforms | Mapping[str, Any] | Sequence[IntensityTransform] | IntensityTransform | None
    )
    train_raw_value_transforms: ValueTransform | None
    val_raw_value_transforms: ValueTransform | None
    target_value_transforms: ValueTransform | Mapping[str, ValueTransform] | None
    weighted_sampler: bool | None
    foreground_share: float | None
    use_mutual_exclusion: bool | None
    random_validation: bool | None
    validation_batch_limit: int | None
    random_seed: int | None
    num_workers: int | None
    start_method: Literal["fork", "forkserver", "spawn"] | None
    gather_on: Literal["auto", "cpu", "device"] | None
    with_positions: bool | None
    cache_bytes: int | None
    datasplit_path: str | PathLike[str] | None
    input_array_info: ArrayInfo | Mapping[str, Any] | None
    target_array_info: ArrayInfo | Mapping[str, Any] | None
    model_name: str | None
    architecture: str | None
    model_kwargs: Mapping[str, Any] | None
    model: Any
    load_model: str | PathLike[str] | None
    model_to_load: str | None
    pretrained: str | None
    epochs: int | None
    learning_rate: float | None
    optimizer: Any
    optimizer_kwargs: Mapping[str, Any] | None
    scheduler: Any
    scheduler_kwargs: Mapping[str, Any] | None
    warmup_iterations: int | None
    max_grad_norm: float | None
    gradient_accumulation_steps: int | None
    ema: float | None
    criterion: Any
    criterion_kwargs: Mapping[str, Any] | None
    weight_loss: bool | None
    max_positive_weight: float | None
    validation_time_limit: float | None
    best_metric: Metric | None
    device: str | None
    devices: int | None
    num_nodes: int | None
    strategy: str | None
    precision: Precision | None
    model_save_path: str | None
    logs_save_path: str | None


class PredictOverrides(TypedDict, total=False):
    """Settings of `PredictSettings` that go before those of an experiment; crops are an argument of `predict`."""

    checkpoint: str | PathLike[str] | None
    batch_size: int | None
    patch_shape: Sequence[int] | None
    halo: Sequence[int] | None
    output_chunks: Sequence[int] | None
    output: Literal["probability", "logit", "distance"] | None
    output_dtype: Literal["uint8", "float16", "float32"] | None
    raw_range: Sequence[float] | None
    device: str | None
    precision: Precision | None
