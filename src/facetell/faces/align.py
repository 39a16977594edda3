"""Cuts a face out the way a detector was trained to see it: the same function for training and for scanning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from facetell.types import Box

# The mean place of the five points (Deng et al., "ArcFace", 2019, for pictures of 112 units), moved so that the middle
# of the face, the median centre of YuNet's box, is the origin. The eyes are 35 units apart, a face is about 100 high.
TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float32) - np.array(
    [56, 65], np.float32
)
FACE_HEIGHT = 100.0  # units of the template


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a detector wants its pictures cut.

    Args:
        kind: `landmarks`: upright by the five points; `box`: a square around the face; `whole`: the picture itself.
        scale: for `landmarks`, the share of the crop's side that a face's height takes; above 1 the crop cuts into it.
        margin: for `box`, what is added on each side, as a share of the box's longer side; may be negative.
    """

    kind: Literal["landmarks", "box", "whole"] = "landmarks"
    scale: float = 1.0
    margin: float = 0.0


def similarity(points: np.ndarray, template: np.ndarray = TEMPLATE) -> np.ndarray:
    """The least-squares similarity (2, 3) that takes template units to the picture with these five points (5, 2).

    Closed form of Umeyama (1991) in the plane; a turned face is fitted, never mirrored.

    >>> (similarity(2 * TEMPLATE + 10).round(3) + 0).tolist()
    [[2.0, 0.0, 10.0], [0.0, 2.0, 10.0]]
    """
    source, target = template.astype(np.float64), np.asarray(points, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    x, y = (source - source_mean).T
    u, v = (target - target_mean).T
    spread = (x * x + y * y).sum()
    a, b = (x * u + y * v).sum() / spread, (x * v - y * u).sum() / spread
    rotation = np.array([[a, -b], [b, a]])
    return np.hstack([rotation, (target_mean - rotation @ source_mean)[:, None]])


def crop_matrix(points: np.ndarray, box: Box, geometry: Geometry, size: int) -> np.ndarray:
    """The affine map (2, 3) from a crop's pixels to the picture's, for `landmarks` and `box` geometry.

    Args:
        points: (5, 2) in the picture's pixels; used by `landmarks`.
        box: (x, y, w, h) in the picture's pixels; used by `box`.
        geometry: how to cut.
        size: side of the crop in pixels.
    """
    if geometry.kind == "landmarks":
        return upright_matrix(points, geometry.scale, size)
    x, y, w, h = box
    to_picture = np.array([[1, 0, x + (w - 1) / 2], [0, 1, y + (h - 1) / 2]], np.float64)
    return to_picture @ _centred(max(w, h) * (1 + 2 * geometry.margin) / size, size)


def upright_matrix(points: np.ndarray, scale: float, size: int) -> np.ndarray:
    """The affine map (2, 3) from the pixels of a crop to the picture's: the face upright, `scale` of the crop high.

    Args:
        points: (5, 2) in the picture's pixels.
        scale: the share of the crop's side that the face's height takes.
        size: side of the crop in pixels.
    """
    return similarity(points) @ _centred(FACE_HEIGHT / scale / size, size)


def _centred(unit: float, size: int) -> np.ndarray:
    """The map (3, 3) from the pixels of a square to places around its middle, each pixel `unit` long."""
    middle = (size - 1) / 2
    return np.array([[unit, 0, -unit * middle], [0, unit, -unit * middle], [0, 0, 1]])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, C) of a picture (H, W, C) under `matrix` (crop pixels to picture pixels), free of aliasing.

    What is shrunk is averaged over areas first, and only then turned; beyond the border the picture is reflected.
    """
    step = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # picture pixels to a crop pixel
    if step > 1:
        corners = np.array([[-1, -1], [size, -1], [-1, size], [size, size]]) @ matrix[:, :2].T + matrix[:, 2]
        height, width = image.shape[:2]
        left, top = np.clip(np.floor(corners.min(axis=0)) - 2, 0, [width - 1, height - 1]).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 3, [left + 1, top + 1], [width, height]).astype(int)
        region = image[top:bottom, left:right]
        small = (max(1, round((right - left) / step)), max(1, round((bottom - top) / step)))
        shrink = np.array([small[0] / (right - left), small[1] / (bottom - top)])
        image = cv2.resize(region, small, interpolation=cv2.INTER_AREA)
        # Pixel centres, not corners, are what both grids share.
        matrix = np.hstack([matrix[:, :2], matrix[:, 2:] - [[left], [top]]])
        matrix = np.hstack([matrix[:, :2] * shrink[:, None], (matrix[:, 2:] + 0.5) * shrink[:, None] - 0.5])
    # OpenCV 5 never comes back from reflecting a picture of one row or column; two equal ones reflect to the same.
    for axis in (0, 1):
        if image.shape[axis] == 1:
            image = np.repeat(image, 2, axis)
    return cv2.warpAffine(
        image,
        matrix,
        (size, size),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def crop_face(image: np.ndarray, points: np.ndarray, box: Box, geometry: Geometry, size: int) -> np.ndarray:
    """One face cut out of an RGB picture (H, W, 3) uint8, as (size, size, 3) uint8.

    >>> import numpy as np
    >>> face = TEMPLATE + 64
    >>> crop_face(np.zeros((128, 128, 3), np.uint8), face, (14, 14, 100, 100), Geometry("landmarks", 1.1), 96).shape
    (96, 96, 3)
    """
    if geometry.kind == "whole":
        shrinking = max(image.shape[:2]) > size
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    return warp(image, crop_matrix(points, box, geometry, size), size)
