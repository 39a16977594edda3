"""Folders `real/` and `fake/`, in any case, of videos or pictures; a folder within `fake/` names the method.

The same stem on both sides is one group, and so is a fake with every real video whose name is a part of its own, as in
`<target>_<source>`: the first of those is its original. `--group-regex` says otherwise.
"""

from __future__ import annotations

from collections import defaultdict
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
    still,
    still_notes,
)
from facetell.data.manifest import FAKE, REAL, Item

LABELS = {"real": REAL, "fake": FAKE}


def _recognises(root: Path, options: Options) -> bool:
    return root.is_dir() and any(path.name.lower() in LABELS and path.is_dir() for path in root.iterdir())


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("plain", [])
    rows = []
    for folder in sorted(path for path in root.resolve().iterdir() if path.name.lower() in LABELS and path.is_dir()):
        files = Files(folder)
        for name in files.of(PICTURES | VIDEOS):
            stem = PurePosixPath(name).with_suffix("").as_posix()
            is_picture = PurePosixPath(name).suffix.lower() in PICTURES
            video, frame = still(stem, options.video_regex) if is_picture else (stem, -1)
            first = PurePosixPath(name).parts[0]
            method = first if "/" in name and first != video else "unknown"  # not the folder of one video's stills
            rows.append((LABELS[folder.name.lower()], files.place(name)[0], stem, video, frame, is_picture, method))
        listing.notes += files.notes()
    reals: dict[str, set[str]] = defaultdict(set)  # name -> videos
    for label, _, _, video, *_ in rows:
        if label == REAL:
            reals[PurePosixPath(video).name].add(video)
    names = {PurePosixPath(video).name for _, _, _, video, *_ in rows}
    group_of = components((name, part) for name in names for part in [name, *_parts(name, reals)])
    for label, path, stem, video, frame, is_picture, method in rows:
        name = PurePosixPath(video).name
        sources = reals.get(name) or next((reals[part] for part in _parts(name, reals)), set())
        group = group_of[name]
        if options.group_regex is not None:
            group = first_group(options.group_regex, stem, "--group-regex")
        listing.items.append(
            Item(
                path=path,
                label=label,
                dataset=root.resolve().name,
                method=method if label == FAKE else "",
                original=f"real/{min(sources)}" if label == FAKE and len(sources) == 1 else "",
                group=group,
                video=f"{'real' if label == REAL else 'fake'}/{video}",
                frame=frame,
                crop=options.crop and is_picture,
            )
        )
    if options.video_regex is None:
        listing.notes += still_notes(listing.items)
    return listing


def _parts(name: str, reals: dict[str, set[str]]) -> list[str]:
    """The real videos' names among the parts of a name that `_` separates, in their order."""
    return [part for part in name.split("_") if part in reals and part != name]


LAYOUT = Layout(
    name="plain",
    looked_for="real/ and fake/",
    recognises=_recognises,
    read=_read,
    uses=("video_regex", "group_regex"),
)
