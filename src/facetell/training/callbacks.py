"""What happens around a training's steps: the budget and the schedule, the curves, the checkpoints, the report."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from facetell.errors import RecipeError, TrainingError
from facetell.files import replacing
from facetell.training.checkpoint import summary
from facetell.training.curves import draw_curves, write_curves
from facetell.training.module import Module
from facetell.training.recipe import Recipe

DRAWN_EVERY = 30.0  # seconds, at least, between two pictures of the curves: drawing takes as long as some steps
_DIVERGED = (  # a last-<step>.ckpt may hold weights that its own step has spoilt; those of best.ckpt were validated
    "Begin anew with a lower learning_rate, or with clip_norm. What is in best.ckpt, if there is one, is good."
)


class Budget(Callback):
    """How much of the training is done, the learning rate that goes with it, each step's seed, and the end."""

    def __init__(self, recipe: Recipe, max_minutes: float | None) -> None:
        self.recipe = recipe
        self.limit_s = math.inf if max_minutes is None else 60 * max_minutes
        self.before_s = 0.0
        self.started = time.monotonic()
        self.step = 0
        self.rate = 0.0

    @property
    def seconds(self) -> float:
        return self.before_s + time.monotonic() - self.started

    @property
    def done(self) -> float:
        return min(1.0, max(self.step / self.recipe.steps, self.seconds / self.limit_s))

    def scale(self) -> float:
        """The learning rate's factor: linear warm-up, hold, cosine to zero."""
        falling = max(0.0, self.done - self.recipe.hold) / max(1e-9, 1 - self.recipe.hold)
        return min(1.0, (self.step + 1) / (self.recipe.warmup + 1)) * 0.5 * (1 + math.cos(math.pi * falling))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.step = trainer.global_step
        scale = self.scale()
        self.rate = self.recipe.learning_rate * scale
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * scale
        torch.manual_seed(int(np.random.SeedSequence([self.recipe.seed, self.step]).generate_state(1)[0]))

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.step = trainer.global_step
        if self.done >= 1:
            trainer.should_stop = True  # Lightning validates once more before it stops

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before_s, self.started = state_dict["seconds"], time.monotonic()


class Curves(Callback):
    """Means of what the training steps report, and the validation metrics: one row per validation."""

    def __init__(self, recipe: Recipe, budget: Budget, out: Path) -> None:
        self.recipe, self.budget, self.out = recipe, budget, out
        self.sums: dict[str, float] = {}
        self.count = 0
        self.rows: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self.outputs: list[dict[str, np.ndarray]] = []
        self.drawn = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, value in outputs.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1
        if not math.isfinite(float(outputs["loss"])):
            raise TrainingError(
                f"The loss is not a number any more at step {trainer.global_step}.",
                _DIVERGED,
            )

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.outputs = []

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any, **__: Any
    ) -> None:
        self.outputs.append({name: value.float().cpu().numpy() for name, value in outputs.items()})

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Module)
        joined = {name: np.concatenate([output[name] for output in self.outputs]) for name in self.outputs[0]}
        self.outputs = []
        if not all(np.isfinite(values).all() for values in joined.values()):
            raise TrainingError(
                f"The network's answers are no numbers any more at step {trainer.global_step}.",
                _DIVERGED,
            )
        self.metrics = {name: float(value) for name, value in pl_module.metrics(joined).items()}
        pl_module.log_dict({f"val_{name}": value for name, value in self.metrics.items()})
        row = {"step": trainer.global_step, "seconds": round(self.budget.seconds, 1), "learning_rate": self.budget.rate}
        row |= {f"train_{name}": value / self.count for name, value in self.sums.items()}
        row |= {f"val_{name}": value for name, value in self.metrics.items()}
        self.rows.append(row)
        self.sums, self.count = {}, 0
        write_curves(self.rows, self.out / "curves.csv")
        self._check_monitor(trainer.global_step)
        if time.monotonic() - self.drawn > DRAWN_EVERY:
            self._draw()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._draw()

    def _check_monitor(self, step: int) -> None:
        """Before the best weights are chosen by it: that there is such a metric, and that it is a number."""
        name = self.recipe.monitor
        if name not in self.metrics:
            raise RecipeError(f"monitor = {name!r} is no metric.", f"There are: {', '.join(self.metrics)}.")
        if not math.isfinite(self.metrics[name]):
            raise TrainingError(
                f"The validation's {name} is not a number at step {step}, so no weights can be chosen by it.",
                f"Choose another monitor, or look at the dev split; the others are in {self.out / 'curves.csv'}.",
            )

    def _draw(self) -> None:
        draw_curves(self.rows, self.out / "curves.png")
        self.drawn = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "count": self.count, "rows": list(self.rows), "metrics": dict(self.metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums, self.count = state_dict["sums"], state_dict["count"]
        self.rows, self.metrics = state_dict["rows"], state_dict["metrics"]


class Checkpoints(Checkpoint):
    """The best weights, and the latest few states to resume from, each file written whole or not at all."""

    def __init__(
        self, recipe: Recipe, budget: Budget, curves: Curves, out: Path, caches: str, trained_on: Sequence[str]
    ) -> None:
        self.recipe, self.budget, self.curves, self.out, self.caches = recipe, budget, curves, out, caches
        self.trained_on = trained_on
        self.best = math.inf if recipe.mode == "min" else -math.inf
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        # A step that is followed by a validation is saved after it: a resumed run would not repeat the validation.
        validates = trainer.should_stop or trainer.global_step % self.recipe.validate_every == 0
        if not validates and time.monotonic() - self.saved >= 60 * self.recipe.checkpoint_minutes:
            self._save_latest(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = self.curves.metrics[self.recipe.monitor]
        if value < self.best if self.recipe.mode == "min" else value > self.best:
            self.best = value
            self._save(trainer, self.out / "best.ckpt")
        if trainer.should_stop or time.monotonic() - self.saved >= 60 * self.recipe.checkpoint_minutes:
            self._save_latest(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["facetell"] = summary(
            trainer.global_step,
            self.budget.seconds,
            self.recipe,
            self.curves.metrics,
            finished=trainer.should_stop,
            caches=self.caches,
            trained_on=self.trained_on,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def _save_latest(self, trainer: L.Trainer) -> None:
        self._save(trainer, self.out / f"last-{trainer.global_step:08d}.ckpt")
        for old in sorted(self.out.glob("last-*.ckpt"))[: -self.recipe.keep]:
            old.unlink()
        self.saved = time.monotonic()

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        with replacing(path) as part:
            trainer.save_checkpoint(part)


class Report(Callback):
    """A bar on a terminal; elsewhere one plain line per validation."""

    def __init__(self, budget: Budget, curves: Curves, console: Console) -> None:
        self.budget, self.curves, self.console = budget, curves, console
        self.progress = Progress(
            TextColumn("step {task.fields[step]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.bar = self.progress.add_task("training", total=1.0, step=0, loss=math.nan)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.progress.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.progress.update(self.bar, completed=self.budget.done, step=self.budget.step, loss=float(outputs["loss"]))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        row = self.curves.rows[-1]
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("step", "seconds"))
        self.console.print(f"step {row['step']}  {row['seconds']:.0f} s  {numbers}", highlight=False, soft_wrap=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.progress.stop()
