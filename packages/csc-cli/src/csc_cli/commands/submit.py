"""``csc submit``: from an experiment to the file to upload."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import answer, progress_bar, say, say_logged
from csc_cli.options import (
    GroupedCommand,
    class_names_option,
    crops_option,
    existing_option,
    json_option,
    set_option,
)
from csc_cli.stages.execution import make_execution, predict_options
from csc_cli.stages.experiments import TRAINING, experiment_options
from csc_data.wording import format_bytes, format_seconds, listed, plural

if TYPE_CHECKING:
    from csc_cli.submission import CropOutcome, SubmitPlan, SubmitResult
    from csc_data.config.user_config import Config
    from csc_eval import Finding
    from csc_eval.causes import Cause

HEADINGS = {
    "What": ("crops", "classes", "checkpoint", "given", "output_grid", "output_dtype"),
    "Where": ("chosen", "data", "destination", "disk", "keep", "existing", "overwrite"),
    "On": ("device", "devices", "workers", "scheduler", "cluster", "jobs"),
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)


def _parse_disk(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a size on a disk: 20GB are 20 * 10^9 bytes, as disks are sold and `df -H` counts."""
    if value is None:
        return None
    found = _SIZE.fullmatch(value.strip())
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is not a size; give 20GB or 500MB", ctx, param)
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " "))


@click.command(cls=GroupedCommand, headings=HEADINGS)
@crops_option
@class_names_option("--classes", text="Of those that are scored [default: all].")
@click.option("--checkpoint", metavar="WHICH", help="best, latest, or a file [default: what CONFIG says].")
@set_option
@click.option(
    "--output-grid", type=click.Choice(["target", "crop"]), help="Predict the network's voxels, or the crop's."
)
@click.option("--dtype", "output_dtype", type=click.Choice(["uint8", "float16", "float32"]), help="Of predictions.")
@click.option(
    "-o",
    "--output-path",
    "destination",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The zarr folder to write; the zip lies beside it [default: submission.zarr in the data folder].",
)
@click.option("--disk", metavar="SIZE", callback=_parse_disk, help="Take no more than this on the disk, such as 20GB.")
@click.option("--keep", is_flag=True, help="Keep predictions and processed volumes, and use those that are there.")
@predict_options
@click.option("--dry-run", is_flag=True, help="Tell passes, voxels and disk of each crop; do nothing.")
@existing_option
@json_option
@experiment_options(TRAINING)
def submit(experiment: str, config: Config, crops: list[str] | None, dry_run: bool, **options: Any) -> None:
    """Predict, process, pack and validate the test crops with CONFIG, one by one, and zip them for the portal.

    What lies between goes when a crop is packed, unless --keep. A run that was killed, or met a full disk, goes on when
    it is started again, and ends with the same bytes. Classes of other runs stay, so that several networks can make one
    submission. Where there is a truth, it tells the score. CONFIG is an experiment file, a checkpoint, or published
    weights by name.
    """
    from csc_cli.stages.weights import fetch_weights, is_published
    from csc_cli.submission import SubmitOptions, plan_submission
    from csc_cli.submission import submit as make_submission

    if is_published(experiment):
        fetch_weights(experiment)
    settings = {name: options.pop(name) for name in ("checkpoint", "output_grid", "output_dtype", "device")}
    given = {**options.pop("given"), **{name: value for name, value in settings.items() if value is not None}}
    places = {name: options.pop(name) for name in ("devices", "scheduler", "cluster", "jobs")}
    asked = SubmitOptions(given=given, execution=make_execution(**places), **options)
    if dry_run:
        plan = plan_submission(experiment, crops, config=config, options=asked)
        _say_plan(plan)
        answer({"crops": plan.tasks, "made_with": plan.made_with, "destination": plan.folders.destination})
        plan.check(asked.existing)
        say("next: the same without --dry-run")
        return
    with progress_bar("blocks") as bar, say_logged("csc_data.blocks.sharing"):
        result = make_submission(experiment, crops, config=config, options=asked, watch=_watch(bar))
    answer(_document(result))
    _say_result(result)


def _document(result: SubmitResult) -> dict[str, object]:
    """Return what became of a submission, its score as a result file has it."""
    score = None if result.score is None else result.score.to_dict()
    return {
        "archive": result.archive,
        "ok": result.ok,
        "crops": result.crops,
        "validation": result.validation,
        "score": score,
        "unscored": result.unscored,
        "seconds": result.seconds,
    }


def _watch(bar: Any) -> Any:
    """Return what says a line a crop, and moves a bar over the blocks of the stage under way."""
    from csc_cli.submission import SubmitProgress, Watch

    class Saying(Watch):
        def planned(self, plan: SubmitPlan) -> None:
            _say_plan(plan)

        def worked(self, state: SubmitProgress) -> None:
            bar(state.done, state.blocks)

        def finished(self, outcome: CropOutcome) -> None:
            _say_crop(outcome)

    return Saying()


def _say_plan(plan: SubmitPlan) -> None:
    for line in plan.lines:
        say(line)


def _say_crop(outcome: CropOutcome) -> None:
    counts = [f"{plural(len(outcome.packed), 'class')} packed"]
    counts += [f"{len(outcome.there)} before"] if outcome.there else []
    counts += [f"{len(outcome.problems)} failed"] if outcome.problems else []
    disk = f", {format_bytes(outcome.disk)} on the disk" if outcome.disk else ""
    say(f"{outcome.crop}: {', '.join(counts)}{disk} ({format_seconds(outcome.seconds)})")
    for problem in outcome.problems:
        say(f"  failed: {problem}")
    _say_findings(outcome.findings)


def _say_result(result: SubmitResult) -> None:
    """Say what there is to upload, what it lacks, and how good it is."""
    from csc_eval.command.rendering import render_result

    if result.archive is None or result.validation is None:
        raise click.ClickException(f"nothing could be packed: {plural(len(result.problems), 'problem')}, see above")
    _say_findings(result.validation.findings)
    if result.score is not None:
        say(render_result(result.score))
    if result.unscored:
        say(f"no score: {result.unscored}")
    scored, wanted = len(result.validation.accepted), len(result.validation.labels)
    say(
        f"to upload: {result.archive} ({format_bytes(result.archive.stat().st_size)}), {scored} of {wanted} labels "
        f"({format_seconds(result.seconds)})"
    )
    if result.problems:
        raise click.ClickException(f"{plural(len(result.problems), 'problem')}, see above; run the same to try again")
    if not result.ok:
        raise click.ClickException(f"the portal does not score it as it is meant: csc validate {result.archive}")


def _say_findings(findings: Sequence[Finding]) -> None:
    """Say what is found where, a line a cause."""
    places: dict[Cause, list[str]] = {}
    for finding in findings:
        places.setdefault(finding.cause, []).append(finding.where)
    for cause, where in places.items():
        say(f"  {plural(len(where), 'place')}: {cause.what} ({cause.remedy}): {listed(where)}")
