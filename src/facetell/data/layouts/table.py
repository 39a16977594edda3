"""A table, CSV, JSONL or Parquet, with path and label, and any other column of a manifest.

Relative paths are taken from the table's folder and may not leave it. A manifest is such a table. `original` may also
name a real video's file.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from facetell.data.layouts.base import (
    NUMBER,
    PICTURES,
    Layout,
    Listing,
    Options,
    first_group,
    inside,
    label_of,
    read_csv,
    still,
    still_notes,
)
from facetell.data.manifest import COLUMNS, REAL, TEXT, Item, as_text, read_parquet
from facetell.data.tar import members
from facetell.errors import DataError, ManifestError, UsageError

SUFFIXES = (".csv", ".jsonl", ".parquet")
KEYS = {*TEXT} - {"path", "member"}
TRUE, FALSE = {"true", "1", "yes"}, {"false", "0", "no", ""}


def _recognises(root: Path) -> bool:
    return root.is_file() and root.suffix.lower() in SUFFIXES  # what is wrong with it, its reader says


def _table(path: Path) -> pd.DataFrame:
    """The table with every cell a string, empty ones ""; whole numbers as keys without the `.0` that a gap gives them.

    Raises:
        DataError: it cannot be read, or a line of it is broken.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        table = read_csv(path)
        for column in KEYS & set(table):
            if table[column].str.fullmatch(r"-?\d+\.0|").all():
                table[column] = table[column].str.removesuffix(".0")
        return table
    if suffix == ".jsonl":
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                rows.append({str(key): value for key, value in json.loads(line).items()})
            except (ValueError, AttributeError, RecursionError) as error:
                raise ManifestError(f"{path.name}, line {number} is no JSON object: {line[:60]!r}.") from error
        table = pd.DataFrame(rows, dtype=object)
    elif suffix == ".parquet":
        try:
            table = read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}.") from error
    else:
        raise DataError(f"{path} is no table.", "A table is a .csv, .jsonl or .parquet file.")
    return as_text(table)


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("table", [])
    table = _table(root)
    absent = {"path", "label"} - set(table)
    if absent:
        raise ManifestError(f"{root} has no column {', '.join(sorted(absent))}.", "A table needs path and label.")
    if options.video_regex is not None and "video" in table:
        raise UsageError(f"--video-regex is given, but {root} has a column video.", "Leave one of them out.")
    unknown = [str(column) for column in table if column not in COLUMNS]
    if unknown:
        listing.notes.append(f"Columns that facetell does not use: {', '.join(unknown)}.")
    reals: dict[str, str] = {}  # file as the table names it -> video
    for number, row in enumerate(table.to_dict("records"), start=1):
        item = _item({str(key): value for key, value in row.items()}, root, f"{root.name}, row {number}", options)
        if Path(item.path).is_file() and (not item.member or item.member in members(item.path)):
            listing.items.append(item)
            if item.label == REAL:
                reals[item.member or row["path"]] = item.video or item.path + item.member
        else:
            listing.missing.append(f"{row['path']} {item.member}".rstrip())
    listing.items = _with_originals(listing.items, reals)
    if options.video_regex is None and "video" not in table:
        listing.notes += still_notes(listing.items)
    return listing


def _with_originals(items: Sequence[Item], reals: Mapping[str, str]) -> list[Item]:
    """The items; an `original` that is no real video's key, but its file or only the file's name, is made that key."""
    named: dict[str, set[str]] = defaultdict(set)
    for file, video in reals.items():
        named[PurePosixPath(file).name].add(video)
    keys = {name: min(videos) for name, videos in named.items() if len(videos) == 1}
    keys |= {**reals, **{video: video for video in reals.values()}}
    return [replace(item, original=keys.get(item.original, item.original)) for item in items]


def _item(row: dict[str, Any], root: Path, where: str, options: Options) -> Item:
    if not row["path"].strip():
        raise ManifestError(f"{where} has no path.")
    path = Path(row["path"])
    crop = row.get("crop", "").lower()
    if crop not in TRUE | FALSE:
        raise ManifestError(f"{where}: crop is {crop!r}.", "Use true or false.")
    name = PurePosixPath(row["path"]) / row.get("member", "")
    is_picture = name.suffix.lower() in PICTURES
    video, number = _still(name.with_suffix(""), options.video_regex) if is_picture else ("", -1)
    frame = row.get("frame", "").removesuffix(".0") or str(number)  # a column with a gap comes as 3.0
    if not re.fullmatch(f"-?{NUMBER}", frame):
        raise ManifestError(f"{where}: frame is {frame!r}.", "Use a whole number.")
    known = {name: row[name] for name in COLUMNS if name in row}
    full = path if path.is_absolute() else root.resolve().parent / inside(row["path"], where)
    label = label_of(row["label"].removesuffix(".0"), where)
    exact = {
        "path": str(full),
        "label": label,
        "video": row.get("video") or video,
        "frame": int(frame),
        "crop": is_picture and (options.crop or crop in TRUE),
    }
    return Item(**{**known, **exact})


def _still(name: PurePosixPath, video_regex: str | None) -> tuple[str, int]:
    """As `still` with the folder before it; but `<folder>/<k>` is no still: tables list unrelated pictures so, too."""
    video, frame = still(name.name)
    if video_regex is not None:
        return first_group(video_regex, name.as_posix(), "--video-regex"), frame
    return (name.parent / video).as_posix(), frame


LAYOUT = Layout(
    name="table",
    looked_for="a .csv, .jsonl or .parquet file with the columns path and label",
    recognises=_recognises,
    read=_read,
    uses=("video_regex",),
)
