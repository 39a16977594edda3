"""The faces of caches, and pairs of a real face and its forgery made of them: what the main detector trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from facetell.data.cache import POINTS, FaceCache
from facetell.errors import ForgeError, TrainingError
from facetell.evaluation.protocol import units
from facetell.evaluation.scoring import LABELS
from facetell.faces.align import Geometry, crop_face, crop_matrix, warp
from facetell.forge.blend import Forged, difference_mask, mix, paste_part, self_blend
from facetell.forge.degrade import augment_pair, h264
from facetell.forge.redraw import open_painter
from facetell.forge.swap import swap
from facetell.networks.frame import MASK_STRIDE
from facetell.training.faces import belongs_to

if TYPE_CHECKING:
    from facetell.training.frame import FrameRecipe

ALTERED = 0.25  # a difference mask that never reaches this shows no forgery
RIM = 0.06  # share of the crop's side at its border; a pair that differs there is not aligned
DONORS = 16  # faces among which a swap looks for one in the same pose (Face X-ray, Li et al., CVPR 2020)
TRIES = 100  # draws before a training gives up finding a pair
LARGEST = 288  # pixels, the longer side of a picture that is forged; larger ones are reduced first
Kind = Literal["blend", "redrawn", "part", "whole"]
KINDS: tuple[Kind, ...] = ("blend", "redrawn", "part", "whole")


class Faces:
    """The faces of one split in several caches, train or dev, as flat arrays.

    Attributes:
        where: (N, 2) int: cache, row in it.
        points: (N, 5, 2) float32, NaN where no face was found.
        label, source, video: (N,) int; source is the cache's number.
        pair: (N,) int: position of the original's face here, or −1.
        unit: (N,) str: what counts as one where groups are counted, see `units`.
        sources: names of the caches by number, no two alike.
    """

    def __init__(self, caches: Sequence[FaceCache], train: bool) -> None:
        self.caches = caches
        columns: dict[str, list[np.ndarray]] = {
            name: [] for name in ("where", "points", "label", "pair", "video", "unit")
        }
        self.sources: list[str] = []
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
            codes = items.iloc[chosen].groupby(list(LABELS)).ngroup().to_numpy()
            columns["video"].append(codes + videos)
            columns["unit"].append(units(items.iloc[chosen].reset_index(drop=True)).to_numpy(str))
            self.sources.append(_unlike(cache.folder.absolute().name, self.sources))
            first, videos = first + len(chosen), videos + len(np.unique(codes))
        self.where, self.points, self.label, self.pair, self.video, self.unit = map(np.concatenate, columns.values())
        self.source = self.where[:, 0]

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
            open_painter(path)  # what is wrong with it is said now
        open_painter.cache_clear()  # a loader's process opens it for itself
        eyes = np.linalg.norm(faces.points[:, 1] - faces.points[:, 0], axis=1)
        self.shapes = (faces.points - faces.points.mean(axis=1, keepdims=True)) / eyes[:, None, None]
        # Large sets are not drawn in proportion: more kinds of faces teach more than more of one kind.
        sizes = np.bincount(faces.source[self.reals], minlength=len(faces.sources))
        self.odds = np.cumsum(1 / np.sqrt(sizes[faces.source[self.reals]]))
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
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REFLECT_101  # as that of the pictures: what is reflected was altered, too
        mask = cv2.warpAffine(forged.mask, matrix, (size, size), flags=flags, borderMode=border)
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

    Crops have `margin` more pixels on each side than the recipe's network takes. `units` (N,) are those of all batches.
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
        self.units = faces.unit[order]
        self.batches = [order[i : i + batch] for i in range(0, len(order), batch)]
        if not any(set(faces.label[order[faces.source[order] == n]]) == {0, 1} for n in range(len(faces.sources))):
            raise TrainingError(
                "No cache has both REAL and FAKE faces with known points in its dev split.",
                "Give one that has: what the weights are chosen by is measured within each cache.",
            )

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
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


def _unlike(name: str, others: Sequence[str]) -> str:
    """The name, with the first number behind it that makes it unlike the others, if it is among them."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in others)


def _reduced(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture of at most `LARGEST` pixels a side, with its points."""
    longest = max(image.shape[:2])
    if longest <= LARGEST:
        return image, points
    scale = LARGEST / longest
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small, ((points + 0.5) * scale - 0.5).astype(np.float32)
