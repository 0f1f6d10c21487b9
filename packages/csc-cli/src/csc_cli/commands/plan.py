"""``csc plan``: an experiment file that suits the data and the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import answer, progress_bar, say
from csc_cli.options import classes_option, config_option, json_option
from csc_cli.stages.experiments import next_command
from csc_data.wording import format_bytes, format_seconds, listed, plural, table

if TYPE_CHECKING:
    from csc_data.challenge import ClassTable
    from csc_data.config.user_config import Config
    from csc_data.fingerprint import Fingerprint
    from csc_data.splits.split_file import SplitRow
    from csc_train.plan import Machine, Plan

_HEADERS = ("class", "crops with it", "share (%)", "objects", "diameter (nm): 5 %", "half", "95 %", "thickness (nm)")


@click.command()
@click.option("-o", "--out", metavar="FILE", default="plan.toml", show_default=True, help="The file to write.")
@classes_option
@click.option("--datasplit", metavar="FILE", help="The datasplit [default: datasplit.csv in the data folder].")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Time for training."
)
@click.option("--device", help="cuda, mps or cpu [default: the first of them that is there].")
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="Whether to try a few steps on the device."
)
@click.option("-O", "--overwrite", is_flag=True, help="Replace a file that is there.")
@json_option
@config_option
def plan(out: str, config: Config, overwrite: bool, **options: Any) -> None:
    """Write an experiment file for the data and this machine, with the reason of each choice.

    Looks at the crops of the datasplit that train: sizes and shares of the classes, voxel sizes, grey values. Classes
    that want very different voxel sizes get a file each.
    """
    from csc_data.errors import ExistingOutputError
    from csc_data.splits.split_file import read_datasplit

    file = Path(out)
    if file.suffix != ".toml":
        raise click.UsageError(f"{out}: the file to write must end in .toml")
    split = Path(options["datasplit"]) if options["datasplit"] else config.path("datasplit")
    rows = read_datasplit(split, config.root)
    existing = sorted([*file.parent.glob(file.name), *file.parent.glob(f"{file.stem}_*nm.toml")])
    if existing and not overwrite:
        raise ExistingOutputError(f"{existing[0]} exists; choose another name with --out, or replace it by --overwrite")
    files = write_plans(file, rows, config, options)
    say(f"next: {next_command('train', str(files[0]))}")


def write_plans(file: Path, rows: Sequence[SplitRow], config: Config, options: Mapping[str, Any]) -> list[Path]:
    """Look at the crops of a datasplit, write an experiment file, or several, and say which.

    Parameters
    ----------
    file : Path
        What it is called where one is enough.
    rows : sequence of SplitRow
    config : Config
    options : mapping
        ``classes``, ``datasplit``, ``minutes``, ``device`` and ``measure``, as the command has them.
    """
    from csc_data.challenge import load_classes

    fingerprint = _look(rows, options["classes"], load_classes(config))
    machine = _machine(options["device"], options["minutes"] * 60)
    plans = _plan(fingerprint, machine, file.stem, options)
    files = _write(file, plans, fingerprint, machine)
    for written, made in zip(files, plans, strict=True):
        say(f"wrote {written}: {_describe(made)}")
    documents = [
        {"file": target, "settings": made.choices, "seconds": made.seconds, "memory_bytes": made.memory_bytes}
        for target, made in zip(files, plans, strict=True)
    ]
    answer({"plans": documents, "classes": fingerprint.classes})
    return files


def _look(rows: Sequence[Any], classes: Sequence[str] | None, table_of_classes: ClassTable) -> Fingerprint:
    from csc_data.fingerprint import take_fingerprint

    with progress_bar("crops") as bar:
        fingerprint = take_fingerprint(rows, classes, progress=bar, table=table_of_classes)
    say(table(_HEADERS, [_row(facts) for facts in fingerprint.classes.values()], indent="  "))
    present = {name: facts for name, facts in fingerprint.classes.items() if facts.crops_present}
    absent = [name for name in fingerprint.classes if name not in present]
    if classes is None and present and absent:
        say(f"  left out, as no crop that trains has any: {listed(absent)}")
        return replace(fingerprint, classes=present)
    return fingerprint


def _row(facts: Any) -> Sequence[object]:
    found = facts.diameter_nm
    sizes = [f"{size:.0f}" for size in (found.p5, found.median, found.p95)] if found else ["-"] * 3
    thickness = "-" if facts.thickness_nm is None else f"{facts.thickness_nm:.0f}"
    return (facts.name, facts.crops_present, f"{100 * facts.share:.2f}", f"{facts.objects:,}", *sizes, thickness)


def _machine(device: str | None, seconds: float) -> Machine:
    from csc_eval.running.memory import available_cpus, available_memory
    from csc_train.plan import look_at_machine

    return look_at_machine(device, seconds=seconds, free_bytes=available_memory(), cores=available_cpus())


def _plan(fingerprint: Fingerprint, machine: Machine, name: str, options: Mapping[str, Any]) -> Sequence[Plan]:
    from csc_train.plan import make_plans, measure_step

    if options["measure"]:
        say(f"trying a few steps on {machine.device}")
    datasplit = Path(options["datasplit"]).resolve() if options["datasplit"] else None
    return make_plans(
        fingerprint, machine, name=name, datasplit=datasplit, measure=measure_step if options["measure"] else None
    )


def _write(file: Path, plans: Sequence[Plan], fingerprint: Fingerprint, machine: Machine) -> list[Path]:
    from csc_cli.stages.experiment_text import experiment_text
    from csc_data.storage.atomic import replace_text
    from csc_submit.suggesting import suggest_processing

    files = []
    for made in plans:
        settings = made.settings
        target = file if len(plans) == 1 else file.with_name(f"{settings.model_name}.toml")
        title = [
            f"Planned by `csc plan`, for {plural(fingerprint.crops, 'crop')} of "
            f"{plural(len(fingerprint.datasets), 'data set')} and {format_seconds(machine.seconds)} on "
            f"{machine.device} with {format_bytes(machine.memory_bytes)}. Change what you know better: `csc settings "
            "train`, `csc settings predict` and `csc settings process` list what else can stand here.",
            f"Looked at: {fingerprint.looked_at}.",
            f"Training is expected to take {made.expectation()}.",
        ]
        processing = suggest_processing(made.group.classes, settings.input_array_info.scale)
        sections = [("Training", made.choices), ("From probabilities to masks and objects", processing)]
        replace_text(target, experiment_text(title, sections))
        files.append(target)
    return files


def _describe(made: Plan) -> str:
    settings = made.settings
    patch = " x ".join(map(str, settings.input_array_info.shape))
    nm = " x ".join(f"{size:g}" for size in settings.input_array_info.scale)
    steps = settings.epochs * settings.iterations_per_epoch
    return (
        f"{plural(len(settings.classes), 'class')} at {nm} nm, {settings.architecture}, {settings.batch_size} patches "
        f"of {patch}, {steps:,} steps; {made.expectation()}"
    )
