"""facetell: tells whether a face in a video was manipulated, how sure it is, and how often it is wrong when that sure.

>>> import facetell
>>> verdict = facetell.scan("clip.mp4")  # doctest: +SKIP
>>> verdict.label, verdict.p_fake  # doctest: +SKIP
(<Label.FAKE: 'FAKE'>, 0.97)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from facetell.detectors import Detector
    from facetell.scanning.pipeline import Progress
    from facetell.types import Verdict
    from facetell.video import Limits

__version__ = "0.1.0"
__all__ = ["__version__", "load_detector", "scan"]

# ONNX Runtime looks for this when it is imported: newer versions keep a device's number and a log of their use in the
# user's home, and send both to their maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class ScanOptions(TypedDict, total=False):
    """The options of `scan`, which `facetell.scanning.Scanner` explains."""

    detector: Detector | str | os.PathLike[str] | None
    plan: str | None
    fpr: float | None
    prior: float
    start_s: float | None
    end_s: float | None
    device: str
    thumbnails: int
    progress: Progress | None
    limits: Limits


def scan(path: StrOrBytesPath, **options: Unpack[ScanOptions]) -> Verdict:
    """Judge one video or picture; a file that cannot be judged gives a Verdict labelled ERROR, it does not raise.

    Args:
        path: the file.
        options: those of `facetell.scanning.Scanner`, which is the one to take for many files.

    Raises:
        DetectorError, UsageError, ReaderCrashError: as `Scanner`.
    """
    from facetell.scanning import Scanner

    with Scanner(**options) as scanner:
        return scanner.scan(path)


def load_detector(name: str | os.PathLike[str] | None = None, device: str = "cpu") -> Detector:
    """The detector of this name, or in this file; without a name, the default one.

    Raises:
        DetectorError: unknown name, unfit or altered file.
    """
    from facetell.detectors import load_detector as load

    return load(name, device=device)
