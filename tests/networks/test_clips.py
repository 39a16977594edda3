"""The paper's networks on runs of faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from facetell.networks.cnn3d import Cnn3d
from facetell.networks.gru import Gru
from facetell.networks.residual import Residual
from facetell.residual import distinguishment, metric


def test_the_layer_makes_the_same_residual_as_numpy():
    faces = np.random.default_rng(0).integers(0, 256, (20, 100, 100, 3), dtype=np.uint8)
    grey = torch.from_numpy(faces.mean(axis=-1, dtype=np.float32))[None]
    expected = distinguishment(faces)
    np.testing.assert_allclose(Residual()(grey)[0].numpy(), expected, atol=1e-3)
    assert metric(expected).shape == (20,)


def test_layers_of_the_3d_network():
    layers = [(layer.in_channels, layer.out_channels) for layer in Cnn3d().modules() if isinstance(layer, nn.Conv3d)]
    assert layers == [(1, 20), (20, 16), (16, 8)]


@pytest.mark.parametrize("network", [Cnn3d(), Gru()])
def test_flat_light_changes_nothing(network):
    network.eval()
    run = torch.rand(1, 20, 1, 100, 100) * 100
    torch.testing.assert_close(network(run), network(run + 50), atol=1e-3, rtol=0)
