"""A still of a data set: a file of its own, or inside a tar."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facetell.data.cache import decode_picture
from facetell.data.tar import open_file, read_bytes
from facetell.errors import NotVideoError
from facetell.video import ReaderPool, stills


@dataclass(frozen=True, eq=False, slots=True)
class Still:
    """What a picture's file holds."""

    image: np.ndarray  # (H, W, 3) uint8 RGB, upright
    encoded: bytes  # the file's own
    plain: bool  # an opaque JPEG, PNG or WebP
    codec: str  # by the bytes, whatever the name: "jpeg", "png", …


def read_still(path: str, member: str, readers: ReaderPool) -> Still:
    """Read a still; `member` is its name inside the tar `path`, or "".

    An opaque JPEG, PNG or WebP is decoded in this process, as caches of faces decode theirs; anything else, whatever
    its name, where videos are.

    Raises:
        FileMissingError: nothing there.
        NotVideoError, DamagedVideoError: no picture that can be decoded.
        LimitError: more pixels than allowed.
        ReaderCrashError: the reading process broke down.
    """
    data = read_bytes(path, member)
    size = stills.plain_size(data)
    if size is not None:
        codec, transparent = _kind(data)
        if not transparent:
            readers.limits.check_size(member or path, *size)
            image = decode_picture(data)
            if image is None:
                raise NotVideoError(f"{member or path} is not a picture that can be decoded.")
            return Still(image, data, True, codec)
    with readers.open(open_file(path, member), "at:0") as reader:
        (image,) = (frame.image.copy() for frame in reader)
        return Still(image, data, False, reader.info.codec)


def _kind(data: bytes) -> tuple[str, bool]:
    """What a JPEG, PNG or WebP is, and whether it may be seen through: OpenCV shows what lies hidden there."""
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        return (image.format or "").lower(), image.has_transparency_data
