"""`predict`: from a checkpoint to the predictions of crops, or of any box of a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Unpack

from csc_data.blocks import Existing
from csc_data.config.experiment import is_being_read
from csc_data.config.user_config import Config
from csc_data.errors import ProblemsError
from csc_data.storage.room import full_disk_told
from csc_train.prediction.planning.call import PredictCall, PredictOptions, Source, read_call
from csc_train.prediction.planning.plan import PredictPlan, make_plan
from csc_train.prediction.predictor import Predictor, load_predictor
from csc_train.prediction.results import PredictCallback, PredictResult
from csc_train.prediction.session import PredictSession
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

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, load_config, open_volume, write_multiscale
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import CheckpointDescription, save_checkpoint
    >>> from csc_train import predict
    >>> patch = {"shape": [1, 8, 8], "scale": [8.0, 8.0, 8.0]}
    >>> description = CheckpointDescription(
    ...     classes=("er",), input_arrays={"raw": patch}, target_arrays={"labels": patch}, raw_range=(0.0, 1.0)
    ... )
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=1, width=4, depth=2)
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/mine.pth", network, description=description)
    ...     write_multiscale(f"{folder}/raw", [np.ones((8, 8, 8), np.uint8)], [grid])
    ...     config = load_config(data=folder, environ={})
    ...     result = predict(f"{folder}/mine.pth", volume=f"{folder}/raw", config=config, device="cpu")
    ...     place = config.path("predictions", dataset="raw", crop="whole", class_name="er")
    ...     print(result.classes, open_volume(place).levels[0].grid.shape)
    ('er',) (8, 8, 8)
    """
    if isinstance(experiment_or_checkpoint, str | PathLike) and is_being_read(Path(experiment_or_checkpoint)):
        return PredictResult(checkpoint=None, classes=(), crops=(), problems=(), seconds=0.0)
    with PredictSession(read_call(experiment_or_checkpoint, crops, config, existing, options)) as session:
        return session.predict(progress=progress, on_plan=on_plan)


def open_session(
    experiment_or_checkpoint: Source,
    *,
    config: Config | None = None,
    existing: Existing | None = None,
    predictor: Predictor | None = None,
    **options: Unpack[PredictOptions],
) -> PredictSession:
    """Return what predicts as `predict` does, crops by crops, with a network that is loaded once; a context.

    Parameters
    ----------
    experiment_or_checkpoint, config, existing, **options
        As for `predict`.
    predictor : Predictor, optional
        The network, where it is loaded already.

    Raises
    ------
    CscError, csc_models.ModelError
        If settings or checkpoint cannot be used at all.
    """
    return PredictSession(read_call(experiment_or_checkpoint, None, config, existing, options), predictor)


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
    return _plan(read_call(experiment_or_checkpoint, crops, config, existing, options))


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
    plan = _plan(read_call(experiment_or_checkpoint, crops, config, None, options))
    if not plan.works:
        raise ProblemsError("prediction", plan.problems)
    work = plan.works[0]
    return measure_stability(work.job(work.groups[0], NetworkSource(given=plan.predictor)))


def _plan(call: PredictCall) -> PredictPlan:
    predictor = load_predictor(call.source, call.config, **call.overrides)
    return make_plan(call.of_experiment(predictor.experiment), predictor)
