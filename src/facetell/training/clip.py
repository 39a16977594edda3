"""The paper's detectors of runs of faces: the 3D-CNN on residuals, the GRU on the series of their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from facetell.data.cache import POINTS, FaceCache
from facetell.detectors import DetectorCard
from facetell.errors import TrainingError
from facetell.evaluation.protocol import units
from facetell.faces.align import Geometry, crop_face
from facetell.networks.background import Surroundings, behind
from facetell.networks.cnn3d import Cnn3d
from facetell.networks.gru import Gru
from facetell.residual import FRAMES, SIDE
from facetell.scanning.scoring import clips_of, runs_of
from facetell.training.binary import BinaryModule, logits_of, measured, thresholds_of
from facetell.training.export import export
from facetell.training.faces import belongs_to, datasets_of, require_both_classes, require_room_for_both
from facetell.training.recipe import Range, Recipe
from facetell.training.tasks import Data
from facetell.video.plans import Clips, parse_plan

if TYPE_CHECKING:
    from facetell.training.module import Run

MEAN, STD = (0.0,), (1 / 255,)  # the networks take grey levels
PLAN = f"clips:1x{FRAMES}@5"  # what a scan takes for these detectors
Kind = Literal["clip", "series"]


@dataclass(frozen=True)
class ClipRecipe(Recipe):
    """Recipe of `facetell train cnn3d` and `facetell train gru`."""

    scale: Annotated[float, Range(0.5, 2)] = 1.1  # the face's height by the crop's side
    background: Surroundings = "keep"  # what is put outside the face

    @property
    def geometry(self) -> Geometry:
        return Geometry("landmarks", self.scale)


@dataclass(frozen=True, eq=False)
class Runs:
    """N runs of T faces of one person each."""

    images: np.ndarray  # (N, T, S, S, 3) uint8 RGB
    labels: np.ndarray  # (N,) 1 = FAKE
    videos: pd.DataFrame  # (N rows) of the manifest

    def take(self, chosen: np.ndarray) -> Runs:
        """The runs of these numbers, which may occur repeatedly."""
        videos = self.videos.iloc[chosen].reset_index(drop=True)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], videos=videos)


def runs_from(
    caches: Sequence[FaceCache], split: str, geometry: Geometry, frames: int = FRAMES, both: bool = True
) -> Runs:
    """Every run of `frames` faces of one track and one clip of the plan; a shorter one is left out, nothing is padded.

    Args:
        both: insist on both classes.

    Raises:
        TrainingError: frames that lie otherwise than in a scan, no track long enough, or not both classes have one.
    """
    images, rows, offset = [], [], 0
    for cache in caches:
        plan = _plan_of(cache)
        wanted = cache.faces[belongs_to(cache, split)].dropna(subset=list(POINTS))
        for _, track in wanted.sort_values("time_s").groupby(["item", "track"]):
            points = track[list(POINTS)].to_numpy(np.float32).reshape(-1, 5, 2)
            for clip in clips_of(track["frame"].tolist(), plan):
                if len(clip) < frames:
                    continue
                faces = ((cache.read(int(track.index[place])), points[place]) for place in clip)
                crops = np.stack([crop_face(image, five, (0, 0, 1, 1), geometry, SIDE) for image, five in faces])
                for run in runs_of(len(clip), frames):
                    images.append(crops[run])
                    rows.append(int(track["item"].iloc[0]) + offset)
        offset += len(cache.manifest)
    if not rows:
        raise TrainingError(
            f"The split {split!r} holds no track of {frames} faces.",
            f"Prepare the cache from videos with --sample {PLAN}.",
        )
    videos = pd.concat([cache.manifest for cache in caches], ignore_index=True).iloc[rows].reset_index(drop=True)
    labels = videos.label.to_numpy(np.int64)
    if both:
        require_both_classes(labels, f"The split {split!r}, in tracks of {frames} faces,")
    return Runs(np.stack(images), labels, videos)


def _plan_of(cache: FaceCache) -> Clips:
    """A cache's plan; its frames lie as far apart as a scan's, as what changes from one to the next is learned, too."""
    plan, wanted = parse_plan(str(cache.settings["plan"])), parse_plan(PLAN)
    assert isinstance(wanted, Clips)
    if not isinstance(plan, Clips) or plan.step != wanted.step:
        raise TrainingError(
            f"The cache {cache.folder} was prepared with --sample {plan}, and a scan takes {PLAN}.",
            f"Prepare it anew, from videos, with --sample {PLAN}.",
        )
    return plan


def grey_levels(images: np.ndarray) -> np.ndarray:
    """(N, T, S, S, 3) uint8 -> (N, T, 1, S, S) float32 in 0…255, as the detector makes them when scanning."""
    return images.mean(axis=-1, dtype=np.float32)[:, :, None]


class BalancedRuns:
    """Training batches without end: half REAL, half FAKE, half of them mirrored."""

    def __init__(self, runs: Runs, batch: int, seed: int) -> None:
        require_room_for_both(batch)
        self.runs, self.batch, self.seed = runs, batch, seed
        self.classes = [np.flatnonzero(runs.labels == label) for label in (0, 1)]

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, step])
        fakes = self.batch // 2
        chosen = np.concatenate([rng.choice(self.classes[0], self.batch - fakes), rng.choice(self.classes[1], fakes)])
        crops = grey_levels(self.runs.images[chosen])
        mirrored = rng.random(self.batch) < 0.5
        crops[mirrored] = crops[mirrored, ..., ::-1]
        return {"crops": crops, "label": self.runs.labels[chosen].astype(np.float32)}


class EveryRun:
    """Validation batches: each run once."""

    def __init__(self, runs: Runs, batch: int = 8) -> None:
        self.runs, self.batch = runs, batch

    def __len__(self) -> int:
        return -(-len(self.runs.labels) // self.batch)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        part = slice(index * self.batch, (index + 1) * self.batch)
        return {"crops": grey_levels(self.runs.images[part]), "label": self.runs.labels[part].astype(np.float32)}


class ClipTask:
    """See `facetell.training.tasks.Task`."""

    recipe = ClipRecipe

    def __init__(self, name: str, network: type[nn.Module], kind: Kind, description: str) -> None:
        self.name, self.network, self.description = name, network, description
        self.kind: Kind = kind

    def module(self, recipe: ClipRecipe) -> BinaryModule:
        return BinaryModule(behind(self.network(), recipe.background, SIDE, recipe.scale, MEAN, STD), recipe)

    def data(self, recipe: ClipRecipe, caches: Sequence[FaceCache]) -> Data:
        train, dev = (runs_from(caches, split, recipe.geometry) for split in ("train", "dev"))
        return self.batches(recipe, train, dev)

    def validation(self, recipe: ClipRecipe, caches: Sequence[FaceCache]) -> EveryRun:
        return EveryRun(runs_from(caches, "dev", recipe.geometry))

    def batches(self, recipe: ClipRecipe, train: Runs, dev: Runs) -> Data:
        """What it trains and validates on, of these runs."""
        return Data(BalancedRuns(train, recipe.batch, recipe.seed), EveryRun(dev))

    def trained_on(self, caches: Sequence[FaceCache]) -> list[str]:
        return datasets_of(caches)

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        return self.write(run, runs_from(caches, "dev", run.recipe.geometry))

    def write(self, run: Run, dev: Runs) -> Path:
        """The detector file, its numbers measured on these runs."""
        return write_clip_detector(self.name, self.kind, self.description, run, dev)


def write_clip_detector(name: str, kind: Kind, description: str, run: Run, dev: Runs) -> Path:
    """`run.out/name.onnx`, of a network that takes grey levels (N, T, 1, S, S); its numbers are measured on `dev`."""
    batches = EveryRun(dev)
    logits = logits_of(run.module, batches)
    sets = " and ".join(sorted(set(dev.videos.dataset)))
    trained = " and ".join(run.trained_on) or sets
    card = DetectorCard(
        name=name,
        version="1",
        kind=kind,
        input_size=SIDE,
        channels=1,
        frames=FRAMES,
        geometry=run.recipe.geometry,
        mean=MEAN,
        std=STD,
        outputs={"logit": "logit"},
        training_data=f"{trained}, the train split; chosen on the dev split",
        metrics={f"{sets}, dev split, runs of {FRAMES} faces": measured(logits, dev.labels, dev.videos)},
        thresholds=thresholds_of(
            logits, dev.labels, units(dev.videos), f"groups of runs of real faces of {sets}, dev split"
        ),
        licence="Apache-2.0 for the weights; the training data have licences of their own",
        description=description,
        limits=(f"A track needs {FRAMES} usable faces to count.",),
    )
    path = run.out / f"{name}.onnx"
    export(run.module.network, torch.from_numpy(batches[0]["crops"]), ["logit"], card, path)
    return path


CNN3D = ClipTask("cnn3d", Cnn3d, "clip", "The paper's 3D-CNN on 20 grey faces minus their Gaussian blur.")
GRU = ClipTask("gru", Gru, "series", "The paper's GRU on the mean absolute residual of 20 faces.")
