"""What a scan costs beside decoding the same file, as a table of aims: `python benchmarks/scan.py [CLIP]`.

Scan and decoding take turns, so that whatever else the machine does weighs on both alike; medians are shown, of the
clock and of the processor time of all processes. Decoding is `ffmpeg -threads 2 -f null -` where there is an ffmpeg,
else PyAV on 2 threads, every frame thrown away. "Warm" is a `Scanner` that has scanned before, with its reading
process; "cold" a `facetell scan` from start to exit. Without a clip, the largest under FACETELL_DATA/dfdc is taken, or
one made from the sample portrait; the batch takes the clips under FACETELL_DATA, or that one again and again.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
FACETELL = "import sys; from facetell.cli import main; sys.argv[0] = 'facetell'; main()"
PEAKS = """
import re, resource, sys
from pathlib import Path
from facetell.scanning import Scanner
scanner = Scanner()
verdict = scanner.scan(sys.argv[1])
assert verdict.error is None, verdict.error
(worker,) = scanner.readers._idle
status = Path(f"/proc/{worker.process.pid}/status").read_text()
own, reading = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
print(own // 1024, reading // 1024)
"""
DECODE = """
import sys, av
with av.open(sys.argv[1]) as container:
    stream = container.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "AUTO", 2
    for frame in container.decode(stream):
        pass
"""
LONG_S = 600
BATCH, BLOCK = 100, 10


class Cost(NamedTuple):
    clock_s: float
    cpu_s: float


def process(*command: str) -> Cost:
    """Run a command, which must succeed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - start, cpu_s)


def decoded(clip: str) -> Cost:
    if ffmpeg := shutil.which("ffmpeg"):
        return process(ffmpeg, "-threads", "2", "-i", clip, "-f", "null", "-")
    start, before = time.perf_counter(), time.process_time()
    exec(compile(DECODE.replace("sys.argv[1]", repr(clip)), "<decode>", "exec"), {})
    return Cost(time.perf_counter() - start, time.process_time() - before)


class Warm:
    """A scanner that has scanned before."""

    def __init__(self, plan: str | None = None) -> None:
        from facetell.scanning import Scanner

        self.scanner = Scanner(plan=plan)

    def __call__(self, clip: str) -> Cost:
        start, before = time.perf_counter(), self._cpu_s()
        self.verdict = self.scanner.scan(clip)
        if self.verdict.error:
            sys.exit(self.verdict.error.message)
        return Cost(time.perf_counter() - start, self._cpu_s() - before)

    def many(self, clips: list[str]) -> Cost:
        start, before = time.perf_counter(), self._cpu_s()
        for verdict in self.scanner.scan_many(clips):
            if verdict.error:
                sys.exit(verdict.error.message)
        return Cost(time.perf_counter() - start, self._cpu_s() - before)

    def _cpu_s(self) -> float:
        """Of this process and its reading ones."""
        ticks = 0
        for worker in self.scanner.readers._idle:
            fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def in_turn(rounds: int, *works: Callable[[], Cost]) -> list[Cost]:
    """The median cost of each, one after the other in every round."""
    costs = [[work() for work in works] for _ in range(rounds)]
    return [Cost(*(median(part) for part in zip(*column, strict=True))) for column in zip(*costs, strict=True)]


def row(what: str, aim: str, value: str, note: str = "") -> None:
    print(f"{what:<52} {aim:>8} {value:>14}  {note}", flush=True)


def compare(what: str, aim: str, bare: Cost, scan: Cost) -> None:
    value = f"{scan.clock_s / bare.clock_s:.3f} ({scan.cpu_s / bare.cpu_s:.3f})"
    clock = f"clock {scan.clock_s:.2f} / {bare.clock_s:.2f} s"
    row(what, aim, value, f"{clock}, processor {scan.cpu_s:.2f} / {bare.cpu_s:.2f} s")


def make_clip(path: Path, size: tuple[int, int], seconds: int) -> None:
    """The sample portrait in another size, 30 frames a second."""
    import cv2

    from facetell.forge.output import clip_writer
    from facetell.video import VideoReader

    with VideoReader(ROOT / "examples" / "portrait.mp4", "every:1") as reader:
        images = [cv2.copyMakeBorder(frame.image, 0, 0, 186, 187, cv2.BORDER_REFLECT) for frame in reader]
    with clip_writer(path, size, Fraction(30), "made for a benchmark", crf=20) as writer:
        for number in range(30 * seconds):
            writer.write(cv2.resize(images[number % len(images)], size), number / 30)


def made(path: Path, size: tuple[int, int], seconds: int) -> Path:
    """The same, in a process of its own: its memory must not count."""
    maker = get_context("spawn").Process(target=make_clip, args=(path, size, seconds))
    maker.start()
    maker.join()
    return path


def looped(clip: Path, path: Path) -> Path:
    """The clip's packets again and again for ten minutes."""
    import av

    with av.open(str(clip), "r") as given, av.open(str(path), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in given.demux(stream) if p.size]
        length = sum(int(duration or 0) for _, _, _, duration, _ in packets)
        for turn in range(round(LONG_S / (length * float(stream.time_base or 1)))):
            for data, pts, dts, duration, is_key in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base = copy, stream.time_base or Fraction(1)
                packet.pts, packet.dts = (pts or 0) + turn * length, (dts or 0) + turn * length
                packet.duration, packet.is_keyframe = duration, is_key
                out.mux(packet)
    return path


def batch(clips: Iterable[Path], warm: Warm) -> None:
    """Ten clips decoded, then the same ten scanned, and so on."""
    taken = [str(path) for path in islice(cycle(sorted(clips)), BATCH)]
    warm.many(taken[:2])  # a second reading process
    costs = []
    for start in range(0, BATCH, BLOCK):
        block = taken[start : start + BLOCK]
        costs.append((total(map(decoded, block)), warm.many(block)))
    bare, scan = (total(column) for column in zip(*costs, strict=True))
    compare(f"{BATCH} short clips", "1.1", bare, scan)


def total(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))


def peak(what: str, aim: str, clip: str) -> None:
    """Of a scan in a process of its own; its reading process is added, and with it what both share counts twice."""
    done = subprocess.run([sys.executable, "-c", PEAKS, clip], capture_output=True, text=True, check=True)
    own, reading = (int(text) for text in done.stdout.split())
    row(what, aim, f"{own + reading} MB", f"scanning {own} MB, reading {reading} MB")


def growth(clip: str, rounds: int) -> None:
    """Cost per frame as more of them are sampled."""
    for count in (20, 75, 150, 300):
        warm = Warm(f"uniform:{count}")
        warm(clip)
        (cost,) = in_turn(rounds, lambda warm=warm: warm(clip))
        frames = warm.verdict.coverage.frames_sampled
        cost_ms = 1000 * cost.clock_s / frames
        row(f"cost of a frame, {frames} sampled", "falls", f"{cost_ms:.1f} ms", f"{cost.clock_s:.2f} s")


def start_up(rounds: int) -> None:
    python = (sys.executable, "-c")
    bare, help_ = in_turn(rounds, lambda: process(*python, "pass"), lambda: process(*python, FACETELL, "--help"))
    clock_s, cpu_s = help_.clock_s - bare.clock_s, help_.cpu_s - bare.cpu_s
    row("facetell --help beyond bare Python", "0.25 s", f"{clock_s:.2f} s", f"processor {cpu_s:.2f} s")


def one_clip(clip: str, warm: Warm, rounds: int) -> None:
    bare, scan = in_turn(rounds, lambda: decoded(clip), lambda: warm(clip))
    compare("1080p clip, warm", "1.0", bare, scan)
    profile(clip, warm)
    command = (sys.executable, "-c", FACETELL, "scan", clip, "--exit-zero", "--quiet")
    bare, scan = in_turn(rounds, lambda: decoded(clip), lambda: process(*command))
    compare("1080p clip, cold: imports, sessions, process", "–", bare, scan)


def profile(clip: str, warm: Warm) -> None:
    """Processor time of each stage alone, for the frames of one scan."""
    import numpy as np

    from facetell.faces.align import crop_face
    from facetell.faces.flicker import flicker
    from facetell.faces.magnify import magnified
    from facetell.faces.quality import assess
    from facetell.faces.track import Tracker
    from facetell.types import Face, Frame
    from facetell.video import VideoReader

    scanner = warm.scanner
    card = scanner.detector.card
    size = card.input_size

    def stage(what: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        print(f"      {what:<32} {time.process_time() - start:.3f} s of processor time")
        return result

    def read() -> list[Frame]:
        with VideoReader(clip, scanner.plan, pairs=bool(card.in_a_video), ahead=0) as reader:
            return list(reader)

    def faces_of(frame: Frame) -> list[Face]:
        found = scanner._faces.detect(frame.image)
        return [Face(frame.number, frame.time_s, face.box, face.points, face.score) for face in found]

    def cut() -> None:
        tracker = Tracker()
        for frame, faces in zip(frames, found, strict=True):
            for face in faces:
                upright = scanner._faces.is_upright(frame.image, face)  # pyright: ignore[reportArgumentType]  the same fields
                face.quality = assess(frame.image, face, upright=upright)  # pyright: ignore[reportArgumentType]
                pictures = [frame.image] if frame.after is None else [frame.image, frame.after]
                cuts.append([crop_face(picture, face.points, face.box, card.geometry, size) for picture in pictures])
                if frame.after is not None:
                    face.flicker = flicker(frame.image, frame.after, face.points)
            tracker.add(frame, faces)
        tracker.tracks()

    def grown() -> list[np.ndarray]:
        by = card.magnification
        shown = [None if by is None or len(both) < 2 else magnified(both[0], both[1], by) for both in cuts]
        return [both[0] if one is None else one for both, one in zip(cuts, shown, strict=True)]

    frames = stage("read: decode, convert", read)
    found = stage("detect", lambda: [faces_of(frame) for frame in frames])
    cuts: list[list[np.ndarray]] = []
    stage("assess, track, crop, flicker", cut)
    crops = stage("magnify", grown)
    if card.instability is not None:
        crops += [both[0] for both in cuts if len(both) > 1]
    stage(f"score {len(crops)} crops", lambda: scanner.detector.score(np.stack(crops)))


def long_video(long: Path, clip: str, warm: Warm) -> None:
    bare, scan = decoded(str(long)), warm(str(long))
    compare("10 minutes of 1080p, 20 frames", "0.05", bare, scan)
    way(long, "uniform:20")
    exact = Warm("seconds:30")
    exact(clip)
    compare("the same, the frame of every 30 s exactly", "–", bare, exact(str(long)))
    way(long, "seconds:30")


def way(long: Path, name: str) -> None:
    """How much of a video is decoded for a plan, and what the model of costs says of it."""
    from contextlib import closing

    import numpy as np

    from facetell.video import costs, parse_plan, route
    from facetell.video.source import Source

    with closing(Source(long)) as source:
        table, _ = source.scan()
        plan, pixels = parse_plan(name), source.pixels
    _, runs = route.choose(table, plan.choose(table.times), plan.slack(len(table.times)), pixels)
    decoding = costs.of_decoding(table.sizes, pixels)
    spent = sum(decoding[first : last + 1].sum() for first, last in runs)
    count = int((runs[:, 1] - runs[:, 0] + 1).sum())
    gap = np.diff(np.append(np.flatnonzero(table.is_key), len(table))).max() / (len(table) / 40)
    print(
        f"      {name}: {count:,} of {len(table):,} frames decoded, in {len(runs)} runs; "
        f"by the model {spent:.1f} s, all of it {decoding.sum():.1f} s; "
        f"keyframes lie at most {gap:.2f} times half the interval of 20 samples apart"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time scans against bare decoding.")
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    data = Path(os.environ.get("FACETELL_DATA") or ROOT.parent / "shared" / "data")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} processors, load {load}; decoding by {'ffmpeg' if shutil.which('ffmpeg') else 'PyAV'}")
    row("", "aim", "clock (proc.)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = list((data / "dfdc").rglob("*.mp4"))
        clip = given.clip or max(clips, key=lambda path: path.stat().st_size, default=None)
        clip = clip or made(folder / "portrait.mp4", (1920, 1080), 10)
        start_up(given.rounds)
        peak("peak memory, 1080p clip", "400 MB", str(clip))
        peak("peak memory, 4K clip", "700 MB", str(made(folder / "4k.mp4", (3840, 2160), 2)))
        warm = Warm()
        warm(str(clip))
        one_clip(str(clip), warm, given.rounds)
        long_video(looped(clip, folder / f"long{clip.suffix}"), str(clip), warm)
        batch(data.rglob("*.mp4") if clips else [clip], warm)
        growth(str(clip), given.rounds)


if __name__ == "__main__":
    main()
