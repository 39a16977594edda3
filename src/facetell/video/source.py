"""A file opened as a container, with nothing but the file itself within its reach, and the table of its packets."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain

import av
import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError, InvalidDataError
from av.stream import Discard, Disposition
from av.video.frame import PictureType
from av.video.stream import VideoStream

from facetell.errors import DamagedVideoError, InputError, LimitError, NotVideoError
from facetell.video import costs, entry, fields
from facetell.video.file import AGAIN, InputFile, opened
from facetell.video.limits import DEFAULT_LIMITS, Limits

THREADS = min(4, os.cpu_count() or 1)

# Containers of sound and video in one plain file; none of the playlists, manifests and scripts that name other files.
_CONTAINERS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,rm,wtv,nut,dv,ivf,obu,h264,hevc,av1,vvc,mjpeg,gxf,"
    "mp3,aac,wav,flac,aiff,ac3,eac3,amr,w64"
)
# Decoders that leave out frames nothing else refers to when asked, packet by packet, with all others unchanged.
_SKIPPING = ("h264", "hevc", "mpeg4", "mpeg2video")
# Decoders that tell which frames they patched up, and how many B-frames may wait to see if that befell the next.
_TELLING, _MOST_HELD = ("h264", "mpeg4", "mpeg2video"), 8
_STILL = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")
_PICTURE_ONLY = Disposition.attached_pic | Disposition.timed_thumbnails
_HEAD = 4096  # bytes of the first packet, where encoders write their settings
_TRIES = 1000  # packets: how far to look for a first frame


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The video stream's packets, read once without decoding: what is truly there, whatever the header says.

    The arrays are in the order of the file, which is the order of decoding; timestamps are in units of `time_base`.
    """

    time_base: Fraction
    pts: np.ndarray  # (n,) int64; the packet's number where the file gives no timestamp
    sizes: np.ndarray  # (n,) int64, bytes
    is_key: np.ndarray  # (n,) bool: decoding may begin there
    is_shown: np.ndarray  # (n,) bool: whole, and not cut away by an edit list
    exact: bool  # every packet states its own presentation time; else frames are told apart by counting
    offset_s: float = 0.0  # of the container's clock, where `pts` only numbers the packets

    def __len__(self) -> int:
        return len(self.pts)

    @cached_property
    def order(self) -> np.ndarray:
        """(m,) places in the table of the shown packets, in order of presentation."""
        shown = np.flatnonzero(self.is_shown)
        return shown[np.argsort(self.pts[shown], kind="stable")]

    @cached_property
    def times(self) -> np.ndarray:
        """(m,) seconds from the first frame, in order of presentation."""
        pts = self.pts[self.order]
        return (pts - pts[0]) * float(self.time_base)

    @property
    def span(self) -> tuple[float, float]:
        """When the first and the last frame are shown, in seconds on the container's clock."""
        first, last = (int(self.pts[self.order[place]]) * self.time_base for place in (0, -1))
        return float(first) + self.offset_s, float(last) + self.offset_s


class Source:
    """An open video file and its main video stream: the one that players show, neither cover art nor a thumbnail.

    Args:
        path: the file; an open one is closed with this source.
        limits: what it may hold.

    Raises:
        FileMissingError, NotVideoError, DamagedVideoError, LimitError: at opening.
    """

    def __init__(self, path: str | os.PathLike[str] | InputFile, limits: Limits = DEFAULT_LIMITS) -> None:
        self.file = opened(path)
        self.name = self.file.name
        self.limits = limits
        self.corrupt_packets = 0
        self.lost = 0  # frames that did not come out of `decode` for damage to them or to others
        self.empty_packets = 0  # what a header counts and is no frame: repeats in an AVI, second fields
        self.hidden = 0  # frames that an edit list cuts away
        self.missing = 0  # frames that the header states and that are not there, once all packets were read
        self.restarts = 0  # how often the clock fell, once all packets were read
        self.others = 0  # further video streams, covers and thumbnails aside
        self.head = b""  # the first packet, once it was read
        try:
            self._open()
        except InputError:
            self.file.close()
            raise

    def _open(self) -> None:
        if self.file.read(0, 5) == b"%PDF-":  # FFmpeg would take the pictures in it for a video
            raise NotVideoError(f"{self.name} is a PDF.", "Export its pages as PNG or JPEG.")
        options = {
            "protocol_whitelist": "none",  # the file itself is handed over open; nothing else can be
            "format_whitelist": _CONTAINERS,
            "max_streams": str(self.limits.streams + 1),
        }
        try:
            self.container = av.open(self.file.open(), "r", container_options=options, metadata_errors="replace")
        except MemoryError as error:
            raise self._too_much() from error
        except FFmpegError as error:
            raise self._refusal() from error
        try:
            self.stream = self._main_stream()
            context = self.stream.codec_context
            self.limits.check_size(self.name, context.width, context.height)
        except InputError:
            self.container.close()
            raise
        for stream in self.container.streams:
            stream.discard = Discard.default if stream is self.stream else Discard.all
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = THREADS
        self._extradata = self.stream.codec_context.extradata or b""
        self._packets = self._framed()
        self._at = 0  # place in the table of the packet that comes next
        self._guessing = False
        self._held: list[av.VideoFrame] = []

    def _refusal(self) -> InputError:
        head = self.file.read(0, 8)
        if head[4:] == b"ftyp" or head[:4] in (b"\x1a\x45\xdf\xa3", b"RIFF"):
            return DamagedVideoError(f"{self.name} is cut off or damaged: nothing in it can be found.", AGAIN)
        return NotVideoError(
            f"{self.name} is neither a video nor a picture that facetell can read.", "Save it as MP4, PNG or JPEG."
        )

    def _too_much(self) -> LimitError:
        return LimitError(
            f"{self.name} asks for more than {self.limits.memory_mb} MiB of memory, or too many streams.",
            "See --max-memory.",
        )

    def _main_stream(self) -> VideoStream:
        streams = self.container.streams
        if len(streams) > self.limits.streams:
            raise LimitError(
                f"{self.name} has more than {self.limits.streams} streams.", "Raise --max-streams if that is meant so."
            )
        moving = [stream for stream in streams.video if not stream.disposition & _PICTURE_ONLY]
        if not moving:
            kind = "sound" if streams.audio else "data"
            raise NotVideoError(f"{self.name} holds {kind}, but no video.", "Give a file with a picture.")
        known = [stream for stream in moving if stream.codec_context is not None and stream.codec_context.width]
        if not known:
            raise DamagedVideoError(f"{self.name} has a video stream that cannot be decoded.", AGAIN)
        main = max(known, key=_rank)
        self.others = sum(stream is not main and _is_moving(stream) for stream in known)
        return main

    @property
    def sound(self) -> AudioStream | None:
        """The first sound stream that can be decoded."""
        return next((stream for stream in self.container.streams.audio if stream.codec_context is not None), None)

    @property
    def pixels(self) -> int:
        """Of a frame, as far as the file says."""
        return self.stream.codec_context.width * self.stream.codec_context.height

    def close(self) -> None:
        self._packets = iter(())  # the generator refers to this source: decoders would outlive it until a collection
        self.container.close()
        self.file.close()

    def scan(self) -> tuple[PacketTable, av.VideoFrame]:
        """Read all packets of the video once, decoding only until a first frame comes; then rewind.

        Raises:
            DamagedVideoError: no frame can be decoded.
            LimitError: more packets than any video has.
        """
        pts, sizes, is_key, is_shown = array("q"), array("q"), bytearray(), bytearray()
        self.empty_packets = self.hidden = self.restarts = 0
        first, stated, clock, begin = None, True, None, None
        for place, packet in enumerate(self._packets):
            if place == self.limits.frames:
                raise LimitError(
                    f"{self.name} has more than {place:,} frames.", "Cut it into parts, or raise --max-frames."
                )
            self.head = self.head or bytes(packet)[:_HEAD]
            is_key.append(self._is_key(packet))
            is_shown.append(not packet.is_discard and not packet.is_corrupt)
            if first is None and place < _TRIES:
                frames = self.decode(packet)
                if not frames and is_key[-1] and not packet.is_discard:
                    frames = self.drain()
                first = frames[0] if frames else None
            stated = stated and packet.pts is not None
            if place == 0:
                begin = packet.dts if packet.pts is None else packet.pts
            if packet.dts is not None:
                self.restarts += clock is not None and packet.dts < clock
                clock = packet.dts
            self.hidden += packet.is_discard
            pts.append(packet.pts if packet.pts is not None else 0)
            sizes.append(packet.size)
        if first is None:
            first = next(iter(self.drain()), None)
        if first is None:
            raise DamagedVideoError(f"{self.name} is damaged: no frame of it can be decoded.", AGAIN)
        if self.container.format.name.startswith("mov"):  # whose index leaves out what an edit list does
            self.hidden += max(0, self.stream.frames - len(self.stream.index_entries))
        stated = stated and not self.restarts  # two recordings in one file: their times say nothing of the order
        # AVI numbers its packets in the order of decoding and leaves the order of presentation to the decoder.
        exact = stated and len(np.unique(pts)) == len(pts) and self.container.format.name != "avi"
        table = PacketTable(
            time_base=(self.stream.time_base if stated else None) or 1 / Fraction(self.stream.guessed_rate or 25),
            pts=np.array(pts) if stated else np.arange(len(pts)),
            sizes=np.array(sizes),
            is_key=np.frombuffer(is_key, bool),
            is_shown=np.frombuffer(is_shown, bool),
            exact=exact,
            offset_s=0.0 if stated else float((begin or 0) * (self.stream.time_base or 0)),
        )
        if not table.is_shown.any():
            raise DamagedVideoError(f"{self.name} is damaged: nothing in it is to be shown.", AGAIN)
        self.missing = self._missing(int(table.is_shown.sum()))
        counted = self.empty_packets  # but not what is read once more
        self._seek(table, 0)
        self.corrupt_packets = self.lost = 0
        self.empty_packets = counted
        return table, first

    def _missing(self, shown: int) -> int:
        """How many frames the header states beyond those read; a single one may be a matter of counting."""
        missing = min(self.stream.frames, self.limits.frames) - shown - self.hidden - self.empty_packets
        return missing if missing > 1 else 0

    def stated_times(self, table: PacketTable) -> np.ndarray:
        """The times of all frames that the header states, ascending: those that are missing at the header's rate."""
        there = table.times
        missing = np.arange(len(there), len(there) + self.missing) / float(self.stream.guessed_rate or 25)
        return np.concatenate([there, np.maximum(missing, there[-1])])

    def _is_key(self, packet: av.Packet) -> bool:
        if not packet.is_keyframe:
            return False
        return self.stream.codec_context.name != "h264" or not entry.only_sweeps(packet, self._extradata)

    def packets(self, table: PacketTable, first: int, last: int) -> Iterator[av.Packet]:
        """The packets at the places `first` to `last` of the table; ends early where the file does."""
        if first < self._at or (table.exact and costs.of_reading(table.sizes[self._at : first]).sum() > costs.SEEK):
            self._seek(table, first)
        for packet in self._packets:
            place = self._at
            self._at += 1
            if place >= first:
                yield packet
            if place >= last:
                return

    def _seek(self, table: PacketTable, place: int) -> None:
        """Go to `place` or somewhere before it."""
        if self.container.format.name == "mpeg":  # FFmpeg would guess at the times of packets after a seek
            if place <= self._at:
                self.rewind()
            return
        packets = self._framed()
        try:
            self.container.seek(int(table.pts[place]), stream=self.stream)
            packet = next(packets, None)
        except FFmpegError:
            packet = None
        landed = np.flatnonzero(table.pts == packet.pts) if packet is not None and table.exact else []
        if packet is None or not len(landed) or landed[0] > place:
            self.rewind()  # the file's index is wrong or missing
        else:
            self._packets, self._at = chain([packet], packets), int(landed[0])
            self._guessing, self._held = False, []

    def rewind(self) -> None:
        """Open the file anew, at its beginning."""
        self.container.close()
        self._open()

    def _framed(self) -> Iterator[av.Packet]:
        """The packets, each of a whole frame: two that hold one field each are joined."""
        if self.stream.codec_context.name != "h264" or not fields.are_possible(self._extradata):
            return self._demuxed()
        return self._joined()

    def _joined(self) -> Iterator[av.Packet]:
        for first, second in fields.paired(self._demuxed(), self._extradata):
            if second is None:
                yield first
            elif first.is_discard:  # a mark that a new packet cannot be given
                yield from (first, second)
            else:
                self.empty_packets += 1
                yield fields.joined(first, second)

    def _demuxed(self) -> Iterator[av.Packet]:
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    yield packet
                else:
                    self.empty_packets += packet.dts is not None
        except FFmpegError:
            self.corrupt_packets += 1  # nothing can be read beyond this point
        except IndexError:
            pass  # the end, where PyAV trips over streams that came up on the way

    def decode(self, packet: av.Packet | None, *, wanted: bool = True) -> list[av.VideoFrame]:
        """The frames that came out of the decoder, in order of presentation.

        What it refuses or patches up is counted, and the frames after that are dropped up to the next keyframe:
        decoders go on from a lost picture with a guess at it. A packet that is not `wanted` may be left out if no
        other frame needs it.
        """
        context, frames = self.stream.codec_context, []
        if context.name in _SKIPPING:
            context.skip_frame = "DEFAULT" if wanted else "NONREF"
        try:
            if packet is not None and packet.is_corrupt:
                raise InvalidDataError(0, "cut off by the end of the file or a gap in it")
            frames = context.decode(packet)
        except MemoryError as error:
            raise self._too_much() from error
        except FFmpegError:
            self.corrupt_packets += 1
            self.lost += 1
            self._guessing = True
        return self._whole(frames)

    def _whole(self, frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        """Those that were decoded from what is truly there; B-frames come out with the frame that is shown after them.

        It was decoded before them, and if it was patched up, they build on the patch.
        """
        whole = []
        most = _MOST_HELD if self.stream.codec_context.name in _TELLING else 0
        for frame in frames:
            if frame.is_corrupt:
                self.corrupt_packets += 1
                self.lost += 1 + len(self._held)
                self._guessing, self._held = True, []
                continue
            self._guessing = self._guessing and not frame.key_frame
            if self._guessing:
                self.lost += 1
            else:
                self._held.append(frame)
            if frame.pict_type != PictureType.B or len(self._held) > most:
                whole, self._held = whole + self._held, []
        return whole

    def drain(self) -> list[av.VideoFrame]:
        """The frames still in the decoder, which is then ready for a keyframe anywhere."""
        frames = self.decode(None) + self._held
        self.stream.codec_context.flush_buffers()
        self._guessing, self._held = False, []
        return frames


def _is_moving(stream: VideoStream) -> bool:
    return stream.codec_context.name not in _STILL or stream.frames > 1


def _rank(stream: VideoStream) -> tuple[bool, bool, bool, int]:
    """The higher, the likelier what players show.

    Matroska counts no frames and does not always say that a picture is a cover. A stream marked as the default comes
    before a larger one, behind which it could be hidden.
    """
    context = stream.codec_context
    is_default = bool(stream.disposition & Disposition.default)
    return _is_moving(stream), stream.frames != 1, is_default, context.width * context.height
