"""How the scores of a video's faces should become one: rules held against each other on the same faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import trim_mean

from facetell.detectors import Aggregation, Detector, Scores
from facetell.detectors.file import read_detector_file
from facetell.evaluation.metrics import metrics, paired
from facetell.evaluation.protocol import ONE_CLASS, resampling_unit
from facetell.evaluation.scoring import Scored
from facetell.scanning.verdict import face_weights

FRAMES = (1, 5, 10, 20, 32)  # faces of each video, spread over it; videos with fewer give all they have
SHIPPED: dict[Aggregation, str] = {
    "quality": "mean, weighted by quality",
    "confidence": "mean, weighted by confidence",
}
Rule = Callable[[np.ndarray, np.ndarray], float]


def _largest(share: float) -> Rule:
    """Mean of the most suspicious share of the faces, at least one."""
    return lambda logits, weights: float(np.sort(logits)[-max(1, round(share * len(logits))) :].mean())


def _weighted(aggregation: Aggregation) -> Rule:
    return lambda logits, weights: float(np.average(logits, weights=face_weights(logits, weights, aggregation)))


RULES: dict[str, Rule] = {
    **{name: _weighted(aggregation) for aggregation, name in SHIPPED.items()},
    "mean": lambda logits, weights: float(logits.mean()),
    "mean P(fake)": lambda logits, weights: float(expit(logits).mean()),
    "median": lambda logits, weights: float(np.median(logits)),
    "mean without the outer fifths": lambda logits, weights: float(trim_mean(logits, 0.2)),
    "mean of the highest quarter": _largest(0.25),
    "highest": _largest(0.0),
}


class Mirrored(Detector):
    """A detector that sees every crop with left and right exchanged."""

    def score(self, crops: np.ndarray) -> Scores:
        return super().score(crops[..., ::-1, :])


def mirrored(detector: Detector, device: str = "cpu") -> Mirrored:
    """The same detector, shown mirrored crops."""
    return Mirrored(read_detector_file(detector.path), device)


def aggregation(scored: Scored, mirrored: Scored | None = None, n_boot: int = 1000) -> dict[str, Any]:
    """Video AUC by rule and by number of faces, on the usable faces of every video (all of them, where none is usable).

    Args:
        scored: videos, or stills of videos.
        mirrored: the same items seen by the `mirrored` detector; adds the card's rule over the mean of both logits.
        n_boot: resamples for the intervals.

    Returns:
        `rules`: name -> `auc`, `auc_ci95`, and `gain`, the paired difference to the card's own rule (None for itself);
        `frames`: number -> `auc`, `auc_ci95` and `faces`, the mean number that a video gave; `n_real`, `n_fake`.
        Only `none`, the reason, where the videos that could be scored are of one class.
    """
    videos, own = scored.videos, SHIPPED[scored.card.aggregation]
    if videos.label.nunique() < 2:
        return {"none": ONE_CLASS}
    _, groups = resampling_unit(videos)
    faces = _usable(scored.faces)
    pooled = {name: _by_video(faces, rule).loc[videos.index] for name, rule in RULES.items()}
    if mirrored is not None:
        both = faces.merge(
            mirrored.faces[["item", "time_s", "logit"]], on=["item", "time_s"], suffixes=("", "_mirrored")
        )
        both["logit"] = (both.logit + both.logit_mirrored) / 2
        with_mirror = _by_video(both, RULES[own])
        pooled[f"{own}, with the mirrored face"] = with_mirror.reindex(videos.index).fillna(pooled[own])
    rules = {
        name: {
            **_auc(videos.label, logits, groups, n_boot),
            "gain": None if name == own else paired(videos.label, logits, pooled[own], groups, n_boot),
        }
        for name, logits in pooled.items()
    }
    curve = {}
    for number in FRAMES:
        chosen = faces.groupby("key", group_keys=False)[list(faces.columns)].apply(_spread, number)
        logits = _by_video(chosen, RULES[own]).loc[videos.index]
        curve[str(number)] = {
            **_auc(videos.label, logits, groups, n_boot),
            "faces": float(chosen.groupby("key").size().mean()),
        }
    return {
        "rules": rules,
        "frames": curve,
        "n_real": int((videos.label == 0).sum()),
        "n_fake": int((videos.label == 1).sum()),
    }


def _usable(faces: pd.DataFrame) -> pd.DataFrame:
    """The usable faces of each video, or all of a video that has none."""
    any_usable = faces.groupby("key").usable.transform("any")
    return faces[faces.usable | ~any_usable]


def _by_video(faces: pd.DataFrame, rule: Rule) -> pd.Series:
    logits, weights = faces.logit.to_numpy(), faces.weight.to_numpy()
    rows = faces.groupby("key").indices
    return pd.Series({key: rule(logits[at], weights[at]) for key, at in rows.items()})


def _spread(faces: pd.DataFrame, number: int) -> pd.DataFrame:
    """`number` faces evenly spread over those of one video; the middle one, for one."""
    steps = (np.arange(number) + 0.5) / number * len(faces)
    return faces.iloc[np.unique(steps.astype(int))]


def _auc(labels: pd.Series, logits: pd.Series, groups: pd.Series, n_boot: int) -> dict[str, Any]:
    numbers = metrics(labels, expit(logits), groups, n_boot, logits=logits)
    return {"auc": numbers["auc"], "auc_ci95": numbers["auc_ci95"]}
