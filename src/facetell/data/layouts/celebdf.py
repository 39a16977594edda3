"""Celeb-DF v1 and v2. Their `List_of_testing_videos.txt` has no header, and there 1 means REAL.

Whatever the list does not name is training data. Both people of a fake are one group where that leaves groups to split,
else the person in the picture is; in YouTube-real, where people are not known, each video is its own.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from facetell.data.layouts.base import CELEB_DF, Layout, Listing, Options, identities, inside, videos
from facetell.data.manifest import FAKE, REAL, Item
from facetell.errors import ManifestError

LABELS = {"celeb-real": REAL, "youtube-real": REAL, "celeb-synthesis": FAKE}
LIST = "List_of_testing_videos.txt"
VERSIONS = {100: "Celeb-DF v1", 518: "Celeb-DF v2"}  # by the length of the list


def _folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {}
    return {path.name.lower(): path for path in sorted(root.iterdir()) if path.name.lower() in LABELS and path.is_dir()}


def _recognises(root: Path) -> bool:
    return bool(_folders(root))


def _read(root: Path, options: Options) -> Listing:
    listing = Listing("celeb-df", [])
    root = root.resolve()
    test = _test_list(root / LIST)
    dataset = VERSIONS.get(len(test), "Celeb-DF")
    if not test:
        listing.notes.append(f"There is no {LIST}, so no official split.")
    files = [(key, folder, path) for key, folder in _folders(root).items() for path in videos(folder.iterdir())]
    matches = filter(None, (CELEB_DF.match(path.stem) for *_, path in files))
    group_of = identities(((match["target"], match["source"] or match["target"]) for match in matches), listing)
    seen = set()
    for key, folder, path in files:
        label, match = LABELS[key], CELEB_DF.match(path.stem)
        listed, _ = test.get((key, path.stem), (None, ""))
        if listed not in (None, label):
            raise ManifestError(f"{LIST} contradicts the folder of {folder.name}/{path.name}.", "In it, 1 is REAL.")
        seen.add((key, path.stem))
        listing.items.append(
            Item(
                path=str(path),
                label=label,
                dataset=dataset,
                method="Celeb-synthesis" if label == FAKE else "",
                original=f"celeb-real/{match['target']}_{match['take']}" if match and label == FAKE else "",
                group=group_of[match["target"]] if match else "",
                split="" if not test else "train" if listed is None else "test",
                video=f"{key}/{path.stem}",
            )
        )
    listing.missing += [name for key, (_, name) in test.items() if key not in seen]
    return listing


def _test_list(path: Path) -> dict[tuple[str, str], tuple[int, str]]:
    """(folder in lower case, file name without suffix, which copies may change) -> (label, listed file); else empty.

    In the label 1 is FAKE, as everywhere here.
    """
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        flag, _, name = line.strip().partition(" ")
        folder, _, file = inside(name.strip(), f"{path.name}, line {number}").partition("/")
        if flag not in ("0", "1") or folder.lower() not in LABELS:
            raise ManifestError(f"{path.name}, line {number}: {line!r} is not “1 YouTube-real/00170.mp4”.")
        label = REAL if flag == "1" else FAKE
        found[folder.lower(), PurePosixPath(file).stem] = label, f"{folder}/{file}"
    return found


LAYOUT = Layout(
    name="celeb-df",
    looked_for="Celeb-real/, YouTube-real/ and Celeb-synthesis/",
    recognises=_recognises,
    read=_read,
)
