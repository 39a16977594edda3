"""What is new in a frame grows, what moves with the face does not, and another scene is none."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.detectors import Detector, load_detector
from facetell.faces import FaceDetector, crop_face
from facetell.faces.magnify import magnified
from facetell.scanning.scoring import instability
from facetell.video import VideoReader
from tests import media

SIZE = 160


def both(noise: float, shift: float = 0.0, same: bool = False, light: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A face and the same a moment later, moved to the right, each with noise of its own or the same in both."""
    face = cv2.resize(media.astronaut()[60:260, 130:330], (SIZE, SIZE)).astype(np.float32)
    random = np.random.default_rng(0)
    grain = [random.normal(0, noise, face.shape) for _ in range(2)]
    crop, after = face + grain[0], face + grain[0 if same else 1]
    after = cv2.warpAffine(after, np.array([[1, 0, shift], [0, 1, 0.0]]), (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    return tuple((light * picture).clip(0, 255).astype(np.uint8) for picture in (crop, after))  # pyright: ignore[reportReturnType]


def grown(crop: np.ndarray, after: np.ndarray, by: float = 1.0) -> np.ndarray:
    result = magnified(crop, after, by)
    assert result is not None
    assert (result.dtype, result.shape) == (np.uint8, crop.shape)
    return result


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference away from the border, levels."""
    return float(np.abs(one.astype(float) - other)[20:-20, 20:-20].mean())


@pytest.mark.parametrize("coding", [0.0, 0.05])
def test_a_repeated_frame_is_none(coding: float) -> None:
    """Also where a few pixels were coded anew."""
    crop, after = both(5.0, same=True)
    coded = np.random.default_rng(0).random(crop.shape[:2]) < coding
    assert magnified(crop, cv2.add(after, coded[..., None].repeat(3, 2).astype(np.uint8)), 1.0) is None


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_what_moves_with_the_face_hardly_grows_and_noise_of_each_frame_does(shift: float) -> None:
    clean, _ = both(0.0)
    steady = apart(grown(*both(8.0, shift, same=True)), clean) / apart(both(8.0)[0], clean)
    restless = apart(grown(*both(8.0, shift)), clean) / apart(both(8.0)[0], clean)
    assert steady < 1.5
    assert restless > 1.6
    assert restless > steady + 0.3


def test_more_is_added_the_more_it_is_magnified() -> None:
    crop, after = both(4.0)
    added = [apart(grown(crop, after, by), crop) for by in (0.5, 1.0, 2.0)]
    assert added[1] / added[0] == pytest.approx(2, rel=0.1)
    assert added[2] / added[1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("light", [1.0, 0.3, 0.15])
def test_another_scene_is_none_in_the_dark_too(light: float) -> None:
    crop, after = both(2.0, shift=2.0, light=light)
    assert magnified(crop, after, 1.0) is not None
    assert magnified(crop, np.rot90(after).copy(), 1.0) is None


@pytest.mark.slow
def test_fakes_gain_more_than_their_originals_and_are_less_stable(data_dir: Path) -> None:
    """SDFVD's pairs: the same name is the same source."""
    detector, finder = load_detector(), FaceDetector()
    found = {path: moved(detector, finder, path) for path in sorted((data_dir / "sdfvd").rglob("*.mp4"))}
    more = np.array(
        [value > found[path.parents[1] / "real" / path.name] for path, value in found.items() if "fake" in path.parts]
    )
    assert more.shape == (8, 2)
    assert more.sum(axis=0).min() >= 7


def moved(detector: Detector, finder: FaceDetector, path: Path) -> np.ndarray:
    """How much the logits of a clip's faces rise when what changes is magnified, and their instability: two means."""
    shown: list[np.ndarray] = []
    with VideoReader(path, "uniform:8", pairs=True) as video:
        for frame in video:
            for face in finder.detect(frame.image)[:1]:
                crop, after = (
                    crop_face(picture, face.points, face.box, detector.card.geometry, detector.card.input_size)
                    for picture in (frame.image, frame.after)
                    if picture is not None
                )
                if (one := magnified(crop, after, 1.0)) is not None:
                    shown += [crop, one]
    logits = detector.score(np.stack(shown)).logits.reshape(-1, 2)
    return np.mean([(grown - plain, instability(grown, plain)) for plain, grown in logits], axis=0)
