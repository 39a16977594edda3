"""How a fake's face differs from the same face of its original."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from facetell.data.cache import DIFFERENCE_GAIN, DIFFERENCE_SIDE
from facetell.faces.align import similarity

OVAL_CENTRE, OVAL_AXES = (0.0, 5.0), (38.0, 48.0)  # of a face, in the units of facetell.faces.align.TEMPLATE
DIFFERS_NOWHERE = 3.0  # mean absolute difference within the face, 0…255: re-encoding a DFDC crop gives as much


@dataclass(frozen=True, eq=False, slots=True)
class Difference:
    """Mean absolute difference (0…255) inside and outside the face, and the map (64, 64) uint8 as a PNG."""

    inside: float
    outside: float
    map: bytes


def face_oval(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where the face is, bool (H, W): an ellipse around the five points, from the brow to the chin.

    >>> from facetell.faces.align import TEMPLATE
    >>> bool(face_oval(TEMPLATE + 64, (128, 128))[64, 64])
    True
    """
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    oval = np.stack(
        [OVAL_CENTRE[0] + OVAL_AXES[0] * np.cos(angle), OVAL_CENTRE[1] + OVAL_AXES[1] * np.sin(angle)], axis=1
    )
    matrix = similarity(points)
    outline = oval @ matrix[:, :2].T + matrix[:, 2]
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    return mask.astype(bool)


def difference(fake: np.ndarray, real: np.ndarray, points: np.ndarray | None) -> Difference:
    """How two pictures of one shape, (H, W, 3) uint8, differ.

    Without points, or where the face leaves no outside, the share that cannot be told is NaN.
    """
    absolute = cv2.absdiff(fake, real).mean(axis=2, dtype=np.float32)
    small = cv2.resize(absolute, (DIFFERENCE_SIDE, DIFFERENCE_SIDE), interpolation=cv2.INTER_AREA)
    picture = np.clip(np.round(small * DIFFERENCE_GAIN), 0, 255).astype(np.uint8)
    inside = outside = float("nan")
    if points is not None:
        oval = face_oval(points, absolute.shape)
        inside = float(absolute[oval].mean()) if oval.any() else inside
        outside = float(absolute[~oval].mean()) if not oval.all() else outside
    return Difference(inside, outside, cv2.imencode(".png", picture)[1].tobytes())


def pair_problems(faces: pd.DataFrame) -> pd.Series:
    """What is odd about each face's pair, from `FaceCache.faces`: "differ nowhere" is label noise, "differ more outside
    the face than inside" is a pair that is not aligned or changed elsewhere; "" is in order, or has no pair.

    >>> faces = pd.DataFrame({"pair": [0, 0, -1], "diff_inside": [1.0, 9.0, np.nan], "diff_outside": [1.0, 20, np.nan]})
    >>> pair_problems(faces).tolist()
    ['differ nowhere from their original', 'differ more outside the face than inside', '']
    """
    nowhere = faces.diff_inside < DIFFERS_NOWHERE
    everywhere = faces.diff_outside > faces.diff_inside
    words = np.select(
        [faces.pair < 0, nowhere, everywhere],
        ["", "differ nowhere from their original", "differ more outside the face than inside"],
        "",
    )
    return pd.Series(words, faces.index)
