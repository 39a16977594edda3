"""The right frames, at their own times, of every codec and container, and no thread left behind."""

import gc
import threading
import weakref
from pathlib import Path

import av
import numpy as np
import pytest

from facetell.errors import UsageError
from facetell.types import Frame
from facetell.video import VideoReader, probe, reader
from facetell.video.source import PacketTable, Source
from tests import media

CONTAINERS = {
    "h264": (".mp4", ".mov", ".mkv", ".avi", ".ts", ".flv", ".h264"),
    "hevc": (".mp4", ".mov", ".mkv"),
    "vp9": (".webm", ".mp4", ".mkv"),
    "vp8": (".webm", ".mkv"),
    "av1": (".mp4", ".webm", ".mkv"),
    "mpeg4": (".mp4", ".avi", ".mkv"),
    "mpeg2video": (".mpg",),
    "mjpeg": (".avi", ".mov"),
}
CONTAINER_NAMES = {".mkv": "matroska", ".ts": "mpegts", ".mpg": "mpeg"}
COMBINATIONS = [(codec, suffix) for codec, suffixes in CONTAINERS.items() for suffix in suffixes]


def frames(path: Path, plan: str = "uniform:20", **options: float) -> list[Frame]:
    with VideoReader(path, plan, **options) as video:  # pyright: ignore[reportArgumentType]
        return list(video)


def numbers(path: Path, plan: str = "uniform:20", **options: float) -> list[int]:
    return [media.number_in(frame.image) for frame in frames(path, plan, **options)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 numbered frames with B-frames and a keyframe every 25, with sound."""
    path = tmp_path_factory.mktemp("reader") / "clip.mp4"
    return media.write_video(path, media.numbered_frames(100), gop=25, audio=True)


@pytest.mark.parametrize(("codec", "suffix"), COMBINATIONS)
def test_every_codec_and_container_gives_the_frames_asked_for(codec: str, suffix: str, tmp_path: Path) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoder = media.ENCODERS.get(codec, codec)
    path = media.write_video(
        tmp_path / f"clip{suffix}", media.numbered_frames(50), codec=encoder, gop=20, pix_fmt=pixels
    )
    info = probe(path)
    assert (info.codec, info.width, info.height, info.is_still) == (codec, 160, 120, False)
    assert info.container == CONTAINER_NAMES.get(suffix, suffix[1:])
    assert info.frame_count == 50
    assert numbers(path, "every:7") == [0, 7, 14, 21, 28, 35, 42, 49]
    assert numbers(path, "at:33") == [33]
    assert [frame.number for frame in frames(path, "uniform:5")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "mpeg2video", "libsvtav1", "libvpx-vp9"])
def test_sampled_frames_are_bit_for_bit_those_of_plain_decoding(codec: str, tmp_path: Path) -> None:
    suffix = ".mpg" if codec == "mpeg2video" else ".mkv"
    path = media.write_video(tmp_path / f"clip{suffix}", media.portrait_frames(60), codec=codec, gop=24)
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24", src_colorspace="itu601") for frame in container.decode(video=0)]
    for sampled, number in zip(frames(path, "every:7"), range(0, 60, 7), strict=True):
        assert np.array_equal(sampled.image, plain[number]), number


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "mpeg2video", "libsvtav1", "libvpx-vp9"])
def test_with_a_frame_comes_the_next_one(codec: str, tmp_path: Path) -> None:
    suffix = ".mpg" if codec == "mpeg2video" else ".mkv"
    path = media.write_video(tmp_path / f"clip{suffix}", media.portrait_frames(60), codec=codec, gop=24)
    everything = frames(path, "every:1")
    wanted = [*range(0, 59, 7), 57, 58, 59]
    with VideoReader(path, "times:" + ",".join(f"{k / 30:.4f}" for k in wanted), pairs=True) as video:
        paired = list(video)
    assert len(paired) == len(wanted)
    for sampled, number in zip(paired, wanted, strict=True):
        assert np.array_equal(sampled.image, everything[number].image), number
        if number < 59:
            assert sampled.after is not None
            assert np.array_equal(sampled.after, everything[number + 1].image), number
    assert paired[-1].after is None  # nothing comes after it


def test_in_fast_video_a_frame_comes_with_one_of_another_moment(tmp_path: Path) -> None:
    """30 pictures a second in a file of 60 frames: the next one is the same, encoded anew."""
    twice = [frame for frame in media.numbered_frames(30) for _ in range(2)]
    path = media.write_video(tmp_path / "clip.mp4", twice, fps=60, gop=24)
    for plan in ("every:1", "every:7", "uniform:5"):
        with VideoReader(path, plan, pairs=True) as video:
            pairs = [(media.number_in(frame.image), frame.after) for frame in video]
        assert all(number == 29 for number, after in pairs if after is None)
        assert all(media.number_in(after) == number + 1 for number, after in pairs if after is not None)
        assert sum(after is not None for _, after in pairs) >= 5


def test_without_asking_there_is_no_next_one(clip: Path) -> None:
    assert all(frame.after is None for frame in frames(clip, "every:1"))


@pytest.mark.parametrize("suffix", [".avi", ".h264"])
def test_pairs_of_frames_that_are_counted(suffix: str, tmp_path: Path) -> None:
    path = media.write_video(tmp_path / f"clip{suffix}", media.portrait_frames(30), gop=10)
    everything = frames(path, "every:1")
    with VideoReader(path, "every:4", pairs=True) as video:
        for place, frame in zip(range(0, 30, 4), video, strict=True):
            assert np.array_equal(frame.image, everything[place].image)
            assert frame.after is not None
            assert np.array_equal(frame.after, everything[place + 1].image)


def test_a_lost_frame_takes_no_pair_from_those_after_it(tmp_path: Path) -> None:
    """One packet of garbage: in place of its frame comes another, and every other frame has the next one still."""
    path = media.write_video(tmp_path / "clip.mp4", media.portrait_frames(60), gop=10)
    everything = frames(path, "every:1")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
        place, size = packet.pos, packet.size
    assert place is not None
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(size))
    with VideoReader(path, "every:10", pairs=True) as video:
        seen = list(video)
    assert len(seen) >= 5
    for frame in seen:
        number = round(30 * frame.time_s)
        if not 20 <= number < 30:  # what refers to the lost one is damaged
            assert frame.after is not None, number
            assert np.array_equal(frame.after, everything[number + 1].image), number


def test_keyframes_taken_instead_are_paired_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.video.route.EXACT", 0.0)
    path = media.write_video(tmp_path / "long.mp4", media.numbered_frames(600), gop=100, options={"sc_threshold": "0"})
    with VideoReader(path, "uniform:4", pairs=True) as video:
        for frame in video:
            assert frame.after is not None
            number = media.number_in(frame.image)
            assert number % 100 == 0
            assert media.number_in(frame.after) == number + 1


def test_interlaced_frames_and_pictures_have_no_pair(tmp_path: Path) -> None:
    combs = media.write_video(tmp_path / "clip.ts", media.portrait_frames(10), interlaced=True)
    picture = media.write_picture(tmp_path / "picture.png", media.astronaut())
    for path in (combs, picture):
        with VideoReader(path, "every:3", pairs=True) as video:
            assert all(frame.after is None for frame in video)


def test_frames_that_nothing_refers_to_are_not_decoded(clip: Path) -> None:
    assert numbers(clip, "uniform:4") == [12, 37, 62, 87]


def test_uniform_takes_each_frame_once_and_all_of_a_short_video(clip: Path) -> None:
    assert numbers(clip, "uniform:100") == list(range(100))
    assert numbers(clip, "uniform:5000") == list(range(100))


@pytest.mark.parametrize(("plan", "count"), [("uniform:20", 20), ("uniform:5000", 100), ("at:3", 1), ("every:30", 4)])
def test_a_reader_says_how_many_frames_come(plan: str, count: int, clip: Path) -> None:
    with VideoReader(clip, plan) as video:
        assert video.wanted == count == len(list(video))


def test_a_reader_says_how_many_frames_were_to_come_of_a_damaged_file(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with VideoReader(path, "every:1") as video:
        assert len(list(video)) < video.wanted == 100


def test_clips_and_seconds(clip: Path) -> None:
    assert numbers(clip, "clips:2x3@5") == [19, 24, 29, 69, 74, 79]
    assert numbers(clip, "seconds:1") == [0, 30, 60, 90]


def test_a_part_of_the_video(clip: Path) -> None:
    sampled = frames(clip, "every:10", start_s=1.0, end_s=2.0)
    assert [media.number_in(frame.image) for frame in sampled] == [30, 40, 50, 60]
    assert [frame.time_s for frame in sampled] == pytest.approx([1.0, 4 / 3, 5 / 3, 2.0])


@pytest.mark.parametrize(
    ("plan", "span"), [("at:100", {}), ("uniform:20", {"start_s": 9}), ("uniform:20", {"end_s": -1})]
)
def test_asking_for_what_is_not_there_is_a_usage_error(clip: Path, plan: str, span: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"clip\.mp4"):
        frames(clip, plan, **span)


def test_timestamps_of_a_variable_frame_rate_are_the_frames_own(tmp_path: Path) -> None:
    times = [0, 20, 40, 500, 520, 540, 1800, 1810, 2500, 2600]
    path = media.write_video(tmp_path / "clip.mp4", media.numbered_frames(10), times_ms=times)
    assert probe(path).variable_frame_rate
    assert [frame.time_s for frame in frames(path, "every:1")] == pytest.approx([t / 1000 for t in times], abs=1e-3)
    assert numbers(path, "seconds:1") == [0, 6, 8]


def test_a_constant_frame_rate_is_not_called_variable_for_rounded_timestamps(tmp_path: Path) -> None:
    info = probe(media.write_video(tmp_path / "clip.mkv", media.numbered_frames(60), fps=30))
    assert not info.variable_frame_rate
    assert info.frame_rate == 30
    assert info.duration_s == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(("every", "is_variable"), [(1000, False), (10, True)])
def test_a_clock_too_coarse_for_the_frame_rate_does_not_make_it_variable(
    every: int, is_variable: bool, tmp_path: Path
) -> None:
    """240 frames a second in Matroska's whole milliseconds: 4, 4, 4, 4, 4, 5; really variable if some are left out."""
    times = [round(k * 1000 / 240) for k in range(240) if k % every != every - 1]
    path = media.write_video(tmp_path / "clip.mkv", media.numbered_frames(len(times)), times_ms=times)
    assert probe(path).variable_frame_rate is is_variable


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_in_a_long_video_uniform_takes_keyframes_within_half_an_interval(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetell.video.route.EXACT", 0.0)  # such small frames are cheap
    path = media.write_video(
        tmp_path / f"long{suffix}", media.numbered_frames(2000), gop=250, options={"sc_threshold": "0"}
    )
    got = numbers(path, "uniform:8")
    exact = [(2 * k + 1) * 2000 // 16 for k in range(8)]
    assert all(number % 250 == 0 for number in got)
    assert max(abs(number - wanted) for number, wanted in zip(got, exact, strict=True)) <= 125
    assert [round(frame.time_s * 30) for frame in frames(path, "uniform:8")] == got


def test_in_a_part_of_a_long_video_uniform_takes_as_many_frames_of_that_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetell.video.route.EXACT", 0.0)
    path = media.write_video(tmp_path / "long.mp4", media.numbered_frames(1500), gop=250, options={"sc_threshold": "0"})
    got = numbers(path, "uniform:8", start_s=10.0, end_s=19.9)
    wanted = [300 + (2 * k + 1) * 298 // 16 for k in range(8)]
    assert got == pytest.approx(wanted, abs=298 / 16)


def test_in_a_long_video_other_plans_stay_exact(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "long.mp4", media.numbered_frames(2000), gop=500)
    assert numbers(path, "every:660") == [0, 660, 1320, 1980]
    assert numbers(path, "at:1999") == [1999]


def test_reading_through_and_seeking_give_the_same(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through = frames(clip, "uniform:4")
    monkeypatch.setattr("facetell.video.costs.SEEK", 0.0)
    sought = frames(clip, "uniform:4")
    assert [frame.time_s for frame in through] == [frame.time_s for frame in sought]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(through, sought, strict=True))


def test_an_mpeg_program_stream_gives_the_frames_asked_for_without_seeking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.write_video(
        tmp_path / "clip.vob", media.numbered_frames(90), codec="mpeg2video", gop=12, options={"bf": "2"}
    )
    everything = frames(path, "every:1")
    monkeypatch.setattr("facetell.video.costs.SEEK", 0.0)
    monkeypatch.setattr("facetell.video.costs.RESTART", 0.0)
    for plan, wanted in (("at:70", [70]), ("every:23", [0, 23, 46, 69])):
        with VideoReader(path, plan, pairs=True) as video:
            for sampled, number in zip(video, wanted, strict=True):
                assert np.array_equal(sampled.image, everything[number].image), number
                assert sampled.after is not None


def test_an_index_that_leads_nowhere_costs_time_and_no_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reopen(self: Source, table: PacketTable, place: int) -> None:
        self.container.close()
        self._open()

    monkeypatch.setattr("facetell.video.costs.SEEK", 0.0)
    monkeypatch.setattr(Source, "_seek", reopen)
    assert numbers(clip, "uniform:4") == [12, 37, 62, 87]


def test_open_groups_of_pictures_give_the_frames_before_a_keyframe_too(tmp_path: Path) -> None:
    options = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:bframes=3:scenecut=0"}
    path = media.write_video(tmp_path / "open.mp4", media.portrait_frames(80), options=options)
    everything = frames(path, "every:1")
    for number in (18, 19, 20, 21, 39, 58, 59):
        (frame,) = frames(path, f"at:{number}")
        assert np.array_equal(frame.image, everything[number].image), number


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_pictures_that_a_sweep_of_intra_blocks_refreshes_come_whole(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sweep begins with a packet that the container calls a keyframe."""
    options = {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}
    path = media.write_video(tmp_path / f"sweeps{suffix}", media.portrait_frames(80), options=options)
    with av.open(str(path)) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 4
    everything = frames(path, "every:1")
    monkeypatch.setattr("facetell.video.costs.SEEK", 0.0)
    monkeypatch.setattr("facetell.video.route.EXACT", 0.0)
    assert len(everything) == 80
    for plan, wanted in (("uniform:5", [8, 24, 40, 56, 72]), ("at:23", [23]), ("at:61", [61])):
        for sampled, number in zip(frames(path, plan), wanted, strict=True):
            assert np.array_equal(sampled.image, everything[number].image), number


def test_a_recording_that_begins_with_a_sweep_is_whole_after_it(tmp_path: Path) -> None:
    options = {"x264-params": "intra-refresh=1:keyint=20:bframes=0:repeat-headers=1"}
    whole = media.write_video(tmp_path / "whole.ts", media.numbered_frames(100), options=options)
    path = tmp_path / "cut.ts"
    with av.open(str(whole)) as given, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        packets = [packet for packet in given.demux(video=0) if packet.size]
        for packet in packets[[packet.is_keyframe for packet in packets].index(True, 1) :]:
            packet.stream = stream
            out.mux(packet)
    got = numbers(path, "every:1")
    assert got == list(range(got[0], 100))
    assert got[0] < 45


def test_stopping_early_leaves_no_thread_and_no_open_file(clip: Path) -> None:
    before = threading.active_count()
    with VideoReader(clip, "every:1") as video:
        next(iter(video))
    assert threading.active_count() == before
    video.close()


def test_a_reader_that_is_never_read_closes(clip: Path) -> None:
    before = threading.active_count()
    with VideoReader(clip) as video:
        assert video.info.frame_count == 100
    assert threading.active_count() == before


def test_decoding_runs_only_so_far_ahead(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_AHEAD_BYTES", 160 * 120 * 3 * 2)
    with VideoReader(clip, "every:1", ahead=50) as video:
        assert video._ahead == 2
        assert len(list(video)) == 100


@pytest.mark.slow
def test_real_clips_are_decoded_as_plain_decoding_does(data_dir: Path) -> None:
    for path in sorted((data_dir / "dfdc").rglob("*.mp4"))[:2]:
        sampled = {round(frame.time_s, 3): frame.image for frame in frames(path)}
        assert len(sampled) == 20
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if (image := sampled.pop(round(frame.time, 3), None)) is not None:
                    plain = frame.to_ndarray(format="rgb24", src_colorspace="itu709")
                    assert np.array_equal(image, plain)
        assert not sampled


def test_a_frame_that_was_let_go_is_gone_before_the_next_is_made(clip: Path) -> None:
    with VideoReader(clip, "uniform:3", pairs=True, ahead=0) as video:
        for frame in video:
            image, after = weakref.ref(frame.image), weakref.ref(frame.after)
            del frame
            assert image() is after() is None


def test_a_closed_reader_leaves_no_decoder_behind(portrait_clip: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        with VideoReader(portrait_clip, "uniform:5") as reader:
            source = weakref.ref(reader._source)
            assert len(list(reader)) == 5
        del reader
        assert source() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("late_s", [0.0, 0.0111])
def test_recordings_joined_into_one_file_are_sampled_from_end_to_end(late_s: float, tmp_path: Path) -> None:
    """As `cat a.ts b.ts` makes them: the clock starts again in the middle."""
    halves = list(media.numbered_frames(120))
    paths = [
        media.write_video(tmp_path / f"{number}.ts", halves[60 * number : 60 * number + 60], options={"bf": "0"})
        for number in (0, 1)
    ]
    paths[1] = media.remux(tmp_path / "late.ts", paths[1], shift_s=late_s)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(path.read_bytes() for path in paths))
    assert probe(joined).duration_s == pytest.approx(4.0, abs=0.1)
    assert numbers(joined, "uniform:4") == pytest.approx([15, 45, 75, 105], abs=2)
    assert frames(joined, "every:1")[-1].time_s == pytest.approx(4.0, abs=0.15)  # the seam costs a frame or two


def test_the_bit_rate_is_the_pictures_own_in_every_container(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", media.numbered_frames(60), audio=True)
    rates = [probe(media.remux(tmp_path / f"copy{suffix}", clip)).bit_rate for suffix in (".mp4", ".mkv")]
    assert rates[0] is not None
    assert rates == pytest.approx([probe(clip).bit_rate] * 2, rel=0.02)
