"""The residual of `facetell.residual` as a fixed layer, so that an exported network makes its own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional

from facetell.residual import KERNEL, SIGMA

SPREAD = 4.0  # grey levels, about the residual's standard deviation: backbones want numbers around 1


class Residual(nn.Module):
    """Grey pictures minus their Gaussian blur, the border reflected; nothing in it is trained.

    >>> Residual()(torch.ones(2, 20, 100, 100)).abs().max().item() < 1e-5
    True
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.from_numpy(cv2.getGaussianKernel(KERNEL, SIGMA)).float()
        self.register_buffer("weight", (line @ line.T)[None, None])

    def forward(self, grey: Tensor) -> Tensor:
        """(N, T, H, W) -> (N, T, H, W), in the unit of its input."""
        edge, pictures = self.weight.shape[-1] // 2, grey.shape[1]
        padded = functional.pad(grey, (edge,) * 4, mode="reflect")
        return grey - functional.conv2d(padded, self.weight.expand(pictures, -1, -1, -1), groups=pictures)


class ResidualPicture(nn.Module):
    """Coloured crops become the residual of their grey, three channels alike: what a noise pattern classifier sees.

    Args:
        std: of the crops' normalisation. Its mean is of no matter: a blur leaves constants as they are.

    >>> ResidualPicture((0.5, 0.5, 0.5))(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 3, 64, 64])
    """

    gain: Tensor

    def __init__(self, std: Sequence[float]) -> None:
        super().__init__()
        self.residual = Residual()
        self.register_buffer("gain", 255 / SPREAD * torch.tensor(std)[:, None, None])

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, 3, H, W)."""
        grey = (crops * self.gain).mean(dim=1, keepdim=True)
        return self.residual(grey).expand(-1, 3, -1, -1)
