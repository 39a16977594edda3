"""The sample clips are small, show one large face, and the forged one says what it is."""

from pathlib import Path

import numpy as np
import pytest

from facetell.faces.detect import FaceDetector
from facetell.video import VideoReader, probe, provenance

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIPS = [EXAMPLES / "portrait.mp4", EXAMPLES / "portrait-forged.mp4"]


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_a_sample_is_small_plays_anywhere_and_shows_one_large_face(path: Path) -> None:
    info = probe(path)
    assert info.size_bytes <= 400_000
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    detector = FaceDetector()
    with VideoReader(path, "uniform:5") as frames:
        for frame in frames:
            (face,) = detector.detect(frame.image)
            assert face.box[3] >= 200


def test_only_the_forged_sample_calls_itself_forged() -> None:
    real, forged = (" ".join(provenance(path, probe(path)).notes) for path in CLIPS)
    assert "forged by facetell" in forged
    assert "forged" not in real


def test_the_two_differ_in_the_face_and_not_in_the_background() -> None:
    images = []
    for path in CLIPS:
        with VideoReader(path, "at:10") as frames:
            images.append(next(iter(frames)).image.astype(int))
    difference = np.abs(images[0] - images[1])
    assert difference[80:300, 170:330].mean() > 2 * difference[:60, :120].mean()
