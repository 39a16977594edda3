"""What a training step of the default detector costs on one core, and what cheapens it.

Run by hand: `python benchmarks/training.py`.

One step is 12 pairs, forward, backward and update, on noise. Every variant runs in a process of its own, in turns; the
ratio is its time over the first one's. "Huge pages" starts Python with the allocator keeping what it has been given, in
pages of 2 MB: by default glibc hands every large tensor back to the system, which clears it again for the next one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

ROUNDS = 3
STEPS = 3
PAIRS = 12
HUGE_PAGES = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
VARIANTS = {  # name -> size, norms folded, bfloat16, huge pages
    "192 px": (192, False, False, False),
    "192 px, huge pages": (192, False, False, True),
    "192 px, norms folded": (192, True, False, False),
    "192 px, norms folded, huge pages": (192, True, False, True),
    "192 px, bfloat16": (192, False, True, False),
    "192 px, bfloat16, huge pages": (192, False, True, True),
    "192 px, norms folded, bfloat16, huge pages": (192, True, True, True),
    "160 px, norms folded, huge pages": (160, True, False, True),
}


def seconds_a_step(size: int, folded: bool, half: bool) -> float:
    """The median of a few steps, after one that is not counted."""
    import torch
    from torch.nn import functional as F

    from facetell.networks.depthwise import quicken
    from facetell.networks.frame import FrameNet, fold_norms

    torch.set_num_threads(1)
    network = FrameNet("tf_efficientnet_lite0", size).train()
    if folded:
        fold_norms(network.backbone, size)
    if half:
        quicken(network.backbone)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    crops = torch.randn(2 * PAIRS, 3, size, size).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(1 + STEPS):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            parts = network.parts(crops)
        loss = torch.stack([F.softplus(part.float()).mean() for part in parts]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(ROUNDS):
        for name, (size, folded, half, huge_pages) in VARIANTS.items():
            environment = os.environ | {"OMP_NUM_THREADS": "1"} | (HUGE_PAGES if huge_pages else {})
            command = [sys.executable, __file__, "--one", str(size), str(int(folded)), str(int(half))]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            times[name].append(float(done.stdout))
    table = Table(title=f"A step of {PAIRS} pairs, one core, median of {ROUNDS} rounds")
    for column in ("variant", "seconds", "ratio"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    first = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        median = statistics.median(values)
        table.add_row(name, f"{median:.2f}", f"{median / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=3, type=int, metavar=("SIZE", "FOLDED", "HALF"), help="A variant, in here.")
    if one := parser.parse_args().one:
        print(seconds_a_step(one[0], bool(one[1]), bool(one[2])))
    else:
        main()
