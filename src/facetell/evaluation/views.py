"""What it is worth to ask more of a face on which the detector's views disagree: three rules, each calibrated anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from facetell.detectors import DetectorCard
from facetell.errors import DataError, NotVideoError
from facetell.evaluation.calibration import DEFAULT_RATE, ViewsRule, calibrate, decisions, place, table_of
from facetell.evaluation.metrics import share
from facetell.evaluation.scoring import Scored, largest_face
from facetell.faces.detect import FaceDetector
from facetell.forge.blend import self_blend
from facetell.forge.masks import FAMILIES

SEED = 0


class Blended:
    """Damage that makes a fake: the largest face of a picture blended with itself, which only one view can see."""

    description = "the largest face blended with itself"

    def __init__(self) -> None:
        self._finder = FaceDetector()

    def picture(self, image: np.ndarray, number: int) -> np.ndarray:
        """A blended copy; `number` says which family of masks. Without a face, the picture as it is.

        Raises:
            ForgeError: a face that cannot be blended.
        """
        faces = largest_face(image, self._finder)
        if not faces:
            return image
        family = list(FAMILIES)[number % len(FAMILIES)]
        return self_blend(image, faces[0].points, np.random.default_rng((SEED, number)), family=family).fake

    def video(self, path: Path, folder: Path) -> Path:
        """None can be made.

        Raises:
            NotVideoError: always.
        """
        raise NotVideoError(f"{path.name} is a video, and only pictures are blended here.")


def views(
    card: DetectorCard, development: Sequence[Scored], reals: Mapping[str, Scored], blends: Mapping[str, Scored]
) -> dict[str, Any]:
    """The rules of `ViewsRule` beside each other, each with the threshold for DEFAULT_RATE that it allows.

    Args:
        card: of a detector, whose calibration is fitted anew.
        development: labelled sets, scored; their halves fit and report as in `calibrate`.
        reals: source -> real faces, scored.
        blends: source -> the same after `Blended`, scored.

    Returns:
        `none`, why there is nothing to compare, or `apart`, and `rules`: rule -> `threshold`; `margin`; `undecided`,
        `wrong` and `found` of the held-out videos; `false_alarms`, real source -> share; `blends` called FAKE.
    """
    everything = Scored(
        pd.concat([scored.items for scored in development], ignore_index=True),
        pd.DataFrame(),
        pd.concat([scored.videos for scored in development], ignore_index=True),
        card,
    )
    try:
        made = pd.concat([table_of(scored, source) for source, scored in blends.items()]).assign(label=1)
        cards = {
            rule: calibrate(card, {"clean": everything}, reals, (DEFAULT_RATE,), n_boot=0, views=rule)
            for rule in get_args(ViewsRule)
        }
    except DataError as error:
        return {"none": error.message}
    rules: dict[str, Any] = {}
    apart = 0.0
    for rule, fitted in cards.items():
        (threshold,), report, scope = fitted.thresholds, fitted.metrics["calibration"], fitted.scope
        if threshold.logit is None or scope is None or "none" in report["views"]:
            return {"none": report["views"].get("none", threshold.source)}
        apart = apart if scope.views_apart is None else scope.views_apart
        rate = f"{DEFAULT_RATE:g}"
        held_out = report["decisions"][rate].values()
        rules[rule] = {
            "threshold": threshold.logit,
            "margin": scope.views_margin,
            **{name: _together(one[name] for one in held_out) for name in ("undecided", "wrong", "found")},
            "false_alarms": {source: report["false_positives"][source][rate] for source in reals},
            "blends": decisions(place(made, fitted), threshold)["found"],
        }
    return {"apart": apart, "rules": rules}


def _together(shares: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One share of several sources."""
    counted = [(round((one["value"] or 0.0) * one["n"]), one["n"]) for one in shares]
    return share(sum(k for k, _ in counted), sum(n for _, n in counted))
