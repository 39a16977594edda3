"""What every layout gives, and the few things that several of them need."""

from __future__ import annotations

import csv
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from pandas.errors import ParserWarning

from facetell.data.manifest import FAKE, LABEL_NAMES, REAL, Item
from facetell.data.tar import members
from facetell.errors import DataError, ManifestError
from facetell.report.text import count

VIDEOS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts"}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif"}
TARGET_ONLY = "The group is the person in the picture; the one whose face was put there may stand in another split."
LISTS = {".csv", ".json", ".jsonl", ".md", ".parquet", ".tar", ".txt"}  # of or about the data, and no item themselves
NUMBER = r"[0-9]{1,9}"  # of a frame; longer ones are times or serial numbers
CELEB_DF = re.compile(r"^(?P<target>id\d+)(_(?P<source>id\d+))?_(?P<take>\d+)$")
DFD = re.compile(r"^(?P<target>\d+)(_(?P<source>\d+))?__(?P<scene>.+?)(__(?P<code>[A-Z0-9]{8}))?$")
STILL_NUMBER = re.compile(rf"^(?P<video>.+?)[_/](?P<frame>{NUMBER})$")


@dataclass(frozen=True, slots=True)
class Options:
    """What a folder alone cannot say.

    Args:
        label: of every item in a flat folder or tar; None where the layout knows it.
        crop: every picture is an already cut-out face.
        video_regex: matched against a picture's name without suffix; its first group is the video's name.
        group_regex: likewise; its first group is the row's group.
    """

    label: int | None = None
    crop: bool = False
    video_regex: str | None = None
    group_regex: str | None = None


@dataclass(slots=True)
class Listing:
    """A data set as it lies on the disk.

    `missing` names what its lists mention and the disk lacks; `notes` are plain sentences on what looks odd.
    """

    layout: str
    items: list[Item]
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which data sets lie on disks.

    Args:
        name: as on the command line.
        looked_for: the files by which it is told, for people.
        recognises: whether the path, which exists, holds it; must be quick and must not raise on strange folders.
        read: everything listed there; raises DataError if it cannot be understood.
        uses: those of the options `label`, `video_regex` and `group_regex` that it heeds.
    """

    name: str
    looked_for: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Options], Listing]
    uses: tuple[str, ...] = ()


class Files:
    """The files of a folder or of an uncompressed tar, by their names relative to it; hidden ones left out.

    `missing` names the links to nothing, of a file or of a folder; `closed` has a sentence on each closed folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.is_tar = root.is_file()
        self.closed: list[str] = []
        self.missing: list[str] = []
        names = members(str(root)) if self.is_tar else self._walk()
        self.names = sorted(name for name in names if not is_hidden(name))

    def _walk(self) -> Iterator[str]:
        """The files in the folder and below, linked folders included."""
        been = set(map(str, Path(os.path.realpath(self.root)).parents))  # links may lead upwards, or twice to a folder
        for folder, folders, names in os.walk(self.root, onerror=self._refused, followlinks=True):
            if (real := os.path.realpath(folder)) in been:
                folders.clear()
                continue
            been.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in (Path(folder, name) for name in sorted(names)):
                name = path.relative_to(self.root).as_posix()
                if path.is_file():
                    yield name
                elif not path.exists() and not is_hidden(name):
                    self.missing.append(name)

    def _refused(self, error: OSError) -> None:
        self.closed.append(f"{error.filename} cannot be read: {error.strerror}.")

    def place(self, name: str) -> tuple[str, str]:
        """The manifest's `path` and `member` of a file."""
        return (str(self.root.resolve()), name) if self.is_tar else (str(self.root.resolve() / name), "")

    def of(self, suffixes: Iterable[str]) -> list[str]:
        """The names with one of these suffixes, in any case."""
        wanted = set(suffixes)
        return [name for name in self.names if PurePosixPath(name).suffix.lower() in wanted]

    def notes(self) -> list[str]:
        """A sentence on the files that are neither pictures nor videos nor lists, and one on each closed folder."""
        others = sorted(set(self.names) - set(self.of(PICTURES | VIDEOS | LISTS)))
        if not others:
            return self.closed
        files = count(len(others), "file")
        return [*self.closed, f"Left out for their suffix: {files} of {self.root.name}, {others[0]} first."]


def is_hidden(name: str) -> bool:
    """Whether a relative name, or a folder in it, begins with a dot, as the `._a.mp4` beside a.mp4 on macOS's disks."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths in their order, less those of hidden names."""
    return [path for path in sorted(paths) if not is_hidden(path.name)]


def videos(paths: Iterable[Path]) -> list[Path]:
    """The paths in their order that are named as videos, and not hidden."""
    return [path for path in visible(paths) if path.suffix.lower() in VIDEOS]


def still(stem: str, video_regex: str | None = None) -> tuple[str, int]:
    """A picture's video and its number there, from its name without suffix: by default a trailing `_<k>` or `/<k>`.

    >>> still("015_919_4"), still("clip/0007"), still("portrait")
    (('015_919', 4), ('clip', 7), ('portrait', -1))
    """
    default = STILL_NUMBER.match(stem)
    number = int(default["frame"]) if default else -1
    if video_regex is not None:
        return first_group(video_regex, stem, "--video-regex"), number
    return (default["video"], number) if default else (stem, -1)


def lumps(pictures: Iterable[tuple[str, str]]) -> set[str]:
    """Of pictures (name without suffix, video), the videos that are folders with more stills than there are folders.

    Numbers alone do not tell a folder of one video's stills from one of a method's pictures; but the former are many.

    >>> sorted(lumps((f"{method}/{k}", method) for method in "ab" for k in range(3)))
    ['a', 'b']
    >>> lumps((f"{clip}/{k}", clip) for clip in "abcd" for k in range(3))
    set()
    """
    sizes = Counter(video for stem, video in pictures if PurePosixPath(stem).parts[:-1] == (video,))
    return {video for video, size in sizes.items() if size > len(sizes)}


def still_notes(items: Sequence[Item], lumped: Collection[str] = ()) -> list[str]:
    """A sentence for each class most of whose pictures are taken as stills of one video, as numbered files are.

    `lumped` names videos of which the same holds together; see `lumps`.

    >>> numbered = [Item(f"{k}.jpg", REAL, video="real", frame=k) for k in range(3)]
    >>> still_notes([*numbered, Item("a.jpg", FAKE, video="a"), Item("b.jpg", FAKE, video="b")])
    ["3 REAL pictures are taken as stills of 1 video; --video-regex says otherwise, '(.+)' that each is its own."]
    """
    notes = []
    for label, name in LABEL_NAMES.items():
        pictures = [
            item.video
            for item in items
            if item.label == label and PurePosixPath(item.member or item.path).suffix.lower() in PICTURES
        ]
        sizes = Counter(pictures)
        together = sum(size for video, size in sizes.items() if video in lumped)
        if len(pictures) > 1 and max(together, *sizes.values()) > len(pictures) / 2:
            notes.append(
                f"{len(pictures)} {name} pictures are taken as stills of {count(len(sizes), 'video')}; "
                "--video-regex says otherwise, '(.+)' that each is its own."
            )
    return notes


def absent_originals(items: Sequence[Item]) -> list[str]:
    """The originals that fakes name and that are not here, in order.

    >>> absent_originals([Item("a.mp4", REAL, video="a"), *(Item(f"{k}.mp4", FAKE, original=k) for k in "cab")])
    ['b', 'c']
    """
    present = {item.video for item in items}
    return sorted({item.original for item in items if item.label == FAKE} - present)


def first_group(pattern: str, text: str, option: str) -> str:
    """What the pattern's first group (or the whole pattern, without groups) matches in `text`.

    Raises:
        ManifestError: the pattern is no regular expression, or does not match.
    """
    try:
        match = re.search(pattern, text)
    except re.error as error:
        raise ManifestError(f"{option} {pattern!r} is not a regular expression: {error}.") from error
    if match is None:
        raise ManifestError(f"{option} {pattern!r} does not match {text!r}.", "Every name has to match.")
    return match[1] if match.re.groups else match[0]


def inside(name: str, where: str) -> str:
    """The name with forward slashes, if it stays within the folder that it is relative to.

    Raises:
        ManifestError: it is absolute or climbs out.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise ManifestError(f"{where}: the path {name!r} leaves the folder.", "Paths are relative to the data set.")
    return parts.as_posix()


def components(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name -> the smallest name that chains of pairs connect it to.

    >>> components([("b", "a"), ("c", "b"), ("x", "x")])
    {'b': 'a', 'a': 'a', 'c': 'a', 'x': 'x'}
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return {name: root(name) for name in parent}


def identities(pairs: Iterable[tuple[str, str]], listing: Listing) -> dict[str, str]:
    """Identity -> its group, from the (target, source) of every fake: both people of a fake belong together.

    Chains of fakes can connect nearly everyone, and one group cannot be split. Where the largest would hold more than
    half of the people, each is a group of their own, and a note of the listing says so.

    >>> listing = Listing("made", [])
    >>> identities([("a", "b"), ("c", "d"), ("d", "e"), ("f", "f")], listing), listing.notes
    ({'a': 'a', 'b': 'a', 'c': 'c', 'd': 'c', 'e': 'c', 'f': 'f'}, [])
    >>> identities([("a", "b"), ("b", "c"), ("d", "d")], listing)["c"], len(listing.notes)
    ('c', 1)
    """
    joined = components(pairs)
    largest = max(Counter(joined.values()).values(), default=0)
    if largest <= len(joined) / 2 or largest == 1:
        return joined
    listing.notes.append(
        f"Fakes connect {largest} of the {len(joined)} people, so no split can keep both people of every fake on one "
        "side: the group is the person in the picture, and the one whose face was put there may stand in another split."
    )
    return {name: name for name in joined}


def swap(name: str) -> tuple[str, str, str] | None:
    """Target, source and original of a video that is named as in Celeb-DF or DFD; a real one is its own original.

    >>> swap("id0_id10_0003"), swap("01_02__walk__YVGY8LOK"), swap("01__walk"), swap("clip_1")
    (('id0', 'id10', 'id0_0003'), ('01', '02', '01__walk'), ('01', '01', '01__walk'), None)
    """
    if match := CELEB_DF.match(name):
        original = f"{match['target']}_{match['take']}"
    elif match := DFD.match(name):
        original = f"{match['target']}__{match['scene']}"
    else:
        return None
    return match["target"], match["source"] or match["target"], original


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from error


def read_csv(path: Path, needed: Iterable[str] = ()) -> pd.DataFrame:
    """A CSV file, every cell a string, empty ones "".

    Raises:
        DataError: it cannot be read, or lacks a column of `needed`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ParserWarning)  # of the commas that end the rows of some lists
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error
    absent = [column for column in needed if column not in table]
    if absent:
        raise DataError(f"{path} has no column {', '.join(absent)}.", f"It has: {', '.join(map(str, table))}.")
    return table


def header(path: Path) -> list[str]:
    """The names of a CSV file's columns, as its first line gives them; none where that is no CSV."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        try:
            return next(csv.reader([file.readline(4096)]), [])
        except csv.Error:
            return []


def label_of(word: object, where: str) -> int:
    """0 or 1 of REAL/FAKE in any case, or of 0/1 (1 is FAKE).

    >>> label_of("Fake", "row 1"), label_of("0", "row 2")
    (1, 0)

    Raises:
        ManifestError: the word is neither.
    """
    known = {"real": REAL, "0": REAL, "fake": FAKE, "1": FAKE}
    label = known.get(str(word).strip().lower())
    if label is None:
        raise ManifestError(
            f"{where}: the label {word!r} is neither REAL nor FAKE.", "Use REAL/FAKE, or 0/1 with 1 = FAKE."
        )
    return label
