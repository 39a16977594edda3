"""The one face to be forged, in a picture or through a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from facetell.errors import ForgeError
from facetell.faces.detect import Detection, FaceDetector
from facetell.faces.quality import TURNED, assess
from facetell.types import Frame

NO_FACE, SEVERAL = "no face", "several faces"
_ADVICE = {
    NO_FACE: "Choose one in which a face is seen from the front.",
    SEVERAL: "Cut it to one person first.",
    "too small": "Choose one in which the face is larger.",
    "cut off": "Choose one with the whole face in it.",
    "turned away": "Choose one in which the face looks at the camera.",
    TURNED: "Turn it upright first.",
}


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """A face through a clip."""

    points: list[np.ndarray | None]  # (5, 2) float32 of every frame, smoothed over time; None where it cannot be forged
    gaps: Mapping[str, int]  # reason -> frames without a face that can be forged
    frame: Frame  # the first with one
    frame_points: np.ndarray  # (5, 2) in it


def follow(frames: Iterable[Frame], detector: FaceDetector, name: str = "the clip") -> Subject:
    """The only face of a clip, frame by frame; frames in which it cannot be forged are counted.

    Raises:
        ForgeError: no frame has a face that can be forged.
    """
    found: list[np.ndarray | None] = []
    gaps: Counter[str] = Counter()
    first: tuple[Frame, np.ndarray] | None = None
    for frame in frames:
        faces = detector.detect(frame.image)
        problem = _problem(frame.image, faces, detector)
        found.append(None if problem else faces[0].points)
        if problem:
            gaps[problem] += 1
        elif first is None:
            first = replace(frame, image=frame.image.copy()), faces[0].points  # it lasts until the next frame
    if first is None:
        problem = gaps.most_common(1)[0][0] if gaps else NO_FACE
        raise ForgeError(f"{name} cannot be forged: {problem}.", _ADVICE[problem])
    return Subject(smoothed(found), gaps, *first)


def smoothed(points: list[np.ndarray | None]) -> list[np.ndarray | None]:
    """Points without the detector's tremble: a mean over five frames, within runs without a gap or a leap.

    >>> still = np.array([(0, 0), (40, 0), (20, 20), (5, 40), (35, 40)], np.float32)
    >>> [None if p is None else round(float(p[0, 0]), 2) for p in smoothed([still, still + 4, still, None, still])]
    [1.14, 2.0, 1.14, None, 0.0]
    """
    result: list[np.ndarray | None] = [None] * len(points)
    for start, run in _runs(points):
        for k in range(len(run)):
            near = slice(max(0, k - 2), k + 3)
            weight = _WINDOW[near.start - k + 2 :][: len(run[near])]
            result[start + k] = (np.tensordot(weight, run[near], 1) / weight.sum()).astype(np.float32)
    return result


_WINDOW = np.array([0.1, 0.2, 0.4, 0.2, 0.1])


def _runs(points: list[np.ndarray | None]) -> Iterator[tuple[int, np.ndarray]]:
    """Stretches of frames in which the face moves by less than the distance of its eyes from one to the next."""
    run: list[np.ndarray] = []
    for number, place in enumerate([*points, None]):
        leap = bool(run) and place is not None and _leaps(run[-1], place)
        if run and (place is None or leap):
            yield number - len(run), np.stack(run)
            run = []
        if place is not None:
            run.append(place)


def _leaps(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.linalg.norm(other.mean(0) - one.mean(0)) > np.linalg.norm(one[1] - one[0]))


def _problem(image: np.ndarray, faces: list[Detection], detector: FaceDetector) -> str | None:
    if len(faces) != 1:
        return SEVERAL if faces else NO_FACE
    problems = assess(image, faces[0], upright=detector.is_upright(image, faces[0])).problems
    return next((problem for problem in problems if problem in _ADVICE), None)
