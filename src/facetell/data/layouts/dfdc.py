"""DFDC, Kaggle and full: parts with a `metadata.json` each, or one flat folder with it; the test set with `labels.csv`.

Parts share no people, so the part is the group; in a flat folder the original is. The `split` of `metadata.json` is
always "train" and therefore none, unless the test set lies beside. A video's name is its own over all parts, and in the
sample taken from them.
"""

from __future__ import annotations

import re
from pathlib import Path

from facetell.data.layouts.base import VIDEOS, Layout, Listing, Options, inside, label_of, read_csv, read_json
from facetell.data.manifest import FAKE, REAL, Item
from facetell.errors import ManifestError

PART = re.compile(r"dfdc_train_part_(\d+)$")


def _recognises(root: Path, options: Options) -> bool:
    return root.is_dir() and bool(_lists(root) or _is_test_list(root / "labels.csv"))


def _lists(root: Path) -> list[Path]:
    return [path for path in (root / "metadata.json", *sorted(root.glob("*/metadata.json"))) if path.is_file()]


def _is_test_list(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline(256).strip().lower().split(",")[:2] == ["filename", "label"]


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("dfdc", [], [])
    tested = _is_test_list(root / "labels.csv")
    for path in _lists(root):
        _read_part(path, listing, split="train" if tested else "")
    if tested:
        _read_test(root, listing)
    return listing


def _read_part(path: Path, listing: Listing, split: str) -> None:
    folder = path.parent.resolve()
    rows = read_json(path)
    part = PART.search(folder.name)
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ManifestError(f"{path} is no DFDC list.", 'It has to read {"name.mp4": {"label": "FAKE", …}, …}.')
    for name, row in rows.items():
        label = label_of(row.get("label"), f"{path}, {name}")
        file = folder / inside(name, str(path))
        original = row.get("original")
        if not file.is_file():
            listing.missing.append(f"{folder.name}/{name}")
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
    unlisted = [path.name for path in folder.iterdir() if path.suffix.lower() in VIDEOS and path.name not in rows]
    if unlisted:
        listing.notes.append(f"{len(unlisted)} videos of {folder.name} stand in no list, {min(unlisted)} first.")


def _read_test(root: Path, listing: Listing) -> None:
    files = {path.name: path for path in sorted(root.resolve().rglob("*")) if path.suffix.lower() in VIDEOS}
    for number, row in enumerate(read_csv(root / "labels.csv", ("filename", "label")).to_dict("records"), start=2):
        name = inside(row["filename"], f"labels.csv, line {number}")
        label = label_of(row["label"], f"labels.csv, line {number}")
        if name not in files:
            listing.missing.append(name)
            continue
        listing.items.append(
            Item(
                path=str(files[name]),
                label=label,
                dataset="DFDC",
                method="" if label == REAL else "DFDC",
                split="test",
                video=files[name].stem,
            )
        )


LAYOUT = Layout(
    name="dfdc",
    looked_for="metadata.json, here or in dfdc_train_part_*/ or train_sample_videos/; labels.csv with filename,label",
    recognises=_recognises,
    read=_read,
)
