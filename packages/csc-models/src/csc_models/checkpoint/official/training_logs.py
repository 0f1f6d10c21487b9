"""Which epochs the TensorBoard logs of a run tell of, as the challenge's toolbox writes them.

There, steps are iterations. A process goes on from epoch c at iteration c times *its* iterations per epoch, and writes
a file of its own: ``loss`` at each iteration, figures and ``validation`` at ends of epochs. It does not say how long an
epoch is; that follows from where a file begins, which steps it has, and which checkpoints there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_models.errors import CheckpointError, CheckpointNotFoundError
from csc_models.optional import import_extra

VALIDATION_TAG = "validation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What one process logged.

    Attributes
    ----------
    start, last : int
        Iterations that were done when it began, and when it ended.
    scores : tuple of (int, float)
        Iterations and validation scores.
    divisor : int
        Of all iterations at which an epoch ended: the iterations per epoch, or a multiple of them where it is not known
        of each epoch when it ended.
    has_loss : bool
        Whether `start` and `last` are known.
    """

    start: int
    last: int
    scores: tuple[tuple[int, float], ...]
    divisor: int
    has_loss: bool


def scores_by_epoch(folder: Path, available: Collection[int]) -> dict[int, float]:
    """Read the validation scores of a run, in the order of epochs; of those for one epoch, the last written.

    Parameters
    ----------
    folder : Path
        With the logs.
    available : collection of int
        Epochs of which there are checkpoints.

    Raises
    ------
    CheckpointNotFoundError
        There are no logs or scores.
    CheckpointError
        Logs and checkpoints do not go together.
    MissingExtraError
        tensorboard is not installed.
    """
    sessions = _read_sessions(folder)
    lengths = _epoch_lengths(sessions, available)
    if lengths is None:
        raise CheckpointError(
            f"the logs in {folder} do not tell which of the checkpoints, of up to epoch {max(available)}, was the "
            "best; load one by its own name"
        )
    found = {
        step // length: score
        for session, length in zip(sessions, lengths, strict=True)
        for step, score in session.scores
    }
    return dict(sorted(found.items()))


def _epoch_lengths(sessions: Sequence[Session], available: Collection[int]) -> list[int] | None:
    """Find the iterations per epoch of each session; None where they cannot be told."""
    lengths, latest = [session.divisor for session in sessions], max(available, default=0)
    if not any(session.has_loss for session in sessions):
        # Where the last epoch ended is not known. Steps are epochs where checkpoints say so.
        steps = [step for session in sessions for step, _ in session.scores]
        return [1 if set(steps) <= set(available) else math.gcd(*steps) or 1] * len(sessions)
    reached = sessions[0].start // lengths[0]
    resumed_within = True
    for session, length in zip(sessions, lengths, strict=True):
        resumed_within &= session.start // length <= reached
        reached = max(reached, session.last // length)
    if resumed_within and reached >= latest:
        return lengths
    # There are more epochs than this, so that not each of them was validated. Backward: a run goes on from its latest.
    end = latest
    for index in reversed(range(len(sessions))):
        session = sessions[index]
        if end == 0:  # older ones were begun anew
            break
        longest = session.last // end
        fitting = [n for n in range(session.last // (end + 1) + 1, longest + 1) if session.divisor % n == 0]
        if not fitting and longest < session.divisor:
            # A process that was killed while it validated has lost what it logged of its last epoch.
            return [each.divisor for each in sessions] if resumed_within and reached + 1 == latest else None
        lengths[index] = fitting[0] if fitting else session.divisor
        end = session.start // lengths[index]
    return lengths


def _read_sessions(folder: Path) -> list[Session]:
    loader = import_extra(
        "tensorboard.backend.event_processing.event_file_loader",
        extra="tensorboard",
        purpose="reading TensorBoard logs",
    )
    if not folder.is_dir():
        raise CheckpointNotFoundError(f"there is no folder {folder} with TensorBoard logs")
    found: list[tuple[float, Session]] = []
    tags: set[str] = set()
    for file in folder.glob("*tfevents*"):
        began = math.inf
        losses: list[int] = []
        scores: list[tuple[int, float]] = []
        ends: set[int] = set()
        for event in loader.LegacyEventFileLoader(str(file)).Load():
            began = min(began, event.wall_time)
            for value in event.summary.value:
                tags.add(value.tag)
                if value.tag == "loss":
                    losses.append(event.step)
                elif value.tag == VALIDATION_TAG:
                    scores.append((event.step, _number(value)))
                elif value.HasField("image"):
                    ends.add(event.step)
        ends.update(step for step, _ in scores)
        start, last = (min(losses) - 1, max(losses)) if losses else (0, max(ends, default=0))
        divisor = math.gcd(start, *ends)
        if divisor or scores:
            session = Session(start=start, last=last, scores=tuple(scores), divisor=divisor or 1, has_loss=bool(losses))
            found.append((began, session))
    if VALIDATION_TAG not in tags:
        raise CheckpointNotFoundError(
            f"there are no scalars {VALIDATION_TAG!r} in the TensorBoard logs in {folder}; there are: "
            f"{', '.join(sorted(tags)) or 'none'}"
        )
    return [session for _, session in sorted(found, key=lambda pair: pair[0])]


def _number(value: object) -> float:
    """A scalar as `SummaryWriter` writes it, or as TensorFlow 2 does."""
    if value.HasField("simple_value"):  # type: ignore[attr-defined]
        return float(value.simple_value)  # type: ignore[attr-defined]
    util = import_extra("tensorboard.util.tensor_util", extra="tensorboard", purpose="reading TensorBoard logs")
    return float(util.make_ndarray(value.tensor))  # type: ignore[attr-defined]
