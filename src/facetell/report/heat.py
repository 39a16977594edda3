"""How a heat map looks, wherever it is shown, and what is said of its worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from facetell.report.text import percent

if TYPE_CHECKING:
    from facetell.detectors import DetectorCard

MEASURED = "heatmap"  # the key of a card's metrics under which `facetell calibrate --pairs` writes what it found


def glow(strength: np.ndarray) -> np.ndarray:
    """A heat map (h, w), clipped to 0…1, in colour: (h, w, 4) uint8 RGBA.

    It goes from yellow to red, the more opaque, the surer the detector is that the place was altered.

    >>> glow(np.array([[0.0, 1.0]])).tolist()
    [[[255, 210, 30, 0], [255, 0, 30, 255]]]
    """
    strength = np.clip(strength, 0, 1)
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 255, 210 * (1 - strength), 30
    pixels[..., 3] = 255 * strength
    return pixels


def worth(card: DetectorCard) -> str:
    """How far the detector's heat map can be trusted, in plain words; empty if it has none."""
    if card.heatmap is None:
        return ""
    if MEASURED not in card.metrics:
        return "How often its heat map is right has not been measured."
    named, right, own, fixed = (
        _share(card.metrics[MEASURED], "pairs", name, "value")
        for name in ("region_named", "region_right", "auc", "fixed_map")
    )
    said = []
    if named is not None and right is not None:
        said.append(
            f"On fakes held beside their originals it named a part of the face in {percent(named)} of cases; "
            f"{percent(right)} of those parts were altered."
        )
    if own is not None and fixed is not None:
        said.append(
            f"An altered pixel was hotter than an untouched one of the same face in {percent(own)} of cases; with one "
            f"fixed map for every face, in {percent(fixed)}."
        )
    return " ".join(said) or f'How often its heat map is right has been measured: see "{MEASURED}" among its figures.'


def _share(measured: object, *keys: str) -> float | None:
    """The share under these keys of a card's figures, which are any JSON; None if there is none."""
    for key in keys:
        measured = measured.get(key) if isinstance(measured, Mapping) else None
    return measured if isinstance(measured, float) and 0 <= measured <= 1 else None
