"""Joins the faces of a video's frames into tracks, one per person.

Where samples are close in time a face lies near where it was; where they are seconds apart, or a cut lies between them,
it still looks the same. Both speak in one score: the likeness of two descriptors, raised by the overlap of the boxes
while the scene is the same. A descriptor tells people apart by skin, hair, clothes and features, within one video:
it does not recognise anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from facetell.faces.align import similarity
from facetell.types import Box, Face, FaceTrack, Frame

SAME_PERSON = 0.8  # score from which a face belongs to a track
SAME_TRACK = 0.82  # likeness of two whole tracks from which they are one person's
SAME_SCENE = 0.65  # likeness of two whole pictures below which a cut lies between them
OVERLAP_NOW = 0.6  # what full overlap of the boxes adds to the likeness at once …
OVERLAP_LATER = 0.15  # … and long after, when people may have changed places
FADE_S = 1.0  # time in which the first falls towards the second
MOTION_S = 1.0  # longest time over which a face's movement is carried on

# The picture a descriptor is made from: head and shoulders upright, with the face's middle a little above the centre.
SIDE = 128
UNIT = 220 / SIDE  # template units to its pixel
LOWERED = 12  # template units from the middle of the face down to the middle of the picture
REGIONS = {  # rows and columns of that picture
    "face": (slice(37, 83), slice(43, 84)),
    "hair": (slice(10, 39), slice(34, 93)),
    "clothes": (slice(100, 128), slice(34, 93)),
}
FEATURES = (slice(32, 80), slice(39, 87))  # eyes to mouth, for the gradients
CELLS, BINS = 6, 9
COLOURS = (8, 9, 9)  # bins of luma and the two chromas
CHROMA = (83, 173)  # what the chroma bins span; beyond it colours count as the last; grey lies mid-bin


def describe(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How one face looks: a float32 vector of length 1, to be compared by dot product (1 is the same picture).

    Colour histograms of face, hair and clothes, each weighted by how much of it lies in the picture, and a histogram of
    oriented gradients over eyes, nose and mouth (Dalal & Triggs, 2005).

    Args:
        image: RGB (H, W, 3) uint8.
        points: the face's five points (5, 2) in its pixels.

    >>> import numpy as np
    >>> from facetell.faces.align import TEMPLATE
    >>> picture = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    >>> here, there = describe(picture, TEMPLATE + 80), describe(picture, TEMPLATE + 110)
    >>> float(here @ here) > 0.999 > float(here @ there)
    True
    """
    head, inside = _head(image, points)
    parts = [_gradients(head[(*FEATURES, 0)])]
    for region in REGIONS.values():
        seen = inside[region]
        parts.append(np.sqrt(seen.mean(dtype=np.float32) / 255) * _colours(head[region], seen))
    return _unit(np.concatenate(parts))


@dataclass(eq=False, slots=True)
class _Person:
    """A track being built: its faces, the descriptor and the scene of the last one, the sum of all descriptors."""

    faces: list[Face]
    last: np.ndarray
    total: np.ndarray
    scene: np.ndarray

    def expected(self, time_s: float) -> Box:
        """Where the face would be now if it moved on as it last did."""
        face = self.faces[-1]
        x, y, w, h = face.box
        if len(self.faces) < 2 or not 0 < time_s - face.time_s <= MOTION_S:
            return face.box
        before = self.faces[-2]
        step = face.time_s - before.time_s
        if not 0 < step <= MOTION_S:
            return face.box
        ahead = (time_s - face.time_s) / step
        dx = x + w / 2 - before.box[0] - before.box[2] / 2
        dy = y + h / 2 - before.box[1] - before.box[3] / 2
        return (x + ahead * dx, y + ahead * dy, w, h)


class Tracker:
    """Gathers faces frame by frame, in order of time, into one track per person.

    >>> import numpy as np
    >>> from facetell.faces.align import TEMPLATE
    >>> tracker = Tracker()
    >>> for n in range(3):
    ...     frame = Frame(n, n / 25, np.full((120, 160, 3), 90, np.uint8))
    ...     tracker.add(frame, [Face(n, n / 25, (20, 10, 80, 100), TEMPLATE + 60, 0.9)])
    >>> [(track.id, len(track.faces)) for track in tracker.tracks()]
    [(1, 3)]
    """

    def __init__(self) -> None:
        self._people: list[_Person] = []

    def add(self, frame: Frame, faces: list[Face]) -> None:
        """Takes in one frame and all faces found in it."""
        if not faces:
            return
        scene = _scene(frame.image)
        looks = np.stack([describe(frame.image, face.points) for face in faces])
        scores = self._scores(frame.time_s, scene, faces, looks)
        new = set(range(len(faces)))
        while scores.size and scores.max() >= SAME_PERSON:
            who, which = (int(k) for k in np.unravel_index(scores.argmax(), scores.shape))
            person = self._people[who]
            person.faces.append(faces[which])
            person.last, person.total, person.scene = looks[which], person.total + looks[which], scene
            scores[who], scores[:, which] = -1, -1
            new.remove(which)
        self._people += [_Person([faces[i]], looks[i], looks[i], scene) for i in sorted(new)]

    def tracks(self) -> list[FaceTrack]:
        """One track per person, in order of first appearance and then from the left, numbered from 1."""
        people = sorted(_joined(self._people), key=lambda person: (person.faces[0].time_s, person.faces[0].box))
        return [FaceTrack(number, person.faces) for number, person in enumerate(people, 1)]

    def _scores(self, time_s: float, scene: np.ndarray, faces: list[Face], looks: np.ndarray) -> np.ndarray:
        """How well each face (column) continues each track (row)."""
        if not self._people:
            return np.empty((0, len(faces)))
        last = np.stack([person.last for person in self._people])
        mean = np.stack([_unit(person.total) for person in self._people])
        likeness = np.maximum(last @ looks.T, mean @ looks.T)
        gap = np.array([time_s - person.faces[-1].time_s for person in self._people])
        weight = OVERLAP_LATER + (OVERLAP_NOW - OVERLAP_LATER) * np.exp(-gap / FADE_S)
        weight *= np.stack([person.scene for person in self._people]) @ scene >= SAME_SCENE
        expected = np.array([person.expected(time_s) for person in self._people])
        return likeness + weight[:, None] * _overlaps(expected, np.array([face.box for face in faces]))


def _joined(people: list[_Person]) -> list[_Person]:
    """The tracks with those of one person put together: alike, and never in one picture; the most alike first."""
    people = [replace(person, faces=list(person.faces)) for person in people]
    if len(people) < 2:
        return people
    column = {number: k for k, number in enumerate(sorted({face.frame for one in people for face in one.faces}))}
    seen = np.zeros((len(people), len(column)), np.float32)
    for row, person in zip(seen, people, strict=True):
        row[[column[face.frame] for face in person.faces]] = 1
    apart = seen @ seen.T > 0  # never to be joined, as in one picture, or joined already
    mean = np.stack([_unit(person.total) for person in people])
    alike = np.triu(np.where(apart, 0, mean @ mean.T))
    kept = np.ones(len(people), bool)
    while True:
        i, j = (int(k) for k in np.unravel_index(alike.argmax(), alike.shape))
        if alike[i, j] < SAME_TRACK:
            return [person for person, stays in zip(people, kept, strict=True) if stays]
        people[i].faces = sorted(people[i].faces + people[j].faces, key=lambda face: face.time_s)
        people[i].total = people[i].total + people[j].total
        kept[j] = False
        apart[i] |= apart[j]
        apart[j] = True
        apart[:, i], apart[:, j] = apart[i], True
        mean[i] = _unit(people[i].total)
        now = np.where(apart[i], 0, mean @ mean[i])
        alike[i, i:], alike[:i, i] = now[i:], now[:i]
        alike[j], alike[:, j] = 0, 0


def _overlaps(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4) with boxes (m, 4), as (n, m)."""
    some, others = some[:, None], others[None]
    low = np.maximum(some[..., :2], others[..., :2])
    high = np.minimum(some[..., :2] + some[..., 2:], others[..., :2] + others[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    return shared / (np.prod(some[..., 2:], axis=-1) + np.prod(others[..., 2:], axis=-1) - shared)


def _scene(image: np.ndarray) -> np.ndarray:
    """How the whole picture looks: colour histograms of its nine fields, as one vector of length 1."""
    step = max(1, max(image.shape[:2]) // 160)
    small = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_RGB2YCrCb)
    fields = [field for row in np.array_split(small, 3) for field in np.array_split(row, 3, axis=1)]
    return _unit(np.concatenate([_colours(field) for field in fields if field.size]))


def _head(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Head and shoulders upright, YCrCb (SIDE, SIDE, 3), and a mask (SIDE, SIDE) of what of it lies in the picture."""
    # Four samples to a pixel: told faces apart as well as true averaging, at the same price for large faces and small.
    fine = 2 * SIDE
    middle, unit = (fine - 1) / 2, UNIT / 2
    matrix = similarity(points) @ np.array([[unit, 0, -unit * middle], [0, unit, LOWERED - unit * middle], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    head = cv2.warpAffine(image, matrix, (fine, fine), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    grid = np.arange(0.5, fine, 2)
    x, y = (line[0] * grid[None] + line[1] * grid[:, None] + line[2] for line in matrix)
    inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    head = cv2.cvtColor(cv2.resize(head, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)
    return head, inside.astype(np.uint8) * 255


def _colours(picture: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The square root of the colour histogram of a YCrCb picture, of length 1; zeros where the mask is empty."""
    low, high = CHROMA
    clipped = np.dstack([picture[..., 0], np.clip(picture[..., 1:], low, high - 1)])
    counts = cv2.calcHist([clipped], [0, 1, 2], mask, list(COLOURS), [0, 256, low, high, low, high]).ravel()
    return np.sqrt(counts / max(counts.sum(), 1))


def _gradients(luma: np.ndarray) -> np.ndarray:
    """Oriented gradients of a luma picture (H, W), counted in CELLS×CELLS cells; of length 1, or 0 if it is flat."""
    luma = luma.astype(np.float32)
    dx, dy = cv2.Sobel(luma, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=1)
    strength = np.sqrt(np.hypot(dx, dy)).ravel()
    angle = (np.arctan2(dy, dx) % np.pi * (BINS / np.pi)).ravel()
    lower = angle.astype(int)
    share = angle - lower
    row, column = np.indices(luma.shape).reshape(2, -1) * CELLS // luma.shape[0]
    cell = (row * CELLS + column) * BINS
    histogram = np.bincount(
        np.concatenate([cell + lower % BINS, cell + (lower + 1) % BINS]),
        np.concatenate([strength * (1 - share), strength * share]),
        CELLS * CELLS * BINS,
    )
    cells = histogram.reshape(CELLS * CELLS, BINS)
    pixels = luma.size / (CELLS * CELLS)
    # A floor under the norm keeps the noise of a flat cell small.
    return _unit((cells / (np.linalg.norm(cells, axis=1, keepdims=True) + 2 * pixels)).ravel().astype(np.float32))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
