"""Rules for views that disagree, where it is known what each must do; and fakes that only one view can see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facetell.detectors import DetectorCard
from facetell.errors import NotVideoError
from facetell.evaluation import markdown
from facetell.evaluation.views import Blended, views
from tests import media
from tests.detectors.networks import card
from tests.evaluation.test_calibration import drawn, scored

PARTS = {"blend": "b", "texture": "t"}


def study(seen: DetectorCard, odd: int = 30) -> dict:
    """Development fakes that both views see; `odd` of 600 photographs, and every blend, are suspicious to one only."""
    y, logits = drawn(2400)
    videos = scored(y, logits)
    videos.videos["parts"] = pd.Series([{"blend": x, "texture": x} for x in logits])
    alone = np.arange(600) < odd
    street = scored(np.zeros(600, int), np.where(alone, 40.0 + np.arange(600) / 100, -20.0), "street")
    street.videos["parts"] = pd.Series([{"blend": 20.0, "texture": -20.0 if one else 20.0} for one in alone])
    blends = scored(np.zeros(50, int), np.full(50, 90.0), "street")
    blends.videos["parts"] = pd.Series([{"blend": 20.0, "texture": -20.0}] * 50)
    return views(seen, [videos], {"street": street}, {"street": blends})


def test_a_margin_finds_what_both_views_see_and_what_one_does() -> None:
    result = study(card(outputs={"logit": "l"} | PARTS))
    ignored, never, margin = (result["rules"][name] for name in ("ignored", "never", "margin"))
    assert margin["threshold"] == pytest.approx(never["threshold"], abs=0.1)
    assert margin["threshold"] + margin["margin"] == pytest.approx(ignored["threshold"], abs=0.1)
    assert ignored["found"]["value"] < never["found"]["value"] - 0.2
    assert margin["found"]["value"] == pytest.approx(never["found"]["value"], abs=0.01)
    assert [rule["blends"]["value"] for rule in (ignored, never, margin)] == [1, 0, 1]
    assert all(rule["false_alarms"]["street"]["value"] <= 0.01 for rule in (ignored, never, margin))
    assert margin["found"]["n"] == margin["undecided"]["n"] / 2 == 600
    table = markdown.blocks({**EMPTY, "views": result}, {})["views"]
    assert "| it is never decided |" in table
    assert "100.0% (92.9%–100.0%, n = 50)" in table


def test_why_there_is_nothing_to_compare_is_said() -> None:
    assert "does not give blend and texture" in study(card())["none"]
    result = {**EMPTY, "views": study(card())}
    assert "Not measured: the detector does not give" in markdown.blocks(result, {})["views"]


def test_a_blend_differs_in_the_face_alone_and_is_the_same_again() -> None:
    image = media.side_by_side([0])
    one, again, other = (Blended().picture(image, number) for number in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert 0 < (one != image).any(2).mean() < 0.7
    grey = np.full((64, 64, 3), 90, np.uint8)
    assert np.array_equal(Blended().picture(grey, 0), grey)
    with pytest.raises(NotVideoError, match="is a video"):
        Blended().video(Path("a.mp4"), Path())


EMPTY = {
    "detectors": {},
    "sets": {},
    "cells": {},
    "curves": {},
    "robustness": {},
    "aggregation": {"none": "no set asks for it"},
    "joined": [],
}
