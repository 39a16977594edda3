"""What `--data` may name, as one manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from facetell.data.layouts import Options, read
from facetell.data.manifest import manifest_of, read_manifest
from facetell.errors import DataError


def manifest_from(
    sources: Sequence[Path], options: Options | None = None, layout: str | None = None, split: str | None = None
) -> pd.DataFrame:
    """The rows of every source, one below the other.

    Args:
        sources: folders in a known layout, tars, tables, manifests, or caches with a `manifest.parquet`.
        options: what a folder alone cannot say.
        layout: of the folders, instead of recognising it.
        split: only the rows of this split.

    Raises:
        DataError: a source that is none of these, or no row of that split.
        FileMissingError: nothing there.
    """
    manifest = pd.concat([_one(source, options, layout) for source in sources], ignore_index=True)
    if split is None:
        return manifest
    rows = manifest[manifest.split == split]
    if rows.empty:
        known = ", ".join(sorted(set(manifest.split) - {""})) or "none"
        raise DataError(f"No row belongs to split {split!r}.", f"The splits are: {known}.")
    return rows.reset_index(drop=True)


def _one(source: Path, options: Options | None, layout: str | None) -> pd.DataFrame:
    if layout is None:
        if source.suffix == ".parquet":
            return read_manifest(source)
        if (source / "manifest.parquet").is_file():
            return read_manifest(source / "manifest.parquet")
    return manifest_of(read(source, options, layout).items)
