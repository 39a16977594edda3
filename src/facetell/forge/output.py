"""Pictures and clips as facetell leaves them: whole or not at all, and saying of themselves what they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facetell.errors import OutputError, UsageError
from facetell.files import replacing
from facetell.forge.degrade import ENCODERS, Codec
from facetell.video.colour import encodable, tag_colours
from facetell.video.sound import Samples, SoundWriter

AnyPath = str | os.PathLike[str]
STILLS = (".png", ".jpg", ".jpeg")
CLIPS = (".mp4", ".mov", ".mkv")
_CLOCK = Fraction(1, 90000)
_EXIF_DESCRIPTION = 0x010E
_TEXT = "FORGED BY FACETELL"


def check_target(sources: Iterable[AnyPath], target: AnyPath, is_still: bool, force: bool) -> Path:
    """The path to write to, if that can be done; asked before any long work.

    Raises:
        UsageError: a suffix that does not fit, or one of the sources.
        OutputError: a file is there and `force` is not given, there is no such folder, or no file can have this name.
    """
    path, kinds = Path(target), STILLS if is_still else CLIPS
    if path.suffix.lower() not in kinds:
        what = "picture" if is_still else "video"
        raise UsageError(f"{path} is no name for a {what} that can be written.", f"Use {', '.join(kinds)}.")
    try:
        there = os.stat(path)
    except FileNotFoundError:
        there = None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.", "Choose another name.") from error
    folder = os.path.dirname(os.path.realpath(path))
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise OutputError(f"{path} cannot be written.", f"There must be a folder {folder} that you may write to.")
    if there and any(os.path.samestat(there, os.stat(source)) for source in sources):
        raise UsageError(f"{path} is also what is to be read.", "Choose another name.")
    if there and not force:
        raise OutputError(f"{path} is already there.", "Choose another name, or allow it to be replaced with --force.")
    return path


def marked(image: np.ndarray) -> np.ndarray:
    """The picture with a dark band along its lower edge that says it is forged.

    >>> bool((marked(np.full((120, 200, 3), 255, np.uint8))[-8:] < 128).any())
    True
    """
    height, width = image.shape[:2]
    (text_width, text_height), _ = cv2.getTextSize(_TEXT, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    scale = min(0.6 * width / text_width, 0.05 * height / text_height)
    band = max(1, round(text_height * scale * 2))
    result = image.copy()
    result[-band:] = result[-band:] // 4
    place = (band // 2, height - round(band * 0.28))
    cv2.putText(result, _TEXT, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return result


def write_still(path: Path, image: np.ndarray, comment: str) -> None:
    """Save a picture (PNG or JPEG by its suffix) that carries a comment.

    Raises:
        OutputError: the file cannot be written.
    """
    picture = Image.fromarray(image)
    with replacing(path) as part:
        if path.suffix.lower() == ".png":
            text = PngInfo()
            text.add_text("Comment", comment)
            picture.save(part, pnginfo=text)
        else:
            exif = Image.Exif()
            exif[_EXIF_DESCRIPTION] = comment
            picture.save(part, quality=95, exif=exif, comment=comment)


class ClipWriter:
    """Encodes frames at the times they are shown; made by `clip_writer`."""

    def __init__(self, container: Any, stream: Any, sound: Iterable[Samples]) -> None:
        self._container = container
        self._stream = stream
        self._sound = SoundWriter(container, sound)
        self._last = -1

    def write(self, image: np.ndarray, time_s: float) -> None:
        """Add one frame, (H, W, 3) uint8 RGB or (H, W) grey; an odd last row or column is left out."""
        even = image[: self._stream.height, : self._stream.width]
        frame = encodable(even if image.ndim == 3 else np.repeat(even[..., None], 3, axis=2), self._stream)
        self._last = max(self._last + 1, round(time_s / _CLOCK))
        frame.pts, frame.time_base = self._last, _CLOCK
        self._sound.write_until(time_s)
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._sound.end()


@contextmanager
def clip_writer(
    path: Path,
    size: tuple[int, int],
    rate: Fraction | None,
    comment: str,
    codec: Codec = "h264",
    crf: int = 17,
    sound: Iterable[Samples] = (),
) -> Iterator[ClipWriter]:
    """A `ClipWriter` whose file takes its place when the block ends well.

    Args:
        path: of the file, with a suffix of `CLIPS`.
        size: width and height in pixels; rounded down to even numbers.
        rate: frames a second as far as known; each frame's own time decides.
        comment: for the container's metadata.
        codec: `h264` or `h265`.
        crf: constant rate factor of the encoder; 0 is lossless for H.264.
        sound: what is heard, as `ReaderPool.sound` gives it; it becomes AAC.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as part, _opened(part, path) as out:
        out.metadata["comment"] = comment
        options = {"crf": str(crf), "preset": "veryfast"}
        if codec == "h265":
            options["x265-params"] = "log-level=error"
        stream: Any = out.add_stream(ENCODERS[codec], rate=rate or 25, options=options)
        stream.width, stream.height, stream.pix_fmt = size[0] // 2 * 2, size[1] // 2 * 2, "yuv420p"
        stream.codec_context.time_base = _CLOCK
        tag_colours(stream)
        stream.thread_type = "FRAME"  # slices would cost quality at the same rate
        if codec == "h265" and path.suffix.lower() != ".mkv":
            stream.codec_context.codec_tag = "hvc1"  # what players of MP4 look for
        writer = ClipWriter(out, stream, sound)
        yield writer
        writer.end()


@contextmanager
def _opened(part: Path, path: Path) -> Iterator[Any]:
    try:
        out = av.open(str(part), "w")
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
    try:
        with out:
            yield out
    except OSError:  # such as a full disk, which `replacing` names
        raise
    except (FFmpegError, OverflowError) as error:
        raise OutputError(f"{path} cannot be written: {error}.", "Are the times of its source in order?") from error
