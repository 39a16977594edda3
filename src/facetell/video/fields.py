"""The fields of interlaced H.264 that containers hand out one by one: which two packets are one frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import av

from facetell.video.entry import SLICES, units

_SEQUENCE, _PICTURE = 7, 8  # types of NAL units: parameter sets
_MOST_SET, _MOST_HEADER = 1024, 32  # bytes: a parameter set with all its lists, the head of a slice; both take less
_MOST_FIELD = 2**25  # bytes: more than uncoded ones take of the largest interlaced pictures
_WITH_CHROMA = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)  # profiles that state their chroma format


def paired(packets: Iterable[av.Packet], extradata: bytes) -> Iterator[tuple[av.Packet, av.Packet | None]]:
    """Packets of H.264, each with the one that holds the other field of its frame; None: it needs no other.

    Two belong together as decoders see it: one field each, of opposite parity, under the same frame number.
    """
    sets = _ParameterSets(extradata)
    first, missing = None, None
    for packet in packets:
        field = sets.field_in(packet)
        if first is not None:
            is_second = field == missing
            yield first, packet if is_second else None
            first = None
            if is_second:
                continue
        if field is None:
            yield packet, None
        else:
            first, missing = packet, field.opposite
    if first is not None:
        yield first, None


def joined(first: av.Packet, second: av.Packet) -> av.Packet:
    """Both fields in one packet, shown when the first is."""
    packet = av.Packet(first.size + second.size)  # made of bytes, it would lack the zeros that decoders read behind it
    packet.update(bytes(first) + bytes(second))
    packet.stream, packet.time_base = first.stream, first.time_base
    packet.pts, packet.dts = first.pts, first.dts
    packet.is_keyframe, packet.is_corrupt = first.is_keyframe, first.is_corrupt or second.is_corrupt
    for data in first.iter_sidedata():
        packet.set_sidedata(data)
    return packet


def are_possible(extradata: bytes) -> bool:
    """Whether a stream of H.264 may hold fields: not where all sequences that the container states are progressive.

    It need not be looked through, then.
    """
    return _ParameterSets(extradata).may_hold_fields


class _Field(NamedTuple):
    frame: int  # frame_num
    is_bottom: bool

    @property
    def opposite(self) -> _Field:
        return _Field(self.frame, not self.is_bottom)


class _Sequence(NamedTuple):
    is_progressive: bool  # frame_mbs_only_flag
    plane_bits: int  # of colour_plane_id in a slice's header
    frame_num_bits: int


class _ParameterSets:
    """What is known of a stream so far; damaged sets are passed over."""

    def __init__(self, extradata: bytes) -> None:
        self._extradata = extradata
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}  # number of a picture parameter set -> of its sequence's
        for unit in _stated(extradata):
            self._learn(unit)

    @property
    def may_hold_fields(self) -> bool:
        return not self._sequences or not all(sequence.is_progressive for sequence in self._sequences.values())

    def field_in(self, packet: av.Packet) -> _Field | None:
        """The one field in a packet; None if it holds a frame, both fields or nothing that can be understood."""
        slices = []
        for unit in units(bytes(packet), self._extradata) if packet.size <= _MOST_FIELD else ():
            if unit[0] & 0x1F in SLICES:
                slices.append(unit)
            else:
                self._learn(unit)
        field = self._field(slices[0]) if slices else None
        return field if field is None or field == self._field(slices[-1]) else None

    def _learn(self, unit: bytes) -> None:
        kind = unit[0] & 0x1F
        if kind not in (_SEQUENCE, _PICTURE):
            return
        bits = _Bits(unit[1:_MOST_SET])
        try:
            if kind == _SEQUENCE:
                number, sequence = _sequence(bits)
                self._sequences[number] = sequence
            else:
                number = bits.golomb(most=255)
                self._sequence_of[number] = bits.golomb(most=31)
        except ValueError:
            pass

    def _field(self, unit: bytes) -> _Field | None:
        """H.264, 7.3.3."""
        bits = _Bits(unit[1:_MOST_HEADER])
        try:
            bits.golomb()  # first_mb_in_slice
            bits.golomb()  # slice_type
            sequence = self._sequences.get(self._sequence_of.get(bits.golomb(), -1))
            if sequence is None or sequence.is_progressive:
                return None
            bits.take(sequence.plane_bits)
            frame = bits.take(sequence.frame_num_bits)
            return _Field(frame, bool(bits.take(1))) if bits.take(1) else None
        except ValueError:
            return None


def _stated(extradata: bytes) -> Iterator[bytes]:
    """The parameter sets that a container states, none empty: as ISO/IEC 14496-15 has it, or like a packet's."""
    if extradata[:1] != b"\1":
        yield from units(extradata, b"")
        return
    at = 5
    for mask in (0x1F, 0xFF):  # sequences, pictures
        count = int.from_bytes(extradata[at : at + 1], "big") & mask
        at += 1
        for _ in range(count):
            end = at + 2 + int.from_bytes(extradata[at : at + 2], "big")
            if unit := extradata[at + 2 : end]:
                yield unit
            at = end


def _sequence(bits: _Bits) -> tuple[int, _Sequence]:
    """A sequence parameter set and its number; H.264, 7.3.2.1.1."""
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    number, plane_bits = bits.golomb(most=31), 0
    if profile in _WITH_CHROMA:
        chroma = bits.golomb(most=3)
        plane_bits = 2 * bits.take(1) if chroma == 3 else 0
        bits.golomb()  # bit depths
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for size in [16] * 6 + [64] * (6 if chroma == 3 else 2):
                if bits.take(1):
                    _skip_scaling_list(bits, size)
    frame_num_bits = bits.golomb(most=12) + 4
    order = bits.golomb(most=2)
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb(most=255)):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.take(1)
    bits.golomb()  # width, height
    bits.golomb()
    return number, _Sequence(bool(bits.take(1)), plane_bits, frame_num_bits)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    """H.264, 7.3.2.1.1.1: it ends early where the next scale would be 0."""
    last = 8
    for _ in range(size):
        code = bits.golomb()
        last = (last + (code // 2 + 1 if code % 2 else -(code // 2))) % 256
        if last == 0:
            return


class _Bits:
    """The bits of a NAL unit, read from the first; ValueError behind the last, or where a number is too large."""

    def __init__(self, data: bytes) -> None:
        self._bits = bin(int.from_bytes(b"\1" + data.replace(b"\0\0\3", b"\0\0"), "big"))[3:]
        self._at = 0

    def take(self, count: int) -> int:
        start, self._at = self._at, self._at + count
        if self._at > len(self._bits):
            raise ValueError("the unit ends too early")
        return int(self._bits[start : self._at] or "0", 2)

    def golomb(self, most: int = 2**32) -> int:
        """An Exp-Golomb code."""
        zeros = self._bits.index("1", self._at) - self._at
        self._at += zeros
        number = self.take(zeros + 1) - 1
        if number > most:
            raise ValueError("a number out of its range")
        return number
