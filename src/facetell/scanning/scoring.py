"""Faces become people with scores, in bounded memory: crops are judged as they come, and few of them kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from facetell.detectors import Detector, DetectorCard
from facetell.detectors.card import FLICKER, INSTABILITY
from facetell.detectors.detector import BATCH
from facetell.errors import LimitError
from facetell.faces.align import FACE_HEIGHT, Geometry, crop_matrix, similarity
from facetell.faces.magnify import magnified
from facetell.scanning.verdict import Person
from facetell.types import Box, Face, FaceScore, FaceTrack
from facetell.video.plans import Clips, Plan

MAX_CROPS = 512 * 2**20  # bytes of crops that a detector of clips may hold
MAX_PICTURES = 64 * 2**20  # bytes of crops, and of heat maps, kept for the report
REGION_FACES = 3  # whose heat maps say where a track looks altered
FLOOR = 0.1  # logits, added to a difference so that its logarithm stays finite
SURE = 0.5  # of a heat map: a part of the face is named from here on; below, the name is wrong twice as often


class FrameScoring:
    """For detectors of single faces.

    Args:
        detector: the detector.
        thumbnails: how many of each track's most and least suspicious faces keep their picture.
    """

    def __init__(self, detector: Detector, thumbnails: int) -> None:
        self._detector = detector
        self._thumbnails = thumbnails
        self._waiting: list[tuple[Face, list[np.ndarray]]] = []  # with its crop, magnified first if it can be
        self._logits: dict[Face, float] = {}
        self._parts: dict[Face, dict[str, float]] = {}
        self._crops: dict[Face, np.ndarray] = {}
        self._heats: dict[Face, np.ndarray] = {}

    def add(self, face: Face, crop: np.ndarray, after: np.ndarray | None = None) -> None:
        """One face, its crop (H, W, 3) uint8, and the one cut at the same place of the next frame, if there is that."""
        by = self._detector.card.magnification
        shown = None if by is None or after is None else magnified(crop, after, by)
        self._crops[face] = crop
        self._waiting.append((face, [crop] if shown is None else [shown, crop]))
        if len(self._waiting) == BATCH:
            self._flush()

    def people(self, tracks: Sequence[FaceTrack]) -> list[Person]:
        """The tracks with their faces' scores."""
        self._flush()
        return [self._person(track) for track in tracks]

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        card = self._detector.card
        scores = self._detector.score(np.stack([shown for _, (shown, *_) in waiting]))
        as_it_is: dict[Face, float] = {}
        if card.instability is not None and (both := [(face, crops[1]) for face, crops in waiting if crops[1:]]):
            logits = self._detector.score(np.stack([crop for _, crop in both])).logits.tolist()
            as_it_is = dict(zip([face for face, _ in both], logits, strict=True))
        each = zip(waiting, scores.logits.tolist(), scores.parts_of_each(), scores.heatmaps_of_each(), strict=True)
        for (face, _), logit, parts, heat in each:
            unstable = instability(logit, as_it_is[face]) if face in as_it_is else None
            self._logits[face], self._parts[face] = with_terms(card, logit, parts, face.flicker, unstable)
            if heat is not None:
                self._heats[face] = heat.copy()  # a view would keep its whole batch alive
        self._prune(self._crops)
        self._prune(self._heats)

    def _prune(self, kept: dict[Face, np.ndarray]) -> None:
        """Over the limit, keep those of the most and least suspicious quarters of all faces."""
        if kept and len(kept) * next(iter(kept.values())).nbytes > MAX_PICTURES:
            ranked = sorted(kept, key=self._logits.__getitem__)
            for face in ranked[len(ranked) // 4 : -len(ranked) // 4]:
                del kept[face]

    def _person(self, track: FaceTrack) -> Person:
        geometry = self._detector.card.geometry
        shown = _extremes([face for face in track.faces if face in self._crops], self._logits, self._thumbnails)
        scores = []
        for face in track.faces:
            score = face_score(
                face, self._logits[face], self._crops[face] if face in shown else None, self._parts[face]
            )
            if (heat := self._heats.get(face)) is not None:
                score.heatmap = heat
                if geometry.kind != "whole":
                    score.heat_to_frame = heat_matrix(face.points, face.box, geometry, heat.shape)
            scores.append(score)
        mapped = [face for face in track.faces if face in self._heats]
        worst = _extremes(mapped, self._logits, REGION_FACES)[:REGION_FACES]
        return Person(track.id, scores, region=_region({face: self._heats[face] for face in worst}, geometry))


def instability(magnified: float, plain: float) -> float:
    """How far a face's logit moves, either way, when its change to the next frame is magnified: a logarithm.

    What changes between two frames of a real face is noise, which a detector has learnt to pass over. Where a face was
    made anew with each frame, the traces change too, and the detector's opinion with them.

    >>> instability(0.9, 0.0), instability(0.0, 0.9)
    (0.0, 0.0)
    """
    return math.log(FLOOR + abs(magnified - plain))


def with_terms(
    card: DetectorCard,
    logit: float,
    parts: Mapping[str, float],
    flicker: float | None = None,
    unstable: float | None = None,
) -> tuple[float, dict[str, float]]:
    """A face's logit and its parts once the card's terms count beside the network, each a part of its own."""
    terms = ((FLICKER, card.flicker, flicker), (INSTABILITY, card.instability, unstable))
    added = {name: term.logit(value) for name, term, value in terms if term is not None}
    return logit + sum(added.values()), {**parts, **added}


class ClipScoring:
    """For detectors that look at runs of T faces of one person.

    A track is cut into runs of T usable faces of one clip of the plan, the last one ending with the clip; a face's
    logit is the mean over the runs it is in. Where no clip has T, the one with most faces plays all of its own back and
    forth until they are T, and the track does not count.

    Args:
        detector: the detector.
        thumbnails: how many of each track's most and least suspicious faces keep their picture.
        plan: what the faces' frames were chosen by; without it they are one clip.
    """

    def __init__(self, detector: Detector, thumbnails: int, plan: Plan | None = None) -> None:
        self._detector = detector
        self._thumbnails = thumbnails
        self._plan = plan
        self._crops: dict[Face, np.ndarray] = {}
        self._bytes = 0

    def add(self, face: Face, crop: np.ndarray) -> None:
        """One face and its crop (H, W, 3) uint8.

        Raises:
            LimitError: more crops than may be held.
        """
        self._crops[face] = crop
        self._bytes += crop.nbytes
        if self._bytes > MAX_CROPS:
            raise LimitError(
                f"This detector has to hold more than {len(self._crops)} faces at once.",
                "Sample fewer frames (--sample).",
            )

    def people(self, tracks: Sequence[FaceTrack]) -> list[Person]:
        """The tracks with their faces' scores; faces that stood in no run are left out."""
        return [self._person(track) for track in tracks]

    def _person(self, track: FaceTrack) -> Person:
        length = self._detector.card.frames
        clips = [clip for clip in self._clips([face for face in track.faces if face.usable]) if len(clip) >= length]
        enough = bool(clips)
        if not enough:
            clips = [max(self._clips(track.faces), key=len)]
        runs = [[clip[i] for i in run] for clip in clips for run in runs_of(len(clip), length)]
        logits = np.concatenate(
            [self._detector.score(np.stack([self._crops[face] for face in run])[None]).logits for run in runs]
        )
        of_face = {
            face: float(np.mean([logit for run, logit in zip(runs, logits, strict=True) if face in run]))
            for clip in clips
            for face in clip
        }
        shown = _extremes(list(of_face), of_face, self._thumbnails)
        scores = [
            face_score(face, logit, self._crops[face] if face in shown else None) for face, logit in of_face.items()
        ]
        return Person(track.id, scores, enough)

    def _clips(self, faces: Sequence[Face]) -> list[list[Face]]:
        return [[faces[i] for i in clip] for clip in clips_of([face.frame for face in faces], self._plan)]


def clips_of(numbers: Sequence[int], plan: Plan | None) -> list[list[int]]:
    """Indices into faces with these numbers among the sampled frames, those of each of the plan's clips together.

    >>> clips_of([0, 2, 3, 4], Clips(runs=2, length=3, step=5)), clips_of([0, 2, 3, 4], None)
    ([[0, 1], [2, 3]], [[0, 1, 2, 3]])
    """
    if not isinstance(plan, Clips):
        return [list(range(len(numbers)))] if numbers else []
    clips: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        clips.setdefault(number // plan.length, []).append(index)
    return list(clips.values())


def runs_of(count: int, length: int) -> list[list[int]]:
    """Runs of `length` indices into `count` faces that cover all of them; too few are played back and forth.

    >>> runs_of(5, 2)
    [[0, 1], [2, 3], [3, 4]]
    >>> runs_of(3, 8)
    [[0, 1, 2, 2, 1, 0, 0, 1]]
    """
    if count < length:
        return [np.pad(np.arange(count), (0, length - count), mode="symmetric").tolist()]
    starts = sorted({*range(0, count - length + 1, length), count - length})
    return [list(range(start, start + length)) for start in starts]


def face_score(
    face: Face,
    logit: float,
    crop: np.ndarray | None = None,
    parts: Mapping[str, float] | None = None,
) -> FaceScore:
    """A face's score before it is judged: the raw logit; P(fake) comes with the rule that judges it."""
    return FaceScore(
        time_s=face.time_s,
        box=face.box,
        p_fake=float("nan"),
        logit=logit,
        quality=1.0 if face.quality is None else face.quality.weight,
        usable=face.usable,
        problems=() if face.quality is None else face.quality.problems,
        crop=crop,
        parts=parts or {},
    )


def _extremes(faces: Sequence[Face], logits: dict[Face, float], number: int) -> list[Face]:
    """The `number` most suspicious faces, then as many of the least; usable faces before others."""
    most = sorted(faces, key=lambda face: (not face.usable, -logits[face]))[:number]
    least = sorted(faces, key=lambda face: (not face.usable, logits[face]))[:number]
    return most + [face for face in least if face not in most]


def _region(heats: Mapping[Face, np.ndarray], geometry: Geometry) -> str | None:
    """The part of the face where the mean of these heat maps is strongest, if `region_of` names one."""
    if not heats or geometry.kind == "whole":
        return None
    face = next(iter(heats))
    return region_of(
        np.mean(list(heats.values()), axis=0), parts_of_crop(face.points, face.box, geometry, heats[face].shape)
    )


def region_of(heat: np.ndarray, parts: np.ndarray) -> str | None:
    """The part of the face in which a heat map (h, w) is strongest; None if it is sure of none.

    Args:
        heat: in 0…1.
        parts: as `parts_of_crop` gives them.

    >>> parts = np.array([["eyes"], ["mouth"]])
    >>> region_of(np.array([[0.1], [0.8]]), parts), region_of(np.array([[0.1], [0.3]]), parts)
    ('mouth', None)
    """
    return str(parts.flat[np.argmax(heat)]) if heat.max() >= SURE else None


def parts_of_crop(points: np.ndarray, box: Box, geometry: Geometry, shape: tuple[int, ...]) -> np.ndarray:
    """The part of the face that lies under each cell of a heat map (h, w) over the face's crop: (h, w) of words.

    >>> from facetell.faces.align import TEMPLATE
    >>> parts_of_crop(TEMPLATE + 64, (14, 14, 100, 100), Geometry("landmarks", 1.1), (3, 1))[:, 0].tolist()
    ['forehead', 'nose', 'mouth']
    """
    to_picture = np.vstack([heat_matrix(points, box, geometry, shape), [0, 0, 1]])
    to_units = np.linalg.inv(np.vstack([similarity(points), [0, 0, 1]])) @ to_picture
    rows, columns = np.indices(shape).reshape(2, -1)
    places = np.stack([columns, rows, np.ones_like(rows)], 1) @ to_units.T / FACE_HEIGHT
    return np.array([part_of_face(x, y) for x, y, _ in places]).reshape(shape)


def heat_matrix(points: np.ndarray, box: Box, geometry: Geometry, shape: tuple[int, ...]) -> np.ndarray:
    """The affine map (2, 3) from the cells of a heat map (h, w) over a face's crop to the picture's pixels."""
    height, width = shape
    to_crop = np.array([[1 / width, 0, 0.5 / width - 0.5], [0, 1 / height, 0.5 / height - 0.5], [0, 0, 1]])
    return crop_matrix(points, box, geometry, 1) @ to_crop


def part_of_face(x: float, y: float) -> str:
    """The name of a place on an upright face, in units of its height from its middle, y downwards.

    >>> part_of_face(0.0, 0.27), part_of_face(-0.17, -0.13), part_of_face(0.6, 0.0)
    ('mouth', 'eyes', 'outline')
    """
    if (x / 0.4) ** 2 + (y / 0.52) ** 2 > 0.8:
        return "outline"
    if y < -0.25:
        return "forehead"
    if y < -0.03:
        return "eyes"
    if y < 0.17:
        return "nose" if abs(x) < 0.15 else "cheeks"
    return "mouth" if y < 0.38 and abs(x) < 0.26 else "chin"
