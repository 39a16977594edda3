"""The paper's MesoNet-style network has the shape the paper gives it."""

from __future__ import annotations

import torch
from torch import nn

from facetell.networks.meso import Meso


def test_shape_of_the_network():
    network = Meso()
    kinds = [type(layer) for layer in network.modules()]
    assert [kinds.count(kind) for kind in (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear)] == [4, 4, 4, 2]
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.25}
    assert network(torch.zeros(3, 3, 150, 150)).shape == (3,)
    assert sum(p.numel() for p in network.parameters()) < 30_000
