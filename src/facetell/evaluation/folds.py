"""Folds of whole groups that all hold both classes."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import GroupKFold


def folds(labels: np.ndarray, groups: np.ndarray, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of what each of `n` folds fits to, and of what it leaves out, each of both classes.

    They are those of GroupKFold, where these hold both classes; elsewhere each class's groups are dealt out in turn,
    into fewer folds where a class has fewer than `n` groups.

    Args:
        labels: (N,) 0 or 1.
        groups: (N,) any names; each class in two of them or more.

    >>> labels = np.array([1, 1, 1, 1, 1, 1, 0, 0])
    >>> [out.tolist() for _, out in folds(labels, np.array([*"aabbccde"]), 3)]
    [[0, 1, 4, 5, 6], [2, 3, 7]]
    """
    n = min(n, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    found = list(GroupKFold(n).split(labels, groups=groups))
    if all(len(np.unique(labels[out])) == 2 for _, out in found):
        return found
    codes = np.unique(groups, return_inverse=True)[1]
    real, fake = (np.bincount(codes, labels == label) > 0 for label in (0, 1))
    largest_first = np.argsort(-np.bincount(codes), kind="stable")
    mixed = real & fake
    place = np.empty(len(real), int)
    # Groups of one class go on where those of both ended: so neither class misses a fold.
    for kind, first in ((mixed, 0), (real & ~fake, mixed.sum()), (fake & ~real, mixed.sum())):
        chosen = largest_first[kind[largest_first]]
        place[chosen] = (first + np.arange(len(chosen))) % n
    fold = place[codes]
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(n)]
