"""What lies around the face, recoloured: a fixed layer before any network that looks at crops cut by landmarks.

In a scan such a crop has the face always in the same place, so one ellipse tells face from background. Trainings of
single faces shake their crops, and the ellipse stays where it is: there its rim cuts off some of the face or leaves
some of the background.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

Fill = Literal["mean", "green"]
Surroundings = Literal["keep", "mean", "green"]  # what a recipe may put outside the face
HALF_WIDTH, HALF_HEIGHT = 0.4, 0.52  # of a face, in its heights
GREEN = (0.0, 1.0, 0.0)  # of pixel values in 0…1
SOFT = 0.06  # of the ellipse's radius over which face turns into background: a hard edge would be a trace of its own


class Background(nn.Module):
    """Replaces what is outside an upright face's ellipse.

    Args:
        size: side of the crops in pixels.
        scale: of the landmarks' geometry: the face's height by the crop's side.
        fill: `mean`, each picture's own mean inside the ellipse; `green`, as in front of a green screen.
        mean, std: the normalisation of the crops, one number per channel; with one channel, green is its grey.

    >>> crops = torch.rand(2, 3, 64, 64)
    >>> Background(64, 0.7, "green", (0, 0, 0), (1, 1, 1))(crops)[0, :, 0, 0].tolist()
    [0.0, 1.0, 0.0]
    """

    inside: Tensor
    colour: Tensor

    def __init__(self, size: int, scale: float, fill: Fill, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.fill = fill
        # They follow from the recipe alone: weights of a training at another size or scale must not replace them.
        self.register_buffer("inside", torch.from_numpy(face_share(size, scale)), persistent=False)
        colour = torch.tensor(GREEN) if len(mean) == 3 else torch.tensor(GREEN).mean()[None]
        normalised = ((colour - torch.tensor(mean)) / torch.tensor(std)).float()[:, None, None]
        self.register_buffer("colour", normalised, persistent=False)
        self.register_load_state_dict_pre_hook(_forget)

    def forward(self, crops: Tensor) -> Tensor:
        """(…, C, H, W) normalised -> the same."""
        if self.fill == "green":
            return self.inside * crops + (1 - self.inside) * self.colour
        mean = (self.inside * crops).sum(dim=(-2, -1), keepdim=True) / self.inside.sum()
        return self.inside * crops + (1 - self.inside) * mean


def _forget(background: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Drop what checkpoints of before 2026-12 still hold."""
    for name in ("inside", "colour"):
        state.pop(prefix + name, None)


def face_share(size: int, scale: float) -> np.ndarray:
    """How much of each pixel of a crop is face: (size, size) float32, 1 inside the ellipse, 0 well outside.

    >>> face_share(100, 0.7)[[50, 0], [50, 0]].tolist()
    [1.0, 0.0]
    """
    place = ((np.arange(size) + 0.5) / size - 0.5) / scale  # in heights of the face, from its middle
    radius = np.hypot(place[None] / HALF_WIDTH, place[:, None] / HALF_HEIGHT)
    return np.clip((1 - radius) / SOFT + 0.5, 0, 1).astype(np.float32)


def behind(
    network: nn.Module,
    background: Surroundings,
    size: int,
    scale: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> nn.Module:
    """The network, with what is outside the face recoloured before it unless the background is to be kept."""
    if background == "keep":
        return network
    return nn.Sequential(Background(size, scale, background, mean, std), network)
