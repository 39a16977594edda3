"""Depthwise convolutions that are trained fast in bfloat16 on a CPU.

There, torch 2.14 has fast kernels for such a convolution, but none for its gradient, which takes longer than all the
rest of a network. The gradient of the input is itself a convolution, with the kernel turned round (Dumoulin and Visin,
2016, chapter 4), so the fast kernels can do it; that of the weights is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional as F


def quicken(network: nn.Module) -> None:
    """Make the network's depthwise convolutions fast under `torch.autocast("cpu", torch.bfloat16)`, in place.

    Elsewhere, weights, outputs and gradients are what they were.

    >>> layer = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
    >>> quicken(layer)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     layer(torch.ones(1, 8, 5, 5)).dtype
    torch.bfloat16
    """
    for layer in network.modules():
        if type(layer) not in _QUICK or not layer.groups == layer.in_channels == layer.out_channels:
            continue
        if layer.dilation == (1, 1) and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple):
            layer.__class__ = _QUICK[type(layer)]


class _Quick(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        if not (input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        if isinstance(self, Conv2dSame):
            input = pad_same(input, list(self.kernel_size), list(self.stride))
        kind = torch.get_autocast_dtype("cpu")
        output = _Depthwise.apply(input.to(kind), self.weight.to(kind), self.stride, self.padding)
        return output if self.bias is None else output + self.bias.to(kind)[:, None, None]


class _QuickSame(_Quick, Conv2dSame):
    pass


_QUICK: dict[type, type] = {nn.Conv2d: _Quick, Conv2dSame: _QuickSame}


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x, weight), (gradient,) = ctx.saved_tensors, gradients
        settings = (ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight))
        of_weight = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight.float(), None, *settings, (False, True, False)
        )[1]
        rest = [k - 1 - p for k, p in zip(weight.shape[2:], ctx.padding, strict=True)]
        if max(ctx.stride) > 1:  # zeros between, as if every place had been computed
            sides = [side + p - r for side, p, r in zip(x.shape[2:], ctx.padding, rest, strict=True)]
            spread = gradient.new_zeros((*x.shape[:2], *sides)).contiguous(memory_format=torch.channels_last)
            spread[:, :, :: ctx.stride[0], :: ctx.stride[1]] = gradient
            gradient = spread
        of_x = F.conv2d(gradient, weight.flip(2, 3), padding=rest, groups=len(weight))
        return of_x, of_weight.to(weight.dtype), None, None
