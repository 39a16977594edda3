"""Where a face is altered: a mean face fitted to five points, the families of regions on it, and soft float masks.

Face units: the eyes stand 35 apart, their middle is the origin, y points down; the face is about 100 high and 74 wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from facetell.faces import align

FACE_HEIGHT = align.FACE_HEIGHT  # in face units, hairline to chin
_REACH = 86.0  # no mask reaches farther from the face's middle, in face units
_FIELD_REACH = 75.0  # displacement fields cover this far from between the eyes, in face units
_FIELD_SIZE = 32

# One half of the face (the left in the picture, or the midline); the other is its mirror image.
_JAW = [(-37, 2), (-36.5, 12), (-35, 22), (-32.5, 32), (-28.5, 41), (-22.5, 48.5), (-15.5, 54.5), (-8, 58.5), (0, 60)]
_FOREHEAD = [(-35.5, -10), (-33.5, -21), (-28, -31), (-17, -38), (0, -40.5)]
_BROW = [(-30, -9), (-25, -13.5), (-19, -15), (-12.5, -14), (-6.5, -11.5)]
_EYE = [(-24.5, 0.5), (-20.5, -3), (-15, -3), (-10.5, 1), (-15, 3), (-20.5, 3)]
_NOSE = [(0, -1), (-3.5, 6.5), (-5, 14), (-8.5, 22), (-8, 26), (-4, 27.5), (0, 28.5)]
_MOUTH = [(-14.5, 39), (-9, 36), (-3.5, 34.5), (0, 35.5), (-9, 44), (-4, 46.5), (0, 47)]

Points = np.ndarray  # (N, 2) float32


def _mirrored(half: Sequence[tuple[float, float]]) -> np.ndarray:
    return np.array([*half, *((-x, y) for x, y in half if x)], np.float32)


PARTS: dict[str, Points] = {
    "jaw": _mirrored(_JAW),
    "forehead": _mirrored(_FOREHEAD),
    "brows": _mirrored(_BROW),
    "nose": _mirrored(_NOSE),
    "mouth": _mirrored(_MOUTH),
    "left eye": np.array(_EYE + _BROW, np.float32),
    "right eye": np.array(_EYE + _BROW, np.float32) * np.array([-1, 1], np.float32),
    "lower jaw": _mirrored(_JAW[3:]),
    "nose base": _mirrored(_NOSE[4:]),
    "square": _mirrored([(-38, -32), (-38, 56)]),
}
ANCHORS = np.array([(-17.5, 0), (17.5, 0), (0, 21), (-14.5, 39), (14.5, 39)], np.float32)

# A family is a union of convex hulls; each hull is spanned by some parts and grown about its middle.
FAMILIES: dict[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    "face": ((("jaw", "forehead"), 1.0),),
    "jaw": ((("jaw", "brows"), 1.0),),
    "inner": ((("brows", "nose", "mouth"), 1.1),),
    "parts": ((("left eye",), 1.2), (("right eye",), 1.2), (("nose",), 1.25), (("mouth",), 1.25)),
    "square": ((("square",), 1.0),),  # the whole crop of a swapper of fixed size, put back with a blurred border
    "mouth": ((("mouth",), 1.6),),
    "lower": ((("lower jaw", "nose base"), 1.0),),
    "eyes": ((("left eye", "right eye"), 1.25),),
    "left eye": ((("left eye",), 1.4),),
    "right eye": ((("right eye",), 1.4),),
    "nose": ((("nose",), 1.5),),
}
WHOLE = ("face", "jaw", "inner", "parts", "square")
INNER = ("mouth", "lower", "eyes", "left eye", "right eye", "nose")


def similarity(points: Points) -> tuple[complex, complex]:
    """The similarity transform z → a·z + b, in complex numbers, that brings face units closest to five points.

    |a| is the number of pixels in a face unit.

    >>> a, b = similarity(ANCHORS * 2 + 100)
    >>> round(abs(a), 3), complex(round(b.real, 3), round(b.imag, 3))
    (2.0, (100+100j))
    """
    (a, _, x), (b, _, y) = align.similarity(points, ANCHORS).tolist()
    return complex(a, b), complex(x, y)


def to_pixels(units: Points, points: Points) -> Points:
    """Points of the mean face laid on a face: by a similarity transform, and what it leaves over near the five points.

    Args:
        units: (N, 2) in face units.
        points: (5, 2) eye, eye, nose tip, mouth corner, mouth corner in pixels.

    Returns:
        (N, 2) float32 in pixels.

    >>> to_pixels(ANCHORS, ANCHORS * 3 + 7).round(3)[0].tolist()
    [-45.5, 7.0]
    """
    a, b = similarity(points)

    def transform(places: Points) -> Points:
        moved = a * (places[:, 0] + 1j * places[:, 1]) + b
        return np.stack([moved.real, moved.imag], 1)

    distance = np.linalg.norm(units[:, None] - ANCHORS[None], axis=2)
    weight = np.exp(-((distance / 16.0) ** 2))  # a feature follows the point it belongs to, the outline hardly any
    weight /= np.maximum(weight.sum(1, keepdims=True), 1.0)
    return (transform(units) + weight @ (points - transform(ANCHORS))).astype(np.float32)


def hulls(family: str, points: Points, jitter: Points | None = None, grow: float = 1.0) -> list[Points]:
    """The convex outlines of a family on a face.

    Args:
        family: a key of `FAMILIES`.
        points: the face's five points, in pixels.
        jitter: (64, 2) displacements in face units, used in order for the family's points; None for none.
        grow: every hull is scaled about its middle by this, beside the family's own growth.

    Returns:
        One (N, 1, 2) float32 outline in pixels for each hull.

    >>> [outline.shape[1:] for outline in hulls("eyes", ANCHORS * 2 + 100)]
    [(1, 2)]
    """
    outlines = []
    for parts, growth in FAMILIES[family]:
        units = np.concatenate([PARTS[name] for name in parts])
        if jitter is not None:
            units = units + jitter[: len(units)]
        middle = (units.min(0) + units.max(0)) / 2
        outlines.append(cv2.convexHull(to_pixels(middle + (units - middle) * (growth * grow), points)))
    return outlines


def fill(outlines: Sequence[Points], shape: tuple[int, int]) -> np.ndarray:
    """A hard mask: (H, W) float32, 1 inside any of the outlines, 0 elsewhere; only the rim's pixels lie between.

    >>> square = np.array([[[1, 1]], [[4, 1]], [[4, 4]], [[1, 4]]], np.float32)
    >>> fill([square], (8, 8))[2:4, 2:4].tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        fixed_point = np.rint(outline * 16).astype(np.int32)  # whole pixels would make the masks of a clip jump
        cv2.fillConvexPoly(mask, fixed_point, (255,), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / np.float32(255)


def soften(mask: np.ndarray, erode: float, edge: float) -> np.ndarray:
    """A mask with a soft rim that lies inside the hard one: blurred, cut down to what is still 1, blurred again.

    The mask must be float: in eight bits the rounding fills the blurred rim up to 1 again, and nothing is eroded.

    Args:
        mask: (H, W) float32 in 0…1.
        erode: standard deviation of the first blur in pixels; a straight rim moves inwards by about twice this.
        edge: standard deviation of the second blur in pixels.

    Returns:
        (H, W) float32 in 0…1; all 0 if the mask is too thin to keep a core.

    Raises:
        TypeError: the mask is not floating.

    >>> hard = np.zeros((64, 64), np.float32); hard[16:48, 16:48] = 1
    >>> soft = soften(hard, 2.0, 1.0)
    >>> bool((soft > 0.5).sum() < 0.8 * hard.sum())
    True
    """
    if not np.issubdtype(mask.dtype, np.floating):
        raise TypeError(f"a mask must be floating, not {mask.dtype}: eight bits cannot be eroded by a blur")
    core = cv2.GaussianBlur(mask, (0, 0), max(erode, 0.3), borderType=cv2.BORDER_REPLICATE)
    core = np.clip((core - 0.96) / 0.03, 0, 1)
    soft = np.minimum(cv2.GaussianBlur(core, (0, 0), max(edge, 0.3), borderType=cv2.BORDER_REPLICATE), 1)
    return cv2.threshold(soft, 1 / 512, 1.0, cv2.THRESH_TOZERO)[1]  # less than half a grey level is nothing


def window(points: Points, shape: tuple[int, int]) -> tuple[tuple[slice, slice], Points]:
    """The part of a picture of (H, W) in which a face can be altered, as slices, and the five points in it.

    >>> window(ANCHORS + 100, (400, 400))[0]
    (slice(23, 197, None), slice(13, 187, None))
    """
    a, b = similarity(points)
    middle, reach = b + a * 10j, abs(a) * _REACH
    left, top = max(0, int(middle.real - reach)), max(0, int(middle.imag - reach))
    right, bottom = min(shape[1], int(middle.real + reach) + 1), min(shape[0], int(middle.imag + reach) + 1)
    return (slice(top, bottom), slice(left, right)), points - np.array([left, top], np.float32)


@lru_cache(maxsize=8)
def _identity(height: int, width: int) -> np.ndarray:
    identity = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float32)
    identity.flags.writeable = False
    return identity


def displace(image: np.ndarray, field: np.ndarray, points: Points, border: int = cv2.BORDER_REFLECT_101) -> np.ndarray:
    """The picture seen through a smooth displacement that sticks to the face.

    Args:
        image: (H, W) or (H, W, 3).
        field: (n, n, 2) float32: where each place is fetched from, relative to itself, in face units; the grid covers
            x and y from -75 to 75 in face units, and beyond it the nearest value holds.
        points: the face's five points, in pixels.
        border: OpenCV's rule for what is fetched from outside the picture.

    >>> ramp = np.tile(np.arange(100, dtype=np.float32), (100, 1))
    >>> displace(ramp, np.full((4, 4, 2), (2, 0), np.float32), ANCHORS + 50)[50, 40:43].round(2).tolist()
    [42.0, 43.0, 44.0]
    """
    height, width = image.shape[:2]
    a, b = similarity(points)
    fine = cv2.resize(field, (_FIELD_SIZE, _FIELD_SIZE), interpolation=cv2.INTER_CUBIC) * np.float32(abs(a))
    step, origin = a * 2 * _FIELD_REACH / (_FIELD_SIZE - 1), b - a * complex(_FIELD_REACH, _FIELD_REACH)
    to_picture = np.array([[step.real, -step.imag, origin.real], [step.imag, step.real, origin.imag]])
    places = cv2.warpAffine(fine, to_picture, (width, height), borderMode=cv2.BORDER_REPLICATE)
    places += _identity(height, width)
    return cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=border)
