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
from torch.func import functional_call
from torch.nn import functional

from facetell.errors import TrainingError
from facetell.faces.align import crop_face
from facetell.files import replacing
from facetell.forge.redraw import GEOMETRY
from facetell.networks.autoencoder import STRIDE, Autoencoder, Upsampling, patch_critic
from facetell.training.checkpoint import read_checkpoint
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
    start: str = ""  # a checkpoint of an earlier training whose weights to begin with
    adversarial: Annotated[float, Range(0, 10)] = 0.0  # weight of a critic that learns to tell drawn faces; 0: none


class AutoencoderModule(Module):
    """Mean absolute error, of the picture and of its gradients: with the first alone edges stay soft.

    With a critic, hinge losses are added (Lim and Ye, "Geometric GAN", 2017): what the error blurs, the network then
    makes up, as swappers trained so do.
    """

    recipe: AutoencoderRecipe

    def __init__(self, network: Autoencoder, recipe: AutoencoderRecipe) -> None:
        super().__init__(network, recipe)
        self.critic = patch_critic() if recipe.adversarial else None

    def training_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        faces = _pictures(batch["images"])
        drawn = self.network(faces)
        error = _errors(drawn, faces).mean()
        if self.critic is None:
            return {"loss": error}
        fixed = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        opinion = functional_call(self.critic, fixed, drawn).mean()  # teaches the network, not the critic
        critic = (
            functional.relu(1 - self.critic(faces)).mean() + functional.relu(1 + self.critic(drawn.detach())).mean()
        )
        return {"loss": error - self.recipe.adversarial * opinion + critic, "error": error.detach()}

    def validation_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        faces = _pictures(batch["images"])
        drawn = self.network(faces)
        return {"error": _errors(drawn, faces), "drawn": _detail(drawn), "real": _detail(faces)}

    def metrics(self, predictions: dict[str, np.ndarray]) -> dict[str, float]:
        """`loss`, the error, and `detail`: gradients of the drawn faces as a share of the real ones', at most 1."""
        shares = predictions["drawn"].mean() / predictions["real"].mean()
        return {"loss": float(predictions["error"].mean()), "detail": float(min(shares, 1 / shares))}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """With a critic, one that remembers little: what the other learns changes what is to be learnt."""
        if self.critic is None:
            return super().configure_optimizers()
        rate = self.recipe.learning_rate
        groups = [{"params": self.network.parameters()}, {"params": self.critic.parameters(), "lr": 2 * rate}]
        return torch.optim.AdamW(groups, rate, betas=(0.5, 0.99), weight_decay=self.recipe.weight_decay)


def _pictures(images: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 as (N, 3, H, W) float32 in 0…1."""
    return images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last) / 255


def _detail(images: Tensor) -> Tensor:
    """(N,) mean absolute gradient of each picture."""
    across, down = (images.diff(dim=d).abs().mean(dim=(1, 2, 3)) for d in (2, 3))
    return across + down


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
        return {"images": self.real.cut(self.batches[index])}


class AutoencoderTask:
    """`facetell train autoencoder`."""

    name = "autoencoder"
    recipe = AutoencoderRecipe

    def module(self, recipe: AutoencoderRecipe) -> AutoencoderModule:
        if recipe.size % STRIDE:
            raise TrainingError(f"size = {recipe.size} is not a multiple of {STRIDE}.", f"Take {STRIDE}, 128, 160, ….")
        network = Autoencoder(recipe.upsampling, recipe.width)
        if recipe.start:
            state = read_checkpoint(Path(recipe.start))["state_dict"]
            weights = {name: state.get(f"network.{name}") for name in network.state_dict()}
            if any(value is None or value.shape != network.state_dict()[name].shape for name, value in weights.items()):
                raise TrainingError(f"The weights in {recipe.start} do not fit this recipe's network.")
            network.load_state_dict(weights)
        return AutoencoderModule(network.to(memory_format=torch.channels_last), recipe)  # pyright: ignore[reportCallIssue]

    def data(self, recipe: AutoencoderRecipe, caches: Sequence[FaceCache]) -> Data:
        return Data(RealFaces(recipe, Faces(caches, train=True)), self.validation(recipe, caches))

    def validation(self, recipe: AutoencoderRecipe, caches: Sequence[FaceCache]) -> WatchedFaces:
        return WatchedFaces(recipe, Faces(caches, train=False))

    def trained_on(self, caches: Sequence[FaceCache]) -> list[str]:
        return datasets_of(caches)

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
