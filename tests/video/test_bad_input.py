"""Files that are not what they should be: a named error, or true frames."""

import os
import random
import shutil
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from facetell.errors import DamagedVideoError, FacetellError, FileMissingError, InputError, LimitError, NotVideoError
from facetell.video import Limits, VideoReader, probe, provenance, shared_readers
from tests import media


def read(path: Path | str, plan: str = "uniform:20") -> tuple[list[int], VideoReader]:
    with VideoReader(path, plan) as video:
        return [media.number_in(frame.image) for frame in video], video


def faststart(path: Path, out_path: Path) -> Path:
    """The same file with its table of contents in front, as most of the web's."""
    with av.open(str(path)) as given, av.open(str(out_path), "w", options={"movflags": "faststart"}) as out:
        video = given.streams.video[0]
        copy = out.add_stream_from_template(video)
        for packet in given.demux(video):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    return out_path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    path = media.write_video(folder / "plain.mp4", media.numbered_frames(100, (320, 240)), gop=20, audio=True)
    return faststart(path, folder / "clip.mp4")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"nothing\.mp4 does not exist"):
        read(tmp_path / "nothing.mp4")
    with pytest.raises(FileMissingError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(FileMissingError):
        read("a\0b.mp4")


def test_no_protocol_is_followed() -> None:
    for name in ("http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "pipe:0", "data:video/mp4;base64,AAAA"):
        with pytest.raises(FileMissingError):
            read(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo") or os.getuid() == 0, reason="needs a device one may not read")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(FileMissingError, match="cannot be read"):
        read(path)


def test_a_device_is_not_a_video() -> None:
    with pytest.raises(FileMissingError, match="not a regular file"):
        read(os.devnull)


@pytest.mark.parametrize(
    "contents",
    [
        b"Dear diary, today I made a film.\n" * 50,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
        b"\0" * 5000,
        bytes(random.Random(1).randbytes(5000)),
    ],
    ids=["text", "hls", "concat", "sdp", "dash", "svg", "zeros", "noise"],
)
def test_what_is_not_a_video_or_points_elsewhere_is_refused(contents: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=r"film\.mp4"):
        read(path)


def test_a_pdf_is_no_video_of_the_pictures_in_it(tmp_path: Path) -> None:
    path = tmp_path / "pages.pdf"
    Image.fromarray(media.person()).save(path)
    with pytest.raises(NotVideoError, match="is a PDF") as caught:
        read(path)
    assert "Export its pages" in str(caught.value)


def test_an_empty_file_and_sound_alone(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(NotVideoError, match="is empty"):
        read(tmp_path / "empty.mp4")
    with pytest.raises(NotVideoError, match="holds sound, but no video"):
        read(media.write_sound(tmp_path / "song.m4a"))


@pytest.mark.parametrize(("kind", "suffix"), [(".png", ".mp4"), (".jpg", ".mkv")])
def test_cover_art_is_not_the_video(kind: str, suffix: str, tmp_path: Path) -> None:
    cover = media.write_picture(tmp_path / f"cover{kind}", media.person())
    path = tmp_path / f"song{suffix}"
    with av.open(str(cover)) as picture, av.open(str(path), "w") as out:
        art = out.add_stream_from_template(picture.streams.video[0])
        art.disposition = Disposition.attached_pic
        film = out.add_stream("libx264", rate=30)
        film.width, film.height, film.pix_fmt = 160, 120, "yuv420p"
        for packet in picture.demux(video=0):
            if packet.size:
                packet.stream, packet.pts, packet.dts = art, 0, 0
                out.mux(packet)
        for image in media.numbered_frames(10):
            out.mux(film.encode(av.VideoFrame.from_ndarray(image)))
        out.mux(film.encode())
    info = probe(path)
    assert (info.codec, info.width, info.frame_count) == ("h264", 160, 10)
    assert read(path)[0] == list(range(10))
    assert not any("more video" in note for note in provenance(path, info).notes)


def test_no_larger_video_hides_the_one_that_players_show(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        films = [out.add_stream("libx264", rate=30) for _ in range(2)]
        for film, (width, height) in zip(films, ((320, 240), (160, 120)), strict=True):
            film.width, film.height, film.pix_fmt = width, height, "yuv420p"
        films[1].disposition = Disposition.default
        for film in films:
            for image in media.numbered_frames(10, (film.width, film.height)):
                out.mux(film.encode(av.VideoFrame.from_ndarray(image)))
            out.mux(film.encode())
    assert probe(path).width == 160


def test_one_frame_and_sixteen_pixels(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "one.mp4", media.numbered_frames(1))
    assert read(path)[0] == [0]
    assert probe(path).frame_count == 1
    small = media.write_video(tmp_path / "small.mp4", [np.full((16, 16, 3), 90, np.uint8)] * 3)
    with VideoReader(small) as video:
        assert [frame.image.shape for frame in video] == [(16, 16, 3)] * 3


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        (Limits(frames=59), "more than 59 frames"),
        (Limits(pixels=320 * 240 - 1), "320×240"),
        (Limits(streams=1), "more than 1 streams"),
    ],
)
def test_too_many_pixels_frames_or_streams_are_refused(portrait_clip: Path, limits: Limits, complaint: str) -> None:
    with pytest.raises(LimitError, match=complaint):
        VideoReader(portrait_clip, limits=limits)


@pytest.mark.slow
def test_8k_works(tmp_path: Path) -> None:
    flat = np.full((4320, 7680, 3), 128, np.uint8)
    path = media.write_video(tmp_path / "8k.mp4", [flat] * 2, options={"preset": "ultrafast"})
    with VideoReader(path) as video:
        assert [frame.image.shape for frame in video] == [flat.shape] * 2


def test_a_name_of_any_kind(clip: Path, tmp_path: Path) -> None:
    for name in ("a b'c\"d.mp4", "<b>film & 中文 ü.mp4", "-x.mp4", "concat:a|b.mp4", "100%25.mp4", "#a?b=c.mp4"):
        shutil.copy(clip, tmp_path / name)
        assert len(read(tmp_path / name)[0]) == 20
    raw = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")
    shutil.copy(clip, raw)
    assert len(read(raw)[0]) == 20


def test_cut_off_after_its_table_of_contents_the_rest_is_spread_over(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.mp4"
    contents = clip.read_bytes()
    path.write_bytes(contents[: len(contents) * 6 // 10])
    numbers, video = read(path)
    count = video.info.frame_count
    assert count is not None
    assert 30 < count < 80
    assert read(path, "every:1")[0] == list(range(count))  # and no half picture at the end
    assert len(numbers) >= 19
    assert numbers == sorted(numbers)
    assert numbers[-1] > 0.9 * count


def cut_after(path: Path, count: int, out: Path) -> Path:
    """The same file up to the middle of the packet after so many."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][count]
    assert packet.pos is not None
    out.write_bytes(path.read_bytes()[: packet.pos + packet.size // 2])
    return out


@pytest.mark.parametrize(
    ("plan", "wanted", "whole"),
    [("uniform:20", 20, 20), ("every:5", 12, 20), ("seconds:1", 2, 4), ("times:0,1,3", 2, 3), ("at:3", 1, 1)],
)
def test_what_the_plan_would_have_taken_of_the_frames_that_were_cut_off_is_wanted(
    plan: str, wanted: int, whole: int, tmp_path: Path
) -> None:
    path = media.write_video(tmp_path / "clip.mp4", media.numbered_frames(100), gop=20, options={"bf": "0"})
    path = faststart(path, tmp_path / "fast.mp4")
    with VideoReader(cut_after(path, 60, tmp_path / "cut.mp4"), plan) as video:
        assert (len(list(video)), video.wanted) == (wanted, whole)
    with shared_readers().open(tmp_path / "cut.mp4", plan) as reader:
        assert reader.wanted == whole
    with VideoReader(tmp_path / "cut.mp4", plan, end_s=1.0) as video:
        assert len(list(video)) == video.wanted
    with VideoReader(cut_after(path, 1, tmp_path / "cut.mp4"), plan="uniform:20") as video:
        assert (len(list(video)), video.wanted) == (1, 20)


def test_the_header_of_an_avi_counts_too_but_no_further_than_the_limit(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.avi", media.numbered_frames(100), codec="mpeg4", gop=20)
    cut = cut_after(path, 60, tmp_path / "cut.avi")
    with VideoReader(cut, "every:1") as video:
        assert video.wanted == 100
    contents = cut.read_bytes()
    at = contents.index(b"strh") + 40  # dwLength
    assert contents[at : at + 4] == (100).to_bytes(4, "little")
    cut.write_bytes(contents[:at] + b"\xff\xff\xff\x7f" + contents[at + 4 :])
    with VideoReader(cut, "every:1", limits=Limits(frames=1000)) as video:
        assert video.wanted == 1000


@pytest.mark.parametrize("gop", [15, 300])
def test_what_an_edit_list_leaves_out_is_not_missing(gop: int, tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "whole.mp4", media.numbered_frames(90), gop=gop)
    trimmed = media.remux(tmp_path / "trim.mp4", whole, shift_s=-1.0, options={"avoid_negative_ts": "disabled"})
    with VideoReader(trimmed, "every:1") as video:
        assert video.wanted == len(list(video)) == 60
    notes = provenance(trimmed, probe(trimmed)).notes
    assert any("30 frames are in the file but not shown" in note for note in notes)
    assert not any("cut off" in note for note in notes)


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_cut_off_in_the_middle(suffix: str, tmp_path: Path) -> None:
    path = media.write_video(tmp_path / f"clip{suffix}", media.numbered_frames(100, (320, 240)), gop=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    numbers, video = read(path)
    assert len(numbers) >= 19
    assert 30 < (video.info.frame_count or 0) < 70


def test_cut_off_before_its_table_of_contents(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "half.mp4", media.numbered_frames(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedVideoError, match="cut off"):
        read(path)


def test_corrupt_packets_are_counted_and_the_rest_is_true(clip: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    contents = bytearray(clip.read_bytes())
    for packet in packets[25:40]:  # within the second group of pictures
        assert packet.pos is not None
        contents[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path = tmp_path / "hurt.mp4"
    path.write_bytes(contents)
    with VideoReader(path, "every:1") as video:
        frames = {round(frame.time_s * 30): media.number_in(frame.image) for frame in video}
    assert video.corrupt_packets > 0
    assert set(range(20)) | set(range(40, 100)) <= frames.keys()
    assert all(shown == number for number, shown in frames.items())


def test_after_a_lost_keyframe_nothing_is_shown_before_the_next(clip: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][40]
    assert packet.is_keyframe
    assert packet.pos is not None
    contents = bytearray(clip.read_bytes())
    contents[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path = tmp_path / "hurt.mp4"
    path.write_bytes(contents)
    with VideoReader(path, "every:1") as video:
        frames = {round(frame.time_s * 30): media.number_in(frame.image) for frame in video}
    assert set(range(38)) | set(range(60, 100)) <= frames.keys()
    assert all(shown == number for number, shown in frames.items())


def scarred(path: Path, number: int) -> Path:
    """A copy whose packet of that number can be decoded in part only, which decoders paint over."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
    contents = bytearray(path.read_bytes())
    middle = contents.index(bytes(packet)) + packet.size // 2
    contents[middle : middle + 40] = b"\x55" * 40
    hurt = path.with_stem("hurt")
    hurt.write_bytes(contents)
    return hurt


def images(path: Path) -> tuple[dict[int, np.ndarray], int]:
    with VideoReader(path, "every:1") as video:
        return {round(frame.time_s * 30): frame.image for frame in video}, video.corrupt_packets


@pytest.mark.parametrize(
    ("codec", "suffix", "number", "lost"),
    [  # the packet's frame is one that B-frames shown before it refer to; .avi has none, and its frames are counted
        ("libx264", ".mp4", 5, range(5, 20)),
        ("mpeg4", ".mp4", 4, range(4, 21)),
        ("mpeg2video", ".mkv", 4, range(4, 21)),
        ("mpeg4", ".avi", 4, range(4, 20)),
    ],
)
def test_what_the_decoder_painted_over_is_dropped_with_all_that_builds_on_it(
    codec: str, suffix: str, number: int, lost: range, tmp_path: Path
) -> None:
    """Also the frames shown before it that refer to it."""
    options = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"} if codec == "libx264" else {"bf": "2"}
    path = media.write_video(
        tmp_path / f"clip{suffix}",
        media.portrait_frames(40),
        codec=codec,
        gop=20,
        options={} if suffix == ".avi" else options,
    )
    whole, none_corrupt = images(path)
    assert (len(whole), none_corrupt) == (40, 0)
    left, corrupt = images(scarred(path, number))
    assert corrupt == 1
    assert sorted(left) == [k for k in range(40) if k not in lost]
    assert all(np.array_equal(left[k], whole[k]) for k in left)


def test_where_no_keyframe_follows_the_damage_all_after_it_is_lost_and_that_is_said(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", media.portrait_frames(40), gop=100, options={"bf": "0"})
    hurt = scarred(path, 10)
    left, corrupt = images(hurt)
    assert (sorted(left), corrupt) == (list(range(10)), 1)
    with VideoReader(hurt, "at:30") as video, pytest.raises(DamagedVideoError, match="none of the 1 frames wanted"):
        list(video)


def test_films_without_further_keyframes_or_cut_between_them_lose_nothing(tmp_path: Path) -> None:
    refresh = {"x264-params": "intra-refresh=1:keyint=10"}
    path = media.write_video(tmp_path / "refresh.mp4", media.portrait_frames(60), options=refresh)
    assert [len(images(path)[0]), images(path)[1]] == [60, 0]
    leading = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:bframes=3:scenecut=0"}
    path = media.write_video(tmp_path / "open.mkv", media.portrait_frames(60), options=leading)
    late = tmp_path / "late.mkv"
    with av.open(str(path)) as given, av.open(str(late), "w") as out:
        copy = out.add_stream_from_template(given.streams.video[0])
        for packet in [packet for packet in given.demux(video=0) if packet.size][7:]:
            packet.stream = copy
            out.mux(packet)
    with VideoReader(late, "every:1") as video:
        assert (len(list(video)), video.corrupt_packets) == (40, 0)


def test_all_packets_corrupt(clip: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    contents = bytearray(clip.read_bytes())
    for packet in packets:
        assert packet.pos is not None
        contents[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path = tmp_path / "dead.mp4"
    path.write_bytes(contents)
    with pytest.raises(DamagedVideoError, match=r"dead\.mp4"):
        read(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm", ".ts"])
def test_random_damage_ends_in_frames_or_a_named_error_and_soon(suffix: str, tmp_path: Path) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    path = media.write_video(tmp_path / f"clip{suffix}", media.numbered_frames(40), codec=codec, gop=10)
    contents, rng, start = path.read_bytes(), random.Random(suffix), time.monotonic()
    for _ in range(25):
        hurt = bytearray(contents)
        for _ in range(rng.choice((1, 5, 60))):
            hurt[rng.randrange(len(hurt))] = rng.randrange(256)
        path.write_bytes(hurt)
        with suppress(FacetellError):
            numbers, _ = read(path)
            assert 1 <= len(numbers) <= 20
    assert time.monotonic() - start < 20


def test_pictures_with_side_data_of_any_kind_are_shown(tmp_path: Path) -> None:
    """EXIF in the frames of a video, for which PyAV has no name."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    photo = media.write_picture(tmp_path / "photo.jpg", media.person(), exif=exif)
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as out:
        film = out.add_stream("mjpeg", rate=10)
        film.width, film.height, film.pix_fmt = 512, 512, "yuvj420p"
        for number in range(3):
            packet = av.Packet(photo.read_bytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = film, number, number, Fraction(1, 10)
            packet.is_keyframe = True
            out.mux(packet)
    with VideoReader(path) as video:
        assert [frame.image.shape for frame in video] == [(512, 512, 3)] * 3


def test_boxes_that_end_beyond_all_bounds(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "far.mp4"
    path.write_bytes(clip.read_bytes() + b"\0\0\0\x01free" + b"\xff" * 8)
    with VideoReader(path) as video:
        assert video.provenance().tags == provenance(clip, probe(clip)).tags
