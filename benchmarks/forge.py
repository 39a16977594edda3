"""What a forged pair costs, by step, on one core: `python benchmarks/forge.py`.

The picture is the astronaut's face at 256 px. "Budget" is the time over 12 ms, what a training on one core can spare
for a pair; H.264 stands apart because a training does it to a share of the pairs alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage import data

from facetell.forge import blend, degrade, masks

BUDGET_MS = 12.0
SIDE, LEFT, TOP = 200, 122, 20  # of the face in the photograph
POINTS = np.array([(200.1, 101.8), (247.1, 102.6), (220.4, 124.5), (198.6, 142.8), (239.7, 143.6)], np.float32)


def milliseconds(work: Callable[[], object], repeats: int = 200) -> tuple[float, float]:
    """Mean and 95th percentile of the process's own time for one call."""
    for _ in range(5):
        work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return float(np.mean(times)), float(np.percentile(times, 95))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    image = cv2.resize(
        data.astronaut()[TOP : TOP + SIDE, LEFT : LEFT + SIDE], (256, 256), interpolation=cv2.INTER_CUBIC
    )
    points = (POINTS - (LEFT, TOP)) * np.float32(256 / SIDE)
    fake = blend.self_blend(image, points, rng, family="face").fake

    def pair(strength: float) -> Callable[[], object]:
        def make() -> None:
            forged = blend.self_blend(image, points, rng)
            degrade.augment_pair([forged.real, forged.fake], rng, strength)

        return make

    hard = masks.fill(masks.hulls("face", points), (256, 256))
    field = np.ones((8, 8, 2), np.float32)
    steps: dict[str, Callable[[], object]] = {
        "outline: fit and fill": lambda: masks.fill(masks.hulls("face", points), (256, 256)),
        "mask: bend": lambda: masks.displace(hard, field, points),
        "mask: erode and soften": lambda: masks.soften(hard, 4, 5),
        "self-blend": lambda: blend.self_blend(image, points, rng),
        "part of a labelled fake": lambda: blend.paste_part(fake, image, points, rng),
        "mixture": lambda: blend.mix(fake, image, rng),
        "damage to both, mild": lambda: degrade.augment_pair([image, fake], rng, 0),
        "damage to both, strong": lambda: degrade.augment_pair([image, fake], rng, 1),
        "whole pair, mild": pair(0),
        "whole pair, strong": pair(1),
        "H.264 of both": lambda: degrade.h264([image, fake], rng),
    }
    table = Table("step", "ms", "95 %", "budget")
    for name, work in steps.items():
        mean, high = milliseconds(work)
        table.add_row(name, f"{mean:.2f}", f"{high:.2f}", f"{mean / BUDGET_MS:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
