"""The same items clean and after what videos suffer on their way: what is left of the ranking, where scores drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facetell.evaluation.metrics import mean, paired
from facetell.evaluation.protocol import resampling_unit, verdicts
from facetell.evaluation.scoring import Scored, score
from facetell.evaluation.store import Store
from facetell.forge import degrade, pixels
from facetell.forge.clips import degrade_file
from facetell.forge.presets import PRESETS, Preset
from facetell.scanning import Scanner
from facetell.video import shared_readers

SEED = 0
NEARLY_LOSSLESS = 12  # CRF of videos whose damage is not the encoding


@dataclass(frozen=True, slots=True)
class Degradation:
    """One kind of damage, for pictures and for videos.

    Args:
        preset: its steps for every picture, and the encoding of videos.
        coded: a picture goes through the preset's encoder too, as a frame of a short clip.
    """

    preset: Preset
    coded: bool = False

    @property
    def description(self) -> str:
        return self.preset.description

    def picture(self, image: np.ndarray, number: int) -> np.ndarray:
        """A damaged copy; `number` seeds the noise, so that an item always suffers the same."""
        rng = np.random.default_rng((SEED, number))
        image = self.preset.apply(image, rng)
        if self.coded:
            for crf in filter(None, (self.preset.first_crf, self.preset.crf)):
                (image,) = degrade.h264([image], rng, (crf, crf), codec=self.preset.codec)
        return image

    def video(self, path: Path, folder: Path) -> Path:
        """A damaged copy of a video, inside `folder`, or of a still: what a file is, its name need not tell.

        Raises:
            ForgeError, InputError: as `degrade_file`.
        """
        info, _ = shared_readers().probe(path)
        copy = folder / f"{path.stem}{'.png' if info.is_still else '.mp4'}"
        degrade_file(path, copy, self.preset, seed=SEED, force=True)
        return copy


def _moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by 4 degrees, shrunk by 5 % and shifted by 3 %: the face is found, and cut, anew."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 4, 0.95)
    matrix[:, 2] += 0.03 * np.array([width, height])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _step(description: str, step: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Degradation:
    return Degradation(Preset(description, crf=NEARLY_LOSSLESS, steps=(step,)))


def _only_steps_of(name: str) -> Degradation:
    return Degradation(Preset(PRESETS[name].description, crf=NEARLY_LOSSLESS, steps=PRESETS[name].steps))


SUITE: dict[str, Degradation] = {
    "CRF 23": Degradation(Preset("H.264 at CRF 23", crf=23), coded=True),
    "CRF 32": Degradation(Preset("H.264 at CRF 32", crf=32), coded=True),
    "CRF 40": Degradation(Preset("H.264 at CRF 40", crf=40), coded=True),
    "half size": Degradation(Preset("half the width and height", crf=NEARLY_LOSSLESS, scale=0.5)),
    "quarter size": Degradation(Preset("a quarter of the width and height", crf=NEARLY_LOSSLESS, scale=0.25)),
    "JPEG 50": _step("every frame a JPEG of quality 50", lambda image, rng: pixels.jpeg(image, 50)),
    "blur": _only_steps_of("blur"),
    "noise": _only_steps_of("noise"),
    "gamma": _only_steps_of("dark"),
    "smoothing": _only_steps_of("beauty"),
    "messaging": Degradation(PRESETS["messaging"], coded=True),
    "mirrored": _step("left and right exchanged", lambda image, rng: np.ascontiguousarray(image[:, ::-1])),
    "moved": _step("turned by 4°, shrunk by 5 %, shifted by 3 %", _moved),
}


def robustness(
    manifest: pd.DataFrame,
    scanner: Scanner,
    clean: Scored,
    workers: int = 1,
    n_boot: int = 1000,
    progress: Callable[[int], None] | None = None,
    store: Store | None = None,
    suite: dict[str, Degradation] | None = None,
) -> dict[str, dict[str, Any]]:
    """Score the manifest once for every degradation and hold it against the clean scores of the same videos.

    Returns:
        Name -> `description`; `comparison`, that of `metrics.paired` with the degraded scores as A and the clean ones
        as B (None, with the reason under `notes`, for one class only); `drift_real` and `drift_fake`, the mean change
        of the calibrated logit with interval and n; `false_alarms`, as in `verdicts`; `lost`, videos without score.
    """
    return {
        name: {
            "description": kind.description,
            **_held_against(clean, score(manifest, scanner, workers, progress, kind, store), n_boot),
        }
        for name, kind in (suite or SUITE).items()
    }


def _held_against(clean: Scored, damaged: Scored, n_boot: int) -> dict[str, Any]:
    both = clean.videos.index.intersection(damaged.videos.index)
    before, after = clean.videos.loc[both], damaged.videos.loc[both]
    _, groups = resampling_unit(before)
    comparable = before.label.nunique() == 2
    was, now = clean.calibrated(before), clean.calibrated(after)
    drift = pd.Series(now - was, index=both)
    return {
        "comparison": paired(before.label, now, was, groups, n_boot) if comparable else None,
        "notes": {} if comparable else {"comparison": "one class only"},
        **{
            f"drift_{name}": mean(drift[before.label == label], groups[before.label == label], n_boot)
            for name, label in (("real", 0), ("fake", 1))
        },
        "false_alarms": verdicts(after)["false_alarms"],
        "lost": len(clean.videos) - len(both),
    }
