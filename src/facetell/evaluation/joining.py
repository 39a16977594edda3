"""Whether several detectors joined are better than the best alone: a small combiner, never judged on what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from facetell.evaluation.folds import folds
from facetell.evaluation.metrics import paired, paired_mean
from facetell.evaluation.protocol import resampling_unit
from facetell.evaluation.scoring import LABELS

FOLDS = 5
CLASS_GROUPS = 3  # of each class: one to judge by, and two that its regularisation is chosen by
STRENGTHS = np.logspace(-3, 1, 5)  # of regularisation, chosen within the fitting folds


def joined(
    videos: Mapping[str, Mapping[str, pd.DataFrame]],
    sources: Mapping[str, str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """A logistic regression on the detectors' raw logits, held against the first detector alone.

    It is fitted to some groups of every set and judged on the others, its regularisation chosen by a further split of
    the fitting groups; every class of every set weighs the same. For each set it is also fitted to the sets of other
    sources alone, which is what a new source would meet.

    Args:
        videos: set -> detector -> labelled videos, as `Scored.videos`. Those that every detector could score count; a
            set that has fewer than FOLDS groups, or a class in fewer than CLASS_GROUPS, is left out.
        sources: set -> the collection it is from. Groups of one name in sets of one source are one group. A set
            without a source is one of its own.
        n_boot: resamples for the intervals.
        seed: of the resampling.

    Returns:
        `detectors`; `sets`, set -> `known` and `new`, each as from `metrics.paired` with the joined detectors as A and
        the first alone as B; `mean`, of the sets' differences, as from `metrics.paired_mean`, for either; `left_out`.
        There is no `new` where all sets are of one source.
    """
    detectors = list(next(iter(videos.values()))) if videos else []
    sources = sources or {}
    tables = {name: _table(of, sources.get(name, "")) for name, of in videos.items()}
    able = {name: rows for name, rows in tables.items() if _is_able(rows)}
    result: dict[str, Any] = {"detectors": detectors, "left_out": sorted(tables.keys() - able.keys())}
    result |= {"sets": {}, "mean": None}
    if not able:
        return result
    named = [rows.assign(set=name, source=sources.get(name) or name) for name, rows in able.items()]
    table = pd.concat(named, ignore_index=True)
    features, label, group = table[detectors].to_numpy(), table.label.to_numpy(), table.group.to_numpy()
    known, new = np.empty(len(table)), np.full(len(table), np.nan)
    for seen, unseen in folds(label, group, FOLDS):
        known[unseen] = _fit(table.iloc[seen], detectors).decision_function(features[unseen])
    origins = table.source.unique()
    for source in origins if len(origins) > 1 else ():
        here = (table.source == source).to_numpy()
        new[here] = _fit(table[~here], detectors).decision_function(features[here])
    alone = features[:, 0]
    ways = {"known": known} | ({"new": new} if len(origins) > 1 else {})
    parts = {name: (table.set == name).to_numpy() for name in able}
    result["sets"] = {
        name: {way: paired(label[at], joint[at], alone[at], group[at], n_boot, seed) for way, joint in ways.items()}
        for name, at in parts.items()
    }
    result["mean"] = {
        way: paired_mean([(label[at], joint[at], alone[at], group[at]) for at in parts.values()], n_boot, seed)
        for way, joint in ways.items()
    }
    return result


def _is_able(rows: pd.DataFrame) -> bool:
    """Whether what the folds leave to fit to can itself be parted into folds of both classes."""
    of_class = rows.groupby("label").group.nunique()
    return len(of_class) == 2 and of_class.min() >= CLASS_GROUPS and rows.group.nunique() >= FOLDS


def _table(of: Mapping[str, pd.DataFrame], source: str) -> pd.DataFrame:
    """One row per video that all detectors could score: their logits, its label and its group.

    Videos are told apart by their labels: their keys number those that one detector was given, and another was given
    others.
    """
    logits = [videos.set_index(list(LABELS)).logit.rename(name) for name, videos in of.items()]
    rows = pd.concat(logits, axis=1, join="inner").reset_index()
    named = rows.assign(dataset=source) if source else rows  # so a group has one name in all sets of its source
    return rows.assign(group=resampling_unit(named)[1])


def _fit(rows: pd.DataFrame, detectors: list[str]) -> GridSearchCV:
    weight = 1 / rows.groupby(["set", "label"]).label.transform("size")
    parts = folds(rows.label.to_numpy(), rows.group.to_numpy(), FOLDS - 1)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, cv=parts, scoring="neg_log_loss")
    weights = (weight / weight.mean()).to_numpy()
    return search.fit(rows[detectors].to_numpy(), rows.label, logisticregression__sample_weight=weights)
