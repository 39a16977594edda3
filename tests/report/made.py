"""Verdicts made up for the tests of every report, one of them as hostile as file names and tags can be."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from facetell.types import (
    AudioInfo,
    Coverage,
    DetectorInfo,
    ErrorInfo,
    FaceScore,
    Label,
    Provenance,
    Sample,
    TrackScore,
    Verdict,
    VideoInfo,
)
from tests import media

HOSTILE = "<script>alert(1)</script>\"'&[red]\x1b[31m\x9b\u202egpj\x00\r\nnext[/]{{7*7}}\udce9.mp4"


def face(
    time_s: float, p_fake: float, *, box=(60.0, 40.0, 90.0, 110.0), pictures: bool = False, problems=()
) -> FaceScore:
    crop = heatmap = None
    if pictures:
        crop = media.view(media.astronaut(), (112, 112), (225, 130), 180)
        heatmap = np.zeros((7, 7), np.float32)
        heatmap[4:6, 2:5] = p_fake
    logit = float(np.log(p_fake / (1 - p_fake)))
    quality, parts = 0.0 if problems else 0.9, {"flicker": 0.5}
    return FaceScore(time_s, box, p_fake, logit, quality, not problems, tuple(problems), heatmap, crop, parts)


def track(
    number: int, label: Label, scores: list[FaceScore], counts: bool = True, region: str | None = None
) -> TrackScore:
    p_fake = float(np.mean([score.p_fake for score in scores]))
    logit = float(np.log(p_fake / (1 - p_fake)))
    return TrackScore(number, label, scores[0].time_s, scores[-1].time_s, p_fake, logit, counts, scores, region)


def fake(path: str = "clip.mp4", pictures: bool = True) -> Verdict:
    """Two people over two seconds, the first of them forged around the mouth."""
    times = [0.1 * k for k in range(20)]
    first = [face(t, 0.9 + 0.004 * k, box=(60 + 2 * k, 40, 90, 110), pictures=pictures) for k, t in enumerate(times)]
    second = [face(t, 0.05 + 0.01 * k, box=(200, 50, 70, 90), pictures=pictures) for k, t in enumerate(times[:4])]
    second[1] = face(times[1], 0.3, box=(200, 50, 70, 90), problems=("blurred", "too small"))
    return Verdict(
        path=path,
        label=Label.FAKE,
        sha256="ab" * 32,
        p_fake=0.94,
        threshold=0.81,
        false_positive_rate=0.01,
        provisional=True,
        reasons=("Person 1 is above the threshold.",),
        sample=Sample("every:3", 0.0, 2.5),
        coverage=Coverage(20, 20, 24, 1, {"blurred": 1, "too small": 1}, corrupt_packets=2, frames_lost=3),
        tracks=[track(1, Label.FAKE, first, region="mouth"), track(2, Label.REAL, second, counts=False)],
        video=VideoInfo(
            "mov,mp4,m4a,3gp,3g2,mj2",
            "h264",
            320,
            240,
            Fraction(30000, 1001),
            2.0,
            60,
            rotation=90,
            pixel_format="yuv420p",
            bit_rate=812_000,
            size_bytes=203_000,
            audio=AudioInfo("aac", 48000, 1),
        ),
        provenance=Provenance(
            "Lavf61", "2026-01-02T03:04:05Z", "Phone 7", {"title": "A day"}, ("Forged by facetell.",)
        ),
        detector=DetectorInfo("meso", "1.0", "cd" * 32, True, "Apache-2.0"),
        seconds={"decode": 0.4, "detect": 0.25, "score": 0.1},
    )


def inconclusive(path: str = "dim.mov") -> Verdict:
    scores = [face(0.5 * k, 0.6, problems=("too dark",)) for k in range(3)]
    return Verdict(
        path,
        Label.INCONCLUSIVE,
        sha256="ef" * 32,
        p_fake=0.6,
        threshold=0.81,
        false_positive_rate=0.01,
        reasons=("Every face failed a quality gate: 3 too dark.",),
        coverage=Coverage(3, 3, 3, 3, {"too dark": 3}),
        tracks=[track(1, Label.INCONCLUSIVE, scores)],
        detector=DetectorInfo("own", "0.3", "12" * 32, False),
    )


def beyond(path: str = "small.png") -> Verdict:
    """A still whose face is too small for a detector that scores it above the threshold."""
    doubt = "The face is 58 pixels high; the detector was calibrated on faces from 66 up."
    person = track(1, Label.INCONCLUSIVE, [face(0.0, 0.951)])
    person.doubt = doubt
    return Verdict(
        path,
        Label.INCONCLUSIVE,
        sha256="56" * 32,
        p_fake=0.951,
        threshold=0.9386,
        false_positive_rate=0.01,
        reasons=(f"Person 1 scores 0.95, which cannot decide. {doubt}",),
        doubt=doubt,
        coverage=Coverage(1, 1, 1),
        tracks=[person],
        video=VideoInfo("png", "png", 224, 224, None, None, 1, is_still=True),
        detector=DetectorInfo("own", "0.3", "12" * 32, False),
    )


def no_face(path: str = "hills.webm") -> Verdict:
    return Verdict(path, Label.NO_FACE, sha256="34" * 32, coverage=Coverage(20), reasons=("No face in 20 frames.",))


def error(path: str = "notes.mp4") -> Verdict:
    info = ErrorInfo("NotVideoError", f"{path} holds neither a video nor a picture.")
    return Verdict(path, Label.ERROR, error=info)


def hostile() -> Verdict:
    """Every text that a stranger can choose is hostile."""
    verdict = fake(HOSTILE)
    verdict.provenance = Provenance(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, (HOSTILE,))
    verdict.detector = DetectorInfo(HOSTILE, HOSTILE, "cd" * 32, False, HOSTILE)
    verdict.reasons = (HOSTILE,)
    verdict.sample = Sample(HOSTILE)
    assert verdict.video is not None
    verdict.video = VideoInfo(HOSTILE, HOSTILE, 320, 240, None, None, None, audio=AudioInfo(HOSTILE, 1, 1))
    verdict.tracks[0].region = HOSTILE
    return verdict


def everything() -> list[Verdict]:
    return [fake(), inconclusive(), no_face(), error(), hostile()]
