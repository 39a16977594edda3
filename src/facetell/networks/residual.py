"""The residual of `facetell.residual` as a fixed layer, so that an exported network makes its own."""

from __future__ import annotations

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional

from facetell.residual import KERNEL, SIGMA


class Residual(nn.Module):
    """Grey pictures minus their Gaussian blur, the border reflected; nothing in it is trained.

    >>> Residual()(torch.ones(2, 20, 100, 100)).abs().max().item() < 1e-5
    True
    """

    weight: Tensor

    def __init__(self, kernel: int = KERNEL, sigma: float = SIGMA) -> None:
        super().__init__()
        line = torch.from_numpy(cv2.getGaussianKernel(kernel, sigma)).float()
        self.register_buffer("weight", (line @ line.T)[None, None])

    def forward(self, grey: Tensor) -> Tensor:
        """(N, T, H, W) -> (N, T, H, W), in the unit of its input."""
        flat = grey.reshape(-1, 1, *grey.shape[2:])
        edge = self.weight.shape[-1] // 2
        blurred = functional.conv2d(functional.pad(flat, (edge,) * 4, mode="reflect"), self.weight)
        return (flat - blurred).reshape(grey.shape)
