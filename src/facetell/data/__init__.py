"""A data-set folder becomes a leak-free manifest and a cache of faces to train on."""

from __future__ import annotations

try:
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401
except ImportError as error:
    from facetell.errors import MissingExtraError

    raise MissingExtraError(f"Data sets need {error.name}, which is not installed.", 'pip install ".[eval]"') from error

from facetell.data.cache import FaceCache
from facetell.data.manifest import Item, check_leaks, manifest_of, read_manifest, write_manifest

__all__ = ["FaceCache", "Item", "check_leaks", "manifest_of", "read_manifest", "write_manifest"]
