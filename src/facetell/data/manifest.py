"""A manifest: one row per video or picture of a data set, whatever layout it came in. Label 1 is FAKE.

Columns, in this order:

=============  ======  ==============================================================================================
path           str     the file, or the tar that holds it
member         str     name inside the tar; empty for a file of its own
dataset        str     which data set the row belongs to
label          int     0 REAL, 1 FAKE
method         str     how a fake was made; empty for real ones
original       str     `video` of the real video that a fake was made from; empty if unknown
group          str     what must not be torn apart by a split: identity or original
split          str     train, val, test, or a data set's own word; empty if not split
compression    str     the data set's own word for it, such as c23
video          str     key of the video that the row is, or is a still of
frame          int     the still's number within its video; -1 for a video
crop           bool    the picture is an already cut-out face
=============  ======  ==============================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
from pandas.api.types import is_bool_dtype
from pyarrow import parquet

from facetell.errors import FileMissingError, LeakError, ManifestError, UsageError
from facetell.files import replacing
from facetell.report.text import count

REAL, FAKE = 0, 1
LABEL_NAMES = {REAL: "REAL", FAKE: "FAKE"}


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a manifest; see the module for the meaning of the columns."""

    path: str
    label: int
    dataset: str = ""
    method: str = ""
    original: str = ""
    group: str = ""
    split: str = ""
    compression: str = ""
    video: str = ""
    frame: int = -1
    crop: bool = False
    member: str = ""


COLUMNS = (
    *("path", "member", "dataset", "label", "method", "original", "group", "split", "compression"),
    *("video", "frame", "crop"),
)
TEXT = [column for column in COLUMNS if column not in ("label", "frame", "crop")]


def manifest_of(items: Iterable[Item]) -> pd.DataFrame:
    """The manifest of these items, checked; a row without a group gets its original's, or its own video's key.

    >>> rows = [Item("a.mp4", REAL, video="a"), Item("b.mp4", FAKE, video="b", original="a")]
    >>> manifest_of(rows).group.tolist()
    ['a', 'a']

    Raises:
        ManifestError: as `validate`.
    """
    names = [field.name for field in fields(Item)]
    return validate(pd.DataFrame([asdict(item) for item in items], columns=pd.Index(names)))


def validate(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every column in its order and type; absent columns other than path and label are filled in.

    Raises:
        ManifestError: no path or label column, a row without a path, a label other than 0 and 1, a path (and member)
            that stands in two rows, a frame that is no number.
    """
    for column in ("path", "label"):
        if column not in table:
            raise ManifestError(f"The manifest has no column “{column}”.", f"It has: {', '.join(map(str, table))}.")
    defaults = {"label": REAL, "frame": -1, "crop": False}
    frame = pd.DataFrame({column: table.get(column, defaults.get(column, "")) for column in COLUMNS}, index=table.index)
    frame = frame.reset_index(drop=True)
    frame[TEXT] = as_text(frame[TEXT])
    _refuse(frame.path == "", "has no path", frame)
    _refuse(~frame.label.isin([REAL, FAKE]), "has a label that is neither 0 (REAL) nor 1 (FAKE)", frame)
    twice = frame.duplicated(["path", "member"])
    otherwise = twice & ~frame.duplicated(["path", "member", "label"])
    _refuse(otherwise, "names a file that an earlier row names with the other label", frame)
    _refuse(twice, "names a file that an earlier row names too", frame)
    numbers = pd.to_numeric(frame.frame.where(frame.frame.notna() & (frame.frame != ""), -1), errors="coerce")
    _refuse(~(numbers.between(-1, 2**31 - 1) & (numbers % 1 == 0)), "has a frame that is no whole number", frame)
    frame["label"] = frame.label.astype("int8")
    frame["frame"] = numbers.astype("int32")
    frame["crop"] = frame.crop.astype(bool)
    frame["video"] = frame.video.where(frame.video != "", frame.path + frame.member)
    frame["group"] = frame.group.where(frame.group != "", origin(frame))
    return frame


def origin(rows: pd.DataFrame) -> pd.Series:
    """The key of the real video that each row is of or was made from; its own video's where the original is unknown.

    >>> origin(pd.DataFrame({"original": ["", "a"], "video": ["a", "b"]})).tolist()
    ['a', 'a']
    """
    return rows.original.where(rows.original != "", rows.video)


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every cell a string, absent ones "".

    Whole numbers beside an absent one are floats in pandas and in Parquet; they are written as what they were.

    >>> as_text(pd.DataFrame({"video": [1, 2], "original": [None, 1.0]})).values.tolist()
    [['1', ''], ['2', '1']]
    """
    cells = table.astype(object).where(table.notna(), "")
    return cells.map(lambda cell: str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell))


def items_of(manifest: pd.DataFrame) -> list[Item]:
    """The rows of a manifest as items."""
    return [Item(**{str(name): value for name, value in row.items()}) for row in manifest.to_dict("records")]


def check_leaks(manifest: pd.DataFrame) -> None:
    """Nothing, if every group, and every original with its fakes, stands in one split only.

    Raises:
        LeakError: naming the first that does not.
    """
    rows = manifest[manifest.split != ""]
    for what, key in (("group", rows.group), ("original", origin(rows))):
        splits = rows.split.groupby(rows.dataset + ":" + key).unique()
        torn = splits[splits.map(len) > 1]
        if len(torn):
            raise LeakError(
                f"{count(len(torn), what)} in two splits or more: {torn.index[0]} in {', '.join(torn.iloc[0])}.",
                "Split by group: facetell data prepare --resplit.",
            )


def check_name(path: str | os.PathLike[str]) -> None:
    """Nothing, if a manifest can have this name.

    >>> check_name("set.parquet")

    Raises:
        UsageError: a suffix other than .csv and .parquet.
    """
    if Path(path).suffix not in (".csv", ".parquet"):
        raise UsageError(f"{os.fspath(path)} is no name for a manifest.", "Let it end in .csv or .parquet.")


def write_manifest(manifest: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Check the manifest, leaks included, and write it as CSV or Parquet, by the path's suffix.

    Raises:
        UsageError: as `check_name`.
        ManifestError, LeakError: the manifest is not sound; nothing is written.
        OutputError: the path cannot be written.
    """
    check_name(path)
    manifest = validate(manifest)
    check_leaks(manifest)
    with replacing(path) as part:
        if Path(path).suffix == ".csv":
            manifest.to_csv(part, index=False)
        else:
            manifest.to_parquet(part, index=False)


def read_parquet(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table in a Parquet file, if it is sound; without pandas' notes in it, which may be damaged, too.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    table = parquet.read_table(path)
    table.validate(full=True)
    return table.replace_schema_metadata(None).to_pandas()


def read_manifest(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The manifest in a CSV or Parquet file; relative paths are taken from the folder that holds the file.

    Raises:
        FileMissingError: no such file.
        ManifestError: not a manifest.
    """
    path = Path(path)
    if not path.is_file():
        raise FileMissingError(f"There is no manifest at {path}.")
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(TEXT, str))  # or 071 becomes 71
        else:
            table = read_parquet(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors or OSErrors
        raise ManifestError(f"{path} cannot be read as a manifest: {error}.") from error
    if "crop" in table and not is_bool_dtype(table.crop):
        raise ManifestError(f"{path}: the column “crop” holds something other than True and False.", "Use these.")
    manifest = validate(table)
    manifest["path"] = [os.path.join(path.parent, name) for name in manifest.path]
    return manifest


def refuse_shared(caches: Iterable[pd.DataFrame]) -> None:
    """Nothing, if no file stands in two caches, of which these are the manifests.

    Raises:
        ManifestError: naming the first that does.
    """
    seen: set[tuple[str, str]] = set()
    for manifest in caches:
        files = list(zip(manifest.path, manifest.member, strict=True))
        if shared := [" ".join(filter(None, file)) for file in files if file in seen]:
            raise ManifestError(
                f"{count(len(shared), 'file')} in two caches, {shared[0]} first; their faces would count twice.",
                "Give each cache once, and prepare no file for two.",
            )
        seen.update(files)


def _refuse(bad: pd.Series, problem: str, frame: pd.DataFrame) -> None:
    rows = frame.index[bad.to_numpy()]
    if len(rows):
        row = rows[0]
        where = " ".join(part for part in (str(frame.path[row]), str(frame.member[row])) if part)
        more = f"; {count(len(rows) - 1, 'more row')} like it" if len(rows) > 1 else ""
        raise ManifestError(f"Row {row + 1} of the manifest ({where or 'no path'}) {problem}{more}.")


def originals(items: pd.DataFrame) -> dict[int, int]:
    """Row of a fake -> row of its original, that of the same compression if it is there, else the first.

    >>> rows = manifest_of([Item("a.mp4", 0, "mine", video="a"), Item("b.mp4", 1, "mine", original="a")])
    >>> originals(rows)
    {1: 0}
    """
    reals, fakes = items[items.label == REAL], items[items.label == FAKE]
    rows: dict[tuple, int] = {}
    stored = zip(reals.dataset, reals.video, reals.frame, reals.compression, reals.index, strict=True)
    for *what, compression, row in stored:
        rows.setdefault(tuple(what), row)
        rows.setdefault((*what, compression), row)
    wanted = zip(fakes.dataset, fakes.original, fakes.frame, fakes.compression, fakes.index, strict=True)
    found = {row: rows.get((*what, compression), rows.get(tuple(what))) for *what, compression, row in wanted}
    return {fake: real for fake, real in found.items() if real is not None}
