"""A small data set that a brightness detector solves: bright portraits are fake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from facetell.data.manifest import FAKE, REAL, Item, manifest_of
from tests import media
from tests.detectors import networks

PEOPLE = 6
STILLS = 3


def detector(folder: Path, **changes) -> Path:
    """logit = 20 · brightness − 8."""
    return networks.write(folder, networks.brightness(gain=20.0, bias=-8.0), **changes)


def portrait(label: int, shift: float = 0.0) -> np.ndarray:
    """A close portrait; a fake one is brighter, `shift` makes either brighter still."""
    gain = (0.6 if label == REAL else 1.1) + shift
    return np.clip(media.side_by_side([0]) * gain, 0, 255).astype(np.uint8)


def stills(folder: Path, people: int = PEOPLE) -> pd.DataFrame:
    """Several people, each real and fake, three stills of each; no face in the very first picture."""
    items = []
    for person in range(people):
        for label in (REAL, FAKE):
            for number in range(STILLS):
                path = folder / f"{'real' if label == REAL else 'fake'}-{person}_{number}.png"
                blank = person == label == number == 0
                picture = np.full((240, 240, 3), 90, np.uint8) if blank else portrait(label, 0.1 * person / people)
                media.write_picture(path, picture)
                items.append(
                    Item(
                        str(path),
                        label,
                        dataset="made",
                        method="brighter" if label == FAKE else "",
                        group=f"person {person}",
                        video=f"{label}-{person}",
                        frame=number,
                        crop=True,
                    )
                )
    return manifest_of(items)


def manifest_rows(table: Path, label: int | None = None) -> pd.DataFrame:
    """The rows of a manifest's CSV, of one label if it is given."""
    rows = pd.read_csv(table, keep_default_na=False)
    return rows if label is None else rows[rows.label == label]
