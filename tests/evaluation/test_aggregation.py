"""Rules of pooling on drawn scores, where it is known which rule is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from facetell.evaluation.aggregation import RULES, aggregation
from facetell.evaluation.scoring import Scored
from tests.detectors.networks import card

OWN = "mean, weighted by quality"


def drawn(videos: int = 200, faces: int = 20, noise: float = 4.0, outliers: float = 0.0) -> Scored:
    rng = np.random.default_rng(0)
    label = np.arange(videos) % 2
    logit = (label - 0.5)[:, None] + rng.normal(0, noise, (videos, faces))
    logit = np.where(rng.random(logit.shape) < outliers, rng.choice([-60, 60], logit.shape), logit)
    key, number = np.meshgrid(np.arange(videos), np.arange(faces), indexing="ij")
    table = pd.DataFrame({"item": key.ravel(), "key": key.ravel(), "time_s": number.ravel(), "logit": logit.ravel()})
    table["label"], table["weight"], table["usable"] = label[table.key], 1.0, True
    columns = {"label": label, "dataset": "made", "original": "", "group": [f"g{k // 2}" for k in range(videos)]}
    return Scored(pd.DataFrame(), table, pd.DataFrame(columns).assign(video="v"), card())


def test_more_faces_help() -> None:
    frames = aggregation(drawn(), n_boot=0)["frames"]
    values = [frames[number]["auc"] for number in ("1", "5", "20")]
    assert values[0] < values[1] < values[2]
    assert frames["32"]["auc"] == frames["20"]["auc"]
    assert frames["32"]["faces"] == 20


def test_the_median_wins_where_there_are_outliers_and_the_mean_where_there_are_none() -> None:
    spoilt, clean = aggregation(drawn(outliers=0.1), n_boot=50)["rules"], aggregation(drawn(), n_boot=50)["rules"]
    assert spoilt["median"]["gain"]["difference_ci95"][0] > 0
    assert clean["median"]["gain"]["difference"] < 0
    assert set(clean) == set(RULES)
    assert clean[OWN]["gain"] is None
    assert clean["mean"]["gain"]["difference"] == 0


def test_unusable_faces_do_not_count_beside_usable_ones() -> None:
    scored = drawn()
    spoilt = scored.faces.index % 4 == 0
    scored.faces.loc[spoilt, "logit"] = -90.0 * scored.faces.label
    scored.faces.loc[spoilt, "usable"] = False
    assert aggregation(scored, n_boot=0)["rules"]["mean"]["auc"] > 0.6


def test_the_mirrored_face_halves_the_noise() -> None:
    scored, mirrored = drawn(), drawn()
    other = np.random.default_rng(5).normal(0, 4.0, len(mirrored.faces))
    mirrored.faces["logit"] = mirrored.faces.label - 0.5 + other
    rules = aggregation(scored, mirrored, n_boot=50)["rules"]
    assert rules[f"{OWN}, with the mirrored face"]["auc"] > rules[OWN]["auc"]


def test_weights_are_used() -> None:
    assert RULES[OWN](np.array([0.0, 4.0]), np.array([3.0, 1.0])) == 1
    assert RULES["mean of the highest quarter"](np.arange(8.0), np.ones(8)) == 6.5
    assert RULES["highest"](np.arange(8.0), np.ones(8)) == 7


def test_by_confidence_the_surest_faces_decide() -> None:
    assert RULES["mean, weighted by confidence"](np.array([0.0, 40.0]), np.ones(2)) == 40
    assert RULES["mean, weighted by confidence"](np.zeros(2), np.ones(2)) == 0


def test_gains_are_over_the_detector_s_own_rule() -> None:
    rules = aggregation(replace(drawn(), card=card(aggregation="confidence")), n_boot=50)["rules"]
    assert rules["mean, weighted by confidence"]["gain"] is None
    assert rules[OWN]["gain"] is not None


def test_one_class_has_a_reason_instead_of_numbers() -> None:
    scored = drawn()
    scored.videos["label"] = 1
    assert aggregation(scored) == {"none": "the videos that could be scored are of one class only"}
