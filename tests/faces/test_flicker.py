"""Flicker tells a restless rim from a restless face, whatever moves, and says nothing where it cannot."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.faces import FaceDetector
from facetell.faces.align import TEMPLATE
from facetell.faces.flicker import flicker
from facetell.video import VideoReader
from tests import media

SIZE = 320
POINTS = TEMPLATE * 1.6 + SIZE / 2
ROWS, COLUMNS = np.indices((SIZE, SIZE)) - SIZE / 2
RADIUS = np.hypot(COLUMNS / 0.8, ROWS - 16) / 1.6  # units of the template, as an ellipse's half-height
INSIDE, RIM = RADIUS < 33, (RADIUS >= 33) & (RADIUS < 47)


def pair(noise: np.ndarray | float, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """A face and the same a moment later, moved to the right, each with noise of its own of this strength."""
    grey = cv2.cvtColor(cv2.resize(media.astronaut(), (SIZE, SIZE)), cv2.COLOR_RGB2GRAY)
    moved = cv2.warpAffine(grey, np.array([[1, 0, shift], [0, 1, 0.0]]), (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    random = np.random.default_rng(seed)
    both = [picture + random.normal(0, 1, grey.shape) * noise for picture in (grey, moved)]
    return coloured(np.stack(both))


def coloured(luma: np.ndarray) -> np.ndarray:
    """(…, 3) uint8, all three the same."""
    return np.repeat(luma.clip(0, 255).astype(np.uint8)[..., None], 3, -1)


def measured(both: np.ndarray) -> float:
    value = flicker(both[0], both[1], POINTS)
    assert value is not None
    return value


def test_the_same_noise_everywhere_is_no_flicker() -> None:
    assert measured(pair(3.0)) == pytest.approx(0, abs=0.1)


def test_a_restless_rim_is_above_and_a_restless_inside_below() -> None:
    assert measured(pair(np.where(RIM, 4.0, 2.0))) == pytest.approx(np.log(2), abs=0.15)
    assert measured(pair(np.where(INSIDE, 4.0, 2.0))) == pytest.approx(-np.log(2), abs=0.15)


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_a_restless_rim_shows_while_the_face_moves(shift: float) -> None:
    assert measured(pair(np.where(RIM, 4.0, 2.0), shift)) > measured(pair(2.0, shift)) + 0.2
    assert measured(pair(np.where(INSIDE, 4.0, 2.0), shift)) < measured(pair(2.0, shift)) - 0.2


def test_light_that_changes_is_no_flicker() -> None:
    both = pair(3.0)
    brighter = coloured(both[1, ..., 0] * 0.95 + 8 * (RADIUS < 47))
    assert measured(np.stack([both[0], brighter])) == pytest.approx(measured(both), abs=0.25)


def test_nothing_is_said_of_a_repeated_frame_or_of_a_cut() -> None:
    image, _ = pair(3.0)
    assert flicker(image, image, POINTS) is None
    other = np.random.default_rng(1).integers(0, 255, image.shape, np.uint8)
    assert flicker(image, other, POINTS) is None


def test_a_face_at_the_border_or_far_too_small_is_no_error() -> None:
    both = pair(3.0)
    for points in (TEMPLATE * 3, TEMPLATE * 0.02 + 5, TEMPLATE * 9 + SIZE):
        value = flicker(both[0], both[1], points)
        assert value is None or np.isfinite(value)


@pytest.mark.slow
def test_fakes_flicker_more_than_their_originals(data_dir: Path) -> None:
    """SDFVD's pairs: the same name is the same source."""
    finder, found = FaceDetector(), {}
    for path in sorted((data_dir / "sdfvd").rglob("*.mp4")):
        with VideoReader(path, "uniform:10", pairs=True) as video:
            values = [
                flicker(frame.image, frame.after, face.points)
                for frame in video
                if frame.after is not None
                for face in finder.detect(frame.image)[:1]
            ]
        found[path.parent.name, path.name] = np.mean([value for value in values if value is not None])
    more = [found["fake", name] > found["real", name] for kind, name in found if kind == "fake"]
    assert len(more) == 8
    assert sum(more) >= 7
