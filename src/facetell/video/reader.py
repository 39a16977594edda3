"""A video's sampled frames, decoded ahead of their consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator

import av
import numpy as np
from av.error import FFmpegError

from facetell.errors import DamagedVideoError, UsageError
from facetell.types import Frame, Provenance
from facetell.video import origin, stills
from facetell.video.ahead import Ahead
from facetell.video.file import AGAIN, InputFile, opened
from facetell.video.header import describe
from facetell.video.limits import DEFAULT_LIMITS, Limits
from facetell.video.picture import Renderer, orientation_of
from facetell.video.plans import DEFAULT_PLAN, Plan, parse_plan
from facetell.video.sound import Samples, samples_of
from facetell.video.source import PacketTable, Source

_SHORT = 600  # frames: decoding no more than this, nothing is gained by taking keyframes instead
_AHEAD_BYTES = 128 * 2**20


class VideoReader:
    """Iterates over the sampled frames of a video or picture, decoding in a thread of its own.

    Only the groups of pictures that hold a sampled frame are decoded, up to that frame, and only sampled frames become
    RGB. Memory stays bounded: the decoder runs at most `ahead` frames ahead.

    Args:
        path: the file; an open one is closed with this reader.
        plan: which frames; see `facetell.video.plans`.
        start_s, end_s: look only at this part, in seconds from the first frame.
        ahead: frames decoded before they are asked for; fewer when they are huge; 0: without a thread.
        limits: what the file may hold.

    Attributes:
        info: VideoInfo.
        corrupt_packets: packets the decoder refused so far.
        decode_seconds: time spent decoding and converting so far, in the reader's own thread.

    Raises:
        FileMissingError, NotVideoError, DamagedVideoError, LimitError: already when it is made, or while iterating.
        UsageError: no such plan, or a plan or time span that holds no frame of this video.

    >>> with VideoReader("clip.mp4", "uniform:20") as reader:  # doctest: +SKIP
    ...     for frame in reader:
    ...         print(frame.time_s, frame.image.shape)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | InputFile,
        plan: str | Plan = DEFAULT_PLAN,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        ahead: int = 4,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        plan = parse_plan(plan) if isinstance(plan, str) else plan
        self.file = opened(path)
        self.name = self.file.name
        self._source: Source | None = None
        self._running: Ahead[Frame] | None = None
        try:
            if stills.is_picture(self.file):
                picture = stills.open_picture(self.file, limits)
                self.info = picture.info
                self._frames = _picture_frames(picture, self._chosen(plan, picture.times, start_s, end_s))
            else:
                self._source = Source(self.file, limits)
                table, first = self._source.scan()
                self.info = describe(self._source, table, first)
                wanted = self._chosen(plan, table.times, start_s, end_s)
                self._clock = table.span
                render = Renderer(orientation_of(first), self.info.pixel_aspect)
                self._frames = _video_frames(self._source, table, wanted, plan, render)
        except BaseException:  # pragma: boundary  cleans up and raises on
            self.close()
            raise
        self._ahead = ahead and max(1, min(ahead, _AHEAD_BYTES // (3 * self.info.width * self.info.height)))

    def _chosen(self, plan: Plan, times: np.ndarray, start_s: float | None, end_s: float | None) -> np.ndarray:
        low = 0 if start_s is None else int(np.searchsorted(times, start_s, "left"))
        high = len(times) if end_s is None else int(np.searchsorted(times, end_s, "right"))
        if low >= high:
            raise UsageError(
                f"{self.name} has no frame between the start and the end asked for.",
                f"Its {len(times)} frames lie between 0 and {times[-1]:.2f} s.",
            )
        chosen = plan.choose(times[low:high]) + low
        if not len(chosen):
            raise UsageError(
                f"{self.name} has only {high - low} frames, too few for {plan}.", "Choose another --sample."
            )
        return chosen

    @property
    def corrupt_packets(self) -> int:
        return self._source.corrupt_packets if self._source else 0

    @property
    def decode_seconds(self) -> float:
        return self._running.seconds if self._running else 0.0

    def provenance(self) -> Provenance:
        """What the file says of its own making; to be asked before the frames."""
        if self._source is None:
            return origin.of_picture(self.file)
        return origin.of_video(self._source, self.info)

    def sound(self) -> Iterator[Samples]:
        """The file's first sound, in step with its pictures; to be asked instead of the frames."""
        if self._source is not None:
            self._source.rewind()
            yield from samples_of(self._source, *self._clock)

    def __iter__(self) -> Iterator[Frame]:
        if not self._ahead:
            return self._frames
        if self._running is None:
            self._running = Ahead(self._frames, self._ahead)
        return self._running

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding and let go of the file; may be called more than once."""
        if self._running is not None:
            self._running.close()
        if self._source is not None:
            self._source.close()
        self.file.close()


def _picture_frames(picture: stills.Picture, wanted: np.ndarray) -> Generator[Frame, None, None]:
    for number, (time_s, image) in enumerate(picture.frames(wanted)):
        yield Frame(number, time_s, image)


def _video_frames(
    source: Source, table: PacketTable, wanted: np.ndarray, plan: Plan, render: Renderer
) -> Generator[Frame, None, None]:
    fed = _to_decode(table, wanted)
    if table.exact and fed.sum() > _SHORT and (slack := plan.slack(len(table.times))):
        wanted = _at_keyframes(table, wanted, slack)
        fed = _to_decode(table, wanted)
    number = 0
    decoded = _by_timestamp(source, table, wanted, fed) if table.exact else _by_counting(source, table, wanted)
    for place, frame in decoded:
        source.limits.check_size(source.name, frame.width, frame.height)  # it may change on the way
        try:
            image = render(frame)
        except FFmpegError as error:
            raise DamagedVideoError(
                f"{source.name} has pictures in a form that cannot be shown ({frame.format.name}): {error.strerror}."
            ) from error
        yield Frame(number, float(table.times[place]), image)
        number += 1
    if not number:
        raise DamagedVideoError(
            f"{source.name} is damaged: none of the {len(wanted)} frames wanted can be decoded.",
            AGAIN,
        )


def _to_decode(table: PacketTable, wanted: np.ndarray) -> np.ndarray:
    """(n,) bool: the packets that have to be decoded for these frames, each from the keyframe before it on."""
    keys = np.flatnonzero(table.is_key)
    keys = keys if len(keys) and keys[0] == 0 else np.concatenate([[0], keys])
    edges = np.zeros(len(table) + 1, dtype=np.int64)
    for place in table.order[wanted].tolist():
        group = int(np.searchsorted(keys, place, "right")) - 1
        if (
            group and table.pts[place] < table.pts[keys[group]]
        ):  # shown before the keyframe: may need the group before it
            group -= 1
        edges[keys[group]] += 1
        edges[place + 1] -= 1
    return np.cumsum(edges[:-1]) > 0


def _at_keyframes(table: PacketTable, wanted: np.ndarray, slack: float) -> np.ndarray:
    """The same frames, each moved to the nearest keyframe if one lies within `slack` frames."""
    keys = np.flatnonzero(table.is_key[table.order])
    after = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    if not len(keys):
        return wanted
    around = np.stack([keys[np.maximum(after - 1, 0)], keys[after]])
    nearest = np.take_along_axis(around, np.abs(around - wanted).argmin(axis=0)[None], axis=0)[0]
    return np.unique(np.where(np.abs(nearest - wanted) <= slack, nearest, wanted))


def _by_timestamp(
    source: Source, table: PacketTable, wanted: np.ndarray, fed: np.ndarray
) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """The wanted frames with their numbers; in place of one that cannot be decoded comes the next that can."""
    in_order = table.pts[table.order]
    left = deque(in_order[wanted].tolist())
    exactly = set(left)

    def met(frames: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        for frame in frames:
            if left and frame.pts is not None and frame.pts >= left[0]:
                while left and left[0] <= frame.pts:
                    left.popleft()
                yield int(np.searchsorted(in_order, frame.pts, "right")) - 1, frame

    edges = np.flatnonzero(np.diff(np.concatenate([[0], fed.astype(np.int8), [0]]))).reshape(-1, 2)
    for first, end in edges.tolist():
        for packet in source.packets(table, first, end - 1):
            yield from met(source.decode(packet, wanted=packet.pts in exactly))
        yield from met(source.drain())


def _by_counting(
    source: Source, table: PacketTable, wanted: np.ndarray
) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """The same where timestamps cannot be relied on: everything is decoded, and frames are counted."""
    last, left, number = int(wanted[-1]), set(wanted.tolist()), 0

    def met(frames: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        nonlocal number
        for frame in frames:
            if number in left:
                yield number, frame
            number += 1

    for packet in source.packets(table, 0, len(table) - 1):
        yield from met(source.decode(packet))
        if number > last:
            return
    yield from met(source.drain())
