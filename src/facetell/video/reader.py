"""A video's sampled frames, decoded ahead of their consumer."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator

import av
import numpy as np
from av.error import FFmpegError

from facetell.errors import DamagedVideoError, UsageError
from facetell.types import Frame, Provenance
from facetell.video import origin, route, stills
from facetell.video.ahead import Ahead
from facetell.video.file import AGAIN, InputFile, opened
from facetell.video.header import describe
from facetell.video.limits import DEFAULT_LIMITS, Limits
from facetell.video.picture import Renderer, orientation_of
from facetell.video.plans import DEFAULT_PLAN, Plan, parse_plan
from facetell.video.sound import Samples, samples_of
from facetell.video.source import PacketTable, Source

_AHEAD_BYTES = 128 * 2**20


class VideoReader:
    """Iterates over the sampled frames of a video or picture, decoding in a thread of its own.

    Only the groups of pictures that hold a sampled frame are decoded, up to that frame (see `facetell.video.route`),
    and only sampled frames become RGB. Memory stays bounded: the decoder runs at most `ahead` frames ahead.

    Args:
        path: the file; an open one is closed with this reader.
        plan: which frames; see `facetell.video.plans`.
        start_s, end_s: look only at this part, in seconds from the first frame.
        pairs: give with each frame of a video the one `after` it, where that can be decoded and is of the same size:
            the next that lies 1/35 s or more later, so that both show a moment of their own.
        ahead: frames decoded before they are asked for; fewer when they are huge; 0: without a thread.
        limits: what the file may hold.

    Attributes:
        info: VideoInfo.
        wanted: how many frames come, unless some cannot be decoded, and how many more would, were all there that the
            header states.
        corrupt_packets: packets the decoder refused, or patched up, so far.

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
        pairs: bool = False,
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
                part = self._part(picture.times, start_s, end_s)
                wanted, missing = self._chosen(plan, picture.times, part), 0
                self._frames = _picture_frames(picture, wanted)
            else:
                self._source = Source(self.file, limits)
                table, first = self._source.scan()
                self.info = describe(self._source, table, first)
                part = self._part(table.times, start_s, end_s)
                wanted, runs = self._chosen(plan, table.times, part), None
                missing = self._missing(self._source, table, plan, (start_s, end_s), len(wanted))
                if table.exact:
                    slack = plan.slack(len(part))
                    wanted, runs = route.choose(table, wanted, slack, self._source.pixels, pairs, part)
                self._clock = table.span
                render = Renderer(orientation_of(first), self.info.pixel_aspect)
                self._frames = _video_frames(self._source, table, wanted, runs, render, pairs)
        except BaseException:  # pragma: boundary  cleans up and raises on
            self.close()
            raise
        self.wanted = len(wanted) + missing
        size = (6 if pairs else 3) * self.info.width * self.info.height
        self._ahead = ahead and max(1, min(ahead, _AHEAD_BYTES // size))

    def _part(self, times: np.ndarray, start_s: float | None, end_s: float | None) -> range:
        """The frames to choose among."""
        low = 0 if start_s is None else int(np.searchsorted(times, start_s, "left"))
        high = len(times) if end_s is None else int(np.searchsorted(times, end_s, "right"))
        if low >= high:
            raise UsageError(
                f"{self.name} has no frame between the start and the end asked for.",
                _extent(times),
            )
        return range(low, high)

    def _chosen(self, plan: Plan, times: np.ndarray, part: range) -> np.ndarray:
        chosen = plan.choose(times[part.start : part.stop]) + part.start
        if not len(chosen):
            where = "" if len(part) == len(times) else f" among the {len(part)} between start and end"
            raise UsageError(
                f"{self.name} has no frame that {plan} asks for{where}.", f"{_extent(times)} Choose another --sample."
            )
        return chosen

    def _missing(
        self, source: Source, table: PacketTable, plan: Plan, span: tuple[float | None, float | None], chosen: int
    ) -> int:
        """How many frames more than the chosen ones the plan would take, were all there that the header states."""
        if not source.missing:
            return 0
        times = source.stated_times(table)
        part = self._part(times, *span)
        return max(0, len(plan.choose(times[part.start : part.stop])) - chosen)

    @property
    def corrupt_packets(self) -> int:
        return self._source.corrupt_packets if self._source else 0

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
    source: Source,
    table: PacketTable,
    wanted: np.ndarray,
    runs: np.ndarray | None,
    render: Renderer,
    pairs: bool,
) -> Generator[Frame, None, None]:
    partner = route.partners(table.times) if pairs else np.arange(1, len(table.times) + 1)
    beside = route.with_partners(wanted, partner) if pairs else wanted
    if runs is not None:
        decoded = _by_timestamp(source, table, wanted, beside, runs)
    else:
        decoded = _by_counting(source, table, wanted, beside)
    none = True

    def shown(number: int, place: int, frame: av.VideoFrame, next_one: av.VideoFrame | None) -> Frame:
        nonlocal none
        source.limits.check_size(source.name, frame.width, frame.height)  # it may change on the way
        try:
            image = render(frame)
            after = render.after(frame, next_one) if pairs and next_one is not None else None
        except FFmpegError as error:
            raise DamagedVideoError(
                f"{source.name} has pictures in a form that cannot be shown ({frame.format.name}): {error.strerror}."
            ) from error
        none = False
        return Frame(number, float(table.times[place]), image, after)

    yield from itertools.starmap(shown, _sampled(decoded, partner))  # no name here holds a frame while the next is made
    if none:
        raise DamagedVideoError(
            f"{source.name} is damaged: none of the {len(wanted)} frames wanted can be decoded.",
            AGAIN,
        )


def _sampled(
    decoded: Iterable[tuple[int, av.VideoFrame, bool]], partner: np.ndarray
) -> Generator[tuple[int, int, av.VideoFrame, av.VideoFrame | None]]:
    """The wanted ones of decoded frames, counted, each with its partner, if that was decoded too."""
    waiting: deque[tuple[int, int, av.VideoFrame]] = deque()
    count = 0
    for place, frame, wanted in decoded:
        while waiting and partner[waiting[0][1]] <= place:
            yield *waiting[0], frame if partner[waiting[0][1]] == place else None
            waiting.popleft()
        if wanted:
            waiting.append((count, place, frame))
        count += wanted
        del frame  # the decoder is about to want its memory
    for one in waiting:
        yield *one, None


def _by_timestamp(
    source: Source, table: PacketTable, wanted: np.ndarray, beside: np.ndarray, runs: np.ndarray
) -> Generator[tuple[int, av.VideoFrame, bool], None, None]:
    """Frames with their numbers: the wanted ones (True), and those needed `beside` them (False); in place of a
    wanted one that cannot be decoded comes the next that can.
    """
    in_order = table.pts[table.order]
    left = deque(in_order[wanted].tolist())
    exactly = set(in_order[beside].tolist())

    def met(frames: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        for frame in frames:
            if frame.pts is None:
                continue
            place = int(np.searchsorted(in_order, frame.pts, "right")) - 1
            if left and frame.pts >= left[0]:
                while left and left[0] <= frame.pts:
                    left.popleft()
                yield place, frame, True
            elif frame.pts in exactly:
                yield place, frame, False

    for first, last in runs.tolist():
        for packet in source.packets(table, first, last):
            yield from met(source.decode(packet, wanted=packet.pts in exactly))
        yield from met(source.drain())


def _by_counting(
    source: Source, table: PacketTable, wanted: np.ndarray, beside: np.ndarray
) -> Generator[tuple[int, av.VideoFrame, bool], None, None]:
    """The same where timestamps cannot be relied on: everything is decoded, and frames are counted, lost ones too."""
    last, left, needed, count = int(beside[-1]), set(wanted.tolist()), set(beside.tolist()), 0

    def met(frames: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        nonlocal count
        for frame in frames:
            number = count + source.lost
            if number in needed:
                yield number, frame, number in left
            count += 1

    for packet in source.packets(table, 0, len(table) - 1):
        yield from met(source.decode(packet))
        if count + source.lost > last:
            return
    yield from met(source.drain())


def _extent(times: np.ndarray) -> str:
    """Where frames lie, for people."""
    if len(times) == 1:
        return f"Its only frame lies at {times[0]:.2f} s."
    return f"Its {len(times)} frames lie between {times[0]:.2f} and {times[-1]:.2f} s."
