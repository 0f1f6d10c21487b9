import math

from csc_train.training.hooks.stopping import EarlyStopping


def train(run, scores):
    """Return how many epochs are done until somebody asks for an end."""
    run.start()
    for score in scores:
        if run.stopping is not None:
            break
        run.epoch(iou=score)
    return run.state.epoch


def test_a_run_ends_when_nothing_became_better_for_long_enough(begin):
    run = begin(EarlyStopping(2))
    assert train(run, [0.1, 0.3, 0.2, 0.4, 0.4, 0.3, 0.9]) == 6
    assert run.stopping == "no better epoch for 2 epochs"


def test_patience_goes_on_where_it_was(begin):
    first = begin(EarlyStopping(3))
    train(first, [0.5, 0.2])
    second = begin(EarlyStopping(3)).goes_on_from(2)
    second.state.best_epoch, second.state.best_score = 1, 0.5
    assert train(second, [0.3, 0.4, 0.1]) == 4


def test_a_run_that_was_ended_does_not_train_on(begin):
    run = begin(EarlyStopping(2)).goes_on_from(6)
    run.state.best_epoch, run.state.best_score = 4, 0.4
    run.state.history = [[6, 0.4, 0.7, 0.3, 0.6, 0.3, 0.3]]
    assert train(run, [0.9]) == 6
    assert run.stopping is not None


def test_a_run_that_begins_is_not_ended(begin):
    assert begin(EarlyStopping(1)).start().stopping is None


def test_epochs_without_a_score_end_nothing(begin):
    run = begin(EarlyStopping(2))
    assert train(run, [math.nan, math.nan, math.nan, 0.3, math.nan, math.nan, math.nan, 0.2, 0.9]) == 8
    again = begin(EarlyStopping(2)).goes_on_from(7)
    again.state.best_epoch, again.state.best_score = 4, 0.3
    again.state.history = [[7, 0.4, 0.7, 0.3, 0.6, math.nan, math.nan]]
    assert again.start().stopping is None
