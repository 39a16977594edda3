"""Trains and scores every model of the paper under every protocol, one piece of result at a time.

Each piece is a JSON file in the folder of runs, written when it is done: the same command goes on where it was stopped,
and a finished folder gives the page again in seconds.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from scipy.special import expit
from torch import nn

from facetell.detectors import Detector
from facetell.detectors.file import read_detector_file
from facetell.errors import TrainingError
from facetell.evaluation.metrics import metrics
from facetell.evaluation.protocol import resampling_unit
from facetell.evaluation.scoring import picture
from facetell.faces.align import crop_face
from facetell.files import make_folder, replacing, sha256_of
from facetell.networks.mesonet import SIZE
from facetell.report.text import count
from facetell.residual import FRAMES
from facetell.training import boosting, clip, crop
from facetell.training.binary import BinaryModule, logits_of
from facetell.training.clip import ClipTask, EveryRun, Runs
from facetell.training.crop import CropTask
from facetell.training.faces import Crops, EveryCrop, require_both_classes
from facetell.training.fit import fit
from facetell.training.keras import import_mesonet, read_mesonet
from facetell.training.module import Run
from facetell.training.paper import claims
from facetell.training.paper.material import BORDER, Material, by_original, find
from facetell.training.paper.protocols import PROTOCOLS, Fold, Protocol, deal, shared_groups
from facetell.training.recipe import CommonRecipe, load_recipe
from facetell.training.tasks import Data, SizedBatches

WIDE = 0.7  # scale of the crops with which the background's effect is measured: half of such a crop is background
MOST_TRAINED = 500  # rows for the accuracy on training data
SWEEP = (  # one change each, as by hand
    ("batch of 20, as in the paper", {"batch": 20}),
    ("learning rate × 3", {"learning_rate": 3e-3}),
    ("learning rate ÷ 3", {"learning_rate": 3e-4}),
    ("batch of 64", {"batch": 64}),
    ("dropout 0.5", {"dropout": 0.5}),
    ("twice as wide", {"widths": (16, 16, 32, 32), "hidden": 32}),
)


@dataclass(frozen=True)
class Model:
    """One of the paper's models: what it is called there, how it is trained, on what."""

    name: str
    title: str
    task: ClipTask | CropTask | boosting.BoostingTask
    recipe: str
    on: Literal["clips", "crops"]
    share: float = 1.0  # of the minutes of a model and protocol: a network that is slow a step needs more


MESO = Model("meso", "Meso-CNN", crop.MESO, "meso-paper", "crops")
MODELS = (
    Model("cnn3d", "3D-CNN", clip.CNN3D, "cnn3d", "clips", 1.5),
    Model("gru", "GRU", clip.GRU, "gru", "clips", 0.5),
    Model("lightgbm", "LightGBM", boosting.TASK, "lightgbm", "clips"),
    MESO,
    Model("noise", "noise pattern classifier", crop.NOISE, "noise", "crops"),
)


@dataclass(frozen=True)
class Effort:
    """How long it may all take."""

    minutes: float = 2.0  # for each model and protocol, on average
    epochs: int = 100  # at most, as in the paper
    crops: int = 4000
    folds: int = 5  # parts that the rows are dealt into
    tested: int = 3  # of these parts, with clips; with crops, which are many, one is enough
    validate_every: int = 25  # steps, at least
    n_boot: int = 1000
    sweep: int = len(SWEEP)
    backgrounds: tuple[str, ...] = ("keep", "mean", "green")
    exported: tuple[Protocol, ...] = tuple(PROTOCOLS)  # whose trainings become detector files
    backbone: str = ""  # of the noise pattern classifier, untrained, in place of its recipe's
    seed: int = 0


QUICK = Effort(
    minutes=2.0,
    epochs=6,
    crops=120,
    folds=3,
    tested=1,
    validate_every=3,
    n_boot=200,
    sweep=1,
    backgrounds=("keep", "mean"),
    exported=("b",),
    backbone="test_efficientnet",
)


def reproduce(
    folders: Sequence[Path],
    runs: Path,
    effort: Effort,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Everything, as plain JSON types; `facetell.training.paper.page` makes a page of it.

    Args:
        folders: data sets, or folders of them; see `facetell.training.paper.material.find`.
        runs: where caches, runs and pieces of result are kept.
        effort: how long it may take.
        say: told, in a line, what comes next.

    Raises:
        DataError: too little to train on.
        TrainingError: as `fit`, and where `runs` was begun with another effort or other data.
        OutputError: `runs` cannot be written.
    """
    sources = find(folders, effort.crops, effort.seed)
    _same_work(effort, sources.digest(), runs)
    work = Work(Material(sources, runs / "caches", say), runs, effort, say)
    return {
        "effort": dataclasses.asdict(effort),
        "quick": replace(effort, seed=0) == QUICK,
        "data": work.piece("data", work.data),
        "by_original": int(by_original(sources.crops).sum()),
        "models": [work.trained(model, protocol) for model in MODELS for protocol in PROTOCOLS],
        "mesonets": [work.mesonet(path) for path in sources.weights],
        "background": [
            work.trained(model, "b", {"scale": WIDE, "background": fill}, f"-wide-{fill}", share=1 / 3)
            for model in MODELS
            for fill in effort.backgrounds
        ],
        "sweep": [
            work.trained(MESO, "b", changes, f"-sweep-{number}", share=1 / 3) | {"title": title}
            for number, (title, changes) in enumerate(SWEEP[: effort.sweep])
        ],
        "frame_150": {p: work.piece(f"frame-150-{p}", work.frame_150, p)["test"] for p in PROTOCOLS},
        "fakes_only": work.piece("fakes-only", work.fakes_only)["models"],
        "claims": work.piece("claims", work.claims),
        "machine": work.piece("machine", machine),
        "seconds": work.seconds(),
    }


def _same_work(effort: Effort, data: str, runs: Path) -> None:
    """Note the effort and the data's digest in the folder of runs, or insist that they are those noted there."""
    path, written = runs / "effort.json", json.dumps(dataclasses.asdict(effort) | {"data": data})
    if not path.is_file():
        make_folder(runs)
        with replacing(path) as part:
            part.write_text(written, encoding="utf-8")
    ours = json.loads(written)
    younger = json.loads(json.dumps(dataclasses.asdict(Effort())))  # than that folder: a field has its default there
    theirs = younger | json.loads(path.read_text(encoding="utf-8"))
    different = sorted(name for name in ours if theirs.get(name) != ours[name])
    advice = "Give the same options, or another folder with --runs."
    if different == ["data"]:
        raise TrainingError(f"The trainings in {runs} were made on other data.", advice)
    if different := [name for name in different if name != "data"]:  # an effort draws a sample of its own
        raise TrainingError(
            f"The trainings in {runs} were made with another effort: {', '.join(different)} differ.", advice
        )


class Work:
    """The pieces of the result, each made once."""

    def __init__(self, material: Material, runs: Path, effort: Effort, say: Callable[[str], None]) -> None:
        self.material, self.runs, self.effort, self.say = material, runs, effort, say

    def piece(self, name: str, make: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """What `make` gives, or gave when it was made before."""
        path = self.runs / name / "result.json"
        if not path.is_file():
            self.say(name)
            began = time.monotonic()
            made = make(*arguments)
            make_folder(path.parent)
            with replacing(path) as part:
                part.write_text(json.dumps(made | {"took_s": round(time.monotonic() - began, 1)}), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    def data(self) -> dict[str, Any]:
        """What there is of each kind.

        Raises:
            TrainingError: too few clips for what is to be trained on them.
        """
        sources, runs = self.material.sources, self.material.runs(1.1)
        self._suffice(runs.videos)
        parts = {"clips": runs.videos, "crops": sources.crops, "stills": sources.stills, "fakes only": sources.scored}
        listed = {
            name: {
                "sets": sorted(set(rows.dataset)),
                "real": int((rows.label == 0).sum()),
                "fake": int((rows.label == 1).sum()),
                "groups": int((rows.dataset + ":" + rows.group).nunique()),
            }
            for name, rows in parts.items()
        }
        return {"parts": listed, "too_short": len(sources.clips) - len(runs.labels), "unused": sources.unused}

    def trained(
        self,
        model: Model,
        protocol: Protocol,
        changes: dict[str, Any] | None = None,
        suffix: str = "",
        share: float = 1.0,
    ) -> dict[str, Any]:
        """A model under a protocol: trained once per tested fold, its scores on all of them judged together.

        Without changes to its recipe the first training also becomes a detector file, if the effort asks for it.

        Args:
            changes: to the recipe.
            suffix: of the piece's name.
            share: of the minutes that one model and protocol may take.
        """
        name = f"{model.name}-{protocol}{suffix}"
        minutes = self.effort.minutes * model.share * share
        return self.piece(name, self._train, model, protocol, changes or {}, name, minutes)

    def _train(
        self, model: Model, protocol: Protocol, changes: dict[str, Any], name: str, minutes: float
    ) -> dict[str, Any]:
        recipe = replace(load_recipe(model.recipe, model.task.recipe), seed=self.effort.seed, **changes)
        if self.effort.backbone and isinstance(recipe, crop.NoiseRecipe):
            recipe = replace(recipe, backbone=self.effort.backbone, weights="none")
        if isinstance(recipe, crop.CropRecipe):
            recipe = replace(recipe, shift=BORDER)  # whatever the recipe says: so the published figures were made
        items = self._items(model, recipe.scale)
        folds = self._folds(model, items.videos, protocol)
        runs, known, logits_of_known, logits = [], [], [], []
        for number, fold in enumerate(folds):
            out = self.runs / name / f"fold-{number}"
            run = fit_on(model, recipe, items, fold, out, self.effort, minutes / len(folds))
            runs.append(run)
            known.append(np.random.default_rng(self.effort.seed).permutation(fold.train)[:MOST_TRAINED])
            logits_of_known.append(logits_on(run, items.take(known[-1])))
            logits.append(logits_on(run, items.take(fold.test)))
        curves = [pd.read_csv(run.out / "curves.csv") for run in runs]
        test = np.concatenate([fold.test for fold in folds])
        result = {
            "model": model.name,
            "title": model.title,
            "protocol": protocol,
            "changes": changes,
            "parameters": count_parameters(runs[0].module),
            "trees": runs[0].step if isinstance(model.task, boosting.BoostingTask) else None,
            "folds": len(folds),
            "minutes": minutes,
            "seconds": sum(run.seconds for run in runs),
            "epochs": [
                float(curve.step.iloc[-1]) * getattr(recipe, "batch", len(fold.train)) / len(fold.train)
                for curve, fold in zip(curves, folds, strict=True)
            ],
            "shared_groups": [shared_groups(items.videos, fold) for fold in folds],
            "rows": [[len(fold.train), len(fold.dev), len(fold.test)] for fold in folds],
            "train": accuracies(items.labels[np.concatenate(known)], np.concatenate(logits_of_known)),
            "dev": runs[0].metrics,
            "test": self._judged(items.videos.iloc[test], np.concatenate(logits)),
            "curves": curves[0].to_dict("list"),
        }
        if not changes and protocol in self.effort.exported:
            path = model.task.write(runs[0], items.take(folds[0].dev))  # type: ignore[arg-type]
            result |= deployed(path, runs[0], items.take(folds[0].test[:FRAMES]))
            result["detector"] = str(path.relative_to(self.runs))
        return result

    def mesonet(self, weights: Path) -> dict[str, Any]:
        """The MesoNet authors' weights, on the crops that Meso-CNN is tested on under (b), and on stills."""
        stems = [path.stem for path in self.material.sources.weights]
        alike = stems.count(weights.stem) > 1
        title = f"{weights.stem}-{sha256_of(weights)[:8]}" if alike else weights.stem
        return self.piece(f"mesonet-{title}", self._mesonet, weights, title)

    def _mesonet(self, weights: Path, title: str) -> dict[str, Any]:
        folder = self.runs / f"mesonet-{title}"
        make_folder(folder)
        path = folder / f"{title}.onnx"
        parity = import_mesonet(weights, path)
        detector = Detector(read_detector_file(path), threads=1)
        crops = self._items(MESO, 1.1).videos
        crops = crops.iloc[deal(crops, "b", self.effort.folds, self.effort.seed)[0].test]
        stills = self.material.sources.stills
        found: dict[str, Any] = {
            "title": title,
            "parity": parity,
            "parameters": count_parameters(read_mesonet(weights)),
            "milliseconds": milliseconds(detector, np.zeros((FRAMES, SIZE, SIZE, 3), np.uint8)),
            "crops": self._judged(crops, whole_pictures(detector, crops)),
            "stills": None,
            "videos": None,
        }
        if len(stills):
            logits = whole_pictures(detector, stills)
            video = stills.dataset + ":" + stills.video
            first = ~video.duplicated()
            mean = pd.Series(logits, stills.index).groupby(video).transform("mean")
            found["stills"] = self._judged(stills, logits)
            found["videos"] = self._judged(stills[first], mean[first].to_numpy())
        return found

    def frame_150(self, protocol: Protocol) -> dict[str, Any]:
        """Meso-CNN as trained under a protocol, on the paper's test: the face in frame 150 of other sets' clips.

        None where no such clips of both classes are that long, or the training did not become a file.
        """
        trained = self.trained(MESO, protocol)
        if "detector" not in trained:
            return {"test": None}
        detector = Detector(read_detector_file(self.runs / trained["detector"]), threads=1)
        crops = self.material.paper_frames(detector.card.geometry.scale)
        if crops is None:
            return {"test": None}
        return {"test": self._judged(crops.videos, detector.score(crops.images).logits)}

    def fakes_only(self) -> dict[str, Any]:
        """The models of clips, as trained leak-free, on clips of a set that has fakes only."""
        if self.material.sources.scored.empty or "b" not in self.effort.exported:
            return {"models": {}}
        found = {}
        for model in MODELS:
            if model.on == "clips":
                trained = self.trained(model, "b")
                detector = Detector(read_detector_file(self.runs / trained["detector"]), threads=1)
                runs = self.material.scored_runs(detector.card.geometry.scale)
                logits = detector.score(runs.images).logits
                found[model.title] = {"n": len(logits), "called_fake": int((logits > 0).sum())}
        return {"models": found}

    def claims(self) -> dict[str, Any]:
        """What the paper says of its "distinguishment", held against the data."""
        runs, crops = self.material.runs(1.1), self.material.crops(1.1)
        faces = np.stack([crops.inner(index) for index in range(len(crops.labels))])
        sets = {"clips": (runs.images, runs.videos), "crops": (faces[:, None], crops.videos)}
        return {name: claims.measure(faces, videos, self.effort.n_boot) for name, (faces, videos) in sets.items()}

    def seconds(self) -> float:
        """What all pieces took when they were made, caches included."""
        pieces = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.runs.glob("*/result.json"))]
        return sum(piece["took_s"] for piece in pieces)

    def _suffice(self, clips: pd.DataFrame) -> None:
        """Insist, before the first training, on clips enough for every model's last one."""
        for model in MODELS:
            recipe = load_recipe(model.recipe, model.task.recipe)
            for protocol in PROTOCOLS if model.on == "clips" else ():
                for fold in self._folds(model, clips, protocol):
                    require_both_parts(model, clips.label.to_numpy(), fold)
                    if isinstance(recipe, boosting.BoostingRecipe) and len(fold.train) < recipe.least_runs:
                        share = 1 - 2 / self.effort.folds
                        raise TrainingError(
                            f"Too few with {count(len(clips), 'clip')}: under protocol {protocol} {model.title} would "
                            f"be trained on {len(fold.train)}, and takes {recipe.least_runs}.",
                            f"Give data (--data) of about {math.ceil(recipe.least_runs / share)} clips or more, each "
                            f"with one face in {FRAMES} sampled frames.",
                        )

    def _folds(self, model: Model, videos: pd.DataFrame, protocol: Protocol) -> list[Fold]:
        """Those of a protocol that a model is trained for."""
        folds = deal(videos, protocol, self.effort.folds, self.effort.seed)
        return folds[: self.effort.tested if model.on == "clips" else 1]

    def _items(self, model: Model, scale: float) -> Runs | Crops:
        return self.material.runs(scale) if model.on == "clips" else self.material.crops(scale)

    def _judged(self, videos: pd.DataFrame, logits: np.ndarray) -> dict[str, Any]:
        """Metrics with intervals by group of videos, and what always saying FAKE would be right in."""
        labels = videos.label.to_numpy()
        unit, groups = resampling_unit(videos)
        p_fake = expit(logits.astype(np.float64))
        found = metrics(labels, p_fake, groups, self.effort.n_boot, self.effort.seed, logits=logits)
        return found | accuracies(labels, logits) | {"always_fake": float(labels.mean()), "resampled_by": unit}


class OnTheseItems:
    """A task on items chosen by hand, in place of its caches' splits."""

    def __init__(self, task: ClipTask | CropTask, train: Any, dev: Any) -> None:
        self.task, self.train, self.dev = task, train, dev
        self.name, self.recipe = task.name, task.recipe

    def module(self, recipe: Any) -> BinaryModule:
        return self.task.module(recipe)

    def data(self, recipe: Any, caches: Sequence[Any]) -> Data:
        return self.task.batches(recipe, self.train, self.dev)

    def validation(self, recipe: Any, caches: Sequence[Any]) -> SizedBatches:
        return self.data(recipe, caches).validation

    def trained_on(self, caches: Sequence[Any]) -> list[str]:
        return sorted(set(self.train.videos.dataset))

    def export(self, run: Run, caches: Sequence[Any]) -> Path:
        return self.task.write(run, self.dev)


def fit_on(
    model: Model,
    recipe: CommonRecipe,
    items: Runs | Crops,
    fold: Fold,
    out: Path,
    effort: Effort,
    minutes: float | None = None,
) -> Run:
    """Train a model on a fold, or go on with it where it was stopped."""
    require_both_parts(model, items.labels, fold)
    train, dev = items.take(fold.train), items.take(fold.dev)
    if isinstance(model.task, boosting.BoostingTask):
        return model.task.fit_runs(recipe, train, dev, out)  # type: ignore[arg-type]
    epoch = math.ceil(len(fold.train) / recipe.batch)  # type: ignore[attr-defined]
    recipe = replace(
        recipe,
        steps=effort.epochs * epoch,
        validate_every=max(1, round(effort.validate_every / epoch)) * epoch,  # type: ignore[call-arg]
    )
    task = OnTheseItems(model.task, train, dev)
    return fit(task, recipe, [], out, resume=True, max_minutes=minutes, device="cpu", console=Console(quiet=True))


def require_both_parts(model: Model, labels: np.ndarray, fold: Fold) -> None:
    """Raise TrainingError unless both classes are in what a model is trained on, and in what chooses its weights."""
    require_both_classes(labels[fold.train], f"The training part for {model.title}")
    require_both_classes(labels[fold.dev], f"The part that chooses the weights of {model.title}")


def logits_on(run: Run, items: Runs | Crops) -> np.ndarray:
    """The trained network's logits (N,) of items."""
    batches = EveryRun(items) if isinstance(items, Runs) else EveryCrop(items)
    return logits_of(run.module, batches)


def accuracies(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """At P(fake) = 0.5: of all items, and the mean of both classes' own."""
    right = (logits > 0) == (labels == 1)
    balanced = np.mean([right[labels == label].mean() for label in np.unique(labels)])
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(balanced)}


def deployed(path: Path, run: Run, items: Runs | Crops) -> dict[str, float]:
    """How far the detector file is from the network it was made of, and its time for one video on one core."""
    detector = Detector(read_detector_file(path), threads=1)
    images = items.images if isinstance(items, Runs) else np.stack([items.inner(i) for i in range(len(items.labels))])
    ours, theirs = logits_on(run, items), detector.score(images).logits
    apart = float((np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max())
    one_video = images[:1] if isinstance(items, Runs) else np.resize(images, (FRAMES, *images.shape[1:]))
    return {"parity": apart, "milliseconds": milliseconds(detector, one_video)}


def milliseconds(detector: Detector, crops: np.ndarray) -> float:
    """Median time of five for these crops, the network alone."""
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        detector.score(crops)
        taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken))


def whole_pictures(detector: Detector, rows: pd.DataFrame) -> np.ndarray:
    """Logits (N,) of pictures taken as they are, as the MesoNet authors' own crops were."""
    card, logits = detector.card, []
    for start in range(0, len(rows), 64):
        part = rows.iloc[start : start + 64]
        pictures = [picture(path, member) for path, member in zip(part.path, part.member, strict=True)]
        crops = [crop_face(p, np.zeros((5, 2)), (0, 0, 1, 1), card.geometry, card.input_size) for p in pictures]
        logits.append(detector.score(np.stack(crops)).logits)
    return np.concatenate(logits)


def count_parameters(network: nn.Module) -> int:
    """Trained numbers."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def machine() -> dict[str, Any]:
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")  # Linux only
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ("facetell", "torch", "lightning", "lightgbm", "onnxruntime", "numpy", "opencv-python-headless")
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[2],  # over the last 15 minutes
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
