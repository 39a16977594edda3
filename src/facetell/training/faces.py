"""Face crops out of caches, in memory, and balanced batches of them: what detectors that look at one face train on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from facetell.data.cache import POINTS, FaceCache
from facetell.data.manifest import LABEL_NAMES
from facetell.data.split import rows_in
from facetell.errors import TrainingError
from facetell.faces.align import Geometry, crop_face
from facetell.forge.degrade import augment_pair

if TYPE_CHECKING:
    from facetell.training.crop import CropRecipe

MEAN = STD = (0.5, 0.5, 0.5)


def belongs_to(cache: FaceCache, split: str) -> np.ndarray:
    """Which faces of a cache stand in its train or its dev split, (N,) bool: see `facetell.data.split.rows_in`."""
    return rows_in(cache.manifest, split)[cache.faces["item"]]


def datasets_of(caches: Sequence[FaceCache]) -> list[str]:
    """Names of the data sets that have items in the train split."""
    return sorted({str(name) for cache in caches for name in cache.manifest.dataset[rows_in(cache.manifest, "train")]})


def require_both_classes(labels: Any, where: str) -> None:
    """Raise TrainingError unless both REAL (0) and FAKE (1) occur among `labels`."""
    found = set(np.unique(np.asarray(labels)).tolist())
    if found != {0, 1}:
        seen = " and ".join(LABEL_NAMES.get(value, str(value)) for value in sorted(found))
        what = f"{seen} faces only" if seen else "no faces"
        raise TrainingError(f"{where} holds {what}.", "Training needs REAL and FAKE ones in both splits.")


def require_room_for_both(batch: int) -> None:
    """Raise TrainingError unless a balanced batch has room for a real and a fake item."""
    if batch < 2:
        raise TrainingError(f"A batch of {batch} cannot hold both classes.", "Set batch to 2 or more.")


@dataclass(frozen=True, eq=False)
class Crops:
    """N crops cut by one geometry, with a border of `border` pixels around what the network is to see."""

    images: np.ndarray  # (N, S + 2 border, S + 2 border, 3) uint8 RGB
    labels: np.ndarray  # (N,) 1 = FAKE
    videos: pd.DataFrame  # (N rows) of the manifest
    originals: np.ndarray  # (N,) the crop that a fake was made from, or −1
    border: int

    def inner(self, index: int) -> np.ndarray:
        """What a scan would cut: crop `index` without its border."""
        size = self.images.shape[1] - 2 * self.border
        return self.images[index, self.border : self.border + size, self.border : self.border + size]

    def take(self, chosen: np.ndarray) -> Crops:
        """The crops of these numbers, which may occur repeatedly; no fake knows its original any more."""
        videos = self.videos.iloc[chosen].reset_index(drop=True)
        originals = np.full(len(chosen), -1)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], videos=videos, originals=originals)


def crops_of(
    caches: Sequence[FaceCache],
    split: str,
    geometry: Geometry,
    size: int,
    border: int = 0,
) -> Crops:
    """All faces of a split whose points are known, cut and decoded once.

    Args:
        split: "train" or "dev".
        geometry: by landmarks.
        size: side of the crops in pixels, without the border.
        border: pixels of surroundings on each side, for shifting; the scale stays the geometry's.

    Raises:
        TrainingError: not both classes in this split.
    """
    found: list[tuple[FaceCache, int]] = []
    places, rows, originals = [], [], []
    for cache in caches:
        wanted = np.flatnonzero(belongs_to(cache, split))
        place = cache.faces.iloc[wanted][list(POINTS)].to_numpy(np.float32).reshape(-1, 5, 2)
        usable = np.isfinite(place).all(axis=(1, 2))
        used = wanted[usable]
        crop_of = np.full(len(cache) + 1, -1)  # the last entry is where a face without a pair looks: −1
        crop_of[used] = len(found) + np.arange(len(used))
        originals.append(crop_of[cache.faces.pair.iloc[used].to_numpy()])
        found += [(cache, int(face)) for face in used]
        places.append(place[usable])
        rows.append(cache.manifest.iloc[cache.faces["item"].iloc[used]])
    videos = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"label": []})
    labels = videos.label.to_numpy(np.int64)
    require_both_classes(labels, f"The split {split!r}")
    points = np.concatenate(places)
    side = size + 2 * border
    wide = replace(geometry, scale=geometry.scale * size / side)
    images = np.empty((len(found), side, side, 3), np.uint8)

    def cut(index: int) -> None:
        cache, face = found[index]
        images[index] = crop_face(cache.read(face), points[index], (0, 0, 1, 1), wide, side)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cut, range(len(images))))
    return Crops(images, labels, videos, np.concatenate(originals), border)


def normalised(images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32, (x / 255 - MEAN) / STD, as the detector does it when scanning."""
    scale = 255 * np.asarray(STD, np.float32)
    shift = np.asarray(MEAN, np.float32) / np.asarray(STD, np.float32)
    return np.moveaxis(images.astype(np.float32) / scale - shift, -1, 1)


class BalancedCrops:
    """Training batches without end: half REAL, half FAKE, mirrored, shifted, a share of them damaged.

    Some fakes have their own original beside them, so that only the forgery tells the two apart.

    Args:
        crops: with a border of at least `recipe.shift` pixels.
    """

    def __init__(self, recipe: CropRecipe, crops: Crops) -> None:
        assert recipe.shift <= crops.border
        require_room_for_both(recipe.batch)
        self.recipe, self.crops = recipe, crops
        self.classes = [np.flatnonzero(crops.labels == label) for label in (0, 1)]

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.recipe.seed, step])
        fakes = rng.choice(self.classes[1], self.recipe.batch // 2)
        reals = rng.choice(self.classes[0], self.recipe.batch - len(fakes))
        originals = self.crops.originals[fakes]
        beside = (originals >= 0) & (rng.random(len(fakes)) < self.recipe.paired)
        reals[: len(fakes)][beside] = originals[beside]
        chosen = np.concatenate([reals, fakes])
        images = np.stack([self._vary(self.crops.images[index], rng) for index in chosen])
        return {"crops": normalised(images), "label": self.crops.labels[chosen].astype(np.float32)}

    def _vary(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        border, shift = self.crops.border, self.recipe.shift
        top, left = border - shift + rng.integers(0, 2 * shift + 1, 2)
        image = image[top : top + image.shape[0] - 2 * border, left : left + image.shape[1] - 2 * border]
        if rng.random() < 0.5:
            image = cv2.flip(image, 1)
        if rng.random() < self.recipe.damaged:
            image = augment_pair([np.ascontiguousarray(image)], rng, strength=0)[0]
        return image


class EveryCrop:
    """Validation batches: each crop once, as a scan would cut it."""

    def __init__(self, crops: Crops, batch: int = 64) -> None:
        self.crops, self.batch = crops, batch

    def __len__(self) -> int:
        return -(-len(self.crops.labels) // self.batch)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chosen = range(index * self.batch, min((index + 1) * self.batch, len(self.crops.labels)))
        images = np.stack([self.crops.inner(i) for i in chosen])
        labels = self.crops.labels[chosen.start : chosen.stop].astype(np.float32)
        return {"crops": normalised(images), "label": labels}
