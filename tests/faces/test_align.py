"""Crops are upright, in the stated place, and free of aliasing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facetell.faces import Detection, FaceDetector, Geometry, crop_face
from facetell.faces.align import FACE_HEIGHT, TEMPLATE, crop_matrix, similarity, warp
from tests import media

NO_BOX = (0.0, 0.0, 1.0, 1.0)


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Points turned clockwise about the origin, enlarged, then moved."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * points @ np.array([[c, s], [-s, c]]) + shift


@pytest.mark.parametrize("degrees", [0, 33, 90, 179, -120])
@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_a_known_similarity_is_recovered(degrees: float, scale: float) -> None:
    matrix = similarity(turned(TEMPLATE, degrees, scale, (310, -20)))
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    np.testing.assert_allclose(matrix, [[c, -s, 310], [s, c, -20]], atol=1e-3)


def test_a_mirrored_face_is_fitted_but_never_mirrored() -> None:
    matrix = similarity(TEMPLATE * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) > 0


def test_noisy_points_are_fitted_in_the_least_squares_sense() -> None:
    points = turned(TEMPLATE, 20, 2, (50, 60)) + np.random.default_rng(0).normal(0, 2, (5, 2))
    matrix = similarity(points)

    def error(matrix: np.ndarray) -> float:
        return float(((TEMPLATE @ matrix[:, :2].T + matrix[:, 2] - points) ** 2).sum())

    a, b = matrix[0, 0], matrix[1, 0]
    for da, db, dx in [(0.01, 0, 0), (-0.01, 0, 0), (0, 0.01, 0), (0, -0.01, 0), (0, 0, 0.1), (0, 0, -0.1)]:
        other = np.array([[a + da, -b - db, matrix[0, 2] + dx], [b + db, a + da, matrix[1, 2]]])
        assert error(other) > error(matrix)


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("degrees", [0, 40])
def test_the_points_of_a_landmarks_crop_lie_on_the_template(scale: float, degrees: float) -> None:
    points, size = turned(TEMPLATE, degrees, 3, (400, 300)), 120
    matrix = crop_matrix(points, NO_BOX, Geometry("landmarks", scale), size)
    found = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    np.testing.assert_allclose(found, TEMPLATE * size * scale / FACE_HEIGHT + (size - 1) / 2, atol=1e-3)


def test_a_turned_picture_gives_the_same_landmarks_crop(astronaut_face: Detection) -> None:
    picture, geometry = media.astronaut(), Geometry("landmarks", 0.9)
    turn = cv2.getRotationMatrix2D((220, 120), 25, 1.0)
    turned_picture = cv2.warpAffine(picture, turn, (512, 512), flags=cv2.INTER_CUBIC)
    turned_points = astronaut_face.points @ turn[:, :2].T + turn[:, 2]
    one = crop_face(picture, astronaut_face.points, NO_BOX, geometry, 96).astype(float)
    two = crop_face(turned_picture, turned_points, NO_BOX, geometry, 96).astype(float)
    assert np.abs(one - two).mean() < 4


def test_a_crop_at_the_pictures_own_scale_is_the_picture() -> None:
    picture = media.astronaut()
    crop = crop_face(picture, TEMPLATE, (100, 50, 128, 128), Geometry("box"), 128)
    np.testing.assert_array_equal(crop, picture[50:178, 100:228])


@pytest.mark.parametrize(("margin", "x", "side"), [(0.25, 68, 192), (-0.25, 132, 64)])
def test_a_boxs_margin_widens_or_narrows_the_square(margin: float, x: int, side: int) -> None:
    picture = media.astronaut()
    crop = crop_face(picture, TEMPLATE, (100, 90, 128, 100), Geometry("box", margin=margin), side)
    y = 90 + 50 - side // 2
    np.testing.assert_array_equal(crop, picture[y : y + side, x : x + side])


def test_whole_takes_the_picture_as_it_is() -> None:
    picture = media.astronaut()
    np.testing.assert_array_equal(crop_face(picture, TEMPLATE, NO_BOX, Geometry("whole"), 512), picture)
    small = crop_face(picture, TEMPLATE, NO_BOX, Geometry("whole"), 128)
    np.testing.assert_allclose(small, block_mean(picture, 4), atol=1)


def block_mean(picture: np.ndarray, factor: int) -> np.ndarray:
    height, width = (side // factor for side in picture.shape[:2])
    return picture.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("factor", [2, 4])
def test_shrinking_is_averaging(factor: int) -> None:
    picture, side = cv2.GaussianBlur(media.astronaut(), (0, 0), factor / 2), 256
    crop = crop_face(picture, TEMPLATE, (128, 64, side, side), Geometry("box"), side // factor)
    expected = block_mean(picture[64 : 64 + side, 128 : 128 + side], factor)
    assert np.abs(crop - expected).mean() < 1.5  # the two grids differ by parts of a pixel


def test_stripes_too_fine_for_the_crop_turn_grey_not_into_other_stripes() -> None:
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    points = turned(TEMPLATE, 10, 4.3, (300, 300))
    crop = crop_face(stripes, points, NO_BOX, Geometry("landmarks"), 100)
    assert crop.std() < 16  # point sampling gives over 80
    assert abs(crop.mean() - 127.5) < 2


def test_enlarging_keeps_to_the_grid_of_pixel_centres() -> None:
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    matrix = np.array([[0.5, 0, 20], [0, 0.5, 20]])
    crop = warp(ramp, matrix, 60)
    np.testing.assert_allclose(crop[30, :, 0], 2 * (20 + 0.5 * np.arange(60)), atol=1)


@pytest.mark.parametrize("kind", ["landmarks", "box"])
@pytest.mark.parametrize("centre", [(0, 0), (511, 511), (-200, 256), (256, 900)])
@pytest.mark.parametrize("scale", [0.3, 5.0])
def test_a_face_beyond_the_border_gives_a_crop_all_the_same(kind: str, centre: tuple[int, int], scale: float) -> None:
    points = TEMPLATE * scale + np.array(centre)
    box = (centre[0] - 50 * scale, centre[1] - 50 * scale, 100 * scale, 100 * scale)
    geometry = Geometry("landmarks") if kind == "landmarks" else Geometry("box")
    crop = crop_face(media.astronaut(), points, box, geometry, 64)
    assert crop.shape == (64, 64, 3)
    assert crop.dtype == np.uint8


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_a_picture_of_one_row_or_column_is_cut_too(shape: tuple[int, int]) -> None:
    crop = crop_face(np.full((*shape, 3), 70, np.uint8), TEMPLATE - 90, NO_BOX, Geometry("landmarks"), 16)
    np.testing.assert_array_equal(crop, np.full((16, 16, 3), 70))


def test_what_lies_beyond_the_border_is_reflected() -> None:
    picture = media.astronaut()
    crop = crop_face(picture, TEMPLATE, (-64, 100, 128, 128), Geometry("box"), 128)
    np.testing.assert_array_equal(crop[:, 64:], picture[100:228, :64])
    np.testing.assert_array_equal(crop[:, 63:1:-1], picture[100:228, 1:63])


def test_a_detected_face_is_cut_upright_and_centred(detector: FaceDetector) -> None:
    turn = cv2.getRotationMatrix2D((224, 120), 20, 1.0)
    picture = cv2.warpAffine(media.astronaut(), turn, (512, 512))
    (face,) = detector.detect(picture)
    crop = crop_face(picture, face.points, face.box, Geometry("landmarks", 0.6), 224)
    (again,) = detector.detect(crop)
    x, y, w, h = again.box
    assert np.abs(np.subtract((x + w / 2, y + h / 2), 112)).max() < 12
    assert abs(again.points[0, 1] - again.points[1, 1]) < 6
    assert 0.5 < h / 224 < 0.75
