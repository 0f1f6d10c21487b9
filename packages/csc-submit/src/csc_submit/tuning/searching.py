"""The search among values: all of them where they are few, else by Optuna's tree of Parzen estimators."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from csc_data.errors import import_extra
from csc_submit.tuning.choosing import Gain, ScoreBook, choose, held_out_gain
from csc_submit.tuning.space import Point

_LEAST_GAIN = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be tried.

    Attributes
    ----------
    trials : int
        Points for each choice: one is made of all crops, and one without each fold.
    deadline : float
        When to stop, by `time.monotonic`.
    seed : int
    """

    trials: int
    deadline: float = math.inf
    seed: int = 0

    @property
    def is_spent(self) -> bool:
        """Whether time is up."""
        return time.monotonic() >= self.deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search says.

    Attributes
    ----------
    point : tuple
        The values to take; the default where nothing holds.
    gain : Gain
        Held out, whether it holds or not.
    parameters : mapping of str to Gain
        What each parameter that may change gains held out beside the others.
    holds : bool
        Whether it is believed.
    """

    point: Point
    gain: Gain
    parameters: dict[str, Gain]
    holds: bool


def load_optuna() -> Any:
    """Import Optuna.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    return import_extra("optuna", "tuning", "csc-submit[tune]")


def search(book: ScoreBook, choices: Sequence[tuple[int, ...]], budget: Budget) -> list[list[Point]]:
    """Return the points that were tried for each choice, which the scores of its folds alone have led to."""
    if math.prod(len(parameter.values) for parameter in book.parameters) <= budget.trials:
        return [_try_all(book, budget)] * len(choices)
    tried = []
    for number, folds in enumerate(choices):
        left = (budget.deadline - time.monotonic()) / (len(choices) - number)
        tried.append(_search(book, folds, replace(budget, deadline=time.monotonic() + left)))
    return tried


def _search(book: ScoreBook, folds: tuple[int, ...], budget: Budget) -> list[Point]:
    optuna = load_optuna()
    with _quiet(optuna):
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=budget.seed))
    study.enqueue_trial({p.name: p.values.index(p.default) for p in book.parameters})
    tried = []
    for _ in range(budget.trials):
        trial = study.ask()
        point = tuple(p.values[trial.suggest_int(p.name, 0, len(p.values) - 1)] for p in book.parameters)
        study.tell(trial, book.pooled(point, folds))
        tried.append(point)
        if budget.is_spent:
            break
    return list(dict.fromkeys(tried))


def _try_all(book: ScoreBook, budget: Budget) -> list[Point]:
    """Score every point; which ones do not depend on scores, so folds can share them."""
    *slow, last = (parameter.values for parameter in book.parameters)
    groups = list(itertools.product(*slow))
    random.Random(budget.seed).shuffle(groups)  # noqa: S311  # nobody gains by guessing what is tried first
    tried = [book.default]
    for group in groups:
        for value in last:  # together, as they share what is slow
            book.scores((*group, value))
            tried.append((*group, value))
        if budget.is_spent:
            break
    return list(dict.fromkeys(tried))


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from telling of each study on the terminal."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def find_values(book: ScoreBook, budget: Budget, errors: float) -> Found:
    """Search, and take what is found if it gains where it was not chosen, with as few parameters as do it.

    Those that gain nothing by themselves go back to their defaults, one by one, as long as the gain of the rest holds.

    Parameters
    ----------
    book : ScoreBook
    budget : Budget
    errors : float
        How many standard errors a gain must have.
    """
    numbers = tuple(range(len(book.folds)))
    training = [tuple(n for n in numbers if n != left_out) for left_out in numbers]
    tried = search(book, [*training, numbers], budget)
    free = [True] * len(book.parameters)
    found: Found | None = None
    while any(free):
        chosen = [choose(book, points, folds) for points, folds in zip(tried, [*training, numbers], strict=True)]
        gain = held_out_gain(book, chosen[:-1], [book.default] * len(numbers))
        holds = gain.holds(errors) and gain.mean >= _LEAST_GAIN
        each = {
            n: held_out_gain(book, chosen[:-1], [_reset(book, point, n) for point in chosen[:-1]])
            for n, is_free in enumerate(free)
            if is_free
        }
        if holds or found is None:
            gains = {book.parameters[n].name: one for n, one in each.items()} if holds else {}
            found = Found(point=chosen[-1] if holds else book.default, gain=gain, parameters=gains, holds=holds)
        failing = [n for n, one in each.items() if not one.holds(errors)]
        if not failing:
            break
        # One at a time: two that stand for each other would both seem needless.
        worst = min(failing, key=lambda n: each[n].mean)
        free[worst] = False
        tried = [list(dict.fromkeys(_reset(book, point, worst) for point in points)) for points in tried]
    assert found is not None
    return found


def _reset(book: ScoreBook, point: Point, number: int) -> Point:
    """Return a point with the default of one parameter."""
    return (*point[:number], book.default[number], *point[number + 1 :])
