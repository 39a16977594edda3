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

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.data.split import rows_in
from facetell.detectors import DetectorCard
from facetell.detectors.file import read_network
from facetell.errors import ForgeError, TrainingError
from facetell.evaluation.metrics import metrics
from facetell.faces.align import Geometry, crop_face, crop_matrix, warp
from facetell.forge.blend import Forged, difference_mask, mix, paste_part, self_blend
from facetell.forge.degrade import augment_pair, h264
from facetell.forge.redraw import open_painter
from facetell.forge.swap import swap
from facetell.networks.background import behind
from facetell.networks.frame import (
    JOIN,
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
from facetell.training.export import export
from facetell.training.faces import belongs_to
from facetell.training.fit import Module, Run, make_folder, read_checkpoint, validated
from facetell.training.recipe import Range, Recipe, make_recipe, parse_overrides
from facetell.training.tasks import Data

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache

ALTERED = 0.25  # a difference mask that never reaches this shows no forgery
RIM = 0.06  # share of the crop's side at its border; a pair that differs there is not aligned
DONORS = 16  # faces among which a swap looks for one in the same pose (Face X-ray, Li et al., CVPR 2020)
TRIES = 100  # draws before a training gives up finding a pair
LARGEST = 288  # pixels, the longer side of a picture that is forged; larger ones are reduced first
OUTPUTS = ("logit", "blend", "texture", "mask", "heatmap")
LIMITS = (
    "It knows pasted and reenacted faces; a wholly generated picture or body is outside what it was trained on.",
    "Strong compression and faces below 60 pixels between the eyes hide most traces.",
    "Recent swaps of high resolution, shrunk to the network's input, are often missed.",
)
Kind = Literal["blend", "redrawn", "part", "whole"]
KINDS: tuple[Kind, ...] = ("blend", "redrawn", "part", "whole")


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
    background: Literal["keep", "mean", "green"] = "keep"  # what is put outside the face
    size: Annotated[int, Range(32, 512)] = 192
    scale: Annotated[float, Range(0.5, 2)] = 1.1  # of the landmarks' geometry
    drop: Annotated[float, Range(0, 0.9)] = 0.2
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
    join: tuple[float, float, float, float] = JOIN  # weights of blend, texture, mask; a constant beside texture
    mirror: bool = True  # the detector file looks at a crop and its mirror image, and gives the mean
    wide: bool = False  # the first of its looks takes a wider crop, reduced to `size`
    validation_items: Annotated[int, Range(2)] = 600  # at most, of each data set
    votes: tuple[Part, ...] = PARTS  # the opinions that count in an ensemble


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
        blend, texture, mask = self.network.parts(self.normalised(batch["images"]))
        losses = [self._label_loss(logit, batch[name]) for name, logit in (("blend", blend), ("texture", texture))]
        label_loss = torch.stack(losses).mean()
        known = ~batch["masks"].isnan()
        mask_loss = F.binary_cross_entropy_with_logits(mask[known], batch["masks"][known]) if known.any() else 0.0
        rank_loss = self._rank_loss(batch, blend, texture)
        loss = label_loss + self.recipe.mask_loss * mask_loss + self.recipe.rank_loss * rank_loss
        with torch.no_grad():
            joined = torch.cat([logit[~batch[n].isnan()] for n, logit in (("blend", blend), ("texture", texture))])
            labels = torch.cat([batch[n][~batch[n].isnan()] for n in ("blend", "texture")])
            accuracy = ((joined > 0) == (labels > 0.5)).float().mean()
        return {"loss": loss, "accuracy": accuracy, "label_loss": label_loss.detach()}

    def _label_loss(self, logit: Tensor, target: Tensor) -> Tensor:
        known = ~target.isnan()
        smooth = target[known] * (1 - 2 * self.recipe.smoothing) + self.recipe.smoothing
        return F.binary_cross_entropy_with_logits(logit[known], smooth)

    def _rank_loss(self, batch: dict[str, Tensor], *logits: Tensor) -> Tensor:
        """A fake must score above its own twin, on each logit that it teaches."""
        total = torch.zeros((), device=logits[0].device)
        for name, logit in zip(("blend", "texture"), logits, strict=True):
            real, fake = logit.chunk(2)
            taught = ~batch[name].chunk(2)[1].isnan()
            if taught.any():
                total = total + F.softplus(real[taught] - fake[taught]).mean()
        return total / len(logits)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        blend, texture, mask = self.network.parts(self.normalised(batch["images"]))
        parts = {"blend": blend, "texture": texture, "mask": mask_vote(mask)}
        return parts | {name: batch[name] for name in ("label", "source", "video")}

    def metrics(self, predictions: dict[str, np.ndarray]) -> dict[str, float]:
        """AUC by video of each data set with both classes, for the joined score and its parts; `auc` is the mean."""
        parts = {name: predictions[name] for name in PARTS}
        joined = self.network.cpu().joined(*(torch.from_numpy(part) for part in parts.values()))
        scores = {"auc": joined.numpy()} | parts
        sources = self.validation.sources
        label, result = predictions["label"], {}
        for name, score in scores.items():
            aucs = {}
            for number, source in enumerate(sources):
                rows = np.flatnonzero(predictions["source"] == number)
                videos, where = np.unique(predictions["video"][rows], return_inverse=True)
                mean = np.bincount(where, score[rows]) / np.bincount(where)
                truth = np.zeros(len(videos), int)
                truth[where] = label[rows].astype(int)
                if 0 < truth.sum() < len(truth):
                    aucs[source] = metrics(truth, 1 / (1 + np.exp(-mean)), n_boot=0)["auc"]
            result |= {f"{name}_{source}": value for source, value in aucs.items()}
            result[name] = float(np.mean(list(aucs.values())))
        result["loss"] = float(F.binary_cross_entropy_with_logits(joined, torch.from_numpy(label).to(joined.dtype)))
        result["accuracy"] = float(((scores["auc"] > 0) == (label > 0.5)).mean())
        return result


class Faces:
    """The faces of one split in several caches, train or dev, as flat arrays.

    Attributes:
        where: (N, 2) int: cache, row in it.
        points: (N, 5, 2) float32, NaN where no face was found.
        label, source, video: (N,) int.
        pair: (N,) int: position of the original's face here, or −1.
        sources: names of the caches, by number.
    """

    def __init__(self, caches: Sequence[FaceCache], train: bool) -> None:
        from facetell.data.cache import POINTS

        self.caches = caches
        columns: dict[str, list[np.ndarray]] = {name: [] for name in ("where", "points", "label", "pair", "video")}
        names: list[str] = []
        first = videos = 0
        for number, cache in enumerate(caches):
            items = cache.manifest.iloc[cache.faces["item"]]
            chosen = np.flatnonzero(belongs_to(cache, "train" if train else "dev"))
            place = np.full(len(cache), -1)
            place[chosen] = first + np.arange(len(chosen))
            pair = cache.faces["pair"].to_numpy()[chosen]
            columns["where"].append(np.stack([np.full(len(chosen), number), chosen], axis=1))
            columns["points"].append(cache.faces[list(POINTS)].to_numpy(np.float32)[chosen].reshape(-1, 5, 2))
            columns["label"].append(items["label"].to_numpy()[chosen])
            columns["pair"].append(np.where(pair >= 0, place[pair], -1))
            kinds, codes = np.unique(items["video"].to_numpy()[chosen].astype(str), return_inverse=True)
            columns["video"].append(codes + videos)
            names += [cache.folder.name] * len(chosen)
            first, videos = first + len(chosen), videos + len(kinds)
        self.where, self.points, self.label, self.pair, self.video = (
            np.concatenate(columns[name]) for name in ("where", "points", "label", "pair", "video")
        )
        self.sources = sorted(set(names))
        self.source = np.array([self.sources.index(name) for name in names], int)

    def __len__(self) -> int:
        return len(self.where)

    @property
    def seen(self) -> np.ndarray:
        """(N,) bool: the face's points are known."""
        return np.asarray(np.isfinite(self.points).all(axis=(1, 2)))

    def read(self, face: int | np.integer) -> np.ndarray:
        cache, row = self.where[face]
        return self.caches[cache].read(int(row))


class TrainingPairs:
    """Step → a batch of pairs: all reals first, then their fakes in the same order.

    images (2B, size, size, 3) uint8; blend and texture (2B,) float32: 0 real, 1 fake, NaN not taught;
    masks (2B, h, w) float32: the share of each cell that was altered, NaN not known.
    """

    def __init__(self, recipe: FrameRecipe, faces: Faces) -> None:
        self.recipe = recipe
        self.faces = faces
        seen = faces.seen
        self.reals = np.flatnonzero((faces.label == 0) & seen)
        fakes = np.flatnonzero((faces.label == 1) & (faces.pair >= 0) & seen)
        self.fakes = fakes[seen[faces.pair[fakes]]]
        if not len(self.reals):
            raise TrainingError("No real face with known points is in the training split.", "Prepare the cache anew.")
        if not sum(recipe.kinds):
            raise TrainingError("The shares of every kind of fake are 0.", "Give another: --set kinds=[0.5,0.1,0.4].")
        if not len(self.fakes) and any(recipe.kinds[1:] + recipe.kinds_end[1:]):
            raise TrainingError(
                "No labelled fake with its original is in the training split.",
                "Prepare a data set with originals, or train on self-blends alone: --set kinds=[1,0,0].",
            )
        if recipe.redrawn and not recipe.painters:
            raise TrainingError(
                "The recipe wants redrawn faces, and names no painter.",
                "Make one with `facetell train autoencoder`, and name its file: --set 'painters=[\"FILE.onnx\"]'.",
            )
        for path in recipe.painters:
            read_network(path)  # what is wrong with it is said now; a loader's process opens it for itself
        eyes = np.linalg.norm(faces.points[:, 1] - faces.points[:, 0], axis=1)
        self.shapes = (faces.points - faces.points.mean(axis=1, keepdims=True)) / eyes[:, None, None]
        # Large sets are not drawn in proportion: more kinds of faces teach more than more of one kind.
        count = np.bincount(faces.source[self.reals], minlength=len(faces.sources))
        self.odds = np.cumsum(1 / np.sqrt(count[faces.source[self.reals]]))
        self.odds /= self.odds[-1]

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.recipe.seed, index])
        done = min(1.0, index / self.recipe.steps)
        worst = self.recipe.strength[0] + done * (self.recipe.strength[1] - self.recipe.strength[0])
        odds = self.odds_of_kinds(done)
        pairs = [self._pair(rng, worst, odds) for _ in range(self.recipe.batch)]
        images = np.stack([pair[0][0] for pair in pairs] + [pair[0][1] for pair in pairs])
        nothing = np.zeros(len(pairs), np.float32)
        targets = {}
        for name, silent in (("blend", "whole"), ("texture", "blend")):
            taught = [label if kind != silent or self.recipe.teach == "alike" else np.nan for *_, kind, label in pairs]
            targets[name] = np.concatenate([nothing, np.array(taught, np.float32)])
        masks = np.stack([np.zeros_like(pair[1]) for pair in pairs] + [pair[1] for pair in pairs])
        return {"images": images, "masks": masks, **targets}

    def odds_of_kinds(self, done: float) -> np.ndarray:
        """The odds (4,) of `KINDS` when this share of the training, 0…1, is done."""
        first = np.array(self.recipe.kinds) / sum(self.recipe.kinds)
        last = np.array(self.recipe.kinds_end) / sum(self.recipe.kinds_end) if any(self.recipe.kinds_end) else first
        blend, part, whole = first + done * (last - first)
        return np.array([blend * (1 - self.recipe.redrawn), blend * self.recipe.redrawn, part, whole])

    def _pair(
        self, rng: np.random.Generator, worst: float, odds: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray, Kind, float]:
        """Two crops that differ by a forgery, its mask by cell, its kind, and the label of the second crop."""
        kind = KINDS[rng.choice(len(KINDS), p=odds)]
        known = True
        if kind in ("blend", "redrawn"):
            forged, points = self._blend(rng, redrawn=kind == "redrawn")
        else:
            forged, points, known = self._labelled(rng, kind)
        label = 1.0
        if kind == "whole" and rng.random() < self.recipe.mixup:
            mixed, label = mix(forged.fake, forged.real, rng)
            forged = replace(forged, fake=mixed, mask=forged.mask * np.float32(label))
        pair = [forged.real, forged.fake]
        if rng.random() < self.recipe.h264:
            pair = h264(pair, rng)
        pair = augment_pair(pair, rng, strength=worst * rng.random())
        matrix = self._matrix(points, rng)
        size = self.recipe.size
        crops = [warp(image, matrix, size) for image in pair]
        mask = cv2.warpAffine(forged.mask, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        cells = cv2.resize(mask, (size // MASK_STRIDE, size // MASK_STRIDE), interpolation=cv2.INTER_AREA)
        if not known:
            cells[:] = np.nan
        if rng.random() < 0.5:
            crops, cells = [np.ascontiguousarray(crop[:, ::-1]) for crop in crops], cells[:, ::-1]
        return crops, np.ascontiguousarray(cells), kind, label

    def _blend(self, rng: np.random.Generator, redrawn: bool) -> tuple[Forged, np.ndarray]:
        for _ in range(TRIES):
            face = int(self.reals[np.searchsorted(self.odds, rng.random())])
            real, points = self._read(face)
            try:
                if not redrawn and rng.random() < self.recipe.swaps:
                    blending = "seamless" if rng.random() < 0.4 else "soft"
                    return swap(real, points, *self._read(self._donor(face, rng)), blending), points
                painter = open_painter(str(rng.choice(self.recipe.painters))) if redrawn else None
                return self_blend(real, points, rng, inner=self.recipe.inner, painter=painter), points
            except ForgeError:  # too flat a picture to show a blend, or a face that is cut off
                continue
        raise TrainingError(f"None of {TRIES} real faces in a row can be blended.", "Look at them: data explore.")

    def _donor(self, face: int, rng: np.random.Generator) -> int:
        """Of a few other real faces of the same source the one that holds its head most alike, as Face X-ray does."""
        cache = self.faces.where[:, 0]
        first, last = np.searchsorted(cache[self.reals], [cache[face], cache[face] + 1])
        others = self.reals[rng.integers(first, last, DONORS)]
        others = others[others != face]
        if not len(others):
            raise ForgeError("There is no other face in this source.", "Take more sources.")
        distance = np.linalg.norm(self.shapes[others] - self.shapes[face], axis=(1, 2))
        return int(others[distance.argmin()])

    def _read(self, face: int) -> tuple[np.ndarray, np.ndarray]:
        return _reduced(self.faces.read(face), self.faces.points[face])

    def _labelled(self, rng: np.random.Generator, kind: Kind) -> tuple[Forged, np.ndarray, bool]:
        """A labelled fake and its original, or the original with a part of the fake; never a pair that is alike."""
        for _ in range(TRIES):
            face = int(rng.choice(self.fakes))
            fake, _ = self._read(face)
            real, points = self._read(int(self.faces.pair[face]))
            if fake.shape != real.shape:
                continue
            mask = difference_mask(fake, real)
            if mask.max() < ALTERED:
                continue
            rim = round(RIM * mask.shape[0])
            aligned = max(mask[:rim].mean(), mask[-rim:].mean(), mask[:, :rim].mean(), mask[:, -rim:].mean()) < ALTERED
            if kind == "whole":
                return Forged(real, fake, mask, "whole"), points, bool(aligned)
            part = paste_part(fake, real, points, rng) if aligned else None
            if part is not None:
                return part, points, True
        raise TrainingError(f"None of {TRIES} labelled pairs in a row differs as a fake should.", "Prepare them anew.")

    def _matrix(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The crop's place, shaken."""
        recipe = self.recipe
        scale = recipe.scale * np.exp(rng.uniform(-1, 1) * recipe.jitter_scale)
        matrix = crop_matrix(points, (0, 0, 1, 1), Geometry("landmarks", scale), recipe.size)
        middle = np.full(2, (recipe.size - 1) / 2)
        turn = np.deg2rad(rng.uniform(-1, 1) * recipe.jitter_turn)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        shift = rng.uniform(-1, 1, 2) * recipe.jitter_shift * recipe.size
        shaken = np.vstack([np.hstack([rotation, (middle - rotation @ middle + shift)[:, None]]), [0, 0, 1]])
        return matrix @ shaken


class ValidationFaces:
    """Number → a batch of unforged faces as a scan would cut them: images, label, source, video.

    Crops have `margin` more pixels on each side than the recipe's network takes.
    """

    def __init__(self, recipe: FrameRecipe, faces: Faces, margin: int = 0, batch: int = 32) -> None:
        self.size = recipe.size + 2 * margin
        self.geometry = Geometry("landmarks", recipe.scale * recipe.size / self.size)
        self.faces = faces
        self.sources = faces.sources
        rng = np.random.default_rng(recipe.seed)
        chosen = []
        for source in range(len(faces.sources)):
            for label in (0, 1):
                rows = np.flatnonzero((faces.source == source) & (faces.label == label) & faces.seen)
                chosen.append(rng.permutation(rows)[: recipe.validation_items // 2])
        order = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, int)
        self.batches = [order[i : i + batch] for i in range(0, len(order), batch)]
        if not any(set(faces.label[order[faces.source[order] == n]]) == {0, 1} for n in range(len(faces.sources))):
            raise TrainingError(
                "No cache has both REAL and FAKE faces with known points in its dev split.",
                "Give one that has: what the weights are chosen by is measured within each cache.",
            )

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if index >= len(self):
            raise IndexError(index)
        rows = self.batches[index]
        crops = [
            crop_face(self.faces.read(row), self.faces.points[row], (0, 0, 1, 1), self.geometry, self.size)
            for row in rows
        ]
        return {
            "images": np.stack(crops),
            "label": self.faces.label[rows].astype(np.int64),
            "source": self.faces.source[rows].astype(np.int64),
            "video": self.faces.video[rows].astype(np.int64),
        }


def _reduced(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture of at most `LARGEST` pixels a side, with its points."""
    longest = max(image.shape[:2])
    if longest <= LARGEST:
        return image, points
    scale = LARGEST / longest
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small, ((points + 0.5) * scale - 0.5).astype(np.float32)


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


def _joined(
    module: FrameModule, network: Opinions, faces: ValidationFaces
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joined logits, labels and sources (N,) of the validation faces."""
    batches = [faces[index] for index in range(len(faces))]
    with torch.inference_mode():
        logits = [network(module.normalised(torch.from_numpy(b["images"])))["logit"].numpy() for b in batches]
    joined = [np.concatenate([b[name] for b in batches]) for name in ("label", "source")]
    return np.concatenate(logits), joined[0], joined[1]


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
                fold_norms(network.backbone)
            try:
                module.load_state_dict(state["state_dict"])
            except RuntimeError as error:
                raise TrainingError(f"The weights in {recipe.start} do not fit this recipe's network.") from error
            network.join.copy_(torch.tensor(recipe.join))
        if recipe.fold and not folded:
            fold_norms(network.backbone)
        return module.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def data(self, recipe: FrameRecipe, caches: Sequence[FaceCache]) -> Data:
        train, dev = Faces(caches, train=True), Faces(caches, train=False)
        return Data(TrainingPairs(recipe, train), ValidationFaces(recipe, dev))

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        module, recipe = run.module, run.recipe
        assert isinstance(module, FrameModule)
        network = module.network
        if isinstance(network, FrameNet):
            network = Ensemble([Member(network, recipe.mirror, recipe.wide)])
        assert isinstance(network, Ensemble)
        faces = ValidationFaces(recipe, Faces(caches, train=False), network.margin)
        logits, labels, sources = _joined(module, network, faces)
        worst = max(
            (
                thresholds_of(logits[rows], labels[rows], f"single real faces of {name}")
                for number, name in enumerate(faces.sources)
                if (rows := sources == number).any() and (labels[rows] == 0).any()
            ),
            key=lambda thresholds: thresholds[0].logit if thresholds[0].logit is not None else -np.inf,
        )
        trained = ", ".join(sorted({cache.folder.name for cache in caches if rows_in(cache.manifest, "train").any()}))
        backbones = " + ".join(one.backbone for one in module.recipes)
        card = DetectorCard(
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
                "dev splits, faces cut as in training": {name: round(value, 4) for name, value in run.metrics.items()}
            },
            thresholds=worst,
            provisional=True,
            licence="Apache-2.0 for the weights; the training data are licensed for research",
            description=f"{backbones}, {recipe.input}, {recipe.size} px: blend and texture logits and a mask.",
            limits=LIMITS,
        )
        example = module.normalised(torch.from_numpy(faces[0]["images"][:4]))
        path = run.out / f"{self.name}.onnx"
        export(_Outputs(network), example, OUTPUTS, card, path)
        return path


TASK = FrameTask()


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
        TrainingError: fewer than two checkpoints, a corrupt one, networks for different crops, or an opinion on which
            none votes.
        RecipeError: an override that does not.
        OutputError: `out` cannot be made.
    """
    if len(checkpoints) < 2:
        raise TrainingError("An ensemble needs at least two checkpoints.", "Give several.")
    out = make_folder(out)
    states = [read_checkpoint(path) for path in checkpoints]
    recipes, modules = [], []
    for path, state in zip(checkpoints, states, strict=True):
        values = state["facetell"]["recipe"] | ({} if recipes else parse_overrides(overrides))
        recipes.append(make_recipe(values, FrameRecipe, f"the recipe of {path}"))
        modules.append(TASK.module(replace(recipes[-1], start="", weights="none")))
        join = modules[-1].network.join.clone()
        try:
            modules[-1].load_state_dict(state["state_dict"])
        except RuntimeError as error:
            raise TrainingError(
                f"The weights in {path} do not fit the network of its recipe.", "Change only what --set may."
            ) from error
        modules[-1].network.join.copy_(join)
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
    return Run(first, recipes[0], out, step, metrics, seconds)
