"""What the commands do: options in, one call, words out."""

from __future__ import annotations

import math
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_data.storage.stores.places import Store
from csc_data.wording import plural, table
from csc_eval.rules import LEADERBOARD, Rules, get_rules, rules_from_environment
from csc_eval.scoring.results import FAILED, MISSING, TOO_MANY_INSTANCES, SubmissionScore

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from csc_data.challenge.classes import ClassTable
    from csc_data.config.user_config import Config

WORST_CROPS = 3


def run_evaluate(
    *,
    submission: str | None,
    truth: str | None,
    datasplit: str | None,
    result_file: str | None,
    report: str | None,
    data: str | None,
    scheduler: str | None,
    experiment: str | None = None,
    intervals: bool = False,
    as_json: bool = False,
    quiet: bool = False,
    **options: Any,
) -> int:
    """Score one submission, print the table or JSON, write the files; returns the exit code."""
    from csc_eval.running.submission import score_submission, write_results

    began = time.monotonic()
    if experiment is not None and result_file is None:
        result_file = _result_of(configuration(data, experiment), datasplit)
    _check_result_file(result_file)
    if report is not None:
        from csc_eval.report.templating import check_report

        check_report(report)
    where = partial(configuration, data, experiment)
    with _truth_paths(submission, truth, datasplit, where, options) as (submission_path, truth_path, raw_of):
        arguments = scoring_arguments(options, Path(truth_path).parent if datasplit is None else where().root)
        with _executor(scheduler) as executor, _progress(quiet=quiet) as progress:
            result = score_submission(submission_path, truth_path, executor=executor, progress=progress, **arguments)
        if datasplit is not None and result.scored is not None:  # the truth that was built of it is gone in a moment
            made_of = replace(result.scored, truth="", datasplit=str(Path(datasplit).absolute()))
            result = replace(result, scored=made_of)
        written: list[Path] = []
        try:  # neither of the two is lost with the other
            if result_file is not None:
                written += write_results(result, result_file)
        finally:
            if as_json:
                click.echo(result.to_json(extended=True))
            else:
                click.echo(render_result(result, to_submit=datasplit is None, intervals=intervals))
        if report is not None:
            from csc_eval.report.page import ReportOptions, write_report

            shown = ReportOptions(raw=raw_of or raw_of_test_crops(data))
            written.append(write_report(result, report, submission=submission_path, truth=truth_path, options=shown))
    for path in written:
        click.echo(f"wrote {path}", err=as_json)
    seconds = time.monotonic() - began
    click.echo(f"{_count(result)} in {seconds:.1f} s", err=as_json)
    if result_file is None and not as_json:
        click.echo("next: --result-file FILE keeps the numbers, --report FILE.html shows what went wrong")
    return 1 if result.failures else 0


def _check_result_file(path: str | None) -> None:
    """Refuse a place that results cannot be written to before hours of scoring, not after them."""
    if path is None:
        return
    from csc_data.storage.room import check_writable

    place = Path(path)
    try:
        there = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        there = stat.S_IFREG
    except (OSError, ValueError) as error:  # too long a name, a link to itself
        raise InvalidArgumentError(f"results cannot go to {path!r}: {error}; name a file") from error
    if stat.S_ISDIR(there):
        raise InvalidArgumentError(f"{path} is a folder; name a file for the results, like {place / 'result.json'}")
    if not stat.S_ISREG(there):
        raise InvalidArgumentError(f"{path} is a pipe or a device; name a file for the results, or leave it out")
    check_writable(place.parent)


def run_report(*, result: str, page: str, submission: str | None, truth: str | None) -> int:
    """Write a page of a result that was written before; returns the exit code."""
    from csc_eval.report.page import ReportOptions, write_report
    from csc_eval.report.templating import check_report
    from csc_eval.running.result_files import open_scored, read_result

    check_report(page)
    found = read_result(result)
    with open_scored(found, submission, truth) as volumes:
        shown = ReportOptions(raw=volumes.raw)
        written = write_report(found, page, submission=volumes.submission, truth=volumes.truth, options=shown)
    click.echo(f"wrote {written}")
    return 0


def scoring_arguments(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Turn the options that all commands share into arguments of `score_submission`; own classes are a folder's."""
    from csc_eval.running.memory import parse_size
    from csc_eval.scoring.metrics import METRICS

    metrics = _split(options["metrics"]) or ()
    memory = options["memory"]
    limit = os.environ.get("MAX_UNCOMPRESSED_SIZE")
    workers = options["workers"]
    return {
        "rules": chosen_rules(options["rules"]),
        "instance_classes": _split(options["instance_classes"]) or own_classes(folder),
        "metrics": METRICS if metrics == ("all",) else metrics,
        "workers": _workers_from_environment() if workers is None else workers,
        "memory": None if memory is None else parse_size(memory),
        "resume": options["resume"],
        "max_uncompressed_size": parse_size(limit) if limit else MAX_UNCOMPRESSED_SIZE,
    }


def own_classes(folder: Path) -> ClassTable | None:
    """Return what the ``classes.toml`` of a folder says; None where it has none, and nothing need be imported.

    Examples
    --------
    >>> from pathlib import Path
    >>> own_classes(Path("a folder without classes.toml")) is None
    True
    """
    file = folder / "classes.toml"
    if not file.is_file():
        return None
    from csc_data.challenge.classes.own import read_classes

    return read_classes(file)


def configuration(data: str | None, experiment: str | None = None) -> Config:
    """Return the user's configuration, with a data folder and an experiment that were given.

    Raises
    ------
    MissingDataError
        If there is no such experiment.
    """
    from csc_data.config.user_config import load_config

    config = load_config(data=data)
    return config if experiment is None else config.of_experiment(config.find_experiment(experiment).absolute())


def _result_of(config: Config, datasplit: str | None) -> str:
    """Return where the scores of an experiment are kept."""
    folder = config.path("results")
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / ("result.json" if datasplit is None else "validation.json"))


def chosen_rules(names: Sequence[str]) -> tuple[Rules, ...]:
    """Return the rules named, by default the leaderboard's, with what the organisers' variables set.

    Examples
    --------
    >>> [rules.name for rules in chosen_rules(["pq,definition-2026-06"])]
    ['pq', 'definition-2026-06']
    """
    listed = [part for name in names for part in _split(name) or ()]
    return tuple(rules_from_environment(get_rules(name), os.environ) for name in listed or [LEADERBOARD.name])


def _workers_from_environment() -> int:
    text = os.environ.get("MAX_WORKERS", "1")
    if not text.isdigit():
        raise InvalidArgumentError(f"MAX_WORKERS={text!r} is not a number of processes")
    return int(text)


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@contextmanager
def _truth_paths(
    submission: str | None,
    truth: str | None,
    datasplit: str | None,
    where: Callable[[], Config],
    options: Mapping[str, Any],
) -> Iterator[tuple[Path | Store, Path, dict[str, str]]]:
    """Yield the submission, the truth, and the raw volume of each crop where it is known."""
    if datasplit is None:
        submission_path, truth_path = resolve_paths(submission, truth, where)
        yield submission_path, truth_path, {}
        return
    if truth is not None:
        raise click.UsageError("--truth-path and --datasplit both name a truth; give one of them")
    import tempfile

    from csc_eval.scoring.validation_truth import build_validation_truth, gather_predictions

    with tempfile.TemporaryDirectory(prefix="csc-eval-") as folder:
        config = where()
        table = own_classes(config.root)
        instances = _split(options["instance_classes"]) or (None if table is None else tuple(table.instances))
        place = Path(folder, "truth.zarr")
        built = build_validation_truth(datasplit, place, instance_classes=instances, data=config.root)
        for problem in built.skipped:
            click.echo(f"left out: {problem}", err=True)
        chosen = Path(submission) if submission is not None else gather_predictions(built, config)
        yield chosen, built.path, dict(built.raw)


def resolve_paths(submission: str | None, truth: str | None, where: Callable[[], Config]) -> tuple[Path, Path]:
    """Fill in the paths that were not given from the user's configuration.

    Raises
    ------
    MissingDataError
        If there is nothing at a path that was not given.

    Examples
    --------
    >>> [path.name for path in resolve_paths("mine.zip", "truth.zarr", lambda: None)]
    ['mine.zip', 'truth.zarr']
    """
    if submission is not None and truth is not None:
        return Path(submission), Path(truth)
    config = where()
    if submission is None:
        folder = config.path("submission")
        archive = folder.with_suffix(".zip")
        submission_path = archive if archive.exists() or not folder.exists() else folder
        if not submission_path.exists():
            raise MissingDataError(f"there is no submission {submission_path}; {_how_to_get_one(config)}")
    else:
        submission_path = Path(submission)
    truth_path = Path(truth) if truth is not None else config.path("ground_truth")
    if truth is None and not truth_path.exists():
        raise MissingDataError(
            f"there is no truth {truth_path}: name one (-t){_or_by_annotations(config)}. The portal alone knows "
            "that of the challenge; `csc validate` tells whether it takes the submission"
        )
    return submission_path, truth_path


def _how_to_get_one(config: Config) -> str:
    """Return what to do without a submission: what there is to go on with decides."""
    if not config.root.is_dir():
        return (
            f"nor a data folder {config.root}: name one (--data), or a submission and its truth (-s, -t); `csc demo` "
            "makes data to try it with, `csc fetch-data` brings the challenge's"
        )
    return f"`csc submit CONFIG` makes it, -s or -e names another{_or_by_annotations(config)}"


def _or_by_annotations(config: Config) -> str:
    split = config.path("datasplit")
    hint = ", or score the predictions of validation crops by their annotations: --datasplit "
    return f"{hint}{split}" if split.is_file() else ""


def raw_of_test_crops(data: str | None) -> dict[str, str]:
    """Return the raw volume of each test crop whose data set lies in the data folder."""
    from csc_data.challenge.current_lists import load_test_crops

    config = configuration(data)
    crops = load_test_crops(config).values()
    places = {f"crop{crop.id}": config.path("raw", dataset=crop.dataset) for crop in crops}
    return {name: str(path) for name, path in places.items() if path.is_dir()}


@contextmanager
def _executor(scheduler: str | None) -> Iterator[Executor | None]:
    if scheduler is None:
        yield None
        return
    from csc_data.executors.cluster import connect

    with connect(scheduler) as executor:
        yield executor


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """A line on stderr that says how far the work is, where somebody looks at it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return

    def show(done: int, total: int, name: str) -> None:
        click.echo(f"\r{done}/{total} {name:40.40s}", err=True, nl=False)

    yield show
    click.echo("\r" + " " * 60 + "\r", err=True, nl=False)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def render_result(result: SubmissionScore, *, to_submit: bool = True, intervals: bool = False) -> str:
    """Return the scores of a submission as text: classes, overall, worst crops, and what is to be known of them."""
    parts = [f"rules: {result.rules}", _class_table(result), _overall(result)]
    parts += [_intervals(result)] if intervals else []
    parts += [_overall(other) for other in result.alternatives]
    if result.differences:
        parts.append(_differences(result))
    parts += _remarks(result, to_submit=to_submit)
    return "\n\n".join(part for part in parts if part)


def _class_table(result: SubmissionScore) -> str:
    tables = []
    for instance in (True, False):
        classes = {name: score for name, score in result.combined.classes.items() if score.instance == instance}
        if not classes:
            continue
        names = list(dict.fromkeys(n for score in classes.values() for n in (*score.metrics, *score.details)))
        header = ["instance class" if instance else "semantic class", *names, "tp", "fp", "fn", "crops", "worst crops"]
        rows = []
        for name, score in classes.items():
            values = {
                **score.metrics,
                **{key: value for key, value in score.details.items() if key not in score.metrics},
            }
            numbers = [_number(values.get(key, math.nan)) for key in names]
            counts = [str(score.tp), str(score.fp), str(score.fn)]
            crops = sum(name in labels for labels in result.crops.values())
            rows.append([name, *numbers, *counts, str(crops), _worst_crops(result, name)])
        tables.append(table(header, rows))
    return "\n\n".join(tables)


def _worst_crops(result: SubmissionScore, name: str) -> str:
    scores = [(labels[name].score, crop) for crop, labels in result.crops.items() if name in labels]
    scores = sorted(entry for entry in scores if entry[0] < 1)
    return ", ".join(f"{crop} {score:.2f}" for score, crop in scores[:WORST_CROPS]) if len(scores) else ""


def _overall(result: SubmissionScore) -> str:
    rows = [
        [
            kind,
            _number(combined.overall_instance_score),
            _number(combined.overall_semantic_score),
            _number(combined.overall_score),
        ]
        for kind, combined in (("everything", result.combined), ("what was submitted", result.submitted))
    ]
    return table([result.rules, "instance", "semantic", "overall"], rows)


def _intervals(result: SubmissionScore) -> str:
    from csc_eval.scoring.bootstrap import RESAMPLES, score_intervals

    found = score_intervals(result.crops)
    whole = found.pop("", None)
    rows = [[name, f"{one.low:.4f}", f"{one.high:.4f}", str(one.crops)] for name, one in found.items()]
    rows += [] if whole is None else [["overall", f"{whole.low:.4f}", f"{whole.high:.4f}", str(whole.crops)]]
    if not rows:
        return "95 % intervals: none, as there is one crop of each class only"
    title = f"95 % intervals by {RESAMPLES} draws of crops (classes of several crops):"
    return f"{title}\n{table(['', 'from', 'to', 'crops'], rows)}"


def _differences(result: SubmissionScore) -> str:
    lines = ["where the rules differ:"]
    for entry in result.differences:
        reasons = entry.reasons[:3]
        more = f" (and {len(entry.reasons) - 3} more)" if len(entry.reasons) > 3 else ""
        lines.append(
            f"  {entry.class_name}: {entry.rules} {_number(entry.score)}, {entry.other_rules} "
            f"{_number(entry.other_score)}: {'; '.join(reasons)}{more}"
        )
    return "\n".join(lines)


def _remarks(result: SubmissionScore, *, to_submit: bool) -> list[str]:
    by_status: dict[str, list[str]] = {}
    differing, misplaced = [], []
    for crop, labels in result.crops.items():
        for name, score in labels.items():
            by_status.setdefault(score.status, []).append(f"{crop}/{name}")
            if score.portal_differs and score.status != FAILED:
                differing.append(f"  {crop}/{name}: {score.portal_differs}")
            if score.place_differs:
                misplaced.append(f"  {crop}/{name}: {score.place_differs}")
    remarks = _one_kind(result)
    quirks = [f"  {name}: {score.quirk}" for name, score in result.combined.classes.items() if score.quirk]
    if quirks:
        remarks.append("\n".join(["classes whose score says nothing of the voxels:", *quirks]))
    for status, words in ((MISSING, "not submitted"), (TOO_MANY_INSTANCES, "too many instances to be matched")):
        if status in by_status:
            remarks.append(f"{words}: {_listed(by_status[status])}")
    if result.ignored:
        remarks.append(f"ignored, as the truth has none: {_listed(result.ignored)}")
    if to_submit and (differing or result.portal_differs):  # the portal never sees validation crops
        remarks.append(
            "\n".join(["the portal would say otherwise:", *(f"  {n}" for n in result.portal_differs), *differing])
        )
    if misplaced:
        remarks.append("\n".join(["what other rules place otherwise:", *misplaced]))
    if result.failures:
        lines = [f"  {crop}/{name}: {problem}" for (crop, name), problem in result.failures.items()]
        remarks.append("\n".join([f"FAILED, scored as missing ({len(lines)}):", *lines]))
    return remarks


def _one_kind(result: SubmissionScore) -> list[str]:
    """Say why the overall score is 0 where the truth has classes of one kind alone."""
    kinds = {score.instance for score in result.combined.classes.values()}
    if len(kinds) != 1:
        return []
    one, other = ("instance", "semantic") if True in kinds else ("semantic", "instance")
    return [
        f"overall is 0 as there is no {other} class: it is the geometric mean of both kinds; the {one} score is what "
        "counts here"
    ]


def _count(result: SubmissionScore) -> str:
    masks = result.num_evals_done - result.total_evals
    return plural(result.total_evals, "label") + (f" and {plural(masks, 'mask')}" if masks > 0 else "")


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more} ({len(names)})"
