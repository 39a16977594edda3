"""What a data set holds, what it lacks and what looks odd, before any work is put into it."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd

from facetell.data.layouts.base import Listing
from facetell.data.manifest import FAKE, LABEL_NAMES, REAL, check_leaks, manifest_of
from facetell.errors import LeakError
from facetell.report.text import count, plain


def summarise(listing: Listing) -> dict[str, Any]:
    """Counts of a listing, as JSON types.

    Keys: layout, items, groups, videos, counts (list of {dataset, label, method, split, compression, items}), paired
    (fakes whose original is here), missing (names) and notes (sentences).

    Raises:
        ManifestError: two rows name the same file.
    """
    manifest = manifest_of(listing.items)
    columns = ["dataset", "label", "method", "split", "compression"]
    counts = manifest.assign(label=manifest.label.map(LABEL_NAMES)).value_counts(columns, sort=False)
    return {
        "layout": listing.layout,
        "items": len(manifest),
        "groups": int(manifest.groupby("dataset").group.nunique().sum()),
        "videos": int(manifest.groupby("dataset").video.nunique().sum()),
        "paired": int(_paired(manifest).sum()),
        "counts": [{**dict(zip(columns, key, strict=True)), "items": int(n)} for key, n in counts.items()],  # pyright: ignore
        "missing": [plain(name) for name in listing.missing],  # names may be any bytes, which no JSON can hold
        "notes": [*map(plain, listing.notes), *class_notes(manifest), *pair_notes(manifest), *_odd(manifest)],
    }


def class_notes(manifest: pd.DataFrame) -> list[str]:
    """A sentence for each class without an item."""
    labels = set(manifest.label)
    return [f"There is no {name} item." for label, name in LABEL_NAMES.items() if label not in labels]


def pair_notes(manifest: pd.DataFrame) -> list[str]:
    """A sentence on the fakes whose original is not here, if there are any."""
    alone = int((~_paired(manifest)).sum())
    return [f"{count(alone, 'fake')} {'has' if alone == 1 else 'have'} no original here."] if alone else []


def _paired(manifest: pd.DataFrame) -> pd.Series:
    """Of each fake, whether its original is here."""
    fakes, reals = manifest[manifest.label == FAKE], manifest[manifest.label == REAL]
    known = set(zip(reals.dataset, reals.video, strict=True))
    return pd.Series([one in known for one in zip(fakes.dataset, fakes.original, strict=True)], fakes.index, dtype=bool)


def _odd(manifest: pd.DataFrame) -> list[str]:
    notes = []
    files = manifest.path[manifest.member == ""]
    empty = [path for path in files if os.path.isfile(path) and not os.path.getsize(path)]
    if empty:
        notes.append(f"{count(len(empty), 'file')} without content, {empty[0]} first.")
    try:
        check_leaks(manifest)
    except LeakError as error:
        notes.append(f"The official split leaks: {error.message}")
    return notes
