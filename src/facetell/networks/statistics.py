"""Statistics of the residuals of one person's faces, as a fixed layer: what the boosted trees look at."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from facetell.networks.residual import Residual
from facetell.residual import SIDE
from facetell.scanning.scoring import part_of_face

PERCENTILES = (10, 25, 50, 75, 90, 99)
BANDS = 8  # of the spectrum, by distance from its lowest frequency
REGIONS = ("outline", "forehead", "eyes", "nose", "cheeks", "mouth", "chin")
OF_A_FACE = (
    *("mean", "standard deviation", "skewness", "kurtosis"),
    *(f"percentile {p}" for p in PERCENTILES),
    *(f"spectrum band {band}" for band in range(1, BANDS + 1)),
    *(f"share of the {region}" for region in REGIONS),
)
NAMES = (*OF_A_FACE, *(f"change of {name}" for name in OF_A_FACE), "change of the picture")
TINY = 1e-6


class Statistics(nn.Module):
    """Moments, percentiles, spectrum and regions of each residual, averaged over the run, and how they change in it.

    Percentiles are of the absolute residual. The spectrum is the log power of its discrete cosine transform, which
    shows what upsampling leaves (Frank et al., 2020, arXiv 2003.08685). A region's share is its mean absolute residual
    by the whole face's. A change is the mean absolute difference from one face to the next.

    Args:
        scale: of the landmarks' geometry, which says where the regions are.

    >>> Statistics(1.1)(torch.rand(2, 20, 1, 100, 100)).shape == (2, len(NAMES))
    True
    """

    cosines: Tensor
    bands: Tensor
    regions: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.residual = Residual()
        self.register_buffer("cosines", torch.from_numpy(_cosines(SIDE)))
        self.register_buffer("bands", torch.from_numpy(_bands(SIDE)))
        self.register_buffer("regions", torch.from_numpy(_regions(SIDE, scale)))

    def forward(self, crops: Tensor) -> Tensor:
        """(N, T, 1, 100, 100) grey levels 0…255 -> (N, F), in the order of `NAMES`."""
        residual = self.residual(crops.squeeze(2))
        of_faces = self._of_faces(residual)
        changes = (of_faces[:, 1:] - of_faces[:, :-1]).abs().mean(dim=1)
        moved = (residual[:, 1:] - residual[:, :-1]).abs().mean(dim=(1, 2, 3))
        return torch.cat([of_faces.mean(dim=1), changes, moved[:, None]], dim=1)

    def _of_faces(self, residual: Tensor) -> Tensor:
        """(N, T, S, S) -> (N, T, K)."""
        flat = residual.flatten(2)
        size = flat.abs()
        mean = size.mean(dim=2, keepdim=True)
        centred = flat - flat.mean(dim=2, keepdim=True)
        deviation = (centred**2).mean(dim=2, keepdim=True).sqrt() + TINY
        scaled = centred / deviation
        moments = torch.cat([mean, deviation, (scaled**3).mean(2, keepdim=True), (scaled**4).mean(2, keepdim=True)], 2)
        ordered = size.topk(size.shape[2], dim=2).values
        places = [round((1 - p / 100) * (size.shape[2] - 1)) for p in PERCENTILES]
        power = (self.cosines @ residual @ self.cosines.T).flatten(2) ** 2
        spectrum = (power @ self.bands + TINY).log()
        shares = (size @ self.regions) / (mean + TINY)
        return torch.cat([moments, ordered[:, :, places], spectrum, shares], dim=2)


def _cosines(side: int) -> np.ndarray:
    """The orthonormal matrix (S, S) of the discrete cosine transform II."""
    step = np.arange(side)
    matrix = np.sqrt(2 / side) * np.cos(np.pi * (step[None] + 0.5) * step[:, None] / side)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _bands(side: int) -> np.ndarray:
    """Takes a flat spectrum to the mean of each of its bands: (S·S, BANDS)."""
    frequency = np.arange(side) / side
    radius = np.hypot(frequency[None], frequency[:, None]).ravel() / np.sqrt(2)
    edges = np.linspace(0, 1, BANDS + 1)
    return _averaging([(radius >= low) & (radius < high) for low, high in pairwise(edges)])


def _regions(side: int, scale: float) -> np.ndarray:
    """Takes a flat crop to the mean of each of its regions: (S·S, REGIONS)."""
    names = parts_of_crop(side, scale).ravel()
    return _averaging([names == region for region in REGIONS])


@cache
def parts_of_crop(side: int, scale: float) -> np.ndarray:
    """Names (S, S) of the parts of the face that a crop by landmarks of this scale shows at its pixels."""
    place = ((np.arange(side) + 0.5) / side - 0.5) / scale
    return np.array([[part_of_face(x, y) for x in place] for y in place])


def _averaging(parts: list[np.ndarray]) -> np.ndarray:
    return np.stack([part / max(1, part.sum()) for part in parts], axis=1).astype(np.float32)
