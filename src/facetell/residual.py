"""A face minus its Gaussian blur: the fine texture that forging tends to lose."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 100  # pixels to which a face is resized
KERNEL = 5  # pixels; odd
SIGMA = 1.1  # pixels


def grey_face(face: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The mean of the three colours of a face (H, W, 3) uint8, as (side, side) float32 in 0…255.

    >>> grey_face(np.full((8, 8, 3), (30, 60, 90), np.uint8), 2).tolist()
    [[60.0, 60.0], [60.0, 60.0]]
    """
    way = cv2.INTER_AREA if max(face.shape[:2]) > side else cv2.INTER_CUBIC
    return cv2.resize(face, (side, side), interpolation=way).mean(axis=2, dtype=np.float32)


def blurred(grey: np.ndarray, kernel: int = KERNEL, sigma: float = SIGMA) -> np.ndarray:
    """The Gaussian blur of a picture (H, W) float32."""
    return cv2.GaussianBlur(grey, (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT_101)


def residual(face: np.ndarray, side: int = SIDE, kernel: int = KERNEL, sigma: float = SIGMA) -> np.ndarray:
    """Grey face minus its blur, (side, side) float32, about -255…255.

    >>> float(np.abs(residual(np.full((64, 64, 3), 7, np.uint8))).max())
    0.0
    """
    grey = grey_face(face, side)
    return grey - blurred(grey, kernel, sigma)
