import pytest
import torch

from csc_models import create_model
from csc_train.plan.networks import NETWORKS, network_cost


@pytest.mark.parametrize("number", range(len(NETWORKS) - 1))
def test_networks_rise_in_what_they_cost_and_in_the_crops_that_they_need(number):
    smaller, larger = (network_cost(NETWORKS[n], 8) for n in (number, number + 1))
    assert smaller.parameters < larger.parameters
    assert smaller.flops < larger.flops
    assert NETWORKS[number].least_crops <= NETWORKS[number + 1].least_crops
    assert NETWORKS[number].learning_rate >= NETWORKS[number + 1].learning_rate


def test_a_network_is_counted_as_it_is():
    network = NETWORKS[0]
    cost = network_cost(network, 8)
    model = create_model(network.name, n_channels=1, n_classes=8, **network.arguments)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.rand(1, 1, 32, 32, 32))
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved = sum(size for place, size in kept.items() if place not in weights)
    assert cost.saved_bytes * 32**3 == pytest.approx(saved, rel=0.1)
    # Most is convolutions of 3 x 3 x 3 at full size: 1 to 16 channels and 16 to 16 on the way down, 16 to 16 after.
    finest = 3 * 2 * 27 * (16 + 16 * 16 + 16 * 16)
    assert finest < cost.flops < 3 * finest


def test_memory_grows_with_the_batch():
    cost = network_cost(NETWORKS[0], 8)
    assert cost.memory_bytes(2 * 40**3) - cost.memory_bytes(40**3) == pytest.approx(
        2 * 40**3 * cost.saved_bytes, rel=1e-3
    )
    assert cost.memory_bytes(0) == 16 * cost.parameters
