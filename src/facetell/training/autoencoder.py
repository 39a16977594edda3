"""Trains a small autoencoder of real faces, for the forge to draw faces with. It detects nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from facetell.errors import TrainingError
from facetell.faces.align import crop_face
from facetell.files import replacing
from facetell.forge.redraw import GEOMETRY
from facetell.networks.autoencoder import STRIDE, Autoencoder, Upsampling
from facetell.training.export import TOLERANCE, parity, to_onnx
from facetell.training.faces import datasets_of
from facetell.training.module import Module, Run
from facetell.training.pairs import Faces
from facetell.training.recipe import Range, Recipe
from facetell.training.tasks import Data

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache

WATCHED = 256  # real faces of the dev split that the validation draws


@dataclass(frozen=True)
class AutoencoderRecipe(Recipe):
    """Recipe of `facetell train autoencoder`."""

    upsampling: Upsampling = "transposed"
    width: Annotated[int, Range(1, 256)] = 16
    size: Annotated[int, Range(2 * STRIDE, 512)] = 128


class AutoencoderModule(Module):
    """Mean absolute error, of the picture and of its gradients: with the first alone edges stay soft."""

    def training_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        faces = _pictures(batch["images"])
        drawn = self.network(faces)
        return {"loss": _errors(drawn, faces).mean()}

    def validation_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        faces = _pictures(batch["images"])
        return {"error": _errors(self.network(faces), faces)}

    def metrics(self, predictions: dict[str, np.ndarray]) -> dict[str, float]:
        return {"loss": float(predictions["error"].mean())}


def _pictures(images: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 as (N, 3, H, W) float32 in 0…1."""
    return images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last) / 255


def _errors(drawn: Tensor, faces: Tensor) -> Tensor:
    """(N,) of each picture."""
    gradients = (functional.l1_loss(drawn.diff(dim=d), faces.diff(dim=d), reduction="none") for d in (2, 3))
    plain = functional.l1_loss(drawn, faces, reduction="none").mean(dim=(1, 2, 3))
    return plain + sum(gradient.mean(dim=(1, 2, 3)) for gradient in gradients)


class RealFaces:
    """Number → a batch of real faces {"images": (N, size, size, 3) uint8}, mirrored at random; all sources alike."""

    def __init__(self, recipe: AutoencoderRecipe, faces: Faces) -> None:
        self.recipe = recipe
        self.faces = faces
        self.rows = np.flatnonzero((faces.label == 0) & faces.seen)
        if not len(self.rows):
            raise TrainingError("No real face with known points is in this split.", "Prepare the cache anew.")

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.recipe.seed, index])
        crops = self.cut(rng.choice(self.rows, self.recipe.batch))
        mirrored = rng.random(len(crops)) < 0.5
        return {"images": np.where(mirrored[:, None, None, None], crops[:, :, ::-1], crops)}

    def cut(self, rows: np.ndarray) -> np.ndarray:
        size = self.recipe.size
        faces = ((self.faces.read(row), self.faces.points[row]) for row in rows)
        return np.stack([crop_face(image, points, (0, 0, 1, 1), GEOMETRY, size) for image, points in faces])


class WatchedFaces:
    """Number → a batch of the dev split's real faces, always the same ones."""

    def __init__(self, recipe: AutoencoderRecipe, faces: Faces) -> None:
        self.real = RealFaces(recipe, faces)
        chosen = np.random.default_rng(recipe.seed).permutation(self.real.rows)[:WATCHED]
        self.batches = [chosen[i : i + 32] for i in range(0, len(chosen), 32)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if index >= len(self):
            raise IndexError(index)
        return {"images": self.real.cut(self.batches[index])}


class AutoencoderTask:
    """`facetell train autoencoder`."""

    name = "autoencoder"
    recipe = AutoencoderRecipe

    def module(self, recipe: AutoencoderRecipe) -> AutoencoderModule:
        if recipe.size % STRIDE:
            raise TrainingError(f"size = {recipe.size} is not a multiple of {STRIDE}.", f"Take {STRIDE}, 128, 160, ….")
        network = Autoencoder(recipe.upsampling, recipe.width)
        return AutoencoderModule(network.to(memory_format=torch.channels_last), recipe)  # pyright: ignore[reportCallIssue]

    def data(self, recipe: AutoencoderRecipe, caches: Sequence[FaceCache]) -> Data:
        return Data(RealFaces(recipe, Faces(caches, train=True)), self.validation(recipe, caches))

    def validation(self, recipe: AutoencoderRecipe, caches: Sequence[FaceCache]) -> WatchedFaces:
        return WatchedFaces(recipe, Faces(caches, train=False))

    def trained_on(self, caches: Sequence[FaceCache]) -> list[str]:
        return datasets_of(caches, "train")

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        """`autoencoder.onnx`, for `facetell.forge.redraw`: any number of faces of any size."""
        path = run.out / f"{self.name}.onnx"
        images = self.validation(run.recipe, caches)[0]["images"]
        images = np.concatenate([images, images])[:4]  # two at least: a single one would be exported as a fixed number
        example = _pictures(torch.from_numpy(images))
        model = to_onnx(run.module.network, example, ["drawn"], inputs="faces", sides=STRIDE)
        with replacing(path) as part:
            onnx.save(model, part)
            if (difference := parity(run.module.network, part, example, inputs="faces")) > TOLERANCE:
                raise TrainingError(f"The exported network differs from the trained one by {difference:.2g}.")
        return path


TASK = AutoencoderTask()
