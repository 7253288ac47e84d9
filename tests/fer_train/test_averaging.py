"""Averaged weights follow the network slowly."""

from __future__ import annotations

import torch
from torch import nn

from fer_train.averaging import Average


def test_each_step_moves_it_by_the_rest_of_the_decay() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(network, 0.9)
    before = [p.clone() for p in average.parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    average.follow(network)
    for old, now in zip(before, average.parameters(), strict=True):
        torch.testing.assert_close(now, old + 0.1)


def test_without_decay_it_is_the_network_itself() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, 0.0)
    with torch.no_grad():
        network.weight.fill_(3.0)
    average.follow(network)
    assert torch.equal(average.module.weight, network.weight)


def test_it_is_no_part_of_what_learns() -> None:
    average = Average(nn.Linear(2, 2), 0.9)
    assert not any(parameter.requires_grad for parameter in average.parameters())
