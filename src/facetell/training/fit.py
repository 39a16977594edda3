"""The one training loop: budget, schedule, averaging, checkpoints, resume and curves around Lightning's Trainer.

Everything random in a step follows from the recipe's seed and the step's number alone, so nothing but weights,
optimiser, average and counters has to be restored for a resumed run to equal one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from pandas.util import hash_pandas_object
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, default_convert

from facetell.data.manifest import check_leaks, refuse_shared
from facetell.data.split import rows_in
from facetell.errors import LeakError, TrainingError, UsageError
from facetell.files import make_folder, replacing
from facetell.training.callbacks import Budget, Checkpoints, Curves, Report
from facetell.training.checkpoint import latest_in, read_checkpoint, summary, trained_on, write_checkpoint
from facetell.training.module import Module, Run
from facetell.training.recipe import Recipe, make_recipe, parse_overrides, to_toml
from facetell.training.tasks import Data, SizedBatches, Task, TrainsItself

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache

ALIKE = ("backbone", "tune", "input", "background")  # in recipes whose weights have a mean; sizes may differ


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
        resume: go on from the latest last-<step>.ckpt in `out`, if there is one.
        max_minutes: end after so many minutes of training and validation, all resumptions together; the learning
            rate's schedule is planned for whichever ends first, this or `recipe.steps`.
        device: a Lightning accelerator: "auto", "cpu", "gpu", ….
        workers: processes that make batches; 0 makes them in this one.

    Raises:
        LeakError: caches that together have a group, or an original and its fake, in both training and dev split.
        TrainingError: data without both classes, a loss that is not a number, a checkpoint that is corrupt or of
            another recipe or other data, a folder that already holds a training that is not to be resumed, or a
            finished best.ckpt alone, as `average` writes it.
        RecipeError: `recipe.monitor` is no metric of the task.
        ManifestError: a file that stands in two caches.
        UsageError: no time to train, no such device, or an option that a task which trains itself does not use.
        OutputError: `out` cannot be made, or a file cannot be written.
    """
    out = Path(out)
    if isinstance(task, TrainsItself):
        given = {"--resume": resume, "--max-minutes": max_minutes is not None, "--device": device != "auto"}
        if unused := [option for option, is_given in {**given, "--workers": workers > 0}.items() if is_given]:
            raise UsageError(f"{task.name} does not use {', '.join(unused)}.", "Leave it out; it trains in seconds.")
        _check_no_training(out, "Choose another folder.")
        _check_leaks(caches)
        return task.fit(recipe, caches, out)
    if max_minutes is not None and not max_minutes > 0:  # not a number is no time either
        raise UsageError(f"--max-minutes {max_minutes:g} leaves no time to train.", "Give more than 0.")
    if not resume:
        _check_no_training(out, "Resume it with --resume, or choose another folder.")
    latest = latest_in(out)
    if resume and latest is None:
        _check_not_finished(out / "best.ckpt")
    state = read_checkpoint(latest, recipe) if latest is not None else None
    _check_leaks(caches)
    digest = _digest(caches)
    begun_on = state["facetell"].get("caches") if state is not None else None  # those from before 2026-12 do not say
    if begun_on and begun_on != digest:
        raise TrainingError(
            f"The training in {out} was begun on other data.",
            "Give the same caches in the same order, or start anew in another folder.",
        )
    make_folder(out)
    torch.manual_seed(recipe.seed)
    module = task.module(recipe) if state is None else _without_weights(task, recipe)
    if state is None or not state["facetell"]["finished"]:
        data = task.data(recipe, caches)
        module.validation = data.validation
        with replacing(out / "recipe.toml") as part:
            part.write_text(to_toml(recipe), encoding="utf-8")
        seen = trained_on([state]) if state is not None else _seen_before(recipe)
        seen = sorted({*seen, *task.trained_on(caches)})
        callbacks = _callbacks(recipe, max_minutes, out, digest, seen, console or Console(stderr=True))
        first = 0 if state is None else state["facetell"]["step"]
        _train(module, data, callbacks, latest, first, device, workers)
    best = read_checkpoint(out / "best.ckpt", recipe)
    module.load_state_dict(best["state_dict"])
    last = read_checkpoint(latest_in(out) or out / "best.ckpt", recipe)["facetell"]
    about = best["facetell"]
    return Run(module.cpu().eval(), recipe, out, about["step"], about["metrics"], last["seconds"], trained_on([best]))


def _seen_before(recipe: Recipe) -> tuple[str, ...]:
    """Names of the data sets behind the weights that a training starts from."""
    start = getattr(recipe, "start", "")
    return trained_on([read_checkpoint(Path(start))]) if start else ()


def _digest(caches: Sequence[FaceCache]) -> str:
    """A SHA-256 that is another one for other rows, faces or order; the files may lie elsewhere meanwhile."""
    digest = hashlib.sha256()
    for cache in caches:
        digest.update(json.dumps(cache.settings, sort_keys=True).encode())
        digest.update(cache.manifest.drop(columns="path").to_csv(index=False).encode(errors="surrogateescape"))
        digest.update(hash_pandas_object(cache.faces, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _check_no_training(out: Path, advice: str) -> None:
    """Nothing, if there is no checkpoint in the folder, be it of a training that was killed or of `average`."""
    if any(out.glob("*.ckpt")):
        raise TrainingError(f"{out} already holds checkpoints; best.ckpt would be replaced.", advice)


def _check_not_finished(best: Path) -> None:
    """Nothing, if there is no best.ckpt, or that of a training that was killed before its first last-<step>.ckpt."""
    if best.exists() and read_checkpoint(best)["facetell"]["finished"]:
        raise TrainingError(
            f"{best} is of no training that can be resumed, such as a mean of checkpoints; it would be replaced.",
            f"Choose another folder. `facetell train frame` can begin with its weights: --set start={best}.",
        )


def _without_weights(task: Task, recipe: Any) -> Module:
    """The task's module for a checkpoint's weights: the files that the training began with may be gone."""
    unused = {name: value for name, value in {"start": "", "weights": "none"}.items() if hasattr(recipe, name)}
    module = task.module(replace(recipe, **unused))
    module.recipe = recipe
    return module


def _check_leaks(caches: Sequence[FaceCache]) -> None:
    """Each cache is sound by itself; two of one data set, or of folders of one name, may differ in the split."""
    if len(caches) > 1:
        splits = [
            np.select([rows_in(cache.manifest, "train"), rows_in(cache.manifest, "dev")], ["train", "dev"], "")
            for cache in caches
        ]
        try:
            check_leaks(pd.concat([cache.manifest for cache in caches]).assign(split=np.concatenate(splits)))
        except LeakError as error:
            raise LeakError(
                error.message,
                "Caches of one data set: prepare them with one split. Of two folders of one name: rename one of them, "
                "and prepare it anew.",
            ) from error
    refuse_shared(cache.manifest for cache in caches)


def average(
    task: Task, checkpoints: Sequence[Path], caches: Sequence[FaceCache], out: str | Path, overrides: Sequence[str] = ()
) -> Run:
    """The mean of several checkpoints' weights, validated: a soup (Wortsman et al., ICML 2022).

    Args:
        checkpoints: of one network, from one training or from trainings that began with the same weights.
        caches: with the dev split that the mean is measured on; they need no other.
        out: folder for best.ckpt and what is exported later; made if absent, and without checkpoints so far.
        overrides: `key=value` on the first checkpoint's recipe.

    Raises:
        ManifestError: a file that stands in two caches.
        TrainingError: fewer than two checkpoints, a corrupt one, weights that do not fit together, or a folder that
            holds checkpoints already.
        RecipeError: an override that does not.
        OutputError: `out` cannot be made, or a file cannot be written.
    """
    if len(checkpoints) < 2:
        raise TrainingError("A mean needs at least two checkpoints.", "Give several.")
    refuse_shared(cache.manifest for cache in caches)
    out = make_folder(out)
    _check_no_training(out, "Choose another folder.")
    states = [read_checkpoint(path) for path in checkpoints]
    values = states[0]["facetell"]["recipe"] | parse_overrides(overrides)
    recipe = make_recipe(values, task.recipe, f"the recipe of {checkpoints[0]}")
    module = _without_weights(task, recipe)
    recipes = [dataclasses.asdict(task.recipe()) | state["facetell"]["recipe"] for state in states]
    if different := [name for name in ALIKE if any(one.get(name) != recipes[0].get(name) for one in recipes)]:
        raise TrainingError(
            f"The checkpoints are of different networks: {', '.join(different)} differ.",
            "Average those of one recipe only.",
        )
    weights = [state["state_dict"] for state in states]
    shapes = [{name: value.shape for name, value in one.items()} for one in weights]
    if any(one != shapes[0] for one in shapes):
        raise TrainingError("The checkpoints are of different networks.", "Average those of one recipe only.")
    mean = {
        name: torch.stack([one[name] for one in weights]).mean(dim=0) if value.is_floating_point() else value
        for name, value in weights[0].items()
    }
    try:
        module.load_weights(mean)
    except RuntimeError as error:
        raise TrainingError(
            "The weights do not fit the network of this recipe.", "Change only what --set may."
        ) from error
    module.validation = task.validation(recipe, caches)
    metrics = validated(module)
    runs = [state["facetell"] for state in states]
    step, seconds = max(run["step"] for run in runs), sum(run["seconds"] for run in runs)
    seen = trained_on(states)
    about = summary(step, seconds, recipe, metrics, finished=True, trained_on=seen)
    write_checkpoint(out / "best.ckpt", module, about)
    return Run(module, recipe, out, step, metrics, seconds, seen)


def validated(module: Module) -> dict[str, float]:
    """A module's metrics on its validation data."""
    module.eval()
    found = predictions(lambda batch: module.validation_step(batch, 0), module.validation)
    return {name: float(value) for name, value in module.metrics(found).items()}


def predictions(judge: Callable[[Any], Any], batches: SizedBatches) -> dict[str, np.ndarray]:
    """What `judge` makes of each batch, {name: (N, …) tensor}, joined along N."""
    with torch.inference_mode():
        outputs = [judge(default_convert(batches[index])) for index in range(len(batches))]
    return {name: np.concatenate([output[name].numpy() for output in outputs]) for name in outputs[0]}


def _callbacks(
    recipe: Recipe, max_minutes: float | None, out: Path, digest: str, seen: Sequence[str], console: Console
) -> list[Callback]:
    budget = Budget(recipe, max_minutes)
    curves = Curves(recipe, budget, out)
    report, checkpoints = Report(budget, curves, console), Checkpoints(recipe, budget, curves, out, digest, seen)
    callbacks: list[Callback] = [budget, curves, report, checkpoints]
    if recipe.ema:
        callbacks.insert(0, WeightAveraging(avg_fn=_ema(recipe.ema)))
    if recipe.patience:
        callbacks.append(EarlyStopping(f"val_{recipe.monitor}", mode=recipe.mode, patience=recipe.patience))
    return callbacks


def _train(
    module: Module,
    data: Data,
    callbacks: list[Callback],
    latest: Path | None,
    first: int,
    device: str,
    workers: int,
) -> None:
    """From step `first` on, with the state in `latest`, until a callback ends it."""
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
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning's own use of torch
        try:
            trainer = L.Trainer(
                accelerator=device,
                devices=1,
                max_epochs=-1,
                val_check_interval=module.recipe.validate_every,
                check_val_every_n_epoch=None,
                gradient_clip_val=module.recipe.clip_norm or None,
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
        return count(self.first)
