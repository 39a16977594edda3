"""What preparing a face cache costs, and why it is stored so: `python benchmarks/prepare.py [CLIP...] [--most 200]`.

1. Preparing videos beside the scan's own decode-and-detect of the same files, each with one reading process: the ratio
   of their processor times (aim: at least 0.8 of its speed); and the same decoding without a process of its own.
2. The same over 20 … `--most` videos with a process per core: time, faces and the workers' peak memory.
3. The same faces as one shard with offsets, a folder of files, a tar, and Parquet: writing, and reading at random.

Without clips, those under FACETELL_DATA/dfdc are taken, or the sample portrait.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facetell.data import FaceCache, Item, manifest_of
from facetell.data.manifest import REAL
from facetell.data.prepare import prepare
from facetell.faces.detect import FaceDetector
from facetell.video import ReaderPool, VideoReader
from facetell.video.isolation import AnyReader

ROOT = Path(__file__).parents[1]
READS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--most", type=int, default=200, help="videos in the longest list")
    options = parser.parse_args()
    data = Path(os.environ.get("FACETELL_DATA") or ROOT.parent / "shared" / "data")
    clips = options.clips or sorted((data / "dfdc").glob("*/*.mp4")) or [ROOT / "examples" / "portrait.mp4"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost(clips, folder)
        growth(clips, folder, options.most)
        formats(FaceCache.open(folder / "growth20"), folder)


def manifest(clips: list[Path], count: int):
    """`count` rows over the clips in turn; links in a folder of their own make every path unique."""
    folder = Path(tempfile.mkdtemp())
    rows = []
    for k in range(count):
        link = folder / f"{k}{clips[k % len(clips)].suffix}"
        link.symlink_to(clips[k % len(clips)].resolve())
        rows.append(Item(str(link), REAL, video=str(k)))
    return manifest_of(rows)


def cost(clips: list[Path], folder: Path) -> None:
    """Processor time of all ways, in turns."""
    detector, readers = FaceDetector(), ReaderPool()

    def decode_and_detect(opened: Callable[[Path], AnyReader]) -> None:
        for clip in clips:
            with opened(clip) as reader:
                for frame in reader:
                    detector.detect(frame.image)

    rows = manifest(clips, len(clips))
    prepare(rows[:1], folder / "start", workers=1)  # starts its reading process
    readers.probe(clips[0])
    shares = []
    for turn in range(3):
        within = processor_seconds(lambda: decode_and_detect(VideoReader))
        bare = processor_seconds(lambda: decode_and_detect(readers.open))
        whole = processor_seconds(lambda turn=turn: prepare(rows, folder / f"cost{turn}", workers=1))
        shares.append(bare / whole)
        print(
            f"decode and detect {bare:6.2f} s, in one process {within:6.2f} s   "
            f"prepare {whole:6.2f} s   share {bare / whole:.2f}",
            flush=True,
        )
    print(f"prepare reaches {np.median(shares):.2f} of decode-and-detect's speed per core (aim: 0.8 or more)\n")


def growth(clips: list[Path], folder: Path, most: int) -> None:
    """Wall time, faces and peak memory for lists of growing length."""
    print(f"{os.cpu_count()} processes")
    for count in sorted({20, most // 3, most} - set(range(20))):
        rows = manifest(clips, count)
        out = folder / f"growth{count}"
        start = time.perf_counter()
        prepare(rows, out)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        faces = len(FaceCache.open(out))
        print(
            f"{count:4d} videos {seconds:7.1f} s  {seconds / count:5.2f} s a video  {faces:5d} faces  "
            f"{peak:.0f} MB a process"
        )
    print()


def formats(cache: FaceCache, folder: Path) -> None:
    """The same encoded faces in four kinds of storage: seconds to write, microseconds to read one at random."""
    faces = [cache.encoded(row) for row in range(len(cache))]
    order = np.random.default_rng(0).integers(0, len(faces), READS)
    size = np.mean([len(face) for face in faces]) / 1024
    print(f"{len(faces)} faces of {size:.1f} KB; a read is one of {READS} at random")
    for name, kind in (("shard", shard), ("folder", files), ("tar", tar), ("Parquet", parquet)):
        path = folder / name
        start = time.perf_counter()
        with kind(path, faces) as read:
            written = time.perf_counter() - start
            start = time.perf_counter()
            for row in order:
                if read(int(row)) != faces[row]:
                    raise SystemExit(f"{name} gave back another picture")
            each = (time.perf_counter() - start) / READS
        size = sum(part.stat().st_blocks * 512 for part in [path, *path.rglob("*")])
        print(f"{name:8} write {written:6.3f} s   read {1e6 * each:8.1f} µs   on disk {size / 2**20:7.1f} MB")
    start = time.perf_counter()
    for row in order:
        cache.read(int(row))
    print(f"for comparison, decoding one picture takes {1e6 * (time.perf_counter() - start) / READS:.0f} µs")


Reading = Callable[[int], bytes]


@contextmanager
def shard(path: Path, faces: list[bytes]) -> Iterator[Reading]:
    ends = np.cumsum([len(face) for face in faces])
    path.write_bytes(b"".join(faces))
    file = os.open(path, os.O_RDONLY)
    yield lambda row: os.pread(file, len(faces[row]), int(ends[row]) - len(faces[row]))
    os.close(file)


@contextmanager
def files(path: Path, faces: list[bytes]) -> Iterator[Reading]:
    path.mkdir()
    for row, face in enumerate(faces):
        (path / f"{row}.jpg").write_bytes(face)
    yield lambda row: (path / f"{row}.jpg").read_bytes()


@contextmanager
def tar(path: Path, faces: list[bytes]) -> Iterator[Reading]:
    with tarfile.open(path, "w") as out:
        for row, face in enumerate(faces):
            info = tarfile.TarInfo(f"{row}.jpg")
            info.size = len(face)
            out.addfile(info, io.BytesIO(face))
    with tarfile.open(path) as stored:
        members = stored.getmembers()

        def read(row: int) -> bytes:
            file = stored.extractfile(members[row])
            return file.read() if file else b""

        yield read


@contextmanager
def parquet(path: Path, faces: list[bytes]) -> Iterator[Reading]:
    group = 100
    pq.write_table(pa.table({"face": pa.array(faces, pa.binary())}), path, row_group_size=group, compression="none")
    with pq.ParquetFile(path) as stored:
        yield lambda row: stored.read_row_group(row // group)["face"][row % group].as_py()


def processor_seconds(work: Callable[[], object]) -> float:
    start = spent()
    work()
    return spent() - start


def spent() -> float:
    """Processor seconds of this process and of its children that are still there: reading processes."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += (int(fields[11]) + int(fields[12])) * (int(fields[1]) == os.getpid())
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
