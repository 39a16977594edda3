"""Interlaced H.264 whose fields are packets of their own: joined to frames as decoders join them."""

import io
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.errors import InputError
from facetell.video import VideoReader, fields, probe, provenance
from facetell.video.source import Source
from tests import media

WIDTH, HEIGHT, GROUP = 32, 64, 10  # frames from keyframe to keyframe
STEP = 3600  # of a clock of 90 kHz, from frame to frame
TOP, BOTTOM = 0, 1
FORMS = ["fields.ts", "frames.ts", "fields.264", "fields.mp4", "frames.mp4", "fields.mkv"]  # what is in a file's packet


def u(count: int, number: int) -> str:
    return f"{number:0{count}b}"


def ue(number: int) -> str:
    return u(2 * (number + 1).bit_length() - 1, number + 1)


def se(number: int) -> str:
    return ue(2 * number - 1 if number > 0 else -2 * number)


def unit(head: int, bits: str, body: bytes = b"") -> bytes:
    bits += "0" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big") + body
    return bytes([head]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", data)


def sequence(
    number: int = 0,
    frame_num_bits: int = 4,
    *,
    profile: int = 77,
    high: str = "",
    order: str = ue(0) + ue(4),
    is_progressive: bool = False,
) -> bytes:
    """A sequence parameter set; `high` is what some profiles state, `order` how pictures are put in order."""
    size = ue(WIDTH // 16 - 1) + ue(HEIGHT // (16 if is_progressive else 32) - 1)
    scan = u(1, 1) if is_progressive else u(2, 0)
    timing = "00001" + u(32, 1) + u(32, 50) + "1"
    no_reordering = "1" + "1" + ue(0) + ue(0) + ue(10) + ue(10) + ue(0) + ue(1)
    bits = u(8, profile) + u(8, 0) + u(8, 30) + ue(number) + high + ue(frame_num_bits - 4) + order + ue(1) + "0"
    return unit(0x67, bits + size + scan + "1" + "0" + "1" + timing + "000" + no_reordering + "1")


def picture_set(number: int = 0, of: int = 0) -> bytes:
    return unit(0x68, ue(number) + ue(of) + "00" + ue(0) + ue(0) + ue(0) + "000" + se(0) * 3 + "000" + "1")


def coded(number: int, side: int | None, *, frame_num: int, is_reference: bool = True) -> bytes:
    """Frame `number` of a video, or one field of it, of one grey that tells its number, not compressed."""
    is_key = number % GROUP == 0 and side != BOTTOM
    bits = ue(0) + ue(7 if is_key else 5) + ue(0) + u(4, frame_num)
    bits += u(1, 0) if side is None else u(1, 1) + u(1, side)
    bits += (ue(0) if is_key else "") + u(8, 2 * (number % GROUP) + (side or 0)) + ("" if is_key else "00")
    bits += ("00" if is_key else "0" if is_reference else "") + se(0)
    kind = ue(25) if is_key else ue(0) + ue(30)  # a block of plain samples
    samples = bytes([16 + 4 * number] * 256 + [128] * 128)
    blocks = WIDTH * HEIGHT // 256 // (1 if side is None else 2)
    bits += kind + "0" * (-len(bits + kind) % 8)
    between = int(kind.ljust(16, "0"), 2).to_bytes(2, "big")
    body = between.join([samples] * blocks) + b"\x80"
    return unit(0x65 if is_key else 0x61 if is_reference else 0x01, bits, body)


def annex_b(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + one for one in units)


def pictures(count: int, mixed: bool) -> Iterator[list[bytes]]:
    """Of each frame the coded pictures: two fields, or one where a `mixed` video's group begins.

    Every third frame and the one after it is referred to by none, so that both bear the same frame number.
    """
    frame_num = 0
    for number in range(count):
        frame_num = 0 if number % GROUP == 0 else frame_num
        is_reference = number % GROUP % 3 == 0
        sides = (None,) if mixed and number % GROUP < GROUP // 2 else (TOP, BOTTOM)
        parts = [coded(number, side, frame_num=frame_num, is_reference=is_reference) for side in sides]
        sets = [sequence(), picture_set()] if number % GROUP == 0 else []
        yield [annex_b(b"\x09\xf0", *(sets if part is parts[0] else []), part) for part in parts]
        frame_num += is_reference


def write(path: Path, count: int = 40, *, mixed: bool = False, early: int = 0, without: int | None = None) -> Path:
    """A clip; its name says what goes into a packet. `early` frames are cut away; one packet is left out."""
    frames = list(pictures(count, mixed))
    if path.stem.startswith("frames"):
        frames = [[b"".join(parts)] for parts in frames]
    packets = [
        (data, (number - early) * STEP + place * STEP // 2, number % GROUP == 0 and place == 0)
        for number, parts in enumerate(frames)
        for place, data in enumerate(parts)
    ]
    if without is not None:
        del packets[without]
    raw = b"".join(data for data, _, _ in packets)
    if path.suffix == ".264":
        path.write_bytes(raw)
        return path
    options = {"avoid_negative_ts": "disabled"} if early else {}
    with av.open(io.BytesIO(raw), format="h264") as source, av.open(str(path), "w", options=options) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for data, time, is_key in packets:
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 90000)
            packet.pts = packet.dts = time
            packet.is_keyframe = is_key
            out.mux(packet)
    return path


def plain(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_every_frame_comes_once_at_its_time(name: str, mixed: bool, tmp_path: Path) -> None:
    path = write(tmp_path / name, mixed=mixed)
    truth = plain(path)
    assert len(truth) == 40
    info = probe(path)
    assert (info.frame_count, info.duration_s, info.frame_rate) == (40, pytest.approx(1.6), 25)
    assert not info.variable_frame_rate
    assert info.interlaced is not mixed  # the first frame is told
    assert not [note for note in provenance(path, info).notes if "promises" in note or "lasts" in note]
    for plan, places in {"every:1": range(40), "uniform:8": range(2, 40, 5), "times:0.52,1.32": (13, 33)}.items():
        with VideoReader(path, plan) as video:
            found = list(video)
            assert [frame.time_s for frame in found] == pytest.approx([place / 25 for place in places]), plan
            assert all(np.array_equal(frame.image, truth[place]) for frame, place in zip(found, places, strict=True))
            assert video.corrupt_packets == 0


@pytest.mark.parametrize("name", FORMS)
def test_after_a_seek_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.video.costs.SEEK", 0.0)
    monkeypatch.setattr("facetell.video.costs.RESTART", 0.0)
    path = write(tmp_path / name)
    truth = plain(path)
    with VideoReader(path, "times:0.04,0.52,1.36") as video:
        for frame, place in zip(video, (1, 13, 34), strict=True):
            assert np.array_equal(frame.image, truth[place])
        assert video.corrupt_packets == 0


def test_a_seek_that_lands_between_the_fields_of_a_frame_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "fields.mp4")
    source = Source(path)
    table, _ = source.scan()
    demuxed, calls = Source._demuxed, []

    def late(self: Source) -> Iterator[av.Packet]:
        packets = demuxed(self)
        calls.append(1)
        if len(calls) == 1:
            next(packets)
        yield from packets

    monkeypatch.setattr(Source, "_demuxed", late)
    source._seek(table, 10)
    packets = list(source.packets(table, 10, 39))
    assert len(calls) == 2
    assert [packet.pts for packet in packets] == table.pts[10:].tolist()
    source.close()


def test_neighbouring_frames_are_paired_unless_one_is_of_two_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "frames.ts", mixed=True)
    with av.open(str(path)) as container:
        truth = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with VideoReader(path, "times:0.04,0.16,0.40", pairs=True) as video:
        for frame, place in zip(video, (1, 4, 10), strict=True):
            if place == 4:  # the next one is of two fields
                assert frame.after is None
            else:
                assert frame.after is not None
                assert np.array_equal(frame.after, truth[place + 1]), place


@pytest.mark.parametrize("name", ["fields.mp4", "frames.mp4"])
def test_what_an_edit_list_cuts_away_stays_so(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, early=3)
    truth = plain(path)
    assert len(truth) == 37
    with VideoReader(path, "every:1") as video:
        assert video.info.frame_count == 37
        assert all(np.array_equal(frame.image, there) for frame, there in zip(video, truth, strict=True))


@pytest.mark.parametrize("name", ["fields.ts", "fields.mp4"])
@pytest.mark.parametrize("without", [1, 20, 45])
def test_a_lost_field_costs_no_other_group(name: str, without: int, tmp_path: Path) -> None:
    truth = plain(write(tmp_path / "whole.ts"))
    path = write(tmp_path / name, without=without)
    with VideoReader(path, "every:1") as video:
        found = {round(25 * frame.time_s - 0.1): frame.image for frame in video}
    group = range(without // 20 * 10, without // 20 * 10 + 10)
    assert found.keys() >= set(range(40)) - set(group)
    assert all(np.array_equal(found[place], truth[place]) for place in found if place not in group)


def packets(*units: bytes) -> list[av.Packet]:
    return [av.Packet(annex_b(one)) for one in units]


def test_two_fields_of_opposite_parity_under_one_frame_number_are_a_pair() -> None:
    def field(number: int, frame_num: int, side: int | None) -> bytes:
        return coded(number, side, frame_num=frame_num)

    given = packets(
        field(0, 0, TOP),
        field(0, 0, BOTTOM),
        field(1, 1, BOTTOM),  # alone
        field(2, 2, BOTTOM),
        field(2, 2, TOP),
        field(3, 2, BOTTOM),  # alone: the next is of the same parity
        field(4, 2, BOTTOM),
        field(5, 2, None),
        b"\x06\x05",
        field(6, 3, TOP),
    )
    sets = annex_b(sequence(), picture_set())
    found = [(given.index(first), second and given.index(second)) for first, second in fields.paired(given, sets)]
    assert found == [(0, 1), (2, None), (3, 4), (5, None), (6, None), (7, None), (8, None), (9, None)]


def test_a_packet_of_both_fields_is_no_field() -> None:
    both = [annex_b(*(coded(1, side, frame_num=1) for side in sides)) for sides in ((TOP, BOTTOM), (BOTTOM, TOP))]
    given = [av.Packet(data) for data in both]
    sets = annex_b(sequence(), picture_set())
    assert list(fields.paired(given, sets)) == [(packet, None) for packet in given]


def test_joined_fields_are_shown_when_the_first_is(tmp_path: Path) -> None:
    first, second = packets(coded(0, TOP, frame_num=0), coded(0, BOTTOM, frame_num=0))
    first.pts, first.dts, first.is_keyframe = 7, 5, True
    second.pts, second.is_corrupt = 8, True
    with av.open(str(write(tmp_path / "fields.264", 4))) as container:
        first.stream, first.time_base = container.streams.video[0], Fraction(1, 25)
        packet = fields.joined(first, second)
    assert (packet.stream, packet.time_base) == (first.stream, first.time_base)
    assert (packet.pts, packet.dts, packet.is_keyframe, packet.is_corrupt) == (7, 5, True, True)
    assert bytes(packet) == bytes(first) + bytes(second)


LISTS = "1" + "1" + se(8) * 16 + "0" * 5 + "1" + se(-8) + "0"  # the second list ends at once
SEQUENCES = [  # and how many bits their frame numbers have
    (sequence(frame_num_bits=9), 9),
    (sequence(frame_num_bits=16, order=ue(2)), 16),
    (sequence(frame_num_bits=5, order=ue(1) + "0" + se(-3) + se(2) + ue(2) + se(1) + se(-70000)), 5),
    (sequence(frame_num_bits=12, profile=100, high=ue(1) + ue(0) * 2 + "0" + "0"), 12),
    (sequence(frame_num_bits=12, profile=100, high=ue(1) + ue(0) * 2 + "0" + LISTS), 12),
    (sequence(frame_num_bits=7, profile=244, high=ue(3) + "0" + ue(2) * 2 + "0" + LISTS + "0" * 4), 7),
]


def avcc(sequences: list[bytes], picture_sets: list[bytes]) -> bytes:
    """What an .mp4 states."""
    counted = [(0xE0 | len(sequences), sequences), (len(picture_sets), picture_sets)]
    lists = [bytes([count]) + b"".join(len(one).to_bytes(2, "big") + one for one in ones) for count, ones in counted]
    return b"\1\x4d\0\x1e\xff" + b"".join(lists)


def slice_of(frame_num: int, bits: int, side: int, of: int = 0) -> bytes:
    return unit(0x41, ue(0) + ue(5) + ue(of) + u(bits, frame_num) + "1" + u(1, side) + "1" * 40)


@pytest.mark.parametrize("is_sized", [False, True])
@pytest.mark.parametrize(("sequence", "bits"), SEQUENCES)
def test_frame_numbers_are_as_long_as_the_sequence_says(sequence: bytes, bits: int, is_sized: bool) -> None:
    most = 2**bits - 1
    units = [slice_of(number, bits, side) for number, side in ((most, 0), (most, 1), (most - 1, 0), (most, 1))]
    if is_sized:
        given = [av.Packet(len(one).to_bytes(4, "big") + one) for one in units]
        extradata = avcc([sequence], [picture_set()])
    else:
        given, extradata = packets(*units), annex_b(sequence, picture_set())
    assert [second is not None for _, second in fields.paired(given, extradata)] == [True, False, False]


def test_each_picture_goes_by_its_own_sequence() -> None:
    extradata = avcc([sequence(0, 4), sequence(3, 8)], [picture_set(0, 0), picture_set(1, 3)])
    units = [slice_of(5, 4, 0, 0), slice_of(5, 4, 1, 0), slice_of(133, 8, 0, 1), slice_of(133, 8, 1, 1)]
    given = [av.Packet(len(one).to_bytes(4, "big") + one) for one in units]
    assert [second is not None for _, second in fields.paired(given, extradata)] == [True, True]


def test_a_sequence_may_come_within_the_stream() -> None:
    units = [annex_b(sequence(0, 8), picture_set(), slice_of(133, 8, 0)), annex_b(slice_of(133, 8, 1))]
    assert len(list(fields.paired(map(av.Packet, units), b""))) == 1


def test_only_streams_that_may_hold_fields_are_looked_through() -> None:
    progressive, interlaced = sequence(is_progressive=True), sequence(1)
    assert not fields.are_possible(annex_b(progressive, picture_set()))
    assert not fields.are_possible(avcc([progressive], [picture_set()]))
    assert fields.are_possible(avcc([progressive, interlaced], [picture_set()]))
    assert fields.are_possible(b"")  # it will be told within the stream


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".h264"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_frames_pass_as_they_are(interlaced: bool, suffix: str, tmp_path: Path) -> None:
    options = {"x264-params": "cqm=jvt"}
    path = media.write_video(
        tmp_path / f"clip{suffix}", media.numbered_frames(20), interlaced=interlaced, options=options
    )
    with av.open(str(path)) as container:
        truth = [(bytes(packet), packet.pts) for packet in container.demux(video=0) if packet.size]
        assert fields.are_possible(container.streams.video[0].codec_context.extradata or b"") is interlaced
    source = Source(path)
    assert [(bytes(packet), packet.pts) for packet in source._packets] == truth
    source.close()


@given(st.lists(st.binary(max_size=200), max_size=4), st.sampled_from([b"", b"\1\x4d\0\x1e\xff\xe1", b"\0\0\1\x67"]))
def test_any_bytes(datas: list[bytes], extradata: bytes) -> None:
    for start in (b"", b"\0\0\1\x67\x64", b"\0\0\1\x68", b"\0\0\1\x65"):
        given = [av.Packet(start + data) for data in datas if start + data]
        found = list(fields.paired(given, extradata + b"".join(datas)))
        assert [packet for pair in found for packet in pair if packet is not None] == given


@given(st.integers(0, 7), st.data())
def test_a_damaged_sequence_breaks_nothing(bit: int, data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(SEQUENCES))[0])
    damaged[data.draw(st.integers(1, len(damaged) - 1))] ^= 1 << bit
    cut = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    given = packets(slice_of(1, 9, 0), slice_of(1, 9, 1))
    for sets in (annex_b(cut, picture_set()), avcc([cut], [picture_set()])):
        found = list(fields.paired(given, sets))
        assert [packet for pair in found for packet in pair if packet is not None] == given


def test_a_file_of_damaged_sequences_is_read_or_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "fields.264", 12).read_bytes()
    path = tmp_path / "damaged.264"
    for place in range(len(annex_b(b"\x09\xf0")) + 5, 48, 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            with VideoReader(path, "uniform:4") as video:
                assert len(list(video)) <= 4
        except InputError:
            pass
