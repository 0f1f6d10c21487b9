"""``csc predict``: what a network says about crops, or any box of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from csc_cli import completing
from csc_cli.console import answer, say, say_logged
from csc_cli.options import (
    GroupedCommand,
    class_names_option,
    existing_option,
    json_option,
    parse_names,
    parse_shape,
    set_option,
)
from csc_cli.stages.execution import make_execution, predict_options
from csc_cli.stages.experiments import TRAINING, config_words, experiment_options, next_command
from csc_data.wording import table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_train import PredictResult
    from csc_train.prediction.results import CropPrediction
    from csc_train.prediction.stability import Stability

HEADINGS = {
    "What": ("crops", "volume", "rois", "classes_to_write", "all_classes"),
    "Where": ("chosen", "data", "search_path", "raw_name", "crop_name", "output_path", "existing", "overwrite"),
    "How": ("checkpoints", "overlap", "blending", "tta", "skip_orthoplanes", "given"),
    "Output": ("output", "output_dtype", "output_grid", "scales", "output_format", "shards"),
    "On": ("device", "devices", "workers", "scheduler", "cluster", "jobs", "precision", "compile", "batch_size"),
}
_WORDS = ("best", "latest", "untrained")


@click.command(cls=GroupedCommand, headings=HEADINGS)
@click.option(
    "-c",
    "--crops",
    metavar="NAMES",
    callback=parse_names,
    shell_complete=completing.several_of(completing.crop_names("test", "validation", "annotated")),
    help="Ids (557), test, validation, annotated, patterns ('jrc_hela-2/*') [default: test].",
)
@click.option("--volume", metavar="VOLUME", help="Instead of crops: all of a data set, or of a raw volume by its path.")
@click.option("--roi", "rois", metavar="BOX", multiple=True, help="Only this of it: 'z0:z1,y0:y1,x0:x1 nm', or voxels.")
@class_names_option(
    "--classes",
    "classes_to_write",
    text="Classes, and arrays beside them, to write [default: classes scored or annotated there, their affinities].",
)
@click.option("--all-classes", is_flag=True, default=None, help="Write all that the network gives.")
@click.option("-s", "--search-path", metavar="PATH", help="Where data sets lie, with {dataset} and {name}.")
@click.option("-r", "--raw-name", metavar="NAME", help="What {name} is for raw [default: em/fibsem-uint8].")
@click.option("-n", "--crop-name", metavar="NAME", help="What {name} is for annotations, with {crop} and {label}.")
@click.option("-o", "--output-path", metavar="PATH", help="Where predictions go, with {dataset} and {crop}.")
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="WHICH",
    multiple=True,
    help="best, latest, untrained, or a file; several files are averaged [default: what CONFIG says].",
)
@click.option(
    "--overlap", type=click.FloatRange(0, 1, max_open=True), help="Share of a patch that the next one covers."
)
@click.option("--blending", type=click.Choice(["gaussian", "constant"]), help="Weights where patches overlap.")
@click.option("--tta", type=click.Choice(["mirror", "all"]), help="Average mirrored, or also transposed, patches.")
@click.option("-so", "--skip-orthoplanes", is_flag=True, help="Predict flat patches across z alone.")
@set_option
@click.option("--output", type=click.Choice(["probability", "logit", "distance", "mask"]), help="What is stored.")
@click.option("--dtype", "output_dtype", type=click.Choice(["uint8", "float16", "float32"]), help="As which type.")
@click.option("--output-grid", type=click.Choice(["target", "crop"]), help="The network's voxels, or the crop's own.")
@click.option("--scales", type=click.IntRange(min=1), help="Levels to write, for viewers.")
@click.option("--format", "output_format", type=click.Choice(["2", "3"]), help="Format of zarr.")
@click.option("--shards", metavar="VOXELS", callback=parse_shape, help="Edge of a file of format 3, or z,y,x.")
@predict_options
@click.option("--precision", metavar="FORMAT", help="32-true, 16-mixed, bf16-mixed or auto.")
@click.option("--compile", is_flag=True, default=None, help="Compile the network.")
@click.option("--batch", "batch_size", type=click.IntRange(min=1), help="Patches at a time.")
@click.option("--dry-run", is_flag=True, help="Tell passes, voxels and disk; predict nothing.")
@click.option("--check", is_flag=True, help="Tell how much the output depends on where patches lie; write nothing.")
@existing_option
@json_option
@experiment_options(TRAINING)
def predict(experiment: str, config: Config, dry_run: bool, check: bool, **options: Any) -> None:
    """Predict crops, or a box of a volume, with the network of CONFIG: an experiment file (.py, .toml), a checkpoint
    (.pth), or published weights by name (`csc models pretrained`).

    Of a test crop the classes are written that are scored there, and their affinities, if the network gives some. A run
    that was killed, or is asked for more classes, goes on where it stopped. `csc settings predict` lists what --set
    takes; `csc evaluate --datasplit` scores `-c validation`.
    """
    import csc_train
    from csc_cli.stages.prediction import block_reporter, describe_prediction
    from csc_cli.stages.weights import fetch_weights, is_published

    if is_published(experiment):
        fetch_weights(experiment)
    call = _call(options)
    if dry_run:
        plan = csc_train.plan_prediction(experiment, config=config, **call)
        _say_lines(plan.lines)
        answer({"regions": plan.estimate.regions, "notes": plan.notes, "problems": plan.problems})
        plan.estimate.check_room()
        if plan.problems:
            raise click.ClickException(f"{len(plan.problems)} of the crops cannot be predicted, see above")
        say("next: the same without --dry-run")
        return
    if check:
        del call["existing"]
        stability = csc_train.check_prediction(experiment, config=config, **call)
        answer(stability)
        _say_stability(stability)
        return
    # Who waits for another process that has the last blocks says so.
    with block_reporter() as report, say_logged("csc_data.blocks.sharing"):
        result = csc_train.predict(
            experiment, config=config, progress=report, on_plan=lambda plan: _say_lines(plan.lines), **call
        )
    answer(result)
    _say_result(result, describe_prediction(result))
    say(f"next: {next_command('process', *_processed_by(experiment))}")


def _processed_by(experiment: str) -> tuple[str, ...]:
    """Return the file that says how to process: an experiment does, a checkpoint does not."""
    return config_words() if experiment.endswith((".py", ".toml")) else ("CONFIG",)


def _say_lines(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _say_stability(found: Stability) -> None:
    rows = [
        (name, f"{mean:.4f}", f"{largest:.4f}", f"{changed:.2%}")
        for name, mean, largest, changed in zip(found.classes, found.mean, found.largest, found.changed, strict=True)
    ]
    place = f"{'x'.join(map(str, found.voxels))} voxels of {found.region}"
    say(f"{place} predicted twice, patches shifted by half a step the second time; values differ by")
    say(table(("class", "on average", "at most", "voxels across the threshold"), rows, indent="  "))
    say("where they hardly differ, less overlap is enough; where they do, more overlap or larger patches help")


def _say_result(result: PredictResult, what: str) -> None:
    headers = ("crop", "voxels", "arrays", "blocks", "of them before", "seconds")
    say(table(headers, [_row(crop) for crop in result.crops], indent="  "))
    source = f"with {result.checkpoint}" if result.checkpoint else "with random weights"
    places = dict.fromkeys(str(crop.folder.parent.parent) for crop in result.crops)
    say(f"predicted {what} {source}: in {', '.join(places)}")


def _call(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the options are for `csc_train.predict`; those that were left out say nothing."""
    call: dict[str, Any] = {name: value for name, value in options.items() if value not in (None, ())}
    given = call.pop("given", {})
    checkpoints = call.pop("checkpoints", ())
    if len(checkpoints) == 1:
        call["checkpoint"] = checkpoints[0]
    elif checkpoints:
        if any(name in _WORDS for name in checkpoints):
            raise click.UsageError(f"several checkpoints are files; {', '.join(_WORDS)} stand for one alone")
        call["checkpoints"] = checkpoints
    if call.pop("skip_orthoplanes"):
        call["orthoplanes"] = False
    if "shards" in call or "output_format" in call:
        call["output_format"] = int(call.get("output_format", 3))
    places = {name: call.pop(name, None) for name in ("scheduler", "cluster", "jobs")}
    if places["scheduler"] or places["cluster"] or isinstance(call.get("devices"), tuple):
        call["execution"] = make_execution(**places, devices=call.pop("devices", None), workers=call.pop("workers", 1))
    return {**given, **call}


def _row(crop: CropPrediction) -> Sequence[object]:
    shape = "x".join(map(str, crop.shape))
    resumed = crop.resumed_blocks
    return f"{crop.dataset}/{crop.crop}", shape, len(crop.classes), crop.blocks, resumed, f"{crop.seconds:.1f}"
