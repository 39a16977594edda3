"""The colours of videos that facetell writes: BT.709 in limited range, and tagged as that.

An encoder given RGB would take BT.601 and say nothing, and players read an untagged HD video as BT.709.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc


def tag_colours(stream: Any) -> None:
    """Let a stream that is to be encoded say what its colours are."""
    context = stream.codec_context
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def encodable(image: np.ndarray, stream: Any) -> av.VideoFrame:
    """A picture, (H, W, 3) uint8 RGB, as a frame of a tagged stream, at that one's size and in its pixel format."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(
        *(stream.width, stream.height, stream.pix_fmt),
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
