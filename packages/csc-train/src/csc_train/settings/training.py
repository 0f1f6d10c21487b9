"""The settings of training."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from csc_data.challenge.classes.settings import defaults_of
from csc_data.config.experiment import Experiment, adjust_settings, build_settings, idle_names, read_experiment
from csc_data.config.settings import settings
from csc_data.config.user_config import Config, load_config
from csc_data.loader.settings import SampleSettings
from csc_train.overrides import TrainOverrides
from csc_train.processes import is_first_process
from csc_train.settings.data import LOADER_NAMES, DataSettings, as_cube
from csc_train.settings.device import DeviceSettings
from csc_train.settings.elsewhere import said_elsewhere
from csc_train.settings.network import NetworkSettings
from csc_train.settings.optimisation import OptimisationSettings
from csc_train.settings.record import RecordSettings

logger = logging.getLogger(__name__)


# Bases stand in the order in which their settings do, from the last to the first.
@settings
class TrainSettings(RecordSettings, DeviceSettings, OptimisationSettings, NetworkSettings, DataSettings):
    """The settings of `csc_train.train`.

    Settings that are another way of saying what others say (``num_gpus``, ``resolution``, ``mednext_size``, and what
    ``dataloader_kwargs`` has of ours) are taken over by these and are empty afterwards. Relative paths are below
    ``base_experiment_path``.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (128, 128, 128), "scale": (8, 8, 8)}
    >>> settings = TrainSettings(classes=["nuc", "mito"], input_array_info=patch, epochs=50)
    >>> settings.epochs, settings.input_array_info.extent
    (50, (1024.0, 1024.0, 1024.0))
    >>> try:
    ...     TrainSettings(classes=["nuc", "mitto"], input_array_info=patch)
    ... except ValueError as error:
    ...     print(str(error).partition(" (")[0])
    TrainSettings: classes: the challenge has no class 'mitto'
    """

    def __post_init__(self) -> None:
        self._take_over()
        if not self.best_metric:
            self._put("best_metric", "loss" if self.low_is_best else "iou")
        if self.base_experiment_path is not None:
            base = self.base_experiment_path.expanduser().absolute()
            for name in ("model_save_path", "logs_save_path"):
                self._put(name, str(base / Path(getattr(self, name)).expanduser()))
            if self.datasplit_path is not None:
                self._put("datasplit_path", base / self.datasplit_path.expanduser())

    def _take_over(self) -> None:
        options = dict(self.dataloader_kwargs)
        own = {name: options.pop(name) for name in LOADER_NAMES & options.keys()}
        checked = SampleSettings(**{"classes": self.classes, **own})
        for name in own:
            self._put(name, getattr(checked, name))
        self._put("dataloader_kwargs", options)
        if self.validation_count_limit is not None:
            self._put("validation_batch_limit", self.validation_count_limit)
            self._put("validation_count_limit", None)
        if self.num_gpus is not None:
            self._put("devices", max(self.num_gpus, 1))
            if self.num_gpus == 0:
                self._put("device", "cpu")
            self._put("num_gpus", None)
        if self.mednext_size is not None:
            self._put("model_kwargs", {**self.model_kwargs, "size": self.mednext_size})
            self._put("mednext_size", None)
        if self.resolution is not None:
            scale = as_cube(self.resolution)
            self._put("input_array_info", type(self.input_array_info)(shape=self.input_array_info.shape, scale=scale))
            self._put("resolution", None)

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # it is frozen for others


def read_train_settings(
    experiment: str | PathLike[str] | Experiment | TrainSettings,
    config: Config | None = None,
    **overrides: Unpack[TrainOverrides],
) -> TrainSettings:
    r"""Return the training settings of an experiment, checked.

    Parameters
    ----------
    experiment : path, Experiment or TrainSettings
    config : Config, optional
        Whose data folder may bring classes of its own, and whose ``experiment`` is the folder of relative paths, if it
        names one; the user's by default.
    **overrides : object
        Settings that go before those of the experiment; None leaves them.

    Raises
    ------
    ProblemsError
        With everything that is wrong.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_train.settings import read_train_settings
    >>> text = "classes = ['nuc']\nepochs = 5\ninput_array_info = {'shape': (1, 64, 64), 'scale': (8, 8, 8)}\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "mine.py")
    ...     _ = file.write_text(text)
    ...     settings = read_train_settings(file, epochs=2)
    >>> settings.classes, settings.epochs
    (('nuc',), 2)
    """
    config = config or load_config()
    if config.experiment:
        overrides = {"base_experiment_path": config.experiment, **overrides}
    if isinstance(experiment, TrainSettings):
        return adjust_settings(experiment, **overrides)
    read = experiment if isinstance(experiment, Experiment) else read_experiment(Path(experiment))
    if is_first_process():
        elsewhere = dict(said_elsewhere(read.names))
        idle = {name: line for name, line in idle_names(read) if name not in elsewhere}
        for line in {**elsewhere, **idle}.values():
            logger.warning("%s: %s", read.path, line)
    return build_settings(read, TrainSettings, defaults=defaults_of(config), **overrides)
