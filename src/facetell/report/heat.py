"""How a heat map looks, wherever it is shown, and what is said of its worth."""

from __future__ import annotations

import numpy as np


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
