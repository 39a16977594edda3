"""What all networks with one logit share: their loss, their validation metrics, and the numbers on their cards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from facetell.detectors import Threshold
from facetell.evaluation.calibration import groups_for
from facetell.evaluation.metrics import metrics
from facetell.evaluation.protocol import families
from facetell.training.export import TOLERANCE
from facetell.training.module import Module
from facetell.training.tasks import SizedBatches

RATES = (0.05, 0.01)  # false-positive rates that a card states thresholds for


class BinaryModule(Module):
    """Cross-entropy on balanced batches {"crops": (N, …), "label": (N,) float}; validation weighs classes alike."""

    def training_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        logit = self.network(batch["crops"])
        loss = functional.binary_cross_entropy_with_logits(logit, batch["label"])
        return {"loss": loss, "accuracy": ((logit > 0) == (batch["label"] > 0.5)).float().mean()}

    def validation_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        return {"logit": self.network(batch["crops"]), "label": batch["label"]}

    def metrics(self, predictions: dict[str, np.ndarray]) -> dict[str, float]:
        logit, fake = predictions["logit"].astype(np.float64), predictions["label"] > 0.5
        loss = np.logaddexp(0, np.where(fake, -logit, logit))
        right = (logit > 0) == fake
        return {
            "loss": (loss[fake].mean() + loss[~fake].mean()) / 2,
            "accuracy": (right[fake].mean() + right[~fake].mean()) / 2,
            "auc": float(roc_auc_score(fake, logit)),
        }


def logits_of(module: Module, batches: SizedBatches) -> np.ndarray:
    """The logits (N,) of every item, in order."""
    with torch.inference_mode():
        crops = (torch.from_numpy(batches[index]["crops"]) for index in range(len(batches)))
        return np.concatenate([module.network(each).numpy() for each in crops])


def measured(logits: np.ndarray, labels: np.ndarray, videos: pd.DataFrame) -> dict[str, Any]:
    """The card's numbers for a development set: AUC, balanced accuracy, log loss, …, with 95 % intervals.

    Intervals resample families: an original with all the fakes made from it.
    """
    return metrics(labels, expit(logits.astype(np.float64)), families(videos), logits=logits)


def thresholds_of(logits: np.ndarray, labels: np.ndarray, units: ArrayLike, source: str) -> tuple[Threshold, ...]:
    """The logits that 5 % and 1 % of the real items reach, or fewer where some tie; None where too few to tell.

    Args:
        logits: (N,) of single faces, or runs of them.
        labels: (N,) 0 or 1.
        units: (N,) what is counted, for several items of one person tell no more than one; see `units`.
        source: what is counted, in words, as they stand behind a number.

    >>> logits, labels = np.arange(100.0), np.zeros(100)
    >>> thresholds = thresholds_of(logits, labels, np.arange(100), "numbers")
    >>> [(t.logit, t.source) for t in thresholds]
    [(95.0, 'numbers'), (None, 'numbers; 300 are needed')]
    """
    real = np.sort(logits[labels == 0].astype(np.float64))[::-1]
    groups = len(np.unique(np.asarray(units)[labels == 0]))

    def at(rate: float) -> Threshold:
        if groups < (needed := groups_for(rate)):
            return Threshold(rate, None, groups, f"{source}; {needed:,} are needed")
        beyond = real[int(rate * len(real) + 1e-9)]  # with all that tie with it, as the logits of trees do: below
        logit = min(real[real > beyond], default=beyond + TOLERANCE * max(1, abs(beyond)))
        return Threshold(rate, float(logit), groups, source)

    return tuple(map(at, RATES))
