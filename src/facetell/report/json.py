"""Verdicts as JSON in the schema `facetell/1`; docs/json.md says what each key means."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import facetell
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

SCHEMA = "facetell/1"
_FRACTION = 10**6  # denominators of rates and aspects that come back as they were


def dump(verdicts: Sequence[Verdict]) -> str:
    """One JSON document on all verdicts, in the order given; strict JSON in ASCII, ending with a line break.

    >>> from facetell.types import Label
    >>> json.loads(dump([Verdict("a.mp4", Label.NO_FACE)]))["verdicts"][0]["label"]
    'NO_FACE'
    """
    document = {
        "schema": SCHEMA,
        "facetell": facetell.__version__,
        "verdicts": [verdict_to_dict(verdict) for verdict in verdicts],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def verdict_to_dict(verdict: Verdict) -> dict:
    """One verdict as plain JSON types; pictures and heat maps stay out.

    >>> from facetell.types import Label
    >>> verdict_to_dict(Verdict("a.mp4", Label.REAL, p_fake=0.25))["p_fake"]
    0.25
    """
    return {
        "path": verdict.path,
        "sha256": verdict.sha256,
        "label": str(verdict.label),
        "p_fake": _finite(verdict.p_fake),
        "threshold": _finite(verdict.threshold),
        "false_positive_rate": _finite(verdict.false_positive_rate),
        "provisional": verdict.provisional,
        "prior": float(verdict.prior),
        "reasons": list(verdict.reasons),
        "doubt": verdict.doubt,
        "sample": None if verdict.sample is None else _sample(verdict.sample),
        "coverage": _coverage(verdict.coverage),
        "tracks": [_track(track) for track in verdict.tracks],
        "video": None if verdict.video is None else _video(verdict.video),
        "provenance": {
            "encoder": verdict.provenance.encoder,
            "created": verdict.provenance.created,
            "device": verdict.provenance.device,
            "tags": dict(verdict.provenance.tags),
            "notes": list(verdict.provenance.notes),
        },
        "detector": None if verdict.detector is None else asdict(verdict.detector),
        "seconds": {stage: round(float(seconds), 4) for stage, seconds in verdict.seconds.items()},
        "error": None if verdict.error is None else asdict(verdict.error),
        "unprotected": list(verdict.unprotected),
    }


def verdict_from_dict(fields: Mapping[str, Any]) -> Verdict:
    """The verdict that `verdict_to_dict` wrote, less its pictures.

    >>> from facetell.types import Label
    >>> verdict_from_dict(verdict_to_dict(Verdict("a.mp4", Label.NO_FACE))).label
    <Label.NO_FACE: 'NO_FACE'>
    """
    video, detector, error = fields["video"], fields["detector"], fields["error"]
    sample = fields.get("sample")  # added after others
    return Verdict(
        **dict(fields)
        | {
            "label": Label(fields["label"]),
            "reasons": tuple(fields["reasons"]),
            "sample": None if sample is None else Sample(**sample),
            "coverage": Coverage(**fields["coverage"]),
            "tracks": [_read_track(track) for track in fields["tracks"]],
            "video": None if video is None else _read_video(video),
            "provenance": Provenance(**fields["provenance"] | {"notes": tuple(fields["provenance"]["notes"])}),
            "detector": None if detector is None else DetectorInfo(**detector),
            "error": None if error is None else ErrorInfo(**error),
            "unprotected": tuple(fields["unprotected"]),
        }
    )


def _read_track(fields: Mapping[str, Any]) -> TrackScore:
    scores = [
        FaceScore(**score | {"box": tuple(score["box"]), "problems": tuple(score["problems"])})
        for score in fields["scores"]
    ]
    return TrackScore(**dict(fields) | {"label": Label(fields["label"]), "scores": scores})


def _read_video(fields: Mapping[str, Any]) -> VideoInfo:
    rate, audio = fields["frame_rate"], fields["audio"]
    return VideoInfo(
        **dict(fields)
        | {
            "frame_rate": None if rate is None else Fraction(rate).limit_denominator(_FRACTION),
            "pixel_aspect": Fraction(fields["pixel_aspect"]).limit_denominator(_FRACTION),
            "audio": None if audio is None else AudioInfo(**audio),
        }
    )


def _sample(sample: Sample) -> dict:
    return {"plan": sample.plan, "start_s": _finite(sample.start_s), "end_s": _finite(sample.end_s)}


def _coverage(coverage: Coverage) -> dict:
    return {
        "frames_sampled": int(coverage.frames_sampled),
        "frames_with_face": int(coverage.frames_with_face),
        "faces": int(coverage.faces),
        "faces_unusable": int(coverage.faces_unusable),
        "problems": {gate: int(number) for gate, number in coverage.problems.items()},
        "corrupt_packets": int(coverage.corrupt_packets),
        "frames_lost": int(coverage.frames_lost),
    }


def _track(track: TrackScore) -> dict:
    return {
        "id": int(track.id),
        "label": str(track.label),
        "start_s": _time(track.start_s),
        "end_s": _time(track.end_s),
        "p_fake": _finite(track.p_fake),
        "logit": _finite(track.logit),
        "counts": bool(track.counts),
        "region": track.region,
        "doubt": track.doubt,
        "scores": [_score(score) for score in track.scores],
    }


def _score(score: FaceScore) -> dict:
    return {
        "time_s": _time(score.time_s),
        "box": [round(float(value), 2) for value in score.box],
        "p_fake": _finite(score.p_fake),
        "logit": _finite(score.logit),
        "parts": {name: _finite(logit) for name, logit in score.parts.items()},
        "quality": _finite(score.quality),
        "usable": bool(score.usable),
        "problems": list(score.problems),
    }


def _video(video: VideoInfo) -> dict:
    fields = asdict(video)
    fields["frame_rate"] = _finite(video.frame_rate)
    fields["pixel_aspect"] = _finite(video.pixel_aspect)
    fields["duration_s"] = _finite(video.duration_s)
    return fields


def _time(seconds: float) -> float:
    return round(float(seconds), 6)


def _finite(value: float | Fraction | None) -> float | None:
    """JSON has no infinity and no NaN: what is not a finite number is null."""
    return None if value is None or not math.isfinite(value) else float(value)
