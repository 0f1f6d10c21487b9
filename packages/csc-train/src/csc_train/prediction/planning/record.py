"""What a prediction was made with: told when it starts, and stored beside its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from csc_data.wording import listed, plural
from csc_train.checkpoints import read_training_state
from csc_train.devices import choose_device, choose_precision
from csc_train.prediction.predictor import Predictor
from csc_train.prediction.window.passes import plan_turns
from csc_train.prediction.window.tiling import Windows

ATTRIBUTE = "csc_prediction"
"""The attribute of each predicted volume that holds its record."""

_COLUMNS = {"loss": 2, "iou": 3, "dice": 4}  # of the rows of a run's history; 5 is the score that decides


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """Which weights.

    Attributes
    ----------
    file : str
        Name of the file.
    sha256 : str
    epoch : int or None
        None where the file does not say.
    metric : str
        That decided which epoch was best; empty where the file does not say.
    value : float or None
        Its value in that epoch.
    model_name : str
        What the experiment called the network; empty where the file does not say.
    """

    file: str
    sha256: str
    epoch: int | None = None
    metric: str = ""
    value: float | None = None
    model_name: str = ""

    def __str__(self) -> str:
        known = [f"epoch {self.epoch}"] if self.epoch is not None else []
        known += [f"{self.metric} {self.value:.4f}"] if self.value is not None else []
        return f"{self.file} ({', '.join([*known, f'sha256 {self.sha256[:8]}'])})"


def read_checkpoint_record(path: Path, sha256: str) -> CheckpointRecord:
    """Return what a checkpoint says of its training."""
    state = read_training_state(path)
    epoch = state.get("epoch")
    row = next((row for row in state.get("history", ()) if row[0] == epoch), None)
    settings = state.get("settings", {})
    metric = str(settings.get("best_metric", ""))
    value = float(row[_COLUMNS.get(metric, 5)]) if row and metric else None
    name = str(settings.get("model_name", ""))
    return CheckpointRecord(file=path.name, sha256=sha256, epoch=epoch, metric=metric, value=value, model_name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRecord:
    """What a prediction is made with.

    Attributes
    ----------
    checkpoints : tuple of CheckpointRecord
        Empty for an untrained network.
    network_classes : tuple of str
        What it was trained for.
    network_arrays : tuple of str
        What it can write: those, and what lies beside them.
    raw_range : pair of float
        What raw is scaled to.
    device, precision : str
    patch, voxel_size_nm : tuple
        Of what the network takes.
    overlap : float
    reach : tuple of int
        Voxels of raw that patches see beyond the faces of a region, as far as there are some.
    blending, tta : str
    turns : int
        Times that each patch goes through each network.
    batch_size : int

    Examples
    --------
    >>> record = PredictRecord(
    ...     checkpoints=(), network_classes=("nuc",), network_arrays=("nuc",), raw_range=(0.0, 1.0), device="cpu",
    ...     precision="32-true", patch=(1, 128, 128), voxel_size_nm=(8.0, 8.0, 8.0), overlap=0.5, reach=(0, 0, 0),
    ...     blending="gaussian", tta="none", turns=1, batch_size=4,
    ... )
    >>> record.lines()[1]
    'network: 1 class (nuc); raw from 0 to 1'
    >>> record.to_attributes()[ATTRIBUTE]["device"]
    'cpu'
    """

    checkpoints: tuple[CheckpointRecord, ...]
    network_classes: tuple[str, ...]
    network_arrays: tuple[str, ...]
    raw_range: tuple[float, float]
    device: str
    precision: str
    patch: tuple[int, int, int]
    voxel_size_nm: tuple[float, float, float]
    overlap: float
    reach: tuple[int, int, int]
    blending: str
    tta: str
    turns: int
    batch_size: int

    def lines(self) -> list[str]:
        """Return it for people."""
        several = len(self.checkpoints) > 1
        low, high = self.raw_range
        scale = " x ".join(f"{size:g}" for size in dict.fromkeys(self.voxel_size_nm))
        turned = f", each in {self.turns} poses" if self.turns > 1 else ""
        further = [name for name in self.network_arrays if name not in self.network_classes]
        more = f" and {plural(len(further), 'array')} beside them ({listed(further)})" if further else ""
        beyond = f", {max(self.reach)} voxels beyond a crop where there is raw" if any(self.reach) else ""
        return [
            (f"mean of {plural(len(self.checkpoints), 'checkpoint')}: " if several else "checkpoint: ")
            + (", ".join(map(str, self.checkpoints)) or "none, random weights"),
            f"network: {plural(len(self.network_classes), 'class')} ({listed(self.network_classes)}){more}; "
            f"raw from {low:g} to {high:g}",
            f"patches: {'x'.join(map(str, self.patch))} voxels of {scale} nm, overlap {self.overlap:g}, "
            f"{self.blending} weights{turned}{beyond}",
            f"runs on: {self.device}, precision {self.precision}, batch size {self.batch_size}",
        ]

    def to_attributes(self) -> Mapping[str, Any]:
        """Return the attribute that is stored."""
        return {ATTRIBUTE: asdict(self)}


def make_record(predictor: Predictor, windows: Windows, device: str | None = None) -> PredictRecord:
    """Return what a prediction will be made with.

    Parameters
    ----------
    predictor : Predictor
    windows : Windows
    device : str, optional
        That of the settings by default, else the best one here.

    Raises
    ------
    InvalidArgumentError
        If there is no such device here.
    """
    settings = predictor.settings
    used = choose_device(device or settings.device)
    paths = settings.checkpoints or ((predictor.checkpoint,) if predictor.checkpoint is not None else ())
    digests = predictor.identity.split(" ")
    return PredictRecord(
        checkpoints=tuple(
            read_checkpoint_record(path, digest) for path, digest in zip(paths, digests, strict=False) if path
        ),
        network_classes=predictor.classes,
        network_arrays=predictor.arrays,
        raw_range=predictor.raw_range,
        device=str(used),
        precision=choose_precision(settings.precision, used),
        patch=windows.patch.input.shape,
        voxel_size_nm=windows.patch.input.scale,
        overlap=windows.overlap,
        reach=windows.reach,
        blending=windows.blending,
        tta=settings.tta or "none",
        turns=len(plan_turns(windows, settings.tta)),
        batch_size=predictor.batch_size(windows),
    )
