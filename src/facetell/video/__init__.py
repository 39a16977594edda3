"""A path becomes frames: what the file is, where it comes from, and the sampled pictures in it.

`VideoReader`, `probe` and `provenance` parse the file in this very process; `ReaderPool` does it in another one that
can do little else. Names are loaded when asked for: a process that leaves parsing to others never loads FFmpeg.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facetell.video.header import probe
    from facetell.video.isolation import ReaderPool, shared_readers
    from facetell.video.limits import Limits
    from facetell.video.origin import provenance
    from facetell.video.plans import DEFAULT_PLAN, Plan, parse_plan
    from facetell.video.reader import VideoReader

__all__ = [
    "DEFAULT_PLAN",
    "Limits",
    "Plan",
    "ReaderPool",
    "VideoReader",
    "parse_plan",
    "probe",
    "provenance",
    "shared_readers",
]

_HOMES = {
    "DEFAULT_PLAN": "plans",
    "Limits": "limits",
    "Plan": "plans",
    "ReaderPool": "isolation",
    "VideoReader": "reader",
    "parse_plan": "plans",
    "probe": "header",
    "provenance": "origin",
    "shared_readers": "isolation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
