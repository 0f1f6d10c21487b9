"""Fixtures of all tests: few threads, so that tests that run side by side do not slow each other."""

import json
import math
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20)


@pytest.fixture(scope="session")
def weights_by_formula():
    """A function that makes weights from the keys and shapes of a state dict.

    Outputs of the challenge's networks are known for these weights (`data/official_networks.json`), so that ours can
    be compared with them without their code, and without files of a hundred megabytes.
    """

    def weights(state):
        return {key: values_by_formula(key, tuple(old.shape)).to(old.dtype) for key, old in state.items()}

    def values_by_formula(key, shape):
        count = math.prod(shape)
        index = torch.arange(count, dtype=torch.float64)
        phase = sum(ord(letter) for letter in key) % 97
        name = key.rsplit(".", 1)[-1]
        if name == "num_batches_tracked":
            values = torch.zeros(count)
        elif name == "running_var":
            values = 1 + 0.1 * (index % 7)
        elif name == "running_mean":
            values = 0.01 * (index % 5 - 2)
        elif len(shape) == 1 and name == "weight":
            values = 1 + 0.1 * torch.sin(index + phase)
        elif len(shape) <= 1:
            values = 0.05 * torch.sin(index + phase)
        else:
            inputs_per_output = max(1, count // shape[0])
            angle = torch.remainder(1.7 * index * index, 6.283185307179586) + 0.37 * phase
            values = math.sqrt(2 / inputs_per_output) * math.sqrt(2) * torch.sin(angle)
        return values.reshape(shape)

    return weights


@pytest.fixture(scope="session")
def input_by_formula():
    """A function that makes a smooth input in [0, 1] of a shape."""

    def make(shape):
        index = torch.arange(math.prod(shape), dtype=torch.float64)
        return (0.5 + 0.5 * torch.sin(0.013 * index + 0.5 * torch.sin(0.0007 * index))).reshape(shape).float()

    return make


@pytest.fixture(scope="session")
def official_networks():
    """Keys, shapes and outputs of the challenge's networks, by case."""
    return json.loads((Path(__file__).parent / "data" / "official_networks.json").read_text())
