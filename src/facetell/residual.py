"""A face minus its Gaussian blur, the paper's "distinguishment": the fine texture that forging tends to lose.

Grey is the mean of the three colours, as the paper has it, not luma. The face is resized before it is blurred:
shrinking a residual would average away what it holds. Values are grey levels; the paper gives about 50 for a fake and
53 for a real face on a scale that it does not state, so only their ratio, 0.94, can be compared with ours.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 100  # pixels to which a face is resized
KERNEL = 5  # pixels, the side of the blur; odd
SIGMA = 1.1  # pixels, its standard deviation; the paper states neither
FRAMES = 20  # faces in a run


def grey_face(face: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The mean of the three colours of a face (H, W, 3) uint8, as (side, side) float32 in 0…255.

    >>> grey_face(np.full((8, 8, 3), (30, 60, 90), np.uint8), 2).tolist()
    [[60.0, 60.0], [60.0, 60.0]]
    """
    way = cv2.INTER_AREA if max(face.shape[:2]) > side else cv2.INTER_CUBIC
    return cv2.resize(face, (side, side), interpolation=way).mean(axis=2, dtype=np.float32)


def blurred(grey: np.ndarray) -> np.ndarray:
    """The Gaussian blur of a picture (H, W) float32."""
    return cv2.GaussianBlur(grey, (KERNEL, KERNEL), SIGMA, borderType=cv2.BORDER_REFLECT_101)


def residual(face: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Grey face minus its blur, (side, side) float32, about -255…255.

    >>> bool(np.abs(residual(np.full((64, 64, 3), 7, np.uint8))).max() < 1e-4)
    True
    """
    grey = grey_face(face, side)
    return grey - blurred(grey)


def distinguishment(faces: np.ndarray) -> np.ndarray:
    """The residual of each face of a run.

    Args:
        faces: (T, H, W, 3) uint8 RGB.

    Returns:
        (T, 100, 100) float32, grey levels around 0.

    >>> distinguishment(np.full((20, 120, 120, 3), 7, np.uint8)).shape
    (20, 100, 100)
    """
    return np.stack([residual(face) for face in faces])


def metric(residuals: np.ndarray) -> np.ndarray:
    """The paper's "distinguishment metric" of each face, its mean absolute residual: (T, H, W) -> (T,) grey levels.

    >>> metric(np.array([[[1.0, -3.0]]])).tolist()
    [2.0]
    """
    return np.abs(residuals).mean(axis=(-2, -1))
