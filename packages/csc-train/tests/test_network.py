import pytest
import torch
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_train.network import WeightAverage, build_network, fit_output
from csc_train.settings import TrainSettings


def test_a_network_comes_from_the_catalogue_or_is_the_given_one():
    named = TrainSettings(classes=("mito", "er"), model_name="mine", architecture="3d_unet_s")
    assert build_network(named)(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 2, 8, 8, 8)
    own = nn.Conv3d(1, 1, 1)
    assert build_network(TrainSettings(classes=("mito",), model=own)) is own
    with pytest.raises(InvalidArgumentError, match="torch module"):
        build_network(TrainSettings(classes=("mito",), model="3d_unet"))


def test_the_centre_of_a_larger_output_meets_the_target():
    logits = torch.arange(2 * 8 * 9 * 10.0).reshape(1, 2, 8, 9, 10)
    target = torch.zeros(1, 2, 4, 9, 6)
    assert torch.equal(fit_output(logits, target), logits[:, :, 2:6, :, 2:8])
    for shape in [(1, 3, 8, 9, 10), (1, 2, 10, 9, 10), (1, 2, 7, 9, 10), (1, 2, 9, 10)]:
        with pytest.raises(InvalidArgumentError):
            fit_output(logits, torch.zeros(shape))


def test_the_average_follows_weights_and_running_statistics():
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = WeightAverage(network, 0.9)
    before = average.module[0].weight.clone()
    with torch.no_grad():
        network[0].weight.fill_(5.0)
        network[1].running_mean.fill_(7.0)
        network[1].num_batches_tracked.fill_(3)
    average.update(network)
    assert min(before, 5) < average.module[0].weight < 5
    assert 0 < average.module[1].running_mean < 7
    assert average.module[1].num_batches_tracked == 3  # a count is no mean
    for _ in range(300):
        average.update(network)
    assert average.module[0].weight.item() == pytest.approx(5.0)
    assert average.module[1].running_mean.item() == pytest.approx(7.0)
