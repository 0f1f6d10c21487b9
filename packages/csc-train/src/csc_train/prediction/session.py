"""Predicting with a network that is loaded once, in processes that are started once, one call after the other."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path

from csc_data.blocks import BlockRun, Chain, Execution, Progress, run_chains
from csc_data.errors import CscError, InvalidArgumentError, Problem
from csc_data.storage.room import DiskFullError, full_disk_told
from csc_train.prediction.outputs import OutputFolders
from csc_train.prediction.planning.call import PredictCall
from csc_train.prediction.planning.estimate import TimeLeft
from csc_train.prediction.planning.plan import PredictPlan, RegionWork, make_plan
from csc_train.prediction.predictor import Predictor, load_predictor
from csc_train.prediction.results import (
    CropPrediction,
    IncompletePredictionError,
    PredictCallback,
    PredictProgress,
    PredictResult,
)
from csc_train.prediction.running.workers import execution_options, open_execution
from csc_train.prediction.source import NetworkSource


class PredictSession:
    """Predicts regions of one call after the other; a context, on leaving which those who predict are ended.

    Parameters
    ----------
    call : PredictCall
    predictor : Predictor, optional
        The call's network, where it is loaded already.

    Raises
    ------
    CscError, csc_models.ModelError
        If settings or checkpoint cannot be used at all.
    """

    def __init__(self, call: PredictCall, predictor: Predictor | None = None) -> None:
        self._predictor = predictor or load_predictor(call.source, call.config, **call.overrides)
        self._call = call.of_experiment(self._predictor.experiment)
        self._context = ExitStack()
        self._source: NetworkSource | None = None
        self._execution: Execution | None = None

    def __enter__(self) -> PredictSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def start(self) -> Execution:
        """Start what predicts, unless that is done; return where that is, for who has other work for it.

        Raises
        ------
        CscError
            If there are not so many GPUs, or the cluster does not answer.
        """
        if self._execution is None:
            options = self._call.execution or execution_options(self._predictor.settings)
            self._execution = self._context.enter_context(open_execution(options))
        return self._execution

    def predict(
        self,
        crops: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        *,
        progress: PredictCallback | None = None,
        on_plan: Callable[[PredictPlan], None] | None = None,
    ) -> PredictResult:
        """Predict crops, block by block.

        Parameters
        ----------
        crops : sequence of str, optional
            In place of those of the call.
        classes : sequence of str, optional
            To write, in place of what its settings say.
        progress, on_plan : callable, optional
            As for `csc_train.predict`.

        Raises
        ------
        DiskFullError
            If what is to be written does not fit on the disk; or it is full before the end, and what is done stays.
        IncompletePredictionError
            If some crops could not be predicted, with the reasons; the others are done.
        """
        started = time.perf_counter()
        call = self._call if crops is None else replace(self._call, crops=tuple(crops))
        plan = make_plan(call, self._predictor if classes is None else _writing(self._predictor, classes))
        if on_plan is not None:
            on_plan(plan)
        plan.estimate.check_room()
        done: list[CropPrediction] = []
        problems = list(plan.problems)
        if plan.works:
            # What cannot be sent to other processes is told before they are started.
            self._source = self._source or _source(call, plan)
            run = _Run(call, plan, self._source, progress)
            run_chains(run.chains(), self.start())
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


def _writing(predictor: Predictor, classes: Sequence[str]) -> Predictor:
    """Return a predictor that writes other classes; its network is the same."""
    settings = replace(predictor.settings, classes_to_write=tuple(classes))
    return replace(predictor, settings=settings)


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
    source = NetworkSource(given=given, overrides=overrides, config=call.config)
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

    def __init__(
        self, call: PredictCall, plan: PredictPlan, source: NetworkSource, progress: PredictCallback | None
    ) -> None:
        self.call, self.plan, self.source, self.progress = call, plan, source, progress
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
