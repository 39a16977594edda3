"""What a video file says of itself, checked against the packets that are truly in it."""

from __future__ import annotations

import os
from contextlib import closing
from fractions import Fraction
from pathlib import PurePath

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.reformatter import ColorTrc

from facetell.types import AudioInfo, VideoInfo
from facetell.video import stills
from facetell.video.file import opened
from facetell.video.picture import orientation_of, square_size
from facetell.video.source import PacketTable, Source

_REORDERED = 16  # frames that may be decoded before one that is shown before them, at most: H.264 and HEVC
_TRANSFERS: dict[int, str] = {
    ColorTrc.BT709: "bt709",
    ColorTrc.GAMMA22: "gamma22",
    ColorTrc.GAMMA28: "gamma28",
    ColorTrc.SMPTE170M: "smpte170m",
    ColorTrc.SMPTE240M: "smpte240m",
    ColorTrc.LINEAR: "linear",
    ColorTrc.IEC61966_2_1: "iec61966-2-1",
    ColorTrc.BT2020_10: "bt2020-10",
    ColorTrc.BT2020_12: "bt2020-12",
    ColorTrc.SMPTE2084: "smpte2084",
    ColorTrc.ARIB_STD_B67: "arib-std-b67",
}


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """What is in this video or picture.

    Raises:
        FileMissingError, NotVideoError, DamagedVideoError, LimitError.
    """
    with closing(opened(path)) as file:
        if stills.is_picture(file):
            return stills.open_picture(file).info
        with closing(Source(file)) as source:
            return describe(source, *source.scan())


def describe(source: Source, table: PacketTable, frame: av.VideoFrame) -> VideoInfo:
    """The same, of an open file whose packets were read and whose first frame was decoded."""
    stream, context = source.stream, source.stream.codec_context
    orientation = orientation_of(frame)
    pixel_aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    width, height = square_size(frame.width, frame.height, pixel_aspect)
    source.limits.check_size(source.name, width, height)
    if orientation.swap:
        width, height = height, width
    steps = np.diff(table.times)
    step = float(np.median(steps)) if len(steps) else 0.0
    # Where a file was cut off, frames that were to be shown between its last ones are not there.
    sure = steps[: max(len(steps) - _REORDERED, 0)] if source.missing else steps
    return VideoInfo(
        container=_container(source),
        codec=context.codec.canonical_name,
        width=width,
        height=height,
        frame_rate=_frame_rate(table.times, stream.average_rate, whole=not source.missing),
        duration_s=float(table.times[-1]) + step if len(steps) else None,
        frame_count=len(table.times),
        rotation=orientation.rotation,
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        transfer=_TRANSFERS.get(frame.color_trc, ""),
        interlaced=frame.interlaced_frame,
        variable_frame_rate=_vary(sure, step, float(table.time_base)),
        pixel_aspect=pixel_aspect,
        bit_rate=_bit_rate(table, step) or stream.bit_rate or None,
        size_bytes=source.file.size,
        audio=_audio(source.sound),
    )


def _vary(steps: np.ndarray, usual: float, tick: float) -> bool:
    """Whether more than one in a hundred steps from frame to frame is unlike the usual one; all in seconds."""
    # The clock may round a step by a tick, but no step to nothing or to two.
    tolerance = max(0.2 * usual, min(1.5 * tick, 0.9 * usual))
    return bool(len(steps) > 2 and np.mean(np.abs(steps - usual) > tolerance) > 0.01)


def _container(source: Source) -> str:
    """One of the names FFmpeg has for the format: the file's own suffix if it is among them."""
    names = source.container.format.name.split(",")
    suffix = PurePath(source.name).suffix[1:].lower()
    return suffix if suffix in names else names[0]


def _frame_rate(times: np.ndarray, stated: Fraction | None, whole: bool) -> Fraction | None:
    """The stated rate if the timestamps bear it out, or some of them are missing; else the one they show."""
    if len(times) < 2 or times[-1] <= 0 or (stated and not whole):
        return stated or None
    measured = (len(times) - 1) / float(times[-1])
    if stated and abs(stated / measured - 1) < 0.01:
        return stated
    return Fraction(measured).limit_denominator(1001)


def _bit_rate(table: PacketTable, step: float) -> int | None:
    """Of the shown packets; most containers state none for a stream alone, or one for a broken file's whole length."""
    duration = float(table.times[-1]) + step
    return round(8 * int(table.sizes[table.is_shown].sum()) / duration) if duration > 0 else None


def _audio(stream: AudioStream | None) -> AudioInfo | None:
    if stream is None:
        return None
    context = stream.codec_context
    return AudioInfo(context.codec.canonical_name, context.sample_rate, context.channels)
