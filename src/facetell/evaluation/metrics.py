"""Scores and labels become numbers with intervals: how well a detector ranks, and how well its P(fake) is calibrated.

Every interval is a percentile bootstrap that draws whole groups (people, or source videos), because two items of one
group are not two observations. All resamples are computed at once from weighted counts, which is a hundred times faster
than calling a library once a resample; the tests hold the values against scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import trapezoid
from scipy.stats import binomtest

from facetell.errors import DataError
from facetell.report.text import count

RANKED = ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5")
PROPER = ("log_loss", "brier")
KEYS = ("auc", "auc_ci95", "ap", "eer", *PROPER, "balanced_accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5", "ece")
ECE_BINS = 15
_CELLS = 4_000_000  # resamples x items held in memory at once


def metrics(
    labels: ArrayLike,
    p_fake: ArrayLike,
    groups: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    threshold: float = 0.5,
    logits: ArrayLike | None = None,
) -> dict[str, Any]:
    """The numbers facetell states for one set of scored items.

    Args:
        labels: (N,) 0 for real, 1 for fake.
        p_fake: (N,) P(fake), 0…1; ties count half in the AUC.
        groups: (N,) what belongs together and is resampled as one; without it every item is its own group.
        n_boot: resamples for the intervals; 0 for none.
        seed: of the resampling; the same seed gives the same intervals.
        threshold: P(fake) at and above which an item counts as fake, for `balanced_accuracy`.
        logits: (N,) what P(fake) was made of, by which items are ranked: from 37 up P(fake) is 1 for all of them.

    Returns:
        `auc`, `ap` (average precision of FAKE), `eer` (error where false positives and misses are equally frequent,
        interpolated), `log_loss` (nats), `brier`, `balanced_accuracy` at `threshold`, `tpr_at_fpr_1` and `_5` (the
        largest share of fakes found with at most 1 % or 5 % of these reals called fake), `ece` (15 equal bins),
        `n_real`, `n_fake`, `n_groups`, `threshold`; `auc_ci95` and, for the others, `ci95` (metric -> [low, high]; none
        for `ece`, whose bootstrap is biased upwards). There is no interval where a class comes from one group only.
        What cannot be computed is None, and `notes` says why.

    Raises:
        DataError: lengths that differ, a label other than 0 and 1, a score that is not between 0 and 1, or a logit that
            is not finite.

    >>> result = metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], n_boot=0)
    >>> result["auc"], result["balanced_accuracy"], result["n_fake"]
    (0.75, 0.75, 2)
    >>> metrics([1, 1], [0.5, 0.9])["notes"]["auc"]
    'no real items'
    """
    y, p, group = _checked(labels, p_fake, groups)
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            "A score is not a probability between 0 and 1.", "Leave items without a score out, and count them."
        )
    _, ranked, _ = _checked(labels, p if logits is None else logits, groups)
    real, fake = int((y == 0).sum()), int((y == 1).sum())
    n_groups = int(group.max()) + 1 if len(group) else 0
    result: dict[str, Any] = dict.fromkeys(KEYS)
    result |= {"n_real": real, "n_fake": fake, "n_groups": n_groups, "threshold": threshold, "ci95": {}, "notes": {}}
    notes = result["notes"]
    if not len(y):
        notes |= dict.fromkeys(KEYS, "no items")
        return result
    result |= {"log_loss": float(_log_loss(y, p).mean()), "brier": float(((p - y) ** 2).mean()), "ece": _ece(y, p)}
    ranking = _Ranking(y, ranked, p >= threshold)
    both = bool(real and fake)
    if both:
        result |= {name: float(values[0]) for name, values in ranking.of(np.ones((1, len(y)))).items()}
        for rate, name in ((0.01, "tpr_at_fpr_1"), (0.05, "tpr_at_fpr_5")):
            if real * rate < 1:
                notes[name] = (
                    f"{count(real, 'real item')} cannot show a rate of {rate:.0%}: "
                    "this is the rate without any false positive"
                )
    else:
        notes |= dict.fromkeys((*RANKED, "auc_ci95"), "no fake items" if real else "no real items")
    lacking = _too_few_groups(y, group)
    if n_boot and lacking:
        notes["auc_ci95"] = lacking
    elif not n_boot:
        notes["auc_ci95"] = "no resampling was asked for"
    else:
        drawn = _bootstrap(y, p, group, ranking if both else None, n_boot, seed)
        result["ci95"] = {name: interval(values) for name, values in drawn.items()}
        result["auc_ci95"] = result["ci95"].pop("auc", None)
        if both and len(drawn["auc"]) < n_boot:
            notes["ci95"] = f"{n_boot - len(drawn['auc'])} of {n_boot} resamples held one class only and were left out"
    return result


def paired(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Whether detector A ranks the same items better than detector B: the difference of their AUCs, resampled together.

    Args:
        labels: (N,) 0 for real, 1 for fake.
        a: (N,) the scores of detector A, best its logits: only their order counts, and P(fake) is 1 for many of them.
        b: the same of detector B.
        groups: as for `metrics`.
        n_boot: resamples for the interval.
        seed: of the resampling.

    Returns:
        `auc_a`, `auc_b`, `difference` (A - B), `difference_ci95`, `p_value` (two-sided, of no difference), `n_real`,
        `n_fake`, `n_groups`, `notes`. Where a class comes from one group only there is neither interval nor p-value.

    Raises:
        DataError: as for `metrics`, a score that is not finite, or one class only.

    >>> same = paired([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.1, 0.2, 0.8, 0.9], n_boot=100)
    >>> same["difference"], same["p_value"]
    (0.0, 1.0)
    """
    y, scores_a, group = _checked(labels, a, groups)
    _, scores_b, _ = _checked(labels, b, groups)
    real, fake = int((y == 0).sum()), int((y == 1).sum())
    if not real or not fake:
        raise DataError("Two detectors cannot be compared on one class only.", "Give real and fake items.")
    lacking = _too_few_groups(y, group)
    n_boot = 0 if lacking else n_boot
    auc_a, auc_b, drawn = _compared(y, scores_a, scores_b, group, n_boot, seed)
    difference = drawn[np.isfinite(drawn)]
    tail = min((difference <= 0).sum(), (difference >= 0).sum())
    return {
        "auc_a": auc_a,
        "auc_b": auc_b,
        "difference": auc_a - auc_b,
        "difference_ci95": interval(difference),
        "p_value": float(min(1.0, 2 * (tail + 1) / (len(difference) + 1))) if n_boot else None,
        "n_real": real,
        "n_fake": fake,
        "n_groups": int(group.max()) + 1,
        "notes": {"difference_ci95": lacking} if lacking else {},
    }


def paired_mean(
    sets: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]], n_boot: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The mean over several sets of how much better detector A ranks than B, each set resampled by its own groups.

    Args:
        sets: labels, scores of A, scores of B and groups of each; see `paired`.
        n_boot: resamples for the interval.
        seed: of the resampling.

    Returns:
        `difference` (A - B), `difference_ci95`, `notes`. No interval, and a note, if `paired` has none for one of them.

    >>> paired_mean([([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.1, 0.9, 0.2, 0.8], [*"abcd"])], n_boot=0)["difference"]
    0.5
    """
    values, drawn, notes = [], [], {}
    for number, (labels, a, b, groups) in enumerate(sets):
        y, scores_a, group = _checked(labels, a, groups)
        _, scores_b, _ = _checked(labels, b, groups)
        auc_a, auc_b, differences = _compared(y, scores_a, scores_b, group, n_boot, (seed, number))
        values.append(auc_a - auc_b)
        drawn.append(differences)
        if lacking := _too_few_groups(y, group):
            notes["difference_ci95"] = lacking
    bounds = None if notes else interval(np.mean(drawn, axis=0))
    return {"difference": float(np.mean(values)), "difference_ci95": bounds, "notes": notes}


def _compared(
    y: np.ndarray, a: np.ndarray, b: np.ndarray, group: np.ndarray, n_boot: int, seed: int | tuple[int, int]
) -> tuple[float, float, np.ndarray]:
    """The AUC of two scores, and their difference in every resample."""
    first, second = _Ranking(y, a), _Ranking(y, b)
    once = np.ones((1, len(y)))
    drawn = resampled(lambda weights: first.auc(weights) - second.auc(weights), group, n_boot, seed)
    return float(first.auc(once)[0]), float(second.auc(once)[0]), drawn


def share(found: int, n: int) -> dict[str, Any]:
    """A share with its exact (Clopper–Pearson) 95 % interval, which stays honest at none and at all.

    >>> [round(bound, 3) for bound in share(0, 300)["ci95"]]
    [0.0, 0.012]
    """
    if not n:
        return {"value": None, "ci95": None, "n": 0}
    bounds = binomtest(found, n).proportion_ci()
    return {"value": found / n, "ci95": [float(bounds.low), float(bounds.high)], "n": n}


def mean(values: ArrayLike, groups: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> dict[str, Any]:
    """A mean with its 95 % interval, resampled by group.

    >>> mean([1.0, 3.0], n_boot=0)
    {'value': 2.0, 'ci95': None, 'n': 2}
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if not len(x):
        return {"value": None, "ci95": None, "n": 0}
    group = numbered(groups, len(x))
    drawn = resampled(lambda weights: weights @ x / weights.sum(axis=1), group, n_boot if group.max() else 0, seed)
    return {"value": float(x.mean()), "ci95": interval(drawn), "n": len(x)}


class _Ranking:
    """Metrics that depend on the order of the scores alone, for many weightings of the same items at once."""

    def __init__(self, y: np.ndarray, scores: np.ndarray, called_fake: np.ndarray | None = None) -> None:
        """`called_fake`: (N,) bool, the items with the highest scores; for `of` alone."""
        self._order = np.argsort(-scores, kind="stable")
        self._fake = y[self._order] == 1
        self._last_of_tie = np.flatnonzero(np.append(np.diff(scores[self._order]) != 0, True))
        self._called_fake = 0 if called_fake is None else int(called_fake[self._order][self._last_of_tie].sum())

    def of(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """(B, N) weights -> metric -> (B,); NaN where a class has no weight."""
        tp, fp = self._counts(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            tpr, fpr = tp / tp[:, -1:], fp / fp[:, -1:]
            precision = tp[:, 1:] / (tp[:, 1:] + fp[:, 1:])
        at = self._called_fake
        return {
            "auc": np.asarray(trapezoid(tpr, fpr, axis=1)),
            "ap": np.nansum(np.diff(tpr, axis=1) * precision, axis=1),
            "eer": _equal_error(tpr, fpr),
            "balanced_accuracy": (tpr[:, at] + 1 - fpr[:, at]) / 2,
            "tpr_at_fpr_1": _tpr_within(tpr, fpr, 0.01),
            "tpr_at_fpr_5": _tpr_within(tpr, fpr, 0.05),
        }

    def auc(self, weights: np.ndarray) -> np.ndarray:
        tp, fp = self._counts(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(trapezoid(tp, fp, axis=1)) / (tp[:, -1] * fp[:, -1])

    def _counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives above each distinct score, from none called fake to all: (B, K + 1) each."""
        ranked = weights[:, self._order]
        fakes = np.cumsum(ranked * self._fake, axis=1)[:, self._last_of_tie]
        reals = np.cumsum(ranked * ~self._fake, axis=1)[:, self._last_of_tie]
        start = np.zeros((len(weights), 1))
        return np.hstack([start, fakes]), np.hstack([start, reals])


def _tpr_within(tpr: np.ndarray, fpr: np.ndarray, rate: float) -> np.ndarray:
    last = (fpr <= rate).sum(axis=1) - 1
    return tpr[np.arange(len(tpr)), last]


def _equal_error(tpr: np.ndarray, fpr: np.ndarray) -> np.ndarray:
    gap = fpr - (1 - tpr)  # from -1 to 1, never falling
    after = np.maximum((gap < 0).sum(axis=1), 1)
    after = np.minimum(after, gap.shape[1] - 1)
    row = np.arange(len(gap))
    low, high = gap[row, after - 1], gap[row, after]
    share = -low / (high - low)
    return fpr[row, after - 1] + share * (fpr[row, after] - fpr[row, after - 1])


def _bootstrap(
    y: np.ndarray, p: np.ndarray, group: np.ndarray, ranking: _Ranking | None, n_boot: int, seed: int
) -> dict[str, np.ndarray]:
    """Metric -> its value in every resample that holds both classes (every resample, without a ranking)."""
    per_item = {"log_loss": _log_loss(y, p), "brier": (p - y) ** 2}
    parts: list[dict[str, np.ndarray]] = []
    for weights in resamples(group, n_boot, np.random.default_rng(seed)):
        total = weights.sum(axis=1)
        part = {name: weights @ values / total for name, values in per_item.items()}
        if ranking:
            part |= ranking.of(weights)
            whole = np.isfinite(part["auc"])
            part = {name: values[whole] for name, values in part.items()}
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resamples(group: np.ndarray, n_boot: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each item stands in each resample, (b, N) at a time so that memory stays flat."""
    n_groups = int(group.max()) + 1
    step = max(1, _CELLS // max(len(group), 1))
    for start in range(0, n_boot, step):
        rows = min(step, n_boot - start)
        drawn = rng.integers(n_groups, size=(rows, n_groups)) + n_groups * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n_groups).reshape(rows, n_groups)
        yield times[:, group].astype(np.float64)


def resampled(
    statistic: Callable[[np.ndarray], np.ndarray], group: np.ndarray, n_boot: int, seed: int | tuple[int, int]
) -> np.ndarray:
    """(n_boot,) what a statistic, (b, N) weights -> (b,), is in every resample; NaN where it is not defined."""
    draws = resamples(group, n_boot, np.random.default_rng(seed))
    return np.concatenate([*map(statistic, draws), np.empty(0)])


def interval(values: np.ndarray) -> list[float] | None:
    """The percentile interval, 95 %, of the finite values of resamples; None without any.

    >>> interval(np.array([0.0, np.nan, 1.0, 2.0])), interval(np.array([]))
    ([0.05, 1.95], None)
    """
    finite = values[np.isfinite(values)]
    return np.quantile(finite, (0.025, 0.975)).tolist() if len(finite) else None


def _checked(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None) -> tuple[np.ndarray, ...]:
    """Labels and scores as float arrays, groups as numbers from 0."""
    y, p = np.asarray(labels, dtype=np.float64).ravel(), np.asarray(scores, dtype=np.float64).ravel()
    group = numbered(groups, len(y))
    if not len(y) == len(p) == len(group):
        raise DataError(f"{len(y)} labels, {len(p)} scores and {len(group)} groups do not belong together.")
    if not np.isin(y, (0, 1)).all():
        raise DataError("A label is neither 0 nor 1.", "0 means real and 1 means fake.")
    if not np.isfinite(p).all():
        raise DataError("A score is not a finite number.", "Leave items without a score out, and count them.")
    return y, p, group


def numbered(groups: ArrayLike | None, n: int) -> np.ndarray:
    """Groups as numbers from 0; without any, every item is its own."""
    return np.arange(n) if groups is None else np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]


def _too_few_groups(y: np.ndarray, group: np.ndarray) -> str:
    """Why resampling by group says nothing, or "": a class of one group is the same in every resample that holds it."""
    for label, name in ((0, "real"), (1, "fake")):
        if len(np.unique(group[y == label])) == 1:
            return f"no interval from a single group of {name} items"
    return ""


def _log_loss(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    tiny = np.finfo(np.float64).eps
    p = np.clip(p, tiny, 1 - tiny)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def _ece(y: np.ndarray, p: np.ndarray) -> float:
    """Expected calibration error: |share of fakes - mean P(fake)| per bin, weighted by its items (Guo et al., 2017)."""
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    return float(np.abs(np.bincount(bins, weights=y - p, minlength=ECE_BINS)).sum() / len(y))
