"""The DFDC preview (DFDCP), which is not DFDC: one `dataset.json` keyed by the videos' paths, "set" train or test."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import TARGET_ONLY, Layout, Listing, Options, inside, label_of, read_json
from facetell.data.manifest import FAKE, Item
from facetell.errors import ManifestError


def _recognises(root: Path) -> bool:
    return root.is_dir() and (root / "dataset.json").is_file()


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("dfdc-preview", [])
    path = root / "dataset.json"
    rows = read_json(path)
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ManifestError(f"{path} is no DFDC preview list.", 'It has to read {"method_A/….mp4": {"label": …}, …}.')
    for key, row in rows.items():
        name = PurePosixPath(inside(key, str(path)))
        label = label_of(row.get("label"), f"{path}, {key}")
        file = root.resolve() / name
        if not file.is_file():
            listing.missing.append(key)
            continue
        actor = row.get("target_id") or (name.parts[1] if len(name.parts) > 2 else name.stem)
        listing.items.append(
            Item(
                path=str(file),
                label=label,
                dataset="DFDC preview",
                method=str(name).split("/")[0] if label == FAKE else "",
                group=f"actor {actor}",
                split=str(row.get("set") or ""),
                video=name.with_suffix("").as_posix(),
            )
        )
    if any(item.label == FAKE for item in listing.items):
        listing.notes.append(TARGET_ONLY)
    return listing


LAYOUT = Layout(
    name="dfdc-preview",
    looked_for="dataset.json with method_A/, method_B/, original_videos/",
    recognises=_recognises,
    read=_read,
)
