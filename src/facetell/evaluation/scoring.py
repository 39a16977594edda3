"""Every item of a manifest is looked at by one detector as a scan looks at it; nothing is dropped without a reason."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import cv2
import numpy as np
import pandas as pd

from facetell.data.layouts.base import PICTURES
from facetell.data.manifest import validate
from facetell.data.tar import read_bytes
from facetell.detectors import DetectorCard
from facetell.errors import DataError, InputError, NotVideoError
from facetell.faces.align import crop_face
from facetell.faces.detect import FaceDetector
from facetell.faces.quality import assess
from facetell.scanning import Scanner
from facetell.scanning.scoring import ClipScoring, face_score
from facetell.scanning.verdict import Person, Rule, judge, track_logit
from facetell.types import Face, FaceScore, FaceTrack, Label, TrackScore, Verdict

CHUNK = 64  # stills in one call of the network
LABELS = ("dataset", "label", "method", "compression", "split", "group", "original", "video")
FACES = ("item", "key", "label", "time_s", "logit", "p_fake", "weight", "usable", "height")
VIDEOS = ("key", *LABELS, "path", "member", "logit", "p_fake", "verdict", "faces", "height", "problem")
READ_BY_SCAN = {".heic", ".heif"}  # pictures that OpenCV cannot decode


class Damage(Protocol):
    """What happens to every item before it is looked at."""

    def picture(self, image: np.ndarray, number: int) -> np.ndarray:
        """A damaged copy of a still; `number` is its row in the manifest."""
        ...

    def video(self, path: Path, folder: Path) -> Path:
        """A damaged copy of a video, written into `folder`."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """A manifest after one detector has seen it.

    Attributes:
        items: the manifest, with `key` (the video an item is, or belongs to) and `reason` (why it has no score, or "").
        faces: one row per frame with a face, the most suspicious usable one of it: `item` (row of `items`), `key`,
            `label`, `time_s`, raw `logit`, calibrated `p_fake`, `weight` by quality, `usable`, `height` of its box, px.
        videos: one row per video with a score, indexed by `key`: the manifest's columns, the raw `logit` and calibrated
            `p_fake` of the person who decides, `verdict`, the number of `faces`, their median `height`, the commonest
            `problem`.
        card: the detector's.
        seconds: what the scoring took.
    """

    items: pd.DataFrame
    faces: pd.DataFrame
    videos: pd.DataFrame
    card: DetectorCard
    seconds: float = 0.0


@dataclass(slots=True)
class _Seen:
    """What was seen in one item: its people's scored faces, or why there are none."""

    item: int
    people: list[list[FaceScore]] = field(default_factory=list)
    reason: str = ""
    enough: bool = True  # as many faces as a detector of clips needs
    verdict: Verdict | None = None  # of an item that was scanned


def score(
    manifest: pd.DataFrame,
    scanner: Scanner,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    damage: Damage | None = None,
) -> Scored:
    """Look at every item once; memory holds numbers only, however long the manifest.

    Videos go through `scanner.scan`. Pictures go through the same steps in batches: find faces, gate, cut, score and
    judge. Of a row with `crop` only the largest face counts. Stills of one video are judged together as one person's
    track, from the most suspicious face of each (the largest, for a detector of clips).

    Args:
        manifest: as in `facetell.data.manifest`; rows with `member` are read inside their tar.
        scanner: the detector and its options.
        workers: threads; decoding and networks run outside Python's lock.
        progress: called with the number of items that are done, after each batch or video.
        damage: changes every item before it is looked at.

    Raises:
        ManifestError: the manifest is not sound.
    """
    began = time.perf_counter()
    items = validate(manifest)
    items["key"] = items.groupby(list(LABELS), sort=False).ngroup()
    finder = FaceDetector()

    def look(rows: Sequence[int]) -> list[_Seen]:
        if not is_picture(_name(items, rows[0])):
            return [_scan(items, row, scanner, damage) for row in rows]
        return _look_at_stills(items, rows, scanner, finder, damage)

    seen: list[_Seen] = []
    with ThreadPoolExecutor(workers) as pool:
        for batch in pool.map(look, _batches(items)):
            seen += batch
            if progress:
                progress(len(batch))
    seen.sort(key=lambda one: one.item)
    items["reason"] = [one.reason for one in seen]
    videos = _judge_videos(items, seen, scanner.rule)
    return Scored(items, _face_table(items, seen), videos, scanner.detector.card, time.perf_counter() - began)


def picture(path: str, member: str = "") -> np.ndarray:
    """A still as (H, W, 3) uint8 RGB, upright.

    Raises:
        FileMissingError: nothing there.
        NotVideoError: no picture that can be decoded.
    """
    encoded = np.frombuffer(read_bytes(path, member), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if image is None:
        raise NotVideoError(f"{member or path} is not a picture that can be decoded.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def largest_face(image: np.ndarray, finder: FaceDetector) -> list:
    """The largest face found, in a list; an empty one if there is none."""
    return sorted(finder.detect(image), key=lambda face: -face.box[2] * face.box[3])[:1]


def is_picture(name: str) -> bool:
    """Whether a file of this name is a still that `picture` can read."""
    return PurePosixPath(name).suffix.lower() in PICTURES - READ_BY_SCAN


def _name(items: pd.DataFrame, row: int) -> str:
    return str(items.member.iat[row] or items.path.iat[row])


def _batches(items: pd.DataFrame) -> Iterator[list[int]]:
    """Rows that are looked at together: a video, or whole sets of stills of one video, up to about CHUNK pictures."""
    batch: list[int] = []
    for rows in items.groupby("key", sort=False).indices.values():
        for row in rows:
            if is_picture(_name(items, row)):
                batch.append(row)
            else:
                yield [row]
        if len(batch) >= CHUNK:
            yield batch
            batch = []
    if batch:
        yield batch


def _look_at_stills(
    items: pd.DataFrame, rows: Sequence[int], scanner: Scanner, finder: FaceDetector, damage: Damage | None
) -> list[_Seen]:
    card = scanner.detector.card
    seen: list[_Seen] = []
    found: list[tuple[_Seen, Face, np.ndarray]] = []
    for row in rows:
        seen.append(one := _Seen(row))
        try:
            image = picture(str(items.path.iat[row]), str(items.member.iat[row]))
        except (InputError, DataError) as error:
            one.reason = type(error).__name__
            continue
        image = damage.picture(image, row) if damage else image
        alone = bool(items.crop.iat[row]) or card.kind != "frame"
        detections = largest_face(image, finder) if alone else finder.detect(image)
        for face in detections:
            crop = crop_face(image, face.points, face.box, card.geometry, card.input_size)
            found.append((one, Face(row, 0.0, face.box, face.points, face.score, assess(image, face)), crop))
        if not detections:
            one.reason = Label.NO_FACE.value
    if found and card.kind == "frame":
        logits = scanner.detector.score(np.stack([crop for _, _, crop in found])).logits
        for (one, face, _), logit in zip(found, logits.tolist(), strict=True):
            one.people.append([face_score(face, logit)])
    elif found:
        _score_clips(items, found, scanner)
    return seen


def _score_clips(items: pd.DataFrame, found: Sequence[tuple[_Seen, Face, np.ndarray]], scanner: Scanner) -> None:
    """For a detector of clips, the stills of one video are one person's run, in the order of their numbers."""
    keys, numbers = items["key"].tolist(), items["frame"].tolist()
    videos: dict[int, list[tuple[_Seen, Face, np.ndarray]]] = {}
    for entry in found:
        videos.setdefault(keys[entry[0].item], []).append(entry)
    for entries in videos.values():
        entries.sort(key=lambda entry: (numbers[entry[0].item], entry[0].item))
        scoring = ClipScoring(scanner.detector, thumbnails=0)
        for number, (_, face, crop) in enumerate(entries):
            face.time_s = float(number)
            scoring.add(face, crop)
        (person,) = scoring.people([FaceTrack(1, [face for _, face, _ in entries])])
        scores = {face.time_s: face for face in person.scores}
        for one, face, _ in entries:
            one.enough = person.enough
            if face.time_s in scores:
                one.people.append([scores[face.time_s]])
            else:
                one.reason = "face in no run of usable faces"


def _scan(items: pd.DataFrame, row: int, scanner: Scanner, damage: Damage | None) -> _Seen:
    if items.member.iat[row]:
        return _Seen(row, reason="video inside a tar")
    path = Path(str(items.path.iat[row]))
    if damage is None:
        verdict = scanner.scan(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            try:
                verdict = scanner.scan(damage.video(path, Path(folder)))
            except InputError as error:
                return _Seen(row, reason=type(error).__name__)
    if verdict.p_fake is None:
        return _Seen(row, reason=verdict.error.type if verdict.error else verdict.label.value)
    for track in verdict.tracks:
        for face in track.scores:
            face.heatmap = face.crop = None
    return _Seen(row, [track.scores for track in verdict.tracks], verdict=verdict)


def _judge_videos(items: pd.DataFrame, seen: Sequence[_Seen], rule: Rule) -> pd.DataFrame:
    """One row per video; fills in every face's P(fake) on the way."""
    rows = []
    for _, group in items[items.reason == ""].groupby("key"):
        parts = [seen[row] for row in group.index]
        verdict = parts[0].verdict if len(parts) == 1 else None
        if verdict is None:
            people = parts[0].people
            if len(parts) > 1:
                for part in parts:
                    part.people = [[max((face for track in part.people for face in track), key=_suspicion)]]
                people = [[face for part in parts for face in part.people[0]]]
            persons = [Person(number, faces, parts[0].enough) for number, faces in enumerate(people, start=1)]
            verdict = judge(persons, len(parts), rule)
        deciding = next(track for track in verdict.tracks if track.p_fake == verdict.p_fake)
        rows.append(
            {
                **group.iloc[0].to_dict(),
                "logit": track_logit(deciding.scores),
                "p_fake": verdict.p_fake,
                "verdict": verdict.label.value,
                "faces": len(deciding.scores),
                "height": float(np.median([face.box[3] for face in deciding.scores])),
                "problem": _commonest_problem(deciding),
            }
        )
    return pd.DataFrame(rows, columns=pd.Index(VIDEOS)).set_index("key")


def _commonest_problem(track: TrackScore) -> str:
    """The quality gate that at least half of the faces fail; empty if there is none."""
    gates = Counter(problem for face in track.scores for problem in face.problems)
    problem, times = gates.most_common(1)[0] if gates else ("", 0)
    return problem if 2 * times >= len(track.scores) else ""


def _face_table(items: pd.DataFrame, seen: Sequence[_Seen]) -> pd.DataFrame:
    rows = []
    for one in seen:
        by_time: dict[float, list[FaceScore]] = {}
        for face in (face for track in one.people for face in track):
            by_time.setdefault(face.time_s, []).append(face)
        for _, faces in sorted(by_time.items()):
            face = max(faces, key=_suspicion)
            label, key = items.label.iat[one.item], items.key.iat[one.item]
            rows.append(
                (one.item, key, label, face.time_s, face.logit, face.p_fake, face.quality, face.usable, face.box[3])
            )
    return pd.DataFrame(rows, columns=pd.Index(FACES))


def _suspicion(face: FaceScore) -> tuple[bool, float]:
    """Usable faces come before unusable ones, then the higher logit."""
    return face.usable, face.logit
