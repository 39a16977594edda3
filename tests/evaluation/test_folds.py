"""Folds for fitting and judging by groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from facetell.evaluation.folds import folds


def test_they_are_those_of_scikit_learn_where_each_has_both_classes() -> None:
    groups = np.random.default_rng(0).integers(0, 40, 200)
    labels = np.arange(200) % 2
    for ours, theirs in zip(folds(labels, groups, 5), GroupKFold(5).split(labels, groups=groups), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("seed", range(30))
def test_every_fold_has_both_classes_and_whole_groups(seed: int) -> None:
    """Whether a class is in few groups, small ones, or shares some with the other."""
    rng = np.random.default_rng(seed)
    kinds = [(1,)] * int(rng.integers(1, 12)) + [(0,)] * int(rng.integers(0, 4)) + [(0, 1)] * int(rng.integers(2, 5))
    rows = [(label, k) for k, kind in enumerate(kinds) for label in kind for _ in range(rng.integers(1, 9))]
    labels, groups = np.array(rows).T
    found = folds(labels, groups, 5)
    assert len(found) == min(5, *(len(set(groups[labels == label])) for label in (0, 1)))
    assert np.array_equal(np.sort(np.concatenate([out for _, out in found])), np.arange(len(labels)))
    for seen, out in found:
        assert not set(groups[seen]) & set(groups[out])
        assert set(labels[out]) == {0, 1}
        assert set(labels[seen]) == {0, 1}
