"""When a verdict's faces were looked at, and which of them stand next to one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from facetell.types import FaceScore, TrackScore

_SLACK = 1.5  # sampling intervals that may lie between neighbours


def longest_gap(tracks: Sequence[TrackScore]) -> float:
    """Seconds that may lie between two neighbouring faces: one and a half sampling intervals.

    The interval is the median over all times at which a face of the video was scored; 0 with fewer than two of them.

    >>> from facetell.types import Label
    >>> faces = [FaceScore(time, (0, 0, 9, 9), 0.5, 0.0, 1.0) for time in (0.0, 0.5, 1.0, 3.0)]
    >>> longest_gap([TrackScore(1, Label.REAL, 0.0, 3.0, 0.5, 0.0, True, faces)])
    0.75
    """
    times = sorted({score.time_s for track in tracks for score in track.scores})
    return _SLACK * float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def runs(scores: Sequence[FaceScore], gap: float) -> list[list[FaceScore]]:
    """A track's scores, cut wherever more than `gap` seconds passed without a face.

    >>> faces = [FaceScore(time, (0, 0, 9, 9), 0.5, 0.0, 1.0) for time in (0.0, 0.5, 2.0)]
    >>> [[face.time_s for face in run] for run in runs(faces, 0.75)]
    [[0.0, 0.5], [2.0]]
    """
    parts = [list(scores[:1])] if scores else []
    for before, score in pairwise(scores):
        if score.time_s - before.time_s <= gap:
            parts[-1].append(score)
        else:
            parts.append([score])
    return parts
