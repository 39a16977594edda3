"""The paper's recurrent network on the series of distinguishment metrics of one person."""

from __future__ import annotations

from torch import Tensor, nn

from facetell.networks.residual import Residual

HIDDEN = 32


class Gru(nn.Module):
    """Each face's mean absolute residual, a GRU over the run, one dense unit on its last state.

    >>> import torch
    >>> Gru()(torch.zeros(2, 20, 1, 100, 100)).shape
    torch.Size([2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.residual = Residual()
        self.norm = nn.BatchNorm1d(1)
        self.gru = nn.GRU(1, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, T, 1, H, W) grey levels 0…255 -> (N,) logits of FAKE."""
        series = self.residual(crops.squeeze(2)).abs().mean(dim=(2, 3))
        states, _ = self.gru(self.norm(series.unsqueeze(1)).transpose(1, 2))
        return self.head(states[:, -1]).flatten()
