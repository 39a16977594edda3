"""The words every room speaks.

Images are uint8 RGB (H, W, 3); boxes (x, y, w, h) in pixels of the upright frame; times are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]


class Label(StrEnum):
    """What a verdict says."""

    REAL = "REAL"
    FAKE = "FAKE"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_FACE = "NO_FACE"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The first sound stream of a file."""

    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file's container and video stream say of themselves; nothing here was decoded.

    Width and height are those of the upright, square-pixel frame that facetell looks at.
    A still is a video of one frame.
    """

    container: str
    codec: str
    width: int
    height: int
    frame_rate: Fraction | None
    duration_s: float | None
    frame_count: int | None
    rotation: int = 0  # degrees clockwise that make the stored frame upright: 0, 90, 180, 270
    pixel_format: str = ""
    bit_depth: int = 8
    transfer: str = ""  # colour transfer as the stream names it; "smpte2084" and "arib-std-b67" are HDR
    interlaced: bool = False
    variable_frame_rate: bool = False
    pixel_aspect: Fraction = Fraction(1)
    bit_rate: int | None = None
    size_bytes: int = 0
    is_still: bool = False
    audio: AudioInfo | None = None

    @property
    def bits_per_pixel(self) -> float | None:
        """What the stream spends on a pixel of a frame; None for a still, and where the file does not say."""
        if self.is_still or not self.bit_rate or not self.frame_rate:
            return None
        return self.bit_rate / float(self.width * self.height * self.frame_rate)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a file says of its own making: hints for a person, never part of the score."""

    encoder: str | None = None
    created: str | None = None
    device: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # plain sentences on what looks odd, or on a mark such as "forged by facetell"


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One sampled picture: upright, square pixels, standard dynamic range."""

    number: int  # 0, 1, 2, … among the sampled frames
    time_s: float  # the frame's own timestamp, from the start of the stream
    image: np.ndarray  # (H, W, 3) uint8 RGB
    after: np.ndarray | None = None  # likewise, the picture it is compared with, where that was asked for


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """What the quality gates measured on a face; `problems` names the gates it failed."""

    size_px: float  # distance between the eyes
    sharpness: float  # variance of the Laplacian on the face resized to a fixed size
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    brightness: float  # mean luma of the face, 0…1
    weight: float = 1.0  # 0…1, how good the face is; with a card that weighs by quality, its weight in its track
    problems: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class Face:
    """One face in one sampled frame."""

    frame: int  # Frame.number
    time_s: float
    box: Box
    points: np.ndarray  # (5, 2) float32: eye, eye (left in the picture first), nose tip, mouth corner, mouth corner
    score: float  # the face detector's own, 0…1
    quality: FaceQuality | None = None
    flicker: float | None = None  # as `facetell.faces.flicker` measures it, where the next frame is known

    @property
    def usable(self) -> bool:
        return self.quality is None or not self.quality.problems


@dataclass(eq=False, slots=True)
class FaceTrack:
    """One person: their faces in order of time."""

    id: int
    faces: list[Face]

    @property
    def start_s(self) -> float:
        return self.faces[0].time_s

    @property
    def end_s(self) -> float:
        return self.faces[-1].time_s


@dataclass(eq=False, slots=True)
class FaceScore:
    """What the detector says of one face."""

    time_s: float
    box: Box
    p_fake: float
    logit: float  # raw, with the terms "flicker" and "instability" of `parts`, which a video may have
    quality: float  # 0…1, by the quality gates; with a card that weighs by quality, the face's weight in its track
    usable: bool = True
    problems: tuple[str, ...] = ()
    heatmap: np.ndarray | None = None  # (h, w) float32 in 0…1 over the crop: where the face was altered
    crop: np.ndarray | None = None  # (H, W, 3) uint8, as it is in its frame; kept for the most and least suspicious
    parts: Mapping[str, float] = field(default_factory=dict)  # the score's parts, such as "blend" and "texture": logits
    heat_to_frame: np.ndarray | None = None  # (2, 3): the affine map from the heat map's cells to the frame's pixels


@dataclass(eq=False, slots=True)
class TrackScore:
    """One person's part of the verdict."""

    id: int
    label: Label
    start_s: float
    end_s: float
    p_fake: float
    logit: float  # calibrated
    counts: bool  # has enough usable faces to decide the video's verdict
    scores: list[FaceScore]
    region: str | None = None  # where the heat map is strongest: "mouth", "eyes", "outline", …
    doubt: str | None = None  # why the score means nothing known: beyond what the detector was calibrated on


@dataclass(frozen=True, slots=True)
class Sample:
    """Which frames were to be looked at."""

    plan: str  # such as "uniform:20"
    start_s: float | None = None  # from here on; None: from the beginning
    end_s: float | None = None  # up to here; None: to the end


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was looked at."""

    frames_sampled: int = 0
    frames_with_face: int = 0
    faces: int = 0
    faces_unusable: int = 0
    problems: Mapping[str, int] = field(default_factory=dict)  # quality gate -> faces that failed it
    corrupt_packets: int = 0
    frames_lost: int = 0  # of those that the plan chose, frames that are missing or could not be decoded


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """Which detector spoke, and whether it is one of those shipped."""

    name: str
    version: str
    sha256: str
    shipped: bool
    licence: str = ""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """The named error that took the place of a judgement."""

    type: str
    message: str


@dataclass(eq=False, slots=True)
class Verdict:
    """What facetell says of one file. `p_fake` is None only for NO_FACE and ERROR."""

    path: str  # exactly as given
    label: Label
    sha256: str | None = None
    p_fake: float | None = None
    threshold: float | None = None  # P(fake) from which on a person who counts and has no `doubt` makes it FAKE
    false_positive_rate: float | None = None  # of real videos called FAKE at that threshold
    provisional: bool = False  # the threshold was read off few or unrepresentative real faces
    prior: float = 0.5  # the share of fakes that P(fake) assumes
    reasons: tuple[str, ...] = ()
    doubt: str | None = None  # that of the person whom it rests on: then `p_fake` is not held against the threshold
    sample: Sample | None = None  # None: not known
    coverage: Coverage = field(default_factory=Coverage)
    tracks: list[TrackScore] = field(default_factory=list)
    video: VideoInfo | None = None
    provenance: Provenance = field(default_factory=Provenance)
    detector: DetectorInfo | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> seconds
    error: ErrorInfo | None = None
    unprotected: tuple[str, ...] = ()  # protections against hostile files that this platform does not offer

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON types, in the schema `facetell/1` (docs/json.md)."""
        from facetell.report.json import verdict_to_dict

        return verdict_to_dict(self)
