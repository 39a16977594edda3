"""Verdicts as one self-contained HTML page: nothing is loaded from anywhere, no script runs but the page's own.

Every value goes through `plain` and Jinja's autoescape; the Content-Security-Policy allows pictures in data URIs, and
exactly the style and the script that are written here, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

import facetell
from facetell.report.heat import glow, worth
from facetell.report.inline import data_uri, page_style
from facetell.report.text import (
    MEANING,
    about,
    clock,
    count,
    is_still,
    moments,
    percent,
    plain,
    probability,
    sampling,
    score_and_threshold,
    strongest,
    unfounded,
    unprotected,
)
from facetell.report.timing import longest_gap, runs
from facetell.scanning.verdict import sigmoid
from facetell.types import DetectorInfo, FaceScore, Label, TrackScore, Verdict, VideoInfo

if TYPE_CHECKING:
    from facetell.detectors import DetectorCard

_FACES = 3  # in each row, most and least suspicious
_PICTURE = 160  # pixels, the longer side of a face's picture
_THUMB = 72  # of those that only show over the chart
_PLOT_TOP, _PLOT_HEIGHT = 10, 110  # pixels, as page.html draws the chart
_RARE = 0.01  # the share of fakes for which P(fake) is said a second time

_WORDS = {
    Label.FAKE: "Fake",
    Label.REAL: "Real",
    Label.INCONCLUSIVE: "Inconclusive",
    Label.NO_FACE: "No face",
    Label.ERROR: "Error",
}
_NOT_MEANT = {
    Label.FAKE: (
        "It is no proof. It does not say who altered the face, or why; beauty filters and heavy compression can look "
        "alike. Sound and what is said were not examined."
    ),
    Label.REAL: (
        "It does not vouch for the video. Manipulations that the detector was not trained on, and changes to sound, "
        "words or surroundings, stay unseen."
    ),
    Label.INCONCLUSIVE: (
        "It is no half-fake. It means that this detector should not be relied on for this video: look for a better "
        "copy of it, or for other evidence."
    ),
}


def page(verdicts: Sequence[Verdict], card: DetectorCard | None = None) -> str:
    """One page on all verdicts, with an index where there are several.

    Args:
        card: the detector's own, for its known limits and how it was measured; without it that part is short.

    >>> text = page([Verdict("<b>.mp4", Label.NO_FACE)])
    >>> "&lt;b&gt;.mp4" in text, "<b>.mp4" in text
    (True, False)
    """
    whole = Page(card)
    for verdict in verdicts:
        whole.add(verdict)
    return whole.text()


class Page:
    """As `page`, for verdicts that come one by one: it keeps their pictures as small as it shows them.

    Args:
        card: as for `page`.
    """

    def __init__(self, card: DetectorCard | None = None) -> None:
        self._card = card
        self._names: list[str] = []
        self._views: list[dict[str, Any]] = []
        self._detectors: dict[str, DetectorInfo] = {}

    def add(self, verdict: Verdict) -> None:
        self._names.append(f"{verdict.path}: {verdict.label}")
        self._views.append(_view(verdict, f"f{len(self._names)}"))
        if verdict.detector:
            self._detectors[verdict.detector.sha256] = verdict.detector

    def text(self) -> str:
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("facetell.report"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=lambda value: plain(value) if type(value) is str else value,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        assert environment.loader is not None
        style, script = page_style(), environment.loader.get_source(environment, "page.js")[0]
        policy = (
            f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
            "base-uri 'none'; form-action 'none'"
        )
        names = self._names
        return environment.get_template("page.html").render(
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            version=facetell.__version__,
            title=f"facetell – {names[0] if len(names) == 1 else count(len(names), 'file')}",
            verdicts=self._views,
            detectors=list(self._detectors.values()),
            card=None if self._card is None else _card(self._card),
        )


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _view(verdict: Verdict, key: str) -> dict[str, Any]:
    """What the template shows of one verdict; `key` begins the ids of its pictures."""
    scored = verdict.p_fake is not None
    held = verdict.threshold is not None and not unfounded(verdict)
    p_fake, threshold = score_and_threshold(verdict)
    end_s = _end(verdict)
    gap = longest_gap(verdict.tracks)
    people = [_person(verdict, track, f"{key}-{number}", end_s, gap) for number, track in enumerate(verdict.tracks)]
    if scored:
        people.sort(key=lambda person: (person["counts"], person["rank"]), reverse=True)
    return {
        "path": verdict.path,
        "label": verdict.label,
        "words": _WORDS[verdict.label],
        "tone": verdict.label.lower(),
        "lead": _lead(verdict),
        "reasons": verdict.reasons,
        "error": verdict.error,
        "scored": scored,
        "still": is_still(verdict),
        "p_fake": p_fake,
        "score_x": _x(verdict.p_fake or 0.0, 1.0),
        "threshold": threshold if held else "",
        "threshold_x": _x(verdict.threshold or 0.0, 1.0),
        "threshold_y": _y(verdict.threshold or 0.0),
        "threshold_anchor": _anchor(_x(verdict.threshold or 0.0, 1.0)),
        "meaning": _meaning(verdict),
        "threshold_meaning": _threshold_meaning(verdict),
        "not_meant": _NOT_MEANT.get(verdict.label, ""),
        "people": people,
        "has_heat": any(face["heat"] for person in people for row in person["rows"] for face in row["faces"]),
        "ticks": _ticks(end_s),
        "coverage": _coverage(verdict),
        "seconds": [(stage, f"{seconds:.2f}") for stage, seconds in verdict.seconds.items()],
        "file": [] if verdict.video is None else _file(verdict.video),
        "sha256": verdict.sha256,
        "provenance": _provenance(verdict),
        "tags": verdict.provenance.tags,
        "notes": verdict.provenance.notes,
    }


# Words --------------------------------------------------------------------------------------------------------------


def _lead(verdict: Verdict) -> str:
    text = unfounded(verdict) or MEANING[verdict.label]
    grounds = [track for track in verdict.tracks if track.counts and track.label is Label.FAKE]
    if grounds:
        worst = max(grounds, key=lambda track: track.p_fake)
        when = moments(worst, verdict)
        seen = ("", ", seen at {}", ", seen from {} to {}")[len(when)].format(*when)
        text += f" The verdict rests on person {worst.id}{seen}."
    return text


def _meaning(verdict: Verdict) -> str:
    if verdict.p_fake is None:
        return ""
    if unfounded(verdict):
        return "Here it means nothing known: no share of fakes is claimed for it, and no threshold is held against it."
    text = (
        f"Of all videos with this score, {about(verdict.p_fake)} would be fake, if {percent(verdict.prior)} of all "
        "videos were."
    )
    if verdict.prior > _RARE and 0 < verdict.p_fake < 1:
        odds = verdict.p_fake / (1 - verdict.p_fake) * (1 - verdict.prior) / verdict.prior * _RARE / (1 - _RARE)
        text += f" Were only {percent(_RARE)} of them fake, it would be {about(odds / (1 + odds))}."
    return text


def _threshold_meaning(verdict: Verdict) -> str:
    if unfounded(verdict):
        return ""
    if verdict.threshold is None:
        return "This detector has no threshold for the rate that was asked for, so no video can be called FAKE by it."
    text = "A video is called FAKE at this P(fake) and above."
    if verdict.false_positive_rate is not None:
        text += f" It was set so that {percent(verdict.false_positive_rate)} of real videos are called FAKE by mistake."
    if verdict.provisional:
        text += " It is provisional: it was read off few or unlike real videos, so take that rate as an aim."
    return text


def _coverage(verdict: Verdict) -> list[tuple[str, str]]:
    seen = verdict.coverage
    rows = [
        ("Frames sampled", f"{seen.frames_sampled:,}"),
        ("With a face", f"{seen.frames_with_face:,}"),
        ("Faces", f"{seen.faces:,}"),
        ("Unusable", f"{seen.faces_unusable:,}"),
    ]
    if said := sampling(verdict.sample):
        rows.insert(0, ("Looked at", said))
    rows += [(f"– {gate}", f"{number:,}") for gate, number in seen.problems.items()]
    if seen.frames_lost:
        rows.append(("Missing or not decodable", count(seen.frames_lost, "more frame")))
    if seen.corrupt_packets:
        rows.append(("Corrupt packets", f"{seen.corrupt_packets:,} skipped"))
    if said := unprotected(verdict.unprotected):
        rows.append(("Protection", said))
    return rows


def _file(video: VideoInfo) -> list[tuple[str, str]]:
    rows = [("Container", video.container), ("Codec", video.codec), ("Picture", f"{video.width} × {video.height}")]
    if video.is_still:
        rows.append(("Kind", "a still"))
    if video.frame_rate is not None:
        varies = ", variable" if video.variable_frame_rate else ""
        rows.append(("Frame rate", f"{float(video.frame_rate):.4g} per second{varies}"))
    if video.duration_s is not None and not video.is_still:
        rows.append(("Duration", clock(video.duration_s)))
    if video.frame_count is not None:
        rows.append(("Frames", f"{video.frame_count:,}"))
    if video.rotation:
        rows.append(("Rotation", f"{video.rotation}°"))
    if video.pixel_format:
        rows.append(("Pixels", f"{video.pixel_format}, {video.bit_depth} bit"))
    if video.transfer:
        rows.append(("Transfer", video.transfer))
    if video.interlaced:
        rows.append(("Scan", "interlaced"))
    if video.bit_rate:
        rows.append(("Bit rate", f"{video.bit_rate / 1000:,.0f} kbit/s"))
    if video.audio is not None:
        sound = video.audio
        rows.append(("Sound", f"{sound.codec}, {sound.sample_rate:,} Hz, {count(sound.channels, 'channel')}"))
    if video.size_bytes:
        rows.append(("Size", f"{video.size_bytes:,} bytes"))
    return rows


def _provenance(verdict: Verdict) -> list[tuple[str, str]]:
    told = verdict.provenance
    rows = [("Encoder", told.encoder), ("Created", told.created), ("Device", told.device)]
    return [(name, value) for name, value in rows if value]


def _card(card: DetectorCard) -> dict[str, Any]:
    facts = [("Training data", card.training_data), ("Kind", card.kind), ("Input", f"{card.input_size} px")]
    facts += [("Calibration", card.calibration.method), ("Licence", card.licence)]
    return {
        "description": card.description,
        "limits": card.limits,
        "heat": worth(card),
        "facts": [(name, value) for name, value in facts if value],
        "provisional": card.provisional,
        "thresholds": [
            {
                "rate": percent(row.false_positive_rate),
                "p_fake": "–" if row.logit is None else probability(sigmoid(row.logit)),
                "source": f"{row.source} (n = {row.n_real})",
            }
            for row in card.thresholds
        ],
        "metrics": [(name, list(_entries(value))) for name, value in card.metrics.items()],
    }


def _entries(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Nested figures as rows: ("auc", "0.83"), ("auc low", "0.8")."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _entries(part, f"{name} {key}".strip())
    elif isinstance(value, float):
        yield name, f"{value:.4g}"
    elif isinstance(value, (list, tuple)):
        yield name, " – ".join(f"{part:.4g}" if isinstance(part, float) else str(part) for part in value)
    else:
        yield name, str(value)


# Charts -------------------------------------------------------------------------------------------------------------


def _end(verdict: Verdict) -> float:
    """Seconds that the charts' time axis is long."""
    length = verdict.video.duration_s if verdict.video is not None else None
    return max([length or 0.0, *(track.end_s for track in verdict.tracks)])


def _x(value: float, whole: float) -> float:
    return round(100 * min(max(value / whole, 0.0), 1.0), 2) if whole else 0.0


def _y(p_fake: float) -> float:
    return round(_PLOT_TOP + _PLOT_HEIGHT * (1 - p_fake), 1)


def _anchor(x: float) -> str:
    return "start" if x < 8 else "end" if x > 92 else "middle"


def _ticks(end_s: float) -> list[dict[str, Any]]:
    """Five or so round moments along the axis."""
    if not end_s:
        return []
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
    step = next((step for step in steps if end_s / step <= 6), end_s / 5)
    marks = [{"x": _x(time_s, end_s), "text": clock(time_s)} for time_s in np.arange(0, end_s + step / 100, step)]
    return [{**mark, "anchor": _anchor(mark["x"])} for mark in marks]


def _person(verdict: Verdict, track: TrackScore, key: str, end_s: float, gap: float) -> dict[str, Any]:
    ids = {id(score): f"{key}-{number}" for number, score in enumerate(track.scores)}
    pictured = sorted((score for score in track.scores if score.crop is not None), key=lambda score: -score.p_fake)
    if len(pictured) >= 2 * _FACES:
        rows = [("Most suspicious", pictured[:_FACES]), ("Least suspicious", pictured[: -_FACES - 1 : -1])]
    else:
        rows = [("Faces, the most suspicious first", pictured)] if pictured else []
    shown = {id(score) for _, faces in rows for score in faces}
    remarks = [
        " – ".join(moments(track, verdict)),
        strongest(track),
        "score means nothing known" if track.doubt and track.counts else "",
        "" if track.counts else "too few usable faces to count",
    ]
    return {
        "id": track.id,
        "label": track.label,
        "tone": track.label.lower(),
        "rank": track.p_fake,
        "p_fake": probability(track.p_fake),
        "counts": track.counts,
        "remarks": " · ".join(remark for remark in remarks if remark),
        "chart": None if len(track.scores) < 2 else _chart(track, ids, end_s, gap),
        "rows": [{"title": title, "faces": [_face(score, ids[id(score)]) for score in faces]} for title, faces in rows],
        "others": [
            {"id": ids[id(score)], "picture": _jpeg(score.crop, _THUMB)}
            for score in pictured
            if id(score) not in shown and score.crop is not None
        ],
        "scores": [
            {
                "time": clock(score.time_s),
                "p_fake": probability(score.p_fake),
                "quality": f"{score.quality:.2f}",
                "note": ", ".join(score.problems),
            }
            for score in track.scores
        ],
    }


def _chart(track: TrackScore, ids: Mapping[int, str], end_s: float, gap: float) -> dict[str, Any]:
    curves = []
    for run in runs(track.scores, gap):
        points = [(_x(score.time_s, end_s), round(100 * (1 - score.p_fake), 2)) for score in run]
        curve = "M" + " L".join(f"{x} {y}" for x, y in points)
        curves.append({"curve": curve, "area": f"{curve} L{points[-1][0]} 100 L{points[0][0]} 100 Z"})
    dots = [
        {
            "x": _x(score.time_s, end_s),
            "y": _y(score.p_fake),
            "usable": score.usable,
            "time": clock(score.time_s),
            "p_fake": probability(score.p_fake),
            "note": ", ".join(score.problems),
            "face": None if score.crop is None else ids[id(score)],
        }
        for score in track.scores
    ]
    return {"runs": curves, "dots": dots}


# Pictures -----------------------------------------------------------------------------------------------------------


def _face(score: FaceScore, key: str) -> dict[str, Any]:
    assert score.crop is not None
    return {
        "id": key,
        "time": clock(score.time_s),
        "p_fake": probability(score.p_fake),
        "picture": _jpeg(score.crop, _PICTURE),
        "heat": None if score.heatmap is None else _heat(score.heatmap, score.crop.shape[:2]),
    }


def _jpeg(crop: np.ndarray, side: int) -> str:
    picture = Image.fromarray(crop)
    picture.thumbnail((side, side))
    return _picture_uri(picture, "jpeg", quality=85)


def _heat(heatmap: np.ndarray, shape: tuple[int, int]) -> str:
    scale = min(1.0, _PICTURE / max(shape))
    size = (max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale)))
    pixels = glow(cv2.resize(heatmap.astype(np.float32), size, interpolation=cv2.INTER_CUBIC))
    return _picture_uri(Image.fromarray(pixels), "png", optimize=True)


def _picture_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data_uri(data.getvalue(), f"image/{kind}")
