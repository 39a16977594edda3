"""A card's figures in Markdown: they are any JSON that someone packed."""

from __future__ import annotations

import pytest

from facetell.report.card import card_page
from tests.detectors.networks import card

AUC = {"value": 0.8, "ci95": [0.7, 0.9]}


def test_numbers_have_their_intervals() -> None:
    figures = {
        "auc": 0.9,
        "auc_ci95": [0.85, 0.95],
        "brier": 0.1,
        "ci95": {"brier": [0.05, 0.2]},
        "n_real": 7,
        "by": {},
    }
    page = card_page(card(metrics={"dev": figures, "heatmap": {"pairs": {"n": 4, "auc": AUC}, "blends": None}}), "00")
    assert "| auc | 0.900 | 0.850 … 0.950 |\n| brier | 0.100 | 0.050 … 0.200 |\n| n_real | 7 |  |\n" in page
    assert "| labelled pairs | 4 | 0.800 (0.700 … 0.900) | – | – | – |" in page
    assert "self-blends" not in page


@pytest.mark.parametrize(
    "figures",
    [3, "good", [], {}, {"auc": 0.9, "ci95": [0.8, 0.95]}, {"auc": 0.9, "auc_ci95": 0.1}, {"pairs": {"auc": 0.9}}],
    ids=str,
)
@pytest.mark.parametrize("name", ["dev", "heatmap"])
def test_figures_may_be_anything(name: str, figures: object) -> None:
    assert "## Known limits" in card_page(card(metrics={name: figures}), "00")
