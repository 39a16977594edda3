"""The one training loop: budget, schedule, averaging, checkpoints, resume and curves around Lightning's Trainer.

Everything random in a step follows from the recipe's seed and the step's number alone, so nothing but weights,
optimiser, average and counters has to be restored for a resumed run to equal one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import math
import os
import pickle
import time
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, WeightAveraging
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, default_convert

from facetell.errors import OutputError, RecipeError, TrainingError, UsageError
from facetell.files import replacing
from facetell.training.curves import draw_curves, write_curves
from facetell.training.recipe import CommonRecipe, Recipe, make_recipe, parse_overrides, to_toml
from facetell.training.tasks import SizedBatches, Task, TrainsItself

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache

FORMAT = "facetell-checkpoint/1"
DRAWN_EVERY = 30.0  # seconds, at least, between two pictures of the curves: drawing takes as long as some steps


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


def fit(
    task: Task | TrainsItself,
    recipe: Any,
    caches: Sequence[FaceCache],
    out: str | Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    device: str = "auto",
    workers: int = 0,
    console: Console | None = None,
) -> Run:
    """Train, and return the weights that did best on the validation data.

    Args:
        out: folder for recipe.toml, curves.csv, curves.png, best.ckpt and last-<step>.ckpt.
        resume: go on from the latest checkpoint in `out`, if there is one.
        max_minutes: end after so many minutes of training and validation, all resumptions together; the learning
            rate's schedule is planned for whichever ends first, this or `recipe.steps`.
        device: a Lightning accelerator: "auto", "cpu", "gpu", ….
        workers: processes that make batches; 0 makes them in this one.

    Raises:
        TrainingError: data without both classes, a loss that is not a number, a checkpoint that is corrupt or of
            another recipe, a folder that already holds a training that is not to be resumed.
        RecipeError: `recipe.monitor` is no metric of the task.
        UsageError: no time to train, no such device, or an option that a task which trains itself does not use.
        OutputError: `out` cannot be made, or a file cannot be written.
    """
    out = Path(out)
    if isinstance(task, TrainsItself):
        given = {"--resume": resume, "--max-minutes": max_minutes is not None, "--device": device != "auto"}
        if unused := [option for option, is_given in {**given, "--workers": workers > 0}.items() if is_given]:
            raise UsageError(f"{task.name} does not use {', '.join(unused)}.", "Leave it out; it trains in seconds.")
        return task.fit(recipe, caches, out)
    if max_minutes is not None and not max_minutes > 0:  # not a number is no time either
        raise UsageError(f"--max-minutes {max_minutes:g} leaves no time to train.", "Give more than 0.")
    latest = _latest(out)
    if latest is not None and not resume:
        raise TrainingError(f"{out} already holds a training.", "Resume it with --resume, or choose another folder.")
    state = read_checkpoint(latest, recipe) if latest is not None else None
    make_folder(out)
    torch.manual_seed(recipe.seed)
    module = task.module(recipe)
    if state is None or not state["facetell"]["finished"]:
        data = task.data(recipe, caches)
        module.validation = data.validation
        with replacing(out / "recipe.toml") as part:
            part.write_text(to_toml(recipe), encoding="utf-8")
        _train(module, data, recipe, out, latest, max_minutes, device, workers, console or Console(stderr=True))
    best = read_checkpoint(out / "best.ckpt", recipe)
    module.load_state_dict(best["state_dict"])
    last = read_checkpoint(_latest(out) or out / "best.ckpt", recipe)["facetell"]
    about = best["facetell"]
    return Run(module.cpu().eval(), recipe, out, about["step"], about["metrics"], last["seconds"])


def average(
    task: Task, checkpoints: Sequence[Path], caches: Sequence[FaceCache], out: str | Path, overrides: Sequence[str] = ()
) -> Run:
    """The mean of several checkpoints' weights, validated: a soup (Wortsman et al., ICML 2022).

    Args:
        checkpoints: of one network, from one training or from trainings that began with the same weights.
        caches: with the dev split that the mean is measured on.
        out: folder for best.ckpt and what is exported later; made if absent, and without checkpoints so far.
        overrides: `key=value` on the first checkpoint's recipe.

    Raises:
        TrainingError: fewer than two checkpoints, a corrupt one, weights that do not fit together, or a folder that
            holds checkpoints already.
        RecipeError: an override that does not.
        OutputError: `out` cannot be made, or a file cannot be written.
    """
    if len(checkpoints) < 2:
        raise TrainingError("A mean needs at least two checkpoints.", "Give several.")
    out = make_folder(out)
    if any(out.glob("*.ckpt")):
        raise TrainingError(f"{out} already holds checkpoints; best.ckpt would be replaced.", "Choose another folder.")
    states = [read_checkpoint(path) for path in checkpoints]
    values = states[0]["facetell"]["recipe"] | parse_overrides(overrides)
    recipe = make_recipe(values, task.recipe, f"the recipe of {checkpoints[0]}")
    module = task.module(recipe)
    kept = {name: value for name, value in module.state_dict().items() if name in module.settings}
    weights = [state["state_dict"] for state in states]
    shapes = [{name: value.shape for name, value in one.items()} for one in weights]
    if any(one != shapes[0] for one in shapes):
        raise TrainingError("The checkpoints are of different networks.", "Average those of one recipe only.")
    mean = {
        name: torch.stack([one[name] for one in weights]).mean(dim=0) if value.is_floating_point() else value
        for name, value in weights[0].items()
    }
    try:
        module.load_state_dict(mean | kept)
    except RuntimeError as error:
        raise TrainingError(
            "The weights do not fit the network of this recipe.", "Change only what --set may."
        ) from error
    module.validation = task.data(recipe, caches).validation
    metrics = validated(module)
    about = [state["facetell"] for state in states]
    step, seconds = max(a["step"] for a in about), sum(a["seconds"] for a in about)
    summary = _summary(step, seconds, recipe, metrics, finished=True)
    content = io.BytesIO()  # written to a full disk, torch.save would raise a RuntimeError
    torch.save({"state_dict": module.state_dict(), "facetell": summary}, content)
    with replacing(out / "best.ckpt") as part:
        part.write_bytes(content.getbuffer())
    return Run(module, recipe, out, step, metrics, seconds)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder `path`, made if absent.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{os.fspath(path)} cannot be made a folder: {error.strerror}.", "Choose another folder."
        ) from error
    return Path(path)


def validated(module: Module) -> dict[str, float]:
    """A module's metrics on its validation data."""
    module.eval()
    with torch.inference_mode():
        batches = (default_convert(module.validation[index]) for index in range(len(module.validation)))
        outputs: list[Any] = [module.validation_step(batch, index) for index, batch in enumerate(batches)]
    joined = {name: np.concatenate([output[name].numpy() for output in outputs]) for name in outputs[0]}
    return {name: float(value) for name, value in module.metrics(joined).items()}


def _train(
    module: Module,
    data: Any,
    recipe: Recipe,
    out: Path,
    latest: Path | None,
    max_minutes: float | None,
    device: str,
    workers: int,
    console: Console,
) -> None:
    budget = _Budget(recipe, max_minutes)
    curves = _Curves(recipe, budget, out)
    report, checkpoints = _Report(budget, curves, console), _Checkpoints(recipe, budget, curves, out)
    callbacks: list[Callback] = [budget, curves, report, checkpoints]
    if recipe.ema:
        callbacks.insert(0, WeightAveraging(avg_fn=_ema(recipe.ema)))
    if recipe.patience:
        callbacks.append(EarlyStopping(f"val_{recipe.monitor}", mode=recipe.mode, patience=recipe.patience))
    first = 0 if latest is None else read_checkpoint(latest, recipe)["facetell"]["step"]
    if workers:
        cv2.setNumThreads(1)  # a forked loader would wait for ever for its parent's threads of OpenCV to end
    # Loaders draw a seed when iterated; from generators of their own, so that torch's global one is left alone.
    train = DataLoader(
        data.train,  # type: ignore[arg-type]
        batch_size=None,
        sampler=_Steps(first),
        num_workers=workers,
        generator=torch.Generator(),
        persistent_workers=workers > 0,
    )
    validation = DataLoader(data.validation, batch_size=None, num_workers=workers, generator=torch.Generator())  # type: ignore[arg-type]
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no tips in between our lines
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*not.*resumable.*")
        try:
            trainer = L.Trainer(
                accelerator=device,
                devices=1,
                max_epochs=-1,
                val_check_interval=recipe.validate_every,
                check_val_every_n_epoch=None,
                gradient_clip_val=recipe.clip_norm or None,
                num_sanity_val_steps=0,
                callbacks=callbacks,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
        except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:  # all but the device is ours
            raise UsageError(f"There is no device {device!r} here.", "Give --device auto, or cpu.") from error
        trainer.fit(module, train, validation, ckpt_path=latest, weights_only=True)


def read_checkpoint(path: Path, recipe: Recipe | None = None) -> dict[str, Any]:
    """A checkpoint's contents: "state_dict" and "facetell" (step, seconds, recipe, metrics, finished) among them.

    Only tensors and plain values are ever unpickled.

    Raises:
        TrainingError: missing, corrupt, not one of ours, or made by another recipe than `recipe`.
    """
    advice = "Delete it and resume from the one before it, or start anew in another folder."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise TrainingError(f"The checkpoint {path} is corrupt.", advice) from error
    if not isinstance(state, dict) or state.get("facetell", {}).get("format") != FORMAT:
        raise TrainingError(f"{path} is not a checkpoint of this version of facetell.", advice)
    if recipe is not None:
        ours = dataclasses.asdict(recipe)
        theirs = dataclasses.asdict(type(recipe)()) | state["facetell"]["recipe"]  # keys younger than it: their default
        different = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        if different:
            raise TrainingError(
                f"The training in {path.parent} was begun with another recipe: {', '.join(different)} differ.",
                "Give the same recipe, or start anew in another folder.",
            )
    return state


def _summary(step: int, seconds: float, recipe: Recipe, metrics: dict[str, float], *, finished: bool) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "format": FORMAT,
        "step": step,
        "seconds": seconds,
        "recipe": dataclasses.asdict(recipe),
        "metrics": dict(metrics),
        "finished": finished,
    }


def require_both_classes(labels: Any, where: str) -> None:
    """Raise TrainingError unless both REAL (0) and FAKE (1) occur among `labels`."""
    found = set(np.unique(np.asarray(labels)).tolist())
    if found != {0, 1}:
        names = {0: "REAL", 1: "FAKE"}
        seen = " and ".join(names.get(value, str(value)) for value in sorted(found)) or "no"
        raise TrainingError(f"{where} holds {seen} faces only.", "Training needs REAL and FAKE ones in both splits.")


def _latest(out: Path) -> Path | None:
    found = sorted(out.glob("last-*.ckpt"))
    return found[-1] if found else None


def _ema(decay: float):
    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # A short memory at first: the average must not drag the random initial weights along.
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged * keep + current * (1 - keep)

    return average


class _Steps(Sampler[int]):
    """Step numbers without end."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1


class _Budget(Callback):
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
        self.rate = self.recipe.learning_rate * self.scale()
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.scale()
        torch.manual_seed(int(np.random.SeedSequence([self.recipe.seed, self.step]).generate_state(1)[0]))

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.step = trainer.global_step
        if self.done >= 1:
            trainer.should_stop = True  # Lightning validates once more before it stops

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before_s, self.started = state_dict["seconds"], time.monotonic()


class _Curves(Callback):
    """Means of what the training steps report, and the validation metrics: one row per validation."""

    def __init__(self, recipe: Recipe, budget: _Budget, out: Path) -> None:
        self.recipe, self.budget, self.out = recipe, budget, out
        self.sums: dict[str, float] = {}
        self.count = 0
        self.rows: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self.outputs: list[dict[str, np.ndarray]] = []
        self.drawn = -math.inf

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, value in outputs.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1
        if not math.isfinite(float(outputs["loss"])):
            raise TrainingError(
                f"The loss is not a number any more at step {trainer.global_step}.",
                "Lower learning_rate, or set clip_norm; the checkpoints before this step are good.",
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


class _Checkpoints(Checkpoint):
    """The best weights, and the latest few states to resume from, each file written whole or not at all."""

    def __init__(self, recipe: Recipe, budget: _Budget, curves: _Curves, out: Path) -> None:
        self.recipe, self.budget, self.curves, self.out = recipe, budget, curves, out
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
        checkpoint["facetell"] = _summary(
            trainer.global_step, self.budget.seconds, self.recipe, self.curves.metrics, finished=trainer.should_stop
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


class _Report(Callback):
    """A bar on a terminal; elsewhere one plain line per validation."""

    def __init__(self, budget: _Budget, curves: _Curves, console: Console) -> None:
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
