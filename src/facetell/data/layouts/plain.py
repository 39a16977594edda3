"""Folders `real/` and `fake/`, in any case, of videos or pictures; a folder within `fake/` names the method.

The same stem on both sides is one group, and so is a fake with every real video whose name is a part of its own, as in
`<target>_<source>` and `<video>_fake`: the longest of those, the first among equals, is its original. Names as in
Celeb-DF and DFD say more: the original, and the two people of a fake. `--group-regex` says otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import (
    PICTURES,
    VIDEOS,
    Files,
    Layout,
    Listing,
    Options,
    components,
    first_group,
    identities,
    lumps,
    still,
    still_notes,
    swap,
)
from facetell.data.manifest import FAKE, REAL, Item
from facetell.errors import ManifestError

LABELS = {"real": REAL, "fake": FAKE}


@dataclass(frozen=True, slots=True)
class Row:
    """A file: `stem` is its name below `real/` or `fake/` without suffix, `video` what it is, or is a still of."""

    label: int
    path: str
    stem: str
    video: str
    frame: int
    is_picture: bool

    @property
    def name(self) -> str:
        """The video's, without its folders."""
        return PurePosixPath(self.video).name

    @property
    def key(self) -> str:
        """The manifest's `video`."""
        return f"{'real' if self.label == REAL else 'fake'}/{self.video}"

    @property
    def folder(self) -> str:
        """The uppermost; empty for a file right in `real/` or `fake/`."""
        return self.stem.split("/")[0] if "/" in self.stem else ""


def _recognises(root: Path) -> bool:
    return root.is_dir() and any(path.name.lower() in LABELS and path.is_dir() for path in root.iterdir())


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("plain", [])
    rows: list[Row] = []
    folders = sorted(path for path in root.resolve().iterdir() if path.name.lower() in LABELS and path.is_dir())
    called = {folder.name.lower(): folder.name for folder in folders}  # of two alike, the last
    if alike := [folder.name for folder in folders if called[folder.name.lower()] != folder.name]:
        other = called[alike[0].lower()]
        raise ManifestError(f"{root} holds both {alike[0]}/ and {other}/; which is meant?", "Rename or join them.")
    for folder in folders:
        files = Files(folder)
        for name in files.of(PICTURES | VIDEOS):
            stem = PurePosixPath(name).with_suffix("").as_posix()
            is_picture = PurePosixPath(name).suffix.lower() in PICTURES
            video, frame = still(stem, options.video_regex) if is_picture else (stem, -1)
            rows.append(Row(LABELS[folder.name.lower()], files.place(name)[0], stem, video, frame, is_picture))
        listing.notes += files.notes()
        listing.missing += [f"{folder.name}/{name}" for name in files.missing]
    reals: dict[str, set[str]] = defaultdict(set)  # name -> videos
    for row in rows:
        if row.label == REAL:
            reals[row.name].add(row.video)
    parts_of = {name: _parts(name, reals) for name in sorted({row.name for row in rows})}
    group_of = _groups(parts_of, listing)
    lumped = _lumped(rows, group_of) if options.video_regex is None else set()
    clips = any(row.label == REAL and row.folder and row.folder == row.video for row in rows)  # then fakes are so, too
    for row in rows:
        sources = reals.get(row.name) or next((reals[part] for part in parts_of[row.name]), set())
        group = group_of[row.name]
        if options.group_regex is not None:
            group = first_group(options.group_regex, row.stem, "--group-regex")
        method = row.folder
        if method == row.video and (clips or row.key not in lumped):
            method = ""  # the folder of one video's stills
        listing.items.append(
            Item(
                path=row.path,
                label=row.label,
                dataset=root.resolve().name,
                method=method or "unknown" if row.label == FAKE else "",
                original=f"real/{min(sources)}" if row.label == FAKE and len(sources) == 1 else "",
                group=group,
                video=row.key,
                frame=row.frame,
                crop=options.crop and row.is_picture,
            )
        )
    if options.video_regex is None:
        listing.notes += still_notes(listing.items, lumped)
    return listing


def _parts(name: str, reals: Collection[str]) -> list[str]:
    """The real videos' names in a name, the likeliest original first.

    A name as in Celeb-DF or DFD tells one original. In any other they stand between two `_`: the longest first, less
    what is a part of a longer one.

    >>> _parts("015_919", {"015", "919", "015_919"}), _parts("video_1_fake", {"1", "video_1", "video_2"})
    (['015', '919'], ['video_1'])
    """
    if people := swap(name):
        original = people[2]
        return [original] if original in reals and original != name else []
    pieces = name.split("_")
    taken: list[tuple[int, int]] = []
    found = []
    for length in range(len(pieces) - 1, 0, -1):
        for start in range(len(pieces) - length + 1):
            end = start + length
            part = "_".join(pieces[start:end])
            if part in reals and not any(first <= start and end <= last for first, last in taken):
                taken.append((start, end))
                found.append(part)
    return found


def _groups(parts_of: Mapping[str, Sequence[str]], listing: Listing) -> dict[str, str]:
    """Name -> group: a name with its parts, and with the people that a name as in Celeb-DF or DFD tells."""
    swaps = {name: people for name in parts_of if (people := swap(name))}
    person_of = identities((people[:2] for people in swaps.values()), listing)
    pairs = [(name, part) for name, parts in parts_of.items() for part in [name, *parts]]
    return components([*pairs, *((name, person_of[people[0]]) for name, people in swaps.items())])


def _lumped(rows: Sequence[Row], group_of: Mapping[str, str]) -> set[str]:
    """The videos that may be no one video's stills, see `lumps`; but the folder of a fake and of its original are."""
    groups = [{group_of[row.name] for row in rows if row.label == label} for label in (REAL, FAKE)]
    both = groups[0] & groups[1]
    found = {label: lumps((row.stem, row.video) for row in rows if row.label == label) for label in (REAL, FAKE)}
    return {row.key for row in rows if row.video in found[row.label] and group_of[row.name] not in both}


LAYOUT = Layout(
    name="plain",
    looked_for="real/ and fake/",
    recognises=_recognises,
    read=_read,
    uses=("video_regex", "group_regex"),
)
