"""A steadied face keeps what stays on it, loses what is new in every frame, and is none where the scene changes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.detectors import Detector, load_detector
from facetell.faces import FaceDetector, crop_face
from facetell.faces.steady import FRAMES, steadied
from facetell.video import VideoReader
from tests import media

SIZE = 160


def crops(noise: float, shift: float = 0.0, same: bool = False) -> list[np.ndarray]:
    """A face in successive frames, each moved on by `shift` pixels, with noise of its own or the same in all."""
    face = cv2.resize(media.astronaut()[60:260, 130:330], (SIZE, SIZE)).astype(np.float32)
    random = np.random.default_rng(0)
    grain = [random.normal(0, noise, face.shape) for _ in range(FRAMES)]
    pictures = [face + grain[0 if same else number] for number in range(FRAMES)]
    return [
        cv2.warpAffine(picture, np.array([[1, 0, shift * number], [0, 1, 0.0]]), (SIZE, SIZE), borderMode=4)
        .clip(0, 255)
        .astype(np.uint8)
        for number, picture in enumerate(pictures)
    ]


def roughness(picture: np.ndarray) -> float:
    """Standard deviation of the finest detail, away from the border."""
    fine = picture.astype(np.float32) - cv2.GaussianBlur(picture, (0, 0), 1.5).astype(np.float32)
    return float(fine[20:-20, 20:-20].std())


def steady(pictures: list[np.ndarray]) -> np.ndarray:
    result = steadied(pictures)
    assert result is not None
    assert result.dtype == np.uint8
    assert result.shape == pictures[0].shape
    return result


def test_frames_that_are_the_same_stay_as_they_are() -> None:
    pictures = crops(5.0, same=True)
    assert np.abs(steady(pictures).astype(int) - pictures[0]).max() <= 1


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_noise_goes_and_detail_stays_while_the_face_moves(shift: float) -> None:
    clean, noisy = crops(0.0, shift), crops(8.0, shift)
    assert roughness(steady(clean)) == pytest.approx(roughness(clean[0]), rel=0.2)
    rest = [np.abs(picture.astype(float) - clean[0])[20:-20, 20:-20].mean() for picture in (noisy[0], steady(noisy))]
    assert rest[1] < 0.75 * rest[0]


def test_what_moves_with_the_face_is_no_noise() -> None:
    pictures = crops(8.0, shift=1.0, same=True)
    assert roughness(steady(pictures)) > 0.8 * roughness(pictures[0])


def test_another_scene_is_not_averaged_in() -> None:
    pictures = crops(2.0)
    assert steadied([*pictures[:2], np.random.default_rng(1).integers(0, 255, pictures[0].shape, np.uint8)]) is None


@pytest.mark.slow
def test_fakes_fade_more_than_their_originals(data_dir: Path) -> None:
    """SDFVD's pairs: the same name is the same source."""
    detector, finder = load_detector(), FaceDetector()
    found = {path: faded(detector, finder, path) for path in sorted((data_dir / "sdfvd").rglob("*.mp4"))}
    more = [
        value > found[path.parents[1] / "real" / path.name] for path, value in found.items() if "fake" in path.parts
    ]
    assert len(more) == 8
    assert sum(more) >= 7


def faded(detector: Detector, finder: FaceDetector, path: Path) -> float:
    """By how much the mean logit of a clip's followed faces falls when they are steadied."""
    runs: dict[int, list[np.ndarray]] = {}
    faces = {}
    with VideoReader(path, "uniform:15", following=FRAMES - 1) as video:
        for frame in video:
            if not frame.after:
                faces[frame.number] = next(iter(finder.detect(frame.image)), None)
            if (face := faces[frame.number]) is not None:
                crop = crop_face(frame.image, face.points, face.box, detector.card.geometry, detector.card.input_size)
                runs.setdefault(frame.number, []).append(crop)
    whole = [run for run in runs.values() if len(run) == FRAMES]
    both = [(run[0], picture) for run in whole if (picture := steadied(run)) is not None]
    logits = detector.score(np.stack([crop for pair in both for crop in pair])).logits.reshape(-1, 2)
    return float((logits[:, 0] - logits[:, 1]).mean())
