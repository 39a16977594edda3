"""The paper's compact network for 150-pixel faces, after MesoNet (Afchar et al., 2018, arXiv 1809.00888)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

SIZE = 150


class Meso(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and max pooling; dropout; one hidden dense layer; one logit.

    Kernels (3, 5, 5, 5) and pooling (2, 2, 2, 4) are Meso-4's. The paper's sigmoid is left to the reader of the logit.

    Args:
        widths: channels of the four blocks.
        hidden: units of the dense layer.
        dropout: before each dense layer.

    >>> import torch
    >>> Meso()(torch.zeros(2, 3, 150, 150)).shape
    torch.Size([2])
    """

    def __init__(self, widths: Sequence[int] = (8, 8, 16, 16), hidden: int = 16, dropout: float = 0.25) -> None:
        super().__init__()
        blocks = []
        for inputs, outputs, kernel, pool in zip((3, *widths[:3]), widths, (3, 5, 5, 5), (2, 2, 2, 4), strict=True):
            blocks += [
                nn.Conv2d(inputs, outputs, kernel, padding="same", bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(pool),
            ]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(widths[3] * 4 * 4, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, 150, 150) normalised RGB -> (N,) logits of FAKE."""
        return self.head(self.features(crops)).flatten()
