"""A small face cache of our own: one person in many lights, the fakes with a striped patch over the mouth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facetell.data.cache import FaceCache
from facetell.data.manifest import Item, manifest_of
from facetell.data.prepare import prepare
from tests import media

SIDE = 160
MOUTH = (slice(95, 115, 4), slice(65, 95))


def face_cache(folder: Path, per_class: int = 12, labels: tuple[int, ...] = (0, 1)) -> FaceCache:
    """`per_class` faces of each label in each of the splits train and dev."""
    rng = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    face = media.view(media.person(), (SIDE, SIDE), (225, 120), 190)
    items = []
    for split in ("train", "dev"):
        for label in labels:
            for number in range(per_class):
                picture = np.clip(face * rng.uniform(0.7, 1.2) + rng.normal(0, 4, face.shape), 0, 255).astype(np.uint8)
                if label:
                    picture[MOUTH] = 255 - picture[MOUTH]
                path = pictures / f"{split}-{label}-{number}.png"
                cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                items.append(Item(str(path), label, "made", split=split, video=path.stem, crop=True))
    prepare(manifest_of(items), folder / "cache", workers=1)
    return FaceCache.open(folder / "cache")
