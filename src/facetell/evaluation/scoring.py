"""Every item of a manifest is looked at by one detector as a scan looks at it; nothing is dropped without a reason."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import pandas as pd

from facetell.data.layouts.base import PICTURES
from facetell.data.manifest import origin, validate
from facetell.data.still import read_still
from facetell.data.tar import read_bytes
from facetell.detectors import DetectorCard
from facetell.errors import (
    DataError,
    DetectorFileError,
    FileMissingError,
    ForgeError,
    InputError,
    LimitError,
    UsageError,
)
from facetell.evaluation.store import STEPS, Seen, Store, fingerprint, key_of
from facetell.faces.align import crop_face
from facetell.faces.detect import Detection, FaceDetector
from facetell.faces.quality import assess
from facetell.files import sha256_of, temporary_folder
from facetell.scanning import Scanner
from facetell.scanning.pipeline import largest_faces
from facetell.scanning.scoring import ClipScoring, face_score, with_terms
from facetell.scanning.verdict import Person, deciding_faces, deciding_track, judge, track_logit, track_parts
from facetell.types import Face, FaceScore, FaceTrack, Label, TrackScore
from facetell.video import shared_readers

CHUNK = 64  # stills in one call of the network
LABELS = ("dataset", "label", "method", "compression", "split", "group", "original", "video")
FACES = ("item", "key", "label", "time_s", "logit", "p_fake", "weight", "usable", "height")
VIDEOS = (
    *("key", *LABELS, "path", "member", "logit", "p_fake", "verdict", "faces", "height", "bits_per_pixel"),
    *("problem", "parts"),
)
NO_RUN = "face in no run of usable faces"
TOO_FEW = "fewer faces than one score of the detector needs"
LASTING = (Label.NO_FACE.value, NO_RUN)  # reasons that hold for good; an error may pass and is met anew


class Damage(Protocol):
    """What happens to every item before it is looked at."""

    @property
    def description(self) -> str:
        """What it is, in words that no other damage has."""
        ...

    def picture(self, image: np.ndarray, number: int) -> np.ndarray:
        """A damaged copy of a still; `number` is the same for the same file, wherever it stands."""
        ...

    def video(self, path: Path, folder: Path) -> Path:
        """A damaged copy of a video, or of a still that is not known by its name, written into `folder`."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """A manifest after one detector has seen it.

    Attributes:
        items: the manifest, with `key` (the video an item is, or belongs to) and `reason` (why it has no score, or "").
            A video file that shares its `video` with another item has its path in its place, and as `original`, where
            it names none, that `video`.
        faces: one row per frame with a face, the most suspicious usable one of it: `item` (row of `items`), `key`,
            `label`, `time_s`, raw `logit`, calibrated `p_fake`, `weight` by quality, `usable`, `height` of its box, px.
        videos: one row per video with a score, indexed by `key`: the manifest's columns, the raw `logit`, calibrated
            `p_fake` and `parts` (name -> logit) of the person who decides, `verdict`, the number of `faces`, the median
            `height` of those that decide, the commonest `problem`, and `bits_per_pixel` of a video file.
        card: the detector's.
        seconds: what the scoring took.
    """

    items: pd.DataFrame
    faces: pd.DataFrame
    videos: pd.DataFrame
    card: DetectorCard
    seconds: float = 0.0

    @property
    def unscored(self) -> dict[str, int]:
        """Reason -> items without a score, the commonest first."""
        reasons = self.items.reason[self.items.reason != ""].value_counts()
        return {str(reason): int(n) for reason, n in reasons.items()}

    def calibrated(self, rows: pd.DataFrame) -> np.ndarray:
        """The calibrated logits (N,) of rows of `faces` or `videos`: what ranks them, as P(fake) is 1 from 37 up."""
        return np.array([self.card.calibration(logit) for logit in rows.logit], float)


def score(
    manifest: pd.DataFrame,
    scanner: Scanner,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    damage: Damage | None = None,
    store: Store | None = None,
) -> Scored:
    """Look at every item once; memory holds numbers only, however long the manifest.

    Videos go through `scanner.scan`. Pictures go through the same steps in batches: find faces, gate, cut, score and
    judge. Of a row with `crop` only the largest face counts. Stills of one video are judged together as one person's
    track, from the most suspicious face of each (the largest, for a detector of clips). A video file is judged alone,
    whatever else has its `video`. A video with fewer faces than one score of a detector of clips needs has none here.

    Args:
        manifest: as in `facetell.data.manifest`; rows with `member` are read inside their tar.
        scanner: the detector and its options.
        workers: threads; decoding and networks run outside Python's lock.
        progress: called with the number of items that are done, after each batch or video.
        damage: changes every item before it is looked at.
        store: keeps raw scores, and gives those it has instead of looking again.

    Raises:
        ManifestError: the manifest is not sound.
        DataError: it has several files and none of them is there.
        OutputError: a damaged video has no room, in the store or among the system's temporary files.
    """
    began = time.perf_counter()
    items = _parted(validate(manifest))
    items["key"] = items.groupby(list(LABELS), sort=False).ngroup()
    look = _Look(items, scanner, damage, store)
    seen: dict[int, Seen] = {}
    with ThreadPoolExecutor(workers) as pool:
        for batch in pool.map(look, _batches(items)):
            seen |= batch
            if progress:
                progress(len(batch))
    items["reason"] = [seen[row].reason for row in range(len(items))]
    if len(items) > 1 and (items.reason == FileMissingError.__name__).all():
        raise DataError(
            f"None of the {len(items)} files of the manifest is there; the first is {items.path.iat[0]}.",
            "Is it from another machine? Make it anew from the folder, or correct its paths.",
        )
    videos = _judge_videos(items, seen, scanner)
    short = videos.index[videos.faces < scanner.detector.card.frames]
    items.loc[items.key.isin(short) & (items.reason == ""), "reason"] = TOO_FEW
    videos, faces = videos.drop(short), _face_table(items, seen)
    faces = faces[~faces.key.isin(short)].reset_index(drop=True)
    return Scored(items, faces, videos, scanner.detector.card, time.perf_counter() - began)


def picture(path: str, member: str = "") -> np.ndarray:
    """A still as (H, W, 3) uint8 RGB, upright.

    Raises:
        FileMissingError, NotVideoError, DamagedVideoError, LimitError, ReaderCrashError: as `read_still`.
    """
    return read_still(path, member, shared_readers()).image


def largest_face(image: np.ndarray, finder: FaceDetector) -> list[Detection]:
    """The largest face found, in a list; an empty one if there is none."""
    return sorted(finder.detect(image), key=lambda face: -face.box[2] * face.box[3])[:1]


def is_picture(name: str) -> bool:
    """Whether a file of this name is a still that `picture` can read."""
    return PurePosixPath(name).suffix.lower() in PICTURES


def are_stills(items: pd.DataFrame) -> pd.Series:
    """Which rows of a manifest are stills, by the names of their files: bool."""
    return items.member.where(items.member != "", items.path).map(is_picture).astype(bool)


def _parted(items: pd.DataFrame) -> pd.DataFrame:
    """The items, each video file with a `video` of its own, as only stills of one are pooled.

    With the one it had as its original, it stays in its family; see `protocol.resampling_unit`.
    """
    shared = items.duplicated(list(LABELS), keep=False) & ~are_stills(items)
    return items.assign(
        video=items.video.where(~shared, items.path + items.member),
        original=items.original.where(~shared, origin(items)),
    )


def _batches(items: pd.DataFrame) -> Iterator[list[int]]:
    """Rows that are looked at together: a video, or whole sets of stills of one video, up to about CHUNK pictures."""
    batch: list[int] = []
    still = are_stills(items).to_numpy()
    for rows in items.groupby("key", sort=False).indices.values():
        for row in rows:
            if still[row]:
                batch.append(row)
            else:
                yield [row]
        if len(batch) >= CHUNK:
            yield batch
            batch = []
    if batch:
        yield batch


class _Look:
    """Looks at the rows of one manifest with one detector; what the store knows is not looked at again."""

    def __init__(self, items: pd.DataFrame, scanner: Scanner, damage: Damage | None, store: Store | None) -> None:
        self.items, self.scanner, self.damage, self.store = items, scanner, damage, store
        self.videos: list[int] = items["key"].tolist()
        self.numbers: list[int] = items["frame"].tolist()
        self.still: list[bool] = are_stills(items).tolist()
        self.finder = FaceDetector()
        self.detector = "" if store is None else fingerprint(scanner.detector)

    def __call__(self, rows: Sequence[int]) -> dict[int, Seen]:
        """What is in these rows: one video, or all stills of some videos."""
        seen: dict[int, Seen] = {}
        digests: dict[int, str] = {}
        for row in rows:
            try:
                digests[row] = self._digest(row)
            except (InputError, DataError) as error:
                seen[row] = Seen(reason=type(error).__name__)
        if self.store is None:
            return seen | self._fresh(digests)
        keys = self._keys(digests)
        known = self.store.read(keys.values())
        fresh = self._fresh({row: digests[row] for row, key in keys.items() if key not in known})
        self.store.write({keys[row]: one for row, one in fresh.items() if one.people or one.reason in LASTING})
        return seen | fresh | {row: known[key] for row, key in keys.items() if key in known}

    def _digest(self, row: int) -> str:
        path, member = str(self.items.path.iat[row]), str(self.items.member.iat[row])
        return hashlib.sha256(read_bytes(path, member)).hexdigest() if member else sha256_of(path)

    def _keys(self, digests: Mapping[int, str]) -> dict[int, str]:
        """Row -> everything that its raw scores depend on."""
        done = "" if self.damage is None else self.damage.description
        keys = {}
        for row, digest in digests.items():
            how: object = str(self.scanner.plan)
            if self.still[row]:
                how = bool(self.items.crop.iat[row])
                if self.scanner.detector.card.kind != "frame":  # judged in a run with the video's other stills
                    run = [other for other in digests if self.videos[other] == self.videos[row]]
                    how = [(self.numbers[other], digests[other], other == row) for other in run]  # bytes may recur
            keys[row] = key_of(STEPS, self.detector, done, how, digest)
        return keys

    def _fresh(self, digests: Mapping[int, str]) -> dict[int, Seen]:
        rows = list(digests)
        if rows and self.still[rows[0]]:
            return self._stills(digests)
        return {row: self._scan(row, digests[row]) for row in rows}

    def _stills(self, digests: Mapping[int, str]) -> dict[int, Seen]:
        card = self.scanner.detector.card
        seen: dict[int, Seen] = {}
        found: list[tuple[int, Face, np.ndarray]] = []
        for row, digest in digests.items():
            seen[row] = one = Seen()
            try:
                image = picture(str(self.items.path.iat[row]), str(self.items.member.iat[row]))
                image = self.damage.picture(image, int(digest[:8], 16)) if self.damage else image
            except (InputError, DataError, ForgeError) as error:
                one.reason = type(error).__name__
                continue
            alone = bool(self.items.crop.iat[row]) or card.kind != "frame"
            detections = largest_face(image, self.finder) if alone else largest_faces(self.finder.detect(image))[0]
            for face in detections:
                crop = crop_face(image, face.points, face.box, card.geometry, card.input_size)
                quality = assess(image, face, upright=self.finder.is_upright(image, face))
                found.append((row, Face(row, 0.0, face.box, face.points, face.score, quality), crop))
            if not detections:
                one.reason = Label.NO_FACE.value
        if found and card.kind == "frame":
            self._faces(seen, found)
        elif found:
            self._clips(seen, found)
        return seen

    def _faces(self, seen: Mapping[int, Seen], found: Sequence[tuple[int, Face, np.ndarray]]) -> None:
        """For a detector of single faces; a still for which the network gives no number is a gap, and no other."""
        card = self.scanner.detector.card
        try:
            scores = self.scanner.detector.score(np.stack([crop for _, _, crop in found]))
        except DetectorFileError as error:
            rows = {row for row, _, _ in found}
            if len(rows) == 1:
                seen[rows.pop()].reason = type(error).__name__
                return
            for row in rows:
                self._faces(seen, [entry for entry in found if entry[0] == row])
            return
        for (row, face, _), logit, parts in zip(found, scores.logits.tolist(), scores.parts_of_each(), strict=True):
            logit, parts = with_terms(card, logit, parts)
            seen[row].people.append([face_score(face, logit, parts=parts)])

    def _clips(self, seen: Mapping[int, Seen], found: Sequence[tuple[int, Face, np.ndarray]]) -> None:
        """For a detector of clips, the stills of one video are one person's run, in the order of their numbers."""
        videos: dict[int, list[tuple[int, Face, np.ndarray]]] = {}
        for entry in found:
            videos.setdefault(self.videos[entry[0]], []).append(entry)
        for entries in videos.values():
            entries.sort(key=lambda entry: (self.numbers[entry[0]], entry[0]))
            scoring = ClipScoring(self.scanner.detector, thumbnails=0)
            try:
                for number, (_, face, crop) in enumerate(entries):
                    face.time_s = float(number)
                    scoring.add(face, crop)
                (person,) = scoring.people([FaceTrack(1, [face for _, face, _ in entries])])
            except (DetectorFileError, LimitError) as error:
                for row, _, _ in entries:
                    seen[row].reason = type(error).__name__
                continue
            scores = {face.time_s: face for face in person.scores}
            for row, face, _ in entries:
                if face.time_s in scores:
                    seen[row].people.append([scores[face.time_s]])
                else:
                    seen[row].reason = NO_RUN

    def _scan(self, row: int, digest: str) -> Seen:
        if self.items.member.iat[row]:
            return Seen(reason="video inside a tar")
        path = Path(str(self.items.path.iat[row]))
        with temporary_folder() as folder:
            try:
                if self.damage and self.store:
                    path = self.store.damaged(path, digest, self.damage)
                elif self.damage:
                    path = self.damage.video(path, folder)
            except (InputError, ForgeError, UsageError) as error:  # the item's fault; a full disk's OutputError is not
                return Seen(reason=type(error).__name__)
            verdict = self.scanner.scan(path)
        if verdict.p_fake is None:
            return Seen(reason=verdict.error.type if verdict.error else verdict.label.value)
        for track in verdict.tracks:
            for face in track.scores:
                face.heatmap = face.crop = None
        bits = verdict.video.bits_per_pixel if verdict.video else None
        seen = verdict.coverage
        return Seen([track.scores for track in verdict.tracks], "", seen.frames_sampled + seen.frames_lost, bits)


def _judge_videos(items: pd.DataFrame, seen: Mapping[int, Seen], scanner: Scanner) -> pd.DataFrame:
    """One row per video; fills in every face's P(fake) on the way."""
    card = scanner.detector.card
    keys: list[int] = items["key"].tolist()
    wanted: Counter[int] = Counter()  # of a video's stills also those without a face, or that could not be read
    for row, one in seen.items():
        wanted[keys[row]] += one.frames
    rows = []
    for _, group in items[items.reason == ""].groupby("key"):
        parts = [seen[row] for row in group.index]
        people = parts[0].people
        if len(parts) > 1:
            for part in parts:
                part.people = [[max((face for track in part.people for face in track), key=_suspicion)]]
            people = [[face for part in parts for face in part.people[0]]]
        persons = [
            Person(number, faces, card.kind == "frame" or sum(face.usable for face in faces) >= card.frames)
            for number, faces in enumerate(people, start=1)
        ]
        verdict = judge(persons, wanted[keys[group.index[0]]], scanner.rule, parts[0].bits_per_pixel)
        deciding = deciding_track(verdict.tracks)
        rows.append(
            {
                **group.iloc[0].to_dict(),
                "logit": track_logit(deciding.scores, scanner.rule.aggregation),
                "p_fake": verdict.p_fake,
                "verdict": verdict.label.value,
                "faces": len(deciding.scores),
                "height": float(np.median([face.box[3] for face in deciding_faces(deciding.scores)])),
                "bits_per_pixel": parts[0].bits_per_pixel,
                "problem": _commonest_problem(deciding),
                "parts": track_parts(deciding.scores, scanner.rule.aggregation),
            }
        )
    table = pd.DataFrame(rows, columns=pd.Index(VIDEOS)).set_index("key")
    return table.astype({"logit": float, "p_fake": float})  # also without a row, where pandas does not know


def _commonest_problem(track: TrackScore) -> str:
    """The quality gate that at least half of the faces fail; empty if there is none."""
    gates = Counter(problem for face in track.scores for problem in face.problems)
    problem, times = gates.most_common(1)[0] if gates else ("", 0)
    return problem if 2 * times >= len(track.scores) else ""


def _face_table(items: pd.DataFrame, seen: Mapping[int, Seen]) -> pd.DataFrame:
    rows = []
    for item, one in sorted(seen.items()):
        by_time: dict[float, list[FaceScore]] = {}
        for face in (face for track in one.people for face in track):
            by_time.setdefault(face.time_s, []).append(face)
        for _, faces in sorted(by_time.items()):
            face = max(faces, key=_suspicion)
            label, key = items.label.iat[item], items.key.iat[item]
            rows.append(
                (item, key, label, face.time_s, face.logit, face.p_fake, face.quality, face.usable, face.box[3])
            )
    return pd.DataFrame(rows, columns=pd.Index(FACES))


def _suspicion(face: FaceScore) -> tuple[bool, float]:
    """Usable faces come before unusable ones, then the higher logit."""
    return face.usable, face.logit
