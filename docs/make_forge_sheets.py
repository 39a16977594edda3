"""Makes the pictures of docs/forge.md, from scikit-image's astronaut (public domain): run it by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from facetell.faces.align import Geometry, crop_face
from facetell.faces.detect import FaceDetector
from facetell.forge import blend, degrade, masks, swap
from facetell.forge.presets import PRESETS

FOLDER = Path(__file__).parent / "img"
SIDE = 176  # of a tile
CAPTION = 20


def main() -> None:
    photo = data.astronaut()
    face = FaceDetector().detect(photo)[0]
    image = crop_face(photo, face.points, face.box, Geometry(scale=0.72), SIDE)
    points = FaceDetector().detect(image)[0].points
    donor = np.ascontiguousarray(image[:, ::-1, [0, 2, 1]])
    donor_points = FaceDetector().detect(donor)[0].points
    FOLDER.mkdir(exist_ok=True)
    save("forge-families", families(image, points), columns=2)
    save("forge-pairs", pairs(image, points, donor, donor_points), columns=4)
    save("forge-damage", damage(image), columns=6)
    save("forge-presets", presets(image), columns=6)


def families(image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
    """Every family as two blends and the mask of the second."""
    tiles = {}
    for number, family in enumerate(masks.FAMILIES):
        one, other = (
            blend.self_blend(image, points, np.random.default_rng(20 * k + number), family=family) for k in (1, 2)
        )
        tiles[family] = np.hstack([one.fake, other.fake, grey(other.mask)])
    return tiles


def pairs(image: np.ndarray, points: np.ndarray, donor: np.ndarray, donor_points: np.ndarray) -> dict[str, np.ndarray]:
    """A swap, and what is made of a labelled fake and its original: here of the swap."""
    tiles = {"real": image, "donor": donor}
    for blending in ("soft", "seamless"):
        tiles[f"swap, {blending}"] = swap.swap(image, points, donor, donor_points, blending).fake
    fake = tiles["swap, soft"]
    tiles["where they differ"] = grey(blend.difference_mask(fake, image))
    rng = np.random.default_rng(3)
    while (part := blend.paste_part(fake, image, points, rng)) is None:
        pass
    tiles[f"part: {part.family}"], tiles["its mask"] = part.fake, grey(part.mask)
    mixture, share = blend.mix(fake, image, rng)
    return tiles | {f"mixture, {share:.0%} fake": mixture}


def damage(image: np.ndarray) -> dict[str, np.ndarray]:
    """The damage that training does to both of a pair, from mild to strong, and H.264 by its CRF."""
    tiles = {}
    for strength in (0.0, 0.5, 1.0):
        for seed in range(1, 7):
            (hurt,) = degrade.augment_pair([image], np.random.default_rng(seed), strength)
            tiles[f"strength {strength:g}, seed {seed}"] = hurt
    for crf in (20, 24, 28, 32, 36, 40):
        (tiles[f"H.264, CRF {crf}"],) = degrade.h264([image], np.random.default_rng(0), (crf, crf))
    return tiles


def presets(image: np.ndarray) -> dict[str, np.ndarray]:
    """Every preset on a still, shown at one size."""
    tiles = {}
    for name, preset in PRESETS.items():
        hurt = preset.apply(image, np.random.default_rng(0))
        for crf in filter(None, (preset.first_crf, preset.crf)):
            (hurt,) = degrade.h264([hurt], np.random.default_rng(0), (crf, crf), codec=preset.codec)
        tiles[name] = cv2.resize(hurt, image.shape[1::-1])
    return tiles


def grey(mask: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.rint(mask * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def save(name: str, tiles: dict[str, np.ndarray], columns: int) -> None:
    """A sheet of captioned tiles, as a JPEG."""
    captioned = []
    for caption, tile in tiles.items():
        strip = np.full((CAPTION, tile.shape[1], 3), 255, np.uint8)
        cv2.putText(strip, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        captioned.append(np.vstack([strip, tile]))
    captioned += [np.full_like(captioned[0], 255)] * (-len(captioned) % columns)
    rows = [np.hstack(captioned[start : start + columns]) for start in range(0, len(captioned), columns)]
    cv2.imwrite(str(FOLDER / f"{name}.jpg"), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
