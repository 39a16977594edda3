"""A face with its change to the next frame magnified: what is made anew with each frame stands out."""

from __future__ import annotations

import cv2
import numpy as np

from facetell.faces.movement import undone

_REPEATED = 0.1  # levels: so little change, movement undone, means that a frame was only repeated
_OTHER = 0.25  # of a crop's own contrast: two frames that differ more, movement undone, are of two scenes


def magnified(crop: np.ndarray, after: np.ndarray, by: float) -> np.ndarray | None:
    """A face's crop, and `by` times what of it is gone in the next frame, once its movement is undone.

    Optical flow brings the next frame onto this one (`facetell.faces.movement`). What a face truly shows
    moves with it and is in both; traces of an alteration that was made frame by frame are in one, and grow. After the
    idea of Lagrangian motion magnification (Liu et al., SIGGRAPH 2005), of brightness instead of movement.

    Args:
        crop: (S, S, 3) uint8 RGB, S ≥ 12.
        after: the same, cut at the same place of the next frame.
        by: how many times the difference is added; 0 changes nothing.

    Returns:
        (S, S, 3) uint8; None where the two frames are the same, or of two scenes.

    >>> after = np.add.outer(np.arange(64), np.zeros((64, 3))).astype(np.uint8) + 90
    >>> crop = after.copy()
    >>> crop[16:32, 16:32] += 10  # a trace that the next frame does not bear
    >>> grown = magnified(crop, after, 1.0)
    >>> grown is not None and (grown[20, 20] - after[20, 20].astype(int)).tolist()
    [20, 20, 20]
    >>> magnified(crop, crop, 1.0) is None, magnified(crop, np.flip(after, 0), 1.0) is None
    (True, True)
    """
    grey, other = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (crop, after))
    back = undone(grey, other, after, cv2.DISOPTICAL_FLOW_PRESET_FAST)
    if not _REPEATED <= cv2.absdiff(back, crop).mean() <= _OTHER * grey.std():
        return None
    return cv2.addWeighted(crop, 1 + by, back, -by, 0)
