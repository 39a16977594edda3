"""The network that a task trains, with its losses, and what comes of a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from facetell.training.recipe import CommonRecipe
from facetell.training.tasks import SizedBatches


class Module(L.LightningModule):
    """A network with its loss. A task extends it by three methods.

    training_step(batch, index) -> {"loss": scalar, "accuracy": scalar, …}: all are averaged into the curves.
    validation_step(batch, index) -> {name: (N, …) tensor}: kept for the whole validation set, joined along N.
    metrics(predictions) -> {"loss": …, "accuracy": …, …}: from those joined arrays; `recipe.monitor` is one.
    """

    settings: frozenset[str] = frozenset()  # buffers that the recipe sets, not the training
    validation: SizedBatches  # the task's own; set before the first validation

    def __init__(self, network: nn.Module, recipe: CommonRecipe) -> None:
        super().__init__()
        self.network = network
        self.recipe: Any = recipe  # the task's own kind

    def metrics(self, predictions: dict[str, np.ndarray]) -> dict[str, float]:
        raise NotImplementedError

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load a module's state but for `settings`; a RuntimeError says that it does not fit."""
        kept = {name: value for name, value in self.state_dict().items() if name in self.settings}
        self.load_state_dict(weights | kept)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, without weight decay on biases and normalisation layers."""
        weights = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": self.recipe.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.recipe.learning_rate)


@dataclass(frozen=True)
class Run:
    """A finished training: its best weights (averaged ones where the recipe averages), on the CPU, in eval mode."""

    module: Module
    recipe: Any
    out: Path
    step: int  # of the best weights
    metrics: dict[str, float]  # of the best weights, on the validation data
    seconds: float  # spent training and validating, all resumptions together
    trained_on: tuple[str, ...] = ()  # names of the data sets that the weights have seen; empty: not known
