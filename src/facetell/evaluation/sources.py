"""What `--data` may name, as one manifest; and lists of data sets in TOML, with what a folder alone cannot say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from facetell.data.layouts import Options, read
from facetell.data.layouts.base import label_of
from facetell.data.manifest import COLUMNS, LABEL_NAMES, manifest_of, read_manifest, validate
from facetell.errors import DataError, FileMissingError, UsageError
from facetell.evaluation.scoring import LABELS, are_stills
from facetell.report.text import count as counted

CALLED_AFTER_FOLDERS = ("plain", "flat")  # layouts of which the data set's name is the folder's, or the tar's


@dataclass(frozen=True, slots=True)
class Found:
    """What data sources hold.

    Attributes:
        manifest: a row for every item that is there.
        missing: what the sources list and the disk lacks.
        notes: plain sentences on what looks odd.
        folders: data set -> the folder, or tar, that it is called after; without those whose names are said otherwise.
    """

    manifest: pd.DataFrame
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One set of a benchmark.

    Args:
        name: as it stands in the tables.
        data: what `--data` of `facetell evaluate` takes, relative to the benchmark's folder.
        source: how the cards of detectors name the collection it is from. A detector trained on that was trained on
            these very videos, and is not measured on them.
        unseen: no detector was trained on these videos or their people; one trained on others of the collection is
            measured, and marked.
        compression: in words; how the manifest says it, if empty.
        label, split, layout, crop: as for `facetell evaluate`.
        aggregation: part of the study of aggregation.
        robustness: videos of either class, at most, in the study of robustness.
    """

    name: str
    data: tuple[str, ...]
    source: str = ""
    unseen: bool = False
    compression: str = ""
    label: str | None = None
    split: str | None = None
    layout: str | None = None
    crop: bool = False
    aggregation: bool = False
    robustness: int = 0

    def of_source(self, training_data: str) -> bool:
        """Whether a detector with this training data was trained on the set's collection.

        >>> DataSet(name="clips", data=("x",), source="SDFVD").of_source("sdfvd and FaceForensics++, the train split")
        True
        >>> DataSet(name="clips", data=("x",), source="DFD").of_source("dfdc_faces, real faces")
        False
        """
        whole = rf"(?<![^\W_]){re.escape(self.source)}(?![^\W_])"  # dfdc_faces is of DFDC, and not of DFD
        return bool(self.source) and re.search(whole, training_data, re.IGNORECASE) is not None

    def seen_by(self, training_data: str) -> bool:
        """Whether a detector with this training data was trained on the set's very videos."""
        return not self.unseen and self.of_source(training_data)

    def find(self, folder: Path) -> Found:
        """What it holds, with paths below `folder`; errors as of `find`."""
        known = None if self.label is None else label_of(self.label, self.name)
        options = Options(label=known, crop=self.crop)
        return find([folder / path for path in self.data], options, self.layout, self.split)


def read_sets(path: Path) -> list[DataSet]:
    """The `[[set]]` tables of a TOML file.

    Raises:
        FileMissingError: no such file.
        DataError: not TOML, no set, a key that is unknown, missing, empty, negative or of the wrong type.
        UsageError: a name that stands twice.
    """
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file).get("set", [])
    except OSError as error:
        raise FileMissingError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}.") from error
    types = {"data": list, "unseen": bool, "crop": bool, "aggregation": bool, "robustness": int}
    known = {field.name: types.get(field.name, str) for field in fields(DataSet)}
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise DataError(f"{path} names no data set.", "Each is a table [[set]] with name and data.")
    for table in tables:
        for key, value in table.items():
            if key not in known or type(value) is not known[key]:
                what = "is not known" if key not in known else f"must be of type {known[key].__name__}"
                raise DataError(f"{path}: the key {key!r} of a set {what}.", f"There are: {', '.join(known)}.")
        if missing := {key for key in ("name", "data") if not table.get(key)}:
            raise DataError(f"{path}: a set has no {min(missing)}.")
        if table.get("robustness", 0) < 0:
            raise DataError(f"{path}: the key 'robustness' of a set must not be negative.")
    sets = [DataSet(**{**table, "data": tuple(map(str, table["data"]))}) for table in tables]
    refuse_twice([one.name for one in sets], f"sets of {path}")
    return sets


def find(
    sources: Sequence[Path],
    options: Options | None = None,
    layout: str | None = None,
    split: str | None = None,
) -> Found:
    """The items of every source, one below the other.

    Args:
        sources: folders in a known layout, tars, tables, manifests, or caches with a `manifest.parquet`. A Parquet
            file that facetell did not write is a table, as every CSV is.
        options: what a folder alone cannot say.
        layout: of the folders, instead of recognising it.
        split: only the rows of this split, in capitals or not.

    Raises:
        DataError: a source that is none of these, of which nothing is there, or that says otherwise than the label
            that the options give all of it; no row of that split.
        ManifestError: a file that stands in two sources.
        FileMissingError: nothing there.
    """
    options = options or Options()
    parts = tell_apart([_one(source, options, layout) for source in sources])
    manifest = validate(pd.concat([part.manifest for part in parts], ignore_index=True))
    missing = [path for part in parts for path in part.missing]
    notes = [note for part in parts for note in part.notes] + _pooled(parts)
    folders = {name: folder for part in parts for name, folder in part.folders.items()}
    if split is None:
        return Found(manifest, missing, notes, folders)
    rows = manifest[manifest.split.str.lower() == split.lower()]
    if rows.empty:
        known = ", ".join(sorted(set(manifest.split) - {""})) or "none"
        raise DataError(f"No row belongs to split {split!r}.", f"The splits are: {known}.")
    return Found(rows.reset_index(drop=True), missing, notes, folders)


def tell_apart(parts: Sequence[Found]) -> list[Found]:
    """The same, with no data set called as another is, so that no videos or groups of two are taken for one.

    A folder that shares its name with another, or with a data set that says its name, gets as many last parts of its
    path as tell the folders apart. Data sets that say one name themselves are parts of one.
    """
    known: dict[str, set[Path | None]] = {}
    for part in parts:
        for name in part.manifest.dataset.unique():
            known.setdefault(name, set()).add(part.folders.get(name))
    names = {}
    for name in (name for name, whose in known.items() if len(whose) > 1):
        folders = [folder for folder in known[name] if folder is not None]
        depth = next(n for n in count(2) if len({folder.parts[-n:] for folder in folders}) == len(folders))
        names |= {folder: Path(*folder.parts[-depth:]).as_posix() for folder in folders}
    return [_renamed(part, names) for part in parts]


def _renamed(part: Found, names: Mapping[Path, str]) -> Found:
    new = {old: names[folder] for old, folder in part.folders.items() if folder in names}
    if not new:
        return part
    notes = [f"{part.folders[old]} is called {name}, as another data set is called {old}." for old, name in new.items()]
    return replace(
        part,
        manifest=part.manifest.assign(dataset=part.manifest.dataset.replace(new)),
        notes=part.notes + notes,
        folders={new.get(name, name): folder for name, folder in part.folders.items()},
    )


def _pooled(parts: Sequence[Found]) -> list[str]:
    """A sentence on the videos of which several sources have stills."""
    stills = [part.manifest[are_stills(part.manifest)] for part in parts]
    videos = pd.concat([rows[list(LABELS)].drop_duplicates() for rows in stills])
    if (shared := videos[videos.duplicated()]).empty:
        return []
    return [
        f"Several sources have stills of {counted(shared.video.size, 'video')}, {shared.video.iat[0]} first; each is "
        "taken for one. If these are different data sets, name them in a column dataset."
    ]


def _one(source: Path, options: Options, layout: str | None) -> Found:
    found = _listed(source, options, layout)
    if options.label is not None and (found.manifest.label != options.label).any():
        raise DataError(
            f"{source} says itself what is fake, and not that all is {LABEL_NAMES[options.label]}.",
            "Leave the label out, or give another source.",
        )
    return found


def _listed(source: Path, options: Options, layout: str | None) -> Found:
    if layout is None:
        cached = source / "manifest.parquet"
        if _is_manifest(source) or cached.is_file():
            return Found(read_manifest(cached if source.is_dir() else source), notes=_unused(source, options))
    listing = read(source, options, layout)
    gone = listing.missing
    if not listing.items and not gone:
        raise DataError(f"Nothing of {source} is left. {' '.join(listing.notes)}", "Rename its files.")
    if not listing.items:
        raise DataError(
            f"Nothing that {source} lists is there: {counted(len(gone), 'file')}, {gone[0]} first.",
            "Is the list from another machine? Correct its paths.",
        )
    manifest, folder = manifest_of(listing.items), source.resolve()
    folders = {str(name): folder for name in manifest.dataset.unique() if listing.layout in CALLED_AFTER_FOLDERS}
    return Found(manifest, listing.missing, listing.notes, folders)


def _unused(source: Path, options: Options) -> list[str]:
    """A sentence on the options that a manifest, which says all of this itself, does not heed."""
    given = {"--crop": options.crop, "--video-regex": options.video_regex, "--group-regex": options.group_regex}
    if unused := [name for name, value in given.items() if value]:
        return [f"{source} is facetell's own list and says itself what {', '.join(unused)} would say."]
    return []


def _is_manifest(path: Path) -> bool:
    """Whether this is a Parquet file as `write_manifest` leaves it; another table may say its labels in words."""
    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError):  # pyarrow's errors are ValueErrors or OSErrors; who reads the table will say so
        return False
    return tuple(schema.names) == COLUMNS and pa.types.is_integer(schema.field("label").type)


def refuse_twice(names: Sequence[str], what: str, advice: str = "Each needs a name of its own.") -> None:
    """Nothing, if all names differ.

    Raises:
        UsageError: naming the one that stands twice.
    """
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"Two {what} are called {min(twice)}.", advice)
