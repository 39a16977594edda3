"""The video or picture itself, with a box and P(fake) on every person, and its sound."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from facetell.errors import OutputError, UsageError
from facetell.files import replacing
from facetell.report.heat import glow
from facetell.report.text import SUSPECTED, probability, strongest, unfounded
from facetell.report.timing import longest_gap, runs
from facetell.types import FaceScore, Frame, Label, TrackScore, Verdict, VideoInfo
from facetell.video import ReaderPool, shared_readers
from facetell.video.colour import encodable, tag_colours
from facetell.video.file import InputFile
from facetell.video.origin import ANNOTATED_MARK
from facetell.video.sound import Samples, SoundWriter

T = TypeVar("T", float, np.ndarray)
Corners = tuple[tuple[int, int], tuple[int, int]]  # of a box: (left, top), (right, bottom)
VIDEO = ".mp4"
PICTURES = (".png", ".jpg", ".jpeg")
TONES = {
    Label.REAL: (29, 107, 72),
    Label.FAKE: (190, 32, 24),
    Label.INCONCLUSIVE: (150, 98, 0),
    Label.NO_FACE: (63, 95, 125),
    Label.ERROR: (124, 58, 120),
}
_CLOCK = Fraction(1, 90_000)  # seconds; exact for all usual frame rates
_LONGEST_GLIDE = 2.0  # seconds over which a box may move in a straight line from face to face
_OPAQUE = 0.5  # of the heat map where the detector is surest
_HOLD = 0.25  # seconds for which a box stays before its first and after its last face


def annotate(
    path: str | os.PathLike[str], verdict: Verdict, out: str | os.PathLike[str], readers: ReaderPool | None = None
) -> None:
    """Write the file at `path` to `out` with the verdict drawn into it.

    A video becomes H.264 and AAC in an .mp4 that browsers play, upright, with each frame's own timestamp and its sound;
    a still becomes a .png or .jpg. Boxes move in a straight line between the sampled faces of a person where these are
    neighbours, and are left out where nobody looked. Over a person who is not called REAL lies the heat map, where the
    detector has one. The file is read by `readers`, or else under the default limits.

    Raises:
        UsageError: `out` has not the suffix of what it would be, or the file is no longer the one that was judged.
        InputError: the file cannot be read.
        OutputError: `out` cannot be written.
    """
    with closing(InputFile(path)) as file:  # held open: what is hashed is what is read
        if verdict.sha256 not in (None, file.sha256()):
            raise UsageError(f"{file.name} has changed since it was scanned.", "Scan it again.")
        _annotate(file, verdict, Path(out), readers or shared_readers())


def _annotate(file: InputFile, verdict: Verdict, target: Path, readers: ReaderPool) -> None:
    with readers.open(file.twin(), "every:1") as reader, closing(file.twin()) as heard:
        wanted = PICTURES if reader.info.is_still else (VIDEO,)
        if target.suffix.lower() not in wanted:
            kind = "picture" if reader.info.is_still else "video"
            raise UsageError(f"{target} is no name for an annotated {kind}.", f"Let it end in {' or '.join(wanted)}.")
        painter = _Painter(verdict)
        with replacing(target) as part:
            if reader.info.is_still:
                for frame in reader:
                    _write_picture(part, painter.paint(frame.image, 0.0))
            else:
                try:
                    _write_video(part, reader.info, iter(reader), readers.sound(heard), painter)
                except OSError:  # such as a full disk, which `replacing` names
                    raise
                except (FFmpegError, OverflowError) as error:
                    raise OutputError(f"{target} cannot be written: {error}.", "Are its times in order?") from error


# Drawing ------------------------------------------------------------------------------------------------------------


class _Painter:
    """Draws what a verdict says of one moment."""

    def __init__(self, verdict: Verdict) -> None:
        gap = min(longest_gap(verdict.tracks), _LONGEST_GLIDE)
        self.hold = min(_HOLD, gap / 3) if gap else _HOLD
        self.runs = [(track, run) for track in verdict.tracks for run in runs(track.scores, gap)]
        score = "" if verdict.p_fake is None or unfounded(verdict) else f" p={probability(verdict.p_fake)}"
        self.caption = f"facetell: {verdict.label}{score}".replace("=>", ">").replace("=<", "<")
        self.tone = TONES[verdict.label]

    def faces(self, time_s: float) -> Iterator[tuple[TrackScore, FaceScore, FaceScore, float]]:
        """Each person in the picture: their faces before and after, and how far it is from the one to the other."""
        for track, run in self.runs:
            if run[0].time_s - self.hold <= time_s <= run[-1].time_s + self.hold:
                place = float(np.interp(time_s, [score.time_s for score in run], np.arange(len(run))))
                before = min(int(place), max(len(run) - 2, 0))
                yield track, run[before], run[min(before + 1, len(run) - 1)], place - before

    def paint(self, image: np.ndarray, time_s: float) -> np.ndarray:
        """A copy of an (H, W, 3) RGB image with boxes, scores and the caption."""
        image = image.copy()
        height, width = image.shape[:2]
        letters = max(11, round(min(height, width) / 40))
        line = max(2, round(min(height, width) / 300))
        names: list[tuple[np.ndarray, Corners]] = []
        moments: list[tuple[np.ndarray, Corners]] = []
        for track, before, after, share in self.faces(time_s):
            if track.label in SUSPECTED:
                _lay_heat(image, before, after, share)
            x, y, w, h = (_between(one, other, share) for one, other in zip(before.box, after.box, strict=True))
            score = before if share < 0.5 else after
            tone = TONES[track.label]
            corners = (round(x), round(y)), (round(x + w), round(y + h))
            cv2.rectangle(image, *corners, (255, 255, 255), line + 2, cv2.LINE_AA)
            cv2.rectangle(image, *corners, tone, line, cv2.LINE_AA)
            is_known = track.counts and not track.doubt  # else the score means nothing known, and a copy travels alone
            name = f"Person {track.id}  {track.label}"
            if is_known:
                name += f" {probability(track.p_fake)}"
            if where := strongest(track):
                name += f", {where}"
            names.append((_tag(name, tone, letters), corners))
            if is_known and len(track.scores) > 1:
                moments.append((_tag(f"now {probability(score.p_fake)}", tone, letters), corners))
        tags = _Tags(image)
        tags.put(_tag(self.caption, self.tone, letters), [(letters // 2, letters // 2)])
        for tag, corners in names:
            tags.put(tag, _around(tag, corners))
        for tag, corners in moments:
            tags.put(tag, _around(tag, corners, below=True))
        return image


def _between(before: T, after: T, share: float) -> T:
    return (1 - share) * before + share * after


def _lay_heat(image: np.ndarray, before: FaceScore, after: FaceScore, share: float) -> None:
    """Let the heat map between two faces of a person shine through the picture, where both have one."""
    if before.heatmap is None or after.heatmap is None or before.heat_to_frame is None or after.heat_to_frame is None:
        return
    heat = _between(before.heatmap, after.heatmap, share)
    matrix = _between(before.heat_to_frame, after.heat_to_frame, share)
    height, width = heat.shape
    corners = np.array([(x, y, 1) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)]) @ matrix.T
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, image.shape[1::-1])
    if left >= right or top >= bottom:
        return
    matrix = matrix - np.array([[0, 0, left], [0, 0, top]])
    strength = cv2.warpAffine(
        heat.astype(np.float32), matrix, (int(right - left), int(bottom - top)), flags=cv2.INTER_CUBIC
    )
    colour = glow(strength)
    opacity = colour[..., 3].astype(np.float32) * np.float32(_OPAQUE / 255)
    under = image[top:bottom, left:right]
    image[top:bottom, left:right] = cv2.blendLinear(
        np.ascontiguousarray(colour[..., :3]), np.ascontiguousarray(under), opacity, 1 - opacity
    )


@lru_cache(maxsize=128)  # of one video; a scan marks thousands
def _tag(text: str, tone: tuple[int, int, int], letters: int) -> np.ndarray:
    """White words on a coloured ground: (h, w, 3) uint8; `letters` is the height of the writing in pixels."""
    font = ImageFont.load_default(letters)
    pad = letters // 3
    width = round(font.getlength(text)) + 2 * pad
    tag = Image.new("RGB", (width, letters + 2 * pad), tone)
    ImageDraw.Draw(tag).text((pad, pad + letters // 2), text, font=font, fill="white", anchor="lm")
    return np.asarray(tag)


def _around(tag: np.ndarray, corners: Corners, below: bool = False) -> list[tuple[int, int]]:
    """Where a tag may stand at a box, (x, y), best first: above it, or else `below`, then within it; at its left side,
    then at its right one.
    """
    (left, top), (right, bottom) = corners
    height, width = tag.shape[:2]
    rows = [bottom, top - height, bottom - height, top] if below else [top - height, bottom, top, bottom - height]
    return [(x, y) for x in (left, right - width) for y in rows]


class _Tags:
    """Puts tags into a picture so that none covers another, where there is room."""

    def __init__(self, image: np.ndarray) -> None:
        self._image = image
        self._taken: list[tuple[int, int, int, int]] = []  # left, top, right, bottom

    def put(self, tag: np.ndarray, places: Sequence[tuple[int, int]]) -> None:
        """At the first of these places (x, y) that is free, or else the first; moved as far as it takes to be whole."""
        height, width = (min(one, whole) for one, whole in zip(tag.shape[:2], self._image.shape[:2], strict=True))
        areas = []
        for x, y in places:
            left = min(max(x, 0), self._image.shape[1] - width)
            top = min(max(y, 0), self._image.shape[0] - height)
            areas.append((left, top, left + width, top + height))
        area = next(filter(self._is_free, areas), areas[0])
        self._taken.append(area)
        left, top, right, bottom = area
        self._image[top:bottom, left:right] = tag[:height, :width]

    def _is_free(self, area: tuple[int, int, int, int]) -> bool:
        left, top, right, bottom = area
        return all(
            right <= taken[0] or taken[2] <= left or bottom <= taken[1] or taken[3] <= top for taken in self._taken
        )


# Writing ------------------------------------------------------------------------------------------------------------


def _write_picture(part: Path, image: np.ndarray) -> None:
    picture = Image.fromarray(image)
    if part.suffix.lower() == ".png":
        words = PngImagePlugin.PngInfo()
        words.add_text("Comment", ANNOTATED_MARK)
        picture.save(part, pnginfo=words)
    else:
        picture.save(part, quality=92, comment=ANNOTATED_MARK.encode())


def _even(image: np.ndarray) -> np.ndarray:
    """Without the last row or column of an odd number: 4:2:0 halves both."""
    height, width = (max(side // 2 * 2, 2) for side in image.shape[:2])
    return image[:height, :width]


def _write_video(
    part: Path, info: VideoInfo, frames: Iterator[Frame], sound: Iterator[Samples], painter: _Painter
) -> None:
    """Raises FFmpegError or OverflowError for what no .mp4 can hold, such as a time beyond all reason."""
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as out:
        out.metadata["comment"] = ANNOTATED_MARK
        frame = next(frames)
        stream = out.add_stream("libx264", rate=info.frame_rate or 30, options={"preset": "veryfast", "crf": "20"})
        stream.height, stream.width = _even(frame.image).shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        tag_colours(stream)
        pts = -1
        voice = SoundWriter(out, sound)
        while frame is not None:
            voice.write_until(frame.time_s)
            image = _even(painter.paint(frame.image, frame.time_s))
            picture = encodable(image, stream)  # its size may change midway
            pts = max(pts + 1, round(frame.time_s / _CLOCK))
            picture.pts, picture.time_base = pts, _CLOCK
            out.mux(stream.encode(picture))
            frame = next(frames, None)
        out.mux(stream.encode())
        voice.end()
