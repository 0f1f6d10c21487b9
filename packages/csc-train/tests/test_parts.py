import torch
from torch import nn

from csc_train.parts import rest


def test_frozen_parts_rest_while_the_others_are_in_training():
    network = nn.ModuleDict({"encoder": nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)), "head": nn.BatchNorm1d(2)})
    network.train()
    rest(network, ["encoder."])
    before = network["encoder"][0].running_mean.clone()
    network["head"](network["encoder"](torch.rand(8, 2)))
    assert torch.equal(network["encoder"][0].running_mean, before)
    assert network["head"].running_mean.abs().sum() > 0
    assert not network["encoder"][1].training
