"""Masks lie on the face, are eroded for real, and turn with it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facetell.forge import masks


def turned(points: np.ndarray, degrees: float, centre: tuple[float, float] = (128, 128)) -> np.ndarray:
    return cv2.transform(points[:, None], cv2.getRotationMatrix2D(centre, degrees, 1))[:, 0]


@pytest.mark.parametrize("family", masks.FAMILIES)
def test_a_family_lies_on_its_part_of_the_face(face, family):
    image, points = face
    mask = masks.fill(masks.hulls(family, points), image.shape[:2])
    inside = [bool(mask[round(y), round(x)]) for x, y in points.tolist()]
    both, left, right, nose, mouth = [True] * 5, [True, False], [False, True], [False, False, True], [False] * 3
    expected = {
        "mouth": [*mouth, True, True],
        "lower": [*mouth, True, True],
        "eyes": [True, True, False, False, False],
        "left eye": [*left, False, False, False],
        "right eye": [*right, False, False, False],
        "nose": [*nose, False, False],
    }
    assert inside == expected.get(family, both)
    face_mask = masks.fill(masks.hulls("face", points, grow=1.15), image.shape[:2])
    assert (mask * face_mask).sum() > 0.95 * mask.sum()


def test_the_core_is_eroded_and_eight_bits_are_refused(face):
    image, points = face
    hard = masks.fill(masks.hulls("face", points), image.shape[:2])
    soft = masks.soften(hard, 5, 3)
    assert 0.4 < (soft > 0.99).sum() / hard.sum() < 0.9
    assert soft[hard == 0].max() < 0.02  # what the second blur gives back stays within the hard mask
    with pytest.raises(TypeError, match="floating"):
        masks.soften(hard.astype(np.uint8), 5, 3)


def test_erosion_grows_with_the_blur(face):
    image, points = face
    hard = masks.fill(masks.hulls("jaw", points), image.shape[:2])
    areas = [masks.soften(hard, sigma, 1).sum() for sigma in (1, 3, 6, 9)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] < 0.8 * areas[0]


def test_masks_turn_with_the_face(face):
    image, points = face
    upright = masks.fill(masks.hulls("lower", points), image.shape[:2])
    rotation = cv2.getRotationMatrix2D((128, 128), 30, 1)
    expected = cv2.warpAffine(upright, rotation, (256, 256))
    mask = masks.fill(masks.hulls("lower", turned(points, 30)), image.shape[:2])
    assert np.abs(mask - expected).sum() < 0.06 * mask.sum()


def test_features_follow_their_own_point(face):
    _, points = face
    opened = points.copy()
    opened[3:, 1] += 8  # the mouth further down than the mean face has it
    rigid = np.array(
        [[z.real, z.imag] for z in (masks.similarity(opened)[0] * complex(0, 40) + masks.similarity(opened)[1],)]
    )
    laid = masks.to_pixels(np.array([[0, 40]], np.float32), opened)
    assert abs(laid[0, 1] - opened[3:, 1].mean()) < abs(rigid[0, 1] - opened[3:, 1].mean())


def test_a_displacement_sticks_to_the_face(face):
    image, points = face
    field = np.zeros((8, 8, 2), np.float32)
    field[5:7, 3:5] = 6  # about the mouth
    moved = np.abs(masks.displace(image, field, points).astype(int) - image).max(2) > 2
    mouth = masks.fill(masks.hulls("mouth", points), image.shape[:2]) == 1
    outside = masks.fill(masks.hulls("face", points, grow=1.4), image.shape[:2]) == 0
    assert moved[mouth].mean() > 0.5
    assert moved[outside].mean() < 0.02
