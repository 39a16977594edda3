"""DeepfakeTIMIT: `lower_quality|higher_quality/<person>/<clip>-video-<source>.avi`; its reals, VidTIMIT, beside them.

VidTIMIT is looked for in a folder of that name, in any case: `<person>/video/<clip>/<frame>` as published (pictures
without a suffix), or `<person>/<clip>.avi`. The person in the picture is the group.
"""

from __future__ import annotations

import re
from pathlib import Path

from facetell.data.layouts.base import NUMBER, TARGET_ONLY, Layout, Listing, Options, absent_originals, videos
from facetell.data.manifest import FAKE, REAL, Item

QUALITIES = ("lower_quality", "higher_quality")
FAKE_NAME = re.compile(r"^(?P<clip>.+)-video-(?P<source>\w+)$")


def _recognises(root: Path) -> bool:
    return any((root / quality).is_dir() for quality in QUALITIES)


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("deepfake-timit", [])
    root = root.resolve()
    for quality in QUALITIES:
        for path in videos((root / quality).glob("*/*")):
            match = FAKE_NAME.match(path.stem)
            if match is None:
                continue
            person = path.parent.name
            listing.items.append(
                Item(
                    path=str(path),
                    label=FAKE,
                    dataset="DeepfakeTIMIT",
                    method=quality,
                    original=f"{person}/{match['clip']}",
                    group=person,
                    video=f"{quality}/{person}/{path.stem}",
                )
            )
    if listing.items:
        listing.notes.append(TARGET_ONLY)
    for folder in root.iterdir():
        if folder.name.lower() == "vidtimit":
            listing.items += _real(folder)
    listing.missing += [f"VidTIMIT: {original}" for original in absent_originals(listing.items)]
    return listing


def _real(folder: Path) -> list[Item]:
    clips = [(path, path.parent.name, path.stem, -1) for path in videos(folder.glob("*/*"))]
    stills = [
        (path, path.parts[-4], path.parent.name, int(path.stem))
        for path in folder.glob("*/video/*/*")
        if re.fullmatch(NUMBER, path.stem) and path.suffix.lower() in ("", ".jpg", ".png")
    ]
    return [
        Item(
            path=str(path),
            label=REAL,
            dataset="DeepfakeTIMIT",
            group=person,
            video=f"{person}/{clip}",
            frame=frame,
        )
        for path, person, clip, frame in sorted(clips + stills)
    ]


LAYOUT = Layout(
    name="deepfake-timit",
    looked_for="lower_quality/ or higher_quality/, with VidTIMIT/ beside them",
    recognises=_recognises,
    read=_read,
)
