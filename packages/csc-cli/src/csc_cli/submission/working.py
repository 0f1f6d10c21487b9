"""Who predicts, processes and packs: the network is loaded once for all crops, and processes are started once."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from csc_cli.submission.options import SubmitOptions
from csc_cli.submission.plan import SubmitPlan
from csc_data.blocks import Execution
from csc_submit.workers import Workers, WorkOptions
from csc_train.prediction import open_session


class SubmitWorkers:
    """Those who work on a submission, started when there is something for them; a context, which ends them.

    Parameters
    ----------
    experiment : str
    plan : SubmitPlan
        Its network predicts.
    options : SubmitOptions
    """

    def __init__(self, experiment: str, plan: SubmitPlan, options: SubmitOptions) -> None:
        self._options = options
        self._context = ExitStack()
        self._pool: Execution | None = None
        given: dict[str, Any] = options.of_prediction
        session = open_session(
            experiment,
            config=plan.folders.of_stages,
            existing=options.existing_stages,
            predictor=plan.prediction.predictor,
            **given,
        )
        self.session = self._context.enter_context(session)

    def __enter__(self) -> SubmitWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def for_processing(self) -> WorkOptions:
        """Return where predictions are processed: where they were made, if that is Dask, else here."""
        if self._options.on_dask:
            return {"executor": self.session.start()}
        if self._options.workers is None:
            return {}
        if self._pool is None:
            self._pool = self._context.enter_context(Workers(max_workers=self._options.workers).open())
        return {"executor": self._pool}

    def for_packing(self) -> WorkOptions:
        """Return where results are packed: as predictions are processed, but by all CPUs where nothing else is said."""
        return self.for_processing() or {"max_workers": os.cpu_count()}
