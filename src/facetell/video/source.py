"""A file opened as a container, with nothing but the file itself within its reach, and the table of its packets."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain, dropwhile
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from facetell.errors import DamagedVideoError, FileMissingError, InputError, LimitError, NotVideoError

MAX_PIXELS = 8192 * 8192
MAX_PACKETS = 5_000_000
THREADS = min(4, os.cpu_count() or 1)

# Containers of sound and video in one plain file; none of the playlists, manifests and scripts that name other files.
_CONTAINERS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,rm,wtv,nut,dv,ivf,obu,h264,hevc,av1,vvc,mjpeg,gxf,"
    "mp3,aac,wav,flac,aiff,ac3,eac3,amr,w64"
)
# Decoders that leave out frames nothing else refers to when asked, packet by packet, with all others unchanged.
_SKIPPING = ("h264", "hevc", "mpeg4", "mpeg2video")
_PICTURE_ONLY = Disposition.attached_pic | Disposition.timed_thumbnails
_FAR = 300  # packets: a gap worth a seek; reading through a smaller one is as fast
_AGAIN = "Fetch the file again."
_TRIES = 1000  # packets: how far to look for a first frame


def check_file(path: str | os.PathLike[str]) -> Path:
    """The path, if it leads to a readable file with something in it.

    Raises:
        FileMissingError: nothing there, or not a regular file, or not readable.
        NotVideoError: an empty file.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
    except IsADirectoryError as error:
        raise FileMissingError(f"{name} is a folder.", "Give the files in it.") from error
    except FileNotFoundError as error:
        raise FileMissingError(f"{name} does not exist.", "Check the path.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileMissingError(f"{name} cannot be read: {reason}.", "Check the path and its permissions.") from error
    if not stat.S_ISREG(status.st_mode):
        raise FileMissingError(f"{name} is not a regular file.", "Save the video to a file first.")
    if status.st_size == 0:
        raise NotVideoError(f"{name} is empty.", _AGAIN)
    return Path(path)


def check_size(name: str, width: int, height: int) -> None:
    """Refuse pictures larger than 8192×8192 pixels' worth.

    Raises:
        LimitError: too many pixels.
    """
    if width * height > MAX_PIXELS:
        raise LimitError(
            f"{name} is {width}×{height} pixels large; 8192×8192 pixels in all are allowed.", "Scale it down first."
        )


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The video stream's packets, read once without decoding: what is truly there, whatever the header says.

    The arrays are in the order of the file, which is the order of decoding; timestamps are in units of `time_base`.
    """

    time_base: Fraction
    pts: np.ndarray  # (n,) int64; the packet's number where the file gives no timestamp
    is_key: np.ndarray  # (n,) bool
    is_shown: np.ndarray  # (n,) bool: whole, and not cut away by an edit list
    exact: bool  # every packet states its own presentation time; else frames are told apart by counting

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


class Source:
    """An open video file and its main video stream: the largest that is neither cover art nor a thumbnail.

    Raises:
        FileMissingError, NotVideoError, DamagedVideoError, LimitError: at opening.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_file(path)
        self.name = os.fspath(path)
        self.corrupt_packets = 0
        self._open()

    def _open(self) -> None:
        options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
        try:
            self.container = av.open(
                f"file:{self.path.absolute()}", container_options=options, metadata_errors="replace"
            )
        except FFmpegError as error:
            raise self._refusal() from error
        try:
            self.stream = self._main_stream()
            check_size(self.name, self.stream.codec_context.width, self.stream.codec_context.height)
        except InputError:
            self.container.close()
            raise
        for stream in self.container.streams:
            stream.discard = Discard.default if stream is self.stream else Discard.all
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = THREADS
        self._packets = self._demuxed()
        self._at = 0  # place in the table of the packet that comes next
        self._guessing = False

    def _refusal(self) -> InputError:
        with self.path.open("rb") as file:
            head = file.read(8)
        if head[4:] == b"ftyp" or head[:4] in (b"\x1a\x45\xdf\xa3", b"RIFF"):
            return DamagedVideoError(f"{self.name} is cut off or damaged: nothing in it can be found.", _AGAIN)
        return NotVideoError(f"{self.name} is neither a video nor a picture that facetell can read.")

    def _main_stream(self) -> VideoStream:
        streams = self.container.streams
        moving = [stream for stream in streams.video if not stream.disposition & _PICTURE_ONLY]
        if not moving:
            kind = "sound" if streams.audio else "data"
            raise NotVideoError(f"{self.name} holds {kind}, but no video.", "Give a file with a picture.")
        known = [stream for stream in moving if stream.codec_context is not None and stream.codec_context.width]
        if not known:
            raise DamagedVideoError(f"{self.name} has a video stream that cannot be decoded.", _AGAIN)
        return max(known, key=lambda s: (s.frames != 1, s.codec_context.width * s.codec_context.height))

    def close(self) -> None:
        self._packets = iter(())  # the generator refers to this source: decoders would outlive it until a collection
        self.container.close()

    def scan(self) -> tuple[PacketTable, av.VideoFrame]:
        """Read all packets of the video once, decoding only until a first frame comes; then rewind.

        Raises:
            DamagedVideoError: no frame can be decoded.
            LimitError: more packets than any video has.
        """
        pts, flags, first, stated = array("q"), bytearray(), None, True
        for place, packet in enumerate(self._packets):
            if place == MAX_PACKETS:
                raise LimitError(f"{self.name} has more than {MAX_PACKETS:,} frames.", "Cut it into parts.")
            if first is None and place < _TRIES:
                frames = self.decode(packet)
                if not frames and packet.is_keyframe and not packet.is_discard:
                    frames = self.drain()
                first = frames[0] if frames else None
            stated = stated and packet.pts is not None
            pts.append(packet.pts if packet.pts is not None else 0)
            flags.append(packet.is_keyframe | (not packet.is_discard and not packet.is_corrupt) << 1)
        if first is None:
            first = next(iter(self.drain()), None)
        if first is None:
            raise DamagedVideoError(f"{self.name} is damaged: no frame of it can be decoded.", _AGAIN)
        # AVI numbers its packets in the order of decoding and leaves the order of presentation to the decoder.
        exact = stated and len(set(pts)) == len(pts) and self.container.format.name != "avi"
        bits = np.frombuffer(flags, np.uint8)
        table = PacketTable(
            time_base=(self.stream.time_base if stated else None) or 1 / Fraction(self.stream.guessed_rate or 25),
            pts=np.array(pts) if stated else np.arange(len(pts)),
            is_key=bits & 1 > 0,
            is_shown=bits & 2 > 0,
            exact=exact,
        )
        if not table.is_shown.any():
            raise DamagedVideoError(f"{self.name} is damaged: nothing in it is to be shown.", _AGAIN)
        self._seek(table, 0)
        self.corrupt_packets = 0
        return table, first

    def packets(self, table: PacketTable, first: int, last: int) -> Iterator[av.Packet]:
        """The packets at the places `first` to `last` of the table; ends early where the file does."""
        if first < self._at or (table.exact and first - self._at > _FAR):
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
        packets = self._demuxed()
        try:
            self.container.seek(int(table.pts[place]), stream=self.stream)
            packet = next(packets, None)
        except FFmpegError:
            packet = None
        landed = np.flatnonzero(table.pts == packet.pts) if packet is not None and table.exact else []
        if packet is None or not len(landed) or landed[0] > place:
            self.container.close()  # the file's index is wrong or missing
            self._open()
        else:
            self._packets, self._at = chain([packet], packets), int(landed[0])
            self._guessing = False

    def _demuxed(self) -> Iterator[av.Packet]:
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    yield packet
        except FFmpegError:
            self.corrupt_packets += 1  # nothing can be read beyond this point

    def decode(self, packet: av.Packet | None, *, wanted: bool = True) -> list[av.VideoFrame]:
        """The frames that came out of the decoder, in order of presentation.

        What it refuses is counted, and the frames after that are dropped up to the next keyframe: decoders go on from
        a lost picture with a guess at it. A packet that is not `wanted` may be left out if no other frame needs it.
        """
        context, frames = self.stream.codec_context, []
        if context.name in _SKIPPING:
            context.skip_frame = "DEFAULT" if wanted else "NONREF"
        try:
            if packet is not None and packet.is_corrupt:
                raise InvalidDataError(0, "cut off by the end of the file or a gap in it")
            frames = context.decode(packet)
        except FFmpegError:
            self.corrupt_packets += 1
            self._guessing = True
        if self._guessing:
            frames = list(dropwhile(lambda frame: not frame.key_frame, frames))
            self._guessing = not frames
        return frames

    def drain(self) -> list[av.VideoFrame]:
        """The frames still in the decoder, which is then ready for a keyframe anywhere."""
        frames = self.decode(None)
        self.stream.codec_context.flush_buffers()
        self._guessing = False
        return frames
