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
        edge, pictures = self.weight.shape[-1] // 2, grey.shape[1]
        padded = functional.pad(grey, (edge,) * 4, mode="reflect")
        return grey - functional.conv2d(padded, self.weight.expand(pictures, -1, -1, -1), groups=pictures)
