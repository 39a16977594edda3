"""The paper's detectors of single 150-pixel faces: its MesoNet-style network, and its noise pattern classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import nn

from facetell.detectors import DetectorCard
from facetell.evaluation.protocol import units
from facetell.faces.align import Geometry
from facetell.networks.background import Surroundings, behind
from facetell.networks.meso import SIZE, Meso
from facetell.networks.noise import NoiseClassifier
from facetell.training.binary import BinaryModule, logits_of, measured, thresholds_of
from facetell.training.export import export
from facetell.training.faces import MEAN, STD, BalancedCrops, Crops, EveryCrop, crops_of, datasets_of
from facetell.training.recipe import Range, Recipe
from facetell.training.tasks import Data

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache
    from facetell.training.module import Run


@dataclass(frozen=True)
class CropRecipe(Recipe):
    """What the training of either needs."""

    dropout: Annotated[float, Range(0, 0.9)] = 0.25
    scale: Annotated[float, Range(0.5, 2)] = 1.1  # the face's height by the crop's side
    background: Surroundings = "keep"  # what is put outside the face
    shift: Annotated[int, Range(0, 40)] = 8  # pixels of random shift, at most
    paired: Annotated[float, Range(0, 1)] = 0.5  # share of the fakes with their own original in the batch
    damaged: Annotated[float, Range(0, 1)] = 0.5  # share of the crops given mild JPEG, blur, noise or tone

    @property
    def geometry(self) -> Geometry:
        return Geometry("landmarks", self.scale)


@dataclass(frozen=True)
class MesoRecipe(CropRecipe):
    """Recipe of `facetell train meso`."""

    widths: Annotated[tuple[int, int, int, int], Range(1, 512)] = (8, 8, 16, 16)
    hidden: Annotated[int, Range(1, 4096)] = 16


@dataclass(frozen=True)
class NoiseRecipe(CropRecipe):
    """Recipe of `facetell train noise`."""

    backbone: str = "tf_efficientnet_lite0"
    weights: str = "package"  # of the backbone: "package", "hub", "none" or a file


class CropTask:
    """See `facetell.training.tasks.Task`."""

    def __init__(
        self,
        name: str,
        recipe: type[CropRecipe],
        network: Callable[[Any], nn.Module],
        description: str,
        limits: tuple[str, ...],
    ) -> None:
        self.name, self.recipe, self.network = name, recipe, network
        self.description, self.limits = description, limits

    def module(self, recipe: CropRecipe) -> BinaryModule:
        network = self.network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return BinaryModule(behind(network, recipe.background, SIZE, recipe.scale, MEAN, STD), recipe)

    def data(self, recipe: CropRecipe, caches: Sequence[FaceCache]) -> Data:
        train = crops_of(caches, "train", recipe.geometry, SIZE, border=recipe.shift)
        return self.batches(recipe, train, crops_of(caches, "dev", recipe.geometry, SIZE))

    def validation(self, recipe: CropRecipe, caches: Sequence[FaceCache]) -> EveryCrop:
        return EveryCrop(crops_of(caches, "dev", recipe.geometry, SIZE))

    def batches(self, recipe: CropRecipe, train: Crops, dev: Crops) -> Data:
        """What it trains and validates on, of these crops."""
        return Data(BalancedCrops(recipe, train), EveryCrop(dev))

    def trained_on(self, caches: Sequence[FaceCache]) -> list[str]:
        return datasets_of(caches)

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        return self.write(run, crops_of(caches, "dev", run.recipe.geometry, SIZE))

    def write(self, run: Run, dev: Crops) -> Path:
        """The detector file, its numbers measured on these crops."""
        batches = EveryCrop(dev)
        logits = logits_of(run.module, batches)
        sets = " and ".join(sorted(set(dev.videos.dataset)))
        trained = " and ".join(run.trained_on) or sets
        card = DetectorCard(
            name=self.name,
            version="1",
            kind="frame",
            input_size=SIZE,
            geometry=run.recipe.geometry,
            mean=MEAN,
            std=STD,
            outputs={"logit": "logit"},
            training_data=f"{trained}, the train split; chosen on the dev split, which shares no group with it",
            metrics={
                f"{sets}, dev split, single faces, fakes cut where their originals are": measured(
                    logits, dev.labels, dev.videos
                )
            },
            thresholds=thresholds_of(
                logits, dev.labels, units(dev.videos), f"groups of single real faces of {sets}, dev split"
            ),
            provisional=True,
            licence="Apache-2.0 for the weights; the training data are licensed for research",
            description=self.description,
            limits=(*self.limits, "How far compression and small faces lower its accuracy was not measured."),
        )
        path = run.out / f"{self.name}.onnx"
        export(run.module.network, torch.from_numpy(batches[0]["crops"]), ["logit"], card, path)
        return path


MESO = CropTask(
    "meso",
    MesoRecipe,
    lambda recipe: Meso(recipe.widths, recipe.hidden, recipe.dropout),
    "MesoNet-style network of the paper, 150-pixel faces, trained from scratch.",
    ("A small network of 2018's kind, trained on one data set; fakes made by other means are often missed.",),
)
NOISE = CropTask(
    "noise",
    NoiseRecipe,
    lambda recipe: NoiseClassifier(recipe.backbone, SIZE, recipe.weights, recipe.dropout, STD),
    "Noise pattern classifier: a backbone that sees a 150-pixel grey face minus its Gaussian blur.",
    ("It sees only fine noise, which every re-encoding changes; fakes made by other means are often missed.",),
)
