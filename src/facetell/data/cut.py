"""Cuts the faces out of one original and its fakes, the fakes' where the original's are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import nan

import cv2
import numpy as np

from facetell.data.cache import Batch, Gap, StoredFace, StoredItem, decode_picture
from facetell.data.manifest import REAL, Item
from facetell.data.pairs import difference
from facetell.data.still import read_still
from facetell.data.tar import open_file
from facetell.errors import FacetellError, NotVideoError, UsageError
from facetell.faces.align import Geometry, crop_face, crop_matrix
from facetell.faces.detect import Detection, FaceDetector
from facetell.faces.quality import assess
from facetell.faces.track import Tracker
from facetell.types import Box, Face, Frame
from facetell.video import Limits, ReaderPool, parse_plan
from facetell.video.isolation import AnyReader
from facetell.video.plans import Times

STORED = Geometry("landmarks", scale=0.6)  # leaves room to turn, shift and re-cut by any detector's geometry
JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
OVERLAP = 0.3  # intersection over union above which a face found in a fake is the one at its original's place
MOST_STRETCH = 1.06  # of a fake's width against its height, relative to its original's, to be cut in the same place


@dataclass(frozen=True, slots=True)
class Settings:
    """What the pictures of a cache depend on.

    Args:
        plan: the sampling plan for videos.
        faces: per frame, `all` or only the `largest`.
        size: side in pixels of the pictures cut from videos; crops are stored as they are.

    Raises:
        UsageError: no such plan or choice, or a size out of range.
    """

    plan: str = "uniform:20"
    faces: str = "all"
    size: int = 320

    def __post_init__(self) -> None:
        parse_plan(self.plan)
        if self.faces not in ("all", "largest"):
            raise UsageError(f"--faces {self.faces!r} is not known.", "Use all or largest.")
        if not 32 <= self.size <= 2048:
            raise UsageError(f"--size {self.size} is out of range.", "Use 32 to 2048 pixels.")


@dataclass(eq=False, slots=True)
class Place:
    """Where an original's face is, in its own frame, and its position in the batch."""

    face: int
    track: int
    points: np.ndarray | None
    box: Box | None


@dataclass(eq=False, slots=True)
class Places:
    """Where an original's faces are, frame by frame."""

    width: int
    height: int
    times: list[float] = field(default_factory=list)
    faces: list[list[Place]] = field(default_factory=list)


class Cutter:
    """Cuts whole families of manifest rows; holds the face detector and the process that reads the files.

    Args:
        settings: what to cut, and how large.
        limits: on reading one file.
    """

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._readers = ReaderPool(limits, start=True)
        self._detector = FaceDetector()

    def cut(self, rows: list[tuple[int, Item]], before: Callable[[Item], object] | None = None) -> Batch:
        """All faces of these rows (number, item); an original stands before its fakes. What fails becomes a gap.

        `before` is called with each item before it is looked at.
        """
        batch = Batch([number for number, _ in rows])
        originals: dict[tuple[str, str, int, bool], dict[str, Places]] = {}  # the last key is the compression
        for number, item in rows:
            if before:
                before(item)
            source = None
            if item.label != REAL:
                known = originals.get((item.dataset, item.original, item.frame, item.crop), {})
                source = known.get(item.compression, next(iter(known.values()), None))
            try:
                places = (self._crop if item.crop else self._video)(number, item, source, batch)
            except FacetellError as error:
                batch.gaps.append(Gap(number, type(error).__name__, str(error)))
                continue
            if not any(places.faces):
                batch.gaps.append(Gap(number, "NoFace", f"No face in {len(places.times)} sampled frames."))
            if item.label == REAL:
                key = (item.dataset, item.video, item.frame, item.crop)
                originals.setdefault(key, {})[item.compression] = places
        return batch

    def _crop(self, number: int, item: Item, source: Places | None, batch: Batch) -> Places:
        """An already cut-out face, taken whole if no face is found in it.

        An opaque JPEG, PNG or WebP is stored as its file's own bytes, and decoded in this process wherever the cache is
        used; anything else is read as videos are, and stored as PNG.
        """
        still = read_still(item.path, item.member, self._readers)
        data, picture = still.encoded, still.image
        if not still.plain:
            data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        height, width = picture.shape[:2]
        found = _largest(self._detector.detect(picture))
        place = Place(len(batch.faces), 0, None, None)
        if source is not None and (source.width, source.height) == (width, height):
            pair = source.faces[0][0]
            place.points, place.box = pair.points, pair.box
            stored = _stored(number, data, picture, place, pair, batch)
        else:
            if found:
                place.points, place.box = found[0].points, found[0].box
            stored = _stored(number, data, picture, place, None, batch)
        stored.frame = max(item.frame, 0)
        if found:
            stored.score = found[0].score
        if place.points is not None:
            stored.eyes_px = _eyes(place.points)
        batch.faces.append(stored)
        size = len(still.encoded)
        batch.items.append(StoredItem(number, width, height, still.codec, size, frames_with_face=len(found)))
        return Places(width, height, [0.0], [[place]])

    def _video(self, number: int, item: Item, source: Places | None, batch: Batch) -> Places:
        """The faces of a video's sampled frames, or of a whole picture."""
        start, with_face = len(batch.faces), 0
        try:
            with self._open(item, source) as (reader, source):
                info, tracker = reader.info, Tracker()
                places, tracked = Places(info.width, info.height), []
                for frame in reader:
                    detections = self._detector.detect(frame.image)
                    with_face += bool(detections)
                    wanted = self._wanted(detections, frame, source)
                    here = [self._face(number, item, frame, *face, batch) for face in wanted]
                    places.times.append(frame.time_s)
                    places.faces.append([place for place, _ in here])
                    if source is None:  # the faces of a fake are tracked as their originals are
                        tracker.add(frame, [face for _, face in here])
                        tracked += here
                track_of = {id(face): track.id for track in tracker.tracks() for face in track.faces}
                for place, face in tracked:
                    place.track = batch.faces[place.face].track = track_of[id(face)]
        except FacetellError:
            del batch.faces[start:]
            raise
        batch.items.append(
            StoredItem(
                number,
                info.width,
                info.height,
                info.codec,
                info.size_bytes,
                frames=len(places.times),
                frames_with_face=with_face,
                frame_rate=nan if info.frame_rate is None else float(info.frame_rate),
                duration_s=nan if info.duration_s is None else info.duration_s,
                bit_rate=nan if info.bit_rate is None else float(info.bit_rate),
                corrupt_packets=reader.corrupt_packets,
            )
        )
        return places

    @contextmanager
    def _open(self, item: Item, source: Places | None) -> Iterator[tuple[AnyReader, Places | None]]:
        """The video at its original's times, if it is of that shape; else by the plan, without the original."""
        if source is not None:
            with self._readers.open(open_file(item.path, item.member), Times(tuple(source.times))) as reader:
                stretch = (reader.info.width / reader.info.height) / (source.width / source.height)
                if 1 / MOST_STRETCH <= stretch <= MOST_STRETCH:
                    yield reader, source
                    return
        with self._readers.open(open_file(item.path, item.member), self._settings.plan) as reader:
            yield reader, None

    def _wanted(
        self, detections: list[Detection], frame: Frame, source: Places | None
    ) -> list[tuple[Detection, Place | None]]:
        """The faces of a frame that are cut, each with its original's."""
        if source is not None:
            return list(_where(source, frame, detections))
        chosen = detections if self._settings.faces == "all" else _largest(detections)
        return [(detection, None) for detection in chosen]

    def _face(
        self, number: int, item: Item, frame: Frame, detection: Detection, pair: Place | None, batch: Batch
    ) -> tuple[Place, Face]:
        """Cut one face, add it to the batch, and say where it is."""
        box, points = detection.box, detection.points
        picture = crop_face(frame.image, points, box, STORED, self._settings.size)
        data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), JPEG)[1].tobytes()
        quality = assess(frame.image, detection, upright=self._detector.is_upright(frame.image, detection))
        to_frame = crop_matrix(points, box, STORED, self._settings.size)
        step = float(np.hypot(to_frame[0, 0], to_frame[1, 0]))  # frame pixels to a stored pixel
        inverse = cv2.invertAffineTransform(to_frame)
        middle = inverse @ (box[0] + box[2] / 2, box[1] + box[3] / 2, 1)
        w, h = box[2] / step, box[3] / step
        inside = Place(
            len(batch.faces),
            0 if pair is None else pair.track,
            points @ inverse[:, :2].T + inverse[:, 2],
            (float(middle[0] - w / 2), float(middle[1] - h / 2), w, h),
        )
        stored = _stored(number, data, picture, inside, pair, batch)
        stored.frame = max(item.frame, frame.number) if pair is None else batch.faces[pair.face].frame
        stored.time_s, stored.score, stored.problems = frame.time_s, detection.score, quality.problems
        stored.eyes_px = _eyes(points)
        batch.faces.append(stored)
        place = Place(inside.face, inside.track, points, box)
        return place, Face(frame.number, frame.time_s, box, points, detection.score, quality)


def _stored(
    number: int, data: bytes, picture: np.ndarray, place: Place, pair: Place | None, batch: Batch
) -> StoredFace:
    """A face with the difference from its original's, both as they are stored."""
    height, width = picture.shape[:2]
    face = StoredFace(number, data, width, height, place.points, place.box, track=place.track)
    if pair is not None:
        face.pair = pair.face
        fake, real = decode_picture(data), decode_picture(batch.faces[pair.face].picture)
        if fake is None or real is None:
            raise NotVideoError(f"A picture of item {number} cannot be decoded again.")
        found = difference(fake, real, place.points)
        face.diff_inside, face.diff_outside, face.difference = found.inside, found.outside, found.map
    return face


def _where(source: Places, frame: Frame, detections: list[Detection]) -> Iterator[tuple[Detection, Place]]:
    """The original's faces at this moment, in this frame's pixels; the score is of the face found there, or NaN."""
    height, width = frame.image.shape[:2]
    scale = np.array([width / source.width, height / source.height], np.float32)
    moment = int(np.abs(np.asarray(source.times) - frame.time_s).argmin())
    for place in source.faces[moment]:
        if place.points is None or place.box is None:
            continue
        x, y, w, h = (float(v) for v in np.asarray(place.box) * np.tile(scale, 2))
        score = max((found.score for found in detections if _overlap(found.box, (x, y, w, h)) > OVERLAP), default=nan)
        yield Detection((x, y, w, h), place.points * scale, score), place


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(wide, 0.0) * max(high, 0.0)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def _largest(faces: list[Detection]) -> list[Detection]:
    return [max(faces, key=lambda face: face.box[2] * face.box[3])] if faces else []


def _eyes(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[1] - points[0]))
