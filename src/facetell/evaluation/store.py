"""What detectors said of items, kept on disk: a second look at the same item with the same network costs nothing.

A store is a folder: `scores.sqlite` holds what was seen in each item, `damaged/` the re-encoded copies of videos, which
cost more than scoring them. Scores are raw, before calibration, and are known by the network, the item's own bytes and
what happened to it. So a detector that was only calibrated anew needs no new scoring, and a file that was moved none.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from facetell.detectors import Detector
from facetell.detectors.file import read_detector_file
from facetell.errors import AlteredDetectorError, DataError, OutputError
from facetell.types import FaceScore

if TYPE_CHECKING:
    from facetell.evaluation.scoring import Damage

STEPS = 9
"""To be raised with every change of what reading, finding, gating, tracking or cutting faces gives, of how damage is
done, and of what a key holds: old scores and copies must not be taken for new ones."""
AT_ONCE = 500  # keys in one question; SQLite allows 999


@dataclass(slots=True)
class Seen:
    """What was seen in one item: its people's scored faces, or why there are none.

    Attributes:
        people: person -> faces with raw logits; a face's P(fake) is NaN until it is judged.
        reason: why there is no score, or "".
        frames: how many frames were wanted; one of a still.
        bits_per_pixel: of a video's stream, where it says so.
    """

    people: list[list[FaceScore]] = field(default_factory=list)
    reason: str = ""
    frames: int = 1
    bits_per_pixel: float | None = None


class Store:
    """Scores and damaged copies in a folder, made if it is not there; safe in threads and for several processes.

    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp())
    >>> store.write({"a": Seen(reason="NO_FACE")})
    >>> store.read(["a", "b"])["a"].reason, list(store.read(["b"]))
    ('NO_FACE', [])

    Raises:
        OutputError: a folder that cannot be made or written to.
        DataError: a `scores.sqlite` that is none, or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()
        with self._named():
            (self.folder / "damaged").mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.folder / "scores.sqlite", timeout=60, check_same_thread=False)
            with self._file:
                self._file.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, what TEXT) WITHOUT ROWID")

    def read(self, keys: Collection[str]) -> dict[str, Seen]:
        """What is known of these keys.

        Raises:
            OutputError: another process holds the file for a minute.
            DataError: the file is damaged.
        """
        found: dict[str, Seen] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            question = f"SELECT key, what FROM seen WHERE key IN ({','.join('?' * len(some))})"
            with self._named(), self._lock, closing(self._file.execute(question, some)) as rows:
                found |= {key: _seen(json.loads(what)) for key, what in rows}
        return found

    def write(self, seen: Mapping[str, Seen]) -> None:
        """Keep what was seen.

        Raises:
            OutputError: the disk is full, or another process holds the file for a minute.
            DataError: the file is damaged.
        """
        rows = [(key, json.dumps(_plain(one), allow_nan=False)) for key, one in seen.items()]
        with self._named(), self._lock, self._file:
            self._file.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", rows)

    def damaged(self, path: Path, digest: str, damage: Damage) -> Path:
        """The damaged copy of a video with this SHA-256, made now if it was not before.

        Raises:
            InputError: the video cannot be read.
            ForgeError: it cannot be damaged so.
            OutputError: the disk is full, or the folder cannot be written to.
        """
        copy = self.folder / "damaged" / f"{key_of(STEPS, digest, damage.description)}.mp4"
        if not copy.is_file():
            with self._named(), tempfile.TemporaryDirectory(dir=copy.parent) as folder:
                damage.video(path, Path(folder)).replace(copy)
        return copy

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of the file and of SQLite under facetell's names."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            raise OutputError(
                f"{self.folder} cannot keep scores: {error}.", "Is the disk full? Give a folder that you may write to."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.folder / 'scores.sqlite'} holds no scores: {error}.", "Delete it.") from error


def fingerprint(detector: Detector) -> str:
    """The SHA-256 of what a detector's raw scores depend on: its network, how faces are cut, and what counts beside.

    Raises:
        AlteredDetectorError: its file was replaced since it was loaded.
    """
    file = read_detector_file(detector.path)
    if file.sha256 != detector.info.sha256:
        raise AlteredDetectorError(f"{detector.path} was replaced while it was in use.", "Start again.")
    model = onnx.load_model_from_string(file.content)
    del model.metadata_props[:]
    card = detector.card  # not the file's: it may have been changed since, to be calibrated
    cut = (card.kind, card.input_size, asdict(card.geometry), card.mean, card.std, card.channels, card.frames)
    network = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    own = () if type(detector) is Detector else (type(detector).__name__,)  # one that treats crops in its own way
    beside = [asdict(card.flicker)] if card.flicker else []
    beside += [card.magnification] if card.magnification else []
    beside += ["instability", asdict(card.instability)] if card.instability else []
    return key_of(*own, network, cut, sorted(card.outputs.items()), *beside)


def key_of(*parts: object) -> str:
    """One key for several facts, written out."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _plain(seen: Seen) -> dict:
    """Without what only a report needs; a face's place is kept, its pictures are not."""
    people = [
        [
            [face.time_s, face.box, face.logit, face.quality, face.usable, face.problems, dict(face.parts)]
            for face in person
        ]
        for person in seen.people
    ]
    return {"people": people, "reason": seen.reason, "frames": seen.frames, "bits_per_pixel": seen.bits_per_pixel}


def _seen(plain: dict) -> Seen:
    people = [
        [
            FaceScore(time_s, tuple(box), float("nan"), logit, quality, usable, tuple(problems), parts=parts)
            for time_s, box, logit, quality, usable, problems, parts in person
        ]
        for person in plain.pop("people")
    ]
    return Seen(people, **plain)
