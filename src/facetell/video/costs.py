"""What it costs to get at frames: a model in processor seconds, to choose between ways and not to foretell times.

Measured with H.264 from 320×320 to 1920×1080, between 0.4 and 13 KB a frame, on one x86-64 core of 2026. The numbers
are fixed: measured anew they would make the same file give other frames on another machine, or on a busy one.
"""

from __future__ import annotations

import numpy as np

SEEK = 2e-4  # in an .mp4; 0.4e-4 in .mkv and .ts, but disks are slower than memory
RESTART = 1.0  # frames' decoding that is lost when a decoder with two threads is drained and begins anew
_PIXEL, _CODED_BYTE = 1.2e-9, 150e-9  # decoding
_PACKET, _BYTE = 3.5e-6, 0.4e-9  # reading without decoding


def of_decoding(sizes: np.ndarray, pixels: int) -> np.ndarray:
    """Seconds to decode packets of these sizes (n,) in bytes, each a frame of so many pixels.

    >>> of_decoding(np.array([12_000]), 1920 * 1080).round(4).tolist()
    [0.0043]
    """
    return pixels * _PIXEL + sizes * _CODED_BYTE


def of_reading(sizes: np.ndarray) -> np.ndarray:
    """Seconds to read past them."""
    return _PACKET + sizes * _BYTE
