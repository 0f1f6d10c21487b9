"""What may be given to `train` and `predict` beside an experiment: every setting, None for none.

Type checkers find misspelt names and wrong types by these; a test holds them against the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from csc_data.challenge import ClassTable
from csc_data.loader.intensity import IntensityTransform, IntensityTransforms
from csc_data.loader.patches.value_transforms import ValueTransform
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.spatial import SpatialTransforms
from csc_data.loader.targets import TargetKind

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "auto"]
Place = str | PathLike[str]


class TrainOverrides(TypedDict, total=False):
    """Settings of `TrainSettings` that go before those of an experiment."""

    class_table: ClassTable | Place | None
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
    base_experiment_path: Place | None
    datasplit_path: Place | None
    validation_prob: float | None
    use_s3: bool | None
    filter_by_scale: bool | float | Sequence[float] | None
    force_all_classes: bool | Literal["train", "validate", "both"] | None
    datasets: Sequence[str] | None
    input_array_info: ArrayInfo | Mapping[str, Any] | None
    target_array_info: ArrayInfo | Mapping[str, Any] | None
    further_inputs: Mapping[str, ArrayInfo | Mapping[str, Any]] | None
    further_targets: Mapping[str, ArrayInfo | Mapping[str, Any]] | None
    targets: TargetKind | Mapping[str, Any] | str | None
    resolution: float | Sequence[float] | None
    validation_count_limit: int | None
    train_loader: Any
    validation_loader: Any
    dataloader_kwargs: Mapping[str, Any] | None
    model_name: str | None
    architecture: str | None
    model_kwargs: Mapping[str, Any] | None
    model: Any
    mednext_size: Literal["s", "b", "m", "l"] | None
    deep_supervision: bool | None
    gradient_checkpointing: bool | None
    load_model: Place | None
    model_to_load: str | None
    pretrained: str | None
    frozen: Sequence[str] | None
    epochs: int | None
    learning_rate: float | None
    optimizer: Any
    optimizer_kwargs: Mapping[str, Any] | None
    learning_rates: Mapping[str, float] | None
    scheduler: Any
    scheduler_kwargs: Mapping[str, Any] | None
    scheduler_interval: Literal["step", "epoch"] | None
    warmup_iterations: int | None
    max_grad_norm: float | None
    gradient_accumulation_steps: int | None
    ema: float | None
    criterion: Any
    criterion_kwargs: Mapping[str, Any] | None
    weight_loss: bool | None
    max_positive_weight: float | None
    device: str | None
    devices: int | None
    num_gpus: int | None
    num_nodes: int | None
    strategy: str | None
    precision: Precision | None
    compile: bool | None
    channels_last: bool | None
    validation_time_limit: float | None
    low_is_best: bool | None
    best_metric: str | None
    smoothing_window: int | None
    early_stopping_patience: int | None
    instance_score_every: int | None
    model_save_path: Place | None
    save_top_k: int | None
    checkpoint_minutes: float | None
    logs_save_path: Place | None
    images: int | None
    debug_memory: bool | None
    memory_log_steps: int | None


class PretrainOverrides(TrainOverrides, total=False):
    """Settings of `PretrainSettings` that go before those of an experiment."""

    raw_volumes: Sequence[str] | None
    mask_share: float | None
    mask_size: float | None
    pretraining: Mapping[str, Any] | None


class PredictOverrides(TypedDict, total=False):
    """Settings of `PredictSettings` that go before those of an experiment; crops are an argument of `predict`."""

    checkpoint: Place | None
    checkpoints: Sequence[Place] | None
    raw_range: Sequence[float] | None
    value_transforms: ValueTransform | None
    batch_size: int | None
    patch_shape: Sequence[int] | None
    overlap: float | None
    blending: Literal["gaussian", "constant"] | None
    halo: Sequence[int] | None
    tta: Literal[False, "mirror", "all"] | None
    orthoplanes: bool | None
    classes_to_write: Sequence[str] | None
    all_classes: bool | None
    output: Literal["probability", "logit", "distance", "mask"] | None
    threshold: float | Mapping[str, float] | None
    output_dtype: Literal["uint8", "float16", "float32"] | None
    output_grid: Literal["target", "crop"] | None
    scales: int | None
    output_chunks: Sequence[int] | None
    output_format: Literal[2, 3] | None
    shards: int | Sequence[int] | None
    device: str | None
    devices: int | None
    workers: int | None
    precision: Precision | None
    compile: bool | None
