"""Face crops out of caches, in memory, and balanced batches of them: what detectors that look at one face train on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facetell.data.cache import BOX, POINTS, FaceCache
from facetell.data.split import rows_in
from facetell.errors import TrainingError
from facetell.faces.align import Geometry, crop_face
from facetell.forge.degrade import augment_pair


def belongs_to(cache: FaceCache, split: str) -> np.ndarray:
    """Which faces of a cache stand in its train or its dev split, (N,) bool: see `facetell.data.split.rows_in`."""
    return rows_in(cache.manifest, split)[cache.faces["item"]]


def datasets_of(caches: Sequence[FaceCache], split: str) -> list[str]:
    """Names of the data sets that have items in this split."""
    return sorted({str(name) for cache in caches for name in cache.manifest.dataset[rows_in(cache.manifest, split)]})


def require_both_classes(labels: Any, where: str) -> None:
    """Raise TrainingError unless both REAL (0) and FAKE (1) occur among `labels`."""
    found = set(np.unique(np.asarray(labels)).tolist())
    if found != {0, 1}:
        names = {0: "REAL", 1: "FAKE"}
        seen = " and ".join(names.get(value, str(value)) for value in sorted(found))
        what = f"{seen} faces only" if seen else "no faces"
        raise TrainingError(f"{where} holds {what}.", "Training needs REAL and FAKE ones in both splits.")


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
    """All faces of a split, cut and decoded once; those without landmarks only where the geometry needs none.

    Args:
        split: "train" or "dev".
        size: side of the crops in pixels, without the border.
        border: pixels of surroundings on each side, for shifting; the scale stays the geometry's.

    Raises:
        TrainingError: not both classes in this split.
    """
    found: list[tuple[FaceCache, int]] = []
    places, rows, originals = [], [], []
    for cache in caches:
        wanted = np.flatnonzero(belongs_to(cache, split))
        place = cache.faces.iloc[wanted][[*POINTS, *BOX]].to_numpy(np.float32)
        usable = np.ones(len(wanted), bool) if geometry.kind == "whole" else np.isfinite(place).all(axis=1)
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
    place = np.concatenate(places)
    side = size + 2 * border
    wide = Geometry(geometry.kind, geometry.scale * size / side, (side / size * (1 + 2 * geometry.margin) - 1) / 2)
    images = np.empty((len(found), side, side, 3), np.uint8)

    def cut(index: int) -> None:
        cache, face = found[index]
        x, y, w, h = place[index, 10:].tolist()
        images[index] = crop_face(cache.read(face), place[index, :10].reshape(5, 2), (x, y, w, h), wide, side)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cut, range(len(images))))
    return Crops(images, labels, videos, np.concatenate(originals), border)


def normalised(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32, (x / 255 - mean) / std, as the detector does it when scanning."""
    scale = 255 * np.asarray(std, np.float32)
    shift = np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    return np.moveaxis(images.astype(np.float32) / scale - shift, -1, 1)


class BalancedCrops:
    """Training batches without end: half REAL, half FAKE, mirrored, shifted, a share of them damaged.

    Args:
        shift: pixels by which a crop is moved at most, not more than its border.
        paired: share of the fakes that have their own original beside them, so that only the forgery tells them apart.
        damaged: share of the crops that `augment_pair` damages mildly (JPEG, blur, noise, tone).
    """

    def __init__(
        self,
        crops: Crops,
        batch: int,
        seed: int,
        paired: float,
        damaged: float,
        mean: Sequence[float],
        std: Sequence[float],
        shift: int,
    ) -> None:
        assert shift <= crops.border
        if batch < 2:
            raise TrainingError(f"A batch of {batch} cannot hold both classes.", "Set batch to 2 or more.")
        self.crops, self.batch, self.seed, self.mean, self.std = crops, batch, seed, mean, std
        self.paired, self.damaged, self.shift = paired, damaged, shift
        self.classes = [np.flatnonzero(crops.labels == label) for label in (0, 1)]

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, step])
        fakes = rng.choice(self.classes[1], self.batch // 2)
        reals = rng.choice(self.classes[0], self.batch - len(fakes))
        originals = self.crops.originals[fakes]
        beside = (originals >= 0) & (rng.random(len(fakes)) < self.paired)
        reals[: len(fakes)][beside] = originals[beside]
        chosen = np.concatenate([reals, fakes])
        images = np.stack([self._vary(self.crops.images[index], rng) for index in chosen])
        return {"crops": normalised(images, self.mean, self.std), "label": self.crops.labels[chosen].astype(np.float32)}

    def _vary(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        border = self.crops.border
        top, left = border - self.shift + rng.integers(0, 2 * self.shift + 1, 2)
        image = image[top : top + image.shape[0] - 2 * border, left : left + image.shape[1] - 2 * border]
        if rng.random() < 0.5:
            image = cv2.flip(image, 1)
        if rng.random() < self.damaged:
            image = augment_pair([np.ascontiguousarray(image)], rng, strength=0)[0]
        return image


class EveryCrop:
    """Validation batches: each crop once, as a scan would cut it."""

    def __init__(self, crops: Crops, mean: Sequence[float], std: Sequence[float], batch: int = 64) -> None:
        self.crops, self.mean, self.std, self.batch = crops, mean, std, batch

    def __len__(self) -> int:
        return -(-len(self.crops.labels) // self.batch)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chosen = range(index * self.batch, min((index + 1) * self.batch, len(self.crops.labels)))
        images = np.stack([self.crops.inner(i) for i in chosen])
        labels = self.crops.labels[chosen.start : chosen.stop].astype(np.float32)
        return {"crops": normalised(images, self.mean, self.std), "label": labels}
