"""One track per person: through crossings, gaps, cuts, sparse samples, and beside false boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from facetell.faces import FaceDetector, Tracker, track
from facetell.faces.align import TEMPLATE
from facetell.faces.track import describe
from facetell.types import Face, FaceTrack, Frame
from facetell.video import VideoReader
from tests import media

WIDTH, HEIGHT, TILE = 480, 270, 120
People = Mapping[int, tuple[int, int]]  # who stands where (the middle of their tile)


def picture(people: People, background: tuple[int, int, int] = (90, 110, 130)) -> np.ndarray:
    """The people before a plain background; a later one stands before an earlier one."""
    canvas = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
    for who, (x, y) in people.items():
        left, top = x - TILE // 2, y - TILE // 2
        canvas[top : top + TILE, left : left + TILE] = media.side_by_side([who], TILE)
    return canvas


def follow(detector: FaceDetector, pictures: Iterable[tuple[float, np.ndarray]]) -> list[FaceTrack]:
    tracker = Tracker()
    for number, (time_s, image) in enumerate(pictures):
        found = detector.detect(image)
        tracker.add(Frame(number, time_s, image), [Face(number, time_s, d.box, d.points, d.score) for d in found])
    return tracker.tracks()


def follow_people(detector: FaceDetector, moments: Iterable[tuple[float, People]]) -> list[list[int]]:
    """Who each track's faces really are, by where they stand."""
    moments = list(moments)
    tracks = follow(detector, ((time_s, picture(people)) for time_s, people in moments))

    def who(face: Face) -> int:
        x, y, w, h = face.box
        places = moments[face.frame][1]
        return min(places, key=lambda one: abs(places[one][0] - x - w / 2) + abs(places[one][1] - y - h / 2))

    return [[who(face) for face in track.faces] for track in tracks]


def walk(tracker: Tracker, steps: Iterable[tuple[float, float, np.ndarray]]) -> list[FaceTrack]:
    """Tracks of one face per frame at (time, x, descriptor) in an unchanging scene."""
    wall = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for number, (time_s, x, look) in enumerate(steps):
        face = Face(number, time_s, (x, 50.0, 80.0, 100.0), TEMPLATE + 100, 0.9)
        with patch.object(track, "describe", return_value=look):
            tracker.add(Frame(number, time_s, wall), [face])
    return tracker.tracks()


def look(likeness: float) -> np.ndarray:
    """A descriptor that is as like to `look(1)` as the number says."""
    return np.array([likeness, np.sqrt(1 - likeness**2)], np.float32)


def test_two_people_who_cross_keep_their_tracks(detector: FaceDetector) -> None:
    moments = [(n / 10, {0: (60 + 18 * n, 110), 2: (420 - 18 * n, 150)}) for n in range(21)]
    tracks = follow_people(detector, moments)
    assert len(tracks) == 2
    assert set(tracks[0]) == {0}
    assert set(tracks[1]) == {2}
    assert len(tracks[1]) == 21  # in front all the time
    assert len(tracks[0]) >= 16


def test_a_gap_does_not_end_a_track(detector: FaceDetector) -> None:
    moments = [(n / 5, {} if 5 <= n < 15 else {0: (120 + 8 * n, 130)}) for n in range(20)]
    assert follow_people(detector, moments) == [[0] * 10]


def test_one_who_leaves_and_returns_elsewhere_is_the_same_person(detector: FaceDetector) -> None:
    moments = [(float(n), {0: (100, 130), 3: (240, 130)}) for n in range(4)]
    moments += [(10.0 + n, {3: (240, 130)}) for n in range(4)]
    moments += [(60.0 + n, {3: (240, 130), 0: (400, 140)}) for n in range(4)]
    assert follow_people(detector, moments) == [[0] * 8, [3] * 12]


def test_a_cut_does_not_join_two_people(detector: FaceDetector) -> None:
    shots = [(0, (90, 110, 130)), (2, (200, 60, 50)), (0, (90, 110, 130)), (2, (200, 60, 50))]
    pictures = [picture({who: (240, 135)}, colour) for who, colour in shots for _ in range(5)]
    tracks = follow(detector, [(n / 25, image) for n, image in enumerate(pictures)])
    assert [[face.frame // 5 for face in track.faces] for track in tracks] == [[0] * 5 + [2] * 5, [1] * 5 + [3] * 5]


def test_a_cut_between_full_frame_shots_does_not_join_two_people(detector: FaceDetector) -> None:
    tracks = follow(detector, [(n / 25, media.person(0 if n < 5 else 4)) for n in range(10)])
    assert [[face.frame for face in track.faces] for track in tracks] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_samples_many_seconds_apart_are_joined_by_appearance(detector: FaceDetector) -> None:
    places = [(80, 130), (240, 140), (400, 130)]
    moments = [(20.0 * n, {0: places[n % 3], 3: places[(n + 1) % 3], 4: places[(n + 2) % 3]}) for n in range(6)]
    assert sorted(follow_people(detector, moments)) == [[0] * 6, [3] * 6, [4] * 6]


def test_a_head_turn_is_bridged_by_overlap_but_not_for_long() -> None:
    turn = [look(1.0), look(0.5), look(0.5)]
    assert len(walk(Tracker(), [(n / 5, 100 + 4 * n, one) for n, one in enumerate(turn)])) == 1
    assert len(walk(Tracker(), [(10.0 * n, 100 + 4 * n, one) for n, one in enumerate(turn)])) == 2
    assert len(walk(Tracker(), [(n / 5, 100 + 150 * n, one) for n, one in enumerate(turn)])) == 2


def test_movement_is_carried_on() -> None:
    steps = [(n / 10, 20.0 + 35 * n, look(1.0)) for n in range(6)]
    steps.append((0.6, 20.0 + 35 * 6, look(0.4)))
    assert [len(track.faces) for track in walk(Tracker(), steps)] == [7]


def test_two_parts_of_one_persons_track_are_joined_in_the_end() -> None:
    profile, frontal = look(0.5), look(1.0)
    steps = [(0.0, 20.0, frontal), (30.0, 300.0, profile)] + [(30.1 + n / 10, 300.0, frontal) for n in range(9)]
    tracker = Tracker()
    assert [len(track.faces) for track in walk(tracker, steps)] == [11]
    assert [len(track.faces) for track in tracker.tracks()] == [11]  # asking changes nothing


def test_two_alike_in_one_picture_are_two_people() -> None:
    tracker, wall = Tracker(), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for n in range(3):
        boxes = [(300.0, 50.0, 80.0, 100.0), (50.0, 50.0, 80.0, 100.0)]
        faces = [Face(n, 5.0 * n, box, TEMPLATE + 100, 0.9) for box in boxes]
        tracker.add(Frame(n, 5.0 * n, wall), faces)
    tracks = tracker.tracks()
    assert [(track.id, {face.box[0] for face in track.faces}) for track in tracks] == [(1, {50.0}), (2, {300.0})]


def test_false_boxes_stay_apart_from_people(detector: FaceDetector) -> None:
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(0, 256, (27, 48, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    tracker = Tracker()
    for n in range(12):
        image = np.where(picture({0: (240, 135)}) == (90, 110, 130), noise, picture({0: (240, 135)})).astype(np.uint8)
        faces = [Face(n, n / 2, d.box, d.points, d.score) for d in detector.detect(image)]
        if n % 4 == 1:
            x, y = (30.0, 40.0) if n < 6 else (400.0, 180.0)
            faces.append(Face(n, n / 2, (x, y, 50.0, 60.0), TEMPLATE / 2 + (x + 25, y + 30), 0.71))
        tracker.add(Frame(n, n / 2, image), faces)
    lengths = [len(track.faces) for track in tracker.tracks()]
    assert lengths[0] == 12
    assert max(lengths[1:]) < 3


def test_a_crowd_of_thirty_is_thirty_tracks_and_the_same_each_time(detector: FaceDetector) -> None:
    pictures = [(n / 2, np.roll(media.crowd(30), 3 * n, axis=1)) for n in range(3)]
    first, second = follow(detector, pictures), follow(detector, pictures)
    assert [len(track.faces) for track in first] == [3] * 30
    assert [track.id for track in first] == list(range(1, 31))
    assert [[face.box for face in track.faces] for track in first] == [
        [face.box for face in track.faces] for track in second
    ]


def test_frames_without_faces_give_no_tracks() -> None:
    tracker = Tracker()
    tracker.add(Frame(0, 0.0, np.zeros((16, 16, 3), np.uint8)), [])
    assert tracker.tracks() == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (16, 16)])
def test_tiny_pictures_can_be_tracked(shape: tuple[int, int]) -> None:
    tracker = Tracker()
    for n in range(3):
        face = Face(n, n / 25, (0.0, 0.0, 16.0, 16.0), TEMPLATE / 7 + 8, 0.9)
        tracker.add(Frame(n, n / 25, np.full((*shape, 3), 90, np.uint8)), [face])
    assert [len(track.faces) for track in tracker.tracks()] == [3]


def test_a_descriptor_is_of_length_one_and_tells_people_apart(detector: FaceDetector) -> None:
    people = [media.person(who) for who in range(6)]
    looks = np.stack([describe(one, detector.detect(one)[0].points) for one in people])
    np.testing.assert_allclose(np.linalg.norm(looks, axis=1), 1, atol=1e-5)
    assert looks.dtype == np.float32
    assert np.triu(looks @ looks.T, 1).max() < 0.7


@pytest.mark.parametrize("change", ["half size", "turned", "compressed", "a little brighter"])
def test_a_descriptor_hardly_changes_with_the_picture(detector: FaceDetector, change: str) -> None:
    image = media.astronaut()
    (face,) = detector.detect(image)
    match change:
        case "half size":
            other = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        case "turned":
            other = cv2.warpAffine(image, cv2.getRotationMatrix2D((224, 120), 15, 1), (512, 512))
        case "compressed":
            other = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
        case _:
            other = np.clip(image * 1.05, 0, 255).astype(np.uint8)
    assert other is not None
    (again,) = detector.detect(other)
    assert describe(image, face.points) @ describe(other, again.points) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "step"), [("dfdc", 2), ("ffpp", 5), ("sdfvd", 3)])
def test_a_clip_of_one_person_has_one_track_that_counts(
    detector: FaceDetector, data_dir: Path, dataset: str, step: int
) -> None:
    wrong = {}
    for path in sorted((data_dir / dataset).rglob("*.mp4"))[::step]:
        with VideoReader(path, "uniform:20") as reader:
            lengths = [len(track.faces) for track in follow(detector, ((f.time_s, f.image) for f in reader))]
        if sum(length >= 3 for length in lengths) != 1:
            wrong[path.name] = lengths
    assert wrong == {}
