"""The settings of pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csc_data.config.experiment import Experiment, build_settings
from csc_data.config.settings import POSITIVE, Earlier, Limits, Names, not_empty, setting, settings
from csc_data.errors import Problem, did_you_mean
from csc_train.settings.training import TrainSettings

RAW = "raw"
"""What the one output channel of a network is called that is pretrained."""

# What an experiment says of annotations and of other changes of raw, which there is no place for here.
_OF_ANNOTATIONS = frozenset(
    {
        *("classes", "datasplit_path", "validation_prob", "use_s3", "filter_by_scale", "force_all_classes", "datasets"),
        *("targets", "further_targets", "target_value_transforms", "train_loader", "validation_loader"),
        *("weighted_sampler", "foreground_share", "use_mutual_exclusion", "weight_loss", "max_positive_weight"),
        *("intensity_transforms", "val_raw_value_transforms", "train_raw_value_transforms", "pretraining"),
    }
)
# What it says of its own training, and may say otherwise in the table `pretraining`.
_OF_TRAINING = frozenset(
    {
        *("criterion", "criterion_kwargs", "best_metric", "low_is_best", "smoothing_window"),
        *("load_model", "model_to_load", "pretrained", "frozen", "learning_rates"),
    }
)


def _settings_of_training(table: Mapping[str, Any], _: Earlier) -> Iterator[Problem]:
    known = {*TrainSettings.__dataclass_fields__, *MaskSettings.__dataclass_fields__} - _OF_ANNOTATIONS
    for name in table:
        if name in _OF_ANNOTATIONS:
            yield Problem(
                where=name, what="has no place in pretraining, which knows no annotations", remedy="remove it"
            )
        elif name not in known:
            yield Problem(where=name, what="there is no such setting", remedy=did_you_mean(name, sorted(known)))


@settings
class MaskSettings:
    """Which raw there is to learn from, and what is hidden of it."""

    raw_volumes: Names = setting(
        "raw to pretrain on: data sets of the data folder, by name or patterns like jrc_mus*, or paths and URLs",
        not_empty,
        default=("*",),
    )
    mask_share: float = setting("share of the voxels that are masked", Limits(gt=0, lt=1), default=0.4)
    mask_size: float = setting(
        "edge in nm of the blocks that are masked: a few voxels, so that what is around says what is there",
        POSITIVE,
        default=24.0,
    )


@settings
class PretrainStage(MaskSettings):
    """What an experiment may say of pretraining beside its other settings."""

    pretraining: Mapping[str, Any] = setting(
        "settings of training that are others in pretraining, such as {epochs = 50, learning_rate = 2e-3}",
        _settings_of_training,
        factory=dict,
    )


@settings
class PretrainSettings(MaskSettings, TrainSettings):
    """The settings of `csc_train.pretrain`: those of training, and what is masked.

    There are no classes: the one output of the network is raw.
    """

    classes: Names = setting("what the output is", default=(RAW,))


def read_pretrain_settings(experiment: Experiment, **overrides: Any) -> PretrainSettings:
    """Return the settings of an experiment's pretraining, checked.

    What it says of annotations, validation and starting weights is left aside, and what its table ``pretraining`` says
    goes before the rest. The run is called ``{model_name}_pretraining``, unless the table has a ``model_name``.

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    names = {name: value for name, value in experiment.names.items() if name not in _OF_ANNOTATIONS | _OF_TRAINING}
    stage = build_settings(experiment, PretrainStage, **{k: v for k, v in overrides.items() if k in _OF_STAGE})
    given = {name: value for name, value in overrides.items() if name != "pretraining"}
    name = given.get("model_name") or names.get("model_name") or TrainSettings(classes=("mito",)).model_name
    own = {
        "architecture": names.get("architecture") or name,
        "model_name": f"{name}_pretraining",
        "criterion": "mse",
        "weight_loss": False,
        **stage.pretraining,
        **{key: value for key, value in given.items() if key != "model_name"},
    }
    read = Experiment(path=experiment.path, names={**names, **own}, exact=experiment.exact)
    return build_settings(read, PretrainSettings)


_OF_STAGE = frozenset(PretrainStage.__dataclass_fields__)
