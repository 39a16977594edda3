"""A face of 256 px with its five points, and a fake of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media

# The astronaut's eyes, nose tip and mouth corners in the whole photograph, in pixels.
POINTS = np.array([(200.1, 101.8), (247.1, 102.6), (220.4, 124.5), (198.6, 142.8), (239.7, 143.6)], np.float32)


@pytest.fixture(scope="session")
def face() -> tuple[np.ndarray, np.ndarray]:
    """(256, 256, 3) uint8 RGB and (5, 2) points in it."""
    side, left, top = 200, 122, 20
    image = media.view(media.astronaut(), (256, 256), (left + side / 2, top + side / 2), side)
    return image, ((POINTS - (left, top)) * 256 / side).astype(np.float32)


@pytest.fixture(scope="session")
def fake(face: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The face with another texture between brows and chin: what a generator would leave, aligned with its original."""
    image, _ = face
    altered = image.copy()
    noise = np.random.default_rng(0).integers(-40, 40, (130, 110, 3))
    altered[70:200, 70:180] = np.clip(image[70:200, 70:180] + noise, 0, 255)
    return altered
