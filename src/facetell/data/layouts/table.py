"""A table, CSV, JSONL or Parquet, with path and label, and any other column of a manifest.

Relative paths are taken from the table's folder and may not leave it. A manifest is such a table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from facetell.data.layouts.base import PICTURES, Layout, Listing, Options, inside, label_of, read_csv, still
from facetell.data.manifest import COLUMNS, Item
from facetell.data.tar import members
from facetell.errors import DataError, ManifestError

TRUE, FALSE = {"true", "1", "yes"}, {"false", "0", "no", ""}


def _recognises(root: Path, options: Options) -> bool:
    if not root.is_file():
        return False
    try:
        return {"path", "label"} <= set(_table(root))
    except DataError:
        return False


def _table(path: Path) -> pd.DataFrame:
    """The table with every cell a string, empty ones "".

    Raises:
        DataError: it cannot be read, or a line of it is broken.
    """
    if path.suffix == ".csv":
        return read_csv(path)
    if path.suffix == ".jsonl":
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            try:
                rows.append({str(key): value for key, value in json.loads(line).items()})
            except (ValueError, AttributeError) as error:
                raise ManifestError(f"{path.name}, line {number} is no JSON object: {line[:60]!r}.") from error
        table = pd.DataFrame(rows)
    elif path.suffix == ".parquet":
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}.") from error
    else:
        raise DataError(f"{path} is no table.", "A table is a .csv, .jsonl or .parquet file.")
    return table.astype(object).where(table.notna(), "").astype(str)


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("table", [])
    table = _table(root)
    absent = {"path", "label"} - set(table)
    if absent:
        raise ManifestError(f"{root} has no column {', '.join(sorted(absent))}.", "A table needs path and label.")
    unknown = [str(column) for column in table if column not in COLUMNS]
    if unknown:
        listing.notes.append(f"Columns that facetell does not use: {', '.join(unknown)}.")
    for number, row in enumerate(table.to_dict("records"), start=1):
        item = _item({str(key): value for key, value in row.items()}, root, f"{root.name}, row {number}", options)
        exists = item.member in members(item.path) if item.member else Path(item.path).is_file()
        if exists:
            listing.items.append(item)
        else:
            listing.missing.append(row["path"])
    return listing


def _item(row: dict[str, Any], root: Path, where: str, options: Options) -> Item:
    if not row["path"].strip():
        raise ManifestError(f"{where} has no path.")
    path = Path(row["path"])
    crop = row.get("crop", "").lower()
    if crop not in TRUE | FALSE:
        raise ManifestError(f"{where}: crop is {crop!r}.", "Use true or false.")
    of_stem = still(path.stem)[1] if Path(row.get("member") or path).suffix.lower() in PICTURES else -1
    frame = row.get("frame", "").removesuffix(".0") or str(of_stem)  # a column with a gap comes as 3.0
    if not frame.lstrip("-").isdigit():
        raise ManifestError(f"{where}: frame is {frame!r}.", "Use a whole number.")
    known = {name: row[name] for name in COLUMNS if name in row}
    full = path if path.is_absolute() else root.resolve().parent / inside(row["path"], where)
    label = label_of(row["label"].removesuffix(".0"), where)
    exact = {"path": str(full), "label": label, "frame": int(frame), "crop": options.crop or crop in TRUE}
    return Item(**{**known, **exact})


LAYOUT = Layout(
    name="table",
    looked_for="a .csv, .jsonl or .parquet file with the columns path and label",
    recognises=_recognises,
    read=_read,
)
