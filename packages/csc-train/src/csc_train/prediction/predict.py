"""`predict`: from a checkpoint to the predictions of crops, or of any box of a volume."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Unpack

from csc_data.blocks import BlockRun, Chain, Existing, Progress, run_chains
from csc_data.config.experiment import is_being_read
from csc_data.config.user_config import Config
from csc_data.errors import CscError, InvalidArgumentError, Problem, ProblemsError
from csc_data.storage.room import DiskFullError, full_disk_told
from csc_train.prediction.outputs import OutputFolders
from csc_train.prediction.planning.call import PredictCall, PredictOptions, Source, read_call
from csc_train.prediction.planning.estimate import TimeLeft
from csc_train.prediction.planning.plan import PredictPlan, RegionWork, make_plan
from csc_train.prediction.predictor import load_predictor
from csc_train.prediction.results import (
    CropPrediction,
    IncompletePredictionError,
    PredictCallback,
    PredictProgress,
    PredictResult,
)
from csc_train.prediction.running.workers import open_execution
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.stability import Stability, measure_stability


@full_disk_told()
def predict(
    experiment_or_checkpoint: Source | None = None,
    crops: Sequence[str] | str | None = None,
    *,
    config: Config | None = None,
    existing: Existing | None = None,
    progress: PredictCallback | None = None,
    on_plan: Callable[[PredictPlan], None] | None = None,
    **options: Unpack[PredictOptions],
) -> PredictResult:
    """Predict crops, or boxes of a volume, block by block.

    Of a test crop the classes that are scored there are written, of an annotated one those that are annotated, of a box
    all of the network's, and affinities of these beside them: as OME-Zarr volumes
    ``{data}/predictions/{dataset}.zarr/{crop}/{class}``, at the voxel size of the network's targets or on the crop's
    own grid. A run that was stopped goes on where it stopped, and ends with the same bytes; so does one that is asked
    for more classes. Networks for flat patches predict the planes across z, y and x; the mean is stored.

    Parameters
    ----------
    experiment_or_checkpoint : path-like or TrainSettings
        An experiment (.py, .toml, or settings), whose best checkpoint predicts unless it says otherwise; or a
        checkpoint file, which knows all that is needed; or the name of published weights.
    crops : sequence of str, or str with commas, optional
        Crops by id; ``test``, ``validation`` (of the datasplit) or ``annotated`` for all of these; or patterns such as
        ``jrc_hela-2/*``. Those of the experiment, else all test crops, by default.
    config : csc_data.config.user_config.Config, optional
        Where data lies; the user's by default.
    existing : {"resume", "refuse", "overwrite"}, optional
        What to do with output that is there; resume by default.
    progress : callable, optional
        Called with a `PredictProgress` after each block.
    on_plan : callable, optional
        Called with the `PredictPlan` before the first block.
    **options : object
        See `PredictOptions`, and settings of `PredictSettings`, which go before those of the experiment; None leaves
        them.

    Returns
    -------
    PredictResult

    Raises
    ------
    NoCheckpointError
        If there is no checkpoint; predicting with random weights must be asked for.
    DiskFullError
        If what is to be written does not fit on the disk; or it is full before the end, and what is done stays.
    IncompletePredictionError
        If some crops could not be predicted, with the reasons; the others are done.
    CscError, csc_models.ModelError
        If settings, checkpoint or data cannot be used at all.
    """
    if isinstance(experiment_or_checkpoint, str | PathLike) and is_being_read(Path(experiment_or_checkpoint)):
        return PredictResult(checkpoint=None, classes=(), crops=(), problems=(), seconds=0.0)
    started = time.perf_counter()
    call = read_call(experiment_or_checkpoint, crops, config, existing, options)
    plan = make_plan(call, load_predictor(call.source, **call.overrides))
    if on_plan is not None:
        on_plan(plan)
    plan.estimate.check_room()
    done: list[CropPrediction] = []
    problems = list(plan.problems)
    if plan.works:
        run = _Run(call, plan, progress)
        with open_execution(plan.execution) as execution:
            run_chains(run.chains(), execution)
        done += [run.done[number] for number in sorted(run.done)]
        problems += [run.problems[number] for number in sorted(run.problems)]
    result = PredictResult(
        checkpoint=plan.predictor.checkpoint,
        classes=plan.predictor.classes,
        crops=tuple(done),
        problems=tuple(problems),
        seconds=time.perf_counter() - started,
    )
    if problems:
        raise IncompletePredictionError(result)
    return result


def plan_prediction(
    experiment_or_checkpoint: Source | None = None,
    crops: Sequence[str] | str | None = None,
    *,
    config: Config | None = None,
    existing: Existing | None = None,
    **options: Unpack[PredictOptions],
) -> PredictPlan:
    """Work out what `predict` with the same arguments would do; nothing is computed or written.

    Raises
    ------
    CscError, csc_models.ModelError
        As `predict`, but for crops that cannot be predicted, which are the plan's problems.
    """
    call = read_call(experiment_or_checkpoint, crops, config, existing, options)
    return make_plan(call, load_predictor(call.source, **call.overrides))


def check_prediction(
    experiment_or_checkpoint: Source | None = None,
    crops: Sequence[str] | str | None = None,
    *,
    config: Config | None = None,
    **options: Unpack[PredictOptions],
) -> Stability:
    """Measure in the middle of the first crop how much the prediction depends on where patches lie; nothing is written.

    Raises
    ------
    CscError, csc_models.ModelError
        As `predict`.
    """
    call = read_call(experiment_or_checkpoint, crops, config, None, options)
    plan = make_plan(call, load_predictor(call.source, **call.overrides))
    if not plan.works:
        raise ProblemsError("prediction", plan.problems)
    work = plan.works[0]
    return measure_stability(work.job(work.groups[0], NetworkSource(given=plan.predictor)))


def _source(call: PredictCall, plan: PredictPlan) -> NetworkSource:
    """Return where the processes that predict get the network from: this one has it, others load it themselves."""
    predictor = plan.predictor
    if plan.execution.is_here:
        return NetworkSource(given=predictor)
    overrides = dict(call.overrides)
    if predictor.checkpoint is not None and not predictor.settings.checkpoints:
        overrides["checkpoint"] = predictor.checkpoint.absolute()  # the best one may be another by then
    given = call.source
    if isinstance(given, str | PathLike) and Path(given).exists():
        given = Path(given).absolute()
    source = NetworkSource(given=given, overrides=overrides)
    try:
        pickle.dumps(source)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(
            f"what predicts cannot be sent to other processes: {error}; give an experiment file or a checkpoint, or "
            "predict in this process alone"
        ) from error
    return source


class _Run:
    """Predicts the regions of a plan: one after the other, and the next where one leaves workers idle."""

    def __init__(self, call: PredictCall, plan: PredictPlan, progress: PredictCallback | None) -> None:
        self.call, self.plan, self.progress = call, plan, progress
        self.source = _source(call, plan)
        self.left = TimeLeft(estimate=plan.estimate)
        self.done: dict[int, CropPrediction] = {}
        self.problems: dict[int, Problem] = {}

    def chains(self) -> Iterator[Chain]:
        """Yield the work on each region; what becomes of it is kept here."""
        for number, work in enumerate(self.plan.works):
            yield self._chain(number, work)

    def _chain(self, number: int, work: RegionWork) -> Chain:
        # A crop that fails must not cost the others: its error is reported with those of all, at the end.
        try:
            with full_disk_told(self.plan.estimate.place):
                self.done[number] = yield from self._predict(number, work)
        except DiskFullError:  # which costs all
            raise
        except CscError as error:
            self.problems[number] = Problem(where=work.region.label, what=str(error))

    def _predict(self, number: int, work: RegionWork) -> Generator[BlockRun, None, CropPrediction]:
        started = time.perf_counter()
        classes = work.estimate.classes
        if self.call.existing == "overwrite":
            OutputFolders(region=work.region, config=self.call.config).free(classes)
        for group in work.groups:
            group.prepare(self.call.existing)
        resumed = sum(len(group.ledger.finished) for group in work.groups)
        before = 0
        for group in work.groups:
            job = work.job(group, self.source)
            yield from group.runs(job, self._reporter(number, work, before))
            before += len(group.blocks)
        return CropPrediction(
            crop=work.region.name,
            dataset=work.region.dataset,
            folder=work.groups[0].folders[0].parent,
            classes=classes,
            shape=work.estimate.shape,
            blocks=work.estimate.blocks,
            resumed_blocks=resumed,
            seconds=time.perf_counter() - started,
        )

    def _reporter(self, number: int, work: RegionWork, before: int) -> Progress | None:
        if self.progress is None:
            return None
        progress, count = self.progress, len(self.plan.works)

        def report(done: int, _: int) -> None:
            self.left.take(number, before + done)
            progress(
                PredictProgress(
                    crop=work.region.name,
                    number=number + 1,
                    crops=count,
                    done=before + done,
                    blocks=work.estimate.blocks,
                    done_in_all=self.left.done,
                    blocks_in_all=self.left.blocks,
                    seconds_left=self.left.seconds(),
                )
            )

        return report
