"""The gates name what is wrong with a face, and let ordinary faces pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.faces import Detection, FaceDetector, assess
from facetell.faces.quality import MODEL, pose
from facetell.types import FaceQuality
from facetell.video import VideoReader
from tests import media


def scaled(face: Detection, factor: float) -> Detection:
    x, y, w, h = (factor * value for value in face.box)
    return Detection((x, y, w, h), face.points * factor, face.score)


def shifted(face: Detection, dx: float, dy: float) -> Detection:
    x, y, w, h = face.box
    return Detection((x + dx, y + dy, w, h), face.points + np.array([dx, dy], np.float32), face.score)


def at_scale(face: Detection, factor: float) -> FaceQuality:
    picture = cv2.resize(media.astronaut(), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return assess(picture, scaled(face, factor))


def seen(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The five points of a generic face turned by these degrees (right, up, clockwise), 2 pixels to a unit."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return 100 + 2 * (MODEL @ (about_z @ about_x @ about_y).T)[:, :2]


def test_an_ordinary_face_passes_and_counts_fully(astronaut_face: Detection) -> None:
    quality = assess(media.astronaut(), astronaut_face)
    assert quality.problems == ()
    assert quality.weight > 0.9
    assert abs(quality.size_px - 44) < 3
    assert max(abs(quality.yaw_deg), abs(quality.pitch_deg), abs(quality.roll_deg)) < 10


def test_sharpness_hardly_depends_on_the_size_of_the_face(astronaut_face: Detection) -> None:
    values = [at_scale(astronaut_face, factor).sharpness for factor in (0.7, 1.0, 2.0, 4.0)]
    assert max(values) < 1.6 * min(values)


def test_blur_is_seen_and_the_more_the_less_the_face_counts(astronaut_face: Detection) -> None:
    qualities = [
        assess(cv2.GaussianBlur(media.astronaut(), (0, 0), sigma), astronaut_face)
        for sigma in (0.3, 1.0, 2.0, 8.0, 12.0)
    ]
    weights = [quality.weight for quality in qualities]
    assert [quality.problems for quality in qualities] == [(), (), (), ("blurred",), ("blurred",)]
    assert (np.diff(weights) < 1e-3).all()
    assert weights[-1] < 0.1


def test_contrast_does_not_pass_for_blur(astronaut_face: Detection) -> None:
    pale = (150 + 0.25 * media.astronaut()).astype(np.uint8)
    assert assess(pale, astronaut_face).problems == ()


def test_a_small_face_is_too_small(astronaut_face: Detection) -> None:
    assert "too small" not in at_scale(astronaut_face, 0.4).problems
    assert "too small" in at_scale(astronaut_face, 0.3).problems


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-45, 0, 0), (0, 20, 0), (0, -30, 0), (25, -15, 40), (-40, 10, 170)]
)
def test_pose_is_read_off_the_points(angles: tuple[float, float, float]) -> None:
    size, *found = pose(seen(*angles))
    np.testing.assert_allclose(found, angles, atol=0.01)
    assert size == pytest.approx(76)  # 38 units, also when turned


def test_pose_of_five_equal_points_is_a_size_of_nothing() -> None:
    assert pose(np.full((5, 2), 7.0))[0] == pytest.approx(0)


@pytest.mark.parametrize(
    ("angles", "problems"),
    [((40, 0, 0), ()), ((-60, 0, 0), ("turned away",)), ((0, 55, 0), ("turned away",)), ((0, 0, 90), ())],
)
def test_a_face_turned_away_is_named(
    astronaut_face: Detection, angles: tuple[float, float, float], problems: tuple[str, ...]
) -> None:
    assert assess(media.astronaut(), replace(astronaut_face, points=seen(*angles))).problems == problems


def test_darkness_and_glare_are_named(astronaut_face: Detection) -> None:
    picture = media.astronaut().astype(float)
    dim, dark = (assess((picture * factor).astype(np.uint8), astronaut_face) for factor in (0.3, 0.04))
    bright, glaring = (assess(np.clip(picture * f, 0, 255).astype(np.uint8), astronaut_face) for f in (1.2, 4.0))
    assert (dim.problems, bright.problems) == ((), ())
    assert "too dark" in dark.problems
    assert "too bright" in glaring.problems
    assert dark.brightness < 0.06 < dim.brightness < bright.brightness < glaring.brightness


def test_a_face_mostly_outside_the_picture_is_cut_off(astronaut_face: Detection) -> None:
    x, _, w, _ = astronaut_face.box
    cut = round(x + 0.7 * w)
    quality = assess(media.astronaut()[:, cut:], shifted(astronaut_face, -cut, 0))
    assert "cut off" in quality.problems
    assert quality.weight < 0.1


@pytest.mark.parametrize("margin", [0.0, -0.1])
def test_a_cut_out_face_is_not_cut_off(astronaut_face: Detection, margin: float) -> None:
    x, y, w, h = astronaut_face.box
    left, top, right, bottom = (
        round(v) for v in (x - margin * w, y - margin * h, x + w + margin * w, y + h + margin * h)
    )
    crop = media.astronaut()[top:bottom, left:right]
    assert assess(crop, shifted(astronaut_face, -left, -top)).problems == ()


@pytest.mark.parametrize("box", [(-300.0, -300.0, 90.0, 110.0), (600.0, 600.0, 90.0, 110.0), (511.8, 200.0, 0.3, 0.3)])
def test_a_box_outside_the_picture_or_tiny_is_measured_too(
    astronaut_face: Detection, box: tuple[float, float, float, float]
) -> None:
    quality = assess(media.astronaut(), replace(astronaut_face, box=box))
    assert quality.problems
    assert 0 <= quality.weight < 0.5


def test_a_face_with_a_huge_box_keeps_finite_measures(astronaut_face: Detection) -> None:
    quality = assess(media.astronaut()[:20, :20], replace(astronaut_face, box=(-1e4, -1e4, 2e4, 2e4)))
    assert np.isfinite([quality.sharpness, quality.brightness, quality.weight]).all()
    assert "cut off" in quality.problems


def pass_rate(detector: FaceDetector, pictures: list[np.ndarray]) -> float:
    """Of the pictures with a face, the share whose largest face passes all gates."""
    largest = [
        (picture, max(faces, key=lambda face: face.box[2] * face.box[3]))
        for picture in pictures
        if (faces := detector.detect(picture))
    ]
    assert len(largest) > 0.95 * len(pictures)
    return float(np.mean([not assess(picture, face).problems for picture, face in largest]))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["lfw/measure", "portraits/measure", "ffpp_faces/real"])
def test_ordinary_photographs_pass(detector: FaceDetector, data_dir: Path, folder: str) -> None:
    paths = sorted((data_dir / folder).glob("*.jpg"))[::3]
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    assert pass_rate(detector, pictures) >= 0.95


@pytest.mark.slow
def test_ordinary_compressed_video_passes(detector: FaceDetector, data_dir: Path) -> None:
    pictures = []
    for path in sorted((data_dir / "ffpp" / "original_sequences").rglob("*.mp4")):
        with VideoReader(path, "uniform:6") as reader:
            pictures += [frame.image for frame in reader]
    assert pass_rate(detector, pictures) >= 0.95
