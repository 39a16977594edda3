"""How a heat map looks, wherever it is shown, and what is said of its worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facetell.detectors import DetectorCard

MEASURED = "heatmap"  # the key of a card's metrics under which `facetell calibrate --pairs` writes what it found


def glow(strength: np.ndarray) -> np.ndarray:
    """A heat map (h, w), clipped to 0…1, in colour: (h, w, 4) uint8 RGBA.

    It goes from yellow to red, the more opaque, the surer the detector is that the place was altered.

    >>> glow(np.array([[0.0, 1.0]])).tolist()
    [[[255, 210, 30, 0], [255, 0, 30, 255]]]
    """
    strength = np.clip(strength, 0, 1)
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 255, 210 * (1 - strength), 30
    pixels[..., 3] = 255 * strength
    return pixels


def worth(card: DetectorCard) -> str:
    """One sentence on how far the detector's heat map can be trusted; empty if it has none."""
    if card.heatmap is None:
        return ""
    if MEASURED not in card.metrics:
        return "How often its heat map is right has not been measured."
    return f'How often its heat map is right has been measured: see "{MEASURED}" among its figures.'
