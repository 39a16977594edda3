"""DeepfakeBench: a JSON `{dataset: {label: {split: {video: {label, frames: […]}}}}}` of folders of face crops.

FaceForensics++ has one level more there, the compression, between split and video. It also comes as one JSON for each
method, all with the same real videos. Frames are relative to the folder that holds the JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from facetell.data.layouts import ffpp
from facetell.data.layouts.base import (
    NUMBER,
    Layout,
    Listing,
    Options,
    components,
    identities,
    inside,
    read_json,
    swap,
)
from facetell.data.manifest import FAKE, REAL, Item
from facetell.errors import DataError, ManifestError
from facetell.report.text import count

LIST_NAMES = ("metadata.json", "dataset.json", *(f"{split}.json" for split in ffpp.SPLITS))  # of other layouts
HELD_OUT = ("val", "test")  # in rising order; any other split is for training


Row = tuple[str, str, str, str, str, list[Any]]  # data set, label, split, compression, video and frames


def _recognises(root: Path) -> bool:
    return bool(_lists(root))


def _lists(root: Path) -> list[Path]:
    paths = [root] if root.is_file() else sorted(root.glob("*.json"))
    return [path for path in paths if path.suffix == ".json" and path.name not in LIST_NAMES and _fits(path)]


def _fits(path: Path) -> bool:
    try:
        return next(_videos(path), None) is not None
    except DataError:
        return False


def _videos(path: Path) -> Iterator[Row]:
    """The rows of a list; see `Row`."""
    try:
        for dataset, labels in read_json(path).items():
            for label, splits in labels.items():
                for split, videos in splits.items():
                    for name, entry in videos.items():
                        if "frames" in entry:
                            word = str(entry.get("label", label))
                            yield _dataset(dataset, word), word, split, "", name, list(entry["frames"])
                        else:
                            for video, below in entry.items():
                                word = str(below.get("label", label))
                                yield _dataset(dataset, word), word, split, name, video, list(below["frames"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} is no DeepfakeBench list.", f"It has to read {LAYOUT.looked_for}.") from error


def _dataset(name: str, word: str) -> str:
    """One name for all of FaceForensics++, whose methods share the real videos; else the JSON's own."""
    return "FaceForensics++" if word.lower().startswith("ff-") else name


def _label(word: str, where: str) -> int:
    lowered = word.lower()
    if "real" in lowered:
        return REAL
    if "fake" in lowered or lowered.startswith("ff-"):
        return FAKE
    raise ManifestError(f"{where}: the label {word!r} says neither real nor fake.", "DeepfakeBench names both in it.")


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("deepfakebench", [])
    items: list[Item] = []
    lists = {path: list(_videos(path)) for path in _lists(root)}
    names = [name for rows in lists.values() for *_, name, _ in rows]
    group_of = components((match["target"], match["source"]) for name in names if (match := ffpp.PAIR.match(name)))
    person_of = _people(lists.values(), listing)
    for path, rows in lists.items():
        reals = {
            (dataset, name): word for dataset, word, *_, name, _ in rows if _label(word, f"{path.name}, {name}") == REAL
        }
        for dataset, word, split, compression, name, frames in rows:
            label = _label(word, f"{path.name}, {name}")
            target, group = _origin(name, group_of, person_of[dataset])
            prefix = f"{dataset}/{compression}/" if compression else f"{dataset}/"
            real = reals.get((dataset, target)) if label == FAKE else None
            for number, frame in enumerate(frames):
                frame = inside(str(frame), f"{path.name}, {name}")
                file = path.parent.resolve() / frame
                if not file.is_file():
                    listing.missing.append(frame)
                    continue
                items.append(
                    Item(
                        path=str(file),
                        label=label,
                        dataset=dataset,
                        method=word if label == FAKE else "",
                        original="" if real is None else f"{prefix}{real}/{target}",
                        group=group,
                        split=split,
                        compression=compression,
                        video=f"{prefix}{word}/{name}",
                        frame=int(stem) if re.fullmatch(NUMBER, stem := PurePosixPath(frame).stem) else number,
                        crop=True,
                    )
                )
    listing.items, repeated = _once(items)
    if repeated:
        files = count(repeated, "file")
        listing.notes.append(f"Listed in several splits: {files}; each is in the test split, else in val.")
    return listing


def _people(lists: Iterable[list[Row]], listing: Listing) -> dict[str, dict[str, str]]:
    """Data set -> person in its names, as in Celeb-DF and DFD -> the person's group."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for dataset, *_, name, _ in (row for rows in lists for row in rows):
        people = swap(name)
        pairs.setdefault(dataset, []).extend([people[:2]] if people else [])
    return {dataset: identities(found, listing) for dataset, found in pairs.items()}


def _once(items: list[Item]) -> tuple[list[Item], int]:
    """Each file once, in its most held-out split, and how many stood in several: rearrange.py copies test to val.

    Rows that differ in more than the split stay as they are, for the manifest to refuse.
    """
    splits: dict[Item, set[str]] = {}
    for item in items:
        splits.setdefault(replace(item, split=""), set()).add(item.split)
    once = [replace(item, split=max(sorted(names), key=_held_out)) for item, names in splits.items()]
    return once, sum(len(names) > 1 for names in splits.values())


def _held_out(split: str) -> int:
    return HELD_OUT.index(split) if split in HELD_OUT else -1


def _origin(name: str, group_of: dict[str, str], person_of: dict[str, str]) -> tuple[str, str]:
    """The original's name and the group, where the data set's own names tell; UADFV's fake of `0047` is `0047_fake`."""
    if match := ffpp.PAIR.match(name):
        return match["target"], f"pair {group_of[match['target']]}"
    if people := swap(name):
        target, _, original = people
        return original, person_of[target]
    return name.removesuffix("_fake"), f"pair {group_of[name]}" if name in group_of else ""


LAYOUT = Layout(
    name="deepfakebench",
    looked_for="a .json of {dataset: {label: {split: {video: {label, frames}}}}} beside its folders of frames",
    recognises=_recognises,
    read=_read,
)
