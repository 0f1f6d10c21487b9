"""One step over several batches, or in several processes, has the gradient of one large batch."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from csc_train import train
from csc_train.training.steps import DivergedError, grouped

SCRIPT = """
import sys
from types import SimpleNamespace

import torch
from lightning_fabric import Fabric
from torch import nn

from csc_train import TrainSettings
from csc_train.objectives.objective import build_objective
from csc_train.training.optimisation import StepSizes
from csc_train.training.run import Run
from csc_train.training.run_state import RunState
from csc_train.training.steps import take_step


def make_run(criterion, fabric, count, **settings):
    '''Return a run of a small network, with steps of size 1 over so many batches.'''
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv3d(3, 2, 1)).double()
    settings = TrainSettings(
        classes=("mito", "er"), criterion=criterion, optimizer="sgd", weight_loss=False,
        gradient_accumulation_steps=count, **settings,
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    state = RunState(network=network, optimizer=optimizer, step_sizes=StepSizes(settings, optimizer), average=None)
    wrapped, stepper = fabric.setup(network, optimizer)
    loaders = SimpleNamespace(train=[None] * 4, inputs={"input": None})
    return Run(
        settings=settings, fabric=fabric, state=state, network=wrapped, stepper=stepper, loaders=loaders,
        objective=build_objective(settings, None),
    )


def gradient(criterion, groups, fabric):
    '''Return what one step of size 1 takes away from the weights.'''
    run = make_run(criterion, fabric, len(groups[0]))
    network = run.state.network
    before = torch.cat([p.detach().clone().flatten() for p in network.parameters()])
    loss = take_step(run, groups[fabric.global_rank]).loss
    return before - torch.cat([p.detach().flatten() for p in network.parameters()]), loss


def batches(count):
    '''Return batches of a sample each, of which very different shares are known.'''
    generator = torch.Generator().manual_seed(1)
    made = []
    for number in range(count):
        target = (torch.rand(1, 2, 6, 6, 6, generator=generator) > 0.5).double()
        target[torch.rand(target.shape, generator=generator) < (0.2, 0.98, 0.5, 0.72)[number % 4]] = float("nan")
        made.append({"input": torch.rand(1, 1, 6, 6, 6, generator=generator).double(), "output": target})
    return made


def joined(batches):
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


if __name__ == "__main__":
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    own = batches(4)
    found = [gradient(criterion, [own[:2], own[2:]], fabric) for criterion in ("bce", "bce_dice")]
    if fabric.is_global_zero:
        torch.save(found, sys.argv[1])
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("steps") / "script.py"
    path.write_text(SCRIPT)
    names = {"__name__": "script"}
    exec(compile(SCRIPT, str(path), "exec"), names)
    return SimpleNamespace(
        path=path, **{name: names[name] for name in ("gradient", "batches", "joined", "make_run", "take_step")}
    )


def expected(script, criterion):
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    return script.gradient(criterion, [[script.joined(script.batches(4))]], fabric)


@pytest.mark.parametrize("criterion", ["bce", "bce_dice", "dice"])
def test_accumulation_gives_the_gradient_of_the_whole(script, criterion):
    """Dice is per sample and class, so it too is the mean over all of them."""
    from lightning_fabric import Fabric

    gradient, loss = script.gradient(criterion, [script.batches(4)], Fabric(accelerator="cpu", devices=1))
    whole, whole_loss = expected(script, criterion)
    assert (gradient - whole).norm() < 1e-12 * whole.norm()
    assert loss == pytest.approx(whole_loss, rel=1e-12)


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_the_whole(script, tmp_path):
    out = tmp_path / "gradients.pt"
    command = [sys.executable, "-W", "ignore", str(script.path), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    for criterion, (gradient, loss) in zip(("bce", "bce_dice"), torch.load(out), strict=True):
        whole, whole_loss = expected(script, criterion)
        assert (gradient - whole).norm() < 1e-6 * whole.norm()
        assert loss == pytest.approx(whole_loss, rel=1e-6)


def test_groups():
    assert list(grouped(iter("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]


def test_gradients_are_clipped_once_per_step(settings, monkeypatch):
    from lightning_fabric import Fabric

    norms = []
    clip = Fabric.clip_gradients

    def recording(self, *args, **kwargs):
        norms.append(float(clip(self, *args, **kwargs)))

    monkeypatch.setattr(Fabric, "clip_gradients", recording)
    train(settings, epochs=1, iterations_per_epoch=5, gradient_accumulation_steps=2, max_grad_norm=1e-3)
    assert len(norms) == 3  # 2 + 2 + the one that is left


class Broken(nn.Module):
    """Gives NaN from its third batch on."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv3d(1, 2, 1)
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        return self.layer(x) * (math.nan if self.calls > 2 else 1.0)


def test_a_loss_that_is_not_a_number_is_told_with_its_places_and_moves_nothing(settings):
    network = Broken()
    with pytest.raises(DivergedError, match=r"epoch 1, batch 3 \(.*/crop\d at \(\d+, \d+, \d+\) nm; .*crop\d at"):
        train(dataclasses.replace(settings, model=network))
    assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())


def test_half_precision_is_scaled_back_before_clipping_and_infinite_gradients_are_left_out(script):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    batch = {name: tensor.float() for name, tensor in script.batches(1)[0].items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-120)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))
    run = script.make_run("bce", fabric, count=1, max_grad_norm=1e-3)
    run.state.network.float()
    weights = list(run.state.network.parameters())
    before = [p.detach().clone() for p in weights]
    assert not math.isfinite(script.take_step(run, [batch]).gradient_norm)
    assert all(torch.equal(p, old) for p, old in zip(weights, before, strict=True))
    norm = script.take_step(run, [batch]).gradient_norm
    moved = torch.cat([(p.detach() - old).flatten() for p, old in zip(weights, before, strict=True)])
    assert 1e-3 < norm < 100
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)  # a step of size 1 along a gradient of this norm
