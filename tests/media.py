"""Small pictures and videos made for the tests, all from scikit-image's astronaut (public domain).

The astronaut's face lies at about x 170-280, y 60-200 of the 512×512 picture. Mirrored and re-coloured copies stand for
other people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from skimage import data

FACE = (170, 60, 110, 140)  # x, y, w, h in `astronaut()`
ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "av1": "libsvtav1",
    "mpeg4": "mpeg4",
}
QUICK = {
    "libx264": {"preset": "veryfast", "crf": "18", "threads": "2"},
    "libx265": {"preset": "ultrafast", "crf": "18", "x265-params": "log-level=none:pools=2"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0", "threads": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "2M", "threads": "1"},
    "libsvtav1": {"preset": "12", "crf": "25", "svtav1-params": "lp=2"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
}


@cache
def astronaut() -> np.ndarray:
    """The whole photograph: (512, 512, 3) uint8 RGB."""
    picture = np.ascontiguousarray(data.astronaut()[:, :, :3])
    picture.flags.writeable = False
    return picture


@cache
def person(number: int = 0) -> np.ndarray:
    """The astronaut (0) or one of five others, (512, 512, 3) uint8 RGB: odd ones mirrored, pairs differ in colour."""
    picture = astronaut()
    channels = ((0, 1, 2), (1, 0, 2), (2, 1, 0))[number // 2 % 3]
    picture = picture[:, :, channels]
    if number % 2:
        picture = 255 - (255 - picture[:, ::-1].astype(np.uint16)) * 3 // 4
    picture = np.ascontiguousarray(picture, dtype=np.uint8)
    picture.flags.writeable = False
    return picture


def view(picture: np.ndarray, size: tuple[int, int], centre: tuple[float, float], height: float) -> np.ndarray:
    """The window of `picture` around `centre` that is `height` high, shown at `size` (width, height)."""
    scale = size[1] / height
    shift = (size[0] / 2 - scale * centre[0], size[1] / 2 - scale * centre[1])
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], dtype=np.float32)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(picture, matrix, size, flags=way, borderMode=cv2.BORDER_REFLECT)


def portrait_frames(count: int = 30, size: tuple[int, int] = (320, 240), who: int = 0) -> Iterator[np.ndarray]:
    """One person under a moving, zooming camera; the face is about half as high as the picture."""
    for t in np.linspace(0.0, 1.0, count):
        x = 225 + 25 * np.sin(2 * np.pi * t)
        x = 511 - x if who % 2 else x
        yield view(person(who), size, (float(x), 150 + 20 * t), 300 - 40 * t)


def side_by_side(people: Sequence[int], size: int = 240) -> np.ndarray:
    """One portrait beside the other: (size, size · people, 3)."""
    return np.hstack([view(person(who), (size, size), (511 - 225 if who % 2 else 225, 140), 260) for who in people])


def crowd(count: int = 30, columns: int = 6, size: int = 120) -> np.ndarray:
    """`count` portraits in rows; what is left over of the last row is grey."""
    tiles = [side_by_side([k % 6], size) for k in range(count)]
    tiles += [np.full_like(tiles[0], 128)] * (-count % columns)
    return np.vstack([np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)])


def numbered_frames(count: int, size: tuple[int, int] = (160, 120)) -> Iterator[np.ndarray]:
    """Frames that carry their own number as a 12-bit pattern of black and white blocks; `number_in` reads it back."""
    width, height = size
    for number in range(count):
        bits = np.array([number >> k & 1 for k in range(12)], dtype=np.uint8).reshape(3, 4)
        grey = cv2.resize(bits * 200 + 28, (width, height), interpolation=cv2.INTER_NEAREST)
        yield cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def number_in(image: np.ndarray) -> int:
    """The number that `numbered_frames` wrote."""
    height, width = image.shape[:2]
    ys = [(2 * k + 1) * height // 6 for k in range(3)]
    xs = [(2 * k + 1) * width // 8 for k in range(4)]
    bits = [int(image[y - 2 : y + 3, x - 2 : x + 3].mean() > 128) for y in ys for x in xs]
    return sum(bit << k for k, bit in enumerate(bits))


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    fps: Fraction | int = 30,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    times_ms: Sequence[int] | None = None,
    gop: int | None = None,
    audio: bool = False,
    interlaced: bool = False,
    pixel_aspect: Fraction | None = None,
    colour: Mapping[str, int] | None = None,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    input_format: str = "rgb24",
) -> Path:
    """Encode frames into the container that the path's suffix names.

    Args:
        rotation: degrees clockwise that a player has to turn the stored frames by (multiples of 90).
        times_ms: each frame's timestamp, for a variable frame rate; otherwise `fps` spaces them evenly.
        gop: frames from one keyframe to the next.
        audio: adds a tone, as AAC or Opus.
        colour: of the codec context: color_range, colorspace, color_trc, color_primaries, and the frames' own.
        input_format: PyAV's name of the layout of the arrays, for tests that hand in raw yuv.
    """
    frames = iter(frames)
    first = next(frames)
    picture = av.VideoFrame.from_ndarray(first, format=input_format)
    colour = dict(colour or {})
    matrix = colour.get("colorspace", 1 if picture.height >= 720 else 5)  # unstated: what players assume
    settings = {**QUICK.get(codec, {}), **(options or {})}
    if interlaced:
        settings["flags"] = "+ildct+ilme"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"} if metadata else {}) as out:
        out.metadata.update(metadata or {})
        stream: Any = out.add_stream(codec, rate=fps, options=settings)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000) if times_ms is not None else 1 / Fraction(fps)
        if gop is not None:
            stream.codec_context.gop_size = gop
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for name, value in colour.items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(-rotation)
        sound = _add_sound(out, path.suffix) if audio else None
        count = 0
        for count, array in enumerate(chain([first], frames), 1):
            frame = av.VideoFrame.from_ndarray(array, format=input_format)
            if input_format != pix_fmt:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=colour.get("color_range"))
            for name, value in colour.items():
                setattr(frame, name, value)
            frame.time_base = stream.codec_context.time_base
            frame.pts = times_ms[count - 1] if times_ms is not None else count - 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if sound is not None:
            seconds = times_ms[count - 1] / 1000 if times_ms is not None else count / float(fps)
            _write_tone(out, sound, seconds)
    return path


def remux(path: Path, *sources: Path, shift_s: float = 0.0, options: Mapping[str, str] | None = None) -> Path:
    """The packets of one file after another, times moved by `shift_s` and each source's by a further second."""
    with ExitStack() as stack:
        out = stack.enter_context(av.open(str(path), "w", options=dict(options or {})))
        containers = [stack.enter_context(av.open(str(source))) for source in sources]
        streams = [out.add_stream_from_template(stream) for stream in containers[0].streams]
        for late, container in enumerate(containers):
            for packet in container.demux():
                if packet.pts is None or packet.dts is None:
                    continue
                offset = round((shift_s + late) / packet.time_base)
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


def write_picture(path: Path, image: np.ndarray, **options: Any) -> Path:
    """Save a still by its suffix; `options` go to Pillow (`exif=`, `quality=`, …)."""
    from PIL import Image

    Image.fromarray(image).save(path, **options)
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with a tone and no picture."""
    with av.open(str(path), "w") as out:
        _write_tone(out, _add_sound(out, path.suffix), seconds)
    return path


def _add_sound(out: Any, suffix: str) -> Any:
    return out.add_stream("libopus" if suffix == ".webm" else "aac", rate=48000, layout="mono")


def _write_tone(out: Any, stream: Any, seconds: float, pitch_hz: float = 440.0) -> None:
    step = 960
    for start in range(0, int(seconds * 48000), step):
        wave = 0.2 * np.sin(2 * np.pi * pitch_hz * np.arange(start, start + step) / 48000)
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())
