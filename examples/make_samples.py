"""Make the two sample clips: a moving portrait, and the same one with its face blended by `facetell forge`.

The portrait is scikit-image's photograph of the astronaut Eileen Collins (NASA, public domain) under a camera that
pans, zooms and turns a little while the light drifts.

    python examples/make_samples.py
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from facetell import __version__
from facetell.forge.clips import blend_file
from facetell.forge.output import clip_writer

FOLDER = Path(__file__).parent
WIDTH, HEIGHT, RATE, SECONDS = 480, 480, 25, 4
FACE = (225, 145)  # about its middle in the photograph


def portrait() -> Iterator[np.ndarray]:
    """(HEIGHT, WIDTH, 3) uint8 RGB frames; the face is 200 to 250 pixels high."""
    photograph = data.astronaut()
    for t in np.linspace(0, 2 * np.pi, RATE * SECONDS, endpoint=False):
        turn_deg, scale, light = 4 * np.sin(t), 1.9 + 0.1 * np.sin(2 * t), 1 + 0.06 * np.sin(t + 1)
        matrix = cv2.getRotationMatrix2D(FACE, turn_deg, scale)
        matrix[:, 2] += (WIDTH / 2 + 22 * np.sin(t) - FACE[0], HEIGHT / 2 + 10 * np.cos(2 * t) - FACE[1])
        frame = cv2.warpAffine(
            photograph, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        yield cv2.convertScaleAbs(frame, alpha=light)


def main() -> None:
    real, forged = FOLDER / "portrait.mp4", FOLDER / "portrait-forged.mp4"
    comment = f"made by facetell {__version__} from a public-domain photograph (NASA, Eileen Collins)"
    with clip_writer(real, (WIDTH, HEIGHT), Fraction(RATE), comment, crf=20) as clip:
        for number, frame in enumerate(portrait()):
            clip.write(frame, number / RATE)
    print(blend_file(real, forged, family="face", seed=9, force=True))
    for path in (real, forged):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
