"""Steps, epochs, learning rate, validation: how long is trained, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from csc_data.fingerprint import Choice, Fingerprint
from csc_train.plan.draft import Draft

_MOST_EPOCHS = 200
_FEWEST_EPOCHS = 5
_STEPS_OF_AN_EPOCH = 100
_WARMUP_SHARE = 0.05
_MOST_WARMUP = 1000
_VALIDATION_SHARE = 0.08  # of the batches of an epoch; a batch without a backward pass takes a third of its time
_LEAST_VALIDATION = 4
_STEPS_FOR_EMA = 5_000


@dataclass(frozen=True, slots=True)
class Epochs:
    """How steps are divided."""

    count: int
    iterations: int


def divide_steps(steps: int) -> Epochs:
    """Divide steps into epochs of about a hundred, or longer ones when there would be too many.

    >>> divide_steps(900)
    Epochs(count=9, iterations=100)
    """
    count = max(1, min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(steps / _STEPS_OF_AN_EPOCH)), steps))
    return Epochs(count, max(1, steps // count))


def schedule_choices(made: Draft, fingerprint: Fingerprint) -> list[Choice]:
    """Return what is said about steps, their size, the loss, and validation.

    Parameters
    ----------
    made : Draft
    fingerprint : Fingerprint
    """
    epochs = divide_steps(made.steps)
    steps = epochs.count * epochs.iterations
    warmup = min(_MOST_WARMUP, round(_WARMUP_SHARE * steps))
    choices = [
        Choice(name="epochs", value=epochs.count, reason=f"{steps:,} steps in all: what the time is enough for"),
        Choice(name="iterations_per_epoch", value=epochs.iterations, reason=""),
        Choice(name="optimizer", value="adamw", reason="the usual one; its weight decay does not depend on the rate"),
        Choice(
            name="learning_rate",
            value=made.network.learning_rate,
            reason="for this network with AdamW; smaller networks bear larger steps",
        ),
        Choice(name="scheduler", value="cosine", reason="ends at 0 when the time does"),
        Choice(name="warmup_iterations", value=warmup, reason="the first twentieth, while Adam's moments settle"),
        Choice(name="max_grad_norm", value=12.0, reason="a rare bad batch moves the weights no further than others"),
        Choice(name="criterion", value="bce_dice", reason="Dice counts a rare class as much as a frequent one"),
        Choice(name="criterion_kwargs", value={"batch": True}, reason="over a whole batch: a patch lacks most classes"),
    ]
    choices += _validation_choices(fingerprint, epochs)
    if steps >= _STEPS_FOR_EMA:
        reason = "a running mean of the weights is better than the last ones, once there are many steps"
        choices.append(Choice(name="ema", value=0.999, reason=reason))
    return choices


def _validation_choices(fingerprint: Fingerprint, epochs: Epochs) -> list[Choice]:
    if not fingerprint.validation_crops:
        return []
    limit = max(_LEAST_VALIDATION, round(_VALIDATION_SHARE * epochs.iterations))
    reason = "always the same batches, for a few percent of the time"
    return [
        Choice(name="validation_batch_limit", value=limit, reason=reason),
        Choice(name="best_metric", value="dice", reason="the mean over the classes, as rare ones count alike"),
    ]
