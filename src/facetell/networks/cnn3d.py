"""The paper's 3D convolutional network on the residuals of 20 faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facetell.networks.residual import Residual


class Cnn3d(nn.Module):
    """Conv3d 20 tanh, max pool, Conv3d 16 ReLU, Conv3d 8 ReLU, global mean, one dense unit.

    The paper names no kernel sizes: 3 throughout, with a stride of 2 in the first layer's plane.

    >>> import torch
    >>> Cnn3d()(torch.zeros(2, 20, 1, 100, 100)).shape
    torch.Size([2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.residual = Residual()
        self.norm = nn.BatchNorm3d(1)  # residuals are a few grey levels; tanh wants numbers around 1
        self.features = nn.Sequential(
            nn.Conv3d(1, 20, 3, stride=(1, 2, 2), padding=1),
            nn.Tanh(),
            nn.MaxPool3d(2),
            nn.Conv3d(20, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(16, 8, 3, padding=1),
            nn.ReLU(),
        )
        self.features.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]  a fifth faster
        self.head = nn.Linear(8, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, T, 1, H, W) grey levels 0…255 -> (N,) logits of FAKE."""
        residual = self.residual(crops.squeeze(2)).unsqueeze(1)
        return self.head(self.features(self.norm(residual)).mean(dim=(2, 3, 4))).flatten()
