"""A detector against its 8-bit version: `python benchmarks/quantised.py FLOAT.onnx INT8.onnx [--data DIR …]`.

Prints the size of each, the milliseconds of one face on one core alone and with its mirror image, and for every set of
labelled data the video AUC of both, alone and with the mirror image, and the paired loss with its interval. Times are
of the processor, not of the clock, and the least of interleaved rounds, so that a busy machine does little harm.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from facetell.detectors import Detector
from facetell.detectors.file import read_detector_file
from facetell.evaluation.metrics import paired
from facetell.evaluation.protocol import resampling_unit
from facetell.evaluation.robustness import SUITE
from facetell.evaluation.scoring import Scored, score
from facetell.evaluation.sources import manifest_from
from facetell.scanning import Scanner

ROUNDS = 40
FLIP = "with flip"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--data", type=Path, action="append", default=[], help="labelled data, each a row")
    parser.add_argument("--split", help="of the data sets that have it")
    options = parser.parse_args()
    detectors = [Detector(read_detector_file(path), threads=1) for path in (options.whole, options.small)]
    print("| | 32 bits | 8 bits | ratio |\n|---|---|---|---|")
    sizes = [path.stat().st_size / 1e6 for path in (options.whole, options.small)]
    print(f"| size, MB | {sizes[0]:.2f} | {sizes[1]:.2f} | {sizes[0] / sizes[1]:.1f} |")
    for name, crops in (("alone", 1), (FLIP, 2)):
        times = least_ms(detectors, crops)
        print(f"| ms a face, {name} | {times[0]:.2f} | {times[1]:.2f} | {times[0] / times[1]:.1f} |", flush=True)
    if options.data:
        print("\n| data | n | 32 bits, AUC | 8 bits, AUC | loss (95 %) |\n|---|---|---|---|---|")
    for folder in options.data:
        manifest = manifest_from([folder])
        if options.split and (manifest.split == options.split).any():
            manifest = manifest[manifest.split == options.split]
        scanners = [Scanner(detector) for detector in detectors]
        alone = [score(manifest, scanner) for scanner in scanners]
        print(row(folder.name, *alone), flush=True)
        both = [
            with_flip(one, score(manifest, s, damage=SUITE["mirrored"])) for one, s in zip(alone, scanners, strict=True)
        ]
        print(row(f"{folder.name}, {FLIP}", *both), flush=True)


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


def with_flip(one: Scored, mirrored: Scored) -> Scored:
    """The same videos with the mean of both logits; those that the mirrored run lost keep their own."""
    other = mirrored.videos.logit.reindex(one.videos.index).fillna(one.videos.logit)
    logits = (one.videos.logit + other) / 2
    p_fake = 1 / (1 + np.exp(-np.array([one.card.calibration(x) for x in logits])))
    return Scored(one.items, one.faces, one.videos.assign(logit=logits, p_fake=p_fake), one.card)


def row(name: str, whole: Scored, small: Scored) -> str:
    """A line of the table; both were scored on the same videos."""
    videos = whole.videos
    _, groups = resampling_unit(videos)
    found = paired(videos.label, videos.p_fake, small.videos.p_fake.loc[videos.index], groups)
    low, high = found["difference_ci95"]
    n = f"{found['n_real']} + {found['n_fake']}"
    loss = f"{found['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
    return f"| {name} | {n} | {found['auc_a']:.4f} | {found['auc_b']:.4f} | {loss} |"


if __name__ == "__main__":
    main()
