"""DFDC, Kaggle and full: parts with a `metadata.json` each, or one flat folder with it; the test set with `labels.csv`.

Parts share no people, so the part is the group; in a flat folder the original is. The `split` of `metadata.json` is
always "train" and therefore none, unless the test set lies beside. A video's name is its own over all parts, and in the
sample taken from them.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import (
    VIDEOS,
    Files,
    Layout,
    Listing,
    Options,
    header,
    inside,
    label_of,
    read_csv,
    read_json,
    videos,
    visible,
)
from facetell.data.manifest import FAKE, REAL, Item
from facetell.errors import ManifestError
from facetell.report.text import count

PART = re.compile(r"dfdc_train_part_(\d+)$")
SAMPLE = "train_sample_videos"


def _recognises(root: Path) -> bool:
    return root.is_dir() and bool(_lists(root) or _is_test_list(root / "labels.csv"))


def _lists(root: Path) -> list[Path]:
    """The lists here and one folder down: there in folders of DFDC's names alone, unless every folder has one.

    Others may be data sets of their own, as a flat DFDC is in a folder of several.
    """
    lists = [path for path in sorted(root.glob("*/metadata.json")) if path.is_file()]
    if any(path.is_dir() and path / "metadata.json" not in lists for path in visible(root.iterdir())):
        lists = [
            path for path in lists if _part(path.parent) or SAMPLE in (path.parent.name, path.parent.resolve().name)
        ]
    return [root / "metadata.json", *lists] if (root / "metadata.json").is_file() else lists


def _part(folder: Path) -> re.Match[str] | None:
    """Its number; a part may be a link to a folder of any name."""
    return PART.search(folder.absolute().name) or PART.search(folder.resolve().name)


def _is_test_list(path: Path) -> bool:
    return path.is_file() and [name.lower() for name in header(path)[:2]] == ["filename", "label"]


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("dfdc", [])
    tested = _is_test_list(root / "labels.csv")
    found = _lists(root)
    for path in found:
        _read_part(path, listing, split="train" if tested else "")
    files = Files(root)
    listing.notes += files.closed
    deeper = [name for name in files.names if name.count("/") > 1 and PurePosixPath(name).name == "metadata.json"]
    if deeper:
        lists = count(len(deeper), "list")
        listing.notes.append(f"Left out, as they lie more than one folder down: {lists}, {deeper[0]} first.")
    if tested:
        _read_test(files, listing)
    else:
        listing.notes += _beside(files, {path.relative_to(root).parts[0] for path in found}, deeper)
    return listing


def _read_part(path: Path, listing: Listing, split: str) -> None:
    folder, called, part = path.parent.resolve(), path.parent.absolute().name, _part(path.parent)
    rows = read_json(path)
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ManifestError(f"{path} is no DFDC list.", 'It has to read {"name.mp4": {"label": "FAKE", …}, …}.')
    for name, row in rows.items():
        label = label_of(row.get("label"), f"{path}, {name}")
        file = folder / inside(name, str(path))
        original = row.get("original")
        if not file.is_file():
            listing.missing.append(f"{called}/{name}")
            continue
        listing.items.append(
            Item(
                path=str(file),
                label=label,
                dataset="DFDC",
                method="DFDC" if label == FAKE else "",
                original=Path(original).stem if label == FAKE and isinstance(original, str) else "",  # NaN: unknown
                group=f"part {part[1]}" if part else "",
                split=split,
                video=file.stem,
            )
        )
    unlisted = [path.name for path in videos(folder.iterdir()) if path.name not in rows]
    if unlisted:
        listing.notes.append(f"{count(len(unlisted), 'video')} of {called} in no list, {unlisted[0]} first.")


def _beside(files: Files, parts: set[str], deeper: list[str]) -> list[str]:
    """A sentence on the videos in folders that are no parts, and of which no list further down speaks."""
    known = {str(PurePosixPath(name).parent) for name in deeper}
    places = ((name, PurePosixPath(name)) for name in files.of(VIDEOS))
    others = [
        name for name, at in places if len(at.parts) > 1 and at.parts[0] not in parts and str(at.parent) not in known
    ]
    if not others:
        return []
    left = count(len(others), "video")
    return [f"Left out, as they lie outside the folders whose lists are read: {left}, {others[0]} first."]


def _read_test(files: Files, listing: Listing) -> None:
    trained = {item.path for item in listing.items}
    places = [Path(files.place(name)[0]) for name in files.of(VIDEOS)]
    places.sort(key=lambda place: (str(place) in trained, len(place.parts)))
    first = {place.name: place for place in reversed(places)}
    copies = Counter(place.name for place in places)
    several = 0
    for number, row in enumerate(
        read_csv(files.root / "labels.csv", ("filename", "label")).to_dict("records"), start=2
    ):
        name = inside(row["filename"], f"labels.csv, line {number}")
        label = label_of(row["label"], f"labels.csv, line {number}")
        if name not in first:
            listing.missing.append(name)
            continue
        several += copies[name] > 1
        listing.items.append(
            Item(
                path=str(first[name]),
                label=label,
                dataset="DFDC",
                method="" if label == REAL else "DFDC",
                split="test",
                video=first[name].stem,
            )
        )
    if several:
        listing.notes.append(
            f"Here more than once: {count(several, 'video')} of labels.csv; each is taken where it lies least deep."
        )


LAYOUT = Layout(
    name="dfdc",
    looked_for="metadata.json, here, in dfdc_train_part_*/ or train_sample_videos/, or in every folder; "
    "labels.csv with filename,label",
    recognises=_recognises,
    read=_read,
)
