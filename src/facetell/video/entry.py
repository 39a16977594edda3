"""Where decoding H.264 may begin: containers call more packets keyframes than give a whole picture."""

from __future__ import annotations

from collections.abc import Iterator

import av

_SEI, SLICES = 6, (1, 2, 5)  # types of NAL units
_RECOVERY_POINT = 6  # a type of SEI message
_MOST = 2**14  # bytes: how far to look for a packet's first slice
_MOST_UNITS = 256  # of a packet; recordings have some dozens


def only_sweeps(packet: av.Packet | bytes, extradata: bytes) -> bool:
    """Whether a packet only begins a sweep of intra blocks, after which pictures are whole: periodic intra refresh.

    Its recovery point then lies some frames ahead. That of an open group of pictures is the packet itself.

    Args:
        packet: the bytes of an H.264 one.
        extradata: what the container says of the stream.
    """
    for unit in units(bytes(memoryview(packet)[:_MOST]), extradata):
        if unit[0] & 0x1F in SLICES:
            return False
        if unit[0] & 0x1F == _SEI:
            for kind, payload in _messages(unit[1:].replace(b"\0\0\3", b"\0\0")):
                if kind == _RECOVERY_POINT:
                    return payload != b"" and payload[0] < 0x80  # an Exp-Golomb number of frames; a set bit is 0
    return False


def units(data: bytes, extradata: bytes) -> Iterator[bytes]:
    """The NAL units of a packet, none empty: each behind its size (ISO/IEC 14496-15), or behind 0 0 1 (H.264, annex B).

    Of a packet with more than recordings have, the last may be left out or come as one.
    """
    if extradata[:1] == b"\1" and len(extradata) > 4:
        width, at = (extradata[4] & 3) + 1, 0
        for _ in range(_MOST_UNITS):
            if at + width >= len(data):
                return
            end = at + width + int.from_bytes(data[at : at + width], "big")
            if unit := data[at + width : end]:
                yield unit
            at = end
    else:
        yield from filter(None, data.split(b"\0\0\1", _MOST_UNITS)[1:])


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The type and the payload of each message of an SEI unit; what is cut off is left out."""
    at = 0
    while at + 2 < len(data):
        numbers = []
        for _ in ("type", "size"):
            number = 0
            while data[at : at + 1] == b"\xff":
                number, at = number + 255, at + 1
            numbers.append(number + int.from_bytes(data[at : at + 1], "big"))
            at += 1
        kind, size = numbers
        if at + size > len(data):
            return
        yield kind, data[at : at + size]
        at += size
