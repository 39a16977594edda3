"""The face cache: what is stored comes back, from anywhere; what was stopped goes on; what is broken is named."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facetell.data import cache as cache_room
from facetell.data.cache import Batch, CacheWriter, FaceCache, Gap, StoredFace, StoredItem
from facetell.data.manifest import FAKE, REAL, Item, manifest_of
from facetell.errors import CacheError, LeakError, OutputError
from tests.data.made import face_jpeg

SETTINGS = {"size": 1}


def manifest(count: int = 6) -> pd.DataFrame:
    return manifest_of([Item(f"/{k}.jpg", k % 2, video=f"v{k}") for k in range(count)])


def batch(row: int) -> Batch:
    """One item with two faces, the second paired with the first."""
    first = StoredFace(row, face_jpeg(row), 224, 224, np.arange(10.0).reshape(5, 2) + row, (1, 2, 3, 4), 0.9)
    second = StoredFace(row, face_jpeg(row, True), 224, 224, pair=0, diff_inside=4.0, difference=b"map")
    return Batch([row], [StoredItem(row, 224, 224, "jpg", 9)], [first, second])


def fill(folder: Path, rows: range, count: int = 6, finish: bool = True) -> None:
    with CacheWriter(folder, SETTINGS, manifest(count)) as writer:
        for row in rows:
            if row not in writer.done:
                writer.add(batch(row))
        if finish:
            writer.finish()


def contents(folder: Path) -> dict[str, bytes]:
    names = ["faces.parquet", "items.parquet", "manifest.parquet", "gaps.csv", "cache.json"]
    shards = sorted((folder / "shards").iterdir())
    return {path.name: path.read_bytes() for path in [*(folder / name for name in names), *shards]}


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    fill(tmp_path, range(6))
    cache = FaceCache.open(tmp_path)
    assert len(cache) == 12
    assert cache.encoded(5) == face_jpeg(2, True)
    assert cache.read(0).shape == (224, 224, 3)
    assert cache.read(0).dtype == np.uint8
    points = cache.points(4)
    assert points is not None
    assert np.allclose(points, np.arange(10).reshape(5, 2) + 2)
    assert cache.points(5) is None
    assert cache.faces.pair.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10]
    assert cache.manifest.equals(manifest())
    assert cache.settings == SETTINGS
    assert cache.items["item"].tolist() == list(range(6))
    assert cache.gaps.empty


def test_pictures_are_rgb(tmp_path: Path) -> None:
    import cv2

    red = cv2.imencode(".png", np.full((8, 8, 3), (0, 0, 255), np.uint8))[1].tobytes()
    with CacheWriter(tmp_path, SETTINGS, manifest(1)) as writer:
        writer.add(Batch([0], [], [StoredFace(0, red, 8, 8)]))
        writer.finish()
    assert FaceCache.open(tmp_path).read(0)[0, 0].tolist() == [255, 0, 0]


def _encoded(cache: FaceCache, row: int) -> bytes:
    return cache.encoded(row)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_reading_from_threads_and_processes(tmp_path: Path, start: str) -> None:
    fill(tmp_path, range(6))
    cache = FaceCache.open(tmp_path)
    expected = [cache.encoded(row) for row in range(12)]
    rows = [*range(12)] * 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(cache.encoded, rows)) == expected * 5
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.starmap(_encoded, [(cache, row) for row in range(12)]) == expected


def test_stopped_anywhere_and_started_again_gives_the_same_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_room, "SHARD_BYTES", 20_000)  # several shards
    fill(tmp_path / "whole", range(6))
    whole = contents(tmp_path / "whole")
    assert len([name for name in whole if name.endswith(".bin")]) > 2
    for stop in range(6):
        folder = tmp_path / f"stopped{stop}"
        fill(folder, range(stop), finish=False)
        with pytest.raises(CacheError, match="not finished"):
            FaceCache.open(folder)
        shard = sorted((folder / "shards").iterdir())[-1]
        shard.write_bytes(shard.read_bytes() + b"half a picture")  # written, but not vouched for
        with (folder / "journal.jsonl").open("a") as journal:
            journal.write('{"rows": [5], "fac')
        with CacheWriter(folder, SETTINGS, manifest()) as writer:
            assert writer.done == set(range(stop))
        fill(folder, range(6))
        assert contents(folder) == whole


def test_what_goes_on_after_bytes_that_nothing_vouches_for_lies_where_it_is_looked_for(tmp_path: Path) -> None:
    fill(tmp_path / "whole", range(6))
    fill(tmp_path / "stopped", range(3), finish=False)
    with (tmp_path / "stopped" / "shards" / "00000.bin").open("ab") as shard:
        shard.write(b"half a picture" * 1000)
    with (tmp_path / "stopped" / "journal.jsonl").open("a") as journal:
        journal.write('{"rows": [5], "fac')
    fill(tmp_path / "stopped", range(6))  # the same writer cuts back and adds
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_faces_that_do_not_lie_end_to_end_are_named(tmp_path: Path) -> None:
    fill(tmp_path, range(6))
    faces = FaceCache.open(tmp_path).faces
    for row in (0, 7):
        faces.assign(offset=faces.offset.where(faces.index != row, 5)).to_parquet(tmp_path / "faces.parquet")
        with pytest.raises(CacheError, match="do not lie end to end"):
            FaceCache.open(tmp_path)


def test_journal_that_vouches_for_lost_bytes_is_not_trusted(tmp_path: Path) -> None:
    fill(tmp_path, range(3), finish=False)
    shard = tmp_path / "shards" / "00000.bin"
    os.truncate(shard, shard.stat().st_size - 1)
    with CacheWriter(tmp_path, SETTINGS, manifest()) as writer:
        assert writer.done == {0, 1}
        assert shard.stat().st_size == sum(len(face_jpeg(k, c)) for k in (0, 1) for c in (False, True)) + 6


@pytest.mark.parametrize("line", ['{"rows": [5], "fac\n', "[5]\n", '{"rows": [5]}\n'], ids=["torn", "list", "older"])
def test_a_journal_with_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    fill(tmp_path, range(3), finish=False)
    journal = tmp_path / "journal.jsonl"
    journal.write_text(line + journal.read_text())
    with (
        pytest.raises(CacheError, match=r"a line of journal\.jsonl .*Delete it"),
        CacheWriter(tmp_path, SETTINGS, manifest()),
    ):
        pass


def test_finished_cache_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, range(6))
    before = contents(tmp_path)
    with CacheWriter(tmp_path, SETTINGS, manifest()) as writer:
        assert writer.complete
        assert writer.done == set(range(6))
    assert contents(tmp_path) == before


def test_other_settings_rows_or_versions_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, range(6))
    with pytest.raises(CacheError, match=r"other settings \(size\)"), CacheWriter(tmp_path, {"size": 2}, manifest()):
        pass
    with pytest.raises(CacheError, match="other rows"), CacheWriter(tmp_path, SETTINGS, manifest(7)):
        pass
    about = json.loads((tmp_path / "cache.json").read_text())
    (tmp_path / "cache.json").write_text(json.dumps({**about, "schema": "facetell-cache/0"}))
    with pytest.raises(CacheError, match="facetell-cache/0"):
        FaceCache.open(tmp_path)


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    with CacheWriter(tmp_path, SETTINGS, manifest()):  # noqa: SIM117
        with pytest.raises(CacheError, match="Another process"), CacheWriter(tmp_path, SETTINGS, manifest()):
            pass


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="not a face cache"):
        FaceCache.open(tmp_path)
    fill(tmp_path, range(6))
    shard = tmp_path / "shards" / "00000.bin"
    data = shard.read_bytes()
    shard.write_bytes(b"\0" * len(data))
    with pytest.raises(CacheError, match=r"Face 0 .* damaged"):
        FaceCache.open(tmp_path).read(0)
    shard.write_bytes(data[:-1])
    with pytest.raises(CacheError, match=r"00000\.bin"):
        FaceCache.open(tmp_path)
    (tmp_path / "faces.parquet").write_bytes(b"")
    with pytest.raises(CacheError, match="damaged"):
        FaceCache.open(tmp_path)
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(CacheError, match=r"cache\.json"):
        FaceCache.open(tmp_path)


def test_gaps_name_the_item_and_the_reason(tmp_path: Path) -> None:
    with CacheWriter(tmp_path, SETTINGS, manifest(2)) as writer:
        writer.add(Batch([0, 1], gaps=[Gap(1, "NotVideoError", "1.jpg, “is” no picture.")]))
        writer.finish()
    gaps = FaceCache.open(tmp_path).gaps
    assert gaps[["item", "path", "error", "message"]].values.tolist() == [
        [1, "/1.jpg", "NotVideoError", "1.jpg, “is” no picture."]
    ]
    assert len(FaceCache.open(tmp_path)) == 0


def test_leaking_manifest_makes_no_cache(tmp_path: Path) -> None:
    rows = [Item("a", REAL, split="train", group="g"), Item("b", FAKE, split="test", group="g")]
    with pytest.raises(LeakError), CacheWriter(tmp_path, SETTINGS, manifest_of(rows)):
        pass


def test_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), CacheWriter(tmp_path / "file" / "c", {}, manifest()):
        pass


def test_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    fill(tmp_path, range(2), finish=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "shards" / "00000.bin").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        with (
            pytest.raises(OutputError, match="cannot be written"),
            CacheWriter(tmp_path, SETTINGS, manifest()) as writer,
        ):
            writer.add(batch(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with CacheWriter(tmp_path, SETTINGS, manifest()) as writer:
        assert writer.done == {0, 1}


def test_a_cache_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    fill(tmp_path, range(6))
    cache = FaceCache.open(tmp_path)
    for name, part in (("items.parquet", "items"), ("gaps.csv", "gaps")):
        (tmp_path / name).unlink()
        with pytest.raises(CacheError, match="damaged"):
            getattr(cache, part)
    cache.faces.drop(columns="pair").to_parquet(tmp_path / "faces.parquet")
    with pytest.raises(CacheError, match=r"faces\.parquet has no column pair"):
        FaceCache.open(tmp_path)
    about = json.loads((tmp_path / "cache.json").read_text())
    (tmp_path / "cache.json").write_text(json.dumps({key: about[key] for key in about if key != "complete"}))
    with pytest.raises(CacheError, match="whether it is complete"):
        FaceCache.open(tmp_path)


def test_other_files_among_the_shards_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for name in (".DS_Store", "._00000.bin"):
        (tmp_path / "shards" / name).write_text("x")
    fill(tmp_path, range(2), finish=False)
    fill(tmp_path, range(6))
    assert len(FaceCache.open(tmp_path)) == 12
    assert (tmp_path / "shards" / ".DS_Store").exists()


def test_a_very_wide_picture_can_be_stored(tmp_path: Path) -> None:
    with CacheWriter(tmp_path, SETTINGS, manifest(1)) as writer:
        writer.add(Batch([0], [], [StoredFace(0, face_jpeg(), 40_000, 33_000)]))
        writer.finish()
    assert FaceCache.open(tmp_path).faces[["width", "height"]].values.tolist() == [[40_000, 33_000]]


@pytest.mark.parametrize("content", [None, b"", b"x"])
def test_an_unfinished_cache_without_its_manifest_is_named(tmp_path: Path, content: bytes | None) -> None:
    fill(tmp_path, range(2), finish=False)
    (tmp_path / "manifest.parquet").unlink()
    if content is not None:
        (tmp_path / "manifest.parquet").write_bytes(content)
    with pytest.raises(CacheError, match="is damaged"):
        fill(tmp_path, range(6))


def test_a_system_without_locks_and_reading_at_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows is one."""
    for name in ("pread", "preadv"):
        monkeypatch.delattr(os, name, raising=False)
    spec = importlib.util.spec_from_file_location("cache_elsewhere", cache_room.__file__)
    assert spec is not None
    assert spec.loader is not None
    elsewhere = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, spec.name, elsewhere)
    spec.loader.exec_module(elsewhere)
    with elsewhere.CacheWriter(tmp_path, SETTINGS, manifest(1)) as writer:
        writer.add(batch(0))
        writer.finish()
    assert elsewhere.FaceCache.open(tmp_path).encoded(1) == face_jpeg(0, True)
