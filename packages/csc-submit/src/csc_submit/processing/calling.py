"""What `process` may be called with beside settings: ours, and the official toolbox's arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from csc_data.blocks import Execution, Existing
from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.experiment import Experiment, adjust_settings, build_settings, read_experiment
from csc_data.config.experiment import load_safe_config as load_safe_config  # scripts import it with `process`
from csc_data.config.templates import anchor, placeholder_names
from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.executors import ProcessWorkers
from csc_data.executors.cluster import connect
from csc_submit.predictions import StoredPrediction, find_predictions
from csc_submit.processing.own_step import with_experiment
from csc_submit.settings import ProcessOverrides, ProcessSettings

Source = str | os.PathLike[str] | Experiment | ProcessSettings

_ON_SCHEDULER = 128  # blocks that a cluster of unknown size is given at a time


class ProcessOptions(ProcessOverrides, total=False):
    """Keywords of `process`.

    Attributes
    ----------
    executor : concurrent.futures.Executor
        Where blocks are worked on; here, one by one, by default.
    max_workers : int
        Processes of this machine to work on them instead.
    scheduler : str
        Address of a Dask scheduler whose workers do.
    device : str
        Where the tensors of a ``process_func`` lie that takes some.
    config_path, input_path, output_path, overwrite
        As in the official toolbox: the experiment; where predictions lie and results go, with {dataset} and {crop};
        ``existing="overwrite"``.
    """

    executor: Executor | None
    max_workers: int | None
    scheduler: str | None
    device: str | None
    config_path: str | os.PathLike[str] | None
    input_path: str | os.PathLike[str] | None
    output_path: str | os.PathLike[str] | None
    overwrite: bool | None


@dataclass(frozen=True, kw_only=True)
class ProcessCall:
    """A call of `process`, its two ways of saying things brought together.

    Attributes
    ----------
    settings : ProcessSettings
    config : Config
        With the places of predictions and results.
    crops : sequence of str, or None
    existing : {"resume", "refuse", "overwrite"}
    places : mapping
        ``executor``, ``max_workers`` or ``scheduler``.
    """

    settings: ProcessSettings
    config: Config
    crops: Sequence[str] | None
    existing: Existing
    places: Mapping[str, Any] = field(default_factory=dict)

    def find_predictions(self) -> tuple[StoredPrediction, ...]:
        """Return the predictions of the crops; of "test" those that there are.

        Raises
        ------
        MissingDataError
            If there are none, or a crop that was named was not predicted.
        """
        if self.crops is None or list(self.crops) != ["test"]:
            return find_predictions(self.config, self.crops)
        tested = {f"crop{number}" for number in load_test_crops(self.config)}
        found = tuple(p for p in find_predictions(self.config) if p.crop in tested)
        if not found:
            raise MissingDataError("no test crop was predicted; `csc predict CONFIG -c test` predicts them")
        return found

    @contextmanager
    def open_execution(self) -> Iterator[Execution]:
        """Start what is to work on blocks, and end it afterwards.

        Raises
        ------
        MissingPackageError
            If a scheduler is named and Dask is not installed.
        ClusterError
            If it does not answer.
        """
        count = self.places.get("max_workers", 1)
        if "executor" in self.places:
            yield Execution(executor=self.places["executor"])
        elif "scheduler" in self.places:
            with connect(self.places["scheduler"]) as executor:
                yield Execution(executor=executor, max_pending=_ON_SCHEDULER)
        elif count > 1:
            with ProcessWorkers(count, threads=1) as executor:
                # One block more than processes, so that none waits while this one marks what is finished.
                yield Execution(executor=executor, max_pending=count + 1)
        else:
            yield Execution()


def read_call(
    source: Source | None,
    crops: Sequence[str] | str | None,
    config: Config | None,
    existing: Existing | None,
    options: Mapping[str, Any],
) -> ProcessCall:
    """Bring the arguments of `process` together.

    Raises
    ------
    InvalidArgumentError
        If two of them contradict each other, or there is no experiment.
    ProblemsError
        If settings are wrong.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    chosen = _one_of("an experiment", source, given.pop("config_path", None))
    if chosen is None:
        raise InvalidArgumentError("name an experiment file, or give ProcessSettings")
    overwrite = given.pop("overwrite", None)
    how: Existing | None = _one_of("existing", existing, "overwrite" if overwrite else None)
    base = config or load_config()
    for name, option in (("predictions", "input_path"), ("processed", "output_path")):
        base = _with_path(base, name, option, given.pop(option, None))
    places: dict[str, Any] = {
        name: given.pop(name) for name in ("executor", "max_workers", "scheduler") if name in given
    }
    if len(places) > 1:
        raise InvalidArgumentError(f"{' and '.join(places)} exclude each other: give one of them")
    if places.get("max_workers", 1) < 1:
        raise InvalidArgumentError(f"max_workers must be 1 or more, got {places['max_workers']}")
    settings = as_process_settings(chosen, device=given.pop("device", None), **given)
    return ProcessCall(
        settings=settings,
        config=base,
        crops=_crop_names(crops),
        existing=how or settings.existing,
        places=places,
    )


def as_process_settings(given: Source, *, device: str | None = None, **overrides: Any) -> ProcessSettings:
    """Return checked settings from an experiment file or from settings made in code.

    Parameters
    ----------
    given : path, Experiment or ProcessSettings
    device : str, optional
        Where the tensors of a ``process_func`` lie that takes some.
    **overrides : object
        Settings that go before those of the experiment; None leaves them.

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    if isinstance(given, ProcessSettings):
        return adjust_settings(given, **overrides)
    experiment = given if isinstance(given, Experiment) else read_experiment(Path(given))
    return with_experiment(build_settings(experiment, ProcessSettings, **overrides), experiment, device)


def _one_of(what: str, ours: Any, theirs: Any) -> Any:
    if ours is not None and theirs is not None and ours != theirs:
        raise InvalidArgumentError(f"{what} is said twice: {ours} and {theirs}")
    return theirs if ours is None else ours


def _crop_names(crops: Sequence[str] | str | None) -> Sequence[str] | None:
    """Return names and patterns of crops; None stands for all that were predicted."""
    names = [name.strip() for name in crops.split(",") if name.strip()] if isinstance(crops, str) else crops
    if names is None or list(names) == ["*"]:
        return None
    return names


def _with_path(config: Config, name: str, option: str, path: str | os.PathLike[str] | None) -> Config:
    if path is None:
        return config
    place = anchor(Path.cwd().as_posix(), str(Path(path).expanduser())).replace("{label}", "{class_name}")
    unknown = placeholder_names(place) - {"dataset", "crop", "class_name"}
    if unknown:
        raise InvalidArgumentError(
            f"{option} may hold {{dataset}}, {{crop}} and {{label}}, not {', '.join(sorted(unknown))}: {path}"
        )
    if "{class_name}" not in place:
        place = f"{place.rstrip('/')}/{{class_name}}"
    changes: dict[str, Any] = {name: place}
    return replace(config, **changes)
