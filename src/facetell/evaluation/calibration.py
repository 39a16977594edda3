"""Logits become probabilities, and thresholds keep the false-positive rates they promise; both go into the card.

One half of the development groups fits, the other half reports. Every class weighs the same throughout, because P(fake)
assumes that half of all videos are fake. Thresholds are read off real faces of other sources; the worst decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GroupKFold

from facetell.detectors import Calibration, DetectorCard, Threshold
from facetell.errors import DataError
from facetell.evaluation.metrics import ECE_BINS, metrics, resamples, share
from facetell.evaluation.protocol import resampling_unit
from facetell.evaluation.scoring import Scored

RATES = (0.05, 0.01, 0.001)
ENOUGH = 3  # times 1 / rate: real groups of one source that a rate needs
MOST_WRONG = 0.05  # of the decided videos, where real and fake are equally many
FOLDS = 5


def calibrate(
    card: DetectorCard,
    development: Mapping[str, Scored],
    reals: Mapping[str, Scored],
    rates: Sequence[float] = RATES,
    seed: int = 0,
    n_boot: int = 1000,
) -> DetectorCard:
    """The card with a calibration, thresholds, and under metrics["calibration"] what they are worth.

    Args:
        card: the detector's, whose raw logits the scores hold.
        development: condition (such as "clean" and "CRF 32") -> the same labelled videos, scored.
        reals: source -> real videos of other people than the training's, scored; one entry per source and condition.
        rates: false-positive rates to give thresholds for.
        seed: of the halves and the resampling.
        n_boot: resamples for the intervals.

    Raises:
        DataError: one class or too few groups, or a detector that ranks no better than chance.
    """
    table = pd.concat([_development(scored, name) for name, scored in development.items()], ignore_index=True)
    fits = halves(table.group.to_numpy(), seed)
    for name, part in (("first", table[fits]), ("second", table[~fits])):
        if part.label.nunique() < 2 or part.unit.nunique() < FOLDS:
            raise DataError(
                f"The {name} half of the development data holds one class only, or fewer than {FOLDS} groups.",
                "Give more groups, of both classes.",
            )
    first, second = table[fits], table[~fits]
    chosen, losses = choose(first.label.to_numpy(), first.logit.to_numpy(), first.unit.to_numpy())
    curves = {source: apply(chosen, scored.videos.logit.to_numpy()) for source, scored in reals.items()}
    counts = {source: scored.videos.group.nunique() for source, scored in reals.items()}
    calibrated = apply(chosen, first.logit.to_numpy())
    thresholds = tuple(threshold_at(rate, curves, counts, first.label.to_numpy(), calibrated) for rate in rates)
    y, after = second.label.to_numpy(), apply(chosen, second.logit.to_numpy())
    report = {
        "coverage": {name: _coverage(scored) for name, scored in {**development, **reals}.items()},
        "fitted_on": {"n_real": int((first.label == 0).sum()), "n_fake": int(first.label.sum())},
        "cross_validated_log_loss": losses,
        "before": balanced(y, expit(second.logit.to_numpy()), second.unit.to_numpy(), n_boot, seed),
        "after": balanced(y, expit(after), second.unit.to_numpy(), n_boot, seed),
        "held_out": metrics(y, expit(after), second.unit.to_numpy(), n_boot, seed),
        "decisions": {
            f"{t.false_positive_rate:g}": {
                name: decisions(y[second.condition == name], after[second.condition == name], t) for name in development
            }
            for t in thresholds
            if t.logit is not None
        },
        "false_positives": {
            source: {
                f"{t.false_positive_rate:g}": share(int((values >= t.logit).sum()), len(values))
                for t in thresholds
                if t.logit is not None
            }
            for source, values in curves.items()
        },
    }
    whole = all(t.logit is not None for t in thresholds if t.false_positive_rate >= 0.01)
    return replace(
        card,
        calibration=chosen,
        thresholds=thresholds,
        provisional=not whole,
        metrics={**card.metrics, "calibration": report},
    )


def halves(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """(N,) whether an item's group belongs to the fitting half; groups are dealt out at random, half to each.

    >>> fits = halves(np.array(["a", "a", "b", "c", "d"]))
    >>> bool(fits[0] == fits[1]), int(fits[1:].sum())
    (True, 2)
    """
    names = np.unique(groups)
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    return np.isin(groups, chosen)


def apply(calibration: Calibration, logits: np.ndarray) -> np.ndarray:
    """Calibrated logits, one by one as a scan does it."""
    return np.array([calibration(float(value)) for value in logits])


def choose(labels: np.ndarray, logits: np.ndarray, groups: np.ndarray) -> tuple[Calibration, dict[str, float]]:
    """The method with the lower cross-validated log loss, fitted to all of the data, and every method's loss.

    Raises:
        DataError: the detector ranks no better than chance.
    """
    methods = {"temperature": fit_temperature, "isotonic": fit_isotonic}
    losses = {"none": _log_loss(labels, logits)}
    for name, fit in methods.items():
        held_out = np.empty(len(logits))
        for seen, unseen in GroupKFold(FOLDS).split(logits, labels, groups):
            held_out[unseen] = apply(fit(labels[seen], logits[seen]), logits[unseen])
        losses[name] = _log_loss(labels, held_out)
    best = min(methods, key=lambda name: losses[name])
    return methods[best](labels, logits), losses


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """logit / temperature + bias with the least balanced log loss (Platt, 1999; Guo et al., 2017).

    >>> fitted = fit_temperature(np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.array([-4.0, -4, -4, -4, 4, 4, 4, 4]))
    >>> round(fitted.temperature, 3), abs(round(fitted.bias, 3))  # three of four right at logit 4: its truth is ln 3
    (3.641, 0.0)
    """
    found = minimize(lambda x: _log_loss(labels, x[0] * logits + x[1]), np.array([1.0, 0.0]), method="BFGS")
    slope, bias = found.x
    if not slope > 0:
        raise DataError("The detector ranks these videos no better than chance, so nothing can calibrate it.")
    return Calibration("temperature", temperature=float(1 / slope), bias=float(bias))


def fit_isotonic(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """The best non-decreasing curve (Zadrozny & Elkan, 2002); its ends stay as far from certainty as n items warrant.

    Raises:
        DataError: the best curve is flat.
    """
    least = 1 / (len(labels) + 2)
    curve = IsotonicRegression(y_min=least, y_max=1 - least)
    curve.fit(logits.astype(np.float64), labels, sample_weight=_weights(labels))
    x, y = curve.X_thresholds_, logit(curve.y_thresholds_)
    if len(x) < 2 or y[0] == y[-1]:
        raise DataError("The detector ranks these videos no better than chance, so nothing can calibrate it.")
    return Calibration("isotonic", x=tuple(x.tolist()), y=tuple(y.tolist()))


def threshold_at(
    rate: float, reals: Mapping[str, np.ndarray], groups: Mapping[str, int], labels: np.ndarray, logits: np.ndarray
) -> Threshold:
    """The calibrated logit that no more than `rate` of the real videos of any source reach.

    Sources with fewer than 1 / rate groups cannot show the rate and do not decide; at least one must have three times
    as many, or the threshold is None.

    Args:
        rate: of false positives.
        reals: source -> calibrated logits of real videos.
        groups: source -> independent groups among them.
        labels: (N,) of the fitting half, for `real_below`.
        logits: (N,) calibrated, likewise.
    """
    needed = math.ceil(ENOUGH / rate - 1e-9)
    largest = max(groups.values(), default=0)
    if largest < needed:
        reason = f"needs {needed} real groups of one source; the largest has {largest}"
        return Threshold(rate, None, largest, reason)
    able = {source: _exceeded_by(values, rate) for source, values in reals.items() if groups[source] * rate >= 1}
    worst = max(able, key=lambda source: able[source])
    source = f"{worst}, the worst of {', '.join(sorted(able))}"
    return Threshold(rate, able[worst], groups[worst], source, real_below(labels, logits, able[worst]))


def real_below(labels: np.ndarray, logits: np.ndarray, fake_from: float) -> float:
    """The highest bound of "clearly real" with at most MOST_WRONG wrong of the decided, real and fake weighing alike.

    Where no bound achieves that, the lowest logit there is, below which nothing like these videos lies.
    """
    reals, fakes = np.sort(logits[labels == 0]), np.sort(logits[labels == 1])
    bounds = np.unique(np.append(logits[logits < fake_from], fake_from))
    false_alarms, found = (reals >= fake_from).mean(), (fakes >= fake_from).mean()
    missed = np.searchsorted(fakes, bounds) / len(fakes)
    cleared = np.searchsorted(reals, bounds) / len(reals)
    decided = false_alarms + found + missed + cleared
    good = bounds[(false_alarms + missed <= MOST_WRONG * decided) & (decided > 0)]
    return float(good[-1] if len(good) else logits.min())


def decisions(labels: np.ndarray, logits: np.ndarray, threshold: Threshold) -> dict[str, Any]:
    """What the band of a threshold does: shares `undecided`, `wrong` of the decided, `found` fakes, `false_alarms`."""
    assert threshold.logit is not None
    fake = logits >= threshold.logit
    real = ~fake & (logits < (0.0 if threshold.real_below is None else threshold.real_below))
    wrong = (fake & (labels == 0)) | (real & (labels == 1))
    n_real, n_fake = int((labels == 0).sum()), int((labels == 1).sum())
    return {
        "undecided": share(int((~fake & ~real).sum()), len(labels)),
        "wrong": share(int(wrong.sum()), int((fake | real).sum())),
        "found": share(int((fake & (labels == 1)).sum()), n_fake),
        "false_alarms": share(int((fake & (labels == 0)).sum()), n_real),
    }


def balanced(
    labels: np.ndarray, p_fake: np.ndarray, groups: np.ndarray, n_boot: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Log loss, Brier score and ECE where both classes weigh the same, as P(fake) assumes, with 95 % intervals.

    >>> balanced(np.array([0, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5]), np.arange(4), n_boot=0)["brier"]
    {'value': 0.25, 'ci95': None}
    """
    codes = np.unique(groups.astype(str), return_inverse=True)[1]
    value = _balanced(labels, p_fake, np.ones(len(labels)))
    rng = np.random.default_rng(seed)
    drawn = [_balanced(labels, p_fake, row) for weights in resamples(codes, n_boot, rng) for row in weights]
    whole = [one for one in drawn if all(math.isfinite(number) for number in one.values())]
    result: dict[str, Any] = {}
    for name, number in value.items():
        bounds = np.quantile([one[name] for one in whole], (0.025, 0.975)).tolist() if whole else None
        result[name] = {"value": number, "ci95": None if name == "ece" else bounds}
    return result | {"n_real": int((labels == 0).sum()), "n_fake": int((labels == 1).sum())}


def _balanced(labels: np.ndarray, p_fake: np.ndarray, times: np.ndarray) -> dict[str, float]:
    of_class = np.array([times[labels == 0].sum(), times[labels == 1].sum()])
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = times / of_class[labels.astype(int)] / 2
    p = np.clip(p_fake, 1e-15, 1 - 1e-15)
    bins = np.minimum((p_fake * ECE_BINS).astype(int), ECE_BINS - 1)
    return {
        "log_loss": float(-(weights * np.where(labels == 1, np.log(p), np.log1p(-p))).sum()),
        "brier": float((weights * (p_fake - labels) ** 2).sum()),
        "ece": float(np.abs(np.bincount(bins, weights * (labels - p_fake), ECE_BINS)).sum()),
    }


def _development(scored: Scored, condition: str) -> pd.DataFrame:
    """Label, raw logit, the group that halves keep whole, and the unit of resampling of every video."""
    videos = scored.videos
    _, unit = resampling_unit(videos)
    return pd.DataFrame(
        {
            "condition": condition,
            "label": videos.label.astype(int),
            "logit": videos.logit.astype(float),
            "group": videos.dataset + ":" + videos.group,
            "unit": unit,
        }
    )


def _coverage(scored: Scored) -> dict[str, Any]:
    unscored = scored.items.reason[scored.items.reason != ""].value_counts()
    return {"items": len(scored.items), "unscored": {str(reason): int(n) for reason, n in unscored.items()}}


def _exceeded_by(values: np.ndarray, rate: float) -> float:
    """A logit that at most this share of the values reach: midway to the next higher value, where it lies higher."""
    ranked = np.sort(values)[::-1]
    allowed = int(rate * len(ranked) + 1e-9)
    beyond = ranked[allowed]
    middle = (beyond + ranked[allowed - 1]) / 2 if allowed else beyond
    return float(max(middle, np.nextafter(beyond, np.inf)))


def _weights(labels: np.ndarray) -> np.ndarray:
    """Both classes sum to a half."""
    return np.where(labels == 1, 0.5 / (labels == 1).sum(), 0.5 / (labels == 0).sum())


def _log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    return float((_weights(labels) * np.logaddexp(0, np.where(labels == 1, -logits, logits))).sum())
