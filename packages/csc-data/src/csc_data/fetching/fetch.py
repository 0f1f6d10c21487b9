"""The whole of it: plan, then transfer."""

from __future__ import annotations

import threading

from csc_data.config.user_config import Config
from csc_data.fetching.plan import FetchOptions, FetchPlan, FetchResult, Progress
from csc_data.fetching.planning import plan_fetch
from csc_data.fetching.staging import check_writable
from csc_data.fetching.transfer import run_plan


def fetch_data(
    config: Config,
    options: FetchOptions | None = None,
    *,
    plan: FetchPlan | None = None,
    progress: Progress | None = None,
) -> FetchResult:
    """Fetch labels of crops and the raw around them into the data folder.

    Parameters
    ----------
    config : Config
        Data folder, path templates, bucket and endpoint.
    options : FetchOptions, optional
        Everything, with the raw that matches the annotations, by default.
    plan : FetchPlan, optional
        What `plan_fetch` returned for the same configuration and options; made here by default.
    progress : callable, optional
        Called with a `FetchProgress`, in this thread.

    Returns
    -------
    FetchResult
        Look at ``complete``: files that could not be had are listed there, not raised.

    Raises
    ------
    ProblemsError, MissingDataError, UnreadableDataError
        If no plan can be made, see `plan_fetch`.
    DiskFullError
        If it does not fit; nothing is fetched then.
    UnwritableFolderError
        If the data folder cannot be written to.
    FetchInterrupted
        On Ctrl-C; its ``result`` tells what stands.
    """
    options = options or FetchOptions()
    stop = threading.Event()
    try:
        check_writable(config.root)
        plan = plan or plan_fetch(config, options, progress=progress, stop=stop)
        _same_stop(plan, stop)
        return run_plan(plan, options, stop, progress)
    finally:
        stop.set()


def _same_stop(plan: FetchPlan, stop: threading.Event) -> None:
    """Let the buckets of a plan that was made before wait no longer than this run does."""
    for group in plan.groups():
        group.bucket.stop = stop
