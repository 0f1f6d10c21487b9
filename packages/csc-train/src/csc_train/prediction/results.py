"""What prediction reports: while it runs, and at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from csc_data.errors import Problem, ProblemsError


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictProgress:
    """Where prediction is.

    Attributes
    ----------
    crop : str
        Name of the crop, such as ``crop557``.
    number, crops : int
        Its number, from 1, of how many.
    done, blocks : int
        Finished blocks of it, of how many.
    done_in_all, blocks_in_all : int
        Those of all crops together; workers may be at several of them.
    seconds_left : float or None
        What all crops still take; None until some blocks are measured.
    """

    crop: str
    number: int
    crops: int
    done: int
    blocks: int
    done_in_all: int
    blocks_in_all: int
    seconds_left: float | None = None


PredictCallback = Callable[[PredictProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPrediction:
    """One crop that was predicted.

    Attributes
    ----------
    crop : str
        Its name, such as ``crop557``.
    dataset : str
    folder : Path
        Where the classes lie.
    classes : tuple of str
        The arrays that were written, or were there: of classes, and of what lies beside them.
    shape : tuple of int
        Voxels of each array.
    blocks, resumed_blocks : int
        Blocks in all, and those that were finished before.
    seconds : float
    """

    crop: str
    dataset: str
    folder: Path
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    blocks: int
    resumed_blocks: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """What a prediction did.

    Attributes
    ----------
    checkpoint : Path or None
        None for an untrained network.
    classes : tuple of str
        Those that the network knows.
    crops : tuple of CropPrediction
    problems : tuple of Problem
        Crops that could not be predicted, and why.
    seconds : float
    """

    checkpoint: Path | None
    classes: tuple[str, ...]
    crops: tuple[CropPrediction, ...]
    problems: tuple[Problem, ...]
    seconds: float


class IncompletePredictionError(ProblemsError):
    """Some crops could not be predicted; the others are done.

    Attributes
    ----------
    result : PredictResult
        What was done.
    """

    def __init__(self, result: PredictResult) -> None:
        self.result = result
        done = f"{len(result.crops)} of {len(result.crops) + len(result.problems)} crops are predicted"
        super().__init__(f"prediction ({done})", result.problems)

    def __reduce__(self) -> tuple[type[IncompletePredictionError], tuple[PredictResult]]:  # type: ignore[override]
        return type(self), (self.result,)
