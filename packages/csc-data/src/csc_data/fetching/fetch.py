"""The whole of it: plan, and transfer meanwhile."""

from __future__ import annotations

import threading

from csc_data.config.user_config import Config
from csc_data.fetching.plan import FetchInterrupted, FetchOptions, FetchPlan, FetchResult, Progress
from csc_data.fetching.planning.kept_listings import drop_listing, listing_file, write_listing
from csc_data.fetching.planning.planner import choose_crops, make_plan
from csc_data.fetching.planning.survey import Survey
from csc_data.fetching.sources import estimate_fetch
from csc_data.fetching.staging import UnwritableFolderError as UnwritableFolderError
from csc_data.fetching.staging import check_writable
from csc_data.fetching.transfer import Transfer
from csc_data.storage.bucket import FetchStopped as FetchStopped
from csc_data.storage.concurrency import Pool
from csc_data.storage.room import DiskFullError as DiskFullError


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
        What `plan_fetch` returned for the same configuration and options. By default the plan is made while files are
        fetched already, from when it is sure that all of them fit on the disk: by `estimate_fetch`, or by what the
        bucket lists.
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
        If it does not fit; nothing is fetched then. Or if the disk fills up while the plan is made.
    UnwritableFolderError
        If the data folder cannot be written to.
    FetchInterrupted
        On Ctrl-C; its ``result`` tells what stands. While the plan is made, a plain `KeyboardInterrupt`.
    """
    options = options or FetchOptions()
    stop = threading.Event()
    check_writable(config.root)
    with Pool(options.workers, stop) as pool, Transfer(config.root, options, pool, progress) as transfer:
        try:
            if plan is None:
                plan = _plan_meanwhile(config, transfer)
            for group in plan.groups():
                group.bucket.stop = stop  # that of the plan, where it was made before
            transfer.run(plan)
        except KeyboardInterrupt:
            stop.set()
            if plan is None:
                raise
            raise FetchInterrupted(transfer.result(plan, "interrupted")) from None
        finally:
            stop.set()
    if transfer.failed:
        drop_listing(listing_file(config, options, choose_crops(config, options)[1]))
    return transfer.result(plan, transfer.reason)


def _plan_meanwhile(config: Config, transfer: Transfer) -> FetchPlan:
    """Make a plan and let files be fetched that are listed already; keep the listing for a run that starts again."""
    options = transfer.options
    known, sources = choose_crops(config, options)
    survey = Survey(config, options, transfer.pool, transfer.progress)
    transfer.has_md5_etags = lambda: survey.md5_etags
    most = estimate_fetch(
        sources,
        classes=options.classes,
        raw_padding=options.raw_padding,
        raw_reach=options.raw_reach,
        all_resolutions=options.all_resolutions,
    )
    if most is not None:
        transfer.bounded(most)
    try:
        plan = make_plan(survey, known, sources, transfer)
    except FetchStopped:
        if transfer.stopped_by is None:
            raise
        raise transfer.stopped_by from None
    if plan.contents is survey.contents:  # listed now
        write_listing(listing_file(config, options, sources), plan)
    return plan
