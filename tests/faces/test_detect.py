"""YuNet in ONNX Runtime finds what OpenCV's own finds, and faces that fill the picture besides."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.faces import FaceDetector
from facetell.faces.detect import MIN_SCORE, MODEL, OVERLAP, Detection
from facetell.types import Box
from tests import media


def opencv(image: np.ndarray) -> np.ndarray:
    """The rows of cv2.FaceDetectorYN: box, five points, score; the best first."""
    height, width = image.shape[:2]
    reference = cv2.FaceDetectorYN.create(str(MODEL), "", (width, height), MIN_SCORE, OVERLAP, 5000)
    rows = reference.detect(np.ascontiguousarray(image[..., ::-1]))[1]
    return np.empty((0, 15)) if rows is None else rows[np.argsort(-rows[:, -1], kind="stable")]


def rows_of(faces: list[Detection]) -> np.ndarray:
    return np.array([[*face.box, *face.points.ravel(), face.score] for face in faces]).reshape(-1, 15)


def assert_same_as_opencv(detector: FaceDetector, image: np.ndarray) -> int:
    expected, found = opencv(image), rows_of(detector._search(image, image.shape[1::-1]))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[:, :14], expected[:, :14], atol=0.5)
    np.testing.assert_allclose(found[:, 14], expected[:, 14], atol=1e-3)
    return len(found)


def area_shared(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union."""
    (x, y, w, h), (u, v, s, t) = box, other
    shared = max(0.0, min(x + w, u + s) - max(x, u)) * max(0.0, min(y + h, v + t) - max(y, v))
    return shared / (w * h + s * t - shared)


def photo(path: Path | BinaryIO) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("shape", [(512, 512), (300, 421), (97, 512)])
def test_equals_opencv(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert_same_as_opencv(detector, media.astronaut()[: shape[0], : shape[1]])


def test_equals_opencv_on_a_crowd(detector: FaceDetector) -> None:
    assert assert_same_as_opencv(detector, media.crowd()) == 30


@pytest.mark.slow
def test_equals_opencv_on_photographs(detector: FaceDetector, data_dir: Path) -> None:
    paths = sorted((data_dir / "lfw" / "measure").glob("*.jpg"))[:50]
    assert sum(assert_same_as_opencv(detector, photo(path)) for path in paths) >= 50


def test_points_are_named_from_the_left(astronaut_face: Detection) -> None:
    x, y = astronaut_face.points.T
    assert x[0] < x[2] < x[1]
    assert x[3] < x[4]
    assert max(y[0], y[1]) < y[2] < min(y[3], y[4])


@pytest.mark.parametrize("scale", [0.4, 1.7, 4.0])
def test_a_resized_picture_has_the_same_face(detector: FaceDetector, astronaut_face: Detection, scale: float) -> None:
    picture = cv2.resize(media.astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (face,) = detector.detect(picture)
    assert area_shared(tuple(v / scale for v in face.box), astronaut_face.box) > 0.8
    assert np.abs(face.points / scale - astronaut_face.points).mean() < 4  # pixels; the face is 113 high


@pytest.mark.parametrize("margin", [0.1, 0.0, -0.1])
@pytest.mark.parametrize("side", [150, 600])
def test_a_face_that_fills_the_picture_is_found(
    detector: FaceDetector, astronaut_face: Detection, margin: float, side: int
) -> None:
    x, y, w, h = astronaut_face.box
    left, top = round(x - margin * w), round(y - margin * h)
    right, bottom = round(x + w + margin * w), round(y + h + margin * h)
    crop = media.astronaut()[top:bottom, left:right]
    scale = side / crop.shape[0]
    crop = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    faces = detector.detect(crop)
    assert len(faces) == 1
    expected = ((x - left) * scale, (y - top) * scale, w * scale, h * scale)
    assert area_shared(faces[0].box, expected) > 0.6


def test_every_face_of_a_crowd_is_found_once(detector: FaceDetector) -> None:
    faces = detector.detect(media.crowd(columns=6, size=120))
    places = {(int((f.box[1] + f.box[3] / 2) // 120), int((f.box[0] + f.box[2] / 2) // 120)) for f in faces}
    assert len(faces) == len(places) == 30
    assert [f.score for f in faces] == sorted((f.score for f in faces), reverse=True)


def test_a_small_face_beside_a_large_one_is_found(detector: FaceDetector) -> None:
    picture = np.array(media.view(media.astronaut(), (640, 640), (224, 120), 170))
    picture[:160, :160] = media.side_by_side([2], 160)
    boxes = sorted(face.box[2] for face in detector.detect(picture))
    assert len(boxes) == 2
    assert boxes[0] < 80 < 300 < boxes[1]


def test_a_grey_picture_has_the_same_face(detector: FaceDetector, astronaut_face: Detection) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(media.astronaut(), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    (face,) = detector.detect(grey)
    assert area_shared(face.box, astronaut_face.box) > 0.8


def test_nothing_is_found_where_no_face_is(detector: FaceDetector) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    drawing = np.full((240, 320, 3), 255, np.uint8)
    cv2.rectangle(drawing, (40, 100), (150, 220), (200, 60, 40), -1)
    cv2.line(drawing, (20, 110), (95, 40), (0, 0, 0), 5)
    cv2.line(drawing, (95, 40), (170, 110), (0, 0, 0), 5)
    cv2.circle(drawing, (260, 60), 30, (250, 200, 40), -1)
    wall = np.full((240, 320, 3), 128, np.uint8)
    assert [detector.detect(picture) for picture in (noise, drawing, wall, media.astronaut()[300:, :])] == [[]] * 4


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (16, 400), (33, 31)])
def test_tiny_and_odd_pictures_are_searched(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert detector.detect(np.full((*shape, 3), 70, np.uint8)) == []


def test_a_face_is_found_in_an_8k_picture(detector: FaceDetector) -> None:
    picture = np.zeros((4320, 7680, 3), np.uint8)
    picture[1000:3000, 3000:5000] = cv2.resize(media.astronaut(), (2000, 2000))
    (face,) = detector.detect(picture)
    assert area_shared(face.box, (3000 + 178 * 3.9, 1000 + 63 * 3.9, 90 * 3.9, 113 * 3.9)) > 0.7


@pytest.mark.slow
def test_cut_out_faces_are_found(detector: FaceDetector, data_dir: Path) -> None:
    with tarfile.open(data_dir / "dfdc_faces" / "dev.tar") as tar:
        members = [member for member in tar if member.isfile()][::12][:300]
        cut_out = [photo(io.BytesIO(file.read())) for member in members if (file := tar.extractfile(member))]
    crops = {
        "dfdc_faces": cut_out,
        "ffpp_faces": [photo(path) for path in sorted((data_dir / "ffpp_faces").glob("*/*.jpg"))[::3]],
    }
    found = {name: np.mean([bool(detector.detect(crop)) for crop in some]) for name, some in crops.items()}
    assert len(crops["dfdc_faces"]) == 300
    assert min(found.values()) >= 0.97, found


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_on_its_side_or_upside_down_is_told(
    detector: FaceDetector, astronaut_face: Detection, quarters: int
) -> None:
    picture = media.astronaut()
    assert detector.is_upright(picture, astronaut_face)
    turned = np.ascontiguousarray(np.rot90(picture, quarters))
    (face,) = detector.detect(turned)
    assert not detector.is_upright(turned, face)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_head_that_leans_is_upright(detector: FaceDetector, degrees: float) -> None:
    matrix = cv2.getRotationMatrix2D((225, 120), degrees, 1.0)
    leaning = cv2.warpAffine(media.astronaut(), matrix, (512, 512), borderMode=cv2.BORDER_REFLECT)
    face = detector.detect(leaning)[0]
    assert detector.is_upright(leaning, replace(face, score=0.8))  # as if it were seen badly


@pytest.mark.parametrize("box", [(-1e6, -1e6, 2e6, 2e6), (600, 600, 50, 50), (500, 200, 0, 0), (-3, 500, 20, 20)])
def test_any_box_is_looked_at(detector: FaceDetector, astronaut_face: Detection, box: Box) -> None:
    assert detector.is_upright(media.astronaut(), replace(astronaut_face, box=box, score=0.8)) in (True, False)


@pytest.mark.slow
def test_photographs_upside_down_are_told(detector: FaceDetector, data_dir: Path) -> None:
    paths = sorted((data_dir / "lfw" / "measure").glob("*.jpg"))[:60]
    pictures = [photo(path) for path in paths]
    for turn, least, most in ((0, 0, 0), (2, 0.9, 1)):
        turned = [np.ascontiguousarray(np.rot90(picture, turn)) for picture in pictures]
        found = [(picture, faces[0]) for picture in turned if (faces := detector.detect(picture))]
        assert len(found) > 40
        assert least <= np.mean([not detector.is_upright(*one) for one in found]) <= most
