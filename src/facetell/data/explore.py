"""A look at a face cache before a detector is trained on it: what is in it, and what shortcuts would give it away."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from sklearn.metrics import roc_auc_score

from facetell.data import charts
from facetell.data.cache import FaceCache
from facetell.data.manifest import FAKE, LABEL_NAMES, REAL, originals
from facetell.data.pairs import face_oval, pair_problems
from facetell.errors import DataError
from facetell.faces.align import TEMPLATE, Geometry, crop_face
from facetell.faces.quality import sharpness
from facetell.report.inline import data_uri, page_style
from facetell.report.text import plain
from facetell.residual import blurred, grey_face, residual

FLAGGED = 0.65  # AUC of a single property above which it is a shortcut
FEWEST_PAIRS = 5  # that differ, for their share to say anything
MOST_FACES = 4000  # whose pictures are read, drawn at random
MOST_TRACKS = 300  # whose flicker is measured
STRIP = 10  # faces in a strip
FACE = Geometry("landmarks", scale=0.9)  # every face is looked at alike, however it is stored
SIDE = 100
SHORTCUTS = {
    "size_bytes": "file size",
    "bytes_per_pixel": "file size per pixel",
    "pixels": "resolution",
    "codec": "codec",
    "frame_rate": "frame rate",
    "duration_s": "duration",
    "bit_rate": "bit rate",
    "eyes_px": "size of the face",
    "crop_px": "size of the stored crop",
}


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How well one property alone tells fake from real.

    `auc` is 0.5 for a property that tells nothing and 1 for one that tells everything, in whichever direction; `higher`
    says which class has the higher values. `pairs` is the share of the pairs that differ in which the fake's value is
    the higher one. Both are None where they cannot be computed.
    """

    name: str
    auc: float | None
    higher: str
    pairs: float | None
    n: int
    flagged: bool


def shortcuts(cache: FaceCache) -> list[Shortcut]:
    """One entry per property of `SHORTCUTS`, from all items of the cache; a codec counts by its share of fakes."""
    items = _items(cache)
    original = pd.Series(originals(items), dtype=int)
    found = []
    for column, name in SHORTCUTS.items():
        values = items[column]
        if column == "codec":
            values = items.label.groupby(items.codec).transform("mean")
        known = values.notna()
        labels, values = items.label[known], values[known].astype(float)
        pairs = None
        if column != "codec":
            gap = values.reindex(original.index).to_numpy() - values.reindex(original).to_numpy()
            gap = gap[np.isfinite(gap) & (gap != 0)]
            pairs = float((gap > 0).mean()) if len(gap) >= FEWEST_PAIRS else None
        auc, higher = None, ""
        if labels.nunique() == 2:
            raw = float(roc_auc_score(labels, values))
            auc, higher = max(raw, 1 - raw), "" if raw == 0.5 else "FAKE" if raw > 0.5 else "REAL"
        flagged = max(auc or 0, *((pairs, 1 - pairs) if pairs is not None else (0,))) > FLAGGED
        found.append(Shortcut(name, auc, higher, pairs, int(known.sum()), flagged))
    return found


def explore(cache: FaceCache, seed: int = 0) -> str:
    """The page, one HTML file that needs nothing else.

    Args:
        cache: a finished cache.
        seed: of the draw of faces whose pictures are looked at.

    Raises:
        DataError: the cache holds no face.
    """
    if not len(cache):
        raise DataError(f"The cache {cache.folder} holds no face.", "Look at its gaps.csv.")
    rng = np.random.default_rng(seed)
    items, faces = _items(cache), _faces(cache)
    drawn = np.sort(rng.permutation(len(cache))[:MOST_FACES])
    pictures = _measured(cache, faces.iloc[drawn])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facetell.data"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    problems = pair_problems(cache.faces)
    return environment.get_template("explore.html").render(
        style=Markup(page_style()),
        name=cache.folder.resolve().name,
        counts=_counts(cache),
        videos=_video_charts(cache, items),
        codecs=items.groupby(["codec", "label"])
        .size()
        .unstack(fill_value=0)
        .reindex(columns=[REAL, FAKE], fill_value=0),
        faces=_face_charts(cache, faces, items, rng),
        pictures=_picture_charts(pictures),
        drawn=len(drawn),
        strips=_strips(cache, faces),
        steps=_steps(cache, faces),
        pairs=_pair_charts(faces),
        problems={what: int(n) for what, n in problems[problems != ""].value_counts().items()},
        paired=int((cache.faces.pair >= 0).sum()),
        shortcuts=shortcuts(cache),
        flagged=FLAGGED,
        gaps=cache.gaps.error.value_counts().to_dict(),
        settings=cache.settings,
    )


def _items(cache: FaceCache) -> pd.DataFrame:
    """One row per readable item: manifest, container and mean size of its faces."""
    items = cache.items.join(cache.manifest, on="item")
    by_item = cache.faces.groupby("item")
    items = items.join(by_item.eyes_px.mean(), on="item").join(by_item.width.mean().rename("crop_px"), on="item")
    items["pixels"] = items.width * items.height
    items["bytes_per_pixel"] = items.size_bytes / items.pixels
    return items


def _faces(cache: FaceCache) -> pd.DataFrame:
    """The faces with label and method; the index is the face's row."""
    return cache.faces.join(cache.manifest[["label", "method", "dataset", "original", "video"]], on="item")


def _counts(cache: FaceCache) -> list[dict[str, Any]]:
    rows = cache.manifest.assign(
        faces=cache.faces.groupby("item").size().reindex(range(len(cache.manifest)), fill_value=0)
    )
    grouped = rows.groupby(["dataset", "label", "method", "split"]).agg(items=("path", "size"), faces=("faces", "sum"))
    table = grouped.reset_index()
    table["share"] = table["items"] / len(rows)
    table["label"] = table.label.map(LABEL_NAMES)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _both(table: pd.DataFrame, column: str) -> Markup:
    values = table[column].to_numpy(float)
    label = table.label.to_numpy()
    return charts.histogram(values[label == REAL], values[label == FAKE])


def _video_charts(cache: FaceCache, items: pd.DataFrame) -> dict[str, Markup]:
    fakes = cache.manifest[(cache.manifest.label == FAKE) & (cache.manifest.original != "")]
    per_original = fakes.groupby(["dataset", "original"]).size().to_numpy(float)
    return {
        "fakes per original": charts.histogram(np.array([]), per_original),
        "duration, seconds": _both(items, "duration_s"),
        "frame rate, frames per second": _both(items, "frame_rate"),
        "resolution, megapixels": _both(items.assign(value=items.pixels / 1e6), "value"),
        "bit rate, megabits per second": _both(items.assign(value=items.bit_rate / 1e6), "value"),
        "file size, kilobytes": _both(items.assign(value=items.size_bytes / 1e3), "value"),
    }


def _face_charts(
    cache: FaceCache, faces: pd.DataFrame, items: pd.DataFrame, rng: np.random.Generator
) -> dict[str, Markup]:
    per_frame = faces.groupby(["item", "frame", "label"]).size().rename("count").reset_index()
    missed = items.assign(missed=1 - items.frames_with_face / items.frames)
    return {
        "faces per frame that has one": _both(per_frame, "count"),
        "distance between the eyes, pixels of the source": _both(faces, "eyes_px"),
        "share of a video's frames in which no face is found": _both(missed, "missed"),
        "flicker: mean change of a face from one sampled frame to the next, 0…255": _both(
            _flicker(cache, faces, rng), "flicker"
        ),
    }


def _flicker(cache: FaceCache, faces: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One row per track of two faces or more: mean absolute difference of consecutive aligned faces."""
    tracks = [rows for _, rows in faces[faces.p0x.notna()].groupby(["item", "track"]) if len(rows) > 1]
    chosen = [tracks[k] for k in np.sort(rng.permutation(len(tracks))[:MOST_TRACKS])]
    found = []
    for rows in chosen:
        pictures = [grey_face(_aligned(cache, row), SIDE) for row in rows.sort_values("frame").index[: 2 * STRIP]]
        changes = [np.abs(one - other).mean() for one, other in pairwise(pictures)]
        found.append((rows.label.iloc[0], float(np.mean(changes))))
    return pd.DataFrame(found, columns=pd.Index(["label", "flicker"]))


def _measured(cache: FaceCache, faces: pd.DataFrame) -> pd.DataFrame:
    """Brightness, sharpness and mean residual of faces, with their labels."""
    oval = face_oval((TEMPLATE * FACE.scale + 50).astype(np.float32), (SIDE, SIDE))
    rows = []
    for row, label in zip(faces.index, faces.label, strict=True):
        face = _aligned(cache, row)
        grey = grey_face(face, SIDE)
        rows.append((label, grey[oval].mean() / 255, sharpness(grey), np.abs(residual(face, SIDE))[oval].mean()))
    return pd.DataFrame(rows, columns=pd.Index(["label", "brightness", "sharpness", "residual"]))


def _aligned(cache: FaceCache, row: int) -> np.ndarray:
    """A face, (SIDE, SIDE, 3), upright and of one size; the whole picture where no points are known."""
    points, picture = cache.points(row), cache.read(row)
    geometry = Geometry("whole") if points is None else FACE
    return crop_face(picture, np.zeros((5, 2)) if points is None else points, (0, 0, 1, 1), geometry, SIDE)


def _picture_charts(measured: pd.DataFrame) -> dict[str, tuple[Markup, str]]:
    """Chart and means per class of each property of the pictures."""
    words = {
        "residual": "mean residual: |face − its Gaussian blur|, 0…255",
        "brightness": "brightness of the face, 0…1",
        "sharpness": "sharpness: variance of the Laplacian over the variance",
    }
    found = {}
    for column, title in words.items():
        means = measured.groupby("label")[column].mean()
        text = ", ".join(
            f"{name} {means[label]:.3g}" for label, name in ((REAL, "real"), (FAKE, "fake")) if label in means
        )
        if measured.label.nunique() == 2:
            text += f"; AUC {roc_auc_score(measured.label, measured[column]):.2f} (above 0.5: fakes have more)"
        found[title] = (_both(measured, column), text)
    return found


def _strips(cache: FaceCache, faces: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Rows of pictures: a real video's faces, their residuals, its fake's and theirs; of stills, several pairs."""
    paired = faces[(faces.pair >= 0) & faces.p0x.notna()]
    if paired.empty:
        chosen = faces[faces.p0x.notna()].head(STRIP).index
        return [("faces", [_uri(_aligned(cache, row)) for row in chosen])]
    lengths = paired.groupby(["item", "track"]).diff_inside.agg(["size", "median"])
    if lengths["size"].max() > 1:
        longest = lengths[lengths["size"] == lengths["size"].max()]
        item, track = longest["median"].sort_values().index[len(longest) // 2]
        paired = paired[(paired["item"] == item) & (paired.track == track)].sort_values("frame")
        names = ("real, consecutive samples", "its fake")
    else:
        paired = paired.sample(min(STRIP, len(paired)), random_state=0)
        names = ("real stills", "their fakes")
    fake = [_aligned(cache, row) for row in paired.index[:STRIP]]
    real = [_aligned(cache, int(row)) for row in paired.pair[:STRIP]]
    return [
        (names[0], [_uri(face) for face in real]),
        ("residual", [_uri(_shown(residual(face, SIDE))) for face in real]),
        (names[1], [_uri(face) for face in fake]),
        ("residual", [_uri(_shown(residual(face, SIDE))) for face in fake]),
    ]


def _steps(cache: FaceCache, faces: pd.DataFrame) -> list[tuple[str, str]]:
    """One face, its grey picture, the blur, and what the blur leaves."""
    best = faces.eyes_px.fillna(0).idxmax()
    face = _aligned(cache, int(best))  # pyright: ignore[reportArgumentType]
    grey = grey_face(face, SIDE)
    blur = blurred(grey)
    steps = (("face", face), ("grey", grey), ("Gaussian blur", blur), ("residual", _shown(grey - blur)))
    return [(name, _uri(picture)) for name, picture in steps]


def _pair_charts(faces: pd.DataFrame) -> dict[str, Markup]:
    """How fakes differ from their originals, inside and outside the face, and over time."""
    paired = faces[faces.diff_inside.notna()]
    if paired.empty:
        return {}
    found = {
        "mean difference from the original: outside the face (first colour), inside (second)": charts.histogram(
            paired.diff_outside.to_numpy(), paired.diff_inside.to_numpy()
        )
    }
    tracks = [rows.sort_values("time_s") for _, rows in paired.groupby(["item", "track"]) if len(rows) > 2]
    if tracks:
        found["difference within the face over time, seconds: one line per fake, twelve at most"] = charts.lines(
            [("fake", rows.time_s.to_numpy(), rows.diff_inside.to_numpy()) for rows in tracks[:12]]
        )
    return found


def _shown(values: np.ndarray) -> np.ndarray:
    """A residual as a grey picture: nothing is middle grey, and 16 levels fill the range."""
    return np.clip(128 + 8 * values, 0, 255)


def _uri(picture: np.ndarray) -> str:
    stored = np.round(picture).astype(np.uint8)
    stored = cv2.cvtColor(stored, cv2.COLOR_RGB2BGR) if stored.ndim == 3 else stored
    data = cv2.imencode(".jpg", stored, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()
    return data_uri(data, "image/jpeg")
