"""A folder, a tar, or a folder of tars, of pictures and videos that all bear the label given with `--label`.

A CSV of the same name beside a tar, or any CSV inside a folder, may name each file's person: its columns `file` and
`person` make the person the group. One without them is noted, as it may be such a list in another form.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import (
    PICTURES,
    VIDEOS,
    Files,
    Layout,
    Listing,
    Options,
    first_group,
    lumps,
    read_csv,
    still,
    still_notes,
    visible,
)
from facetell.data.manifest import FAKE, Item
from facetell.errors import UsageError


def _recognises(root: Path) -> bool:
    return False  # any folder would do: it is `--label`, or its name, that asks for this layout


def _read(root: Path, options: Options) -> Listing:
    if options.label is None:
        raise UsageError(f"What are the files of {root}?", "Say --label REAL or --label FAKE.")
    items, found, missing, notes = [], set(), [], []
    persons = _persons(root, notes)
    stems: list[tuple[str, str]] = []
    for source in [root, *visible(root.glob("*.tar"))]:  # of a file there is nothing below
        files = Files(source)
        notes += files.notes()
        missing += files.missing
        for name in files.of(PICTURES | VIDEOS):
            found.add(name)
            stem = PurePosixPath(name).with_suffix("").as_posix()
            is_picture = PurePosixPath(name).suffix.lower() in PICTURES
            video, frame = still(stem, options.video_regex) if is_picture else (stem, -1)
            stems.append((stem, video))
            group = persons.get(name, "")
            if options.group_regex is not None:
                group = first_group(options.group_regex, stem, "--group-regex")
            path, member = files.place(name)
            items.append(
                Item(
                    path=path,
                    member=member,
                    label=options.label,
                    dataset=root.resolve().stem if root.is_file() else root.resolve().name,
                    method="unknown" if options.label == FAKE else "",
                    group=group,
                    video=video,
                    frame=frame,
                    crop=options.crop and is_picture,
                )
            )
    if options.video_regex is None:
        notes += still_notes(items, lumps(stems))
    found.update(missing)
    missing += [name for name in persons if name not in found]
    return Listing("flat", items, missing, notes)


def _persons(root: Path, notes: list[str]) -> dict[str, str]:
    """File name -> person, from the CSV beside a tar or those inside a folder; a note of each that tells no persons."""
    tables = [root.with_suffix(".csv")] if root.is_file() else visible(root.glob("*.csv"))
    persons = {}
    for table in tables:
        if table.is_file():
            rows = read_csv(table)
            if {"file", "person"} <= set(rows):
                persons |= dict(zip(rows.file, rows.person, strict=True))
            else:
                notes.append(f"{table.name} tells no persons: it has no columns file and person, parted by commas.")
    return persons


LAYOUT = Layout(
    name="flat",
    looked_for="with --label REAL or --label FAKE, any folder or .tar of pictures or videos",
    recognises=_recognises,
    read=_read,
    uses=("label", "video_regex", "group_regex"),
)
