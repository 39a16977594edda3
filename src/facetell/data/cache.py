"""A face cache: encoded pictures of faces end to end in a few shard files, and a table that says where each one lies.

A folder with

- `cache.json`: schema and the settings it was made with;
- `manifest.parquet`: the rows it was made from (`facetell.data.manifest`);
- `faces.parquet`: one row per stored face, in the order of the pictures in the shards;
- `items.parquet`: one row per video or picture that could be read: what it is, and in how many frames a face was found;
- `shards/00000.bin` …: the bytes of JPEG or PNG files, uncompressed and without padding, read by `pread`;
- `gaps.csv`: the rows of the manifest that gave no face, each with its reason.

While it is being made there is a journal instead of `faces.parquet`: a line is written once the pictures it speaks of
are on the disk, so whatever the journal does not vouch for is cut off when the work goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from facetell.data.manifest import COLUMNS, read_parquet, validate, write_manifest
from facetell.errors import CacheError, OutputError
from facetell.files import replacing
from facetell.types import Box
from facetell.video.file import read_into

try:
    import fcntl
except ImportError:  # Windows, which has no such locks
    fcntl = None

SCHEMA = "facetell-cache/1"
SHARD_BYTES = 1 << 30
SHARD_NAMES = "[0-9]" * 5 + ".bin"  # whatever else lies there, such as .DS_Store, is none of ours
DIFFERENCE_SIDE = 64  # pixels of the stored map of a fake's difference from its original
JOURNALED = {"rows", "items", "faces", "gaps", "shard", "end"}  # the keys of a line of the journal
DIFFERENCE_GAIN = 4.0  # the map holds the mean absolute difference (0…255) times this, up to 255

POINTS = tuple(f"p{i}{axis}" for i in range(5) for axis in "xy")
BOX = ("box_x", "box_y", "box_w", "box_h")
FACES = pa.schema(
    [
        ("item", pa.int32()),  # row of the manifest
        ("track", pa.int16()),  # person within the video
        ("frame", pa.int32()),  # number among the sampled frames; a still's own number
        ("time_s", pa.float32()),
        ("width", pa.int32()),  # of the stored picture
        ("height", pa.int32()),
        *((name, pa.float32()) for name in (*BOX, *POINTS)),  # in the stored picture's pixels; NaN: no face found
        ("score", pa.float32()),  # the face detector's, in this very picture; NaN: it found no face here
        ("eyes_px", pa.float32()),  # distance between the eyes in the source picture
        ("problems", pa.string()),  # quality gates failed, joined by "; "
        ("pair", pa.int32()),  # row of the original's same face, or −1
        ("diff_inside", pa.float32()),  # mean absolute difference from it, 0…255, within the face; NaN without a pair
        ("diff_outside", pa.float32()),  # the same, outside
        ("shard", pa.int16()),
        ("offset", pa.int64()),
        ("length", pa.int32()),
        ("diff_length", pa.int32()),  # bytes of the difference map that follows the picture; 0: none
    ]
)
ITEMS = pa.schema(
    [
        ("item", pa.int32()),  # row of the manifest
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("codec", pa.string()),
        ("frame_rate", pa.float32()),  # NaN: a still, or unknown
        ("duration_s", pa.float32()),
        ("bit_rate", pa.float64()),
        ("size_bytes", pa.int64()),
        ("frames", pa.int32()),  # sampled
        ("frames_with_face", pa.int32()),  # of those, by the face detector in this very video
        ("corrupt_packets", pa.int32()),
    ]
)


@dataclass(eq=False, slots=True)
class StoredFace:
    """A face on its way into a cache."""

    item: int
    picture: bytes  # an encoded JPEG, PNG or WebP
    width: int
    height: int
    points: np.ndarray | None = None  # (5, 2) in the picture's pixels
    box: Box | None = None
    score: float = float("nan")
    eyes_px: float = float("nan")
    track: int = 0
    frame: int = 0
    time_s: float = 0.0
    problems: tuple[str, ...] = ()
    pair: int = -1  # position of the original's face in the same batch
    diff_inside: float = float("nan")
    diff_outside: float = float("nan")
    difference: bytes = b""  # the map, a PNG


@dataclass(frozen=True, slots=True)
class Gap:
    """A row of the manifest that gave no face, and why."""

    item: int
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What a video or picture is: a row of `ITEMS`."""

    item: int
    width: int
    height: int
    codec: str
    size_bytes: int
    frames: int = 1
    frames_with_face: int = 0
    frame_rate: float = float("nan")
    duration_s: float = float("nan")
    bit_rate: float = float("nan")
    corrupt_packets: int = 0


@dataclass(slots=True)
class Batch:
    """What came of some rows of the manifest, to be stored together or not at all."""

    rows: list[int]
    items: list[StoredItem] = field(default_factory=list)
    faces: list[StoredFace] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def decode_picture(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB, upright, of an encoded picture; None if it cannot be decoded."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class FaceCache:
    """A finished cache, for reading: random access, safe in threads, in forked and in spawned processes.

    `manifest` and `faces` are DataFrames; `faces.item` is a row number of `manifest`, `faces.pair` one of `faces`.

    >>> cache = FaceCache.open("cache")  # doctest: +SKIP
    >>> cache.read(0).shape  # doctest: +SKIP
    (224, 224, 3)
    """

    def __init__(self, folder: Path, settings: dict[str, Any], manifest: pd.DataFrame, faces: pd.DataFrame) -> None:
        self.folder = folder
        self.settings = settings
        self.manifest = manifest
        self.faces = faces
        self._place = faces[["shard", "offset", "length", "diff_length"]].to_numpy(np.int64)
        self._files: dict[int, int] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FaceCache:
        """The cache in this folder.

        Raises:
            CacheError: no cache, an unfinished or damaged one, or one of another version.
        """
        folder = Path(folder)
        about = _read_about(folder)
        if about is None:
            raise CacheError(f"{folder} is not a face cache.", "facetell data prepare DIR -o CACHE makes one.")
        if not about["complete"]:
            raise CacheError(f"The cache {folder} is not finished.", "Run facetell data prepare again; it goes on.")
        manifest, faces = _read_table(folder, "manifest"), _read_table(folder, "faces")
        for name, table, columns in (("manifest", manifest, COLUMNS), ("faces", faces, FACES.names)):
            if absent := [column for column in columns if column not in table]:
                raise _damaged(folder, f"{name}.parquet has no column {', '.join(absent)}")
        ends = faces.offset + faces.length + faces.diff_length
        if (faces.offset != ends.groupby(faces.shard).shift(fill_value=0)).any():
            raise _damaged(folder, "its faces do not lie end to end")
        for shard, end in ends.groupby(faces.shard).max().items():
            path = _shard_path(folder, int(shard))  # pyright: ignore[reportArgumentType]
            if not path.is_file() or path.stat().st_size < end:
                raise _damaged(folder, f"{path.name} is shorter than it should be")
        return cls(folder, about["settings"], manifest, faces)

    def __len__(self) -> int:
        return len(self.faces)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        for file in self.__dict__.get("_files", {}).values():
            os.close(file)

    @property
    def items(self) -> pd.DataFrame:
        """One row per video or picture that could be read; `item` is a row number of `manifest`. See `ITEMS`.

        Raises:
            CacheError: items.parquet is absent or damaged.
        """
        return _read_table(self.folder, "items")

    @property
    def gaps(self) -> pd.DataFrame:
        """Rows of the manifest that gave no face: item, path, member, error, message.

        Raises:
            CacheError: gaps.csv is absent or damaged.
        """
        try:
            return pd.read_csv(self.folder / "gaps.csv", keep_default_na=False)
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, str(error)) from error

    def encoded(self, row: int) -> bytes:
        """The stored bytes of a face's picture: the file's own, if that was a crop, and an opaque JPEG, PNG or WebP."""
        shard, offset, length, _ = self._place[row]
        return self._pread(shard, offset, length)

    def read(self, row: int) -> np.ndarray:
        """A face's picture, (H, W, 3) uint8 RGB.

        Raises:
            CacheError: the stored bytes are damaged.
        """
        image = decode_picture(self.encoded(row))
        if image is None:
            raise self._damaged_face(row)
        return image

    def points(self, row: int) -> np.ndarray | None:
        """The face's five points (5, 2) float32 in the stored picture's pixels; None if none were found."""
        points = self.faces.loc[row, list(POINTS)].to_numpy(np.float32).reshape(5, 2)
        return None if np.isnan(points).any() else points

    def difference(self, row: int) -> np.ndarray | None:
        """Mean absolute difference of a fake from its original, (64, 64) float32 in 0…63.75 over the stored picture.

        None for a face without a pair.

        Raises:
            CacheError: the stored bytes are damaged.
        """
        shard, offset, length, diff_length = self._place[row]
        if not diff_length:
            return None
        data = np.frombuffer(self._pread(shard, offset + length, diff_length), np.uint8)
        stored = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if stored is None:
            raise self._damaged_face(row)
        return stored.astype(np.float32) / DIFFERENCE_GAIN

    def _damaged_face(self, row: int) -> CacheError:
        return CacheError(f"Face {row} of the cache {self.folder} is damaged.", "Make the cache again.")

    def _pread(self, shard: int, offset: int, length: int) -> bytes:
        file = self._files.get(shard)
        if file is None:
            opened = os.open(_shard_path(self.folder, shard), os.O_RDONLY | getattr(os, "O_BINARY", 0))
            file = self._files.setdefault(shard, opened)
            if file != opened:  # another thread was faster
                os.close(opened)
        data = memoryview(bytearray(length))
        return bytes(data[: read_into(file, data, offset)])


class CacheWriter:
    """Makes a cache, or goes on with one that was stopped: a context manager.

    Args:
        folder: made if absent; may hold an unfinished cache of the same manifest and settings.
        settings: whatever the pictures depend on, as JSON types.
        manifest: the rows that the cache is made from.

    `done` holds the rows of the manifest that need no more work. `finish` is called once all of them are.

    Raises:
        CacheError: the folder holds a cache of other settings, rows or version, or a damaged one, or another process is
            writing to it.
        LeakError, ManifestError: the manifest is not sound.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: dict[str, Any], manifest: pd.DataFrame) -> None:
        self.folder = Path(folder)
        self.settings = json.loads(json.dumps(settings))
        self.manifest = validate(manifest)
        self.done: set[int] = set()
        self.complete = False
        self._faces = 0
        self._shard = 0

    def __enter__(self) -> CacheWriter:
        try:
            (self.folder / "shards").mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / "lock", "w")  # held until __exit__
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be written: {error.strerror}.", "Choose another folder."
            ) from error
        try:
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise CacheError(
                f"Another process is writing to the cache {self.folder}.", "Wait for it to end."
            ) from error
        try:
            self._start()
        except BaseException:  # pragma: boundary  cleans up and raises on
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.complete:
            for file in (self._bin, self._journal):
                with suppress(OSError):  # what a full disk refuses once more at closing, nothing vouches for
                    file.close()
        self._lock.close()

    def add(self, batch: Batch) -> None:
        """Store a batch: after this returns it survives whatever stops the process.

        Raises:
            OutputError: the disk is full or gone.
        """
        rows = []
        try:
            for face in batch.faces:
                rows.append(self._row(face, self._bin.tell()))
                self._bin.write(face.picture)
                self._bin.write(face.difference)
            self._bin.flush()
            os.fsync(self._bin.fileno())
            gaps = [[gap.item, gap.error, gap.message] for gap in batch.gaps]
            items = [[getattr(item, name) for name in ITEMS.names] for item in batch.items]
            line = {"rows": batch.rows, "items": items, "faces": rows, "gaps": gaps}
            line |= {"shard": self._shard, "end": self._bin.tell()}
            self._journal.write(json.dumps(line) + "\n")
            self._journal.flush()
        except OSError as error:
            raise OutputError(
                f"The cache {self.folder} cannot be written: {error.strerror}.",
                "Make room and run the same command again; it goes on from here.",
            ) from error
        self.done.update(batch.rows)
        self._faces += len(rows)
        if self._bin.tell() >= SHARD_BYTES:
            self._bin.close()
            self._shard += 1
            self._bin = _shard_path(self.folder, self._shard).open("ab")

    def finish(self) -> None:
        """Write the table of faces and mark the cache as finished."""
        self._bin.close()
        self._journal.close()
        self._write_table("items", ITEMS)
        self._write_table("faces", FACES)
        gaps = pd.DataFrame(
            [gap for line in _journal_lines(self.folder) for gap in line["gaps"]],
            columns=pd.Index(["item", "error", "message"]),
        )
        gaps.insert(1, "path", self.manifest.path.iloc[gaps.item].to_numpy())
        gaps.insert(2, "member", self.manifest.member.iloc[gaps.item].to_numpy())
        with replacing(self.folder / "gaps.csv") as part:
            gaps.to_csv(part, index=False)
        self._write_about(complete=True)
        self.complete = True
        (self.folder / "journal.jsonl").unlink()

    def _write_table(self, name: str, schema: pa.Schema) -> None:
        with replacing(self.folder / f"{name}.parquet") as part, pq.ParquetWriter(part, schema) as table:
            for rows in _chunks(row for line in _journal_lines(self.folder) for row in line[name]):
                columns = zip(*rows, strict=True)
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                table.write_table(pa.table(arrays, schema=schema))

    def _start(self) -> None:
        about = _read_about(self.folder)
        if about is None:
            if any((self.folder / "shards").glob(SHARD_NAMES)):
                raise CacheError(f"{self.folder} holds shards but no cache.json.", "Choose an empty folder.")
            write_manifest(self.manifest, self.folder / "manifest.parquet")
            self._write_about(complete=False)
        else:
            stored = _read_table(self.folder, "manifest")
            changed = sorted(key for key in self.settings if about["settings"].get(key) != self.settings[key])
            if changed or not stored.equals(self.manifest):
                what = f"other settings ({', '.join(changed)})" if changed else "other rows"
                raise CacheError(
                    f"{self.folder} holds a cache made from {what}.", "Choose another folder, or delete it."
                )
            if about["complete"]:
                self.complete = True
                self.done = set(range(len(self.manifest)))
                return
        self._resume()

    def _resume(self) -> None:
        """Cut the journal and the shards back to what both vouch for, and open them at their ends."""
        shard, end, trusted = 0, 0, 0
        for line in _journal_lines(self.folder):
            path = _shard_path(self.folder, line["shard"])
            if not path.exists() or path.stat().st_size < line["end"]:
                break
            shard, end = line["shard"], line["end"]
            trusted = line["read_to"]
            self.done.update(line["rows"])
            self._faces += len(line["faces"])
        for path in (self.folder / "shards").glob(SHARD_NAMES):
            if int(path.stem) > shard:
                path.unlink()
        if end >= SHARD_BYTES:
            shard, end = shard + 1, 0
        self._shard = shard
        self._bin = _shard_path(self.folder, shard).open("ab")
        self._bin.truncate(end)
        self._bin.seek(end)  # or the next offset would be where the file ended before
        self._journal = (self.folder / "journal.jsonl").open("a")
        self._journal.truncate(trusted)

    def _row(self, face: StoredFace, offset: int) -> list[Any]:
        nothing = [float("nan")]
        points = nothing * 10 if face.points is None else [round(float(v), 3) for v in face.points.ravel()]
        box = nothing * 4 if face.box is None else [round(float(v), 3) for v in face.box]
        pair = face.pair if face.pair < 0 else self._faces + face.pair
        head = [face.item, face.track, face.frame, face.time_s, face.width, face.height]
        tail = ["; ".join(face.problems), pair, face.diff_inside, face.diff_outside]
        place = [self._shard, offset, len(face.picture), len(face.difference)]
        return [*head, *box, *points, face.score, face.eyes_px, *tail, *place]

    def _write_about(self, *, complete: bool) -> None:
        about = {"schema": SCHEMA, "complete": complete, "faces": self._faces, "settings": self.settings}
        with replacing(self.folder / "cache.json") as part:
            part.write_text(json.dumps(about, indent=2) + "\n")


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / "shards" / f"{shard:05d}.bin"


def _read_about(folder: Path) -> dict[str, Any] | None:
    """What cache.json says; None without one."""
    try:
        about = json.loads((folder / "cache.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CacheError(f"{folder / 'cache.json'} cannot be read: {error}.", "Make the cache again.") from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        found = about.get("schema") if isinstance(about, dict) else None
        raise CacheError(f"The cache {folder} is of version {found}; this facetell reads {SCHEMA}.", "Make it again.")
    if not isinstance(about.get("complete"), bool) or not isinstance(about.get("settings"), dict):
        raise _damaged(folder, "cache.json says not whether it is complete, or not with what settings it was made")
    return about


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    """One of a cache's Parquet tables.

    Raises:
        CacheError: it is absent or damaged.
    """
    try:
        return read_parquet(folder / f"{name}.parquet")
    except (OSError, ValueError) as error:
        raise _damaged(folder, str(error)) from error


def _damaged(folder: Path, what: str) -> CacheError:
    return CacheError(f"The cache {folder} is damaged: {what}.", "Delete it and make it again.")


def _journal_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The journal's whole lines, each with `read_to`, the byte after it; a torn last line is left out.

    Raises:
        CacheError: a line before it is none that was written here.
    """
    path = folder / "journal.jsonl"
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                entry = {**json.loads(line), "read_to": file.tell()}
            except (ValueError, TypeError) as error:
                raise _damaged(folder, f"a line of {path.name} cannot be read") from error
            if missing := JOURNALED - entry.keys():
                raise _damaged(folder, f"a line of {path.name} lacks {min(missing)}")
            yield entry


def _chunks(rows: Iterable[list[Any]], size: int = 65536) -> Iterator[list[list[Any]]]:
    chunk: list[list[Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
