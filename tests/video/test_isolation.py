"""Reading in a process of its own: the same frames, and whatever becomes of that process costs one file."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from facetell.errors import DamagedVideoError, FileMissingError, LimitError, NotVideoError, ReaderCrashError, UsageError
from facetell.video import Limits, ReaderPool, VideoReader, isolation, provenance, sound
from facetell.video.file import InputFile, open_regular
from facetell.video.isolation import IsolatedReader
from tests import media

pytestmark = pytest.mark.skipif(not isolation.SUPPORTED, reason="needs POSIX: reading is not isolated elsewhere")

VIDEOS = [
    (".mp4", {"codec": "libx264", "audio": True}),
    (".mov", {"codec": "libx265", "rotation": 90}),
    (".webm", {"codec": "libvpx-vp9", "audio": True}),
    (".mkv", {"codec": "libsvtav1"}),
    (".avi", {"codec": "mpeg4"}),
    (".ts", {"codec": "libx264", "interlaced": True}),
    (".mpg", {"codec": "mpeg2video"}),
    (".mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    (".mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "colour": {"color_trc": 16, "colorspace": 9}}),
]


@pytest.fixture(scope="module")
def pool() -> ReaderPool:
    return ReaderPool()


def running(pool: ReaderPool) -> isolation.Worker:
    (worker,) = pool._idle
    return worker


def opened(
    pool: ReaderPool, path: Path, plan: str = "uniform:20", *, pairs: bool = False, **span: Any
) -> IsolatedReader:
    reader = pool.open(path, plan, pairs=pairs, **span)
    assert isinstance(reader, IsolatedReader)
    return reader


def same_frames(pool: ReaderPool, path: Path, plan: str = "uniform:7") -> None:
    """What the pool reads is what a reader in this process reads, to the bit."""
    with VideoReader(path, plan, pairs=True) as plain:
        expected = list(plain)
    with opened(pool, path, plan, pairs=True) as reader:
        assert reader.info == plain.info
        assert reader.wanted == plain.wanted
        assert reader.provenance() == provenance(path, plain.info)
        count = 0
        for frame, other in zip(reader, expected, strict=True):
            assert (frame.number, frame.time_s) == (other.number, other.time_s)
            assert np.array_equal(frame.image, other.image)
            assert (frame.after is None) == (other.after is None)
            assert frame.after is None or other.after is None or np.array_equal(frame.after, other.after)
            count += 1
        assert count == len(expected) > 0
        assert reader.corrupt_packets == plain.corrupt_packets


class TestSameAsWithin:
    @pytest.mark.parametrize(("suffix", "options"), VIDEOS, ids=lambda value: str(value)[:40])
    def test_videos(self, pool: ReaderPool, suffix: str, options: dict, tmp_path: Path) -> None:
        same_frames(pool, media.write_video(tmp_path / f"clip{suffix}", media.portrait_frames(20), **options))

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".heic", ".avif"])
    def test_pictures(self, pool: ReaderPool, suffix: str, tmp_path: Path) -> None:
        import pillow_heif

        pillow_heif.register_heif_opener()
        same_frames(pool, media.write_picture(tmp_path / f"picture{suffix}", media.person(1)))

    def test_pictures_with_exif_transparency_and_motion(self, pool: ReaderPool, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "Maker"
        same_frames(pool, media.write_picture(tmp_path / "turned.jpg", media.person(), exif=exif))
        clear = Image.fromarray(media.person()).convert("RGBA")
        clear.putalpha(90)
        clear.save(tmp_path / "clear.png")
        same_frames(pool, tmp_path / "clear.png")
        images = [Image.fromarray(image) for image in media.portrait_frames(5)]
        for suffix in ("gif", "webp", "png"):
            images[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=images[1:], duration=80)
            same_frames(pool, tmp_path / f"moving.{suffix}")

    def test_a_size_that_changes_on_the_way(self, pool: ReaderPool, tmp_path: Path) -> None:
        """Raw H.264 of two sizes, one after the other: the shared memory grows while frames are under way."""
        parts = [
            media.write_video(tmp_path / f"{width}.h264", media.portrait_frames(30, (width, width * 3 // 4)))
            for width in (160, 640)
        ]
        path = tmp_path / "both.h264"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        same_frames(pool, path, "every:1")

    def test_errors_are_the_same(self, pool: ReaderPool, portrait_clip: Path, tmp_path: Path) -> None:
        with pytest.raises(FileMissingError, match=r"missing\.mp4 does not exist"):
            pool.open(tmp_path / "missing.mp4")
        (tmp_path / "text.mp4").write_text("not a video\n" * 100)
        with pytest.raises(NotVideoError, match=r"text\.mp4"):
            pool.open(tmp_path / "text.mp4")
        with pytest.raises(UsageError, match=r"no frame that .* asks for\. Its 60 frames lie"):
            pool.open(portrait_clip, "at:150")
        (tmp_path / "cut.mp4").write_bytes(portrait_clip.read_bytes()[:9000])
        with pytest.raises(DamagedVideoError, match=r"cut\.mp4"):
            pool.open(tmp_path / "cut.mp4")

    def test_many_files_and_threads_share_few_processes(self, portrait_clip: Path) -> None:
        pool = ReaderPool()

        def count(_: int) -> int:
            with pool.open(portrait_clip, "every:10") as reader:
                return sum(1 for _ in reader)

        assert [count(k) for k in range(5)] == [6] * 5
        first = running(pool).process.pid
        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(count, range(9))) == [6] * 9
        assert first in {worker.process.pid for worker in pool._idle}
        assert len(pool._idle) <= 3


class TestSound:
    def heard(self, pool: ReaderPool, path: Path) -> list[tuple[float, np.ndarray]]:
        """The pool's samples, which must be those of a reader in this process."""
        with VideoReader(path) as plain:
            expected = list(plain.sound())
        got = [(time_s, samples.copy()) for time_s, samples in pool.sound(path)]
        assert [time_s for time_s, _ in got] == [time_s for time_s, _ in expected]
        assert all(np.array_equal(one[1], other[1]) for one, other in zip(got, expected, strict=True))
        return got

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts", ".avi"])
    def test_a_tone_in_step_with_the_pictures(self, pool: ReaderPool, suffix: str, tmp_path: Path) -> None:
        codec = "libvpx" if suffix == ".webm" else "libx264"
        path = media.write_video(tmp_path / f"clip{suffix}", media.portrait_frames(60), codec=codec, audio=True)
        got = self.heard(pool, path)
        samples = np.concatenate([samples for _, samples in got])
        assert (samples.dtype, samples.shape[1]) == (np.int16, 2)
        assert len(samples) / sound.RATE == pytest.approx(2.0, abs=0.06)
        assert [time_s for time_s, _ in got] == pytest.approx(np.arange(len(got)) * 0.5, abs=0.06)
        assert samples.std() > 1000

    def test_recordings_joined_into_one_file_whose_clock_begins_late(self, pool: ReaderPool, tmp_path: Path) -> None:
        clip = media.write_video(tmp_path / "clip.ts", media.portrait_frames(60), audio=True)
        late = media.remux(tmp_path / "late.ts", clip, shift_s=10)
        joined = tmp_path / "joined.ts"
        joined.write_bytes(late.read_bytes() * 2)
        got = self.heard(pool, joined)
        assert got[0][0] == pytest.approx(0, abs=0.1)
        assert sum(len(samples) for _, samples in got) / sound.RATE == pytest.approx(4, abs=0.2)

    def test_none(self, pool: ReaderPool, tmp_path: Path) -> None:
        assert not self.heard(pool, media.write_video(tmp_path / "silent.mp4", media.portrait_frames(9)))
        assert not self.heard(pool, media.write_picture(tmp_path / "picture.png", media.person()))

    def test_damage_leaves_the_rest(self, pool: ReaderPool, tmp_path: Path) -> None:
        whole = media.write_video(tmp_path / "a.mkv", media.portrait_frames(60), audio=True).read_bytes()
        damaged = bytearray(whole)
        for place in range(len(whole) // 3, len(whole), 700):  # the first pictures are whole
            damaged[place] ^= 0x55
        for name, data in (("cut.mkv", whole[: len(whole) // 2]), ("damaged.mkv", bytes(damaged))):
            (tmp_path / name).write_bytes(data)
            assert self.heard(pool, tmp_path / name)

    def test_sound_long_after_the_pictures_is_left_out(self, pool: ReaderPool, tmp_path: Path) -> None:
        path = media.write_video(tmp_path / "a.mp4", media.portrait_frames(60), audio=True, times_ms=[*range(59), 9000])
        assert self.heard(pool, path)[-1][0] > 8
        short = tmp_path / "short.mkv"
        with av.open(str(path)) as given, av.open(str(short), "w") as out:
            streams = {stream: out.add_stream_from_template(stream) for stream in given.streams}
            for packet in given.demux():
                if packet.size and (packet.stream.type == "audio" or float((packet.pts or 0) * packet.time_base) < 0.5):
                    packet.stream = streams[packet.stream]
                    out.mux(packet)
        assert self.heard(pool, short)[-1][0] < 2


def test_a_file_within_another_is_read_where_it_lies(pool: ReaderPool, portrait_clip: Path, tmp_path: Path) -> None:
    clip, picture = portrait_clip.read_bytes(), media.write_picture(tmp_path / "a.png", media.person()).read_bytes()
    whole = tmp_path / "both"
    whole.write_bytes(b"#" * 777 + clip + picture + b"#" * 99)

    def part(name: str, start: int, size: int) -> InputFile:
        return InputFile(name, open_regular(whole), start, size)

    for name, start, data in (("a.mp4", 777, clip), ("a.png", 777 + len(clip), picture)):
        (tmp_path / name).write_bytes(data)
        with VideoReader(tmp_path / name, "uniform:3") as plain:
            expected = list(plain)
        with pool.open(part(name, start, len(data)), "uniform:3") as reader:
            assert reader.info == plain.info
            for frame, other in zip(reader, expected, strict=True):
                assert np.array_equal(frame.image, other.image)
    rest = part("rest", 777 + len(clip) + len(picture), 99)
    assert rest.read(0, 1000) == b"#" * 99
    rest.close()


FRAME: dict[str, Any] = {"slot": 0, "number": 0, "time_s": 0.0, "size": [48, 64], "paired": False}


def test_a_video_of_just_as_many_pixels_as_allowed_is_read_with_its_pairs(portrait_clip: Path) -> None:
    with ReaderPool(Limits(pixels=320 * 240)).open(portrait_clip, "uniform:3", pairs=True) as reader:
        assert [frame.after is not None for frame in reader] == [True] * 3


class TestHarm:
    """A process that dies, hangs or lies: a named error, and the next file is read."""

    @pytest.fixture
    def truth(self, portrait_clip: Path) -> dict[str, Any]:
        """What a reading process says of the file at first."""
        with VideoReader(portrait_clip) as plain:
            info = asdict(plain.info) | {"frame_rate": "30", "pixel_aspect": "1"}
            return {"info": info, "origin": asdict(plain.provenance()), "wanted": plain.wanted}

    def healthy(self, pool: ReaderPool, path: Path) -> bool:
        with pool.open(path, "every:10") as reader:
            return len(list(reader)) == 6

    def strike(self, reader: IsolatedReader, how: signal.Signals) -> None:
        for frame in reader:
            if frame.number == 3 and reader._worker:
                os.kill(reader._worker.process.pid, how)

    @pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
    def test_a_crash(self, how: signal.Signals, portrait_clip: Path) -> None:
        pool = ReaderPool()
        with opened(pool, portrait_clip, "every:1") as reader, pytest.raises(ReaderCrashError, match=how.name):
            self.strike(reader, how)
        assert not pool._idle
        assert self.healthy(pool, portrait_clip)

    def test_a_hang(self, portrait_clip: Path) -> None:
        pool = ReaderPool(Limits(seconds=3, share=1e-9))
        assert self.healthy(pool, portrait_clip)
        os.kill(running(pool).process.pid, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(LimitError, match=r"portrait\.mp4 takes more than 3 s to read"):
            pool.open(portrait_clip)
        assert time.monotonic() - start < 20
        assert self.healthy(pool, portrait_clip)

    def test_time_the_owner_takes_does_not_count(self, portrait_clip: Path) -> None:
        pool = ReaderPool(Limits(seconds=3, share=1e-9))
        assert self.healthy(pool, portrait_clip)
        with pool.open(portrait_clip, "uniform:3") as reader:
            for _ in reader:
                time.sleep(1.2)

    def test_a_death_while_idle_goes_unnoticed(self, portrait_clip: Path) -> None:
        pool = ReaderPool()
        assert self.healthy(pool, portrait_clip)
        process = running(pool).process
        process.kill()
        process.wait()
        assert self.healthy(pool, portrait_clip)

    @pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
    def test_a_memory_hog(self, portrait_clip: Path, tmp_path: Path) -> None:
        Image.new("RGB", (7000, 7000)).save(tmp_path / "huge.png")
        pool = ReaderPool(Limits(memory_mb=250))
        with pytest.raises(LimitError, match="250 MiB"):
            list(pool.open(tmp_path / "huge.png"))
        assert self.healthy(pool, portrait_clip)

    @pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
    @pytest.mark.parametrize("kind", ["RLIMIT_DATA", "RLIMIT_AS"])
    def test_the_users_own_lower_limit_on_memory_is_the_one_named(self, kind: str, tmp_path: Path) -> None:
        Image.new("RGB", (7000, 7000)).save(tmp_path / "huge.png")
        code = (
            "import resource, sys; from facetell.video import ReaderPool\n"
            f"resource.setrlimit(resource.{kind}, (700 * 2**20, 700 * 2**20))\n"
            "list(ReaderPool().open(sys.argv[1]))"
        )
        done = subprocess.run([sys.executable, "-c", code, tmp_path / "huge.png"], capture_output=True, text=True)
        assert "huge.png takes more than 700 MiB of memory" in done.stderr

    def test_a_limit_below_a_second_is_named_as_it_is(self, portrait_clip: Path) -> None:
        with pytest.raises(LimitError, match=r"takes more than 0\.00\d+ s to read"):
            ReaderPool(Limits(seconds=1e-9, cpu_seconds=1)).open(portrait_clip)

    def test_processor_time(self, portrait_clip: Path) -> None:
        pool = ReaderPool(Limits(cpu_seconds=1))
        with opened(pool, portrait_clip, "every:1") as reader, pytest.raises(LimitError, match="processor time"):
            self.strike(reader, signal.SIGXCPU)  # what the limit sends
        assert self.healthy(pool, portrait_clip)

    @pytest.mark.parametrize(
        "lie",
        [
            {},
            {"info": 1},
            {"info": {"container": "mp4"}, "origin": {}},
            {"error": {"type": "SystemExit", "message": "", "advice": ""}},
            {"error": {"type": "FacetellError", "message": "", "advice": ""}},
            {"error": "no"},
            {"error": {"type": "LimitError", "message": 5, "advice": []}},
            {"slot": 5, "number": 0, "time_s": 0, "size": [9, 9]},
            [],
        ],
    )
    def test_a_lie(self, lie: object, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot(monkeypatch, f"wire.send({lie!r})")
        with pytest.raises(ReaderCrashError, match=r"portrait\.mp4"):
            ReaderPool().open(portrait_clip)

    @pytest.mark.parametrize(
        "lie",
        [
            *({name: "x"} for name in ("width", "height", "duration_s", "frame_count", "rotation", "bit_rate")),
            *({name: -1} for name in ("width", "frame_count", "bit_rate", "bit_depth", "size_bytes")),
            *({name: 0} for name in ("width", "height", "frame_count", "container", "is_still")),
            *({name: True} for name in ("width", "bit_rate")),
            *({name: 10**30} for name in ("width", "height", "frame_count", "bit_rate", "size_bytes")),
            *({"duration_s": value} for value in (float("nan"), float("inf"), -1.0, 1e300, 2)),
            *({"frame_rate": value} for value in (30, "x", "-30", "1/0", "1e999999999", "nan", "9" * 400)),
            *({"pixel_aspect": value} for value in (None, "1e999999999")),
            *({"audio": value} for value in ("x", {}, {"codec": "aac", "sample_rate": "x", "channels": 2})),
            {"width": 10_000, "height": 10_000},
            {"rotation": 45},
            {"unknown": 1},
        ],
        ids=str,
    )
    def test_a_lie_about_the_file(
        self, lie: dict, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lies = truth | {"info": truth["info"] | lie}
        self.boot(monkeypatch, f"nan, inf = float('nan'), float('inf'); wire.send({lies!r})")
        with pytest.raises(ReaderCrashError, match="makes no sense"):
            ReaderPool().open(portrait_clip)

    @pytest.mark.parametrize(
        "lie", [{"encoder": 5}, {"device": []}, {"tags": [[1, 2]]}, {"tags": {"a": None}}, {"notes": [3]}], ids=str
    )
    def test_a_lie_about_the_files_making(
        self, lie: dict, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.boot(monkeypatch, f"wire.send({truth | {'origin': truth['origin'] | lie}!r})")
        with pytest.raises(ReaderCrashError, match="makes no sense"):
            ReaderPool().open(portrait_clip)

    @pytest.mark.parametrize("lie", [0, -1, 5_000_001, True, 2.0, "3", None, []], ids=str)
    def test_a_lie_about_how_many_frames_come(
        self, lie: object, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.boot(monkeypatch, f"wire.send({truth | {'wanted': lie}!r})")
        with pytest.raises(ReaderCrashError, match="makes no sense"):
            ReaderPool().open(portrait_clip)

    @pytest.mark.parametrize(
        "lie",
        [
            {"memory": 10**12},
            {"memory": -1},
            {"memory": "much"},
            FRAME | {"size": [90, 90]},
            FRAME | {"size": [70, 70], "paired": True},
            *(FRAME | {"slot": slot} for slot in ("a", None, 99)),
            *(FRAME | {"size": size} for size in ([0, 64], [64, 0], [-1, 5], [-1, -5], [1.0, 1], ["1", 1], [1], 1)),
            *(FRAME | {"number": number} for number in (1, -1, "0", None, [])),
            *(FRAME | {"time_s": time_s} for time_s in ("nan", "inf", None, 10**400)),
            {"end": 1},
            *({"corrupt_packets": count} for count in (-1, 2**31, "x", None, float("inf"))),
        ],
        ids=str,
    )
    def test_a_lie_about_frames(
        self, lie: object, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        memory = "" if "memory" in str(lie) else "wire.send({'memory': 20_000}); wire.receive()\n"
        self.boot(monkeypatch, f"inf = float('inf'); wire.send({truth!r})\n{memory}wire.send({lie!r})")
        with ReaderPool().open(portrait_clip) as reader, pytest.raises(ReaderCrashError, match="makes no sense"):
            list(reader)

    @pytest.mark.parametrize("size", [0, -1, 10**9, "x"])
    def test_a_lie_about_sound(
        self, size: object, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = {"slot": 0, "time_s": 0.0, "size": size}
        self.boot(
            monkeypatch, f"wire.send({truth!r}); wire.send({{'memory': 20_000}}); wire.receive(); wire.send({said})"
        )
        with pytest.raises(ReaderCrashError, match="makes no sense"):
            list(ReaderPool().sound(portrait_clip))

    @pytest.mark.parametrize(("number", "most"), [("0", 1), ("number", 60)])
    def test_frames_without_end(
        self, number: str, most: int, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = f"{FRAME!r} | {{'number': {number}}}"
        loop = f"for number in range(100_000): wire.send({said}); wire.receive()"
        self.boot(monkeypatch, f"wire.send({truth!r}); wire.send({{'memory': 20_000}}); wire.receive()\n{loop}")
        with ReaderPool().open(portrait_clip) as reader:
            frames = iter(reader)
            assert [next(frames).number for _ in range(most)] == list(range(most))
            with pytest.raises(ReaderCrashError, match="makes no sense"):
                next(frames)

    def test_sound_without_end(self, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said = {"slot": 0, "time_s": 0.0, "size": 9}
        loop = f"for _ in range(10_000): wire.send({said}); wire.receive()"
        self.boot(monkeypatch, f"wire.send({truth!r}); wire.send({{'memory': 20_000}}); wire.receive()\n{loop}")
        with pytest.raises(ReaderCrashError, match="makes no sense"):
            list(ReaderPool(Limits(frames=100)).sound(portrait_clip))

    @pytest.mark.parametrize(
        "noise",
        [
            *(repr(noise) for noise in (b"\xff\xfe\n", b"[1, 2]\n", b"[{}, 'a']\n", b"5\n")),
            "b'x' * 5_000_000",
            "b'[' * 100_000 + b'\\n'",
        ],
    )
    def test_noise(self, noise: str, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot(monkeypatch, f"wire.socket.sendall({noise})")
        with pytest.raises(ReaderCrashError, match="makes no sense"):
            ReaderPool().open(portrait_clip)

    def test_a_message_byte_by_byte(self, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot(monkeypatch, "for byte in b' ' * 40 + b'\\n': wire.socket.sendall(bytes([byte])); time.sleep(0.25)")
        with pytest.raises(LimitError, match=r"takes more than . s to read"):
            ReaderPool(Limits(seconds=3, share=1e-9)).open(portrait_clip)

    def test_a_process_that_takes_no_answers(
        self, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its owner would wait to be heard, once for each frame."""
        count = 3000
        lies = truth | {"info": truth["info"] | {"frame_count": count}}
        said = f"for number in range({count}): wire.send({FRAME!r} | {{'number': number}})"
        self.boot(
            monkeypatch, f"wire.send({lies!r}); wire.send({{'memory': 20_000}}); wire.receive()\n{said}\nraise OSError"
        )
        with ReaderPool(Limits(seconds=3, share=1e-9)).open(portrait_clip) as reader, pytest.raises(LimitError):
            list(reader)

    def test_files_that_nobody_asked_for(
        self, truth: dict, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = f"json.dumps([{FRAME!r} | {{'number': number}}, 0]).encode() + b'\\n'"
        loop = f"for number in range(50): socket.send_fds(wire.socket, [{line}], [0] * 4); wire.receive()"
        self.boot(monkeypatch, f"wire.send({truth!r}); wire.send({{'memory': 20_000}}); wire.receive()\n{loop}")
        with ReaderPool().open(portrait_clip) as reader:
            frames = iter(reader)
            next(frames)
            before = len(os.listdir("/dev/fd"))
            for _ in range(49):
                next(frames)
            assert len(os.listdir("/dev/fd")) == before

    def test_a_process_that_does_not_start(self, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(isolation, "_BOOT", "raise SystemExit(3)")
        with pytest.raises(ReaderCrashError, match="cannot be started"):
            ReaderPool().open(portrait_clip)
        monkeypatch.setattr(sys, "executable", "/missing/python")
        with pytest.raises(ReaderCrashError, match="cannot be started"):
            ReaderPool().open(portrait_clip)

    @pytest.mark.parametrize("unknown", [None, ""])
    def test_a_python_that_does_not_know_where_it_is(
        self, unknown: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", unknown)  # as where it is embedded in another program
        with pytest.raises(ReaderCrashError, match=r"sys\.executable .* Set it"):
            ReaderPool(start=True)

    @pytest.mark.parametrize("mark", ["frozen", "FACETELL_READER"])
    def test_a_program_made_with_python_is_not_started_again(self, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if mark == "frozen":
            monkeypatch.setattr(sys, mark, True, raising=False)
        else:  # it was started again all the same
            monkeypatch.setenv(mark, "1")
        with pytest.raises(ReaderCrashError, match=r"made with Python, not Python\. Let it run"):
            ReaderPool(start=True)

    def test_closed_standard_streams(self, portrait_clip: Path) -> None:
        """What is opened next has their numbers, and must not be lost in the new process, nor be written to here."""
        code = (
            "import sys; from facetell.video import ReaderPool; pool = ReaderPool()\n"
            "with pool.open(sys.argv[1]) as reader: list(reader)\n"
            "worker, = pool._idle; sys.exit(min(worker._memory, worker._wire.socket.fileno()))"
        )
        closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code, str(portrait_clip)]
        assert subprocess.run(closed).returncode > 2

    def test_the_owners_flags_and_path_hold(self, portrait_clip: Path) -> None:
        code = (
            "import json, pathlib, sys; sys.path[:] = [*json.loads(sys.argv[1]), pathlib.Path('/')]\n"
            "from facetell.video import ReaderPool; pool = ReaderPool()\n"
            "with pool.open(sys.argv[2]) as reader: print(len(list(reader)))\n"
            "print(*pool._idle[0].process.args[1:6])"
        )
        command = [sys.executable, "-I", "-B", "-c", code, json.dumps(sys.path), portrait_clip]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["20", "-P", "-B", "-E", "-s", "-c"]

    def test_too_many_open_files(self, portrait_clip: Path) -> None:
        """Whichever of them is the one too many: a named error, and nothing is left open."""
        import resource

        gc.collect()
        before, limits = set(os.listdir("/dev/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
        errors, fillers = [], []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 30, limits[1]))
        try:
            with suppress(OSError):
                while True:
                    fillers.append(os.open(os.devnull, os.O_RDONLY))
            while fillers:
                try:
                    with closing(InputFile(portrait_clip)) as file, ReaderPool().open(file.twin()) as reader:
                        assert len(list(reader)) == 20
                    break  # as it will with more room
                except (FileMissingError, LimitError, ReaderCrashError) as error:
                    errors.append(str(error))
                os.close(fillers.pop())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for filler in fillers:
                os.close(filler)
        assert all("Too many open files" in error for error in errors)
        for what in ("Check the path", "ulimit -n", "cannot be started"):
            assert any(what in error for error in errors)
        del reader
        gc.collect()
        assert set(os.listdir("/dev/fd")) == before

    def test_no_memory_for_the_frames(self, portrait_clip: Path) -> None:
        """The user's own limit on the size of files holds for shared memory, too."""
        import resource

        pool, limits = ReaderPool(), resource.getrlimit(resource.RLIMIT_FSIZE)
        with pool.open(portrait_clip) as reader:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
            try:
                with pytest.raises(
                    LimitError, match=r"portrait\.mp4 cannot be read: there is no memory for its frames"
                ):
                    list(reader)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert self.healthy(pool, portrait_clip)

    def boot(self, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
        """Let reading processes say this when they are given a file."""
        lines = (
            "import json, socket, sys, time",
            "control, memory, sys.path, limits = json.loads(sys.argv[1])",
            "from facetell.video.wire import Wire",
            "wire = Wire(socket.socket(fileno=control))",
            "wire.send({'missing': []}); wire.receive()",
            said,
            "while wire.receive(): pass",
        )
        monkeypatch.setattr(isolation, "_BOOT", "\n".join(lines))


class TestNothingIsLeft:
    def test_no_process_and_no_file(self, portrait_clip: Path, tmp_path: Path) -> None:
        (tmp_path / "text.mp4").write_text("no video")
        gc.collect()
        before = len(os.listdir("/dev/fd"))
        pool = ReaderPool()
        for _ in range(3):
            with pool.open(portrait_clip, "every:1") as reader:
                next(iter(reader))  # and stop there
            with pool.open(portrait_clip, "every:10") as reader:
                list(reader)
            with pytest.raises(NotVideoError):
                pool.open(tmp_path / "text.mp4")
        process = running(pool).process
        del pool, reader
        gc.collect()
        assert process.poll() is not None
        assert len(os.listdir("/dev/fd")) == before

    def test_no_process_waits_for_the_cycle_collector(self, tmp_path: Path) -> None:
        """Not after an error either, which holds the frames that it passed: none of them may hold it."""
        (tmp_path / "text.mp4").write_text("no video")
        gc.collect()
        gc.disable()
        try:
            pool = ReaderPool()
            with pytest.raises(NotVideoError):
                pool.open(tmp_path / "text.mp4")
            process = running(pool).process
            del pool
            assert process.poll() is not None
        finally:
            gc.enable()

    def test_it_ends_with_its_owner(self, portrait_clip: Path) -> None:
        code = (
            "import os, signal, sys; from facetell.video import ReaderPool; pool = ReaderPool()\n"
            "with pool.open(sys.argv[1]) as reader: list(reader)\n"
            "print(pool._idle[0].process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        )
        owner = subprocess.run([sys.executable, "-c", code, portrait_clip], capture_output=True, text=True)
        reader = int(owner.stdout)
        for _ in range(100):
            try:
                os.kill(reader, 0)
            except ProcessLookupError:
                return
            if Path(f"/proc/{reader}/stat").exists() and Path(f"/proc/{reader}/stat").read_text().split()[2] == "Z":
                return
            time.sleep(0.05)
        pytest.fail("the reading process is still there")

    def test_the_owner_never_loads_what_parses_files(self, portrait_clip: Path) -> None:
        code = (
            "import sys; from facetell.video import ReaderPool\n"
            "with ReaderPool().open(sys.argv[1]) as reader: list(reader)\n"
            "print(*(name for name in ('av', 'PIL', 'pillow_heif', 'cv2') if name in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code, portrait_clip], capture_output=True, text=True, check=True)
        assert done.stdout.split() == []
