"""Runs the stages of the demo, one after the other."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from csc_cli.commands.demo.baseline import score_baseline
from csc_cli.commands.demo.experiment import CLASSES, write_experiment
from csc_cli.commands.demo.scores import score_table
from csc_cli.console import progress_bar, say
from csc_cli.stages.prediction import block_reporter, describe_prediction
from csc_data.wording import format_bytes, plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_eval import SubmissionScore

MARKER = "csc-demo.json"
STAGES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the demo is asked for.

    Attributes
    ----------
    out : Path
        The folder for everything; it becomes a data folder.
    quick : bool
        Smaller volumes, fewer training steps.
    seed : int
        Of the tissue, the split and the training.
    """

    out: Path
    quick: bool
    seed: int


@dataclass(slots=True)
class StageReport:
    """What a stage has to say when it ends."""

    text: str = ""


@contextmanager
def stage(number: int, name: str) -> Iterator[StageReport]:
    """Time a stage and print its line when it ends."""
    report = StageReport()
    began = time.perf_counter()
    yield report
    say(f"[{number}/{STAGES}] {name}: {report.text} ({time.perf_counter() - began:.1f} s)")


def run_demo(options: DemoOptions) -> SubmissionScore:
    """Write a challenge, split, train, predict, process, pack and evaluate; print a line a stage and the scores.

    A folder that holds a demo of the same options is continued.

    Raises
    ------
    ExistingOutputError
        If the folder holds something else.
    """
    from csc_data.config.user_config import load_config

    began = time.perf_counter()
    config = load_config(data=options.out)
    experiment = _prepare(options, config)
    _split(config, options)
    _train(config, experiment)
    _predict(config, experiment)
    _process(config, experiment)
    _pack(config)
    score = _evaluate(config)
    say("")
    say(score_table(score.combined, score_baseline(config)))
    say("")
    _say_what_is_where(options.out, experiment, time.perf_counter() - began)
    return score


def _prepare(options: DemoOptions, config: Config) -> Path:
    """Write the challenge and the experiment file, or recognise those of an earlier run."""
    from csc_data.errors import ExistingOutputError
    from csc_data.formats.writing import read_json, write_json
    from csc_data.synthetic import write_challenge

    marker = options.out / MARKER
    wanted = {"quick": options.quick, "seed": options.seed}
    with stage(1, "synthetic challenge") as report:
        found = read_json(marker)
        if found and found != wanted:
            described = ", ".join(f"{name} {json.dumps(value)}" for name, value in found.items())
            raise ExistingOutputError(f"{options.out} holds a demo with {described}; choose another folder with --out")
        if found:
            report.text = f"already in {options.out}, going on with it"
        else:
            if options.out.exists() and any(options.out.iterdir()):
                raise ExistingOutputError(
                    f"{options.out} is not empty and not a demo; choose another folder with --out, or remove it"
                )
            made = write_challenge(options.out, seed=options.seed, quick=options.quick)
            write_json(marker, wanted)
            report.text = (
                f"{plural(len(made.datasets), 'data set')}, {plural(len(made.annotated), 'annotated crop')}, "
                f"{plural(len(made.test_crops), 'test crop')}, {format_bytes(made.n_bytes)} in {config.root}"
            )
    return write_experiment(options.out, quick=options.quick, seed=options.seed)


def _split(config: Config, options: DemoOptions) -> None:
    from csc_data.splits.split_file import read_datasplit, write_datasplit
    from csc_data.splits.splitting import SplitOptions, make_datasplit

    with stage(2, "make-datasplit") as report:
        file = config.path("datasplit")
        if not file.exists():  # an earlier run wrote it, and somebody may have edited it since
            write_datasplit(file, make_datasplit(config, SplitOptions(classes=CLASSES, seed=options.seed)).rows)
        rows = read_datasplit(file)
        validating = sum(row.usage == "validate" for row in rows)
        report.text = f"{plural(len(rows) - validating, 'crop')} to train, {validating} to validate"


def _train(config: Config, experiment: Path) -> None:
    from csc_cli.stages.post_processing import post_processing
    from csc_data.config.experiment import read_experiment
    from csc_train import train

    with stage(3, "train") as report:
        read = read_experiment(experiment)
        result = train(read, config=config, post_process=post_processing(read, config))
        if result.records:
            report.text = f"{plural(len(result.records), 'epoch')}, checkpoint {result.latest_checkpoint}"
        else:
            report.text = f"was finished before, checkpoint {result.latest_checkpoint}"


def _predict(config: Config, experiment: Path) -> None:
    from csc_train import predict

    with stage(4, "predict") as report, block_reporter() as blocks:
        result = predict(experiment, config=config, existing="resume", progress=blocks)
        report.text = describe_prediction(result)


def _process(config: Config, experiment: Path) -> None:
    from csc_submit import process

    with stage(5, "process") as report, progress_bar("blocks") as bar:
        result = process(experiment, config=config, progress=bar)
        objects = sum(row.instances or 0 for row in result.rows)
        report.text = f"{plural(len(result.rows), 'volume')}, {plural(objects, 'object')}"


def _pack(config: Config) -> None:
    from csc_submit import pack_results

    with stage(6, "pack-results") as report, progress_bar("blocks") as bar:
        result = pack_results(config=config, progress=bar)
        size = format_bytes(result.archive.stat().st_size) if result.archive else ""
        report.text = (
            f"{plural(len(result.packed), 'volume')}, {len(result.missing)} missing: {result.archive} ({size})"
        )


def _evaluate(config: Config) -> SubmissionScore:
    from csc_eval import score_submission, write_results

    with stage(7, "evaluate") as report:
        score = score_submission(config.path("submission").with_suffix(".zip"), config.path("ground_truth"))
        write_results(score, config.root / "result.json")
        report.text = f"{plural(score.num_evals_done, 'label')} by the rules {score.rules}, result.json"
    return score


def _say_what_is_where(out: Path, experiment: Path, seconds: float) -> None:
    say(f"Done in {seconds:.0f} s{_peak_memory()}. Everything is in {out}:")
    for name, what in (
        (experiment.name, "the experiment; change it"),
        ("datasplit.csv", "which crop trains, which validates"),
        ("checkpoints, tensorboard", "what training left"),
        ("predictions, processed", "what the network says, and what became of it"),
        ("submission.zip", "what would be uploaded"),
        ("result.json", "the score, as the portal writes it"),
    ):
        say(f"  {name:26}{what}")
    say("Go on by hand, stage by stage:")
    for command in (
        f"csc make-datasplit --data {out} --classes {','.join(CLASSES)}",
        f"csc train {experiment} --data {out}",
        f"csc predict {experiment} --data {out} --overwrite",
        f"csc process {experiment} --data {out} --overwrite",
        f"csc pack-results --data {out} --overwrite",
        f"csc evaluate --data {out}",
    ):
        say(f"  {command}")


def _peak_memory() -> str:
    """Write the most memory this process had, where the system tells."""
    if sys.platform == "win32":
        return ""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in units of 1024 bytes, macOS in bytes.
    return f", at most {format_bytes(peak if sys.platform == 'darwin' else peak * 1024)} of memory"
