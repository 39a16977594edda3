"""How the detector's score moves under every family of blends: `python benchmarks/families.py FOLDER [--detector D]`.

Each picture of real faces in FOLDER is blended with itself once a family; the table shows the mean calibrated logit of
the unblended twins and of the blends, and how well the logit tells them apart (AUC).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from facetell.detectors import load_detector
from facetell.errors import ForgeError
from facetell.faces import FaceDetector, crop_face
from facetell.forge import masks
from facetell.forge.blend import self_blend
from facetell.video import VideoReader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector")
    parser.add_argument("--most", type=int, default=60, help="pictures")
    options = parser.parse_args()
    detector, finder = load_detector(options.detector), FaceDetector()
    card = detector.card
    pairs: dict[str, list[np.ndarray]] = {}
    for number, path in enumerate(sorted(options.folder.glob("*.jpg"))[: options.most]):
        with VideoReader(path) as reader:
            image = next(iter(reader)).image
        for face in finder.detect(image)[:1]:
            for index, family in enumerate(masks.FAMILIES):
                try:
                    forged = self_blend(image, face.points, np.random.default_rng([number, index]), family=family)
                except ForgeError:
                    continue  # counted: n falls
                crops = [
                    crop_face(picture, face.points, face.box, card.geometry, card.input_size)
                    for picture in (forged.real, forged.fake)
                ]
                pairs.setdefault(family, []).append(np.stack(crops))
    print("| family | n | twins, mean logit | blends, mean logit | AUC |\n|---|---|---|---|---|")
    for family, crops in pairs.items():
        raw = detector.score(np.concatenate(crops)).logits
        real, fake = (np.array([card.calibration(float(x)) for x in raw[i::2]]) for i in (0, 1))
        auc = roc_auc_score(np.repeat([0, 1], len(real)), np.concatenate([real, fake]))
        print(f"| {family} | {len(real)} | {real.mean():.2f} | {fake.mean():.2f} | {auc:.2f} |")


if __name__ == "__main__":
    main()
