"""Which H.264 packets that are called keyframes give no whole picture."""

from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.video import entry
from tests import media

AVCC = b"\1\x64\0\x1e\xff"  # behind sizes of four bytes
SPS, IDR, SLICE = b"\x67\x64\0\x1e", b"\x65\x88\x80\x10", b"\x41\x9a\x20\x10"
OTHER = bytes([5, 0xFF, 10]) + bytes(265)  # a message of 265 bytes by the user
SWEEP, AT_ONCE = b"\6\1\x2c", b"\6\1\xc4"  # recovery points: some frames ahead; here


def sei(*messages: bytes) -> bytes:
    data = b"".join(messages) + b"\x80"
    return b"\6" + data.replace(b"\0\0", b"\0\0\3")


def packet(extradata: bytes, *units: bytes) -> bytes:
    return b"".join((len(unit).to_bytes(4, "big") if extradata else b"\0\0\1") + unit for unit in units)


@pytest.mark.parametrize("extradata", [AVCC, b""])
@pytest.mark.parametrize(
    ("units", "sweeps"),
    [
        ([SPS, sei(SWEEP), SLICE], True),
        ([SPS, sei(OTHER, SWEEP), SLICE], True),
        ([sei(OTHER), sei(SWEEP), SLICE], True),
        ([SPS, sei(AT_ONCE), SLICE], False),
        ([SPS, IDR], False),
        ([SLICE], False),
        ([SLICE, sei(SWEEP)], False),
        ([sei(OTHER)], False),
        ([sei(b"\6\0")], False),
        ([sei(b"\6\x50\x2c")], False),
        ([], False),
    ],
)
def test_a_sweep_is_told_by_its_recovery_point(extradata: bytes, units: list[bytes], sweeps: bool) -> None:
    assert entry.only_sweeps(packet(extradata, *units), extradata) is sweeps


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize(("options", "sweeps"), [("intra-refresh=1", [False, True, True]), ("open-gop=1", [False] * 3)])
def test_as_x264_writes_them(suffix: str, options: str, sweeps: list[bool], tmp_path: Path) -> None:
    settings = {"x264-params": f"{options}:keyint=20:min-keyint=20:scenecut=0"}
    path = media.write_video(tmp_path / f"a{suffix}", media.numbered_frames(60), options=settings)
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
        keys = [packet for packet in container.demux(video=0) if packet.is_keyframe]
    assert [entry.only_sweeps(key, extradata) for key in keys] == sweeps


@given(st.binary(max_size=300), st.sampled_from([AVCC, b"", b"\1", b"\0\0\0\1"]))
def test_any_bytes(data: bytes, extradata: bytes) -> None:
    assert entry.only_sweeps(data, extradata) in (True, False)
    assert entry.only_sweeps(packet(extradata, b"\6" + data), extradata) in (True, False)
