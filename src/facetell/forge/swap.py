"""The classical face swap: one person's face, moved by landmarks, coloured alike and blended into another's head."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from facetell.errors import ForgeError
from facetell.forge import blend, masks

Blending = Literal["seamless", "soft"]
_REACH = 16.0  # face units: how far around it one of the five points bends the donor's face


def swap(
    image: np.ndarray,
    points: np.ndarray,
    donor: np.ndarray,
    donor_points: np.ndarray,
    blending: Blending = "seamless",
) -> blend.Forged:
    """The donor's face, brows to jaw, in the picture's head.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (5, 2) of the face to be replaced, in pixels.
        donor: (h, w, 3) uint8 RGB.
        donor_points: (5, 2) of the donor's face, in the donor's pixels.
        blending: `seamless` solves for the donor's gradients (Pérez et al., "Poisson Image Editing", 2003); `soft`
            mixes through the mask alone.

    Returns:
        The pair: the picture, the picture with the other face, and the soft mask.

    Raises:
        ForgeError: a face lies outside its picture, or the one to be replaced touches the border.

    >>> one = np.random.default_rng(0).integers(60, 200, (160, 160, 3), np.uint8)
    >>> forged = swap(one, masks.ANCHORS + 75, 255 - one, masks.ANCHORS + 80, "soft")
    >>> bool(np.array_equal(forged.fake[forged.mask == 0], one[forged.mask == 0]))
    True
    """
    points, donor_points = blend.checked(image, points), blend.checked(donor, donor_points)
    here, local = masks.window(points, image.shape[:2])
    target = image[here]
    hard = masks.fill(masks.hulls("jaw", local, grow=0.97), target.shape[:2])
    solid = (255 * hard).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(solid)  # of all above 0: seamlessClone puts this rectangle's middle there
    if min(x, y) < 2 or x + width > hard.shape[1] - 2 or y + height > hard.shape[0] - 2:
        raise ForgeError("The face is cut off by the picture's border.", "Choose a picture with the whole face in it.")
    face = _match_colours(_fetch(donor, donor_points, local, target.shape[:2]), target, hard > 0)
    if blending == "seamless":
        middle = (x + width // 2, y + height // 2)
        face = cv2.seamlessClone(face, target, solid, middle, cv2.NORMAL_CLONE)
    length = float(hard.sum()) ** 0.5
    mask, fake = np.zeros(image.shape[:2], np.float32), image.copy()
    mask[here] = masks.soften(hard, 0.02 * length, 0.025 * length)
    fake[here] = blend.paste(face, target, mask[here])
    return blend.Forged(image, fake, mask, "swap")


def _fetch(donor: np.ndarray, donor_points: np.ndarray, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The donor's face laid on five points: an affine map, bent around each point so that eyes, nose and mouth meet."""
    shrink = abs(masks.similarity(points)[0]) / abs(masks.similarity(donor_points)[0])
    if shrink < 0.75:  # a larger donor is averaged down first, or fetching would alias
        donor = cv2.resize(donor, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        donor_points = (donor_points + 0.5) * shrink - 0.5  # pixel centres, not corners, lie at whole numbers
    known = np.column_stack([points, np.ones(5)])
    affine, *_ = np.linalg.lstsq(known, donor_points, rcond=None)
    left_over = donor_points - known @ affine
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = np.stack([x, y, np.ones_like(x)], 2) @ affine
    reach = _REACH * abs(masks.similarity(points)[0])
    weight = np.exp(-((x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2) / reach**2)
    places += weight @ left_over
    places = places.astype(np.float32)
    return cv2.remap(donor, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _match_colours(face: np.ndarray, target: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The face with the mean and spread of the target's colours in CIELAB (Reinhard et al., "Color Transfer", 2001)."""
    source, wanted = (cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for picture in (face, target))
    spread = np.clip(wanted[region].std(0) / np.maximum(source[region].std(0), 1e-3), 0.7, 1.4)
    matched = ((source - source[region].mean(0)) * spread + wanted[region].mean(0)).astype(np.float32)
    return (np.clip(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), 0, 1) * 255).round().astype(np.uint8)
