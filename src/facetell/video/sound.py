"""A video's first sound, as samples in step with its pictures; and written beside other pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Discard

from facetell.video.source import Source

RATE = 48_000  # samples a second
_PIECE = RATE // 2  # samples that come together
_AFTER_S = 1.0  # what sounds later than this after the last picture is left out

Samples = tuple[float, np.ndarray]
"""Seconds from the first picture, and the samples from there on: (n, 2) int16, left and right, `RATE` a second."""


def samples_of(source: Source, start_s: float, end_s: float) -> Iterator[Samples]:
    """The file's first sound; nothing if it has none. What cannot be decoded is left out.

    Args:
        source: the file, from its beginning.
        start_s, end_s: of the pictures, on the container's clock.
    """
    stream = source.sound
    if stream is None:
        return
    source.stream.discard, stream.discard = Discard.all, Discard.default
    for frame in _resampled(_decoded(source, stream)):
        samples, time_s = frame.to_ndarray().reshape(-1, 2), (frame.time or 0.0) - start_s
        if time_s > end_s - start_s + _AFTER_S:
            return
        early = max(0, round(-time_s * RATE))
        if early < len(samples):
            yield max(time_s, 0.0), samples[early:]


def _decoded(source: Source, stream: AudioStream) -> Iterator[AudioFrame]:
    with suppress(FFmpegError):  # a file that is cut off just ends
        for packet in source.container.demux(stream):
            with suppress(FFmpegError):  # a damaged packet is silence
                yield from (frame for frame in packet.decode() if frame.pts is not None)  # pyright: ignore


def _resampled(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    resampler, shape = AudioResampler("s16", "stereo", RATE, _PIECE), None
    for frame in chain(frames, [None]):
        given = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
        with suppress(FFmpegError):  # in a form that cannot be converted
            if frame is not None and shape not in (None, given):  # it changes on the way
                yield from resampler.resample(None)
                resampler = AudioResampler("s16", "stereo", RATE, _PIECE)
            shape = given
            yield from resampler.resample(frame)


class SoundWriter:
    """Writes samples as AAC into a file, in step with its pictures; made before the first of these is written.

    Args:
        out: the file.
        sound: the samples, in order of time; where they overlap, the later ones are moved.
    """

    def __init__(self, out: OutputContainer, sound: Iterable[Samples]) -> None:
        self._out, self._sound = out, iter(sound)
        self._piece = next(self._sound, None)
        self._end = 0  # of what is written, in samples
        if self._piece is not None:
            self._stream: Any = out.add_stream("aac", rate=RATE, layout="stereo")

    def write_until(self, time_s: float) -> None:
        """All pieces that begin before this time."""
        while self._piece is not None and self._piece[0] <= time_s:
            start_s, samples = self._piece
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "s16", "stereo")
            frame.pts, frame.sample_rate = max(round(start_s * RATE), self._end), RATE
            frame.time_base = Fraction(1, RATE)
            self._end = frame.pts + len(samples)
            self._out.mux(self._stream.encode(frame))
            self._piece = next(self._sound, None)

    def end(self) -> None:
        """All that is left."""
        if self._piece is not None or self._end:
            self.write_until(float("inf"))
            self._out.mux(self._stream.encode(None))
