"""FaceForensics++ and DeepFakeDetection (DFD), in the official tree, with the official split files if they lie there.

A fake `<target>_<source>` was made from the original `<target>`, and the official splits keep the pairs together, so
the group is the pair. DFD's `<target>_<source>__<scene>__<code>` was made from `<target>__<scene>`; there both actors
of a fake are one group where that leaves groups to split, else the target is.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import (
    DFD,
    PICTURES,
    VIDEOS,
    Files,
    Layout,
    Listing,
    Options,
    absent_originals,
    components,
    identities,
    read_json,
)
from facetell.data.manifest import FAKE, REAL, Item
from facetell.errors import ManifestError
from facetell.report.text import count

PAIR = re.compile(r"^(?P<target>\d{3})_(?P<source>\d{3})$")
DFD_FOLDERS = ("actors", "DeepFakeDetection")
MASKS = "masks"  # stands where a compression does: videos of what was altered, not of faces
SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = ("", "splits", "dataset/splits")


def _recognises(root: Path) -> bool:
    return (root / "original_sequences").is_dir() or (root / "manipulated_sequences").is_dir()


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("ffpp", [])
    files = []
    others = []
    for label, folder in ((REAL, "original_sequences"), (FAKE, "manipulated_sequences")):
        if not (root / folder).is_dir():
            continue
        found = Files(root.resolve() / folder)
        listing.notes += found.closed
        listing.missing += [f"{folder}/{name}" for name in found.missing]
        for name in found.of(VIDEOS | PICTURES):
            path = PurePosixPath(name)
            if len(path.parts) == 4 and path.parts[2] == "videos" and path.suffix.lower() in VIDEOS:
                files += [(label, found.root / name)] * (path.parts[1] != MASKS)
            elif MASKS not in path.parts:
                others.append(f"{folder}/{name}")
    if others:
        left = count(len(others), "file")
        listing.notes.append(f"Left out, as it is the videos in */*/videos/ that count: {left}, {others[0]} first.")
    split_of, pairs = _official(root)
    names = {path.stem for _, path in files}
    pairs += [(match["target"], match["source"]) for name in names if (match := PAIR.match(name))]
    group_of = components(pairs)
    actors = [match for _, path in files if path.parts[-4] in DFD_FOLDERS and (match := DFD.match(path.stem))]
    actor_of = identities(((match["target"], match["source"] or match["target"]) for match in actors), listing)
    for label, path in files:
        method, compression = path.parts[-4], path.parts[-3]
        if method in DFD_FOLDERS:
            item = _dfd(path, label, compression, actor_of, listing)
        else:
            match = PAIR.match(path.stem)
            if label == FAKE and match is None:
                listing.notes.append(f"{path.name} of {method} is not named <target>_<source>; it is left out.")
                continue
            target = match["target"] if match else path.stem
            item = Item(
                path=str(path),
                label=label,
                dataset="FaceForensics++",
                method=method if label == FAKE else "",
                original=f"{compression}/youtube/{target}" if label == FAKE else "",
                group=f"pair {group_of.get(target, target)}",
                split=split_of.get(target, ""),
                compression=compression,
                video=f"{compression}/{method}/{path.stem}",
            )
        if item is not None:
            listing.items.append(item)
    listing.missing += [f"original_sequences: {original}" for original in absent_originals(listing.items)]
    if split_of and (absent := len([name for name in split_of if name not in names])):
        listing.notes.append(f"{absent} of the {len(split_of)} originals in the official split files are not here.")
    return listing


def _dfd(path: Path, label: int, compression: str, actor_of: dict[str, str], listing: Listing) -> Item | None:
    match = DFD.match(path.stem)
    if match is None or (match["source"] is not None) != (label == FAKE):
        listing.notes.append(f"{path.name} is not named as DFD names its videos; it is left out.")
        return None
    return Item(
        path=str(path),
        label=label,
        dataset="DeepFakeDetection",
        method="DeepFakeDetection" if label == FAKE else "",
        original=f"{compression}/actors/{match['target']}__{match['scene']}" if label == FAKE else "",
        group=f"actor {actor_of[match['target']]}",
        compression=compression,
        video=f"{compression}/{path.parts[-4]}/{path.stem}",
    )


def _official(root: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Id -> split, and the pairs, of train.json, val.json and test.json."""
    split_of: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for split in SPLITS:
        for path in (root / folder / f"{split}.json" for folder in SPLIT_FOLDERS):
            if not path.is_file():
                continue
            rows = read_json(path)
            try:
                found = [(str(one), str(other)) for one, other in rows]
            except (TypeError, ValueError) as error:
                raise ManifestError(
                    f"{path} is no FaceForensics++ split file.", 'It reads [["071", "054"], …].'
                ) from error
            pairs += found
            split_of |= {name: split for pair in found for name in pair}
    return split_of, pairs


LAYOUT = Layout(
    name="ffpp",
    looked_for="original_sequences/*/*/videos/ and manipulated_sequences/*/*/videos/",
    recognises=_recognises,
    read=_read,
)
