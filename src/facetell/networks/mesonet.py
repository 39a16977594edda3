"""Meso-4 and MesoInception-4 (Afchar, Nozick, Yamagishi, Echizen, 2018, arXiv 1809.00888), for faces of 256 pixels.

Layer for layer as the authors published them in Keras, so that their weights fit; the logit is that of FAKE, while
their sigmoid is P(real).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE = 256
EPSILON = 1e-3  # of Keras's batch norm


class Mesonet(nn.Module):
    """What both networks share: features (N, 16, 8, 8), then two dense layers."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16 * 8 * 8, 16),
            nn.LeakyReLU(0.1),
            nn.Dropout(0.5),
            nn.Linear(16, 1),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, 256, 256) RGB in 0…1 -> (N,) logits of FAKE."""
        return self.head(self.features(crops)).flatten()


class Meso4(Mesonet):
    """Four blocks of convolution, ReLU, batch norm and pooling.

    >>> Meso4()(torch.zeros(2, 3, 256, 256)).shape
    torch.Size([2])
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Sequential(
                _block(nn.Conv2d(3, 8, 3, padding="same"), 8, 2),
                _block(nn.Conv2d(8, 8, 5, padding="same"), 8, 2),
                _block(nn.Conv2d(8, 16, 5, padding="same"), 16, 2),
                _block(nn.Conv2d(16, 16, 5, padding="same"), 16, 4),
            )
        )


class MesoInception4(Mesonet):
    """Meso-4 with its first two blocks replaced by dilated inception modules.

    >>> MesoInception4()(torch.zeros(2, 3, 256, 256)).shape
    torch.Size([2])
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Sequential(
                _block(Inception(3, (1, 4, 4, 2)), 11, 2),
                _block(Inception(11, (2, 4, 4, 2)), 12, 2),
                _block(nn.Conv2d(12, 16, 5, padding="same"), 16, 2),
                _block(nn.Conv2d(16, 16, 5, padding="same"), 16, 4),
            )
        )


class Inception(nn.Module):
    """A point-wise convolution beside three of 3×3 with dilation 1, 2 and 3, each after a point-wise one."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(inputs, widths[0], 1)])
        for dilation, width in enumerate(widths[1:], 1):
            self.branches.append(
                nn.Sequential(
                    nn.Conv2d(inputs, width, 1),
                    nn.ReLU(),
                    nn.Conv2d(width, width, 3, padding="same", dilation=dilation),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _block(convolution: nn.Module, channels: int, pool: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.ReLU(), nn.BatchNorm2d(channels, EPSILON), nn.MaxPool2d(pool))
