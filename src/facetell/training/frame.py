"""The main detector's training: pairs of a real face and its forgery, side by side in every batch.

Labelled fakes and self-blends under one label hurt each other (ProDet, Cheng et al., NeurIPS 2024). So self-blends
teach *blend*, whole labelled fakes teach *texture*, and what is drawn by a network and pasted teaches both: parts of
labelled fakes in their originals, and faces that an autoencoder drew anew. So do the reals. The mask learns from every
pair whose altered region is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.data.manifest import refuse_shared
from facetell.data.split import rows_in
from facetell.detectors import DetectorCard
from facetell.errors import RecipeError, TrainingError
from facetell.evaluation.metrics import metrics
from facetell.files import make_folder
from facetell.networks.background import Surroundings, behind
from facetell.networks.depthwise import quicken
from facetell.networks.frame import (
    JOIN,
    MARGIN,
    MASK_STRIDE,
    PARTS,
    Ensemble,
    FrameNet,
    Member,
    Opinions,
    Part,
    fold_norms,
    mask_vote,
)
from facetell.networks.residual import ResidualPicture
from facetell.training.binary import thresholds_of
from facetell.training.checkpoint import read_checkpoint, trained_on
from facetell.training.export import export
from facetell.training.faces import datasets_of
from facetell.training.fit import predictions, validated
from facetell.training.module import Module, Run
from facetell.training.pairs import Faces, TrainingPairs, ValidationFaces
from facetell.training.recipe import Range, Recipe, make_recipe, parse_overrides
from facetell.training.tasks import Data

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache

OUTPUTS = ("logit", "blend", "texture", "mask", "heatmap")
LIMITS = (
    "It knows pasted and reenacted faces; a wholly generated picture or body is outside what it was trained on.",
    "Strong compression and faces below 60 pixels between the eyes hide most traces.",
    "Recent swaps of high resolution, shrunk to the network's input, are often missed.",
)


@dataclass(frozen=True)
class FrameRecipe(Recipe):
    """Everything that decides the training of a frame detector."""

    version: str = "1"  # that the detector file will bear
    backbone: str = "tf_efficientnet_lite0"
    weights: str = "package"  # of the backbone: "package", "hub", "none" or a file
    start: str = ""  # a checkpoint of an earlier training whose weights to begin with
    tune: Literal["all", "norms"] = "all"
    fold: bool = False  # put the batch norms into the convolutions and train without them
    input: Literal["rgb", "residual"] = "rgb"  # residual: the grey face minus its blur, a noise pattern classifier
    background: Surroundings = "keep"  # what is put outside the face; needs wide = false
    size: Annotated[int, Range(32, 512)] = 192
    scale: Annotated[float, Range(0.5, 2)] = 1.1  # of the landmarks' geometry
    drop: Annotated[float, Range(0, 0.9)] = 0.2
    precision: Literal["float32", "bfloat16"] = "float32"  # of the training's activations
    teach: Literal["apart", "alike"] = "apart"  # alike: every fake teaches both logits
    kinds: Annotated[tuple[float, float, float], Range(0, 1)] = (0.45, 0.25, 0.3)  # shares of blend, part, whole
    kinds_end: Annotated[tuple[float, float, float], Range(0, 1)] = (0, 0, 0)  # to which they move; all 0: they stay
    inner: Annotated[float, Range(0, 1)] = 0.4  # of self-blends: inner-face families
    swaps: Annotated[float, Range(0, 1)] = 0.0  # share of the other blends that take another person's face
    redrawn: Annotated[float, Range(0, 1)] = 0.0  # share of the blends whose face a network drew
    painters: tuple[str, ...] = ()  # those networks: files of `facetell train autoencoder`
    mixup: Annotated[float, Range(0, 1)] = 0.0  # share of the whole fakes mixed with their originals, with soft labels
    strength: Annotated[tuple[float, float], Range(0, 1)] = (0.2, 1.0)  # worst damage at the start and at the end
    h264: Annotated[float, Range(0, 1)] = 0.2  # share of the pairs
    jitter_scale: Annotated[float, Range(0, 1)] = 0.2  # e^±this
    jitter_turn: Annotated[float, Range(0, 90)] = 8.0  # degrees
    jitter_shift: Annotated[float, Range(0, 0.5)] = 0.06  # of the crop's side
    smoothing: Annotated[float, Range(0, 0.3)] = 0.02  # of the labels
    mask_loss: Annotated[float, Range(0, 10)] = 0.5
    rank_loss: Annotated[float, Range(0, 10)] = 0.3
    join: Annotated[tuple[float, float, float, float], Range(-100, 100)] = (
        JOIN  # weights of blend, texture, mask; a constant beside texture
    )
    mirror: bool = True  # the detector file looks at a crop and its mirror image, and gives the mean
    wide: bool = False  # the first of its looks takes a wider crop, reduced to `size`
    validation_items: Annotated[int, Range(2)] = 600  # at most, of each data set
    votes: tuple[Part, ...] = PARTS  # the opinions that count in an ensemble

    def __post_init__(self) -> None:
        if not self.version:  # the card would refuse it, when the training is over
            raise RecipeError("version must not be empty.")
        if self.wide and self.background != "keep":  # one ellipse cannot fit a face in two sizes
            raise RecipeError(
                f"background = {self.background!r} and wide = true do not go together: a wide look's face is smaller.",
                "Set wide=false, or background=keep.",
            )


class FrameModule(Module):
    """The network and its losses."""

    network: Opinions
    recipe: FrameRecipe
    recipes: tuple[FrameRecipe, ...]  # of every network in it
    validation: ValidationFaces
    settings = frozenset({"network.join"})

    def __init__(self, recipe: FrameRecipe) -> None:
        network = FrameNet(recipe.backbone, recipe.size, recipe.weights, recipe.tune, recipe.drop)
        network.join.copy_(torch.tensor(recipe.join))
        if recipe.input == "residual":
            network.stem = ResidualPicture(network.std)
        network.stem = behind(network.stem, recipe.background, recipe.size, recipe.scale, network.mean, network.std)
        super().__init__(network.to(memory_format=torch.channels_last), recipe)  # pyright: ignore[reportCallIssue]
        self.mean, self.std = network.mean, network.std
        self.recipes = (recipe,)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, H, W, 3) uint8 as the network's input (N, 3, H, W) float32."""
        pixels = images.permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (self.mean, self.std))
        return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)

    def training_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        images = self.normalised(batch["images"])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            parts = self.network.parts(images)
        blend, texture, mask = (part.float() for part in parts)
        logits = {"blend": blend, "texture": texture}
        label_loss = torch.stack([self._label_loss(logit, batch[name]) for name, logit in logits.items()]).mean()
        known = ~batch["masks"].isnan()
        mask_loss = F.binary_cross_entropy_with_logits(mask[known], batch["masks"][known]) if known.any() else 0.0
        rank_loss = self._rank_loss(logits, batch)
        loss = label_loss + self.recipe.mask_loss * mask_loss + self.recipe.rank_loss * rank_loss
        with torch.no_grad():
            right = [((logit > 0) == (batch[n] > 0.5))[~batch[n].isnan()] for n, logit in logits.items()]
            accuracy = torch.cat(right).float().mean()
        return {"loss": loss, "accuracy": accuracy, "label_loss": label_loss.detach()}

    def _label_loss(self, logit: Tensor, target: Tensor) -> Tensor:
        known = ~target.isnan()
        smooth = target[known] * (1 - 2 * self.recipe.smoothing) + self.recipe.smoothing
        return F.binary_cross_entropy_with_logits(logit[known], smooth)

    def _rank_loss(self, logits: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """A fake must score above its own twin, on each logit that it teaches."""
        total = torch.zeros((), device=self.device)
        for name, logit in logits.items():
            real, fake = logit.chunk(2)
            taught = ~batch[name].chunk(2)[1].isnan()
            if taught.any():
                total = total + F.softplus(real[taught] - fake[taught]).mean()
        return total / len(logits)

    def deployed(self) -> Ensemble:
        """The network with all the looks of the detector file."""
        if isinstance(self.network, Ensemble):
            return self.network
        assert isinstance(self.network, FrameNet)
        return Ensemble([Member(self.network, self.recipe.mirror, self.recipe.wide)])

    def validation_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        """With `wide` the looks of the detector file; else one, as its mirror image is not worth twice the time.

        The card's numbers are measured with every look of the file.
        """
        return self.judged(self.deployed() if self.recipe.wide else self.network, batch)

    def judged(self, network: Opinions, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `metrics` needs of a batch of `ValidationFaces`, by the network with these looks."""
        blend, texture, mask = network.parts(self.normalised(batch["images"]))
        parts = {"blend": blend, "texture": texture, "mask": mask_vote(mask)}
        return parts | {name: batch[name] for name in ("label", "source", "video")}

    def metrics(self, predictions: dict[str, np.ndarray]) -> dict[str, float]:
        """AUC by video of each data set with both classes, for the joined score and its parts; `auc` is the mean."""
        parts = {name: predictions[name] for name in PARTS}
        device = self.network.join.device  # the network is in the middle of its training and stays where it is
        joined = self.network.joined(*(torch.from_numpy(part).to(device) for part in parts.values())).cpu()
        scores = {"auc": joined.numpy()} | parts
        label, result = predictions["label"], {}
        for name, score in scores.items():
            aucs = {}
            for number, source in enumerate(self.validation.sources):
                rows = predictions["source"] == number
                auc = _auc_by_video(score[rows], label[rows], predictions["video"][rows])
                if auc is not None:
                    aucs[f"{name}_{source}"] = auc
            result |= aucs
            result[name] = float(np.mean(list(aucs.values())))
        result["loss"] = float(F.binary_cross_entropy_with_logits(joined, torch.from_numpy(label).to(joined.dtype)))
        result["accuracy"] = float(((scores["auc"] > 0) == (label > 0.5)).mean())
        return result


def _auc_by_video(score: np.ndarray, label: np.ndarray, video: np.ndarray) -> float | None:
    """Of the videos' mean scores; None where there are not both classes."""
    videos, where = np.unique(video, return_inverse=True)
    mean = np.bincount(where, score) / np.bincount(where)
    truth = np.zeros(len(videos), int)
    truth[where] = label
    return metrics(truth, expit(mean), n_boot=0, logits=mean)["auc"]


class _Outputs(nn.Module):
    """The network with its outputs as a tuple, in the order of `OUTPUTS`."""

    def __init__(self, network: Opinions) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(crops)
        return tuple(outputs[name] for name in OUTPUTS)


def _forged(recipes: Sequence[FrameRecipe]) -> str:
    """What the forge made for these trainings, as the card says it."""
    shares = {
        "self-blends": lambda recipe: recipe.kinds[0] + recipe.kinds_end[0],
        "swaps": lambda recipe: (recipe.kinds[0] + recipe.kinds_end[0]) * recipe.swaps,
        "redrawn faces": lambda recipe: (recipe.kinds[0] + recipe.kinds_end[0]) * recipe.redrawn,
        "parts of labelled fakes": lambda recipe: recipe.kinds[1] + recipe.kinds_end[1],
    }
    made = [name for name, share in shares.items() if any(share(recipe) for recipe in recipes)]
    return f", with {', '.join(made)} made by facetell's forge" if made else ""


class FrameTask:
    """`facetell train frame`."""

    name = "frame"
    recipe = FrameRecipe

    def module(self, recipe: FrameRecipe) -> FrameModule:
        if recipe.size % MASK_STRIDE:
            raise TrainingError(
                f"size = {recipe.size} is not a multiple of {MASK_STRIDE}.", f"Take {4 * MASK_STRIDE}, 192, 224, …."
            )
        module = FrameModule(recipe)
        network = module.network
        assert isinstance(network, FrameNet)
        folded = False
        if recipe.start:
            state = read_checkpoint(Path(recipe.start))
            folded = recipe.fold and state["facetell"]["recipe"].get("fold", False)
            if folded:
                fold_norms(network.backbone, recipe.size)
            try:
                module.load_weights(state["state_dict"])
            except RuntimeError as error:
                raise TrainingError(f"The weights in {recipe.start} do not fit this recipe's network.") from error
        if recipe.fold and not folded:
            fold_norms(network.backbone, recipe.size)
        if recipe.precision == "bfloat16":
            quicken(network.backbone)
        return module.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def data(self, recipe: FrameRecipe, caches: Sequence[FaceCache]) -> Data:
        return Data(TrainingPairs(recipe, Faces(caches, train=True)), self.validation(recipe, caches))

    def validation(self, recipe: FrameRecipe, caches: Sequence[FaceCache]) -> ValidationFaces:
        return ValidationFaces(recipe, Faces(caches, train=False), MARGIN if recipe.wide else 0)

    def trained_on(self, caches: Sequence[FaceCache]) -> list[str]:
        """With the caches' own names: a folder of pictures, and so its data set, may be called just `train`."""
        used = [cache for cache in caches if rows_in(cache.manifest, "train").any()]
        return sorted({*datasets_of(caches), *(cache.folder.absolute().name for cache in used)})

    def card(self, run: Run, caches: Sequence[FaceCache]) -> DetectorCard:
        """What is written into the detector file, its provisional thresholds measured on the caches' dev splits."""
        module, recipe = run.module, run.recipe
        assert isinstance(module, FrameModule)
        network, faces = _deployed(run, caches)
        found = predictions(lambda batch: module.judged(network, batch), faces)
        logits = network.joined(*(torch.from_numpy(found[name]) for name in PARTS)).numpy()
        module.validation, labels, sources = faces, found["label"], found["source"]
        worst = max(
            (
                thresholds_of(logits[rows], labels[rows], faces.units[rows], f"groups of single real faces of {name}")
                for number, name in enumerate(faces.sources)
                if (rows := sources == number).any() and (labels[rows] == 0).any()
            ),
            key=lambda thresholds: thresholds[0].logit if thresholds[0].logit is not None else -np.inf,
        )
        trained = ", ".join(run.trained_on or self.trained_on(caches)) or "data that its checkpoints do not name"
        backbones = " + ".join(one.backbone for one in module.recipes)
        return DetectorCard(
            name=self.name,
            version=recipe.version,
            kind="frame",
            input_size=faces.size,
            geometry=faces.geometry,
            mean=module.mean,
            std=module.std,
            outputs={name: name for name in OUTPUTS},
            training_data=trained + _forged(module.recipes),
            metrics={
                "dev splits, faces cut as in training": {
                    name: round(value, 4) for name, value in module.metrics(found).items()
                }
            },
            thresholds=worst,
            provisional=True,
            licence="Apache-2.0 for the weights; the training data are licensed for research",
            description=f"{backbones}, {recipe.input}, {recipe.size} px: blend and texture logits and a mask.",
            limits=LIMITS,
        )

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        assert isinstance(run.module, FrameModule)
        network, faces = _deployed(run, caches)
        example = run.module.normalised(torch.from_numpy(faces[0]["images"][:4]))
        path = run.out / f"{self.name}.onnx"
        export(_Outputs(network), example, OUTPUTS, self.card(run, caches), path)
        return path


TASK = FrameTask()


def _deployed(run: Run, caches: Sequence[FaceCache]) -> tuple[Ensemble, ValidationFaces]:
    """The network with all its looks, and the dev split's faces as large as these take them."""
    assert isinstance(run.module, FrameModule)
    network = run.module.deployed()
    return network, ValidationFaces(run.recipe, Faces(caches, train=False), network.margin)


def ensemble(
    checkpoints: Sequence[Path], caches: Sequence[FaceCache], out: str | Path, overrides: Sequence[str] = ()
) -> Run:
    """Networks of several trainings as one: each has its opinions, and their means are joined.

    A network's own recipe says how it looks at a crop (`mirror`, `wide`), and on what it votes.

    Args:
        checkpoints: one of each network, as `facetell train frame` or `facetell average frame` wrote it.
        caches: with the dev split that it is measured on.
        out: folder for what is exported later.
        overrides: `key=value` on the first one's recipe, such as `version` and `join`.

    Raises:
        ManifestError: a file that stands in two caches.
        TrainingError: fewer than two checkpoints, a corrupt one, networks for different crops, or an opinion on which
            none votes.
        RecipeError: an override that does not.
        OutputError: `out` cannot be made.
    """
    if len(checkpoints) < 2:
        raise TrainingError("An ensemble needs at least two checkpoints.", "Give several.")
    refuse_shared(cache.manifest for cache in caches)
    out = make_folder(out)
    states = [read_checkpoint(path) for path in checkpoints]
    recipes, modules = [], []
    for path, state in zip(checkpoints, states, strict=True):
        values = state["facetell"]["recipe"] | ({} if recipes else parse_overrides(overrides))
        recipes.append(make_recipe(values, FrameRecipe, f"the recipe of {path}"))
        modules.append(TASK.module(replace(recipes[-1], start="", weights="none")))
        try:
            modules[-1].load_weights(state["state_dict"])
        except RuntimeError as error:
            raise TrainingError(
                f"The weights in {path} do not fit the network of its recipe.", "Change only what --set may."
            ) from error
    first = modules[0]
    wanted = [(recipe.size, recipe.scale, m.mean, m.std) for recipe, m in zip(recipes, modules, strict=True)]
    if any(one != wanted[0] for one in wanted):
        raise TrainingError("The networks were trained on different crops.", "Train them at one size and scale.")
    votes = [frozenset(recipe.votes) for recipe in recipes]
    if silent := set(PARTS).difference(*votes):
        raise TrainingError(f"None of the networks votes on {', '.join(sorted(silent))}.", "Add one that does.")
    members = [Member(m.network, m.recipe.mirror, m.recipe.wide, vote) for m, vote in zip(modules, votes, strict=True)]
    first.network, first.recipes = Ensemble(members), tuple(recipes)
    first.validation = ValidationFaces(recipes[0], Faces(caches, train=False), first.network.margin)
    metrics = validated(first)
    about = [state["facetell"] for state in states]
    step, seconds = (sum(one[name] for one in about) for name in ("step", "seconds"))
    return Run(first, recipes[0], out, step, metrics, seconds, trained_on(states))
