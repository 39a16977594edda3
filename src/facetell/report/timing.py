"""When a verdict's faces were looked at, and which of them stand next to one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from facetell.types import FaceScore, TrackScore

_SLACK = 1.5  # sampling intervals that may lie between neighbours


def sampling_interval(tracks: Sequence[TrackScore]) -> float | None:
    """Seconds from one sampled frame with a face to the next, the median over a video; None with fewer than two.

    >>> from facetell.types import Label
    >>> def track(*times):
    ...     faces = [FaceScore(time, (0, 0, 9, 9), 0.5, 0.0, 1.0) for time in times]
    ...     return TrackScore(1, Label.REAL, times[0], times[-1], 0.5, 0.0, True, faces)
    >>> sampling_interval([track(0.0, 0.5, 1.0), track(1.5, 3.0)])
    0.5
    >>> sampling_interval([track(2.0)]) is None
    True
    """
    times = sorted({score.time_s for track in tracks for score in track.scores})
    return float(np.median(np.diff(times))) if len(times) > 1 else None


def runs(scores: Sequence[FaceScore], interval: float | None) -> list[list[FaceScore]]:
    """A track's scores, cut wherever more than one and a half sampling intervals passed without a face.

    >>> faces = [FaceScore(time, (0, 0, 9, 9), 0.5, 0.0, 1.0) for time in (0.0, 0.5, 2.0)]
    >>> [[face.time_s for face in run] for run in runs(faces, 0.5)]
    [[0.0, 0.5], [2.0]]
    """
    parts = [list(scores[:1])] if scores else []
    for before, score in pairwise(scores):
        if interval is not None and score.time_s - before.time_s <= _SLACK * interval:
            parts[-1].append(score)
        else:
            parts.append([score])
    return parts
