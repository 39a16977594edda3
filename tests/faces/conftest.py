"""What the tests of faces share: one detector, and the astronaut's face."""

from __future__ import annotations

import pytest

from facetell.faces import Detection, FaceDetector
from tests import media


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="session")
def astronaut_face(detector: FaceDetector) -> Detection:
    """The one face of `media.astronaut()`."""
    (face,) = detector.detect(media.astronaut())
    return face
