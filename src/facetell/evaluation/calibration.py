"""Logits become probabilities, and thresholds keep the false-positive rates they promise; both go into the card.

One half of the development groups fits, the other half reports. Every class weighs the same in a fit, because P(fake)
assumes that half of all videos are fake. Thresholds are read off real faces of other sources, the band between them off
the development sources; each time the worst source decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta
from sklearn.isotonic import IsotonicRegression

from facetell.detectors import Calibration, DetectorCard, Scope, Threshold
from facetell.errors import DataError
from facetell.evaluation.folds import folds
from facetell.evaluation.metrics import ECE_BINS, interval, metrics, numbered, resamples, share
from facetell.evaluation.protocol import units
from facetell.evaluation.scoring import Scored
from facetell.report.text import count
from facetell.scanning.verdict import USUAL_RATE

RATES = (0.05, 0.01, 0.001)
ENOUGH = 3  # times 1 / rate: real groups of one source that a rate needs
DEFAULT_RATE = USUAL_RATE  # from here down, FAKE keeps to MOST_WRONG too
MOST_WRONG = 0.05  # of the videos called REAL, and of those called FAKE
SURE = 0.8  # that MOST_WRONG holds for REAL over all sources together
OUTER = 0.02  # share of a source's videos that may lie beyond the scope
VIEWS = ("blend", "texture")
FOLDS = 5
CLASS_GROUPS = 2  # of each class in each half: one to fit to and one to judge by
WORTH = 0.01  # nats of log loss that isotonic regression must save

ViewsRule = Literal["ignored", "never", "margin"]
"""A person whose views disagree strongly is judged as any other, never decided, or called FAKE only further up."""


def calibrate(
    card: DetectorCard,
    development: Mapping[str, Scored],
    reals: Mapping[str, Scored],
    rates: Sequence[float] = RATES,
    seed: int = 0,
    n_boot: int = 1000,
    views: ViewsRule = "margin",
) -> DetectorCard:
    """The card with a calibration, thresholds, and under metrics["calibration"] what they are worth.

    Args:
        card: the detector's, whose raw logits the scores hold.
        development: condition (such as "clean" and "CRF 32") -> the same labelled videos, scored.
        reals: source -> real videos of other people than the training's, scored; one entry per source and condition.
        rates: false-positive rates to give thresholds for.
        seed: of the halves and the resampling.
        n_boot: resamples for the intervals.
        views: what to do with a person whose views disagree strongly.

    Raises:
        DataError: too few groups of a class or in all, fakes among `reals`, or a detector that ranks no better than
            chance.
    """
    table = pd.concat([table_of(scored, name) for name, scored in development.items()], ignore_index=True)
    table, fits = halved(table, seed)  # here, not for every condition: each may lose other videos
    chosen, losses = choose(*(table.loc[fits, name].to_numpy() for name in ("label", "logit", "unit")))
    photographs = {source: table_of(scored, source) for source, scored in reals.items()}
    photographs = {source: rows.assign(unit=units(rows)) for source, rows in photographs.items()}
    if mixed := [source for source, rows in photographs.items() if rows.label.any()]:
        raise DataError(f"{mixed[0]} holds fakes; thresholds are read off real faces.", "Give it as development data.")
    everything = [*[rows for _, rows in table.groupby("source")], *photographs.values()]
    scope, no_views = _scope(card, table[fits], everything)
    if views == "ignored":
        scope = replace(scope, views={}, views_apart=None)
    card = replace(card, calibration=chosen, scope=scope)
    if views == "margin" and scope.views:
        without = replace(card, scope=replace(scope, views_margin=0.0))
        margin = _margin([place(rows, without) for rows in _reals(table[fits], photographs).values()])
        card = replace(card, scope=replace(scope, views_margin=margin))
    photographs = {source: place(rows, card) for source, rows in photographs.items()}
    table = place(table, card)
    first, second = table[fits], table[~fits]
    thresholds = _thresholds(first, photographs, rates)
    report = {
        "coverage": {
            name: {"items": len(scored.items), "unscored": scored.unscored}
            for name, scored in {**development, **reals}.items()
        },
        "fitted_on": {"n_real": int((first.label == 0).sum()), "n_fake": int(first.label.sum())},
        "cross_validated_log_loss": losses,
        "views": {"none": no_views} if no_views else _agreement(second),
        **_held_out(second, photographs, thresholds, n_boot, seed),
    }
    whole = all(t.logit is not None for t in thresholds if t.false_positive_rate >= DEFAULT_RATE)
    return replace(
        card,
        thresholds=thresholds,
        provisional=not whole,
        metrics={**card.metrics, "calibration": report},
    )


def halved(table: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """The development videos with their `unit`, and which of them are of the fitting half, (N,) bool.

    Args:
        table: as of `table_of`, or a manifest, by which it is known before anything is scored whether it is enough.
        seed: of the halves.

    Raises:
        DataError: too few groups of a class or in all.
    """
    table = table.assign(unit=units(table))
    fits = halves((table.dataset + ":" + table.group).to_numpy(), table.dataset.to_numpy(), seed)
    for name, half in (("first", table[fits]), ("second", table[~fits])):
        real, fake = (half.unit[half.label == label].nunique() for label in (0, 1))
        whole = half.unit.nunique()
        if min(real, fake) < CLASS_GROUPS or whole < FOLDS:
            raise DataError(
                f"The {name} half of the development data has {count(real, 'group')} with real videos and {fake:,} "
                f"with fakes, {whole:,} in all; it needs {CLASS_GROUPS} of each, and {FOLDS} in all.",
                "Give more groups, of both classes.",
            )
    return table, fits


def halves(groups: np.ndarray, sources: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """(N,) whether an item's group belongs to the fitting half; of each source's groups half are drawn.

    >>> fits = halves(np.array(["a", "a", "b", "c", "d"]))
    >>> bool(fits[0] == fits[1]), int(fits[1:].sum())
    (True, 2)
    """
    rng = np.random.default_rng(seed)
    sources = np.zeros(len(groups)) if sources is None else sources
    names = [np.unique(groups[sources == source]) for source in np.unique(sources)]
    return np.isin(groups, np.concatenate([rng.permutation(some)[: len(some) // 2] for some in names]))


def apply(calibration: Calibration, logits: np.ndarray) -> np.ndarray:
    """Calibrated logits, one by one as a scan does it."""
    return np.array([calibration(float(value)) for value in logits])


def choose(labels: np.ndarray, logits: np.ndarray, groups: np.ndarray) -> tuple[Calibration, dict[str, float]]:
    """The method to calibrate with, fitted to all of the data, and every method's cross-validated log loss.

    Isotonic regression has to be better by WORTH and by more than a standard error over the folds (Breiman et al.,
    1984): it makes one of many scores, above all at the ends, where thresholds lie.

    Raises:
        DataError: the detector ranks no better than chance.
    """
    methods = {"temperature": fit_temperature, "isotonic": fit_isotonic}
    parts = folds(labels, groups, FOLDS)
    losses = {
        name: np.array(
            [_log_loss(labels[out], apply(fit(labels[seen], logits[seen]), logits[out])) for seen, out in parts]
        )
        for name, fit in methods.items()
    }
    gain = losses["temperature"] - losses["isotonic"]
    best = "isotonic" if gain.mean() > max(WORTH, gain.std(ddof=1) / math.sqrt(len(gain))) else "temperature"
    means = {"none": _log_loss(labels, logits)} | {name: float(loss.mean()) for name, loss in losses.items()}
    return methods[best](labels, logits), means


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


def groups_for(rate: float) -> int:
    """Real groups of one source that the threshold of a false-positive rate needs.

    >>> groups_for(0.05), groups_for(0.001)
    (60, 3000)
    """
    return math.ceil(ENOUGH / rate - 1e-9)


def threshold_at(
    rate: float,
    reals: Mapping[str, np.ndarray],
    groups: Mapping[str, int],
    development: Mapping[str, tuple[np.ndarray, np.ndarray]],
    bound: float,
    floor: float = -math.inf,
) -> Threshold:
    """The calibrated logit that no more than `rate` of the real videos of any source reach.

    Sources with fewer than 1 / rate groups cannot show the rate and do not decide; at least one must have three times
    as many, or the threshold is None. At the default rate and below, the threshold is raised, if need be, until of the
    development videos that it calls FAKE no more than MOST_WRONG are real, in any source.

    Args:
        rate: of false positives.
        reals: source -> calibrated logits of real videos.
        groups: source -> groups among them; originals, or videos, where a data set gives too few.
        development: source -> labels and calibrated logits of the fitting half.
        bound: where "clearly real" ends; see `real_below`.
        floor: the threshold of the next larger rate, on which sources decide that are too small for this one.
    """
    needed = groups_for(rate)
    largest = max(groups.values(), default=0)
    if largest < needed:
        reason = f"needs {needed} real groups of one source; the largest has {largest}"
        return Threshold(rate, None, largest, reason)
    able = {source: _exceeded_by(values, rate) for source, values in reals.items() if groups[source] * rate >= 1}
    worst = max(able, key=lambda source: able[source])
    least, source = able[worst], f"{worst}, the worst of {', '.join(sorted(able))}"
    if floor > least:
        least, source = floor, f"{source}; raised to that of a larger rate, which smaller sources ask for"
    if rate <= DEFAULT_RATE and development:
        raised = {name: fake_from(*values, least) for name, values in development.items()}
        name = max(raised, key=lambda name: raised[name])
        if raised[name] > least:
            least, source = raised[name], f"{source}; raised, as too many called FAKE in {name} were real"
    return Threshold(rate, least, groups[worst], source, min(bound, least))


def fake_from(labels: np.ndarray, logits: np.ndarray, least: float) -> float:
    """The lowest threshold, from `least` up, at which no more than MOST_WRONG of the videos called FAKE are real.

    >>> fake_from(np.array([0, 0, 1, 1]), np.array([-1.0, 2.0, 1.0, 3.0]), least=0.0)
    3.0
    """
    reals, fakes = np.sort(logits[labels == 0]), np.sort(logits[labels == 1])
    bounds = np.append(least, np.unique(logits[logits > least]))
    alarms = len(reals) - np.searchsorted(reals, bounds)
    found = len(fakes) - np.searchsorted(fakes, bounds)
    good = bounds[alarms <= MOST_WRONG * (alarms + found)]
    return float(good[0]) if len(good) else float(np.nextafter(logits.max(), np.inf))


def real_below(labels: np.ndarray, logits: np.ndarray, sure: float | None = None) -> float:
    """The highest bound of "clearly real" below which no more than MOST_WRONG of the videos are fake.

    Where no bound achieves that, the lowest logit there is, below which nothing like these videos lies.

    Args:
        labels: (N,) 0 or 1.
        logits: (N,) calibrated.
        sure: ask it of the share's upper bound (Clopper & Pearson) with this certainty, not of the share itself, as
            the bound is chosen on the very data (Geifman & El-Yaniv, 2017).

    >>> y, logits = np.repeat([0, 1], 98), np.append(np.arange(-98.0, 0), np.arange(-8.0, 90))
    >>> real_below(y, logits), real_below(y, logits, sure=0.9)
    (-3.0, -7.0)
    """
    reals, fakes = np.sort(logits[labels == 0]), np.sort(logits[labels == 1])
    bounds = np.unique(logits)
    missed, cleared = np.searchsorted(fakes, bounds), np.searchsorted(reals, bounds)
    wrong = missed / np.maximum(missed + cleared, 1)
    if sure is not None:
        wrong = np.maximum(wrong, beta.ppf(sure, missed + 1, np.maximum(cleared, 1e-9)))
    good = bounds[(wrong <= MOST_WRONG) & (missed + cleared > 0)]
    return float(good[-1] if len(good) else logits.min())


def place(rows: pd.DataFrame, card: DetectorCard) -> pd.DataFrame:
    """The rows of `table_of` with what a card's calibration and scope make of them.

    Adds the `calibrated` logit; whether the video lies `within` the scope, beyond which nothing is decided; whether its
    views are `apart`; and `reach`, what counts against the threshold: the calibrated logit, less the margin where they
    are. See `facetell.scanning.verdict`.
    """
    scope = card.scope
    assert scope is not None
    calibrated, within = apply(card.calibration, rows.logit.to_numpy()), rows.height.to_numpy() >= scope.face_height
    if scope.bits_per_pixel is not None:
        within &= ~(rows.bits_per_pixel.to_numpy(float) < scope.bits_per_pixel)
    apart = np.zeros(len(rows), bool)
    if scope.views_apart is not None:
        apart = np.array([scope.apart(parts) for parts in rows.parts]) > scope.views_apart
        if scope.views_margin is None:
            within &= ~apart
    reach = calibrated - np.where(apart, scope.views_margin or 0.0, 0.0)
    return rows.assign(calibrated=calibrated, within=within, apart=apart, reach=reach)


def decisions(rows: pd.DataFrame, threshold: Threshold) -> dict[str, Any]:
    """What a threshold, its band and the scope do: shares `undecided`, `wrong` of the decided, `found`, `false_alarms`.

    Args:
        rows: of videos, as from `place`.
        threshold: one that has a logit.
    """
    assert threshold.logit is not None
    names = ("label", "calibrated", "reach", "within", "apart")
    label, logits, reach, within, apart = (rows[name].to_numpy() for name in names)
    fake = within & (reach >= threshold.logit)
    real = within & ~apart & ~fake & (logits < (-math.inf if threshold.real_below is None else threshold.real_below))
    wrong = (fake & (label == 0)) | (real & (label == 1))
    n_real, n_fake = int((label == 0).sum()), int((label == 1).sum())
    return {
        "undecided": share(int((~fake & ~real).sum()), len(rows)),
        "wrong": share(int(wrong.sum()), int((fake | real).sum())),
        "found": share(int((fake & (label == 1)).sum()), n_fake),
        "false_alarms": share(int((fake & (label == 0)).sum()), n_real),
    }


def balanced(
    labels: np.ndarray, p_fake: np.ndarray, groups: np.ndarray, n_boot: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Log loss, Brier score and ECE where both classes weigh the same, as P(fake) assumes, with 95 % intervals.

    >>> balanced(np.array([0, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5]), np.arange(4), n_boot=0)["brier"]
    {'value': 0.25, 'ci95': None}
    """
    draws = resamples(numbered(groups, len(labels)), n_boot, np.random.default_rng(seed))
    drawn = [_balanced(labels, p_fake, row) for weights in draws for row in weights]
    result: dict[str, Any] = {
        name: {"value": number, "ci95": None if name == "ece" else interval(np.array([one[name] for one in drawn]))}
        for name, number in _balanced(labels, p_fake, np.ones(len(labels))).items()
    }
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


def _thresholds(
    first: pd.DataFrame, photographs: Mapping[str, pd.DataFrame], rates: Sequence[float]
) -> tuple[Threshold, ...]:
    """What the fitting half and the real faces of other sources allow; nothing beyond the scope has a say."""
    judged = first[first.within]
    agreed = judged[~judged.apart]
    able = {name: (rows.label.to_numpy(), rows.reach.to_numpy()) for name, rows in _able(judged).items()}
    bounds = [real_below(rows.label.to_numpy(), rows.reach.to_numpy()) for rows in _able(agreed).values()]
    together = [rows for _, rows in agreed.groupby("condition")]
    bounds += [real_below(rows.label.to_numpy(), rows.reach.to_numpy(), SURE) for rows in together]
    bound = min(bounds, default=math.inf)
    reals = _reals(first, photographs)
    reaching = {name: _reaching(rows) for name, rows in reals.items()}
    groups = {name: rows.unit.nunique() for name, rows in reals.items()}
    found: dict[float, Threshold] = {}
    floor = -math.inf
    for rate in sorted(rates, reverse=True):
        found[rate] = one = threshold_at(rate, reaching, groups, able, bound, floor)
        floor = floor if one.logit is None else one.logit
    return tuple(found[rate] for rate in rates)


def _held_out(
    second: pd.DataFrame,
    photographs: Mapping[str, pd.DataFrame],
    thresholds: Sequence[Threshold],
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    """What calibration and thresholds are worth on the half that was not fitted, and on the other sources' reals."""
    y, raw, after, unit = (second[name].to_numpy() for name in ("label", "logit", "calibrated", "unit"))
    stated = {f"{t.false_positive_rate:g}": t for t in thresholds if t.logit is not None}
    unseen = {str(name): rows for name, rows in second.groupby("source")}
    others = {f"{name}, held out": rows[rows.label == 0] for name, rows in unseen.items() if (rows.label == 0).any()}
    reals = {**photographs, **others}
    return {
        "before": balanced(y, expit(raw), unit, n_boot, seed),
        "after": balanced(y, expit(after), unit, n_boot, seed),
        "held_out": metrics(y, expit(after), unit, n_boot, seed, logits=after),
        "decisions": {
            rate: {name: decisions(rows, threshold) for name, rows in unseen.items()}
            for rate, threshold in stated.items()
        },
        "false_positives": {
            name: {rate: decisions(rows, threshold)["false_alarms"] for rate, threshold in stated.items()}
            for name, rows in reals.items()
        },
    }


def _reals(first: pd.DataFrame, photographs: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Source -> the real videos that thresholds are read off."""
    return {**photographs, **{str(name): rows for name, rows in first[first.label == 0].groupby("source")}}


def _margin(reals: Sequence[pd.DataFrame]) -> float | None:
    """How far above the threshold of the others a person whose views disagree has to reach.

    As far as it takes for no more than DEFAULT_RATE of the real videos of any source, both kinds together, to be called
    FAKE; None where no source has enough groups to show that rate.
    """
    able = [rows for rows in reals if rows.unit.nunique() * DEFAULT_RATE >= 1]
    if not able:
        return None
    others = [np.where(rows.within & ~rows.apart, rows.calibrated, rows.calibrated.min()) for rows in able]
    least = max(_exceeded_by(values, DEFAULT_RATE) for values in others)
    needed = [least]
    for rows, values in zip(able, others, strict=True):
        left = int(DEFAULT_RATE * len(rows) + 1e-9) - int((values >= least).sum())
        apart = np.sort(rows.calibrated[rows.within & rows.apart])[::-1]
        needed += [np.nextafter(value, np.inf) for value in apart[left : left + 1]]
    return float(max(needed) - least)


def table_of(scored: Scored, condition: str) -> pd.DataFrame:
    """What is needed of every video: among it the group that halves keep whole.

    Raises:
        DataError: no video could be scored.
    """
    videos = scored.videos
    if videos.empty:
        reasons = ", ".join(f"{number} {reason}" for reason, number in scored.unscored.items())
        raise DataError(f"No video of {condition!r} could be scored: {reasons or 'there is none'}.")
    return pd.DataFrame(
        {
            "dataset": videos.dataset,
            "source": videos.dataset + f" ({condition})",
            "condition": condition,
            "label": videos.label.astype(int),
            "logit": videos.logit.astype(float),
            **{name: videos[name] for name in ("group", "original", "video", "compression")},
            "height": videos.height.astype(float),
            "bits_per_pixel": videos.bits_per_pixel.astype(float),
            "parts": videos.parts,
        }
    )


def _able(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Sources with enough videos of both classes to show MOST_WRONG; of each condition, the smaller ones together."""
    found = {}
    for condition, rows in table.groupby("condition"):
        least = rows.groupby("source").label.transform(lambda y: min((y == 0).sum(), (y == 1).sum()))
        large = least * MOST_WRONG >= 1
        names = rows.source.where(large, f"the smaller ones together ({condition})")
        found |= {str(name): part for name, part in rows.groupby(names)}
    return {name: part for name, part in found.items() if part.label.value_counts().min() * MOST_WRONG >= 1}


def _scope(card: DetectorCard, first: pd.DataFrame, sources: Sequence[pd.DataFrame]) -> tuple[Scope, str]:
    """What all but OUTER of the videos of some source have; the reason where there are no views to compare."""
    bits = [rows.bits_per_pixel.dropna().quantile(OUTER) for rows in sources if rows.bits_per_pixel.notna().any()]
    height = min(float(rows.height.quantile(OUTER)) for rows in sources)
    scope = Scope(height, float(min(bits)) if bits else None)
    if card.kind != "frame" or not card.parts.keys() >= set(VIEWS):
        return scope, f"the detector does not give {' and '.join(VIEWS)} for single faces"
    labels = first.label.to_numpy()
    try:
        views = {name: fit_temperature(labels, np.array([parts[name] for parts in first.parts])) for name in VIEWS}
    except DataError as error:
        return scope, error.message
    scope = replace(scope, views=views, views_apart=math.inf)
    apart = pd.Series([scope.apart(parts) for parts in first.parts], index=first.index)
    return replace(scope, views_apart=float(apart.groupby(first.source).quantile(1 - OUTER).max())), ""


def _agreement(rows: pd.DataFrame) -> dict[str, Any]:
    """How often the joint score lies on the wrong side of zero where the views disagree strongly, and elsewhere."""
    apart = rows.apart.to_numpy()
    wrong = (rows.calibrated.to_numpy() >= 0) != (rows.label.to_numpy() == 1)
    return {
        name: share(int(wrong[which].sum()), int(which.sum()))
        for name, which in (("wrong_apart", apart), ("wrong_elsewhere", ~apart))
    }


def _reaching(rows: pd.DataFrame) -> np.ndarray:
    """What counts against the threshold, the lowest for videos beyond the scope: they are never called FAKE."""
    return np.where(rows.within, rows.reach, rows.reach.min())


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
