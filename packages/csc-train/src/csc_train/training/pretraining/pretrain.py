"""`pretrain`: weights that know raw, for `train` to begin with."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Unpack

from csc_data.config.experiment import Experiment, adjust_settings, is_being_read, read_experiment
from csc_data.config.user_config import Config
from csc_train.overrides import PretrainOverrides
from csc_train.settings.pretraining import PretrainSettings, read_pretrain_settings
from csc_train.training.pretraining.batches import open_masked_loaders
from csc_train.training.rehearsal import Rehearsal, rehearse
from csc_train.training.results import TrainCallback, TrainResult
from csc_train.training.train import file_of, run_training, set_up_run


def pretrain(
    experiment: str | PathLike[str] | Experiment | PretrainSettings,
    *,
    config: Config | None = None,
    progress: TrainCallback | None = None,
    **overrides: Unpack[PretrainOverrides],
) -> TrainResult:
    """Train the network of an experiment to say what is in masked blocks of raw; no annotation is needed.

    It runs, is saved, resumed and stopped as `csc_train.train`, under the name ``{model_name}_pretraining``. Training
    begins with it by ``model_to_load = "{model_name}_pretraining"``, with a new head, or takes the encoder alone, by
    ``pretrained`` and the checkpoint's path.

    Parameters
    ----------
    experiment : path-like, Experiment or PretrainSettings
        An experiment file, as for `train`; what it says of annotations is left aside, see `read_pretrain_settings`.
    config : csc_data.config.user_config.Config, optional
        Where data lies; the user's by default.
    progress : callable, optional
        Called with a `TrainProgress` after each batch and epoch; a bar and a line for each epoch by default.
    **overrides : object
        Settings that go before those of the experiment; None leaves them.

    Returns
    -------
    TrainResult
        Empty when called by an experiment file that is just being read for its settings.

    Raises
    ------
    ProblemsError
        With everything that is wrong in the settings.
    CscError, csc_models.ModelError
        If data, network or checkpoints cannot be used.
    KeyboardInterrupt
        After Ctrl-C, once all is saved.
    """
    file = file_of(experiment)
    if file is not None and is_being_read(file):
        return TrainResult()
    run = set_up_run(_settings(experiment, config, overrides), config, open_loaders=open_masked_loaders)
    return run_training(run, file, progress)


def rehearse_pretraining(
    experiment: str | PathLike[str] | Experiment | PretrainSettings,
    *,
    config: Config | None = None,
    **overrides: Unpack[PretrainOverrides],
) -> Rehearsal:
    """Prove what can be proven of a pretraining run without it: nothing is written.

    Parameters
    ----------
    experiment, config, **overrides
        As for `pretrain`.

    Returns
    -------
    Rehearsal
        What the run would take.

    Raises
    ------
    ProblemsError, CscError, csc_models.ModelError
        As `pretrain` does before its first step.
    """
    return rehearse(set_up_run(_settings(experiment, config, overrides), config, open_loaders=open_masked_loaders))


def _settings(
    experiment: str | PathLike[str] | Experiment | PretrainSettings,
    config: Config | None,
    overrides: PretrainOverrides,
) -> PretrainSettings:
    if config is not None and config.experiment:
        overrides = {"base_experiment_path": config.experiment, **overrides}
    if isinstance(experiment, PretrainSettings):
        return adjust_settings(experiment, **overrides)
    read = experiment if isinstance(experiment, Experiment) else read_experiment(Path(experiment))
    return read_pretrain_settings(read, **overrides)
