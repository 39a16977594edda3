"""What a whole video goes through, by name, as steps for every frame and an encoding at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from facetell.forge import degrade, pixels

Step = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, slots=True)
class Preset:
    """One way a video is degraded."""

    description: str
    codec: degrade.Codec = "h264"
    crf: int = 20
    steps: tuple[Step, ...] = ()
    scale: float = 1.0  # of width and height
    longest: int | None = None  # pixels that the longer side may have
    first_crf: int | None = None  # of an encoding before the last one

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One frame, (H, W, 3) uint8 RGB, after the steps and at its new size; encoding is not part of it."""
        for step in self.steps:
            image = step(image, rng)
        height, width = image.shape[:2]
        scale = min(self.scale, (self.longest or max(height, width)) / max(height, width))
        if scale >= 1:
            return image
        size = max(2, round(width * scale)), max(2, round(height * scale))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 0.6 else cv2.INTER_CUBIC)


def _gamma(value: float) -> Step:
    curve = (255 * (np.arange(256) / 255) ** value).round().astype(np.uint8)
    return lambda image, rng: cv2.LUT(image, curve)


def _noise(sigma: float) -> Step:
    return lambda image, rng: degrade.noise(image.shape[:2], sigma, rng)(image)


PRESETS: dict[str, Preset] = {
    "h264": Preset("H.264 at CRF 28, as after an upload", crf=28),
    "h265": Preset("H.265 at CRF 30", codec="h265", crf=30),
    "small": Preset("half the width and height, CRF 23", crf=23, scale=0.5),
    "double": Preset("H.264 at CRF 28, and once more at CRF 30", crf=30, first_crf=28),
    "messaging": Preset("a messaging app: at most 640 px, H.264 twice", crf=30, longest=640, first_crf=26),
    "screen": Preset(
        "a recording of a screen: an odd scale, lighter, sharpened, CRF 24",
        crf=24,
        steps=(lambda image, rng: pixels.sharpen(image, 0.4, 1.0), _gamma(0.9)),
        scale=0.83,
    ),
    "jpeg": Preset("every frame a JPEG of quality 40", crf=15, steps=(lambda image, rng: pixels.jpeg(image, 40),)),
    "noise": Preset("sensor noise of 8 grey levels", steps=(_noise(8),)),
    "blur": Preset("out of focus", steps=(lambda image, rng: cv2.GaussianBlur(image, (0, 0), 2.0),)),
    "dark": Preset("gamma 1.8", steps=(_gamma(1.8),)),
    "sharp": Preset("sharpened", steps=(lambda image, rng: pixels.sharpen(image, 1.0, 1.2),)),
    "beauty": Preset("beauty smoothing of the whole picture", steps=(lambda image, rng: degrade.beauty(image, 3, 22),)),
}
