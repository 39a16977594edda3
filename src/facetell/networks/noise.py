"""A noise pattern classifier: what the paper's reference 10 does with a dual path network, with any timm backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facetell.networks.backbone import features_of, load_backbone
from facetell.networks.residual import ResidualPicture


class NoiseClassifier(nn.Module):
    """A backbone that sees the grey face minus its Gaussian blur, and nothing else of it; one logit.

    Args:
        backbone, size, weights: as `load_backbone`.
        dropout: before the dense layer.
        std: of the crops' normalisation.

    >>> import torch
    >>> NoiseClassifier("resnet18", 64, "none", 0.0, (0.5, 0.5, 0.5)).eval()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2])
    """

    def __init__(self, backbone: str, size: int, weights: str, dropout: float, std: Sequence[float]) -> None:
        super().__init__()
        self.stem = ResidualPicture(std)
        self.backbone = load_backbone(backbone, size, weights)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features_of(self.backbone), 1))

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) normalised RGB -> (N,) logits of FAKE."""
        return self.head(self.backbone(self.stem(crops))).flatten()
