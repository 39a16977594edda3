"""Metrics against scikit-learn and against cases worked out by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sklearn

from facetell.errors import DataError
from facetell.evaluation.metrics import metrics, paired, paired_mean


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 900)
    return y, np.round(1 / (1 + np.exp(-(rng.normal(0, 1.5, 900) + 1.2 * y))), 2)  # rounded: many ties


def test_values_equal_scikit_learns(scored):
    y, p = scored
    result = metrics(y, p, n_boot=0)
    assert result["auc"] == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
    assert result["ap"] == pytest.approx(sklearn.average_precision_score(y, p), abs=1e-12)
    assert result["log_loss"] == pytest.approx(sklearn.log_loss(y, p), abs=1e-12)
    assert result["brier"] == pytest.approx(sklearn.brier_score_loss(y, p), abs=1e-12)
    assert result["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(y, p >= 0.5), abs=1e-12)
    fpr, tpr, _ = sklearn.roc_curve(y, p, drop_intermediate=False)
    assert result["tpr_at_fpr_1"] == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)
    assert result["tpr_at_fpr_5"] == pytest.approx(tpr[fpr <= 0.05].max(), abs=1e-12)
    at = np.interp(0, fpr + tpr - 1, np.arange(len(fpr)))
    assert result["eer"] == pytest.approx(np.interp(at, np.arange(len(fpr)), fpr), abs=1e-9)


@pytest.mark.parametrize("scale", [1, 3000])
def test_the_scale_of_logits_does_not_change_how_they_rank(scale):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 150)
    logits = scale * (rng.normal(0, 1, 300) + y)
    result = metrics(y, expit(logits), n_boot=50, logits=logits)
    assert result["auc"] == pytest.approx(sklearn.roc_auc_score(y, logits), abs=1e-12)
    assert result["ap"] == pytest.approx(sklearn.average_precision_score(y, logits), abs=1e-12)
    assert result["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(y, logits >= 0), abs=1e-12)
    assert paired(y, logits, logits / 7, n_boot=50)["difference"] == 0


def test_all_scores_equal_is_chance():
    result = metrics([0, 1, 0, 1], [0.3] * 4)
    assert (result["auc"], result["ap"], result["eer"], result["balanced_accuracy"]) == (0.5, 0.5, 0.5, 0.5)
    assert result["auc_ci95"] == [0.5, 0.5]
    assert result["tpr_at_fpr_5"] == 0


@pytest.mark.parametrize(("p", "auc", "eer"), [([0.1, 0.2, 0.8, 0.9], 1, 0), ([0.9, 0.8, 0.2, 0.1], 0, 1)])
def test_perfect_and_reversed_order(p, auc, eer):
    result = metrics([0, 0, 1, 1], p, n_boot=0)
    assert (result["auc"], result["eer"]) == (auc, eer)


def test_calibration_error_by_hand():
    # Two bins of equal weight: 0.2 said and 0 fakes; 0.9 said and half fakes.
    assert metrics([0, 0, 0, 1], [0.2, 0.2, 0.9, 0.9], n_boot=0)["ece"] == pytest.approx((0.2 + 0.4) / 2)
    assert metrics([0, 1], [0.0, 1.0], n_boot=0)["ece"] == 0


@pytest.mark.parametrize(("label", "reason"), [(0, "no fake items"), (1, "no real items")])
def test_one_class_gives_null_and_the_reason(label, reason):
    result = metrics([label] * 5, [0.2, 0.4, 0.6, 0.8, 0.9])
    for name in ("auc", "auc_ci95", "ap", "eer", "balanced_accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5"):
        assert result[name] is None
        assert result["notes"][name] == reason
    assert result["log_loss"] > 0
    low, high = result["ci95"]["brier"]
    assert low <= result["brier"] <= high


def test_nothing_scored():
    result = metrics([], [])
    assert result["auc"] is None
    assert result["log_loss"] is None
    assert result["notes"]["log_loss"] == "no items"
    assert (result["n_real"], result["n_fake"]) == (0, 0)


def test_few_reals_are_said():
    rng = np.random.default_rng(0)
    notes = metrics([0] * 40 + [1] * 40, rng.random(80), n_boot=0)["notes"]
    assert "40 real items cannot show a rate of 1%" in notes["tpr_at_fpr_1"]
    assert "tpr_at_fpr_5" not in notes


def test_interval_holds_the_value_and_repeats(scored):
    y, p = scored
    first, again = metrics(y, p), metrics(y, p)
    assert first == again
    assert first["auc_ci95"][0] < first["auc"] < first["auc_ci95"][1]
    assert metrics(y, p, seed=1)["auc_ci95"] != first["auc_ci95"]
    for name, (low, high) in first["ci95"].items():
        assert low <= first[name] <= high, name


def test_interval_is_that_of_a_plain_bootstrap(scored):
    y, p = scored
    rng = np.random.default_rng(7)
    drawn = []
    for _ in range(1000):
        rows = rng.integers(len(y), size=len(y))
        drawn.append(sklearn.roc_auc_score(y[rows], p[rows]))
    assert metrics(y, p, seed=3)["auc_ci95"] == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.005)


def test_groups_widen_the_interval(scored):
    """Ten copies of each item are no more evidence than one: resampled by group, the interval stays as wide."""
    y, p = scored
    item = np.repeat(np.arange(len(y)), 10)
    width = np.ptp(metrics(y, p)["auc_ci95"])
    by_group = metrics(y[item], p[item], groups=item)
    assert by_group["n_groups"] == len(y)
    assert np.ptp(by_group["auc_ci95"]) == pytest.approx(width, rel=0.15)
    assert np.ptp(metrics(y[item], p[item])["auc_ci95"]) < width / 2


def test_one_group_has_no_interval():
    result = metrics([0, 1], [0.2, 0.8], groups=["a", "a"])
    assert result["auc"] == 1
    assert result["auc_ci95"] is None
    assert "single group" in result["notes"]["auc_ci95"]


# Three real people; the fakes are of one of their own, or of one of the three.
@pytest.mark.parametrize("groups", [[*"aabbcc", *"dddddd"], [*"aabbcc", *"aaaaaa"]])
def test_a_class_of_one_group_has_no_interval(groups):
    rng = np.random.default_rng(0)
    y, a, b = np.repeat([0, 1], 6), rng.random(12), rng.random(12)
    result, difference = metrics(y, a, groups), paired(y, a, b, groups)
    both = paired_mean([(y, a, b, groups), (y, a, b, np.arange(12))])
    reason = "no interval from a single group of fake items"
    assert (result["auc_ci95"], result["ci95"], result["notes"]["auc_ci95"]) == (None, {}, reason)
    assert (difference["difference_ci95"], difference["p_value"]) == (None, None)
    assert both["difference_ci95"] is None
    assert difference["notes"] == both["notes"] == {"difference_ci95": reason}


def test_groups_that_hold_both_classes_have_an_interval():
    rng = np.random.default_rng(0)
    y, a, b, groups = np.tile([0, 1], 6), rng.random(12), rng.random(12), np.repeat([*"abc"], 4)
    assert np.ptp(metrics(y, a, groups)["auc_ci95"]) > 0
    result = paired(y, a, b, groups)
    assert np.ptp(result["difference_ci95"]) > 0
    assert result["notes"] == {}


def test_resamples_of_one_class_are_left_out_and_counted():
    result = metrics([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], n_boot=200)
    assert result["auc_ci95"] == [1, 1]
    assert "one class only" in result["notes"]["ci95"]


@pytest.mark.parametrize(
    ("labels", "scores", "groups"),
    [
        ([0, 1], [0.5], None),
        ([0, 2], [0.5, 0.5], None),
        ([0, 1], [0.5, float("nan")], None),
        ([0, 1], [-0.1, 1.0], None),
        ([0, 1], [0, 1], ["a"]),
    ],
)
def test_bad_input_is_named(labels, scores, groups):
    with pytest.raises(DataError):
        metrics(labels, scores, groups)


def test_paired_bootstrap_sees_a_difference_the_separate_intervals_hide():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 200)
    hard = rng.normal(0, 1, 400) + y
    better = 1 / (1 + np.exp(-(hard + 0.1 * (2 * y - 1))))
    worse = 1 / (1 + np.exp(-hard))
    result = paired(y, better, worse)
    assert metrics(y, worse)["auc_ci95"][1] > metrics(y, better)["auc_ci95"][0]
    assert result["difference_ci95"][0] > 0
    assert result["p_value"] < 0.01
    swapped = paired(y, worse, better)
    assert swapped["difference"] == -result["difference"]


def test_paired_needs_both_classes():
    with pytest.raises(DataError, match="one class"):
        paired([1, 1], [0.1, 0.2], [0.3, 0.4])


def test_a_thousand_resamples_of_four_thousand_items_are_quick():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    start = time.process_time()
    metrics(y, rng.random(4000))
    assert time.process_time() - start < 3
