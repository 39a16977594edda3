"""The paper's two claims on its "distinguishment": fakes have less of it, and skin colour has no part in it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from facetell.evaluation.metrics import mean, metrics
from facetell.evaluation.protocol import resampling_unit
from facetell.networks.statistics import parts_of_crop
from facetell.residual import distinguishment, metric

SCALE = 1.1  # of the crops that are measured


def measure(faces: np.ndarray, videos: pd.DataFrame, n_boot: int) -> dict[str, Any]:
    """Both claims on one set of videos.

    Args:
        faces: (N, T, H, W, 3) uint8 RGB, T faces of each of N videos, cut by landmarks at `SCALE`.
        videos: (N rows) of the manifest.
        n_boot: resamples.

    Returns:
        `real`, `fake`: the mean metric in grey levels; `ratio` of the two; `auc` of "the lower, the likelier FAKE";
        `pairs`: by how much a fake is above its own original, and the share of fakes that are lower; `skin`: rank
        correlation of metric and skin tone among the real, and `auc` in the darker and in the lighter half.
    """
    values = np.array([metric(distinguishment(run)).mean() for run in faces])
    tones = np.array([skin_tone(run[0]) for run in faces])
    label = videos.label.to_numpy()
    groups = resampling_unit(videos)[1].to_numpy()
    real, fake = (mean(values[label == k], groups[label == k], n_boot) for k in (0, 1))
    halves = {"darker": tones <= np.median(tones), "lighter": tones > np.median(tones)}
    return {
        "real": real,
        "fake": fake,
        "ratio": fake["value"] / real["value"],
        "auc": _auc(values, label, groups, n_boot),
        "pairs": _pairs(values, videos, groups, n_boot),
        "skin": {
            "correlation": _correlation(values[label == 0], tones[label == 0], groups[label == 0], n_boot),
            "tones": np.percentile(tones, [5, 50, 95]).tolist(),
            **{name: _auc(values[half], label[half], groups[half], n_boot) for name, half in halves.items()},
        },
    }


def skin_tone(face: np.ndarray) -> float:
    """The individual typology angle of the cheeks, degrees: above 55 very light, below -30 dark (Chardon et al., 1991).

    Light on the face moves it too: it is a measure of the picture, not of the person.

    >>> light, dark = (np.full((60, 60, 3), colour, np.uint8) for colour in ((235, 205, 185), (95, 65, 50)))
    >>> skin_tone(light) > 50 > 0 > skin_tone(dark)
    True
    """
    cheeks = parts_of_crop(face.shape[0], SCALE) == "cheeks"
    lightness, _, yellow = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[cheeks].mean(axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(yellow, 1e-3))))


def _auc(values: np.ndarray, label: np.ndarray, groups: np.ndarray, n_boot: int) -> dict[str, Any]:
    found = metrics(label, 1 / (1 + values), groups, n_boot)  # any falling function of the metric will do
    return {"value": found["auc"], "ci95": found["auc_ci95"], "n": len(values)}


def _pairs(values: np.ndarray, videos: pd.DataFrame, groups: np.ndarray, n_boot: int) -> dict[str, Any]:
    """Fakes against their own originals, where both are there: those of the same compression, if there are any."""
    place: dict[tuple, int] = {}
    for row, key in enumerate(zip(videos.dataset, videos.video, videos.compression, strict=True)):
        place[key] = place[key[:2]] = row
    wanted = zip(videos.dataset, videos.original, videos.compression, strict=True)
    originals = [place.get(key, place.get(key[:2])) for key in wanted]
    pairs = [(row, original) for row, original in enumerate(originals) if original is not None and original != row]
    if not pairs:
        return {"difference": mean([]), "lower": mean([])}
    fakes, reals = np.array(pairs).T
    differences = values[fakes] - values[reals]
    return {
        "difference": mean(differences, groups[fakes], n_boot),
        "lower": mean(differences < 0, groups[fakes], n_boot),
    }


def _correlation(values: np.ndarray, tones: np.ndarray, groups: np.ndarray, n_boot: int) -> dict[str, Any]:
    """Spearman's, with its interval by resampling groups; None where there is too little to rank."""
    if min(len(np.unique(values)), len(np.unique(tones))) < 3:
        return {"value": None, "ci95": None, "n": len(values)}
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = []
    for _ in range(n_boot):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append(_spearman(values[rows], tones[rows]))
    bounds = np.nanquantile(drawn, [0.025, 0.975]).tolist()
    return {"value": _spearman(values, tones), "ci95": bounds, "n": len(values)}


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
