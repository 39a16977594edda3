"""Preparing: crops kept as they are, fakes cut where their originals are, gaps listed, interruptions survived."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data import FaceCache
from facetell.data import prepare as prepare_room
from facetell.data.cache import POINTS
from facetell.data.layouts import Options, read
from facetell.data.manifest import FAKE, REAL, Item, manifest_of, read_manifest
from facetell.data.pairs import pair_problems
from facetell.data.prepare import Settings, prepare
from facetell.data.tar import read_bytes
from facetell.errors import CacheError, UsageError
from facetell.faces.align import TEMPLATE, similarity
from tests import media
from tests.data.made import as_text, changed_mouth, face_jpeg, face_tar, files, video_pairs

FEW = Settings(plan="uniform:3", size=128)


def prepared(root: Path, out: Path, settings: Settings = FEW, options: Options | None = None) -> FaceCache:
    prepare(manifest_of(read(root, options).items), out, settings, workers=1)
    return FaceCache.open(out)


def by_video(cache: FaceCache) -> pd.DataFrame:
    """The faces, with their video's key as index."""
    return cache.faces.set_index(pd.Index(cache.manifest.video.iloc[cache.faces["item"]]))


def test_crops_are_stored_as_they_are_and_pairs_share_their_points(tmp_path: Path) -> None:
    blank = media.write_picture(tmp_path / "blank.jpg", np.full((64, 48, 3), 90, np.uint8)).read_bytes()
    root = face_tar(tmp_path / "set", pairs=2, extra={"blank": blank, "broken": b"no picture"})
    cache = prepared(root, tmp_path / "cache")
    faces = by_video(cache)
    for row in range(len(cache)):
        item = cache.manifest.iloc[cache.faces["item"][row]]
        assert cache.encoded(row) == read_bytes(item.path, item.member), "not re-encoded"
    rows = {video: row for row, video in enumerate(faces.index)}
    assert faces.pair["f1"] == rows["r1"]
    points = cache.faces[list(POINTS)].to_numpy()
    assert np.array_equal(points[rows["r1"]], points[rows["f1"]])
    assert faces.eyes_px["r1"] == pytest.approx(50, abs=3)
    assert faces.diff_inside["f1"] > 2 * faces.diff_outside["f1"] > 0
    difference = cache.difference(rows["f1"])
    assert difference is not None
    assert difference.shape == (64, 64)
    assert difference[40:50].mean() > 4 * difference[:20].mean(), "the mouth was changed, not the brow"
    assert cache.difference(rows["r1"]) is None
    assert cache.points(rows["blank"]) is None
    assert (faces.width["blank"], faces.height["blank"]) == (48, 64)
    assert cache.gaps[["member", "error"]].values.tolist() == [["faces_224/broken.jpg", "NotVideoError"]]


def test_fakes_of_a_video_are_cut_where_its_originals_faces_are(tmp_path: Path) -> None:
    cache = prepared(video_pairs(tmp_path / "set", pairs=1), tmp_path / "cache")
    faces = cache.faces
    assert cache.manifest.label.iloc[faces["item"]].tolist() == [REAL] * 3 + [FAKE] * 3
    assert faces.pair.tolist() == [-1, -1, -1, 0, 1, 2]
    assert faces.frame.tolist() == [0, 1, 2] * 2
    assert faces.time_s[3:].tolist() == faces.time_s[:3].tolist() == pytest.approx([2 / 30, 6 / 30, 10 / 30], abs=1e-4)
    assert (faces.diff_inside[3:] > 3 * faces.diff_outside[3:]).all()
    assert (pair_problems(faces) == "").all()
    assert faces.score.notna().all()
    assert faces.track.nunique() == 1
    for row in range(6):
        assert cache.read(row).shape == (128, 128, 3)
        points = cache.points(row)
        assert points is not None
        matrix = similarity(points)
        assert abs(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))) < 1, "upright"
        assert np.allclose(points.mean(axis=0), 64 + TEMPLATE.mean(axis=0) * 0.6 * 1.28, atol=3), "in its place"
    items = cache.items
    assert items.codec.tolist() == ["h264", "h264"]
    assert items.frames.tolist() == items.frames_with_face.tolist() == [3, 3]
    assert (items.size_bytes == [Path(path).stat().st_size for path in cache.manifest.path.iloc[items["item"]]]).all()


def test_fake_of_another_length_or_size_still_pairs_in_time_and_place(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for label in ("real", "fake"):
        (root / label).mkdir(parents=True)
    real = list(media.portrait_frames(12))
    small = [np.ascontiguousarray(changed_mouth(frame)[::2, ::2]) for frame in real]
    media.write_video(root / "real" / "v.mp4", real)
    media.write_video(root / "fake" / "v.mp4", small[:8])
    cache = prepared(root, tmp_path / "cache")
    assert cache.faces.time_s.tolist() == pytest.approx([2 / 30, 6 / 30, 10 / 30, 2 / 30, 6 / 30], abs=1e-4)
    assert cache.faces.pair.tolist() == [-1, -1, -1, 0, 1]
    assert (cache.faces.diff_inside[3:] > 1.3 * cache.faces.diff_outside[3:]).all()


def test_fake_of_another_shape_is_searched_by_itself(tmp_path: Path) -> None:
    root = video_pairs(tmp_path / "set")
    media.write_video(root / "fake" / "v0.mp4", [frame[:, 40:280] for frame in media.portrait_frames(12)])
    cache = prepared(root, tmp_path / "cache")
    assert cache.faces.pair.tolist() == [-1] * 6
    assert cache.faces.score.notna().all()


def test_noisy_and_shifted_pairs_are_told(tmp_path: Path) -> None:
    root = video_pairs(tmp_path / "set", pairs=2)
    real = list(media.portrait_frames(12))
    media.write_video(root / "fake" / "v0.mp4", real)
    other = [255 - frame // 2 for frame in media.portrait_frames(12, who=1)]
    for frame, kept in zip(other, media.portrait_frames(12, who=1), strict=True):
        frame[70:190, 100:220] = kept[70:190, 100:220]
    media.write_video(root / "fake" / "v1.mp4", other)
    cache = prepared(root, tmp_path / "cache")
    problems = pair_problems(cache.faces).set_axis(by_video(cache).index)
    assert set(problems["fake/v0"]) == {"differ nowhere from their original"}
    assert set(problems["fake/v1"]) == {"differ more outside the face than inside"}


def test_broken_videos_and_faceless_ones_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = video_pairs(tmp_path / "set", pairs=2)
    (root / "real" / "v0.mp4").write_bytes(b"not a video")
    media.write_video(root / "real" / "grey.mp4", [np.full((120, 160, 3), 99, np.uint8)] * 5)
    (root / "real" / "gone.mp4").write_bytes(b"x")
    manifest = manifest_of(read(root).items)
    (root / "real" / "gone.mp4").unlink()
    prepare(manifest, tmp_path / "cache", FEW, workers=1)
    cache = FaceCache.open(tmp_path / "cache")
    gaps = {Path(row["path"]).name: (row["error"], row["message"]) for row in cache.gaps.to_dict("records")}
    assert set(gaps) == {"v0.mp4", "grey.mp4", "gone.mp4"}
    assert gaps["v0.mp4"][0] == "NotVideoError"
    assert gaps["gone.mp4"][0] == "FileMissingError"
    assert gaps["grey.mp4"] == ("NoFace", "No face in 3 sampled frames.")
    faces = by_video(cache)
    assert len(faces.loc["fake/v0"]) == 3, "without its original, a fake is searched by itself"
    assert set(faces.loc["fake/v0"].pair) == {-1}


def test_all_faces_or_only_the_largest(tmp_path: Path) -> None:
    (tmp_path / "set" / "real").mkdir(parents=True)
    both = np.hstack([media.side_by_side([0], 240), media.view(media.person(3), (240, 240), (286, 140), 420)])
    media.write_video(tmp_path / "set" / "real" / "two.mp4", [both] * 6)
    every = prepared(tmp_path / "set", tmp_path / "all")
    largest = prepared(tmp_path / "set", tmp_path / "largest", replace(FEW, faces="largest"))
    assert every.faces.groupby("track").size().tolist() == [3, 3]
    assert len(largest) == 3
    assert largest.faces.eyes_px.min() == pytest.approx(every.faces.groupby("track").eyes_px.mean().max(), rel=0.05)


def test_stills_and_pictures_inside_a_tar(tmp_path: Path) -> None:
    face_tar(tmp_path / "set", pairs=1)
    cache = prepared(tmp_path / "set" / "train.tar", tmp_path / "cache", options=Options(label=REAL))
    assert cache.items.codec.nunique() == 1
    assert [cache.read(row).shape for row in range(len(cache))] == [(128, 128, 3)] * 2


@pytest.mark.parametrize("bad", [{"plan": "often"}, {"faces": "some"}, {"size": 7}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(UsageError):
        Settings(**bad)


def test_workers_do_not_change_the_cache(tmp_path: Path) -> None:
    manifest = manifest_of(read(face_tar(tmp_path / "set", pairs=3)).items)
    for workers in (1, 2):
        prepare(manifest, tmp_path / str(workers), FEW, workers=workers)
    one, two = (FaceCache.open(tmp_path / name) for name in "12")
    assert one.faces.equals(two.faces)
    assert [one.encoded(row) for row in range(6)] == [two.encoded(row) for row in range(6)]


def test_prepare_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = video_pairs(tmp_path / "set", pairs=3)
    manifest = manifest_of(read(root).items)
    whole = prepared(root, tmp_path / "whole")

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(manifest, tmp_path / "cache", FEW, workers=1, progress=stop)
    seen: list[int] = []
    prepare(manifest, tmp_path / "cache", FEW, workers=1, progress=lambda done, _: seen.append(done))
    assert seen == [6], "only the family that was left"
    assert FaceCache.open(tmp_path / "cache").faces.equals(whole.faces)
    prepare(manifest, tmp_path / "cache", FEW, workers=1, progress=lambda *_: pytest.fail("nothing is done twice"))


def test_killed_process_leaves_a_cache_that_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle of the work, with real worker processes."""
    root = video_pairs(tmp_path / "set", pairs=4, frames=30)
    out = tmp_path / "cache"
    command = [sys.executable, "-c", "from facetell.cli import main; main()", "data", "prepare", str(root)]
    command += ["-o", str(out), "--workers", "1", "-q"]
    running = subprocess.Popen(command)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    if not (out / "faces.parquet").exists():
        with pytest.raises(CacheError, match="not finished"):
            FaceCache.open(out)
    subprocess.run(command, check=True)
    cache = FaceCache.open(out)
    assert cache.faces.groupby("item").size().tolist() == [20] * 8


def test_memory_stays_flat_however_long_the_list(tmp_path: Path) -> None:
    """Ten times the crops may not take noticeably more memory."""
    picture = tmp_path / "face.jpg"
    picture.write_bytes(face_jpeg())
    script = (
        "import os, resource, sys\n"
        "from facetell.data.manifest import Item, manifest_of\n"
        "from facetell.data.prepare import prepare\n"
        "count, source, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "names = [f'{out}-{k}.jpg' for k in range(count)]\n"
        "[os.link(source, name) for name in names]\n"
        "prepare(manifest_of(Item(name, 0, video=name, crop=True) for name in names), out, workers=1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for count in (100, 1000):
        run = subprocess.run(
            [sys.executable, "-c", script, str(count), str(picture), str(tmp_path / f"cache{count}")],
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(int(run.stdout) / 1024)
    assert peaks[1] - peaks[0] < 20, f"{peaks} MB for 100 and 1000 crops of {os.path.getsize(picture)} bytes"


def test_command_line_prepares_reports_and_writes_the_manifest(tmp_path: Path) -> None:
    root = video_pairs(tmp_path / "set", pairs=2)
    (root / "fake" / "v1.mp4").write_bytes(b"broken")
    out = tmp_path / "cache"
    run = CliRunner().invoke(
        app,
        [
            *("data", "prepare", str(root), "-o", str(out), "--sample", "uniform:2", "--size", "96", "--workers", "1"),
            *("--manifest", str(tmp_path / "m.csv"), "--paper-protocol"),
        ],
    )
    assert run.exit_code == 0, run.output
    assert "6 faces (2 FAKE) of 4 items" in run.output
    assert "v1.mp4" in run.output
    assert "leaks" in run.output
    assert len(read_manifest(tmp_path / "m.csv")) == 4
    assert FaceCache.open(out).settings == {"plan": "uniform:2", "faces": "all", "size": 96}
    run = CliRunner().invoke(app, ["data", "prepare", str(root), "-o", str(out), "--sample", "uniform:3"])
    assert run.exit_code == 2
    assert "other settings (plan, size)" in run.output


def test_command_line_inspects(tmp_path: Path) -> None:
    import json

    root = video_pairs(tmp_path / "[red]set")
    run = CliRunner().invoke(app, ["data", "inspect", str(root), "--json", str(tmp_path / "s.json")])
    assert run.exit_code == 0, run.output
    assert "layout plain" in run.output
    assert "[red]set" in run.output
    assert json.loads((tmp_path / "s.json").read_text())["paired"] == 1
    run = CliRunner().invoke(app, ["data", "inspect", str(tmp_path)])
    assert run.exit_code == 2
    assert "no known layout" in run.output


def test_an_official_split_that_leaks_is_inspected_before_its_manifest_is_refused(tmp_path: Path) -> None:
    import json

    files(tmp_path / "set", *(f"Celeb-real/id{k}_000{take}.mp4" for k in range(4) for take in (0, 1)))
    as_text(tmp_path / "set/List_of_testing_videos.txt", "1 Celeb-real/id0_0000.mp4")
    words = ["data", "inspect", str(tmp_path / "set"), "--json", "-", "--manifest", str(tmp_path / "m.csv")]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 2
    assert json.loads(run.stdout)["items"] == 8
    assert "layout celeb-df" in run.stderr
    assert "facetell data prepare writes a --manifest without the training rows that leak" in run.stderr
    assert not (tmp_path / "m.csv").exists()


def test_command_line_prepares_with_a_note_on_fakes_without_their_original(tmp_path: Path) -> None:
    root = video_pairs(tmp_path / "set", pairs=2)
    (root / "real" / "v1.mp4").unlink()
    words = ["data", "prepare", str(root), "-o", str(tmp_path / "c"), "--sample", "uniform:1", "--workers", "1"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.output
    assert "1 fake has no original here." in run.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "layout", "labels", "groups", "paired"),
    [
        ("dfdc", "dfdc", {FAKE: 5}, 4, 0),
        ("dfdc_faces", "dfdc-faces", {REAL: 14370, FAKE: 13696}, 1654, 13696),
        ("ffpp", "ffpp", {REAL: 9, FAKE: 28}, 7, 27),
        ("ffpp_faces", "plain", {REAL: 350, FAKE: 350}, 35, 350),
        ("sdfvd", "plain", {REAL: 8, FAKE: 8}, 8, 8),
        ("sdfvd_faces", "plain", {REAL: 21, FAKE: 21}, 21, 21),
    ],
)
def test_research_data_as_it_lies_there(
    data_dir: Path, folder: str, layout: str, labels: dict[int, int], groups: int, paired: int
) -> None:
    listing = read(data_dir / folder)
    manifest = manifest_of(listing.items)
    assert listing.layout == layout
    assert manifest.label.value_counts().to_dict() == labels
    assert manifest.group.nunique() == groups
    assert int(manifest.original.isin(manifest.video).sum()) == paired


@pytest.mark.slow
def test_dfdc_crops_are_found_and_paired(data_dir: Path, tmp_path: Path) -> None:
    manifest = manifest_of(read(data_dir / "dfdc_faces" / "dev.tar").items)
    some = manifest[manifest.group == manifest.group[0]].head(300).reset_index(drop=True)
    prepare(some, tmp_path, workers=1)
    cache = FaceCache.open(tmp_path)
    assert len(cache) == 300
    assert cache.faces.p0x.notna().mean() > 0.98
    fakes = cache.manifest.label.iloc[cache.faces["item"]].to_numpy() == FAKE
    assert (cache.faces.pair[fakes] >= 0).mean() > 0.9


@pytest.mark.slow
def test_faceforensics_fakes_differ_within_the_face(data_dir: Path, tmp_path: Path) -> None:
    manifest = manifest_of(read(data_dir / "ffpp").items)
    some = manifest[manifest.group == "pair 183"].reset_index(drop=True)
    prepare(some, tmp_path, replace(FEW, plan="uniform:4"), workers=1)
    cache = FaceCache.open(tmp_path)
    paired = cache.faces[cache.faces.pair >= 0]
    assert len(paired) >= 8 * 3
    assert (paired.diff_inside > 1.5 * paired.diff_outside).mean() > 0.9


def test_items_of_two_data_sets_do_not_pair(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(face_jpeg())
    (tmp_path / "b.jpg").write_bytes(face_jpeg(0, True))
    items = [
        Item(str(tmp_path / "a.jpg"), REAL, "one", video="v", crop=True),
        Item(str(tmp_path / "b.jpg"), FAKE, "two", video="w", original="v", crop=True),
    ]
    prepare(manifest_of(items), tmp_path / "cache", workers=1)
    assert FaceCache.open(tmp_path / "cache").faces.pair.tolist() == [-1, -1]


def test_workers_that_die_before_their_first_file_may_lack_a_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_room, "_start_worker", os._exit)  # which breaks down: it is given no exit code
    with pytest.raises(CacheError, match=r"before its first file.*if __name__ =="):
        prepare(manifest_of([Item("a.jpg", 0, video="a", crop=True)]), tmp_path, FEW, workers=2)


def test_a_dead_worker_says_what_it_was_at(tmp_path: Path) -> None:
    pipe = tmp_path / "deadly.jpg"
    os.mkfifo(pipe)  # opening it blocks until both sides are there, so the worker is at it when it is killed

    def kill() -> None:
        with pipe.open("wb"):
            for child in multiprocessing.active_children():
                child.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    manifest = manifest_of([Item(str(pipe), 0, video="deadly", crop=True)])
    with pytest.raises(CacheError, match=r"died, at .*deadly\.jpg"):
        prepare(manifest, tmp_path / "cache", FEW, workers=2)
    killer.join()


@pytest.mark.parametrize(
    "words",
    [
        ["data", "prepare", "x", "-o", "y"],
        ["data", "explore", "x", "-o", "y"],
        ["calibrate", "x", "-o", "y"],
        ["models", "quantise", "x", "--data", "z", "-o", "y"],
        ["reproduce", "paper", "--data", "x", "-o", "y"],
    ],
)
def test_a_seed_below_0_is_refused(words: list[str]) -> None:
    run = CliRunner().invoke(app, [*words, "--seed", "-1"])
    assert run.exit_code == 2
    assert "Invalid value for '--seed'" in run.output


def test_an_original_that_is_cut_out_already_does_not_pair_with_a_whole_picture(tmp_path: Path) -> None:
    files = {}
    for name, picture in (
        ("crop", media.person(0)[:200, :200]),
        ("whole", media.person(0)),
        ("grey", np.full((64, 64, 3), 90, np.uint8)),
    ):
        files[name] = str(media.write_picture(tmp_path / f"{name}.png", picture))
    for real, fake, fake_is_crop in (("crop", "whole", False), ("whole", "crop", True), ("grey", "crop", True)):
        items = [
            Item(files[real], REAL, video="r", crop=not fake_is_crop),
            Item(files[fake], FAKE, video="f", original="r", crop=fake_is_crop),
        ]
        prepare(manifest_of(items), tmp_path / f"{real}-{fake}", FEW, workers=1)
        cache = FaceCache.open(tmp_path / f"{real}-{fake}")
        assert 1 in cache.faces["item"].tolist(), "the fake is cut by itself"
        assert set(cache.faces.pair) == {-1}


def test_compression_does_not_part_a_fake_from_its_original(tmp_path: Path) -> None:
    def crop(name: str, label: int, compression: str, original: str = "") -> Item:
        (tmp_path / name).write_bytes(face_jpeg(0, label == FAKE))
        return Item(
            str(tmp_path / name), label, video=original and name, original=original, compression=compression, crop=True
        )

    items = [replace(crop("r.jpg", REAL, ""), video="v"), crop("f.jpg", FAKE, "c23", "v")]
    prepare(manifest_of(items), tmp_path / "one", workers=1)
    assert FaceCache.open(tmp_path / "one").faces.pair.tolist() == [-1, 0]
    items = [replace(crop(f"r{c}.jpg", REAL, c), video="v") for c in ("c23", "c40")]
    items += [crop(f"f{c}.jpg", FAKE, c, "v") for c in ("c40", "c23")]
    prepare(manifest_of(items), tmp_path / "two", workers=1)
    assert FaceCache.open(tmp_path / "two").faces.pair.tolist() == [-1, -1, 1, 0], (
        "the one of its own compression first"
    )


def test_many_stills_of_one_video_are_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.data.prepare.ROWS_PER_BATCH", 4)
    items = []
    for label, name, original in ((REAL, "r", ""), (FAKE, "f", "r")):
        for k in range(5):
            path = tmp_path / f"{name}_{k}.jpg"
            path.write_bytes(face_jpeg(0, label == FAKE))
            items.append(Item(str(path), label, video=name, original=original, frame=k, crop=True))
    seen: list[int] = []
    out = tmp_path / "cache"
    prepare(manifest_of(items), out, workers=1, progress=lambda done, _: seen.append(done))
    assert seen == [4, 8, 10]
    faces = FaceCache.open(out).faces
    assert faces.frame.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert faces.pair.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6, -1, 8]


def test_a_manifest_inside_the_cache_is_refused(tmp_path: Path) -> None:
    root = face_tar(tmp_path / "set", pairs=1)
    prepare(manifest_of(read(root).items), tmp_path / "cache", workers=1)
    kept = (tmp_path / "cache" / "manifest.parquet").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    words = ["data", "prepare", str(root), "-o", str(tmp_path / "cache"), "--size", "96"]
    run = CliRunner().invoke(app, [*words, "--manifest", str(tmp_path / "link" / "manifest.parquet")])
    assert run.exit_code == 2
    assert "lies in the cache's own folder" in run.output.replace("\n", " ")
    assert (tmp_path / "cache" / "manifest.parquet").read_bytes() == kept


def test_an_endless_share_is_refused() -> None:
    run = CliRunner().invoke(app, ["data", "prepare", "x", "-o", "y", "--splits", "train=inf,val=1"])
    assert run.exit_code == 2
    assert "says no fractions" in run.output


def test_a_transparent_crop_is_stored_as_a_scan_sees_it(tmp_path: Path) -> None:
    picture = media.person(0)
    clear = np.dstack([picture, np.full(picture.shape[:2], 0, np.uint8)])
    media.write_picture(tmp_path / "clear.png", clear)
    prepare(manifest_of([Item(str(tmp_path / "clear.png"), REAL, crop=True)]), tmp_path / "cache", workers=1)
    assert FaceCache.open(tmp_path / "cache").read(0).min() == 255


def test_the_codec_of_a_crop_is_that_of_its_bytes(tmp_path: Path) -> None:
    png = media.write_picture(tmp_path / "a.png", media.person(0)[:64, :64]).read_bytes()
    for name, data in (("a.jpg", face_jpeg()), ("b.jpeg", face_jpeg(1)), ("c.jpg", png)):
        (tmp_path / name).write_bytes(data)
    items = [Item(str(tmp_path / name), REAL, crop=True) for name in ("a.jpg", "b.jpeg", "c.jpg")]
    prepare(manifest_of(items), tmp_path / "cache", FEW, workers=1)
    assert FaceCache.open(tmp_path / "cache").items.codec.tolist() == ["jpeg", "jpeg", "png"]
