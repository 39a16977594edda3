"""A detector against its 8-bit version: `python benchmarks/quantised.py FLOAT.onnx INT8.onnx [--data CACHE …]`.

Prints the size of each, the milliseconds of one face on one core alone and with its mirror image, and for every face
cache the video AUC of both, alone and with the mirror image, and the paired loss with its interval. Of a cache with a
split "dev" only that is scored. A video's score is the mean over its faces. Times are of the processor, not of the
clock, and the least of interleaved rounds, so that a busy machine does little harm.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from facetell.data.cache import FaceCache
from facetell.detectors import Detector, DetectorCard
from facetell.detectors.file import read_detector_file
from facetell.evaluation.metrics import paired
from facetell.evaluation.protocol import resampling_unit
from facetell.faces.align import crop_face

ROUNDS = 40
BATCH = 16
WAYS = ("alone", "with flip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--data", type=Path, action="append", default=[], help="a face cache, labelled; each a row")
    options = parser.parse_args()
    detectors = [Detector(read_detector_file(path), threads=1) for path in (options.whole, options.small)]
    print("| | 32 bits | 8 bits | ratio |\n|---|---|---|---|")
    sizes = [path.stat().st_size / 1e6 for path in (options.whole, options.small)]
    print(f"| size, MB | {sizes[0]:.2f} | {sizes[1]:.2f} | {sizes[0] / sizes[1]:.1f} |")
    for crops, way in enumerate(WAYS, 1):
        times = least_ms(detectors, crops)
        print(f"| ms a face, {way} | {times[0]:.2f} | {times[1]:.2f} | {times[0] / times[1]:.1f} |", flush=True)
    if options.data:
        print("\n| data | n | 32 bits, AUC | 8 bits, AUC | loss (95 %) |\n|---|---|---|---|---|")
    for folder in options.data:
        videos, scores = by_video(FaceCache.open(folder), detectors)
        _, groups = resampling_unit(videos)
        for way, (whole, small) in zip(WAYS, scores, strict=True):
            found = paired(videos.label, expit(whole), expit(small), groups)
            interval = "no interval"  # where a class comes from one group only
            if found["difference_ci95"]:
                interval = "{:+.4f} to {:+.4f}".format(*found["difference_ci95"])
            print(
                f"| {folder.name}, {way} | {found['n_real']} + {found['n_fake']} | {found['auc_a']:.4f} "
                f"| {found['auc_b']:.4f} | {found['difference']:+.4f} ({interval}) |",
                flush=True,
            )


def least_ms(detectors: list[Detector], crops: int) -> list[float]:
    """Processor milliseconds of one call with this many crops, the least of ROUNDS, one detector after the other."""
    rng = np.random.default_rng(0)
    least = [float("inf")] * len(detectors)
    for _ in range(ROUNDS):
        for k, detector in enumerate(detectors):
            batch = rng.integers(0, 256, (crops, *detector.crop_shape), np.uint8)
            start = time.process_time()
            detector.score(batch)
            least[k] = min(least[k], 1000 * (time.process_time() - start))
    return least


def by_video(cache: FaceCache, detectors: list[Detector]) -> tuple[pd.DataFrame, np.ndarray]:
    """The cache's videos, and their logits: (ways, detectors, videos)."""
    items = cache.manifest.iloc[cache.faces["item"]].reset_index(drop=True)
    chosen = items["split"] == "dev" if (items["split"] == "dev").any() else np.ones(len(items), bool)
    rows = np.flatnonzero(chosen & cache.faces["p0x"].notna().to_numpy())
    card = detectors[0].card
    logits = np.empty((2, len(detectors), len(rows)))
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        crops = np.stack([cut(cache, int(row), card) for row in rows[part]])
        for k, detector in enumerate(detectors):
            alone, mirrored = (detector.score(np.ascontiguousarray(c)).logits for c in (crops, crops[:, :, ::-1]))
            logits[:, k, part] = alone, (alone + mirrored) / 2
    keys = items.iloc[rows].groupby(["dataset", "label", "video"], sort=False)
    numbers = keys.ngroup().to_numpy()
    counts = np.bincount(numbers)
    pooled = np.array([[np.bincount(numbers, weights=one) / counts for one in way] for way in logits])
    return keys.first().reset_index(), pooled


def cut(cache: FaceCache, row: int, card: DetectorCard) -> np.ndarray:
    points = cache.points(row)
    assert points is not None  # of the rows with points
    return crop_face(cache.read(row), points, (0, 0, 1, 1), card.geometry, card.input_size)


if __name__ == "__main__":
    main()
