"""What a scan costs beside bare decoding of the same file by PyAV on 2 threads: `python benchmarks/scan.py [CLIP...]`.

Scan and decoding take turns, so that whatever else the machine does weighs on both alike; medians are shown, of the
clock and of the processor time of all threads. "Cold" is a process of its own from start to exit, "warm" a `Scanner`
that has scanned before. Without clips, the largest under FACETELL_DATA/dfdc is taken, or one made from the sample
portrait.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FACETELL = "import sys; from facetell.cli import main; sys.argv[0] = 'facetell'; main()"
DECODE = """
import sys, av
with av.open(sys.argv[1]) as container:
    stream = container.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "AUTO", 2
    for frame in container.decode(stream):
        pass
"""


class Cost(NamedTuple):
    clock_s: float
    cpu_s: float
    peak_mb: float = 0.0


def process(code: str, *arguments: str) -> Cost:
    """Run Python code in a process of its own, which must succeed.

    Linux counts the parent's memory at the start into the child's peak: nothing large may have been imported before.
    """
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"python -c '{code.strip()}' {' '.join(arguments)}: failed")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def call(work: Callable[[], object]) -> Cost:
    """Run something within this process."""
    clock_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - clock_s, time.process_time() - cpu_s)


def in_turn(rounds: int, *works: Callable[[], Cost]) -> list[Cost]:
    """The median cost of each, one after the other in every round."""
    costs = [[work() for work in works] for _ in range(rounds)]
    return [Cost(*(median(part) for part in zip(*column, strict=True))) for column in zip(*costs, strict=True)]


def compare(name: str, bare: Cost, scan: Cost) -> None:
    for what, a, b in (("clock", bare.clock_s, scan.clock_s), ("processor", bare.cpu_s, scan.cpu_s)):
        print(f"  {name}, {what}: scan {b:.2f} s, decoding {a:.2f} s, ratio {b / a:.2f}")


def make_clip(path: Path) -> None:
    """Ten seconds of the sample portrait, 1920×1080, 30 frames a second."""
    import cv2

    from facetell.forge.output import clip_writer
    from facetell.video import VideoReader

    with VideoReader(ROOT / "examples" / "portrait.mp4", "every:1") as reader:
        images = [cv2.copyMakeBorder(frame.image, 0, 0, 186, 187, cv2.BORDER_REFLECT) for frame in reader]
    with clip_writer(path, (1920, 1080), Fraction(30), "made for a benchmark", crf=20) as writer:
        for number in range(300):
            writer.write(cv2.resize(images[number % len(images)], (1920, 1080)), number / 30)


def default_clip(folder: Path) -> Path:
    data = Path(os.environ.get("FACETELL_DATA") or ROOT.parent / "shared" / "data") / "dfdc"
    if clips := list(data.rglob("*.mp4")):
        return max(clips, key=lambda path: path.stat().st_size)
    path = folder / "portrait-1080p.mp4"
    maker = get_context("spawn").Process(target=make_clip, args=(path,))
    maker.start()
    maker.join()
    return path


def cold(clips: list[str], options: list[str], rounds: int) -> None:
    empty, help_ = in_turn(rounds, lambda: process("pass"), lambda: process(FACETELL, "--help"))
    print(f"start-up: facetell --help {help_.cpu_s:.3f} s of processor time, python -c pass {empty.cpu_s:.3f} s")
    for clip in clips:
        arguments = ["scan", clip, "--exit-zero", "--quiet", *options]
        bare, scan = in_turn(
            rounds, lambda clip=clip: process(DECODE, clip), lambda line=arguments: process(FACETELL, *line)
        )
        print(clip)
        compare("cold", bare, scan)
        print(f"  peak memory: scan {scan.peak_mb:.0f} MB, decoding {bare.peak_mb:.0f} MB")


def warm(clips: list[str], detector: str | None, rounds: int) -> None:
    from facetell.scanning import Scanner

    scanner = Scanner(detector)
    for clip in clips:
        verdict = scanner.scan(clip)
        if verdict.error:
            sys.exit(verdict.error.message)
        stages: list[dict[str, float]] = []
        decode = compile(DECODE.replace("sys.argv[1]", repr(clip)), "<decode>", "exec")
        bare, scan = in_turn(
            rounds,
            lambda code=decode: call(lambda: exec(code, {})),
            lambda clip=clip, stages=stages: call(lambda: stages.append(scanner.scan(clip).seconds)),
        )
        print(f"{clip}: {verdict.label}, {verdict.coverage.faces} faces in {verdict.coverage.frames_sampled} frames")
        compare("warm", bare, scan)
        middle = {stage: median(seconds[stage] for seconds in stages) for stage in stages[0]}
        print("  of the scan:", ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in middle.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time scans against bare decoding.")
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--detector", help="a name or an .onnx file; without it, the default detector")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = given.clips or [str(default_clip(Path(folder)))]
        cold(clips, ["--detector", given.detector] if given.detector else [], given.rounds)
        warm(clips, given.detector, given.rounds)


if __name__ == "__main__":
    main()
