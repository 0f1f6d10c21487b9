"""What can be proven of a run before its first step."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from csc_data.errors import InvalidArgumentError, Problem, ProblemsError
from csc_data.loader import TrainingPatches
from csc_data.loader.patches.unannotated import RawPatches
from csc_data.wording import format_bytes, format_seconds, plural
from csc_train.checkpoints import resume_path
from csc_train.devices import DeviceMemoryError
from csc_train.parts import rest
from csc_train.randomness import random_state, restore_random_state
from csc_train.training.run import Run
from csc_train.training.steps import timed

logger = logging.getLogger(__name__)

_STEPS = 3  # the first of them also compiles, and is not counted


@dataclass(kw_only=True)
class Rehearsal:
    """What a run will take and give, as lines for people.

    Attributes
    ----------
    lines : list of str
    seconds_per_epoch : float or None
        Of training and validation; None where no step was taken.
    """

    lines: list[str] = field(default_factory=list)
    seconds_per_epoch: float | None = None


def check_places(run: Run) -> str:
    """Check that checkpoints and logs can be written, and that the disk has room for what will be kept.

    Nothing stays of it.

    Raises
    ------
    ProblemsError
        With everything that is in the way.
    """
    settings = run.settings
    problems = []
    free = 0
    folders = {
        "model_save_path": resume_path(settings.model_save_path, settings.model_name).parent,
        "logs_save_path": Path(settings.logs_save_path.format(model_name=settings.model_name)).expanduser(),
    }
    for name, folder in folders.items():
        try:
            with _there_for_now(folder), tempfile.TemporaryFile(dir=folder):
                free = shutil.disk_usage(folder).free if name == "model_save_path" else free
        except OSError as error:
            remedy = f"choose another {name}"
            problems.append(Problem(where=name, what=f"{folder} cannot be written: {error.strerror}", remedy=remedy))
    if problems:
        raise ProblemsError("experiment", problems)
    needed = bytes_kept(run)
    if needed > free:
        what = f"{format_bytes(needed)} of checkpoints will be kept, and the disk has {format_bytes(free)} left"
        remedy = "free some, choose another place, or a smaller save_top_k"
        raise ProblemsError("experiment", [Problem(where="model_save_path", what=what, remedy=remedy)])
    return f"checkpoints: {format_bytes(needed)} in {folders['model_save_path']}, {format_bytes(free)} free"


@contextmanager
def _there_for_now(folder: Path) -> Iterator[None]:
    """Make a folder, and remove what was made of it in the end."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in made:
            with suppress(OSError):  # it could not be made, or another process has begun to fill it
                each.rmdir()


def bytes_kept(run: Run) -> int:
    """Return the bytes of all checkpoints that a run keeps, and of one that is being written."""
    settings, state = run.settings, run.state
    weights = sum(value.nbytes for value in state.plain.state_dict().values())
    # Most optimizers hold two numbers for each weight.
    whole = weights * (4 if state.average else 3)
    epochs = settings.epochs if settings.save_top_k < 0 else min(settings.epochs, settings.save_top_k + 2)
    return int(2 * whole + weights * epochs)


def describe_data(run: Run) -> list[str]:
    """Return how much of each class there is to learn from; a line for each that nobody annotated."""
    patches = run.loaders.train.patches
    if not isinstance(patches, TrainingPatches):
        return [f"training: {len(run.loaders.train)} batches an epoch, of a loader that is given"]
    if isinstance(patches, RawPatches):
        return [_describe_raw(patches, run.settings.input_array_info.shape)]
    counts = patches.draws.class_counts()
    lines = [f"training: {len(patches.reader.crops)} crops, patches of {run.settings.input_array_info.shape} voxels"]
    for name, known in counts.known.items():
        present = counts.present[name]
        if not known:
            lines.append(f"  {name}: nobody annotated it; the network will learn nothing of it")
        elif not present:
            lines.append(f"  {name}: {known:,} voxels known, none of them present")
        else:
            lines.append(f"  {name}: {known:,} voxels known, {present / known:.2%} present")
    return lines


def _describe_raw(patches: RawPatches, shape: Sequence[int]) -> str:
    crops = patches.reader.crops
    voxels = sum(patches.reader.grid(number).size for number in range(len(crops)))
    volumes = plural(len({crop.raw.path for crop in crops}), "volume")
    return f"raw: {volumes}, {voxels:,} voxels in {plural(len(crops), 'region')}, patches of {tuple(shape)} voxels"


def _describe_validation(run: Run) -> str:
    validation = run.loaders.validation
    return "validation: none" if validation is None else f"validation: {plural(len(validation), 'batch')}"


def rehearse(run: Run) -> Rehearsal:
    """Check places and disk, and take a few steps whose result is thrown away.

    Raises
    ------
    ProblemsError
        If something cannot be written.
    DeviceMemoryError
        If the device has too little memory for a step.
    InvalidArgumentError
        If network, batch and targets do not fit.
    """
    found = Rehearsal(lines=[*describe_data(run), _describe_validation(run), *run.score_plan.describe()])
    found.lines.append(check_places(run))
    weights = sum(parameter.numel() for parameter in run.state.plain.parameters())
    found.lines.append(f"network: {weights:,} weights, {run.fabric.world_size} x {run.fabric.device}")
    settings = run.settings
    logger.info(
        "trying %d steps with %d patches of %s voxels on %s, whose result is thrown away",
        _STEPS, settings.batch_size, "x".join(map(str, settings.input_array_info.shape)), run.fabric.device,
    )  # fmt: skip
    seconds, waited = _try_steps(run)
    batches = len(run.loaders.train) + len(run.loaders.validation or ()) / 3  # a forward pass is a third of a step
    found.seconds_per_epoch = seconds * batches
    found.lines.append(
        f"time: {seconds:.2g} s a batch, of which {waited / seconds:.0%} waiting for data; "
        f"{format_seconds(found.seconds_per_epoch)} an epoch, "
        f"{format_seconds(found.seconds_per_epoch * run.settings.epochs)} in all"
    )
    if run.fabric.device.type == "cuda":
        most = torch.cuda.max_memory_allocated(run.fabric.device)
        whole = torch.cuda.get_device_properties(run.fabric.device).total_memory
        found.lines.append(f"memory: {format_bytes(most)} of {format_bytes(whole)}")
    return found


def _try_steps(run: Run) -> tuple[float, float]:
    """Return the seconds of a batch, and how many of them it was waited for; all is as it was before."""
    kept = {name: value.clone() for name, value in run.state.network.state_dict().items()}
    state = random_state()
    epoch = run.loaders.train.epoch
    started, run.waited = time.perf_counter(), 0.0
    count = 0
    try:
        run.network.train()
        rest(run.state.network, run.settings.frozen)
        for batch in timed(run, run.loaders.train):
            with explained(run):
                losses = run.objective.losses(run.network(run.network_input(batch)), batch)
                run.fabric.backward(run.objective.total(losses, run.objective.weights(batch)))
            if count == 0:
                started, run.waited = time.perf_counter(), 0.0
            count += 1
            if count == _STEPS:
                break
    finally:
        run.stepper.zero_grad()
        run.state.network.load_state_dict(kept)
        restore_random_state(state)
        run.loaders.train.set_epoch(epoch)
    steps = max(1, count - 1)
    return (time.perf_counter() - started) / steps, run.waited / steps


@contextmanager
def explained(run: Run) -> Iterator[None]:
    """Say what to do about an error of a first step.

    Raises
    ------
    DeviceMemoryError
        If the device has too little memory.
    InvalidArgumentError
        If sizes do not fit.
    """
    settings = run.settings
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in str(error):
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InvalidArgumentError(
                f"the first batch of patches of {settings.input_array_info.shape} does not go through "
                f"{settings.architecture or settings.model_name}: {first}"
            ) from error
        raise DeviceMemoryError(
            f"a batch of {settings.batch_size} patches of {settings.input_array_info.shape} does not fit into the "
            f"memory of {run.fabric.device}; try a smaller batch_size with gradient_accumulation_steps, a smaller "
            "input_array_info, or precision 'bf16-mixed'"
        ) from error
