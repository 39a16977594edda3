"""Three ways to say how well a model does: the paper's, a leak-free one, and none at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from facetell.data.split import assign_splits
from facetell.errors import LeakError

Protocol = Literal["a", "b", "c"]
PROTOCOLS: dict[Protocol, str] = {
    "a": "the paper's: real rows copied until there are as many as fakes, then split at random",
    "b": "leak-free: no original, and no person where it is known, in two parts",
    "c": "no split: scored on what it was trained on",
}


@dataclass(frozen=True, eq=False)
class Fold:
    """Row numbers to train on, to choose the best weights on, and to test on; a row may occur repeatedly."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def deal(videos: pd.DataFrame, protocol: Protocol, folds: int, seed: int = 0) -> list[Fold]:
    """The folds of a protocol; each part is tested on once, and the next one chooses the weights meanwhile.

    Args:
        videos: rows of a manifest, one per item.
        protocol: see `PROTOCOLS`; "c" has one fold, in which all rows do everything.
        folds: parts, at least 3.
        seed: of the order.

    Raises:
        LeakError: a group would stand on two sides of a leak-free split.

    >>> rows = pd.DataFrame({"label": [0, 1, 1, 0, 1, 1, 0, 1, 1]})
    >>> [len(np.concatenate([f.train, f.dev, f.test])) for f in deal(rows, "a", 3)]  # 3 real ones became 6
    [12, 12, 12]
    """
    every = np.arange(len(videos))
    if protocol == "c":
        return [Fold(every, every, every)]
    if protocol == "a":
        parts = np.array_split(np.random.default_rng(seed).permutation(_copied(videos.label.to_numpy())), folds)
    else:
        shares = {str(k): 1 / folds for k in range(folds)}
        split = assign_splits(videos, shares, seed, resplit=True)[0].split.to_numpy()
        parts = [np.flatnonzero(split == name) for name in shares]
    dealt = [
        Fold(
            np.concatenate([parts[(k + other) % folds] for other in range(2, folds)]),
            parts[(k + 1) % folds],
            parts[k],
        )
        for k in range(folds)
    ]
    if protocol == "b" and any(shared_groups(videos, fold) for fold in dealt):
        raise LeakError("A group stands on two sides of the leak-free split.")
    return dealt


def shared_groups(videos: pd.DataFrame, fold: Fold) -> int:
    """How many groups of the tested rows the model has met before, in training or in choosing the weights."""
    group = (videos.dataset + ":" + videos.group).to_numpy()
    return len(set(group[fold.test]) & set(group[np.concatenate([fold.train, fold.dev])]))


def _copied(labels: np.ndarray) -> np.ndarray:
    """All rows, those of the rarer class repeated until both classes are of one size."""
    few, many = sorted((np.flatnonzero(labels == label) for label in (0, 1)), key=len)
    return np.concatenate([np.resize(few, len(many)), many])
