"""Face crops out of caches, in memory, and balanced batches of them: what detectors that look at one face train on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from facetell.errors import TrainingError
from facetell.faces.align import Geometry, crop_face
from facetell.forge.degrade import augment_pair
from facetell.training.fit import require_both_classes

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache


@dataclass(frozen=True, eq=False)
class Crops:
    """N crops cut by one geometry, with a border of `border` pixels around what the network is to see."""

    images: np.ndarray  # (N, S + 2 border, S + 2 border, 3) uint8 RGB
    labels: np.ndarray  # (N,) 1 = FAKE
    videos: pd.DataFrame  # (N rows) of the manifest
    border: int
    skipped: int  # faces without landmarks, which no scan would score either

    def inner(self, index: int) -> np.ndarray:
        """What a scan would cut: crop `index` without its border."""
        size = self.images.shape[1] - 2 * self.border
        return self.images[index, self.border : self.border + size, self.border : self.border + size]


def crops_of(
    caches: Sequence[FaceCache],
    split: str,
    geometry: Geometry,
    size: int,
    border: int = 0,
    limit: int = 0,
    seed: int = 0,
) -> Crops:
    """All faces of a split, cut and decoded once.

    Args:
        split: "train" or "dev", as the manifests have it.
        size: side of the crops in pixels, without the border.
        border: pixels of surroundings on each side, for shifting; the scale stays the geometry's.
        limit: faces at most, drawn with `seed`; 0: all.

    Raises:
        TrainingError: not both classes in this split.
    """
    found: list[tuple[FaceCache, int]] = []
    rows, skipped = [], 0
    for cache in caches:
        wanted = np.flatnonzero((cache.manifest.split.iloc[cache.faces["item"]] == split).to_numpy())
        usable = wanted if geometry.kind == "whole" else wanted[cache.faces.p0x.iloc[wanted].notna().to_numpy()]
        skipped += len(wanted) - len(usable)
        found += [(cache, int(face)) for face in usable]
        rows.append(cache.manifest.iloc[cache.faces["item"].iloc[usable]])
    videos = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"label": []})
    if limit and limit < len(found):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(found))[:limit])
        found, videos = [found[i] for i in chosen], videos.iloc[chosen].reset_index(drop=True)
    labels = videos.label.to_numpy(np.int64)
    require_both_classes(labels, f"The split {split!r}")
    side = size + 2 * border
    wide = Geometry(geometry.kind, geometry.scale * size / side, (side / size * (1 + 2 * geometry.margin) - 1) / 2)
    images = np.empty((len(found), side, side, 3), np.uint8)

    def cut(index: int) -> None:
        cache, face = found[index]
        points = cache.points(face)
        x, y, w, h = (float(v) for v in cache.faces.loc[face, ["box_x", "box_y", "box_w", "box_h"]])
        images[index] = crop_face(
            cache.read(face), np.zeros((5, 2)) if points is None else points, (x, y, w, h), wide, side
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cut, range(len(found))))
    return Crops(images, labels, videos, border, skipped)


def normalised(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32, (x / 255 - mean) / std, as the detector does it when scanning."""
    scale = 255 * np.asarray(std, np.float32)
    shift = np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    return np.moveaxis(images.astype(np.float32) / scale - shift, -1, 1)


class BalancedCrops:
    """Training batches without end: half REAL, half FAKE, mirrored, shifted within the border, a share of them damaged.

    Args:
        damaged: share of the crops that `augment_pair` damages mildly (JPEG, blur, noise, tone).
    """

    def __init__(
        self, crops: Crops, batch: int, seed: int, damaged: float, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        if batch < 2:
            raise TrainingError(f"A batch of {batch} cannot hold both classes.", "Set batch to 2 or more.")
        self.crops, self.batch, self.seed, self.damaged, self.mean, self.std = crops, batch, seed, damaged, mean, std
        self.classes = [np.flatnonzero(crops.labels == label) for label in (0, 1)]

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, step])
        fakes = self.batch // 2
        chosen = np.concatenate([rng.choice(self.classes[0], self.batch - fakes), rng.choice(self.classes[1], fakes)])
        images = np.stack([self._vary(self.crops.images[index], rng) for index in chosen])
        return {"crops": normalised(images, self.mean, self.std), "label": self.crops.labels[chosen].astype(np.float32)}

    def _vary(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        border = self.crops.border
        top, left = rng.integers(0, 2 * border + 1, 2)
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
