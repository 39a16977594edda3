"""`python -m tests.hostile [COUNT [SEED]]`: scan hostile files and print what became of them; 1 if any did harm."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from facetell.scanning import Scanner
from facetell.video import Limits
from tests.detectors.networks import saying
from tests.hostile.generator import cases
from tests.hostile.run import scan_all

LIMITS = Limits()


def main() -> None:
    count, seed = (int(text) for text in (*sys.argv[1:], *("2400", "0")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scanner = Scanner(saying(folder, -5.0), limits=LIMITS)
        here = folder / "here"
        here.mkdir()
        summary = scan_all(cases(folder / "bases", count, seed), scanner, here, most_s=2 * LIMITS.seconds)
    print(f"{os.cpu_count()} processors, seed {seed}, {LIMITS}")
    print(summary)
    sys.exit(bool(summary.crashes or summary.hangs or summary.leaks or summary.broken))


if __name__ == "__main__":
    main()
