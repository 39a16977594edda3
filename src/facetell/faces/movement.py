"""What moved between two frames is moved back, so that what differs still can be seen."""

from __future__ import annotations

import cv2
import numpy as np


def undone(first: np.ndarray, second: np.ndarray, picture: np.ndarray, preset: int) -> np.ndarray:
    """A picture of a later moment brought onto an earlier one by dense optical flow (DIS, Kroeger et al., ECCV 2016).

    Args:
        first, second: (H, W) uint8, the brightness at both moments; H and W at least 12.
        picture: (H, W) or (H, W, 3), what was seen at the second.
        preset: one of OpenCV's DISOPTICAL_FLOW_PRESET_….

    Returns:
        As `picture`.

    >>> first = np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)
    >>> first = cv2.resize(first, (64, 64), interpolation=cv2.INTER_CUBIC)
    >>> second = np.roll(first, 1, axis=1)
    >>> back = undone(first, second, second, cv2.DISOPTICAL_FLOW_PRESET_FAST)
    >>> bool(cv2.absdiff(back, first).mean() < cv2.absdiff(second, first).mean() / 3)
    True
    """
    flow = cv2.DISOpticalFlow.create(preset).calc(first, second, np.zeros(0))
    rows, columns = np.indices(first.shape, dtype=np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
