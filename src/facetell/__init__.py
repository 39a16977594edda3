"""facetell: tells whether a face in a video was manipulated, how sure it is, and how often it is wrong when that sure.

>>> import facetell
>>> verdict = facetell.scan("clip.mp4")  # doctest: +SKIP
>>> verdict.label, verdict.p_fake  # doctest: +SKIP
(<Label.FAKE: 'FAKE'>, 0.97)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facetell.detectors import Detector
    from facetell.types import Verdict

__version__ = "0.1.0"
__all__ = ["__version__", "load_detector", "scan"]

# ONNX Runtime looks for this when it is imported: newer versions keep a device's number and a log of their use in the
# user's home, and send both to their maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def scan(path: str | os.PathLike[str], **options: Any) -> Verdict:
    """Judge one video or picture; a file that cannot be judged gives a Verdict labelled ERROR, it does not raise.

    Args:
        path: the file.
        options: those of `facetell.scanning.Scanner`: detector, plan, fpr, prior, start_s, end_s, device, thumbnails,
            progress, limits.
    """
    from facetell.scanning import Scanner

    return Scanner(**options).scan(path)


def load_detector(name: str | os.PathLike[str] | None = None, device: str = "cpu") -> Detector:
    """The detector of this name, or in this file; without a name, the default one.

    Raises:
        DetectorError: unknown name, unfit or altered file.
    """
    from facetell.detectors import load_detector as load

    return load(name, device=device)
