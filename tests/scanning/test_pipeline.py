import hashlib
import json
import logging
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facetell.detectors import Term, load_detector
from facetell.errors import UnknownDetectorError, UsageError
from facetell.faces import FaceDetector, Geometry, crop_face
from facetell.faces.align import FACE_HEIGHT, TEMPLATE
from facetell.faces.flicker import flicker
from facetell.faces.magnify import magnified
from facetell.report import text
from facetell.scanning import Scanner, pipeline, scoring
from facetell.scanning.verdict import sigmoid
from facetell.types import Face, FaceTrack, Label, Sample
from facetell.video import VideoReader, isolation
from facetell.video.plans import Clips
from tests import media
from tests.detectors.networks import SIZE, array, brightness, contrast, model, saying, write


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.write_picture(tmp_path_factory.mktemp("photo") / "photo.png", media.astronaut())


@pytest.fixture(scope="module")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = media.side_by_side([0, 3])
    return media.write_video(tmp_path_factory.mktemp("two") / "two.mp4", [frame] * 30)


@pytest.fixture
def brightness_scanner(tmp_path: Path) -> Scanner:
    return Scanner(write(tmp_path, brightness(gain=10.0, bias=-4.0), outputs={"logit": "logit", "heatmap": "heatmap"}))


def test_scores_are_those_of_the_crops(brightness_scanner: Scanner, portrait_clip: Path) -> None:
    """Video, faces and detector put together by hand give what the scan gives."""
    verdict = brightness_scanner.scan(portrait_clip)
    card, finder = brightness_scanner.detector.card, FaceDetector()
    logits, times = [], []
    with VideoReader(portrait_clip, "uniform:20") as reader:
        for frame in reader:
            (face,) = finder.detect(frame.image)
            crop = crop_face(frame.image, face.points, face.box, card.geometry, card.input_size)
            logits.append(10.0 * crop.mean() / 255 - 4.0)
            times.append(frame.time_s)
    (track,) = verdict.tracks
    assert [score.time_s for score in track.scores] == times
    np.testing.assert_allclose([score.logit for score in track.scores], logits, atol=1e-4)
    np.testing.assert_allclose([score.p_fake for score in track.scores], [sigmoid(x) for x in logits], atol=1e-4)


def test_flicker_counts_beside_the_network_where_the_card_says_so(tmp_path: Path, portrait_clip: Path) -> None:
    """Face by face: what the card makes of the flicker of this frame and the next, added to the network's logit."""
    counting = Term(weight=4.0, centre=-0.5, most=2.0)
    plain = Scanner(write(tmp_path, brightness(gain=10.0, bias=-4.0))).scan(portrait_clip)
    path = write(tmp_path, brightness(gain=10.0, bias=-4.0), "counting.onnx", flicker=counting)
    verdict = Scanner(path).scan(portrait_clip)
    finder, added = FaceDetector(), []
    with VideoReader(portrait_clip, "uniform:20", pairs=True) as reader:
        for frame in reader:
            (face,) = finder.detect(frame.image)
            value = None if frame.after is None else flicker(frame.image, frame.after, face.points)
            added.append(counting.logit(value))
    assert len({round(value, 6) for value in added}) > 5
    before, after = (list(one.tracks[0].scores) for one in (plain, verdict))
    np.testing.assert_allclose([score.parts["flicker"] for score in after], added, atol=1e-6)
    np.testing.assert_allclose(
        [score.logit for score in after], np.add([score.logit for score in before], added), atol=1e-4
    )
    assert all("flicker" not in score.parts for score in before)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    frames = [frame // 2 + random.integers(0, 12, frame.shape[:2])[..., None] for frame in media.portrait_frames(12)]
    path = tmp_path_factory.mktemp("noisy") / "noisy.mp4"
    return media.write_video(path, [frame.astype(np.uint8) for frame in frames], gop=6)


def test_the_network_is_shown_what_changes_magnified_where_the_card_says_so(tmp_path: Path, noisy: Path) -> None:
    """Face by face, but for the last frame, which has no next one, and where the face moved too far; pictures in the
    verdict are as they were.
    """
    plain = Scanner(write(tmp_path, contrast()), plan="every:1").scan(noisy)
    path = write(tmp_path, contrast(), "magnifying.onnx", magnification=2.0)
    verdict = Scanner(path, plan="every:1").scan(noisy)
    detector, finder, logits = load_detector(path), FaceDetector(), []
    with VideoReader(noisy, "every:1", pairs=True) as reader:
        for frame in reader:
            (face,) = finder.detect(frame.image)
            crop, *after = (
                crop_face(picture, face.points, face.box, detector.card.geometry, detector.card.input_size)
                for picture in (frame.image, frame.after)
                if picture is not None
            )
            shown = magnified(crop, after[0], 2.0) if after else None
            logits.append(float(detector.score((crop if shown is None else shown)[None]).logits[0]))
    before, after = (list(one.tracks[0].scores) for one in (plain, verdict))
    np.testing.assert_allclose([score.logit for score in after], logits, atol=1e-4)
    gained = np.subtract(logits, [score.logit for score in before])
    assert sum(gained > 0.1) >= 8
    assert gained[-1] == pytest.approx(0, abs=1e-4)
    for one, other in zip(before, after, strict=True):
        assert one.crop is None or other.crop is None or np.array_equal(one.crop, other.crop)


def test_it_counts_how_far_magnified_changes_move_a_score_where_the_card_says_so(tmp_path: Path, noisy: Path) -> None:
    """Face by face: either way, by the logits of the face as it is and magnified; nothing where there is no pair."""
    counting = Term(weight=0.3, centre=1.0)
    plain, magnifying, unstable = (
        list(Scanner(write(tmp_path, contrast(), name, **more), plan="every:1").scan(noisy).tracks[0].scores)
        for name, more in (
            ("plain.onnx", {}),
            ("magnifying.onnx", {"magnification": 2.0}),
            ("unstable.onnx", {"magnification": 2.0, "instability": counting}),
        )
    )
    moved = [abs(one.logit - other.logit) for one, other in zip(magnifying, plain, strict=True)]
    added = [0.0 if not by else counting.logit(math.log(0.1 + by)) for by in moved]
    assert len({round(value, 4) for value in added}) > 5
    assert added[-1] == 0  # the last frame has no next one
    np.testing.assert_allclose([score.parts["instability"] for score in unstable], added, atol=1e-4)
    np.testing.assert_allclose(
        [score.logit for score in unstable], np.add([score.logit for score in magnifying], added), atol=1e-4
    )


def test_a_still_has_no_terms_and_is_shown_as_it_is(tmp_path: Path, photo: Path) -> None:
    plain, counting = Scanner(write(tmp_path, brightness())).scan(photo), Term(weight=4.0, centre=-5.0)
    path = write(tmp_path, brightness(), "full.onnx", flicker=counting, magnification=3.0, instability=counting)
    (track,) = Scanner(path).scan(photo).tracks
    assert track.scores[0].parts == {"flicker": 0, "instability": 0}
    assert track.scores[0].logit == plain.tracks[0].scores[0].logit


@pytest.mark.parametrize(("logit", "label"), [(-5.0, Label.REAL), (2.0, Label.INCONCLUSIVE), (5.0, Label.FAKE)])
def test_a_clip_of_one_person(tmp_path: Path, portrait_clip: Path, logit: float, label: Label) -> None:
    path = saying(tmp_path, logit)
    verdict = Scanner(path).scan(portrait_clip)
    assert verdict.label is label
    assert verdict.path == str(portrait_clip)
    assert verdict.p_fake == pytest.approx(sigmoid(logit))
    assert verdict.threshold == pytest.approx(sigmoid(3.0))
    assert verdict.false_positive_rate == 0.01
    assert verdict.provisional
    assert verdict.sha256 == hashlib.sha256(portrait_clip.read_bytes()).hexdigest()
    assert verdict.coverage.frames_sampled == verdict.coverage.frames_with_face == verdict.coverage.faces == 20
    assert verdict.coverage.frames_lost == 0
    assert verdict.video is not None
    assert (verdict.video.width, verdict.video.codec) == (320, "h264")
    assert verdict.detector is not None
    assert (verdict.detector.name, verdict.detector.shipped) == ("tiny", False)
    assert list(verdict.seconds) == ["probe", "decode", "detect", "assess", "track", "crop", "score", "hash"]
    assert verdict.error is None


def test_a_still_is_a_track_of_one_face(tmp_path: Path, photo: Path) -> None:
    verdict = Scanner(saying(tmp_path, 5.0)).scan(photo)
    assert verdict.label is Label.FAKE
    assert verdict.coverage.frames_sampled == 1
    assert [len(track.scores) for track in verdict.tracks] == [1]


def test_two_people_are_two_tracks_and_raise_the_threshold(tmp_path: Path, two_people: Path) -> None:
    verdict = Scanner(saying(tmp_path, 3.5)).scan(two_people)
    assert len(verdict.tracks) == 2
    assert verdict.threshold is not None
    assert verdict.threshold > sigmoid(3.5)
    assert verdict.label is Label.INCONCLUSIVE


def test_no_face_is_no_verdict(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "blocks.mp4", media.numbered_frames(30))
    verdict = Scanner(saying(tmp_path, -9.0)).scan(clip)
    assert verdict.label is Label.NO_FACE
    assert verdict.p_fake is None
    assert verdict.coverage.frames_sampled == 20
    assert verdict.coverage.frames_with_face == 0


def test_a_face_too_small_to_judge_is_scored_but_decides_nothing(tmp_path: Path) -> None:
    frame = np.full((360, 480, 3), 90, np.uint8)
    frame[100:160, 200:260] = media.view(media.astronaut(), (60, 60), (225, 140), 260)
    clip = media.write_video(tmp_path / "small.mp4", [frame] * 30)
    verdict = Scanner(saying(tmp_path, -9.0)).scan(clip)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.p_fake == pytest.approx(sigmoid(-9.0))
    assert verdict.coverage.faces_unusable == verdict.coverage.faces > 0
    assert verdict.coverage.problems["too small"] > 0
    assert "too small" in verdict.reasons[0]


@pytest.mark.parametrize("quarters", [1, 2])
def test_a_picture_that_is_not_upright_decides_nothing(tmp_path: Path, quarters: int) -> None:
    picture = media.write_picture(tmp_path / "turned.png", np.ascontiguousarray(np.rot90(media.astronaut(), quarters)))
    verdict = Scanner(saying(tmp_path, 9.0)).scan(picture)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.coverage.problems["not upright"] == 1
    assert "1 not upright" in verdict.reasons[0]


def test_the_rest_of_a_damaged_file_has_to_be_enough_for_the_whole(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", media.portrait_frames(60), gop=60)
    data = bytearray(path.read_bytes())
    start = len(data) * 3 // 10
    data[start : start + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    verdict = Scanner(saying(tmp_path, 5.0)).scan(path)
    seen = verdict.coverage
    assert 0 < seen.frames_sampled < 3
    assert seen.frames_sampled + seen.frames_lost == 20
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.p_fake == pytest.approx(sigmoid(5.0))
    assert f"{seen.frames_lost} of the 20 frames wanted are missing or could not be decoded." in verdict.reasons


def test_one_face_of_a_video_that_was_cut_off_decides_nothing(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", media.portrait_frames(60), gop=60)
    whole = media.remux(tmp_path / "fast.mp4", path, options={"movflags": "faststart"})
    with av.open(str(whole)) as container:
        second = [packet for packet in container.demux(video=0) if packet.size][1]
    assert second.pos is not None
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: second.pos])
    scanner = Scanner(saying(tmp_path, 5.0))
    assert scanner.scan(whole).label is Label.FAKE
    verdict = scanner.scan(cut)
    assert (verdict.coverage.frames_sampled, verdict.coverage.frames_lost) == (1, 19)
    assert verdict.label is Label.INCONCLUSIVE
    assert not verdict.tracks[0].counts
    assert "19 of the 20 frames wanted are missing or could not be decoded." in verdict.reasons


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, "FileMissingError"), (b"", "NotVideoError"), (b"just text\n" * 99, "NotVideoError")],
)
def test_what_cannot_be_judged_is_an_error_and_no_exception(tmp_path: Path, content: bytes | None, error: str) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    verdict = Scanner(saying(tmp_path, 0.0)).scan(path)
    assert verdict.label is Label.ERROR
    assert verdict.p_fake is None
    assert verdict.error is not None
    assert verdict.error.type == error
    assert str(path) in verdict.error.message


def test_a_file_that_no_memory_is_left_for_is_an_error_and_no_exception(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(saying(tmp_path, 5.0))
    with monkeypatch.context() as short:
        short.setattr(pipeline, "crop_face", lambda *_: bytearray(2**62))
        verdict = scanner.scan(photo)
    assert verdict.label is Label.ERROR
    assert verdict.error is not None
    assert verdict.error.type == "LimitError"
    assert f"{photo} takes more memory" in verdict.error.message
    assert scanner.scan(photo).label is Label.FAKE


def test_many_files_come_in_order_with_the_broken_between_them(tmp_path: Path, photo: Path) -> None:
    paths = [photo, tmp_path / "missing.mp4", photo]
    verdicts = list(Scanner(saying(tmp_path, 5.0)).scan_many(paths))
    assert [verdict.label for verdict in verdicts] == [Label.FAKE, Label.ERROR, Label.FAKE]
    assert [verdict.path for verdict in verdicts] == [str(path) for path in paths]


def test_the_next_file_is_read_while_one_is_judged_and_no_more(tmp_path: Path, portrait_clip: Path) -> None:
    scanner = Scanner(saying(tmp_path, 5.0))
    drawn: list[int] = []

    def paths() -> Iterator[Path]:
        for number in range(6):
            drawn.append(number)
            yield portrait_clip

    verdicts = scanner.scan_many(paths())
    first = next(verdicts)
    assert drawn == [0, 1]
    assert next(verdicts).p_fake == first.p_fake == scanner.scan(portrait_clip).p_fake
    assert drawn == [0, 1, 2]
    verdicts.close()
    assert len(list(scanner.scan_many([portrait_clip] * 3))) == 3
    assert len(scanner.readers._idle) == 2


@pytest.mark.skipif(not isolation.SUPPORTED, reason="needs POSIX: reading is not isolated elsewhere")
@pytest.mark.parametrize("ready", [True, False])
def test_whoever_stops_does_not_wait_for_a_reader_that_hangs(
    tmp_path: Path, photo: Path, ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(saying(tmp_path, 5.0))
    assert len(list(scanner.scan_many([photo] * 3))) == 3

    for_second, _ = scanner.readers._idle  # the last one is taken first
    if ready:
        os.kill(for_second.process.pid, signal.SIGSTOP)
    else:
        scanner.readers._idle.remove(for_second)
        monkeypatch.setattr(isolation, "_BOOT", "import time; time.sleep(100)")
    verdicts = scanner.scan_many([photo] * 2)
    assert next(verdicts).label is Label.FAKE
    start = time.monotonic()
    verdicts.close()
    assert time.monotonic() - start < 15


def test_the_hash_is_that_of_the_file_that_was_judged(tmp_path: Path, photo: Path) -> None:
    """Though another takes its name between opening and judging, as may happen to the next one of a batch."""
    clip, other = tmp_path / "clip.png", tmp_path / "other.png"
    shutil.copy(photo, clip)
    media.write_picture(other, media.side_by_side([0, 3]))
    scanner = Scanner(saying(tmp_path, 5.0))
    verdicts = scanner.scan_many([photo, clip])
    next(verdicts)
    os.replace(other, clip)
    verdict = next(verdicts)
    assert verdict.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert len(verdict.tracks) == 1


def test_of_a_crowd_the_largest_faces_are_looked_at(
    tmp_path: Path, two_people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(saying(tmp_path, 5.0))
    monkeypatch.setattr(pipeline, "MOST_FACES", 1)
    verdict = scanner.scan(two_people)
    (track,) = verdict.tracks
    assert verdict.coverage is not None
    frames = verdict.coverage.frames_sampled
    assert len(track.scores) == frames
    assert (verdict.coverage.faces, verdict.coverage.faces_unusable) == (2 * frames, frames)
    assert verdict.coverage.problems == {"beyond the 1 largest of a frame": frames}
    areas = [w * h for _, _, w, h in (face.box for face in FaceDetector().detect(media.side_by_side([0, 3])))]
    assert np.median([score.box[2] * score.box[3] for score in track.scores]) == pytest.approx(max(areas), rel=0.1)


def test_start_and_end_bound_what_is_looked_at(brightness_scanner: Scanner, portrait_clip: Path) -> None:
    part = Scanner(brightness_scanner.detector, plan="every:5", start_s=0.5, end_s=1.0).scan(portrait_clip)
    times = [score.time_s for score in part.tracks[0].scores]
    assert times
    assert min(times) >= 0.5
    assert max(times) <= 1.0
    assert part.sample == Sample("every:5", 0.5, 1.0)
    assert brightness_scanner.scan("missing.mp4").sample == Sample("uniform:20")


def test_an_end_at_infinity_is_none_in_every_report(brightness_scanner: Scanner, portrait_clip: Path) -> None:
    verdict = Scanner(brightness_scanner.detector, end_s=float("inf")).scan(portrait_clip)
    assert verdict.sample == Sample("uniform:20")
    assert verdict.to_dict()["sample"]["end_s"] is None
    assert text.sampling(verdict.sample) == ""


@pytest.mark.parametrize("name", [b"photo.png", b"missing.png", b"\xff.png"])
def test_a_path_of_bytes_is_reported_as_text(
    name: bytes, tmp_path: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "facetell")  # the tests' own processes cannot hand on such a name in a log
    path = tmp_path / os.fsdecode(name)
    if name != b"missing.png":
        shutil.copy(photo, path)
    verdict = Scanner(saying(tmp_path, 5.0)).scan(os.fsencode(path))  # which `open` and the like take, too
    assert verdict.label is (Label.ERROR if name == b"missing.png" else Label.FAKE)
    assert verdict.path == str(path)
    assert json.loads(json.dumps(verdict.to_dict()))["path"] == verdict.path
    assert verdict.error is None or verdict.error.message.startswith(str(tmp_path))


def test_progress_runs_from_start_to_end(tmp_path: Path, portrait_clip: Path) -> None:
    seen: list[tuple[str, float]] = []
    scanner = Scanner(saying(tmp_path, 0.0), progress=lambda path, share: seen.append((path, share)))
    scanner.scan(portrait_clip)
    shares = [share for _, share in seen]
    assert {path for path, _ in seen} == {str(portrait_clip)}
    assert len(shares) == 20
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < 0.1
    assert 0.9 < shares[-1] <= 1.0


@pytest.mark.skipif(not isolation.SUPPORTED, reason="needs POSIX: there is no process elsewhere")
def test_closing_ends_the_process_and_another_scan_starts_one(tmp_path: Path, photo: Path) -> None:
    with Scanner(saying(tmp_path, 5.0)) as scanner:
        (worker,) = scanner.readers._idle
    assert worker.process.poll() is not None
    assert scanner.scan(photo).label is Label.FAKE
    scanner.close()
    assert not scanner.readers._idle


def test_one_scanner_serves_many_threads(brightness_scanner: Scanner, portrait_clip: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        verdicts = list(pool.map(brightness_scanner.scan, [portrait_clip] * 3))
    assert len({verdict.p_fake for verdict in verdicts}) == 1


class TestPictures:
    def test_most_and_least_suspicious_faces_keep_theirs(
        self, brightness_scanner: Scanner, portrait_clip: Path
    ) -> None:
        (track,) = brightness_scanner.scan(portrait_clip).tracks
        kept = {score.time_s for score in track.scores if score.crop is not None}
        ranked = [score.time_s for score in sorted(track.scores, key=lambda score: score.logit)]
        assert kept == {*ranked[:3], *ranked[-3:]}
        for score in track.scores:
            if score.crop is not None:
                assert score.crop.shape == (SIZE, SIZE, 3)
                assert score.heatmap is not None
                assert score.heatmap.shape == (SIZE, SIZE)

    def test_none_are_kept_when_none_are_wanted(self, tmp_path: Path, portrait_clip: Path) -> None:
        (track,) = Scanner(saying(tmp_path, 1.0), thumbnails=0).scan(portrait_clip).tracks
        assert all(score.crop is None for score in track.scores)

    def test_every_face_keeps_its_heat_map_and_where_it_lies(self, tmp_path: Path, portrait_clip: Path) -> None:
        (track,) = Scanner(saying(tmp_path, 1.0), thumbnails=0).scan(portrait_clip).tracks
        for score in track.scores:
            assert score.heatmap is not None
            assert score.heat_to_frame is not None
            side, (x, y, w, h) = score.heatmap.shape[0], score.box
            middle = score.heat_to_frame @ [(side - 1) / 2, (side - 1) / 2, 1]
            assert middle == pytest.approx([x + w / 2, y + h / 2], abs=0.15 * h)
            assert np.linalg.norm(score.heat_to_frame[:, 0]) * side == pytest.approx(h, rel=0.25)

    def test_memory_is_bounded_and_the_extremes_survive(
        self, brightness_scanner: Scanner, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scoring, "MAX_PICTURES", 20 * SIZE * SIZE * 3)
        long = Scanner(brightness_scanner.detector, plan="every:1").scan(portrait_clip)
        (track,) = long.tracks
        assert len(track.scores) == 60
        highest = max(track.scores, key=lambda score: score.logit)
        assert highest.crop is not None


def spot(row: int, column: int) -> onnx.ModelProto:
    """A network whose heat map is one hot cell of 16×16, whatever it sees."""
    heat = np.zeros((1, 16, 16), np.float32)
    heat[0, row, column] = 1.0
    nodes = [
        helper.make_node("ReduceMean", ["crops", "axes"], ["logit"], keepdims=0),
        helper.make_node("Shape", ["crops"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "side"], ["shape"], axis=0),
        helper.make_node("Expand", ["heat", "shape"], ["heatmap"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, ["n", 16, 16]),
    ]
    weights = [array("axes", [1, 2, 3], np.int64), array("side", [16, 16], np.int64), array("heat", heat)]
    return model(nodes, outputs, weights, ["n", 3, SIZE, SIZE])


@pytest.mark.parametrize(
    ("place", "region"),
    [
        (TEMPLATE[0], "eyes"),
        (TEMPLATE[2], "nose"),
        ((TEMPLATE[3] + TEMPLATE[4]) / 2, "mouth"),
        ((-45.0, 0.0), "outline"),
    ],
)
@pytest.mark.parametrize("geometry", [Geometry("landmarks", 0.9), Geometry("box", margin=0.1)])
def test_the_region_is_where_the_heat_is(
    tmp_path: Path, photo: Path, place: tuple[float, float], region: str, geometry: Geometry
) -> None:
    side = 0.9 if geometry.kind == "landmarks" else 1 / 1.25  # of the crop that the face's height takes, about
    column, row = (np.asarray(place) / FACE_HEIGHT * side * 16 + 7.5).round().astype(int)
    path = write(tmp_path, spot(row, column), geometry=geometry, outputs={"logit": "logit", "heatmap": "heatmap"})
    (track,) = Scanner(path).scan(photo).tracks
    assert track.region == region


class TestClips:
    def clip_detector(self, folder: Path, frames: int) -> Path:
        network = brightness(frames=frames, gain=10.0, bias=-4.0)
        return write(folder, network, f"clip{frames}.onnx", kind="clip", frames=frames)

    def test_faces_are_judged_in_runs(self, tmp_path: Path, portrait_clip: Path) -> None:
        single = Scanner(write(tmp_path, brightness(gain=10.0, bias=-4.0))).scan(portrait_clip)
        alone = [score.logit for score in single.tracks[0].scores]
        clips = Scanner(self.clip_detector(tmp_path, 5), plan="uniform:20").scan(portrait_clip)
        (track,) = clips.tracks
        expected = np.repeat(np.reshape(alone, (4, 5)).mean(axis=1), 5)  # the mean brightness of each run
        np.testing.assert_allclose([score.logit for score in track.scores], expected, atol=1e-4)
        assert track.counts
        assert sum(score.crop is not None for score in track.scores) == 6

    @pytest.mark.parametrize(
        ("lost", "logits", "enough"), [((), (1, 3), True), ((3,), (3,), True), ((3, 9), (1,), False)]
    )
    def test_no_run_spans_two_clips_of_the_plan(
        self, tmp_path: Path, lost: tuple[int, ...], logits: tuple[float, ...], enough: bool
    ) -> None:
        detector = load_detector(write(tmp_path, brightness(frames=8, gain=255.0), kind="clip", frames=8))
        judged = scoring.ClipScoring(detector, thumbnails=0, plan=Clips(runs=2, length=8, step=5))
        faces = [Face(i, i / 6, (0.0, 0.0, 9.0, 9.0), np.zeros((5, 2)), 1.0) for i in range(16) if i not in lost]
        for face in faces:
            judged.add(face, np.full((SIZE, SIZE, 3), 1 if face.frame < 8 else 3, np.uint8))
        (person,) = judged.people([FaceTrack(1, faces)])
        assert sorted({round(score.logit, 3) for score in person.scores}) == list(logits)
        assert person.enough is enough

    def test_a_scan_keeps_the_clips_of_its_plan_apart(self, tmp_path: Path, portrait_clip: Path) -> None:
        verdict = Scanner(self.clip_detector(tmp_path, 6), plan="clips:2x5@2").scan(portrait_clip)
        assert (verdict.coverage.frames_with_face, verdict.tracks[0].counts) == (10, False)

    def test_by_default_one_run_is_sampled(self, tmp_path: Path, portrait_clip: Path) -> None:
        verdict = Scanner(self.clip_detector(tmp_path, 8)).scan(portrait_clip)
        assert verdict.coverage.frames_sampled == 8

    def test_a_track_shorter_than_a_run_is_scored_but_does_not_count(self, tmp_path: Path, portrait_clip: Path) -> None:
        verdict = Scanner(self.clip_detector(tmp_path, 30), plan="uniform:20").scan(portrait_clip)
        assert verdict.label is Label.INCONCLUSIVE
        assert verdict.p_fake is not None
        assert len(verdict.tracks[0].scores) == 20
        assert not verdict.tracks[0].counts

    def test_what_cannot_be_held_is_an_error(
        self, tmp_path: Path, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scoring, "MAX_CROPS", 7 * SIZE * SIZE * 3)
        verdict = Scanner(self.clip_detector(tmp_path, 5), plan="uniform:20").scan(portrait_clip)
        assert verdict.error is not None
        assert verdict.error.type == "LimitError"


class TestUsage:
    @pytest.mark.parametrize(
        "options",
        [
            {"plan": "sometimes"},
            {"fpr": 0.3},
            {"prior": 1.5},
            {"start_s": -1.0},
            {"start_s": 2.0, "end_s": 1.0},
            {"start_s": float("nan")},
            {"end_s": 0.0},
            {"device": "abacus"},
        ],
    )
    def test_options_that_cannot_be_used_are_refused_at_once(self, tmp_path: Path, options: dict) -> None:
        with pytest.raises(UsageError):
            Scanner(saying(tmp_path, 0.0), **options)

    def test_a_start_before_the_video_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"from -1 s on\. Start must be 0 or more\.$"):
            Scanner(saying(tmp_path, 0.0), start_s=-1.0)

    def test_an_unknown_detector_is_refused_at_once(self) -> None:
        with pytest.raises(UnknownDetectorError):
            Scanner("nosuch")

    def test_a_loaded_detector_is_taken_as_it_is(self, tmp_path: Path) -> None:
        detector = load_detector(saying(tmp_path, 0.0))
        assert Scanner(detector).detector is detector
