"""DFDC face crops: one 224×224 JPEG per training video, in `faces_224/` or a tar of it, and a CSV that lists them.

The CSV has videoname, label and original; where it also has `part`, parts share no people, so the part is the group.
Parts below 0 stand for several unknown ones: there the original is the group.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import Files, Layout, Listing, Options, header, label_of, read_csv
from facetell.data.manifest import REAL, Item
from facetell.errors import DataError, ManifestError
from facetell.report.text import count

NEEDED = ("videoname", "label", "original")


def _recognises(root: Path) -> bool:
    return bool(_sources(root))


def _sources(root: Path) -> list[tuple[Path, Path]]:
    """(pictures, CSV): a tar beside the CSV of its own name, or a folder that holds both CSV and `faces_224/`."""
    if root.is_file():
        table = root.with_suffix(".csv")
        return [(root, table)] if root.suffix == ".tar" and _has_columns(table) else []
    tars = [(table.with_suffix(".tar"), table) for table in sorted(root.glob("*.csv"))]
    sources = [(tar, table) for tar, table in tars if tar.is_file() and _has_columns(table)]
    if (root / "faces_224").is_dir():
        sources += [(root, table) for table in sorted(root.glob("*.csv")) if _has_columns(table)]
    return sources


def _has_columns(table: Path) -> bool:
    return table.is_file() and set(NEEDED) <= set(header(table))


def _read(root: Path, options: Options) -> Listing:
    sources = _sources(root)
    if not sources:
        raise DataError(f"{root} holds no pictures with a CSV beside them.", f"Looked for {LAYOUT.looked_for}.")
    listing = Listing("dfdc-faces", [])
    for pictures, table in sources:
        _read_listed(pictures, table, listing)
    return listing


def _read_listed(pictures: Path, table: Path, listing: Listing) -> None:
    """Add what one CSV lists of the pictures beside it."""
    files = Files(pictures)
    listing.notes += files.notes()
    by_stem = {PurePosixPath(name).stem: name for name in files.of({".jpg", ".jpeg", ".png"})}
    labels: dict[str, int] = {}  # of the pictures that a row has named
    repeated = 0
    for number, row in enumerate(read_csv(table, NEEDED).to_dict("records"), start=2):
        stem, original = PurePosixPath(row["videoname"]).stem, PurePosixPath(row["original"]).stem
        label = label_of(row["label"], f"{table.name}, line {number}")
        if stem not in by_stem:
            listing.missing.append(f"{row['videoname']} ({table.name})")
            continue
        if stem in labels:
            if labels[stem] != label:
                raise ManifestError(f"{table.name}, line {number}: {row['videoname']} is REAL and FAKE there.")
            repeated += 1
            continue
        labels[stem] = label
        part = row.get("part", "").removesuffix(".0")  # a column with a gap comes as 3.0
        path, member = files.place(by_stem[stem])
        listing.items.append(
            Item(
                path=path,
                member=member,
                label=label,
                dataset="DFDC",
                method="" if label == REAL else "DFDC",
                original="" if label == REAL else original,
                group=f"part {part}" if part.isdigit() else "",
                split=row.get("split", ""),
                video=stem,
                crop=True,
            )
        )
    if unlisted := len(by_stem) - len(labels):
        listing.notes.append(f"{count(unlisted, 'picture')} of {pictures.name} in no row of {table.name}.")
    if repeated:
        listing.notes.append(f"{count(repeated, 'row')} of {table.name} left out: an earlier one names the same video.")


LAYOUT = Layout(
    name="dfdc-faces",
    looked_for="a CSV with videoname,label,original beside faces_224/ or beside a .tar of the same name",
    recognises=_recognises,
    read=_read,
)
