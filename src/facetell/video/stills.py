"""Pictures as videos of one frame, and animated pictures as videos: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC and AVIF."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from itertools import islice

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from facetell.errors import DamagedVideoError, LimitError, NotVideoError
from facetell.types import VideoInfo
from facetell.video.file import AGAIN, InputFile
from facetell.video.limits import DEFAULT_LIMITS, Limits

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # the frames of an MPO, TIFF or HEIC are other pictures
_PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Mpo", "Png", "Tiff", "WebP")
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")
_PLAIN = ("JPEG", "PNG", "WEBP")  # pictures of one kind of content, in formats that every browser reads
_TURNS = {  # EXIF orientation -> what makes a picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROTATIONS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}  # EXIF orientation -> degrees clockwise
_ORIENTATION = 0x0112  # EXIF tag
_SHORTEST_S = 0.02  # browsers show a frame that claims less for longer; this only keeps times ascending
_BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
# What Pillow raises for broken files. Its parsers take what they read for granted: a cut GIF ends in an IndexError, a
# damaged AVIF in a ZeroDivisionError, an EXIF tag of an unusual type in a TypeError or a struct.error.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, struct.error),
)


def load_formats() -> None:
    """Make Pillow know the formats that are read here, and load nothing else later on."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    for name in _PLUGINS:
        import_module(f"PIL.{name}ImagePlugin")


def is_picture(file: InputFile) -> bool:
    """Whether the file begins like one of the picture formats, whatever its name."""
    head = file.read(0, 12)
    if head[4:8] == b"ftyp":
        return head[8:] in _BRANDS
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, PNG or WebP, by its header; None of anything else.

    >>> plain_size(b"GIF89a")
    """
    try:
        with Image.open(io.BytesIO(data), formats=_PLAIN) as image:
            return image.size
    except (*_BROKEN, Image.DecompressionBombError):
        return None


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture file; an animated one has several frames, each shown from its time on."""

    file: InputFile
    info: VideoInfo
    times: np.ndarray  # (n,) seconds
    skipped: int = 0  # pictures in the file before the first frame

    def frames(self, wanted: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        """The time and the upright (H, W, 3) uint8 RGB image of the frames of these numbers, which ascend."""
        with opened(self.file) as image:
            for number in wanted.tolist():
                image.seek(self.skipped + number)
                yield float(self.times[number]), _rgb(image)


def open_picture(file: InputFile, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Read a picture's header, and all frames' durations if it is animated.

    Raises:
        DamagedVideoError, LimitError.
        NotVideoError: of an unknown kind, or its pixels are 32-bit numbers, of which none says what is white.
    """
    with opened(file) as image:
        limits.check_size(file.name, *image.size)
        if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
            raise NotVideoError(f"{file.name} has pixels of 32 bits.", "Save it with 8 or 16 bits a colour.")
        animated = image.format in _ANIMATED and getattr(image, "is_animated", False)
        if animated and getattr(image, "n_frames", 1) > limits.frames:
            raise LimitError(f"{file.name} has more than {limits.frames:,} frames.", "Raise --max-frames.")
        # A PNG may begin with a picture for programs that know no animations; others never show it.
        skipped = int(animated and image.info.get("default_image") is True)
        steps = _steps(image, skipped) if animated else [0.0]
        rotation = _ROTATIONS.get(image.getexif().get(_ORIENTATION, 1), 0)
        is_upright = rotation in (0, 180) or image.format == "TIFF"  # whose size Pillow turns itself
        width, height = image.size if is_upright else image.size[::-1]
        total, kind = sum(steps), (image.format or "").lower()
        info = VideoInfo(
            container=kind,
            codec=kind,
            width=width,
            height=height,
            frame_rate=Fraction(len(steps) / total).limit_denominator(1001) if total else None,
            duration_s=total or None,
            frame_count=len(steps),
            rotation=rotation,
            pixel_format=image.mode,
            bit_depth=_bit_depth(file, image),
            variable_frame_rate=len({round(step, 3) for step in steps}) > 1,
            size_bytes=file.size,
            is_still=len(steps) == 1,
        )
    return Picture(file, info, np.cumsum([0.0, *steps[:-1]]), skipped)


@contextmanager
def opened(file: InputFile) -> Iterator[Image.Image]:
    """Pillow's image, with what goes wrong while it is read as named errors.

    Raises:
        DamagedVideoError, LimitError.
        NotVideoError: of a kind that Pillow does not know, or with too little of it left to tell.
    """
    load_formats()
    name = file.name
    try:
        with file.open() as content, Image.open(content, formats=_FORMATS) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise LimitError(f"{name} is too large a picture: {error}", "Scale it down first.") from error
    except UnidentifiedImageError as error:
        raise NotVideoError(
            f"{name} begins like a picture, but is of a kind that facetell cannot read, or damaged.",
            "Save it as PNG or JPEG, or fetch it again.",
        ) from error
    except _BROKEN as error:
        raise DamagedVideoError(f"{name} is damaged: {error}.", AGAIN) from error


def _bit_depth(file: InputFile, image: Image.Image) -> int:
    """Bits a colour in the file, of which Pillow gives 8 at most where there are three; 8 where it says nothing."""
    if image.format == "HEIF":
        return image.info.get("bit_depth", 8)
    is_deep = image.format == "PNG" and file.read(12, 4) == b"IHDR" and file.read(24, 1) == b"\x10"
    return 16 if is_deep or image.mode.startswith("I") else 8


def _steps(image: Image.Image, skipped: int) -> list[float]:
    """How long each frame of an animation is shown, in seconds, without the pictures that come before the first."""
    steps = [_seconds(frame) for frame in islice(ImageSequence.Iterator(image), skipped, None)]
    if not steps:
        raise EOFError("its animation is missing")
    image.seek(0)
    return steps


def _seconds(frame: Image.Image) -> float:
    frame.load()  # WebP tells a frame's duration only then
    return max(frame.info.get("duration", 0) / 1000, _SHORTEST_S)


def _rgb(image: Image.Image) -> np.ndarray:
    image.load()  # PNG tells its orientation only then, and Pillow turns a TIFF
    # ImageOps.exif_transpose would write all EXIF tags anew, which fails on one of an unusual type.
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip and not scale
        grey = (np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if "A" in upright.getbands() or "transparency" in upright.info:
        background = Image.new("RGBA", upright.size, _BACKGROUND)
        upright = Image.alpha_composite(background, upright.convert("RGBA"))
    return np.asarray(upright.convert("RGB"))
