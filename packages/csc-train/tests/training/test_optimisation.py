import copy
import math

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_train import TrainSettings
from csc_train.network import build_network
from csc_train.training.optimisation import StepSizes, build_optimizer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        return self.head(self.encoder(x))


def settings(**given):
    """Settings of four epochs of five steps."""
    defaults = {"epochs": 4, "iterations_per_epoch": 10, "gradient_accumulation_steps": 2, "learning_rate": 0.1}
    return TrainSettings(classes=["mito"], **{**defaults, "model": Net(), **given})


def run(given, *, epochs=4, load=None):
    """Return the step size before each step, and the schedule."""
    optimizer = build_optimizer(given, given.model)
    sizes = StepSizes(given, optimizer)
    if load is not None:
        optimizer.load_state_dict(load["optimizer"])
        sizes.load_state_dict(load["sizes"])
    found = []
    for _ in range(epochs):
        for _ in range(5):
            found.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            sizes.after_step()
        sizes.after_epoch(1.0)
    return found, optimizer, sizes


def first(rates):
    return [group[0] for group in rates]


def expected_warmup(rates, steps):
    return [rate * min(1, (n + 1) / (steps + 1)) for n, rate in enumerate(rates)]


def test_named_schedules_end_at_zero_and_follow_their_curves():
    cosine = first(run(settings(scheduler="cosine"))[0])
    assert cosine == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 20)) for n in range(20)])
    polynomial = first(run(settings(scheduler="polynomial"))[0])
    assert polynomial == pytest.approx([0.1 * (1 - n / 20) ** 0.9 for n in range(20)])
    square = first(run(settings(scheduler="polynomial", scheduler_kwargs={"power": 2}))[0])
    assert square == pytest.approx([0.1 * (1 - n / 20) ** 2 for n in range(20)])
    each_epoch = first(run(settings(scheduler="polynomial", scheduler_interval="epoch"))[0])
    assert each_epoch == pytest.approx([0.1 * (1 - n // 5 * 5 / 20) ** 0.9 for n in range(20)])
    for none in (None, "constant"):
        assert first(run(settings(scheduler=none))[0]) == [0.1] * 20


def test_a_class_moves_each_epoch_or_each_step_and_a_warmup_lowers_what_it_says():
    halves = {"scheduler": lr_scheduler.StepLR, "scheduler_kwargs": {"step_size": 1, "gamma": 0.5}}
    by_epoch = [0.1 * 0.5 ** (n // 5) for n in range(20)]
    assert first(run(settings(**halves))[0]) == pytest.approx(by_epoch)
    warm = first(run(settings(**halves, warmup_iterations=7))[0])
    assert warm == pytest.approx(expected_warmup(by_epoch, 7))
    by_step = first(run(settings(**halves, scheduler_interval="step"))[0])
    assert by_step == pytest.approx([0.1 * 0.5**n for n in range(20)])
    named = first(run(settings(scheduler="cosine", warmup_iterations=4))[0])
    assert named[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])


def test_an_instance_moves_the_optimizer_that_it_was_made_for():
    network = Net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.1)
    given = settings(model=network, optimizer=optimizer, scheduler=scheduler, warmup_iterations=2)
    found = first(run(given)[0])
    assert found == pytest.approx(expected_warmup([0.3 * 0.1 ** (n // 5) for n in range(20)], 2))
    with pytest.raises(InvalidArgumentError, match="another optimizer"):
        run(settings(scheduler=scheduler))


def test_a_plateau_is_waited_for_in_the_direction_that_its_scheduler_says():
    for mode in ("min", "max"):
        given = settings(
            scheduler=lr_scheduler.ReduceLROnPlateau, scheduler_kwargs={"patience": 0, "factor": 0.5, "mode": mode}
        )
        sizes = StepSizes(given, build_optimizer(given, given.model))
        rates = []
        for loss in (3.0, 2.0, 2.5):  # better, then worse
            sizes.after_epoch(loss)
            rates.append(sizes.learning_rate)
        assert rates == pytest.approx([0.1, 0.1, 0.05])
    with pytest.raises(InvalidArgumentError, match="validation"):
        run(settings(scheduler=lr_scheduler.ReduceLROnPlateau, scheduler_interval="step"))


RESUMED = {
    "cosine": {"scheduler": "cosine", "warmup_iterations": 7},
    "steps": {"scheduler": lr_scheduler.StepLR, "scheduler_kwargs": {"step_size": 1}, "warmup_iterations": 12},
    "milestones": {"scheduler": lr_scheduler.MultiStepLR, "scheduler_kwargs": {"milestones": [1, 3]}},
    "one cycle": {
        "scheduler": lr_scheduler.OneCycleLR,
        "scheduler_kwargs": {"max_lr": 0.5, "total_steps": 25},
        "scheduler_interval": "step",
    },
    "lambda": {"scheduler": lr_scheduler.LambdaLR, "scheduler_kwargs": {"lr_lambda": lambda n: 1 / (n + 1)}},
    "parts": {"scheduler": "polynomial", "learning_rates": {"encoder.": 0.01}},
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_schedule_goes_on_to_the_bit_from_a_state_that_a_file_can_hold(name, tmp_path):
    whole = run(settings(**RESUMED[name]))[0]
    _, optimizer, sizes = run(settings(**RESUMED[name]), epochs=2)
    torch.save({"optimizer": optimizer.state_dict(), "sizes": sizes.state_dict()}, tmp_path / "state.pth")
    state = torch.load(tmp_path / "state.pth", weights_only=True)
    assert run(settings(**RESUMED[name]), epochs=2, load=state)[0] == whole[10:]


@pytest.mark.parametrize("name", ["cosine", "steps", "milestones", "lambda"])
def test_a_learning_rate_that_is_changed_counts_when_a_run_goes_on(name):
    _, optimizer, sizes = run(settings(**RESUMED[name]), epochs=2)
    state = copy.deepcopy({"optimizer": optimizer.state_dict(), "sizes": sizes.state_dict()})
    changed = run(settings(**RESUMED[name], learning_rate=0.2), epochs=2, load=state)[0]
    assert first(changed) == pytest.approx(first(run(settings(**RESUMED[name], learning_rate=0.2))[0])[10:])


def test_another_scheduler_begins_where_a_run_goes_on():
    _, optimizer, sizes = run(settings(scheduler="cosine"), epochs=2)
    state = {"optimizer": optimizer.state_dict(), "sizes": sizes.state_dict()}
    steps = {"scheduler": lr_scheduler.ExponentialLR, "scheduler_kwargs": {"gamma": 0.5}}
    found = first(run(settings(**steps), epochs=2, load=copy.deepcopy(state))[0])
    assert found == pytest.approx([0.1] * 5 + [0.05] * 5)
    assert first(run(settings(), epochs=2, load=state)[0]) == [0.1] * 10


def test_parts_have_step_sizes_of_their_own_or_rest():
    given = settings(learning_rates={"encoder.": 0.01, "encoder.1.": 0.001}, optimizer="sgd")
    optimizer = build_optimizer(given, given.model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in given.model.named_parameters()}
    assert (named["head.weight"], named["encoder.0.bias"], named["encoder.1.weight"]) == (0.1, 0.01, 0.001)
    assert StepSizes(given, optimizer).learning_rate == 0.1  # that of the rest is the one that is shown

    resting = settings(frozen=["encoder."], optimizer="sgd", learning_rate=1.0)
    network = build_network(resting)
    before = copy.deepcopy(network.state_dict())
    optimizer = build_optimizer(resting, network)
    network(torch.rand(4, 2)).sum().backward()
    optimizer.step()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"head.weight", "head.bias"} <= moved
    assert not {name for name, _ in network.encoder.named_parameters("encoder")} & moved


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"frozen": ["encodr."]}, "frozen: .*'encodr.' .did you mean encoder.?"),
        ({"frozen": ["encoder.", "head."]}, "nothing is left"),
        ({"learning_rates": {"decoder.": 0.1}}, "learning_rates: .*'decoder.'"),
        ({"optimizer": torch.optim.SGD, "optimizer_kwargs": {"momentun": 1}}, "momentun"),
        ({"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)}, "does not hold"),
        ({"scheduler": lr_scheduler.StepLR, "scheduler_kwargs": {"steps": 1}}, "does not take"),
        ({"scheduler": lambda optimizer: 3}, "no step"),
        ({"optimizer": torch.optim.LBFGS}, "a closure"),
        (
            {"scheduler": lr_scheduler.OneCycleLR, "scheduler_kwargs": {"max_lr": 1, "total_steps": 2}},
            "total_steps = 2",
        ),
    ],
)
def test_what_cannot_be_is_told(given, words):
    asked = settings(**given)
    with pytest.raises(InvalidArgumentError, match=words):
        StepSizes(asked, build_optimizer(asked, build_network(asked)))


def test_a_scheduler_that_cannot_move_on_is_told():
    given = settings(scheduler=lr_scheduler.CosineAnnealingLR, scheduler_kwargs={"T_max": 0})
    optimizer = build_optimizer(given, given.model)
    sizes = StepSizes(given, optimizer)
    optimizer.step()
    with pytest.raises(InvalidArgumentError, match=r"CosineAnnealingLR fails after step 0 of .* see scheduler_kwargs"):
        sizes.after_epoch(0.5)


def test_arguments_of_named_schedules_are_checked_with_the_settings():
    for given in (
        {"scheduler": "cosine", "scheduler_kwargs": {"T_max": 3}},
        {"scheduler": "polynomial", "scheduler_kwargs": {"power": 0}},
        {"scheduler": "cosin"},
        {"learning_rates": {"a": 1.0}, "optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)},
    ):
        with pytest.raises(ProblemsError, match=r"scheduler|learning_rates"):
            settings(**given)


def test_a_plateau_does_not_see_epochs_without_a_metric():
    given = settings(scheduler=lr_scheduler.ReduceLROnPlateau, scheduler_kwargs={"patience": 1, "factor": 0.5})
    optimizer = build_optimizer(given, given.model)
    sizes = StepSizes(given, optimizer)
    rates = []
    for metric in (math.nan, 0.5, math.nan, math.nan, math.nan, 0.6, 0.6):
        sizes.after_epoch(metric)
        rates.append(sizes.learning_rate)
    assert rates == [0.1] * 6 + [0.05]
