"""The fast depthwise convolutions against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from facetell.networks.depthwise import quicken

LAYERS = {
    "3": nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
    "5, with a bias": nn.Conv2d(8, 8, 5, padding=2, groups=8),
    "not square": nn.Conv2d(8, 8, (3, 5), padding=(0, 1), groups=8),
    "stride 2": nn.Conv2d(8, 8, 3, 2, padding=1, groups=8),
    "TensorFlow's padding, stride 2": Conv2dSame(8, 8, 5, 2, groups=8, bias=False),
}


def gradients(layer: nn.Module, x: Tensor, half: bool) -> list[Tensor]:
    """The output, and the gradients of the input and of the weights."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = layer(x)
    (output.float() * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    assert x.grad is not None
    return [output, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("side", [12, 13])
def test_outputs_and_gradients_are_those_of_the_plain_layer(name: str, side: int) -> None:
    plain, quick = copy.deepcopy(LAYERS[name]), nn.Sequential(copy.deepcopy(LAYERS[name]))
    quicken(quick)
    x = torch.randn(3, 8, side, side, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(gradients(plain, x, False), gradients(quick, x, False), strict=True))
    wanted, found = gradients(plain, x, False), gradients(quick, x, True)
    assert found[0].dtype == torch.bfloat16
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(b.float(), a, rtol=0.02, atol=0.02 * float(a.detach().abs().max()))


def test_a_copy_has_weights_of_its_own() -> None:
    first = nn.Sequential(copy.deepcopy(LAYERS["3"]))
    quicken(first)
    second = copy.deepcopy(first)
    with torch.no_grad():
        next(second.parameters()).zero_()
    with torch.autocast("cpu", torch.bfloat16):
        assert not second(torch.ones(1, 8, 5, 5)).any()
        assert first(torch.ones(1, 8, 5, 5)).any()


def test_other_layers_stay_what_they_are() -> None:
    layers = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=8, dilation=2), nn.Conv2d(8, 16, 3, groups=8))
    quicken(layers)
    assert all(type(layer) is nn.Conv2d for layer in layers)
