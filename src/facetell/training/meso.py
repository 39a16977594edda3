"""The paper's MesoNet-style detector on 150-pixel faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch

from facetell.detectors import DetectorCard
from facetell.faces.align import Geometry
from facetell.networks.background import behind
from facetell.networks.meso import SIZE, Meso
from facetell.training.binary import BinaryModule, logits_of, measured, thresholds_of
from facetell.training.export import export
from facetell.training.faces import BalancedCrops, Crops, EveryCrop, crops_of
from facetell.training.recipe import Range, Recipe
from facetell.training.tasks import Data

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache
    from facetell.training.fit import Run

MEAN = STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class MesoRecipe(Recipe):
    """Recipe of `facetell train meso`."""

    widths: Annotated[tuple[int, int, int, int], Range(1, 512)] = (8, 8, 16, 16)
    hidden: Annotated[int, Range(1, 4096)] = 16
    dropout: Annotated[float, Range(0, 0.9)] = 0.25
    scale: Annotated[float, Range(0.5, 2)] = 1.1  # the face's height by the crop's side
    background: Literal["keep", "mean", "green"] = "keep"  # what is put outside the face
    shift: Annotated[int, Range(0, 40)] = 8  # pixels of random shift, at most
    paired: Annotated[float, Range(0, 1)] = 0.5  # share of the fakes with their own original in the batch
    damaged: Annotated[float, Range(0, 1)] = 0.5  # share of the crops given mild JPEG, blur, noise or tone

    @property
    def geometry(self) -> Geometry:
        return Geometry("landmarks", self.scale)


class MesoTask:
    """See `facetell.training.tasks.Task`."""

    name = "meso"
    recipe = MesoRecipe

    def module(self, recipe: MesoRecipe) -> BinaryModule:
        network = Meso(recipe.widths, recipe.hidden, recipe.dropout)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return BinaryModule(behind(network, recipe.background, SIZE, recipe.scale, MEAN, STD), recipe)

    def data(self, recipe: MesoRecipe, caches: Sequence[FaceCache]) -> Data:
        train = crops_of(caches, "train", recipe.geometry, SIZE, border=recipe.shift)
        return self.batches(recipe, train, crops_of(caches, "dev", recipe.geometry, SIZE))

    def batches(self, recipe: MesoRecipe, train: Crops, dev: Crops) -> Data:
        """What it trains and validates on, of these crops."""
        return Data(
            BalancedCrops(train, recipe.batch, recipe.seed, recipe.paired, recipe.damaged, MEAN, STD),
            EveryCrop(dev, MEAN, STD),
        )

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        return self.write(run, crops_of(caches, "dev", run.recipe.geometry, SIZE))

    def write(self, run: Run, dev: Crops) -> Path:
        """The detector file, its numbers measured on these crops."""
        batches = EveryCrop(dev, MEAN, STD)
        logits = logits_of(run.module, batches)
        sets = " and ".join(sorted(set(dev.videos.dataset)))
        card = DetectorCard(
            name=self.name,
            version="1",
            kind="frame",
            input_size=SIZE,
            geometry=run.recipe.geometry,
            mean=MEAN,
            std=STD,
            outputs={"logit": "logit"},
            training_data=f"{sets}, the train split; chosen on the dev split, which shares no group with it",
            metrics={
                f"{sets}, dev split, single faces, fakes cut where their originals are": measured(
                    logits, dev.labels, dev.videos
                )
            },
            thresholds=thresholds_of(logits, dev.labels, f"single real faces of {sets}, dev split"),
            provisional=True,
            licence="Apache-2.0 for the weights; the training data are licensed for research",
            description="MesoNet-style network of the paper, 150-pixel faces, trained from scratch.",
            limits=(
                "A small network of 2018's kind, trained on one data set; fakes made by other means are often missed.",
                "How far compression and small faces lower its accuracy was not measured.",
            ),
        )
        path = run.out / f"{self.name}.onnx"
        export(run.module.network, torch.from_numpy(batches[0]["crops"]), ["logit"], card, path)
        return path


TASK = MesoTask()
