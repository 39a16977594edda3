"""One steady picture of a face from several frames: what changes from frame to frame is averaged away."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

FRAMES = 4  # that are averaged: the sampled one and those after it
_CUT = 12.0  # levels of grey between two frames, once movement is undone, above which another picture begins


def steadied(crops: Sequence[np.ndarray]) -> np.ndarray | None:
    """The mean of crops of one face in successive frames, each brought onto the first by dense optical flow.

    Motion-compensated temporal averaging, with the flow of Kroeger et al. (DIS, ECCV 2016). It keeps what stays on the
    face, and takes away what is drawn, pasted or encoded anew with every frame.

    Args:
        crops: (S, S, 3) uint8 RGB each, cut at the same place of their frames.

    Returns:
        (S, S, 3) uint8; None where another scene begins among them.

    >>> noise = np.random.default_rng(0).normal(0, 6, (4, 64, 64, 3))
    >>> steady = steadied(list((noise + 120).astype(np.uint8)))
    >>> steady is not None and bool(2.5 < steady.std() < 3.5)
    True
    """
    first, *others = crops
    grey = cv2.cvtColor(first, cv2.COLOR_RGB2GRAY)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    total = first.astype(np.float32)
    grid = np.stack(np.meshgrid(*map(np.arange, grey.shape[::-1])), axis=-1).astype(np.float32)
    for crop in others:
        x, y = np.moveaxis(grid + flow.calc(grey, cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.zeros(0)), -1, 0)
        back = cv2.remap(crop, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        if cv2.absdiff(back, first).mean() > _CUT:
            return None
        total += back
    return (total / len(crops)).round().astype(np.uint8)
