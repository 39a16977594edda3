"""How a face changes from one frame to the next: its rim against its inside, a trace of pictures pasted one by one.

What a camera records of a face and of its surroundings bears the same noise. A face that was drawn and pasted frame by
frame is smoother inside, where a network drew it, and restless at its rim, where it was blended in.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from facetell.faces.align import FACE_HEIGHT, upright_matrix
from facetell.faces.movement import undone

SIZE = 192  # pixels, the side of the square that is compared
_SCALE = 0.72  # of its side that the face is high: it holds the whole face
_MIDDLE = 10.0  # units of the template below the face's middle: between nose and mouth
_INSIDE = (14.0, 33.0)  # half-heights of the ellipses between which the inside of the face lies, in the same units …
_RIM = (33.0, 47.0)  # … and its rim, up to the outline
_WIDTH = 0.8  # an ellipse's width by its height
_FINE = 1.5  # pixels, standard deviation: coarser differences are light and movement
_REPEATED = 0.02  # levels of brightness: so little change means that a frame was only repeated …
_CUT = 12.0  # … and so much that another picture begins
_FLOOR = 0.05  # levels, added to both, so that a rim or an inside without any change stays finite


def flicker(image: np.ndarray, after: np.ndarray, points: np.ndarray) -> float | None:
    """How much more a face's rim changes than its inside once its movement is undone: the logarithm of their ratio.

    Optical flow brings the second frame onto the first (`facetell.faces.movement`); what differs still, less
    its coarse part, is averaged over the rim and over the inside.

    Args:
        image: (H, W, 3) uint8 RGB, a frame.
        after: likewise, the next.
        points: (5, 2) the face's, in the first one's pixels.

    Returns:
        The mean over a real clip lay between -0.3 and -0.1 in three collections, 0.1 to 0.2 below that of their fakes
        (docs/detector.md). None where the two frames are the same, or of two scenes.

    >>> from facetell.faces.align import TEMPLATE
    >>> image, after = np.random.default_rng(0).integers(100, 109, (2, 200, 200, 3), np.uint8)
    >>> value = flicker(image, after, TEMPLATE + 100)
    >>> value is not None and abs(value) < 0.2
    True
    >>> flicker(image, image, TEMPLATE + 100) is None
    True
    """
    matrix = upright_matrix(points, _SCALE, SIZE)
    first, second = (  # not averaged over areas where it shrinks: that would take the noise away
        cv2.cvtColor(
            cv2.warpAffine(
                picture,
                matrix,
                (SIZE, SIZE),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            cv2.COLOR_RGB2GRAY,
        )
        for picture in (image, after)
    )
    back = undone(first, second, second.astype(np.float32), cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    change = first - back
    change = np.abs(change - cv2.GaussianBlur(change, (0, 0), _FINE))
    inside, rim = (float(change[part].mean()) for part in _PARTS)
    if not _REPEATED < inside + rim < _CUT:
        return None
    return math.log((rim + _FLOOR) / (inside + _FLOOR))


def _ring(heights: tuple[float, float]) -> np.ndarray:
    """Where in the square the ring between two ellipses lies, (SIZE, SIZE) bool."""
    unit = FACE_HEIGHT / _SCALE / SIZE
    rows, columns = (np.indices((SIZE, SIZE)) - (SIZE - 1) / 2) * unit
    radius = np.hypot(columns / _WIDTH, rows - _MIDDLE)
    return (radius >= heights[0]) & (radius < heights[1])


_PARTS = (_ring(_INSIDE), _ring(_RIM))
