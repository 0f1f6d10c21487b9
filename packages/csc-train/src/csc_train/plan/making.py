"""Puts the choices together into a plan for each group of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike

from csc_data.challenge import ClassTable
from csc_data.errors import Problem, ProblemsError
from csc_data.fingerprint import Choice, Fingerprint
from csc_data.wording import format_bytes, format_seconds
from csc_train.devices import DeviceMemoryError
from csc_train.plan.draft import Draft, draft
from csc_train.plan.machine import Machine
from csc_train.plan.measuring import StepCost
from csc_train.plan.resolution import Group, divide_classes
from csc_train.plan.sampling import sampling_choices
from csc_train.plan.schedule import divide_steps, schedule_choices
from csc_train.settings import TrainSettings

Measure = Callable[[TrainSettings], StepCost]

_TRIES = 6  # at a size that fits and that the measured speed confirms
_SMALLER = 0.6
_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An experiment for some classes.

    Attributes
    ----------
    group : Group
    choices : tuple of Choice
        The settings of training, in the order of the file.
    seconds, memory_bytes : float, int
        What training is expected to take.
    is_measured : bool
        Whether a few steps were tried on the device.
    table : ClassTable
        Which classes there are.
    """

    group: Group
    choices: tuple[Choice, ...]
    seconds: float
    memory_bytes: int
    is_measured: bool
    table: ClassTable

    @property
    def settings(self) -> TrainSettings:
        """The settings, checked."""
        return TrainSettings(class_table=self.table, **{choice.name: choice.value for choice in self.choices})

    def expectation(self) -> str:
        """Write what training is expected to take."""
        how = "measured by a few steps" if self.is_measured else "estimated, not measured"
        return f"about {format_seconds(self.seconds)} and {format_bytes(self.memory_bytes)} ({how})"


def make_plans(
    fingerprint: Fingerprint,
    machine: Machine,
    *,
    name: str = "plan",
    datasplit: str | PathLike[str] | None = None,
    measure: Measure | None = None,
) -> tuple[Plan, ...]:
    """Plan experiments: one, or one for each group of classes that want voxel sizes of their own.

    Parameters
    ----------
    fingerprint : Fingerprint
    machine : Machine
        Its time is for all of them together.
    name : str
        Names the runs, with the voxel size where there are several.
    datasplit : path-like, optional
        Where it is not that of the data folder.
    measure : callable, optional
        Takes settings and returns what a step costs; `measure_step`.

    Raises
    ------
    ProblemsError
        With each class that is present nowhere.
    InvalidArgumentError
        If no patch fits into memory.
    """
    absent = [facts.name for facts in fingerprint.classes.values() if not facts.crops_present]
    if absent:
        what, remedy = "is annotated, but no crop that trains has any of it", "leave it out"
        raise ProblemsError("classes", [Problem(where=name, what=what, remedy=remedy) for name in absent])
    groups = divide_classes(fingerprint, machine.seconds)
    own = replace(machine, seconds=machine.seconds / len(groups))
    plans = []
    for group in groups:
        voxels = f"_{min(group.voxel_size):g}nm" if len(groups) > 1 else ""
        naming = _where(f"{name}{voxels}", datasplit)
        plans.append(_plan(group, fingerprint, own, naming, measure))
    return tuple(plans)


def _where(name: str, datasplit: str | PathLike[str] | None) -> list[Choice]:
    choices = [Choice(name="model_name", value=name, reason="names checkpoints and logs")]
    if datasplit is not None:
        choices.append(Choice(name="datasplit_path", value=str(datasplit), reason=""))
    return choices


def _plan(
    group: Group, fingerprint: Fingerprint, machine: Machine, naming: list[Choice], measure: Measure | None
) -> Plan:
    made, cost = draft(group, fingerprint, machine), None
    for tries_left in reversed(range(_TRIES if measure else 0)):
        assert measure is not None
        try:
            cost = measure(_assemble(group, fingerprint, machine, made, naming).settings)
        except DeviceMemoryError:
            if not tries_left:
                raise
            machine = replace(machine, memory_bytes=int(made.memory_bytes * _SMALLER))
            made = draft(group, fingerprint, machine)
            continue
        machine = replace(machine, flops=made.flops / cost.seconds, bf16=cost.precision == "bf16-mixed")
        before, made = made, draft(group, fingerprint, machine)
        if (made.network, made.patch, made.batch) == (before.network, before.patch, before.batch):
            break
    plan = _assemble(group, fingerprint, machine, made, naming)
    memory = made.memory_bytes if cost is None or cost.memory_bytes is None else cost.memory_bytes
    return replace(plan, memory_bytes=memory, is_measured=cost is not None)


def _assemble(group: Group, fingerprint: Fingerprint, machine: Machine, made: Draft, naming: list[Choice]) -> Plan:
    arrays = {"shape": list(made.patch), "scale": list(group.voxel_size)}
    choices = [
        Choice(name="classes", value=list(group.names), reason=""),
        Choice(name="input_array_info", value=arrays, reason=f"{group.reason}; {made.patch_reason}"),
        *naming,
        Choice(name="architecture", value=made.network.name, reason=made.network_reason),
        Choice(name="model_kwargs", value=dict(made.network.arguments), reason=""),
        Choice(name="batch_size", value=made.batch, reason=made.batch_reason),
        *schedule_choices(made, fingerprint),
        *sampling_choices(made, group, fingerprint),
        *_machine_choices(machine),
    ]
    epochs = divide_steps(made.steps)
    return Plan(
        group=group,
        choices=tuple(choice for choice in choices if choice.value != {}),
        seconds=made.seconds(epochs.count * epochs.iterations, machine),
        memory_bytes=made.memory_bytes,
        is_measured=False,
        table=fingerprint.table,
    )


def _machine_choices(machine: Machine) -> list[Choice]:
    choices = [Choice(name="device", value=machine.device, reason="what this was planned for")]
    if machine.bf16:
        choices.append(Choice(name="precision", value="bf16-mixed", reason="faster here, and as good in practice"))
    if machine.kind != "cpu":
        workers = max(1, min(_WORKERS, machine.cores - 1))
        reason = f"{machine.cores} cores load while the device trains"
        choices.append(Choice(name="num_workers", value=workers, reason=reason))
    return choices
