"""A decoded frame becomes the picture a person would see: upright RGB with square pixels in standard dynamic range."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import cv2
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import Colorspace, ColorTrc, VideoReformatter

HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_REFERENCE_WHITE = 203.0  # cd/m² of a white sheet of paper in HDR, ITU-R BT.2408
_MATRICES = (0, 1, 4, 5, 6, 7, 9)  # AVColorSpace: RGB, BT.709, FCC, BT.470BG, SMPTE 170M, SMPTE 240M, BT.2020
_BT2020_TO_BT709 = np.array(  # linear light, ITU-R BT.2087
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Orientation:
    """What makes a stored picture upright: swap its axes, then mirror it left to right, then top to bottom.

    >>> Orientation(swap=True, mirror=True).rotation
    90
    """

    swap: bool = False
    mirror: bool = False
    flip: bool = False

    @property
    def rotation(self) -> int:
        """Degrees clockwise, of a mirrored picture before it is mirrored."""
        if self.swap:
            return 270 if self.flip else 90
        return 180 if self.flip else 0

    def apply(self, image: np.ndarray) -> np.ndarray:
        if self.swap:
            image = cv2.transpose(image)
        if self.mirror or self.flip:
            image = cv2.flip(image, -1 if self.mirror and self.flip else 1 if self.mirror else 0)
        return image


_TURNED = (
    Orientation(),
    Orientation(swap=True, mirror=True),
    Orientation(mirror=True, flip=True),
    Orientation(swap=True, flip=True),
)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read from the display matrix; an angle between right angles counts as the nearest."""
    try:
        matrix = cast(SideDataContainer, frame.side_data).get(Type.DISPLAYMATRIX)
    except ValueError:  # beside it lies something that PyAV has no name for, such as EXIF: the angle must do
        return _TURNED[round(-frame.rotation / 90) % 4]
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype="<i4")[:5].tolist()
    if abs(b) > abs(a):
        return Orientation(swap=True, mirror=c < 0, flip=b < 0)
    return Orientation(mirror=a < 0, flip=d < 0)


def square_size(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """The size at which pixels are square, never losing any; absurd aspects (beyond 1:8) count as square.

    >>> square_size(720, 576, Fraction(16, 11))
    (1047, 576)
    """
    if not Fraction(1, 8) <= pixel_aspect <= 8:
        return width, height
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def deinterlaced(frame: av.VideoFrame) -> av.VideoFrame:
    """One field at full height, the missing lines traced along edges: needs no neighbouring frame."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    graph.link_nodes(source, graph.add("estdif", "mode=frame:deint=all"), graph.add("buffersink")).configure()
    graph.push(frame)
    graph.push(None)
    return graph.vpull()


class Renderer:
    """Turns the decoded frames of one stream into pictures.

    Args:
        orientation: from `orientation_of`.
        pixel_aspect: width of a pixel by its height.
    """

    def __init__(self, orientation: Orientation, pixel_aspect: Fraction) -> None:
        self._orientation = orientation
        self._pixel_aspect = pixel_aspect
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        if frame.interlaced_frame:
            frame = deinterlaced(frame)
        width, height = square_size(frame.width, frame.height, self._pixel_aspect)
        hdr = frame.color_trc in HDR_TRANSFERS
        if frame.colorspace in _MATRICES:
            matrix = frame.colorspace
        elif hdr:
            matrix = Colorspace.BT2020
        else:  # unstated: what players assume
            matrix = Colorspace.ITU709 if frame.height >= 720 or frame.width >= 1280 else Colorspace.ITU601
        made = self._reformatter.reformat(
            frame, width, height, format="rgb48le" if hdr else "rgb24", src_colorspace=matrix, threads=1
        )
        rgb = made.to_ndarray()
        if made is frame:  # the decoder's own memory, from which it may draw the next frames
            rgb = rgb.copy()
        return self._orientation.apply(to_sdr(rgb, frame.color_trc) if hdr else rgb)

    def after(self, frame: av.VideoFrame, following: av.VideoFrame) -> np.ndarray | None:
        """The second as a picture, for comparison with the first; None where they are of two sizes or forms, or
        interlaced: what a field lacks is made up, and differs from frame to frame.
        """
        shapes = {(one.width, one.height, one.format.name) for one in (frame, following)}
        if len(shapes) > 1 or frame.interlaced_frame or following.interlaced_frame:
            return None
        return self(following)


def to_sdr(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """HDR to standard dynamic range.

    The signal becomes light on a display (PQ: SMPTE ST 2084; HLG: ITU-R BT.2100 on a 1000 cd/m² display), relative to
    reference white at 203 cd/m²; BT.2020 primaries become BT.709; light up to 0.6 stays as it is, and above bends
    smoothly towards 1 (x -> 0.6 + 0.4 · (1 - exp((0.6 - x) / 0.4)) on the largest of R, G and B, so that hues stay);
    and a display gamma of 2.4 (BT.1886) makes it a signal again. Reference white ends at 94 % of the signal.

    Args:
        rgb: (H, W, 3) uint16, BT.2020.
        transfer: one of HDR_TRANSFERS.

    Returns:
        (H, W, 3) uint8, BT.709.

    >>> grey = np.full((1, 1, 3), 0.58 * 65535, dtype=np.uint16)  # 203 cd/m² in PQ
    >>> int(to_sdr(grey, ColorTrc.SMPTE2084)[0, 0, 0])
    238
    """
    signal = np.arange(65536) / 65535
    if transfer == ColorTrc.SMPTE2084:
        linear = np.take((_pq(signal) / _REFERENCE_WHITE).astype(np.float32), rgb)
    else:
        linear = np.take(_hlg(signal).astype(np.float32), rgb)
        luma = linear @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
        linear *= (1000 / _REFERENCE_WHITE * cv2.pow(luma, 0.2))[..., None]  # BT.2100's system gamma of 1.2
    linear = np.maximum(cv2.transform(linear, _BT2020_TO_BT709), 0)
    peak = cv2.max(cv2.max(linear[..., 0], linear[..., 1]), linear[..., 2])
    bent = np.where(peak > 0.6, 0.6 + 0.4 * (1 - np.exp((0.6 - peak) / 0.4)), peak)
    linear *= (bent / np.maximum(peak, 1e-6))[..., None]
    return np.rint(cv2.pow(linear, 1 / 2.4) * 255).astype(np.uint8)


def _pq(signal: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: signal 0…1 to cd/m²."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    return 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def _hlg(signal: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100 HLG: signal 0…1 to light in the scene, 0…1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
