"""LightGBM on statistics of the residuals of 20 faces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import lightgbm
import numpy as np
import torch
from torch import nn

from facetell.errors import TrainingError
from facetell.faces.align import Geometry
from facetell.files import make_folder, replacing
from facetell.networks.background import Surroundings, behind
from facetell.networks.statistics import NAMES, Statistics
from facetell.networks.trees import Trees
from facetell.residual import SIDE
from facetell.training.binary import BinaryModule
from facetell.training.clip import MEAN, STD, EveryRun, Runs, runs_from, write_clip_detector
from facetell.training.curves import draw_curves, write_curves
from facetell.training.module import Run
from facetell.training.recipe import CommonRecipe, Range, to_toml

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache

SHOWN = 20  # features in the picture of importances


@dataclass(frozen=True)
class BoostingRecipe(CommonRecipe):
    """Recipe of `facetell train lightgbm`; a step is a tree."""

    learning_rate: Annotated[float, Range(1e-6, 10)] = 3e-4
    leaves: Annotated[int, Range(2, 256)] = 7
    leaf_runs: Annotated[int, Range(1, 2**31 - 1)] = 8  # fewest runs in a leaf
    features: Annotated[float, Range(0.01, 1)] = 0.5  # share of them that a tree may split on
    scale: Annotated[float, Range(0.5, 2)] = 1.1  # the face's height by the crop's side
    background: Surroundings = "keep"  # what is put outside the face

    @property
    def geometry(self) -> Geometry:
        return Geometry("landmarks", self.scale)

    @property
    def least_runs(self) -> int:
        """To train on: with fewer no tree can split them."""
        return 2 * self.leaf_runs


class BoostingTask:
    """See `facetell.training.tasks.TrainsItself`."""

    name = "lightgbm"
    recipe = BoostingRecipe

    def fit(self, recipe: BoostingRecipe, caches: Sequence[FaceCache], out: Path) -> Run:
        train, dev = (runs_from(caches, split, recipe.geometry) for split in ("train", "dev"))
        return self.fit_runs(recipe, train, dev, out)

    def fit_runs(self, recipe: BoostingRecipe, train: Runs, dev: Runs, out: Path) -> Run:
        """Train on these runs; the curves, the trees as LightGBM's text and the features' importances go into `out`.

        Raises:
            TrainingError: too few runs, or too much alike, for any tree to split them.
            OutputError: a file cannot be written.
        """
        start = time.monotonic()
        make_folder(out)
        statistics = behind(Statistics(recipe.scale), recipe.background, SIDE, recipe.scale, MEAN, STD)
        sets = {"train": _dataset(statistics, train), "val": _dataset(statistics, dev)}
        values: dict[str, dict[str, list[float]]] = {}
        callbacks = [lightgbm.record_evaluation(values)]
        if recipe.patience:
            callbacks.append(lightgbm.early_stopping(recipe.patience, first_metric_only=True, verbose=False))
        settings = {
            "objective": "binary",
            "metric": ["binary_logloss", "binary_error"],
            "learning_rate": recipe.learning_rate,
            "num_leaves": recipe.leaves,
            "min_data_in_leaf": recipe.leaf_runs,
            "feature_fraction": recipe.features,
            "seed": recipe.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
        booster = lightgbm.train(
            settings, sets["train"], recipe.steps, list(sets.values()), list(sets), callbacks=callbacks
        )
        step = booster.best_iteration or booster.current_iteration()
        grown = booster.dump_model(num_iteration=step)["tree_info"]
        if all(tree["num_leaves"] == 1 for tree in grown):
            raise TrainingError(
                f"{len(train.labels)} training runs are too few for leaf_runs = {recipe.leaf_runs}, or too much alike: "
                "no tree has a split.",
                "Give more clips, or a recipe with a smaller leaf_runs.",
            )
        trees = Trees(grown)
        module = BinaryModule(nn.Sequential(statistics, trees), recipe).eval()
        rows = _curves(values)
        for name, text in (
            ("recipe.toml", to_toml(recipe)),
            ("trees.txt", booster.model_to_string(num_iteration=step)),
        ):
            with replacing(out / name) as part:
                part.write_text(text, encoding="utf-8")
        write_curves(rows, out / "curves.csv")
        draw_curves(rows, out / "curves.png")
        draw_importances(booster.feature_importance("gain", iteration=step), out / "importances.png")
        best = {name.removeprefix("val_"): value for name, value in rows[step - 1].items() if name.startswith("val_")}
        return Run(module, recipe, out, step, best, time.monotonic() - start)

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        return self.write(run, runs_from(caches, "dev", run.recipe.geometry))

    def write(self, run: Run, dev: Runs) -> Path:
        """The detector file, its numbers measured on these runs."""
        description = "LightGBM on statistics of 20 grey faces minus their Gaussian blur."
        return write_clip_detector(self.name, "series", description, run, dev)


def draw_importances(gains: np.ndarray, path: Path) -> None:
    """The features that gained most, as a picture of bars; gains (F,) in the order of `NAMES`."""
    from matplotlib.figure import Figure

    order = np.argsort(gains)[-SHOWN:]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.barh([NAMES[i] for i in order], gains[order] / max(gains.sum(), 1e-9))
    axes.set_xlabel("share of the trees' gain")
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as part:
        figure.savefig(part, dpi=110)


def _dataset(statistics: nn.Module, runs: Runs) -> lightgbm.Dataset:
    """The features of runs, both classes of one weight in all."""
    batches = EveryRun(runs)
    with torch.inference_mode():
        features = [statistics(torch.from_numpy(batches[i]["crops"])).numpy() for i in range(len(batches))]
    share = np.bincount(runs.labels, minlength=2) / len(runs.labels)
    return lightgbm.Dataset(np.concatenate(features), runs.labels, weight=0.5 / share[runs.labels], free_raw_data=False)


def _curves(values: dict[str, dict[str, list[float]]]) -> list[dict[str, float]]:
    """One row per tree, named as every training's curves are."""
    rounds = range(len(values["train"]["binary_logloss"]))
    rows = []
    for i in rounds:
        row = {"step": float(i + 1)}
        row |= {f"{part}_loss": found["binary_logloss"][i] for part, found in values.items()}
        row |= {f"{part}_accuracy": 1 - found["binary_error"][i] for part, found in values.items()}
        rows.append(row)
    return rows


TASK = BoostingTask()
